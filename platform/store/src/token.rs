//! Tokens for links and sessions: 160 random bits, of which stores see only the hash.

use std::fmt;

use sansio::{Entropy, Redacted};
use sha2::{Digest, Sha256};

/// A fresh token: the secret for its holder, the hash for the store.
#[derive(Debug, Clone)]
pub struct Token {
    /// What the holder presents: 32 characters, safe in URLs, cookies and headers.
    pub secret: Redacted<String>,
    /// What is kept.
    pub hash: TokenHash,
}

impl Token {
    /// Draws one.
    pub fn generate(entropy: &mut (impl Entropy + ?Sized)) -> Self {
        let secret = entropy.token(32);
        let hash = TokenHash::of(&secret);
        Self { secret: Redacted::new(secret), hash }
    }
}

/// SHA-256 of a token. The token has 160 random bits, so no salt and no slow hash are needed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes what a client presented.
    pub fn of(presented: &str) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(&Sha256::digest(presented.as_bytes()));
        Self(out)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}
