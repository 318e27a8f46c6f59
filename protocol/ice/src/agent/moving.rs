//! Moving from a way that works badly to one that works well (R5.1, R5.9).
//!
//! ```text
//!   loss told, 8 % or more ──► trial: the way in use and up to three others are asked twelve times
//!   5 s on a less wanted way ──┘      each, side by side, in 600 ms
//!                                         │ another one was answered clearly more often
//!                                         └─► nominated: media leaves by it at once, and both are
//!                                             listened to, so nothing is lost on the way over
//! ```
//!
//! Loss is told of media; which way is to blame only a comparison says: where all ways lose alike it is
//! the network we are in, and nothing is won by moving. Only the controlling side moves. RFC 8445 §8.1.1
//! has another pair wait for an ICE restart; ours nominates it at once, as it does when a way is lost. A
//! far end that holds to the RFC goes on sending the former way, which is listened to.

use std::time::{Duration, Instant};

use super::checks::State;
use super::{Agent, Path};

/// Loss of media in percent, of either direction, that has the ways compared.
pub const BAD_PERCENT: u8 = 8;
/// Checks of a trial on each way.
pub const ROUNDS: u32 = 12;
/// Fewer say nothing.
const ROUNDS_MIN: u32 = 5;
/// From one round to the next.
const ROUND: Duration = Duration::from_millis(50);
/// Other ways in a trial: the best of each way out first.
const OTHERS_MAX: usize = 3;
/// So many answers more than the way in use make another one better. Fewer may be chance.
const MARGIN: u32 = 2;
/// .. and so many at least: of two bad ways neither is worth a move.
const GOOD: u32 = 9;
/// After the last round, at least, and three halves of a round trip.
const LAST_ANSWERS: Duration = Duration::from_millis(150);
/// From a move to the next trial.
pub const REST: Duration = Duration::from_secs(5);
/// .. and from one that moved nothing, at first and at most: each doubles it.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(60);
/// A more wanted way is tried again after this long, then ever more rarely.
pub const RETURN_FIRST: Duration = Duration::from_secs(5);
const RETURN_MOST: Duration = Duration::from_secs(600);

/// Checks by other ways that come later after a selection are a trial of the other side's.
const OPENS_AFTER: Duration = Duration::from_secs(2);

/// What is known of the way in use beside others.
#[derive(Debug, Default)]
pub(super) struct Moving {
    trial: Option<Trial>,
    /// Loss begins no trial before.
    rest_until: Option<Instant>,
    again: Duration,
    /// When the more wanted ways are tried.
    return_at: Option<Instant>,
    return_in: Duration,
    /// The controlled side opens its ways for the other one's trials: not again before.
    opens_at: Option<Instant>,
}

/// A comparison under way.
#[derive(Debug)]
struct Trial {
    /// A return to a more wanted way: it must do without a single loss.
    returns: bool,
    /// Score the way in use may count at most: media told more of it than twelve checks can.
    at_most: u32,
    rounds: u32,
    next: Instant,
    ways: Vec<Contestant>,
}

#[derive(Debug)]
struct Contestant {
    path: Path,
    /// It worked before.
    proven: bool,
    asked: Vec<[u8; 12]>,
    answered: u32,
    /// Which check was answered first.
    first: Option<usize>,
}

impl Contestant {
    fn new(path: Path, proven: bool) -> Self {
        Self { path, proven, asked: Vec::new(), answered: 0, first: None }
    }

    /// Whether an answer to the first check should have come, and did not: the rest is spared.
    fn is_dead(&self, round_trip: Duration) -> bool {
        let patience = LAST_ANSWERS.max(round_trip * 3);
        self.answered == 0 && ROUND * (self.asked.len() as u32) > patience
    }

    /// Answers, of twelve. A way that was never used opens only when the other side has sent by it too:
    /// what was asked before says nothing of it.
    fn score(&self) -> u32 {
        let before = if self.proven { 0 } else { self.first.unwrap_or(0) };
        let asked = self.asked.len().saturating_sub(before) as u32;
        if asked < ROUNDS_MIN { 0 } else { self.answered * ROUNDS / asked }
    }
}

