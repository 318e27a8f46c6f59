//! The operating system's generator as a `sansio` argument.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(OsEntropy.next_u64(), OsEntropy.next_u64());
    }
}
