//! Loss of the last second, told to the ways: whoever chooses among them moves where it is less (R5.9).
//!
//! The far end's reports come every five seconds. Where it is the one that chooses the way, and we hear
//! loss, we report at once.

use std::time::{Duration, Instant};

use ice::agent::BAD_PERCENT;

use super::Session;
use crate::traversal::Traversal;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);
/// Fewer packets than half a second of speech say nothing: a pause is no loss.
const PACKETS_MIN: u64 = 25;

/// What was counted when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Loss {
    due: Option<Instant>,
    expected: u64,
    received: u64,
}

impl Loss {
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The share of the packets since the last look that did not come, in percent.
    fn since(&mut self, expected: u64, received: u64) -> Option<u8> {
        let due = expected.saturating_sub(self.expected);
        let came = received.saturating_sub(self.received);
        (self.expected, self.received) = (expected, received);
        if due < PACKETS_MIN {
            return None;
        }
        Some((due.saturating_sub(came) * 100 / due).min(100) as u8)
    }
}

impl Session {
    /// Looks at what came, each second while ICE is spoken.
    pub(super) fn watch_loss(&mut self, now: Instant) {
        if !self.traversal.as_ref().is_some_and(Traversal::speaks_ice) {
            self.loss = Loss::default();
            return;
        }
        if self.loss.due.is_some_and(|due| now < due) {
            return;
        }
        self.loss.due = Some(now + EVERY);
        let totals = self.inbound.totals();
        if let Some(percent) = self.loss.since(totals.expected, totals.received) {
            let leads = self.note_loss(now, percent);
            if percent >= BAD_PERCENT && !leads {
                self.reports.hurry(now);
            }
        }
    }

    /// Tells the ways, and whether it is us who choose among them.
    pub(super) fn note_loss(&mut self, now: Instant, percent: u8) -> bool {
        let Some(traversal) = &mut self.traversal else { return true };
        let leads = traversal.note_loss(now, percent);
        self.drain_traversal();
        leads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_judged_by_itself_and_a_pause_not_at_all() {
        let mut loss = Loss::default();
        assert_eq!(loss.since(50, 50), Some(0));
        assert_eq!(loss.since(100, 90), Some(20), "ten of these fifty");
        assert_eq!(loss.since(110, 95), None, "ten packets say nothing");
        assert_eq!(loss.since(160, 150), Some(0), "five that were late make up for it");
        assert_eq!(loss.since(40, 40), None, "counts that began anew are no loss");
    }
}
