//! Who is held, shared with every edge.

use super::Action;
use super::number::Destination;
use sansio::WallTime;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Accounts held at a time.
const HELD_MAX: usize = 10_000;
const HOUR_MS: u64 = 3_600_000;

/// What an edge does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it goes on.
    Good,
    /// It is refused for so many seconds.
    Throttled(u64),
    /// The password is asked for, whatever the connection proved.
    Challenged,
    /// It is refused.
    Blocked,
}

/// Who is held and until when. Clones share it. While nobody is, a question costs one load.
#[derive(Debug, Clone)]
pub struct Standings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    action: Action,
    hold: Duration,
    throttle_per_h: u32,
    count: AtomicUsize,
    held: Mutex<BTreeMap<String, Held>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    until: WallTime,
    score: f32,
    /// When the next call may begin, of a throttled account.
    next: WallTime,
}

impl Default for Standings {
    /// Everybody is good.
    fn default() -> Self {
        Self::new(Action::Watch, Duration::ZERO, 1)
    }
}

impl Standings {
    pub(super) fn new(action: Action, hold: Duration, throttle_per_h: u32) -> Self {
        let (count, held) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Inner { action, hold, throttle_per_h: throttle_per_h.max(1), count, held }))
    }

    /// Holds an account, or goes on holding it; whether that is news.
    pub(super) fn hold(&self, aor: &str, at: WallTime, score: f32) -> bool {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, entry| entry.until > at);
        let until = at + self.0.hold;
        let known = held.get(aor).copied();
        if known.is_some() || held.len() < HELD_MAX {
            let next = known.map_or(at, |entry| entry.next);
            held.insert(aor.to_string(), Held { until, score, next });
        }
        self.0.count.store(held.len(), Relaxed);
        known.is_none()
    }

    /// Whether it was held.
    pub(super) fn clear(&self, aor: &str) -> bool {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let was = held.remove(aor).is_some();
        self.0.count.store(held.len(), Relaxed);
        was
    }

    /// What becomes of a call of `aor` to `sip:user@domain`.
    pub fn of_call(&self, at: WallTime, aor: &str, to: &str) -> Standing {
        if self.0.count.load(Relaxed) == 0 || self.0.action == Action::Watch {
            return Standing::Good;
        }
        if !Destination::of(to, "", &[]).is_outside() {
            return Standing::Good;
        }
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = held.get_mut(aor).filter(|entry| entry.until > at) else {
            return Standing::Good;
        };
        match self.0.action {
            Action::Watch => Standing::Good,
            Action::Challenge => Standing::Challenged,
            Action::Block => Standing::Blocked,
            Action::Throttle if at < entry.next => {
                Standing::Throttled(entry.next.since(at).as_secs() + 1)
            }
            Action::Throttle => {
                let each = HOUR_MS / u64::from(self.0.throttle_per_h);
                entry.next = at + Duration::from_millis(each);
                Standing::Good
            }
        }
    }

    /// Who is held: address of record, score, and for how long yet.
    pub fn list(&self, at: WallTime) -> Vec<(String, f32, Duration)> {
        let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = held.iter().filter(|(_, entry)| entry.until > at);
        entries.map(|(aor, e)| (aor.clone(), e.score, e.until.since(at))).collect()
    }

    /// The action that is taken.
    pub fn action(&self) -> Action {
        self.0.action
    }
}
