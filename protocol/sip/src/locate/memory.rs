//! Servers that failed lately come last for a while (RFC 3263 §4.3).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sansio::Transport;

use super::NextHop;

/// Failed servers remembered.
const FAILED_MAX: usize = 10_000;

/// Which servers failed, and until when they are avoided.
#[derive(Debug, Default)]
pub struct FailureMemory {
    until: BTreeMap<(Transport, SocketAddr), Instant>,
}

impl FailureMemory {
    /// The hop did not answer, or asked to be left alone (503 with Retry-After).
    pub fn note(&mut self, now: Instant, hop: &NextHop, avoid: Duration) {
        self.until.retain(|_, until| *until > now);
        for addr in &hop.addrs {
            if self.until.len() < FAILED_MAX {
                self.until.insert((hop.transport, *addr), now + avoid);
            }
        }
    }

    /// The hop answered: whatever was held against it is over.
    pub fn forgive(&mut self, hop: &NextHop) {
        for addr in &hop.addrs {
            self.until.remove(&(hop.transport, *addr));
        }
    }

    /// Whether every address of the hop is avoided now.
    pub fn avoids(&self, now: Instant, hop: &NextHop) -> bool {
        let failed = |addr| self.until.get(&(hop.transport, addr)).is_some_and(|u| *u > now);
        hop.addrs.iter().all(|addr| failed(*addr))
    }

    /// Puts the avoided ones last, otherwise in the same order.
    pub(crate) fn arrange(&self, now: Instant, hops: Vec<NextHop>) -> Vec<NextHop> {
        let (avoided, mut good): (Vec<_>, Vec<_>) =
            hops.into_iter().partition(|hop| self.avoids(now, hop));
        good.extend(avoided);
        good
    }
}
