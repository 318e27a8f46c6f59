//! The beat of twenty milliseconds that sound goes by.

use std::time::{Duration, Instant};

/// One frame of sound.
pub const BEAT: Duration = Duration::from_millis(20);
/// Beats made good after being late; beyond that (a stopped process) time is let go.
const LATE_MAX: u32 = 25;

/// Says when the next beat is due. Beats missed by a short delay follow at once, so that as many
/// frames go out as time has passed.
#[derive(Debug)]
pub struct Pace {
    next: Instant,
}

impl Pace {
    /// The first beat is due at `start`.
    pub fn new(start: Instant) -> Self {
        Self { next: start }
    }

    /// When the next beat is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// A beat is being played at `now`.
    pub fn beat(&mut self, now: Instant) {
        self.next += BEAT;
        if now.saturating_duration_since(self.next) > BEAT * LATE_MAX {
            self.next = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats_until(pace: &mut Pace, now: Instant) -> usize {
        let mut beats = 0;
        while pace.next() <= now {
            pace.beat(now);
            beats += 1;
        }
        beats
    }

    #[test]
    fn as_many_beats_as_time_passed_even_when_briefly_late() {
        let start = sansio::testing::epoch();
        let mut pace = Pace::new(start);
        let mut beats = 0;
        // Looked at every 7 ms, once with 300 ms between, for three seconds.
        for ms in (0..1000).step_by(7).chain((1300..=3000).step_by(7)) {
            beats += beats_until(&mut pace, start + Duration::from_millis(ms));
        }
        assert_eq!(beats, 150);
    }

    #[test]
    fn after_a_long_stop_there_is_no_burst() {
        let start = sansio::testing::epoch();
        let mut pace = Pace::new(start);
        assert_eq!(beats_until(&mut pace, start), 1);
        let later = start + Duration::from_secs(60);
        assert!(beats_until(&mut pace, later) <= 3);
        assert!(pace.next() > later);
    }
}