impl Moving {
    /// Another way is in use; the more wanted ones are tried again in a while.
    pub fn selected(&mut self, now: Instant) {
        self.trial = None;
        self.return_in = match self.return_in {
            Duration::ZERO => RETURN_FIRST,
            before => (before * 2).min(RETURN_MOST),
        };
        self.return_at = Some(now + self.return_in);
        // What was on its way when this was selected is no trial.
        self.opens_at = Some(now + OPENS_AFTER);
    }

    pub fn at(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.next).or(self.return_at)
    }

    /// An answer to one of the trial's checks.
    pub fn answered(&mut self, path: Path, id: &[u8; 12]) {
        let ways = self.trial.iter_mut().flat_map(|trial| &mut trial.ways);
        for way in ways.filter(|way| way.path == path) {
            if let Some(at) = way.asked.iter().position(|asked| asked == id) {
                way.answered += 1;
                way.first.get_or_insert(at);
            }
        }
    }

    fn rests(&mut self, now: Instant, moved: bool) {
        self.again =
            if moved { Duration::ZERO } else { (self.again * 2).clamp(AGAIN_FIRST, AGAIN_MOST) };
        self.rest_until = Some(now + if moved { REST } else { self.again });
    }
}

impl Agent {
    /// So many percent of the media of the last second or so were lost, whichever way they went. Every
    /// second is often enough, and every report of the far end's.
    pub fn note_loss(&mut self, now: Instant, percent: u8) {
        if percent >= BAD_PERCENT {
            // Whoever hears it first: the other one's trial will need them.
            self.open_ways(now);
        }
        let rests = self.moving.rest_until.is_some_and(|until| now < until);
        if percent < BAD_PERCENT || rests || self.moving.trial.is_some() {
            return;
        }
        let at_most = ROUNDS * u32::from(100 - percent.min(100)) / 100;
        self.begin_trial(now, at_most, false);
    }

    /// The controlling side tries another way than the selected one. Translators and TURN servers let
    /// it in only where we have sent ourselves, so every way not tried yet is checked from here.
    pub(super) fn open_ways(&mut self, now: Instant) {
        if self.controlling || self.moving.opens_at.is_none_or(|at| now < at) {
            return;
        }
        self.moving.opens_at = Some(now + REST);
        let untried = |p: &&mut super::Pair| matches!(p.state, State::Resting | State::Failed);
        for pair in self.pairs.iter_mut().filter(untried) {
            pair.state = State::Waiting;
        }
        self.wake(now);
    }

    /// Has the ways compared.
    fn begin_trial(&mut self, now: Instant, at_most: u32, returns: bool) {
        let Some(selected) = self.selected.filter(|_| self.controlling) else { return };
        if self.liveness.is_lost() || self.liveness.consent_ended() {
            return;
        }
        let others = self.contestants(selected, returns);
        if others.is_empty() {
            return;
        }
        let ways = std::iter::once((selected, true)).chain(others);
        let ways = ways.map(|(path, proven)| Contestant::new(path, proven)).collect();
        self.moving.trial = Some(Trial { returns, at_most, rounds: 0, next: now, ways });
        self.compare(now);
    }

