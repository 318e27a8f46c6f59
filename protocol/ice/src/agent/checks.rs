//! Pairs and the checks on them (RFC 8445 §6, §7.2, §8).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Agent, AgentEvent, Kind, PAIRS_MAX, Path};
use crate::stun::Builder;

/// From one new check to the next (Ta, RFC 8445 §14.2).
pub const PACE: Duration = Duration::from_millis(50);
/// Checks of one establishment at most, repetitions included: then what was found must do.
pub const CHECKS_MAX: u32 = 200;
/// The first wait for an answer (RFC 8445 §14.3).
const RTO: Duration = Duration::from_millis(500);
/// How often a check is sent in all.
const TRIES_MAX: u32 = 5;
/// A valid pair waits so long for a better one before it is nominated.
const BETTER_MAY_COME: Duration = Duration::from_millis(300);

/// A pair.
#[derive(Debug)]
pub(super) struct Pair {
    pub path: Path,
    pub priority: u64,
    pub state: State,
    /// Something authenticated came this way.
    pub heard: bool,
    /// When a check on it was last answered.
    pub answered: Option<Instant>,
    /// The controlling side nominated it before it was valid.
    pub nominated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    InProgress,
    Succeeded,
    Failed,
    /// Not needed: another one is selected.
    Resting,
}

/// A check under way.
#[derive(Debug)]
pub(super) struct Check {
    pub id: [u8; 12],
    pub path: Path,
    pub nominates: bool,
    pub controlling: bool,
    /// A probe or a consent check: sent once.
    pub once: bool,
    pub sent_at: Instant,
    bytes: Vec<u8>,
    tries: u32,
    next_at: Instant,
}

impl Pair {
    pub fn is_valid(&self) -> bool {
        self.state == State::Succeeded
    }

    /// Another one is selected.
    pub fn rest(&mut self) {
        if matches!(self.state, State::Waiting | State::InProgress) {
            self.state = State::Resting;
        }
    }
}

