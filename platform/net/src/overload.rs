//! Shed before collapse: what a shard that cannot keep up turns away, and how much of it
//! (docs/design/0037).
//!
//! ```text
//!   how long did work wait? ──► every 50 ms ──► share of new work that is taken
//!                                 longer than the target: less, by as much as it was longer
//!                                 nothing waits: a little more, and much more
//!                                 right after too much was shed
//!
//!   responses, ACK, CANCEL, BYE, anything in a dialog, emergencies ──► always taken
//!   new work of peers that authenticated, or that shows credentials ─► four times the share
//!   other new work ──────────────────────────────────────────────────► the share
//!   turned away ─► 503 with Retry-After, at most one for every four requests taken; the rest in
//!                  silence
//! ```
//!
//! Which new work is taken is decided by its Call-ID, so that a retransmission, or the second
//! request after a challenge, meets the same answer as the first.

use std::time::{Duration, Instant};

use sansio::KeyedHasher;
use sip::Glance;

/// How often the share is looked at.
pub(crate) const STEP: Duration = Duration::from_millis(50);
/// The same while nothing comes in.
const QUIET_STEP: Duration = Duration::from_millis(250);
/// The least share: something always gets in, to learn when it is over.
const SHARE_MIN: f64 = 0.002;
/// How much faster known work gets in.
const KNOWN_FACTOR: f64 = 4.0;
/// The chosen Call-IDs change after so many steps: those of registrations stay the same for ever.
const STEPS_OF_A_CHOICE: u64 = 320;
/// Steps in a row that must be too long before anything is shed.
const LATE_MIN: u32 = 3;
/// Refusals saved up.
const REFUSALS_MAX: u32 = 100;
/// Requests taken for each refusal: one costs a fifth of a call, with the ACK that comes back.
const TAKEN_FOR_A_REFUSAL: u32 = 4;
/// How fast the share grows back while nothing waits after a cut, until something does.
const SEEK: f64 = 1.2;
/// How fast it grows otherwise.
const GROW: f64 = 1.05;
/// The least and most seconds to ask for.
const RETRY_AFTER_S: (u64, u64) = (4, 64);

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is taken.
    Take,
    /// It is answered 503, to come back after so many seconds.
    Refuse {
        /// Retry-After.
        seconds: u64,
        /// What makes the To tag: the same for each retransmission (RFC 3261 §8.2.7).
        tag: u64,
    },
    /// It is dropped: an answer would cost what it saves.
    Discard,
}

/// The load of one shard.
#[derive(Debug)]
pub(crate) struct Overload {
    /// What may wait how long; zero for no shedding.
    target: Duration,
    hasher: KeyedHasher,
    /// The share of new work that is taken, 0 to 1.
    share: f64,
    steps: u64,
    stepped: Instant,
    /// Datagrams taken since.
    taken: usize,
    /// Steps in a row that were too long.
    late: u32,
    /// The wait at the last step, in seconds.
    waited: f64,
    /// Requests taken for which nobody was refused yet.
    refusals: u32,
    /// The share was cut until nothing waited: how much fits is not known yet.
    is_seeking: bool,
    /// Since it last sought, something waited too long.
    was_late: bool,
    /// Nothing came in during the last step, and nothing is shed.
    is_quiet: bool,
}

impl Overload {
    pub(crate) fn new(target: Duration, now: Instant, secret: [u8; 16]) -> Self {
        Self {
            target,
            hasher: KeyedHasher::new(secret),
            share: 1.0,
            steps: 0,
            stepped: now,
            taken: 0,
            late: 0,
            waited: 0.0,
            refusals: REFUSALS_MAX * TAKEN_FOR_A_REFUSAL,
            is_seeking: false,
            was_late: false,
            is_quiet: false,
        }
    }

    /// How long the next step should be: while nothing comes in, a longer one, so that an idle shard
    /// sleeps.
    pub(crate) fn next_step(&self) -> Duration {
        if self.is_quiet { QUIET_STEP } else { STEP }
    }

    /// So many datagrams were taken from the kernel.
    pub(crate) fn note(&mut self, taken: usize) {
        self.taken += taken;
    }

    /// A step is over: so many datagrams wait in the kernel, and this task itself waited `lag` for
    /// its turn.
    pub(crate) fn step(&mut self, now: Instant, queued: usize, lag: Duration) {
        let passed = now.saturating_duration_since(self.stepped).as_secs_f64().max(0.001);
        self.is_quiet = self.taken == 0 && queued == 0 && lag < STEP && self.share >= 1.0;
        let rate = std::mem::take(&mut self.taken) as f64 / passed;
        self.stepped = now;
        self.steps += 1;
        if self.target.is_zero() {
            return;
        }
        // What waits will have waited this long when it is taken, at the pace of this step.
        let wait = (queued as f64 / rate.max(1.0)).max(lag.as_secs_f64());
        let (ratio, falls) = (wait / self.target.as_secs_f64(), wait < self.waited);
        self.waited = wait;
        self.late = if ratio > 1.0 { self.late + 1 } else { 0 };
        self.is_seeking = match ratio {
            some if some > 0.25 => false,
            little if little < 0.05 && self.was_late => true,
            _ => self.is_seeking,
        };
        self.was_late |= ratio > 1.0;
        self.was_late &= !self.is_seeking;
        self.share *= match ratio {
            // One hiccup of the machine is no overload.
            _ if (1..LATE_MIN).contains(&self.late) => 1.0,
            // What was shed already shows.
            over if over > 1.0 && falls => 1.0,
            over if over > 1.0 => (1.0 / over).clamp(0.6, 0.95),
            // A little waits: the shard is busy, and nobody suffers.
            some if some > 0.5 => 1.0,
            _ if self.is_seeking => SEEK,
            _ => GROW,
        };
        self.share = self.share.clamp(SHARE_MIN, 1.0);
    }

    /// The share of new work that is turned away, 0 to 1.
    pub(crate) fn shed_share(&self) -> f64 {
        1.0 - self.share
    }

    /// What becomes of a message; asked only while something is shed.
    pub(crate) fn fate(&mut self, message: &Glance<'_>, is_known: bool) -> Fate {
        if !message.begins_work() || message.is_emergency {
            return Fate::Take;
        }
        let known = is_known || message.has_credentials;
        let share = if known { self.share * KNOWN_FACTOR } else { self.share };
        let choice = self.hasher.word(self.steps / STEPS_OF_A_CHOICE);
        let lot = choice.bytes(message.call_id).finish();
        if (lot >> 11) as f64 / (1_u64 << 53) as f64 <= share {
            self.refusals = (self.refusals + 1).min(REFUSALS_MAX * TAKEN_FOR_A_REFUSAL);
            return Fate::Take;
        }
        if self.refusals < TAKEN_FOR_A_REFUSAL {
            return Fate::Discard;
        }
        self.refusals -= TAKEN_FOR_A_REFUSAL;
        // The more must wait, the longer and the wider they are spread.
        let (least, most) = RETRY_AFTER_S;
        let span = ((least as f64 / self.share) as u64).clamp(least, most);
        Fate::Refuse { seconds: least + (lot & 0xffff) % span, tag: choice.word(lot).finish() }
    }
}

#[cfg(test)]
mod tests;
