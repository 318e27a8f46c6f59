//! The operating system's generator as a `sansio` argument.

use std::fmt;

use sansio::Entropy;

/// Random bytes fit for keys and nonces.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // It fails only if the kernel has no generator at all; nothing safe could follow.
        aws_lc_rs::rand::fill(out).expect("the operating system gives random bytes");
    }
}

/// How much [`PooledEntropy`] draws at once.
const POOL_BYTES: usize = 1024;

/// The same bytes, drawn many at once: for whoever needs some for every message.
pub struct PooledEntropy {
    pool: Box<[u8; POOL_BYTES]>,
    used: usize,
}

impl Default for PooledEntropy {
    fn default() -> Self {
        Self { pool: Box::new([0; POOL_BYTES]), used: POOL_BYTES }
    }
}

impl fmt::Debug for PooledEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledEntropy")
    }
}

impl Entropy for PooledEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        if out.len() > POOL_BYTES - self.used {
            if out.len() > POOL_BYTES / 4 {
                return OsEntropy.fill(out);
            }
            OsEntropy.fill(&mut self.pool[..]);
            self.used = 0;
        }
        let given = &mut self.pool[self.used..self.used + out.len()];
        out.copy_from_slice(given);
        // What was given out is nobody's any more, should this memory ever be read.
        given.fill(0);
        self.used += out.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(OsEntropy.next_u64(), OsEntropy.next_u64());
    }

    /// Draws of all sizes, over the ends of several pools.
    #[test]
    fn no_byte_of_a_pool_is_given_twice() {
        let mut pooled = PooledEntropy::default();
        let mut seen = std::collections::BTreeSet::new();
        for size in [16, 8, 250, 700, 1024, 5000].into_iter().cycle().take(600) {
            let mut out = vec![0; size];
            pooled.fill(&mut out);
            assert!(out.chunks_exact(8).all(|eight| seen.insert(eight.to_vec())));
            assert!(pooled.pool[..pooled.used].iter().all(|b| *b == 0));
        }
    }
}