impl Agent {
    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.repeat(now);
        self.live(now);
        self.tend_backup(now);
        self.compare(now);
        if self.next_check.is_some_and(|at| now >= at) {
            self.next_check = None;
            self.check_next(now);
        }
        self.nominate(now);
        self.judge_failure();
    }

    /// When [`Agent::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let repeats = self.checks.iter().map(|c| c.next_at);
        let waits = self.first_valid.filter(|_| self.wants_nomination());
        let nomination = waits.map(|at| at + BETTER_MAY_COME);
        repeats
            .chain(self.next_check)
            .chain(nomination)
            .chain(self.live_at())
            .chain(self.backup_at())
            .chain(self.moving_at())
            .min()
    }

    /// Every way of ours with every address of theirs.
    pub(super) fn form_pairs(&mut self, now: Instant) {
        if self.remote.is_none() {
            return;
        }
        for (remote, priority) in self.remotes.clone() {
            for local in self.locals.clone() {
                let path = Path { via: local.via, remote };
                if self.fit(local.addr, remote) {
                    self.add_pair(path, priority);
                }
            }
        }
        self.wake(now);
    }

    fn fit(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let same_family = local.is_ipv4() == remote.is_ipv4();
        let same_reach = local.ip().is_loopback() == remote.ip().is_loopback();
        (same_family && same_reach) || (self.translated && local.is_ipv6() && remote.is_ipv4())
    }

    /// Makes the pair unless it is there.
    pub(super) fn add_pair(&mut self, path: Path, remote_priority: u32) {
        let known = self.pairs.iter().any(|p| p.path == path);
        let Some(local) = self.locals.iter().find(|l| l.via == path.via) else { return };
        if known || self.pairs.len() >= PAIRS_MAX {
            return;
        }
        let (g, d) = match self.controlling {
            true => (local.priority, remote_priority),
            false => (remote_priority, local.priority),
        };
        // RFC 8445 §6.1.2.3.
        let (g, d) = (u64::from(g), u64::from(d));
        let priority = (g.min(d) << 32) + 2 * g.max(d) + u64::from(g > d);
        let waits = self.selected.is_none() || self.liveness.is_lost();
        let state = if waits { State::Waiting } else { State::Resting };
        let (heard, answered, nominated) = (false, None, false);
        self.pairs.push(Pair { path, priority, state, heard, answered, nominated });
    }

    pub(super) fn pair_mut(&mut self, path: Path) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|p| p.path == path)
    }

    /// Has the next check made, in its turn.
    pub(super) fn wake(&mut self, now: Instant) {
        let waits = self.pairs.iter().any(|p| p.state == State::Waiting);
        if self.next_check.is_none() && (waits || !self.triggered.is_empty()) {
            self.next_check = Some(now);
        }
    }

    /// The chosen way is gone, and those that rested may do. Those that were found to work some time
    /// ago, or hang on the same servers, have to show that they do.
    pub(super) fn look_again(&mut self, now: Instant, fate: [Option<IpAddr>; 2]) {
        let dies: Vec<bool> = self.pairs.iter().map(|p| self.shares(p.path, fate)).collect();
        for (pair, dies) in self.pairs.iter_mut().zip(dies) {
            let fresh = pair.answered.is_some_and(|at| now < at + super::backup::FRESH);
            if !pair.is_valid() || dies || !fresh {
                pair.state = State::Waiting;
            }
        }
        (self.sent, self.first_valid) = (0, Some(now));
        self.failed = false;
        self.wake(now);
        self.nominate(now);
    }

    fn check_next(&mut self, now: Instant) {
        let triggered = self.triggered.pop_front();
        // Where there was a good pair it comes before all others (R6.5).
        let hinted = |p: &Pair| {
            let hint = (p.path.via, p.path.remote.ip());
            self.hints.iter().rev().position(|h| *h == hint).map_or(0, |at| at + 1)
        };
        let rank = |p: &&mut Pair| {
            let good = self.good.iter().rev().position(|g| *g == p.path);
            (good.map_or(0, |at| at + 1), hinted(p), p.priority)
        };
        let path = triggered.or_else(|| {
            let waiting = self.pairs.iter_mut().filter(|p| p.state == State::Waiting);
            let best = waiting.max_by_key(rank)?;
            Some(best.path)
        });
        let Some(path) = path else { return };
        let tired = self.sent >= CHECKS_MAX;
        if let Some(pair) = self.pair_mut(path)
            && pair.state != State::Succeeded
        {
            pair.state = if tired { State::Failed } else { State::InProgress };
        }
        self.check(now, path, false, false);
        let more =
            !self.triggered.is_empty() || self.pairs.iter().any(|p| p.state == State::Waiting);
        self.next_check = more.then(|| now + PACE);
    }

    /// Sends a check.
    pub(super) fn check(&mut self, now: Instant, path: Path, nominates: bool, once: bool) {
        let Some(remote) = &self.remote else { return };
        if !once && self.sent >= CHECKS_MAX {
            return;
        }
        let id = self.ids.next_id();
        let local = self.locals.iter().find(|l| l.via == path.via);
        let preference = local.map_or(0, |l| (l.priority >> 8) as u16);
        // What we would be to them, if they had not heard of it (RFC 8445 §7.1.1).
        let kind = if path.via.0 == 0 { Kind::PeerReflexive } else { Kind::Relayed };
        let username = format!("{}:{}", remote.ufrag, self.local.ufrag);
        let builder = Builder::request(id).username(&username);
        let builder = builder.priority(super::priority(kind, preference));
        let builder = match self.controlling {
            true => builder.ice_controlling(self.tie_breaker),
            false => builder.ice_controlled(self.tie_breaker),
        };
        let builder = if nominates { builder.use_candidate() } else { builder };
        let bytes = builder.finish(remote.pwd.as_bytes());
        self.sent += 1;
        self.out.push_back(super::Transmit { path, bytes: bytes.clone() });
        self.checks.push(Check {
            id,
            path,
            nominates,
            controlling: self.controlling,
            once,
            sent_at: now,
            bytes,
            tries: 1,
            next_at: now + RTO,
        });
    }

    /// Sends again what was not answered.
    fn repeat(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        for check in &mut self.checks {
            if now < check.next_at {
                continue;
            }
            if check.once || check.tries >= TRIES_MAX || self.sent >= CHECKS_MAX {
                given_up.push((check.id, check.path, check.once, check.nominates));
                continue;
            }
            check.next_at = now + RTO * 2_u32.pow(check.tries.min(3));
            check.tries += 1;
            self.sent += 1;
            let bytes = check.bytes.clone();
            self.out.push_back(super::Transmit { path: check.path, bytes });
        }
        for (id, path, once, nominates) in given_up {
            self.checks.retain(|c| c.id != id);
            let dead = |p: &&mut Pair| !once && (nominates || !p.is_valid());
            if let Some(pair) = self.pair_mut(path).filter(dead) {
                pair.state = State::Failed;
            }
        }
    }

    fn wants_nomination(&self) -> bool {
        let asked = self.checks.iter().any(|c| c.nominates && !c.once);
        let may = self.controlling && self.selected.is_none() && self.sent < CHECKS_MAX;
        may && !asked && self.pairs.iter().any(Pair::is_valid)
    }

    /// Nominates the best valid pair once no better one is to be expected (RFC 8445 §8.1.1).
    pub(super) fn nominate(&mut self, now: Instant) {
        if !self.wants_nomination() {
            return;
        }
        let valid = self.pairs.iter().filter(|p| p.is_valid()).max_by_key(|p| p.priority);
        let Some((path, priority)) = valid.map(|p| (p.path, p.priority)) else { return };
        let open = |p: &&Pair| matches!(p.state, State::Waiting | State::InProgress);
        let better = self.pairs.iter().filter(open).any(|p| p.priority > priority);
        let waited = self.first_valid.is_some_and(|at| now >= at + BETTER_MAY_COME);
        // What a better one than the last time's could be is not waited for; a borrowed address may
        // have been the best of a worse hour.
        let known = path.via.0 == 0 && self.is_preferred(path);
        if !better || waited || known {
            self.check(now, path, true, false);
        }
    }

    fn judge_failure(&mut self) {
        let open = self.pairs.iter().any(|p| p.state != State::Failed);
        let over = self.remotes_ended && !self.pairs.is_empty() && !open;
        if over && self.selected.is_none() && !std::mem::replace(&mut self.failed, true) {
            self.events.push_back(AgentEvent::Failed);
        }
    }
}
