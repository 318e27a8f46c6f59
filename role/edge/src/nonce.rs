//! Nonces that need no memory until they are used (RFC 7616 §5.4).
//!
//! A nonce is `issue time | random | HMAC`, so any shard can check that it is ours and how old it
//! is. Only a nonce that was *used* is remembered, with the counts seen, so that a captured request
//! cannot be replayed (RFC 7616 §3.4.5), while a phone's parallel requests may overtake each other.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sansio::{Entropy, Redacted, WallTime};
use std::collections::HashMap;
use std::time::Duration;

const TIME_LEN: usize = 8;
const RANDOM_LEN: usize = 6;
const MAC_LEN: usize = 16;
/// Used nonces remembered; beyond it the oldest half is forgotten and must be challenged anew.
const USED_MAX: usize = 65_536;

/// Issues and checks nonces.
pub struct Nonces {
    key: hmac::Key,
    lifetime: Duration,
    used: HashMap<[u8; RANDOM_LEN], Used>,
    /// Nonces issued before this were forgotten: stale, whatever their age.
    forgotten_before: WallTime,
}

/// What a nonce turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceCheck {
    /// Ours, fresh, and this count is new.
    Good,
    /// Ours, but too old or replayed: challenge again with `stale=true`.
    Stale,
    /// Not ours.
    Foreign,
}

#[derive(Debug, Clone, Copy)]
struct Used {
    issued: WallTime,
    /// The highest count seen.
    count: u32,
    /// The counts below it that were seen: bit 0 is `count` itself.
    window: u64,
}

impl Used {
    fn has_seen(&self, count: u32) -> bool {
        match self.count.checked_sub(count) {
            None => false,
            Some(behind) => behind >= u64::BITS || self.window >> behind & 1 == 1,
        }
    }

    fn note(&mut self, count: u32) {
        if count > self.count {
            self.window = self.window.checked_shl(count - self.count).unwrap_or(0);
            self.count = count;
        }
        self.window |= 1_u64.checked_shl(self.count - count).unwrap_or(0);
    }
}

