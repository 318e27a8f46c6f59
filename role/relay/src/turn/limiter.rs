//! How many answers a source gets that proved nothing: what an attacker could reflect off us.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Instant;

use foldhash::quality::FixedState;

/// Sources share a bucket by chance once there are this many; under a flood from everywhere all of
/// them are empty, which is the point.
const BUCKETS: usize = 4096;
/// A bucket counts in thousandths.
const ONE: u64 = 1000;

#[derive(Debug)]
pub(super) struct Limiter {
    hasher: FixedState,
    began: Instant,
    per_s: u64,
    burst: u64,
    buckets: Box<[Bucket]>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    /// Milliseconds since `began`.
    at: u32,
}

impl Limiter {
    pub(super) fn new(now: Instant, seed: u64, (per_s, burst): (u32, u32)) -> Self {
        let (per_s, burst) = (u64::from(per_s), u64::from(burst.min(1_000_000)) * ONE);
        let full = Bucket { left: burst as u32, at: 0 };
        let buckets = vec![full; BUCKETS].into_boxed_slice();
        Self { hasher: FixedState::with_seed(seed), began: now, per_s, burst, buckets }
    }

    /// Whether this source may have one more answer.
    pub(super) fn allows(&mut self, source: IpAddr, now: Instant) -> bool {
        let prefix = match source.to_canonical() {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            // A subscriber has a /64.
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 | 1 << 63,
        };
        let hash = self.hasher.hash_one(prefix) as usize % BUCKETS;
        let bucket = &mut self.buckets[hash];
        let elapsed = now.saturating_duration_since(self.began);
        // It wraps after 49 days, as the difference below does.
        let at = elapsed.as_millis() as u32;
        let grown = u64::from(at.wrapping_sub(bucket.at)) * self.per_s;
        let left = (u64::from(bucket.left) + grown).min(self.burst);
        *bucket = Bucket { left: left as u32, at };
        let allowed = left >= ONE;
        if allowed {
            bucket.left -= ONE as u32;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn r6_6_a_source_gets_its_burst_and_then_its_rate_and_others_theirs() {
        let epoch = sansio::testing::epoch();
        let mut limiter = Limiter::new(epoch, 7, (50, 250));
        let mut asked = |ip: &str, n: usize, at: Duration| {
            let ip = ip.parse().unwrap();
            (0..n).filter(|_| limiter.allows(ip, epoch + at)).count()
        };
        assert_eq!(asked("192.0.2.1", 1000, Duration::ZERO), 250);
        assert_eq!(asked("192.0.2.1", 1000, Duration::from_secs(1)), 50);
        assert_eq!(asked("192.0.2.2", 100, Duration::from_secs(1)), 100);
        assert_eq!(asked("2001:db8::1", 250, Duration::from_secs(1)), 250);
        assert_eq!(asked("2001:db8::ffff:2", 9, Duration::from_secs(1)), 0, "the same /64");
        assert_eq!(asked("192.0.2.1", 1000, Duration::from_secs(5_000_000)), 250, "years later");
    }
}
