//! Whether the selected way is one still: consent (RFC 7675), and probes where it falls silent (R6.3).
//!
//! What is heard costs nothing to listen to: while sound comes there are consent checks every five
//! seconds and no others. Where it stops for 300 ms the way is probed; a silence that is meant is
//! answered for, and probed ever more rarely.

use std::time::{Duration, Instant};

use super::checks::State;
use super::{Agent, AgentEvent, Path};

/// Sound missing for this long has the way probed.
pub const PROBE_AFTER: Duration = Duration::from_millis(300);
/// From probe to probe.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// .. once the way is lost: it may come back at any moment.
const LOST_EVERY: Duration = Duration::from_millis(100);
/// Another way that is answered takes over when probes were not for this long.
const SWITCH_AFTER: Duration = Duration::from_millis(200);
/// Probes unanswered for this long: the way is lost, and all others are tried.
pub const LOST_AFTER: Duration = Duration::from_millis(500);
/// Lost for this long: a restart is wanted.
pub const RESTART_AFTER: Duration = Duration::from_secs(3);
/// Consent ends this long after the last answer (RFC 7675 §5.1).
pub const CONSENT_ENDS: Duration = Duration::from_secs(30);
/// From an unanswered consent check to the next, while sound comes.
const CONSENT_AGAIN: Duration = Duration::from_millis(500);
/// Consent checks unanswered for this long: sound comes, but ours does not arrive.
const CONSENT_MISSED: Duration = Duration::from_millis(2_500);
/// A lost way is probed fast for this long.
const LOST_FAST: Duration = Duration::from_secs(10);
/// From consent check to consent check, give or take a fifth.
const CONSENT_EVERY: Duration = Duration::from_secs(5);
/// A silence that is meant: from one probing of it to the next, at first and at most.
const QUIET_FIRST: Duration = Duration::from_secs(1);
const QUIET_MOST: Duration = Duration::from_secs(8);

/// The state of the selected way.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Sound is expected.
    expects: bool,
    heard: Option<Instant>,
    answered: Option<Instant>,
    consent_at: Option<Instant>,
    probing: Option<Probing>,
    /// Silence is not probed before.
    quiet_until: Option<Instant>,
    quiet: Duration,
    rtt: Duration,
    lost: Option<Instant>,
    came_back: bool,
    wanted: bool,
    ended: bool,
}

/// Checks that wait for an answer.
#[derive(Debug, Clone, Copy)]
struct Probing {
    since: Instant,
    next: Instant,
    /// For consent only: sound comes, or none is expected.
    consent: bool,
}

impl Probing {
    fn begin(now: Instant, consent: bool) -> Self {
        Self { since: now, next: now, consent }
    }
}

impl Liveness {
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Of late; zero before the first answer.
    pub fn round_trip(&self) -> Duration {
        self.rtt
    }

    pub fn consent_ended(&self) -> bool {
        self.ended
    }

    /// Whether the last answer ended a loss; told once.
    pub fn was_lost(&mut self) -> bool {
        std::mem::take(&mut self.came_back)
    }

    pub fn selected(&mut self, now: Instant, fraction: f64) {
        let (expects, rtt) = (self.expects, self.rtt);
        *self = Self { expects, rtt, heard: Some(now), ..Self::default() };
        self.schedule_consent(now, fraction);
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.quiet_until = None;
        self.quiet = Duration::ZERO;
    }

    pub fn answered(&mut self, now: Instant, asked: Instant, fraction: f64) {
        let rtt = now.saturating_duration_since(asked);
        self.rtt = if self.rtt.is_zero() { rtt } else { (self.rtt * 7 + rtt) / 8 };
        self.came_back = self.lost.take().is_some();
        self.wanted = false;
        self.schedule_consent(now, fraction);
        if self.probing.is_some_and(|p| asked >= p.since) {
            self.probing = None;
            self.quiet = (self.quiet * 2).clamp(QUIET_FIRST, QUIET_MOST);
            self.quiet_until = Some(now + self.quiet);
        }
    }

    fn schedule_consent(&mut self, now: Instant, fraction: f64) {
        self.answered = Some(now);
        self.consent_at = Some(now + CONSENT_EVERY.mul_f64(0.8 + 0.4 * fraction));
    }

    /// When a silence is probed.
    fn suspicious_at(&self) -> Option<Instant> {
        let silent = self.expects && self.probing.is_none_or(|p| p.consent);
        let at = self.heard.filter(|_| silent)? + PROBE_AFTER;
        Some(self.quiet_until.map_or(at, |until| at.max(until)))
    }

    /// When it is lost unless an answer comes.
    fn lost_at(&self) -> Option<Instant> {
        let probing = self.probing.filter(|_| self.lost.is_none())?;
        let patience = if probing.consent { CONSENT_MISSED } else { LOST_AFTER };
        Some(probing.since + patience.max(self.rtt * 3))
    }

