//! A token bucket in one atomic cell (the generic cell rate algorithm).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The time, in microseconds, at which the bucket is full again.
pub(super) struct Bucket<'a>(pub(super) &'a AtomicU64);

impl Bucket<'_> {
    /// Takes one of `rate` a second, or of `burst` saved up; false if there is none. A rate of 0 is
    /// no limit. Two shards at one instant may take one for two: the limit is for floods.
    pub(super) fn take(&self, now_ms: u64, (rate, burst): (u32, u32)) -> bool {
        if rate == 0 {
            return true;
        }
        let each = 1_000_000 / u64::from(rate).min(1_000_000);
        let now = now_ms * 1000;
        let full = self.0.load(Relaxed).max(now);
        if full - now > each * u64::from(burst.max(1) - 1) {
            return false;
        }
        self.0.store(full + each, Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let cell = AtomicU64::new(0);
        let take = |now| (0..1000).take_while(|_| Bucket(&cell).take(now, (100, 50))).count();
        assert_eq!((take(5), take(5)), (50, 0));
        assert_eq!(take(105), 10);
        assert_eq!(take(100_000), 50, "no more than the burst is saved");
        assert!((0..1000).all(|_| Bucket(&cell).take(1, (0, 0))));
    }
}
