//! Ways that were good in earlier calls on this network (R6.5).
//!
//! Ports differ from call to call; by what packets left and to which machine does not. Such pairs are
//! checked first. Who calls the same far end again needs no more than what led there the last time:
//! its description leaves as soon as that is there, and what comes later is only missed, and then
//! told, where the known way leads nowhere.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ice::agent::{HINTS_MAX, Path, Via};
use sansio::Transport;

use super::{Lent, Traversal, TraversalEvent, TraversalOutput};

/// Pairs that are looked at.
pub const KNOWN_MAX: usize = HINTS_MAX;
/// Without a way for so long after the descriptions, what they did not name is missed.
const MISSED_AFTER: Duration = Duration::from_millis(600);
/// How often that is looked at, while servers may still answer.
const LOOKS_MAX: u8 = 20;

/// A pair that carried a call, without what is of that call alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPair {
    /// The TURN server whose address it left by; `None`: it left by the socket.
    pub by: Option<(SocketAddr, Transport)>,
    /// The far end's address.
    pub remote: IpAddr,
    /// The far end was an ICE-lite agent, a server: anybody reaches it.
    pub lite: bool,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pairs: Vec<KnownPair>,
    /// The one that led to the far end of this very call.
    last: Option<KnownPair>,
    /// Addresses of ours that our description named.
    pub told: Vec<SocketAddr>,
    miss_at: Option<Instant>,
    looks: u8,
}

impl Known {
    pub fn end_call(&mut self) {
        *self = Self::default();
    }
}

impl Traversal {
    /// What was good on this network, latest first, and what led to the far end of the present call
    /// the last time. Before the first description of a call.
    pub fn recall(&mut self, now: Instant, pairs: &[KnownPair], last: Option<KnownPair>) {
        self.now = now;
        self.known.pairs = pairs.iter().take(KNOWN_MAX).copied().collect();
        self.known.last = last;
        let hints: Vec<(Via, IpAddr)> =
            self.known.pairs.iter().filter_map(|p| self.hint(p)).collect();
        self.agent.prefer(&hints);
        if self.is_gathered() {
            return;
        }
        self.gather(now);
        self.work(now);
    }

    fn hint(&self, pair: &KnownPair) -> Option<(Via, IpAddr)> {
        let via = match pair.by {
            None => Via(0),
            Some(server) => Lent::via(self.place_of(server)?),
        };
        Some((via, pair.remote))
    }

    fn place_of(&self, (addr, transport): (SocketAddr, Transport)) -> Option<usize> {
        self.lent.iter().position(|l| l.server.addr == addr && l.server.transport == transport)
    }

    /// The pair in use, as it may be known to a later call.
    pub fn good_pair(&self) -> Option<KnownPair> {
        let Path { via, remote } = self.agent.selected().filter(|_| self.speaks)?;
        let by = match Lent::place(via) {
            None => None,
            Some(at) => {
                let server = &self.lent.get(at)?.server;
                Some((server.addr, server.transport))
            }
        };
        let lite = self.agent.remote_is_lite();
        Some(KnownPair { by, remote: remote.ip(), lite })
    }

    /// Whether the pair in use is one that earlier calls knew.
    pub fn is_known(&self) -> bool {
        self.agent.selected().is_some_and(|path| self.agent.is_preferred(path))
    }

    /// Whether what led to this far end the last time is there.
    pub(super) fn has_last_way(&self) -> bool {
        let Some(last) = self.known.last else { return false };
        match last.by {
            // A server sees where our checks come from; a phone has to be told, to open its own
            // translator for us.
            None => !self.config.relay_only && (last.lite || self.mapped.is_some()),
            Some(server) => {
                let lent = self.place_of(server).map(|at| &self.lent[at].client);
                lent.is_some_and(|client| client.relayed().is_some())
            }
        }
    }

    /// Whether the last way was one by a stream, so that datagrams need no head start.
    pub(super) fn last_by_stream(&self) -> bool {
        let by = self.known.last.and_then(|last| last.by);
        by.is_some_and(|(_, transport)| transport != Transport::Udp)
    }

    /// The far end described itself.
    pub(super) fn watch_for_miss(&mut self, now: Instant) {
        self.known.looks = 0;
        self.known.miss_at = Some(now + MISSED_AFTER);
    }

    pub(super) fn miss_at(&self) -> Option<Instant> {
        self.known.miss_at.filter(|_| self.speaks)
    }

    /// There is no way, and there are candidates that the far end does not know of: it is to be told.
    pub(super) fn notice_miss(&mut self, now: Instant) {
        if self.miss_at().is_none_or(|at| now < at) {
            return;
        }
        self.known.miss_at = None;
        if self.agent.send_path().is_some() {
            return;
        }
        if self.has_untold() {
            self.out.push_back(TraversalOutput::Event(TraversalEvent::RestartWanted));
        }
        self.known.looks += 1;
        let may_come = self.lent.iter().any(|l| !l.is_hopeless());
        if may_come && self.known.looks < LOOKS_MAX {
            self.known.miss_at = Some(now + MISSED_AFTER);
        }
    }
}
