//! How long packets should wait, from how unevenly they come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Packets looked back on: 2 s of 20 ms packets.
const WINDOW: usize = 100;
/// Added to what the network needs: unevenness of the player itself.
const MARGIN_US: i64 = 10_000;
/// Bounds of the target.
const TARGET_MIN_US: i64 = 15_000;
const TARGET_MAX_US: i64 = 1_000_000;
/// The delay may exceed the target by this before the signal is shortened: one frame, which is the
/// phase between arrival and playing, and half of one against hunting.
const SHRINK_ABOVE_US: i64 = 30_000;
/// And fall below it by this before the signal is stretched.
const GROW_BELOW_US: i64 = 8_000;
/// The excess must have held for this many frames: a player that wakes up late once sees a delay
/// that is none.
const SHRINK_AFTER: usize = 5;
/// A step back to a faster path is believed after this many packets, if this many were slow before.
const STEP_FAST: usize = 15;
const STEP_SLOW: usize = 25;

/// Measures transit times against the fastest recent packet (RFC 3550 §6.4.1 calls them relative)
/// and takes the second longest of two seconds as the need.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    clock_rate: i64,
    epoch: Option<Instant>,
    transits: VecDeque<i64>,
    base: i64,
    target: i64,
    /// From arrival (of a packet as fast as the fastest) to being taken, and to being heard.
    wait: i64,
    current: i64,
    /// The last values of `current`.
    recent: VecDeque<i64>,
    extra: i64,
    slow_run: usize,
    fast_run: usize,
    losses: VecDeque<bool>,
}

impl DelayEstimator {
    pub(super) fn new(clock_rate: i64) -> Self {
        Self {
            clock_rate,
            epoch: None,
            transits: VecDeque::new(),
            base: 0,
            target: TARGET_MIN_US,
            wait: 0,
            current: 0,
            recent: VecDeque::new(),
            extra: 0,
            slow_run: 0,
            fast_run: 0,
            losses: VecDeque::new(),
        }
    }

    /// A packet with this timestamp arrived at `now`.
    pub(super) fn note(&mut self, now: Instant, timestamp: i64) {
        let epoch = *self.epoch.get_or_insert(now);
        let arrival = now.saturating_duration_since(epoch).as_micros() as i64;
        self.transits.push_back(arrival - self.to_us(timestamp));
        if self.transits.len() > WINDOW {
            self.transits.pop_front();
        }
        self.watch_for_step();
        self.update_target();
    }

    /// A packet was played, after a loss or not.
    pub(super) fn note_loss(&mut self, lost: bool) {
        self.losses.push_back(lost);
        if self.losses.len() > WINDOW {
            self.losses.pop_front();
        }
    }

    /// What has this timestamp is taken at `now` and heard after `ahead`.
    pub(super) fn taken(&mut self, now: Instant, ahead: Duration, timestamp: i64) {
        let Some(epoch) = self.epoch else { return };
        let now = now.saturating_duration_since(epoch).as_micros() as i64;
        self.wait = now - self.to_us(timestamp) - self.base;
        self.current = self.wait + ahead.as_micros() as i64;
        self.recent.push_back(self.current);
        if self.recent.len() > SHRINK_AFTER {
            self.recent.pop_front();
        }
    }

    /// The signal was shortened by this many samples: what was measured before is less by that.
    pub(super) fn shortened_by(&mut self, samples: i64) {
        let us = self.to_us(samples);
        self.recent.iter_mut().for_each(|delay| *delay -= us);
    }

    pub(super) fn set_extra(&mut self, samples: i64) {
        self.extra = self.to_us(samples);
    }

    pub(super) fn advice(&self) -> Advice {
        // Too much is judged by what is heard, too little by what has to be here in time.
        let least = self.recent.iter().min().filter(|_| self.recent.len() == SHRINK_AFTER);
        let excess = least.map_or(0, |least| least - self.wanted());
        if excess > SHRINK_ABOVE_US {
            Advice::Shrink { excess: micros(excess) }
        } else if self.wait < self.wanted() - GROW_BELOW_US {
            Advice::Grow
        } else {
            Advice::Steady
        }
    }

    /// Whether the delay is below its target by more than this many samples.
    pub(super) fn is_short_by(&self, samples: i64) -> bool {
        self.wait < self.wanted() - self.to_us(samples)
    }

    pub(super) fn current(&self) -> Duration {
        micros(self.current)
    }

    pub(super) fn target(&self) -> Duration {
        micros(self.wanted())
    }

    /// The target, and a packet more when losses are frequent enough for repair to pay.
    fn wanted(&self) -> i64 {
        let lossy = self.losses.iter().filter(|lost| **lost).count() >= 2;
        (self.target + if lossy { self.extra } else { 0 }).min(TARGET_MAX_US)
    }

    fn update_target(&mut self) {
        let (mut min, mut longest, mut second) = (i64::MAX, i64::MIN, i64::MIN);
        for transit in &self.transits {
            min = min.min(*transit);
            if *transit > longest {
                (longest, second) = (*transit, longest);
            } else {
                second = second.max(*transit);
            }
        }
        self.base = min;
        let need = if self.transits.len() >= WINDOW / 2 { second } else { longest } - min;
        self.target = (need + MARGIN_US).clamp(TARGET_MIN_US, TARGET_MAX_US);
    }

    /// A slow stretch that ended is forgotten at once, not after the window: the delay it needed
    /// would otherwise stay for two seconds more.
    fn watch_for_step(&mut self) {
        let Some(last) = self.transits.back() else { return };
        let base = self.base.min(*last);
        if *last - base > (self.target - MARGIN_US) / 2 {
            self.slow_run = if self.fast_run > 0 { 1 } else { self.slow_run + 1 };
            self.fast_run = 0;
        } else {
            self.fast_run += 1;
        }
        if self.fast_run >= STEP_FAST && self.slow_run >= STEP_SLOW {
            self.transits.drain(..self.transits.len().saturating_sub(STEP_FAST));
            self.slow_run = 0;
        }
    }

    fn to_us(&self, samples: i64) -> i64 {
        samples * 1_000_000 / self.clock_rate
    }
}

/// What should happen to the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    Steady,
    /// Play faster for a moment: the delay is this much above what is needed.
    Shrink {
        /// By how much.
        excess: Duration,
    },
    /// Play slower for a moment.
    Grow,
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}
