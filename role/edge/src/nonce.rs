//! Nonces that need no memory until they are used (RFC 7616 §5.4).
//!
//! A nonce is `issue time | random | HMAC`, so any shard can check that it is ours and how old it
//! is. Only a nonce that was *used* is remembered, with the counts seen, so that a captured request
//! cannot be replayed (RFC 7616 §3.4.5), while a phone's parallel requests may overtake each other.
//! The request that spent the highest count may come again by the flow it came by: UDP repeats
//! what was not answered in time.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foldhash::{HashMap, HashMapExt};
use sansio::{Entropy, Redacted, WallTime};
use std::time::Duration;

const TIME_LEN: usize = 8;
const RANDOM_LEN: usize = 6;
const MAC_LEN: usize = 16;
/// In base64: thirty bytes need no padding.
const NONCE_TEXT_LEN: usize = (TIME_LEN + RANDOM_LEN + MAC_LEN) / 3 * 4;
/// Used nonces remembered; beyond it the oldest half is forgotten and must be challenged anew.
const USED_MAX: usize = 262_144;

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
    /// Ours and fresh, and this count is new, or shown again by the request that spent it.
    Good(Fresh),
    /// Ours, but too old or replayed: challenge again with `stale=true`.
    Stale,
    /// Not ours.
    Foreign,
}

/// A nonce that may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fresh {
    issued: WallTime,
    random: [u8; RANDOM_LEN],
    count: u32,
    print: u32,
}

#[derive(Debug, Clone, Copy)]
struct Used {
    issued: WallTime,
    /// The highest count seen.
    count: u32,
    /// The counts below it that were seen: bit 0 is `count` itself.
    window: u64,
    /// What the request that spent `count` looked like.
    print: u32,
}

impl Used {
    fn has_seen(&self, count: u32) -> bool {
        match self.count.checked_sub(count) {
            None => false,
            Some(behind) => behind >= u64::BITS || self.window >> behind & 1 == 1,
        }
    }

    fn note(&mut self, count: u32, print: u32) {
        if count > self.count || self.window == 0 {
            self.print = print;
        }
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
        self.issue_text(wall, entropy).into_iter().map(char::from).collect()
    }

    /// The same as base64url, without memory of its own.
    pub(crate) fn issue_text(
        &self,
        wall: WallTime,
        entropy: &mut dyn Entropy,
    ) -> [u8; NONCE_TEXT_LEN] {
        let mut raw = [0; TIME_LEN + RANDOM_LEN + MAC_LEN];
        raw[..TIME_LEN].copy_from_slice(&wall.as_millis().to_be_bytes());
        entropy.fill(&mut raw[TIME_LEN..TIME_LEN + RANDOM_LEN]);
        let mac = hmac::sign(&self.key, &raw[..TIME_LEN + RANDOM_LEN]);
        raw[TIME_LEN + RANDOM_LEN..].copy_from_slice(&mac.as_ref()[..MAC_LEN]);
        let mut text = [0; NONCE_TEXT_LEN];
        // The buffer has the length of the text.
        let written = URL_SAFE_NO_PAD.encode_slice(raw, &mut text);
        debug_assert_eq!(written, Ok(NONCE_TEXT_LEN));
        text
    }

    /// Whether `nonce` is ours and alive; changes nothing. `print` stands for the request that shows
    /// it.
    pub fn check(&self, nonce: &[u8], (count, print): (u32, u32), wall: WallTime) -> NonceCheck {
        let Some((issued, random)) = self.open(nonce) else { return NonceCheck::Foreign };
        if issued < self.forgotten_before || wall.since(issued) > self.lifetime {
            return NonceCheck::Stale;
        }
        match self.used.get(&random) {
            Some(used) if used.has_seen(count) && (used.count, used.print) != (count, print) => {
                NonceCheck::Stale
            }
            _ => NonceCheck::Good(Fresh { issued, random, count, print }),
        }
    }

    /// Remembers that a count was spent, once the credentials proved right. A guess spends nothing.
    pub fn spend(&mut self, nonce: Fresh, wall: WallTime) {
        let Fresh { issued, random, count, print } = nonce;
        if self.used.len() >= USED_MAX {
            self.forget(wall);
        }
        let unused = Used { issued, count, window: 0, print };
        self.used.entry(random).or_insert(unused).note(count, print);
    }

