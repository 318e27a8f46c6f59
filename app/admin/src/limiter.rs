//! How often someone may try to sign in. Pure: time is an argument.
//!
//! Two buckets are charged by each attempt: one of the account as seen from this source, one of the
//! source as a whole. An attempt that succeeds is given back. Neither bucket locks an account for
//! its owner elsewhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many attempts are let through.
#[derive(Debug, Clone)]
pub struct LoginLimits {
    /// Failures of one account from one source within `window`.
    pub per_account: u32,
    /// Failures from one source within `window`, whatever the account.
    pub per_source: u32,
    /// How long a spent bucket takes to be full again.
    pub window: Duration,
    /// Sources on this machine have no limit by source; the one by account stays.
    pub loopback_exempt: bool,
    /// Buckets kept at most; the one untouched for longest makes room.
    pub entries_max: usize,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            per_account: 10,
            per_source: 60,
            window: Duration::from_secs(300),
            loopback_exempt: true,
            entries_max: 20_000,
        }
    }
}

/// The buckets.
#[derive(Debug)]
pub struct LoginLimiter {
    limits: LoginLimits,
    buckets: HashMap<Key, Bucket>,
}

impl LoginLimiter {
    /// With nothing spent.
    pub fn new(limits: LoginLimits) -> Self {
        Self { limits, buckets: HashMap::new() }
    }

    /// Charges an attempt before it is checked.
    ///
    /// # Errors
    /// How long to wait, when a bucket is empty; nothing is charged then.
    pub fn charge(&mut self, now: Instant, source: IpAddr, account: &str) -> Result<(), Duration> {
        let keys = self.keys(source, account);
        let wait = keys.iter().flatten().filter_map(|(key, size)| self.wait(now, key, *size)).max();
        if let Some(wait) = wait {
            return Err(wait);
        }
        for (key, size) in keys.into_iter().flatten() {
            self.make_room(now, &key);
            let level = self.level(now, &key, size) - 1.0;
            self.buckets.insert(key, Bucket { level, at: now });
        }
        Ok(())
    }

    /// Gives an attempt back that turned out to be right.
    pub fn refund(&mut self, now: Instant, source: IpAddr, account: &str) {
        for (key, size) in self.keys(source, account).into_iter().flatten() {
            let level = (self.level(now, &key, size) + 1.0).min(f64::from(size));
            if level >= f64::from(size) {
                self.buckets.remove(&key);
            } else {
                self.buckets.insert(key, Bucket { level, at: now });
            }
        }
    }

    fn keys(&self, source: IpAddr, account: &str) -> [Option<(Key, u32)>; 2] {
        let source = network(source);
        let account = Key { source, account: Some(account.to_ascii_lowercase()) };
        let exempt = self.limits.loopback_exempt && source.is_loopback();
        let by_source =
            (!exempt).then_some((Key { source, account: None }, self.limits.per_source));
        [Some((account, self.limits.per_account)), by_source]
    }

    fn level(&self, now: Instant, key: &Key, size: u32) -> f64 {
        let size = f64::from(size);
        let Some(bucket) = self.buckets.get(key) else { return size };
        let gained = size * now.saturating_duration_since(bucket.at).as_secs_f64()
            / self.limits.window.as_secs_f64().max(0.001);
        (bucket.level + gained).min(size)
    }

    fn wait(&self, now: Instant, key: &Key, size: u32) -> Option<Duration> {
        let missing = 1.0 - self.level(now, key, size);
        // Rounding must not keep someone out who waited as long as told.
        (missing > 1e-9).then(|| self.limits.window.mul_f64(missing / f64::from(size.max(1))))
    }

    fn make_room(&mut self, now: Instant, key: &Key) {
        if self.buckets.len() < self.limits.entries_max || self.buckets.contains_key(key) {
            return;
        }
        let window = self.limits.window;
        self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.at) < window);
        if self.buckets.len() >= self.limits.entries_max {
            let oldest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.buckets.remove(&oldest);
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    /// `None`: the source as a whole.
    account: Option<String>,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

/// A subscriber of IPv6 has a /64 at least, so one address says nothing.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let mut octets = v6.octets();
            octets[8..].fill(0);
            IpAddr::from(octets)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn limiter(per_account: u32, per_source: u32) -> LoginLimiter {
        let limits = LoginLimits { per_account, per_source, ..LoginLimits::default() };
        LoginLimiter::new(limits)
    }

    #[test]
    fn an_account_waits_as_long_as_told_and_no_longer() {
        let (mut limiter, now) = (limiter(3, 100), Instant::now());
        for _ in 0..3 {
            limiter.charge(now, HERE, "alice@a").unwrap();
        }
        let wait = limiter.charge(now, HERE, "ALICE@a").unwrap_err();
        assert_eq!(wait, Duration::from_secs(100));
        assert!(limiter.charge(now + wait - Duration::from_secs(1), HERE, "alice@a").is_err());
        limiter.charge(now + wait, HERE, "alice@a").unwrap();
        assert!(limiter.charge(now + wait, HERE, "alice@a").is_err());
    }

    #[test]
    fn another_source_and_another_account_are_not_held() {
        let (mut limiter, now) = (limiter(1, 100), Instant::now());
        limiter.charge(now, HERE, "alice@a").unwrap();
        assert!(limiter.charge(now, HERE, "alice@a").is_err());
        limiter.charge(now, HERE, "bob@a").unwrap();
        limiter.charge(now, "192.0.2.2".parse().unwrap(), "alice@a").unwrap();
    }

    #[test]
    fn a_source_that_tries_many_accounts_is_held_unless_it_is_this_machine() {
        let (mut limiter, now) = (limiter(5, 4), Instant::now());
        for i in 0..4 {
            limiter.charge(now, HERE, &format!("user{i}@a")).unwrap();
        }
        assert!(limiter.charge(now, HERE, "user5@a").is_err());
        for i in 0..50 {
            limiter.charge(now, "127.0.0.1".parse().unwrap(), &format!("user{i}@a")).unwrap();
        }
        let net: Vec<IpAddr> = (0..5).map(|i| format!("2001:db8::{i}").parse().unwrap()).collect();
        let held = net.iter().filter(|ip| limiter.charge(now, **ip, &ip.to_string()).is_err());
        assert_eq!(held.count(), 1, "one /64 is one source");
    }

    #[test]
    fn success_is_given_back_and_refusals_charge_nothing() {
        let (mut limiter, now) = (limiter(2, 100), Instant::now());
        for _ in 0..50 {
            limiter.charge(now, HERE, "alice@a").unwrap();
            limiter.refund(now, HERE, "alice@a");
        }
        assert!(limiter.buckets.is_empty());
        for _ in 0..2 {
            limiter.charge(now, HERE, "alice@a").unwrap();
        }
        let first = limiter.charge(now, HERE, "alice@a").unwrap_err();
        assert_eq!(first, limiter.charge(now, HERE, "alice@a").unwrap_err());
    }

    #[test]
    fn memory_is_bounded() {
        let limits = LoginLimits { entries_max: 10, ..LoginLimits::default() };
        let (mut limiter, now) = (LoginLimiter::new(limits), Instant::now());
        for i in 0..1000_u64 {
            let _ = limiter.charge(now + Duration::from_millis(i), HERE, &format!("u{i}@a"));
            assert!(limiter.buckets.len() <= 11);
        }
    }
}