impl Nonces {
    /// `key` is shared by every shard of the cluster.
    pub fn new(key: &Redacted<[u8; 32]>, lifetime: Duration) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.reveal()),
            lifetime,
            used: HashMap::new(),
            forgotten_before: WallTime::default(),
        }
    }

    /// How long nonces are good from now on, those given out before included.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// A new nonce.
    pub fn issue(&self, wall: WallTime, entropy: &mut dyn Entropy) -> String {
        let mut raw = [0; TIME_LEN + RANDOM_LEN + MAC_LEN];
        raw[..TIME_LEN].copy_from_slice(&wall.as_millis().to_be_bytes());
        entropy.fill(&mut raw[TIME_LEN..TIME_LEN + RANDOM_LEN]);
        let mac = hmac::sign(&self.key, &raw[..TIME_LEN + RANDOM_LEN]);
        raw[TIME_LEN + RANDOM_LEN..].copy_from_slice(&mac.as_ref()[..MAC_LEN]);
        URL_SAFE_NO_PAD.encode(raw)
    }

    /// Whether `nonce` is ours and alive; changes nothing.
    pub fn check(&self, nonce: &str, count: u32, wall: WallTime) -> NonceCheck {
        let Some((issued, random)) = self.open(nonce) else { return NonceCheck::Foreign };
        let replayed = self.used.get(&random).is_some_and(|used| used.has_seen(count));
        if replayed || issued < self.forgotten_before || wall.since(issued) > self.lifetime {
            return NonceCheck::Stale;
        }
        NonceCheck::Good
    }

    /// Remembers that `count` was spent, once the credentials proved right. A guess spends nothing.
    pub fn spend(&mut self, nonce: &str, count: u32, wall: WallTime) {
        let Some((issued, random)) = self.open(nonce) else { return };
        if self.used.len() >= USED_MAX {
            self.forget(wall);
        }
        let used = self.used.entry(random).or_insert(Used { issued, count, window: 0 });
        used.note(count);
    }

    fn open(&self, nonce: &str) -> Option<(WallTime, [u8; RANDOM_LEN])> {
        let raw = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        if raw.len() != TIME_LEN + RANDOM_LEN + MAC_LEN {
            return None;
        }
        let (signed, mac) = raw.split_at(TIME_LEN + RANDOM_LEN);
        let want = hmac::sign(&self.key, signed);
        aws_lc_rs::constant_time::verify_slices_are_equal(&want.as_ref()[..MAC_LEN], mac).ok()?;
        let issued = u64::from_be_bytes(signed[..TIME_LEN].try_into().ok()?);
        Some((WallTime::from_millis(issued), signed[TIME_LEN..].try_into().ok()?))
    }

    fn forget(&mut self, wall: WallTime) {
        let lifetime = self.lifetime;
        self.used.retain(|_, used| wall.since(used.issued) <= lifetime);
        if self.used.len() < USED_MAX {
            return;
        }
        let mut ages: Vec<WallTime> = self.used.values().map(|used| used.issued).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        self.used.retain(|_, used| used.issued > median);
        self.forgotten_before = WallTime::from_millis(median.as_millis() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::SeededEntropy;

    const T0: WallTime = WallTime::from_secs(1_800_000_000);

    fn nonces() -> Nonces {
        Nonces::new(&Redacted::new([1; 32]), Duration::from_secs(300))
    }

    #[test]
    fn a_nonce_is_good_once_per_count_and_for_its_lifetime() {
        let mut nonces = nonces();
        let nonce = nonces.issue(T0, &mut SeededEntropy::new(1));
        assert_eq!(nonces.check(&nonce, 1, T0), NonceCheck::Good);
        nonces.spend(&nonce, 1, T0);
        assert_eq!(nonces.check(&nonce, 1, T0), NonceCheck::Stale, "replayed");
        assert_eq!(nonces.check(&nonce, 2, T0 + Duration::from_secs(300)), NonceCheck::Good);
        assert_eq!(nonces.check(&nonce, 2, T0 + Duration::from_secs(301)), NonceCheck::Stale);
    }

    #[test]
    fn parallel_requests_may_overtake_each_other_but_none_comes_twice() {
        let mut nonces = nonces();
        let nonce = nonces.issue(T0, &mut SeededEntropy::new(1));
        for count in [1, 4, 2, 3, 100] {
            assert_eq!(nonces.check(&nonce, count, T0), NonceCheck::Good, "{count}");
            nonces.spend(&nonce, count, T0);
            assert_eq!(nonces.check(&nonce, count, T0), NonceCheck::Stale, "{count} again");
        }
        assert_eq!(nonces.check(&nonce, 99, T0), NonceCheck::Good);
        assert_eq!(nonces.check(&nonce, 5, T0), NonceCheck::Stale, "too far behind to tell");
    }

    #[test]
    fn a_nonce_of_another_key_or_with_a_changed_character_is_foreign() {
        let other = Nonces::new(&Redacted::new([2; 32]), Duration::from_secs(300));
        let nonce = other.issue(T0, &mut SeededEntropy::new(1));
        assert_eq!(nonces().check(&nonce, 1, T0), NonceCheck::Foreign);
        assert_eq!(
            nonces().check("dcd98b7102dd2f0e8b11d0f600bfb0c093", 1, T0),
            NonceCheck::Foreign
        );
        assert_eq!(nonces().check("", 1, T0), NonceCheck::Foreign);
    }

    #[test]
    fn memory_of_used_nonces_is_bounded_and_what_is_forgotten_cannot_be_replayed() {
        let mut nonces = nonces();
        let mut entropy = SeededEntropy::new(3);
        let mut issued = Vec::new();
        for i in 0..(USED_MAX as u64 + 10) {
            let wall = T0 + Duration::from_micros(i * 1000);
            let nonce = nonces.issue(wall, &mut entropy);
            nonces.spend(&nonce, 1, wall);
            issued.push(nonce);
        }
        assert!(nonces.used.len() <= USED_MAX);
        let now = T0 + Duration::from_secs(70);
        for nonce in issued.iter().step_by(97) {
            assert_eq!(nonces.check(nonce, 1, now), NonceCheck::Stale);
        }
    }
}
