//! Transaction ids nobody can guess (RFC 8489 §5), from one secret.

use aws_lc_rs::hmac;

/// A sequence of transaction ids: HMAC-SHA256 of a count under a secret.
pub struct TransactionIds {
    key: hmac::Key,
    count: u64,
}

impl TransactionIds {
    /// `secret` comes from the operating system's generator outside tests.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), count: 0 }
    }

    /// The next one.
    pub fn next_id(&mut self) -> [u8; 12] {
        self.count += 1;
        let tag = hmac::sign(&self.key, &self.count.to_be_bytes());
        let mut id = [0; 12];
        id.copy_from_slice(&tag.as_ref()[..12]);
        id
    }

    /// A number below one, for what must not happen at the same time everywhere.
    pub fn fraction(&mut self) -> f64 {
        let id = self.next_id();
        f64::from(u32::from_be_bytes([id[0], id[1], id[2], id[3]])) / (f64::from(u32::MAX) + 1.0)
    }
}

impl std::fmt::Debug for TransactionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionIds").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat_and_fractions_are_below_one() {
        let (mut a, mut b) = (TransactionIds::new(&[1; 32]), TransactionIds::new(&[2; 32]));
        let first = a.next_id();
        assert!(first != a.next_id() && first != b.next_id());
        assert!((0..100).all(|_| (0.0..1.0).contains(&a.fraction())));
    }
}
