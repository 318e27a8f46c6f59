//! Retransmission (RFC 6189 §6).

use std::time::{Duration, Instant};

/// T1, for Hello.
const T1: Duration = Duration::from_millis(50);
const T1_MAX: Duration = Duration::from_millis(200);
const T1_RETRIES: u32 = 20;
/// T2, for what the initiator sends, and for Error.
const T2: Duration = Duration::from_millis(150);
const T2_MAX: Duration = Duration::from_millis(1200);
const T2_RETRIES: u32 = 10;

/// A message that is sent until it is answered.
pub(super) struct Resend {
    pub due: Instant,
    message: Vec<u8>,
    interval: Duration,
    longest: Duration,
    left: u32,
}

impl Resend {
    pub(super) fn t1(now: Instant, message: Vec<u8>) -> Self {
        Self { due: now + T1, message, interval: T1, longest: T1_MAX, left: T1_RETRIES }
    }

    pub(super) fn t2(now: Instant, message: Vec<u8>) -> Self {
        Self { due: now + T2, message, interval: T2, longest: T2_MAX, left: T2_RETRIES }
    }

    /// It was heard: only the time to wait for more goes on.
    pub(super) fn heard(&mut self) {
        self.message.clear();
    }

    /// The message once more (nothing in it: only wait); nothing when it was sent often enough.
    pub(super) fn next(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        self.interval = (2 * self.interval).min(self.longest);
        self.due = now + self.interval;
        Some(self.message.clone())
    }
}
