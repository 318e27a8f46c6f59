//! Signs of a scanner, and the score they add up to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Below this a score is forgotten.
const FORGOTTEN: f32 = 0.5;

/// Something good phones do rarely and scanners do all the time. `name` is a hash of the account
/// meant: many different ones are a sweep, one again and again is a wrong setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Its User-Agent is a scanner's.
    Scanner,
    /// More messages than allowed.
    Flood,
    /// A message that is not SIP, or breaks framing.
    Malformed,
    /// A TLS or WebSocket handshake that failed, a message that never ended.
    Handshake,
    /// Wrong credentials.
    WrongPassword {
        /// Whose.
        name: u64,
    },
    /// A user that does not exist, asked for by a stranger.
    MissingUser {
        /// Whose.
        name: u64,
    },
    /// A domain that is not served here, or no user where one belongs.
    Astray,
}

impl Sign {
    /// Its word in lists and events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scanner => "scanner",
            Self::Flood => "flood",
            Self::Malformed => "malformed",
            Self::Handshake => "handshake",
            Self::WrongPassword { .. } => "wrong-password",
            Self::MissingUser { .. } => "missing-user",
            Self::Astray => "astray",
        }
    }

    /// The sign of a word, without the account it was about.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [
            Self::Scanner,
            Self::Flood,
            Self::Malformed,
            Self::Handshake,
            Self::WrongPassword { name: 0 },
            Self::MissingUser { name: 0 },
            Self::Astray,
        ];
        all.into_iter().find(|sign| sign.word() == word)
    }

    pub(super) fn name(self) -> Option<u64> {
        match self {
            Self::WrongPassword { name } | Self::MissingUser { name } => Some(name),
            _ => None,
        }
    }

    /// Of the 100 that ban a source by default.
    pub(super) fn points(self, is_new_name: bool) -> f32 {
        match self {
            Self::Scanner => 100.0,
            // 2,000 messages over the limit, less than a tenth of a second of a real flood.
            Self::Flood => 0.05,
            Self::Malformed | Self::Handshake => 5.0,
            Self::WrongPassword { .. } if is_new_name => 10.0,
            Self::WrongPassword { .. } => 2.0,
            Self::MissingUser { .. } if is_new_name => 5.0,
            Self::MissingUser { .. } => 0.0,
            Self::Astray => 10.0,
        }
    }
}

/// Of 64 names a source may mean, the one a hash stands for. Beyond some dozens all look known, by
/// which time the source is banned.
pub(super) fn names_bit(name: u64) -> u64 {
    1 << (name >> 58)
}

/// A score that halves with time: its bits above, the time in tenths of a second below.
pub(super) struct Conduct<'a>(pub(super) &'a AtomicU64);

impl Conduct<'_> {
    /// Adds points; the score now. Two shards at one instant may lose one sign.
    pub(super) fn add(&self, now_ms: u64, points: f32, half_life: Duration) -> f32 {
        let now = (now_ms / 100) as u32;
        let cell = self.0.load(Relaxed);
        let (score, at) = (f32::from_bits((cell >> 32) as u32), cell as u32);
        let halves = now.saturating_sub(at) as f32 / 10.0 / half_life.as_secs_f32().max(1.0);
        let score = score * (-halves).exp2() + points;
        self.0.store(u64::from(score.to_bits()) << 32 | u64::from(now), Relaxed);
        score
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    pub(super) fn is_suspect(&self) -> bool {
        f32::from_bits((self.0.load(Relaxed) >> 32) as u32) > FORGOTTEN
    }
}
