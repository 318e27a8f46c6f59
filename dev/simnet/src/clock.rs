//! Virtual time: an instant for machines, a time of day for people, both from one counter.

use std::time::{Duration, Instant};

use sansio::WallTime;

/// When every simulation begins: 2026-01-01T00:00:00Z.
const WALL_START: WallTime = WallTime::from_secs(1_767_225_600);

/// The clock of one simulation. It moves only when told to.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    elapsed: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: sansio::testing::epoch(), elapsed: Duration::ZERO }
    }

    /// Time since the simulation began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    pub(crate) fn now(&self) -> Instant {
        self.start + self.elapsed
    }

    pub(crate) fn wall(&self) -> WallTime {
        WALL_START + self.elapsed
    }

    /// How far `at` lies after the beginning.
    pub(crate) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Moves to `at`. Time never runs back.
    pub(crate) fn advance_to(&mut self, at: Instant) {
        self.elapsed = self.elapsed.max(self.since_start(at));
    }
}
