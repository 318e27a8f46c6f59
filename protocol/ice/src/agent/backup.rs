//! A pair that stands by (R6.2): it hangs on none of the TURN servers that the chosen one does, is known to work, and is kept so. Where the chosen one dies media goes by it at once.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::checks::{PACE, State};
use super::{Agent, Path};

/// Once it answers, it is asked again after this: before a translator forgets it.
const KEEP: Duration = Duration::from_secs(20);
/// What was answered within this stands by.
pub(super) const FRESH: Duration = Duration::from_secs(25);
/// Until one does, others are asked after this.
const LOOK: Duration = Duration::from_millis(250);
/// How often others are looked for.
const LOOKS_MAX: u8 = 16;
/// Pairs asked each time.
const AT_ONCE: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Backup {
    wanted: bool,
    /// For which chosen pair, and when it is looked after next.
    next: Option<(Path, Instant)>,
    looks: u8,
}

impl Agent {
    /// Has a second pair stand by, where there is one that hangs on other servers than the first.
    pub fn keep_backup(&mut self, wanted: bool) {
        self.backup.wanted = wanted;
    }

    pub(super) fn backup_at(&self) -> Option<Instant> {
        let selected = self.selected.filter(|_| self.backup.wanted && !self.is_lost())?;
        match self.backup.next {
            Some((path, at)) if path == selected => (self.backup.looks < LOOKS_MAX).then_some(at),
            // Chosen just now.
            _ => self.first_valid,
        }
    }

    /// Looks for it, or after it.
    pub(super) fn tend_backup(&mut self, now: Instant) {
        let Some(selected) = self.selected.filter(|_| self.backup_at().is_some_and(|at| now >= at))
        else {
            return;
        };
        if self.backup.next.is_none_or(|(path, _)| path != selected) {
            self.backup.looks = 0;
        }
        let fate = self.fate(selected);
        let apart = |p: &Path| {
            let same = p.via == selected.via && p.remote.ip() == selected.remote.ip();
            !same && !self.shares(*p, fate)
        };
        let mut pairs: Vec<(bool, u64, Path)> = Vec::new();
        for pair in self.pairs.iter().filter(|p| apart(&p.path) && p.state != State::Failed) {
            pairs.push((pair.is_valid(), pair.priority, pair.path));
        }
        pairs.sort_unstable_by_key(|(valid, priority, _)| (!*valid, u64::MAX - priority));
        let stands = pairs.first().is_some_and(|(valid, ..)| *valid);
        // Other ones each time, and again from the first: the far end may not have permitted us yet.
        let skip = if stands { 0 } else { usize::from(self.backup.looks) * AT_ONCE };
        let count = if stands { 1 } else { AT_ONCE.min(pairs.len()) };
        for n in 0..count {
            let (_, _, path) = pairs[(skip + n) % pairs.len()];
            self.check(now, path, false, true);
        }
        self.backup.looks = if stands { 0 } else { self.backup.looks + 1 };
        self.backup.next = Some((selected, now + if stands { KEEP } else { LOOK }));
    }

    /// The TURN servers that a pair hangs on, by their addresses: ours, and the far end's.
    pub(super) fn fate(&self, path: Path) -> [Option<IpAddr>; 2] {
        let ours = self.locals.iter().find(|l| l.via == path.via && l.via.0 != 0);
        // The type preference of what is lent is 0 (RFC 8445 §5.1.2.2).
        let lent = |(addr, priority): &&(_, u32)| *addr == path.remote && priority >> 24 == 0;
        let theirs = self.remotes.iter().find(lent);
        [ours.map(|l| l.addr.ip()), theirs.map(|(addr, _)| addr.ip())]
    }

    /// Whether a pair hangs on one of these servers too.
    pub(super) fn shares(&self, path: Path, fate: [Option<IpAddr>; 2]) -> bool {
        self.fate(path).iter().flatten().any(|server| fate.contains(&Some(*server)))
    }

    /// The chosen pair is silent, and sound comes by another one: does that work both ways?
    pub(super) fn hear_elsewhere(&mut self, now: Instant, path: Path) {
        let valid = self.pairs.iter().any(|p| p.path == path && p.is_valid());
        let open = self.checks.iter().any(|c| c.path == path && now < c.sent_at + 2 * PACE);
        if valid && !open {
            self.check(now, path, false, true);
        }
    }
}