    /// The ways worth trying: those that worked, then the most wanted, of each way out one before a
    /// second of any.
    fn contestants(&self, selected: Path, returns: bool) -> Vec<(Path, bool)> {
        let present = self.pairs.iter().find(|p| p.path == selected).map_or(0, |p| p.priority);
        // By a relay: the lesser of both priorities is of type preference 0 (RFC 8445 §5.1.2.2). Then a
        // direct way whose answer came too late, or was lost, deserves another chance.
        let relayed = present >> 56 == 0;
        let may = |p: &&super::Pair| {
            let returns_to = p.priority > present && (p.is_valid() || relayed);
            // What failed before may work now; nothing else is worth it on a way that works well.
            p.path != selected && (!returns || (returns_to && p.state != State::Failed))
        };
        let mut pairs: Vec<_> = self.pairs.iter().filter(may).collect();
        let rank = |p: &&super::Pair| (p.is_valid(), p.state != State::Failed, p.priority);
        pairs.sort_by_key(|p| std::cmp::Reverse(rank(p)));
        let mut chosen: Vec<(Path, bool)> = Vec::new();
        for second in [false, true] {
            for pair in &pairs {
                let has_one = chosen.iter().any(|(c, _)| c.via == pair.path.via);
                let is_one = chosen.iter().any(|(c, _)| *c == pair.path);
                if chosen.len() < OTHERS_MAX && has_one == second && !is_one {
                    chosen.push((pair.path, pair.is_valid()));
                }
            }
        }
        chosen
    }

    /// When something of this is due.
    pub(super) fn moving_at(&self) -> Option<Instant> {
        self.selected.filter(|_| self.controlling)?;
        self.moving.at()
    }

    /// Does what is due.
    pub(super) fn compare(&mut self, now: Instant) {
        if self.moving.trial.is_none() {
            return self.consider_return(now);
        }
        let Some(trial) = self.moving.trial.as_mut().filter(|trial| now >= trial.next) else {
            return;
        };
        if self.liveness.is_lost() || Some(trial.ways[0].path) != self.selected {
            self.moving.trial = None;
            return;
        }
        if trial.rounds == ROUNDS {
            return self.decide(now);
        }
        trial.rounds += 1;
        let round_trip = self.liveness.round_trip();
        let last = LAST_ANSWERS.max(round_trip * 3 / 2);
        trial.next = now + if trial.rounds == ROUNDS { last } else { ROUND };
        let spared = |way: &Contestant| trial.returns && way.is_dead(round_trip);
        let ways = trial.ways.iter().enumerate().filter(|(_, way)| !spared(way));
        let paths: Vec<_> = ways.map(|(at, way)| (at, way.path)).collect();
        for (at, path) in paths {
            let before = self.checks.len();
            self.check(now, path, false, true);
            let id = self.checks.get(before).map(|check| check.id);
            if let (Some(trial), Some(id)) = (&mut self.moving.trial, id) {
                trial.ways[at].asked.push(id);
            }
        }
    }

    fn consider_return(&mut self, now: Instant) {
        if self.moving.return_at.is_none_or(|at| now < at) {
            return;
        }
        self.moving.return_in = (self.moving.return_in * 2).clamp(RETURN_FIRST, RETURN_MOST);
        self.moving.return_at = Some(now + self.moving.return_in);
        self.begin_trial(now, ROUNDS, true);
    }

    fn decide(&mut self, now: Instant) {
        let Some(trial) = self.moving.trial.take() else { return };
        let Some((present, others)) = trial.ways.split_first() else { return };
        // Of those answered alike the first is the most wanted.
        let best = others.iter().rev().max_by_key(|way| way.score());
        let wins = |way: &&Contestant| match trial.returns {
            true => way.answered == ROUNDS,
            false => way.score() >= (present.score().min(trial.at_most) + MARGIN).max(GOOD),
        };
        let winner = best.filter(wins).map(|way| way.path);
        let dead = |w: &&Contestant| trial.returns && w.answered == 0;
        let dead: Vec<Path> = others.iter().filter(dead).map(|w| w.path).collect();
        for pair in self.pairs.iter_mut().filter(|p| !p.is_valid() && dead.contains(&p.path)) {
            // It had its chance; a lossy or lost way, or a restart, gives it another.
            pair.state = State::Failed;
        }
        self.moving.rests(now, winner.is_some());
        if let Some(path) = winner {
            self.check(now, path, true, false);
            self.select(now, path);
        }
    }
}

#[cfg(test)]
mod tests;