    fn open(&self, nonce: &[u8]) -> Option<(WallTime, [u8; RANDOM_LEN])> {
        // The decoder asks for room to spare.
        let mut room = [0; TIME_LEN + RANDOM_LEN + MAC_LEN + 3];
        let len = URL_SAFE_NO_PAD.decode_slice(nonce, &mut room).ok()?;
        if len != TIME_LEN + RANDOM_LEN + MAC_LEN {
            return None;
        }
        let (signed, mac) = room[..len].split_at(TIME_LEN + RANDOM_LEN);
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

    /// Whether a request of this print may spend `count`; spends it.
    fn spend(nonces: &mut Nonces, nonce: &str, count: u32, print: u32, wall: WallTime) -> bool {
        match nonces.check(nonce.as_bytes(), (count, print), wall) {
            NonceCheck::Good(fresh) => {
                nonces.spend(fresh, wall);
                true
            }
            _ => false,
        }
    }

    #[test]
    fn a_nonce_is_good_once_per_count_and_for_its_lifetime() {
        let mut nonces = nonces();
        let nonce = nonces.issue(T0, &mut SeededEntropy::new(1));
        assert!(spend(&mut nonces, &nonce, 1, 7, T0));
        assert!(!spend(&mut nonces, &nonce, 1, 8, T0), "replayed by another request");
        let late = nonces.check(nonce.as_bytes(), (2, 7), T0 + Duration::from_secs(301));
        assert_eq!(late, NonceCheck::Stale);
        assert!(spend(&mut nonces, &nonce, 2, 7, T0 + Duration::from_secs(300)));
    }

    #[test]
    fn a_request_that_comes_again_is_no_replay_until_the_next_one_came() {
        let mut nonces = nonces();
        let nonce = nonces.issue(T0, &mut SeededEntropy::new(1));
        assert!(spend(&mut nonces, &nonce, 1, 7, T0));
        assert!(spend(&mut nonces, &nonce, 1, 7, T0), "the answer was lost");
        assert!(spend(&mut nonces, &nonce, 2, 9, T0));
        assert!(!spend(&mut nonces, &nonce, 1, 7, T0));
    }

    #[test]
    fn parallel_requests_may_overtake_each_other_but_none_comes_twice() {
        let mut nonces = nonces();
        let nonce = nonces.issue(T0, &mut SeededEntropy::new(1));
        for count in [1, 4, 2, 3, 100] {
            assert!(spend(&mut nonces, &nonce, count, count, T0), "{count}");
            assert!(!spend(&mut nonces, &nonce, count, 77, T0), "{count} again");
        }
        assert!(!spend(&mut nonces, &nonce, 5, 5, T0), "too far behind to tell");
        assert!(spend(&mut nonces, &nonce, 99, 99, T0));
    }

    #[test]
    fn a_nonce_of_another_key_or_with_a_changed_character_is_foreign() {
        let other = Nonces::new(&Redacted::new([2; 32]), Duration::from_secs(300));
        let nonce = other.issue(T0, &mut SeededEntropy::new(1));
        for nonce in [nonce.as_str(), "dcd98b7102dd2f0e8b11d0f600bfb0c093", ""] {
            assert_eq!(nonces().check(nonce.as_bytes(), (1, 0), T0), NonceCheck::Foreign);
        }
    }

    #[test]
    fn memory_of_used_nonces_is_bounded_and_what_is_forgotten_cannot_be_replayed() {
        let mut nonces = nonces();
        let mut entropy = SeededEntropy::new(3);
        let mut issued = Vec::new();
        for i in 0..(USED_MAX as u64 + 10) {
            let wall = T0 + Duration::from_micros(i * 250);
            let nonce = nonces.issue(wall, &mut entropy);
            assert!(spend(&mut nonces, &nonce, 1, 0, wall));
            issued.push(nonce);
        }
        assert!(nonces.used.len() <= USED_MAX);
        let now = T0 + Duration::from_secs(70);
        for nonce in issued.iter().step_by(97) {
            assert_eq!(nonces.check(nonce.as_bytes(), (1, 1), now), NonceCheck::Stale);
        }
    }
}
