//! [`Answer`]: a 2xx to INVITE, sent until acknowledged (RFC 3261 §13.3.1.4).

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The UAS core's part of answering: the transaction layer does not send a 2xx again, because the
/// ACK of a 2xx comes end to end.
///
/// ```text
///   new ──► Sending ── handle_ack ──► Acknowledged
///           │  ▲ T1, 2*T1 .. T2: poll_transmit
///           └──┘
///           └─ 64*T1 ──► Unacknowledged: hang up with BYE
/// ```
#[derive(Clone)]
pub struct Answer {
    response: Bytes,
    seq: u32,
    interval: Duration,
    interval_max: Duration,
    next: Instant,
    end: Instant,
    outcome: Option<AnswerOutcome>,
    due: bool,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer(CSeq {} {:?})", self.seq, self.outcome)
    }
}

/// How sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerOutcome {
    /// The ACK came.
    Acknowledged,
    /// No ACK within 64*T1: the session should be ended with BYE.
    Unacknowledged,
}

impl Answer {
    /// The 2xx `response` to the INVITE with CSeq number `seq` was just sent once. `t1` and `t2` are
    /// those of the [transaction layer](crate::transaction::Config).
    pub fn new(now: Instant, response: Bytes, seq: u32, t1: Duration, t2: Duration) -> Self {
        Self {
            response,
            seq,
            interval: t1,
            interval_max: t2,
            next: now + t1,
            end: now + t1 * 64,
            outcome: None,
            due: false,
        }
    }

    /// An ACK came in the dialog, with this CSeq number. True when it is ours.
    pub fn handle_ack(&mut self, seq: u32) -> bool {
        if seq == self.seq && self.outcome.is_none() {
            self.outcome = Some(AnswerOutcome::Acknowledged);
            self.due = false;
        }
        seq == self.seq
    }

    /// Fires what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        if now >= self.end {
            self.outcome = Some(AnswerOutcome::Unacknowledged);
        } else if now >= self.next {
            self.interval = (self.interval * 2).min(self.interval_max);
            self.next = now + self.interval;
            self.due = true;
        }
    }

    /// The 2xx, when it is to be sent again.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.due).then(|| self.response.clone())
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outcome.is_none().then(|| self.next.min(self.end))
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<AnswerOutcome> {
        self.outcome
    }
}
