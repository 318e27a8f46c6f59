//! What an end remembers of others (RFC 6189 §4.9): secrets that make the next agreement stand on the
//! one before, and whether the user has compared the string.

use std::collections::BTreeMap;
use std::time::Duration;

use sansio::WallTime;

use super::Zid;

/// What is retained of one other end.
#[derive(Clone, PartialEq, Eq)]
pub struct Retained {
    /// Of the last agreement.
    pub rs1: [u8; 32],
    /// Of the one before: the other end may not know of the last.
    pub rs2: Option<[u8; 32]>,
    /// Our user has compared the string, then or in an earlier agreement this one stands on.
    pub verified: bool,
    /// When it was last agreed with.
    pub seen: WallTime,
    /// When it is to be forgotten; never without.
    pub expires: Option<WallTime>,
}

/// The other ends, by their ZID.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cache {
    ends: BTreeMap<Zid, Retained>,
}

impl Cache {
    /// Other ends that are remembered; of more, the one seen longest ago is forgotten.
    pub const ENDS_MAX: usize = 1000;

    /// What is known of an end, unless it has expired.
    pub fn find(&self, zid: Zid, now: WallTime) -> Option<&Retained> {
        self.ends.get(&zid).filter(|r| r.expires.is_none_or(|at| at > now))
    }

    /// Keeps what was agreed on last.
    pub fn retain(&mut self, zid: Zid, retained: Retained) {
        self.ends.insert(zid, retained);
        if self.ends.len() > Self::ENDS_MAX {
            // The one just kept may be the oldest only if the clock went back.
            let others = self.ends.iter().filter(|(other, _)| **other != zid);
            let oldest = others.min_by_key(|(_, r)| r.seen).map(|(zid, _)| *zid);
            oldest.and_then(|zid| self.ends.remove(&zid));
        }
    }

    /// Forgets an end.
    pub fn forget(&mut self, zid: Zid) {
        self.ends.remove(&zid);
    }

    /// All that is kept, expired or not.
    pub fn iter(&self) -> impl Iterator<Item = (Zid, &Retained)> {
        self.ends.iter().map(|(zid, retained)| (*zid, retained))
    }
}

impl Retained {
    /// Moves the secrets on by one.
    pub(super) fn after(
        former: Option<&Self>,
        rs1: [u8; 32],
        (now, lifetime_s): (WallTime, u32),
    ) -> Self {
        let lifetime = Duration::from_secs(lifetime_s.into());
        Self {
            rs1,
            rs2: former.map(|f| f.rs1),
            verified: former.is_some_and(|f| f.verified),
            seen: now,
            expires: (lifetime_s != u32::MAX).then(|| now + lifetime),
        }
    }
}

impl std::fmt::Debug for Retained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retained")
            .field("verified", &self.verified)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(seen: u64, lifetime_s: u32) -> Retained {
        Retained::after(None, [7; 32], (WallTime::from_millis(seen), lifetime_s))
    }

    #[test]
    fn r5_4_what_has_expired_is_not_found() {
        let mut cache = Cache::default();
        cache.retain(Zid([1; 12]), retained(1000, 10));
        cache.retain(Zid([2; 12]), retained(1000, u32::MAX));
        let found = |zid, at| cache.find(Zid([zid; 12]), WallTime::from_millis(at)).is_some();
        assert!(found(1, 10_999) && !found(1, 11_000));
        assert!(found(2, u64::MAX / 2));
    }

    #[test]
    fn a_full_cache_forgets_whom_it_saw_longest_ago() {
        let mut cache = Cache::default();
        let zid = |n: usize| {
            let mut zid = [0; 12];
            zid[..8].copy_from_slice(&n.to_be_bytes());
            Zid(zid)
        };
        for n in 0..=Cache::ENDS_MAX {
            cache.retain(zid(n), retained(1 + n as u64, u32::MAX));
        }
        assert_eq!(cache.iter().count(), Cache::ENDS_MAX);
        assert!(cache.find(zid(0), WallTime::from_millis(2)).is_none());
        assert!(cache.find(zid(1), WallTime::from_millis(2)).is_some());
    }
}