    /// From this probe to the next.
    fn pace(&self, now: Instant, probing: Probing) -> Duration {
        let pace = match now.saturating_duration_since(probing.since) {
            _ if probing.consent => CONSENT_AGAIN,
            age if age > LOST_FAST => Duration::from_secs(1),
            _ if self.lost.is_some() => return LOST_EVERY,
            _ => PROBE_EVERY,
        };
        pace.max(self.rtt * 3 / 2)
    }
}

impl Agent {
    /// Sound of the other side's came this way.
    pub fn note_media(&mut self, now: Instant, path: Path) {
        if self.selected == Some(path) {
            self.liveness.heard(now);
            // It comes: what was suspected was loss. Whether ours arrives consent says.
            let silence = self.liveness.probing.is_some_and(|p| !p.consent);
            if self.liveness.lost.is_none() && silence {
                self.liveness.probing = None;
                self.liveness.consent_at.get_or_insert(now + CONSENT_AGAIN);
            }
        } else if self.liveness.probing.is_some_and(|p| !p.consent) {
            self.hear_elsewhere(now, path);
        }
    }

    /// Whether sound is expected to come: not before it did, nor on hold.
    pub fn expect_media(&mut self, expects: bool) {
        self.liveness.expects = expects;
    }

    /// Whether the selected way is dead, as far as can be told.
    pub fn is_lost(&self) -> bool {
        self.liveness.is_lost()
    }

    /// Something suggests that the way is none any more: it is probed now.
    pub fn probe(&mut self, now: Instant) {
        if self.selected.is_some() && self.liveness.probing.is_none() {
            self.liveness.probing = Some(Probing::begin(now, false));
            self.live(now);
        }
    }

    pub(super) fn live_at(&self) -> Option<Instant> {
        self.selected?;
        let l = &self.liveness;
        if l.ended {
            return None;
        }
        let ends = l.answered.map(|at| at + CONSENT_ENDS);
        let probe = l.probing.map(|p| p.next);
        let restart = l.lost.filter(|_| !l.wanted).map(|at| at + RESTART_AFTER);
        let times = [ends, l.consent_at, probe, l.lost_at(), restart, l.suspicious_at()];
        times.into_iter().flatten().min()
    }

    pub(super) fn live(&mut self, now: Instant) {
        let Some(path) = self.selected.filter(|_| !self.liveness.ended) else { return };
        if self.liveness.suspicious_at().is_some_and(|at| now >= at) {
            self.liveness.probing = Some(Probing::begin(now, false));
        }
        if self.liveness.consent_at.is_some_and(|at| now >= at) {
            // Until it is answered the probes are the consent checks.
            self.liveness.consent_at = None;
            self.liveness.probing.get_or_insert(Probing::begin(now, true));
        }
        if let Some(probing) = self.liveness.probing.filter(|p| now >= p.next) {
            let next = now + self.liveness.pace(now, probing);
            self.liveness.probing = Some(Probing { next, ..probing });
            self.check(now, path, self.controlling, true);
        }
        self.judge(now);
    }

    /// How long it is dead, and what follows.
    fn judge(&mut self, now: Instant) {
        self.reconsider(now);
        if self.liveness.lost_at().is_some_and(|at| now >= at) {
            self.lose(now);
        }
        let wants = self.liveness.lost.is_some_and(|at| now >= at + RESTART_AFTER);
        if wants && !std::mem::replace(&mut self.liveness.wanted, true) {
            self.events.push_back(AgentEvent::RestartWanted);
        }
        if self.liveness.answered.is_some_and(|at| now >= at + CONSENT_ENDS) {
            // RFC 7675 §5.1: these credentials are done with.
            self.liveness.ended = true;
            self.checks.clear();
            self.events.push_back(AgentEvent::ConsentEnded);
        }
    }

    fn lose(&mut self, now: Instant) {
        self.liveness.lost = Some(now);
        if let Some(probing) = &mut self.liveness.probing {
            probing.consent = false;
            probing.since = now;
        }
        self.events.push_back(AgentEvent::Lost);
        for pair in self.pairs.iter_mut().filter(|p| Some(p.path) != self.selected) {
            pair.state = State::Waiting;
        }
        self.sent = 0;
        self.wake(now);
    }

    /// A way that is answered takes over from one that is not.
    pub(super) fn reconsider(&mut self, now: Instant) {
        let Some(Probing { since, consent, .. }) = self.liveness.probing else { return };
        // One consent check lost while sound comes is no reason: it is asked again.
        if (consent || now < since + SWITCH_AFTER) && !self.liveness.is_lost() {
            return;
        }
        let answered = |at: Option<Instant>| at.is_some_and(|at| at >= since);
        let alive = self.pairs.iter().filter(|p| p.is_valid() && answered(p.answered));
        let Some(path) = alive.max_by_key(|p| p.priority).map(|p| p.path) else { return };
        if Some(path) == self.selected {
            return;
        }
        if self.controlling {
            self.check(now, path, true, true);
        }
        self.select(now, path);
    }
}
