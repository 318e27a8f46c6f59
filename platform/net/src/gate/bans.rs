//! The bans in force, for those who begin, list and lift them. Messages look at their source's cell.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::score::Sign;

/// Bans remembered; beyond it the one that ends first makes room.
const BANS_MAX: usize = 10_000;
/// Bans that wait to be told; of more at once, the rest are told by the list alone.
const BEGUN_MAX: usize = 1_000;
/// After a ban ended, this long without a new one forgives one doubling.
const FORGIVEN_AFTER_MS: u64 = 3600 * 1000;

/// A source that is not listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who.
    pub source: IpAddr,
    /// What the last sign was.
    pub sign: Sign,
    /// How long it lasts from now.
    pub left: Duration,
    /// Which ban of this source in a row it is, from 1.
    pub count: u32,
    pub(super) until_ms: u64,
}

impl Ban {
    /// A ban as it was written down.
    pub fn new(source: IpAddr, sign: Sign, left: Duration, count: u32) -> Self {
        Self { source, sign, left, count, until_ms: 0 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Bans(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bans: BTreeMap<IpAddr, Ban>,
    begun: VecDeque<Ban>,
}

impl Bans {
    /// Bans a source: the first time for `first`, then for twice as long each time, up to `most`.
    pub(super) fn begin(
        &self,
        now: u64,
        source: IpAddr,
        sign: Sign,
        (first, most): (Duration, Duration),
    ) -> Ban {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { bans, begun } = &mut *state;
        let before = bans.get(&source).map_or(0, |ban| {
            let forgiven = now.saturating_sub(ban.until_ms) / FORGIVEN_AFTER_MS;
            ban.count.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
        });
        let left = first.saturating_mul(1 << before.min(20)).min(most);
        let until_ms = now + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2);
        let ban = Ban { source, sign, left, count: before + 1, until_ms };
        insert(bans, ban);
        if begun.len() < BEGUN_MAX {
            begun.push_back(ban);
        }
        ban
    }

    /// Takes over a ban that began before; when it ends. It is not told again.
    pub(super) fn resume(&self, now: u64, ban: Ban) -> u64 {
        let until_ms = now + u64::try_from(ban.left.as_millis()).unwrap_or(u64::MAX / 2);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        insert(&mut state.bans, Ban { until_ms, ..ban });
        until_ms
    }

    /// The next ban that was not told yet.
    pub(super) fn poll_begun(&self) -> Option<Ban> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begun.pop_front()
    }

    pub(super) fn list(&self, now: u64) -> Vec<Ban> {
        let bans = &self.0.lock().unwrap_or_else(PoisonError::into_inner).bans;
        let left = |ban: &Ban| Duration::from_millis(ban.until_ms.saturating_sub(now));
        let in_force = bans.values().filter(|ban| ban.until_ms > now);
        in_force.map(|ban| Ban { left: left(ban), ..*ban }).collect()
    }

    /// Whether there was one in force.
    pub(super) fn remove(&self, now: u64, source: IpAddr) -> bool {
        let bans = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).bans;
        bans.remove(&source).is_some_and(|ban| ban.until_ms > now)
    }
}

fn insert(bans: &mut BTreeMap<IpAddr, Ban>, ban: Ban) {
    if bans.len() >= BANS_MAX && !bans.contains_key(&ban.source) {
        let first = bans.values().min_by_key(|ban| ban.until_ms).map(|ban| ban.source);
        first.map(|first| bans.remove(&first));
    }
    bans.insert(ban.source, ban);
}
