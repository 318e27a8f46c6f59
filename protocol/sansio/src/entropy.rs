//! Randomness as an argument.

/// A source of random bytes. In production it is the operating system's generator (`net`), in
/// tests a [`SeededEntropy`]; a machine never knows which.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);

    /// A random 64-bit number.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random token of `len` characters from `[a-z0-9]`, five bits each: fit for tags, branches,
    /// Call-IDs and nonces (RFC 3261 §19.3 asks for at least 32 bits).
    fn token(&mut self, len: usize) -> String {
        let mut bytes = vec![0; len];
        self.token_into(&mut bytes);
        // Letters and digits: always UTF-8.
        String::from_utf8(bytes).unwrap_or_default()
    }

    /// The same into a buffer: all of it becomes letters and digits.
    fn token_into(&mut self, out: &mut [u8]) {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        self.fill(out);
        for byte in out {
            *byte = ALPHABET[usize::from(*byte & 31)];
        }
    }
}

impl<E: Entropy + ?Sized> Entropy for Box<E> {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}

/// A reproducible generator (SplitMix64) for tests and simulation. Not for secrets.
#[derive(Debug, Clone)]
pub struct SeededEntropy {
    state: u64,
}

impl SeededEntropy {
    /// The same seed gives the same bytes, for ever.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b) = (SeededEntropy::new(7), SeededEntropy::new(7));
        assert_eq!(a.token(20), b.token(20));
        assert_ne!(a.next_u64(), a.next_u64());
        assert_ne!(SeededEntropy::new(8).next_u64(), SeededEntropy::new(7).next_u64());
    }

    #[test]
    fn tokens_are_safe_in_every_sip_token_position() {
        let token = SeededEntropy::new(1).token(64);
        assert_eq!(token.len(), 64);
        assert!(token.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }
}
