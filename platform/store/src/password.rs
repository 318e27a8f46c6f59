//! Passwords of administrators: Argon2id, as PHC strings.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sansio::Entropy;

/// Longest password hashed; longer ones are refused, so that nobody makes us hash megabytes.
pub const MAX_BYTES: usize = 1024;

/// Hashes a password with 16 bytes of fresh salt. None if it is empty or longer than
/// [`MAX_BYTES`]. Takes tens of milliseconds on purpose: keep it off the signalling threads.
pub fn hash(entropy: &mut (impl Entropy + ?Sized), password: &str) -> Option<String> {
    if password.is_empty() || password.len() > MAX_BYTES {
        return None;
    }
    let mut salt = [0; 16];
    entropy.fill(&mut salt);
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

/// Whether `password` is the one hashed; false for a garbled hash. As slow as [`hash`].
pub fn verify(hash: &str, password: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    password.len() <= MAX_BYTES
        && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::SeededEntropy;

    #[test]
    fn only_the_right_password_verifies() {
        let hashed = hash(&mut SeededEntropy::new(1), "correct horse").unwrap();
        assert!(hashed.starts_with("$argon2id$"));
        assert!(verify(&hashed, "correct horse"));
        assert!(!verify(&hashed, "correct horsf"));
        assert!(!verify("garbage", "correct horse"));
        assert_eq!(hash(&mut SeededEntropy::new(1), ""), None);
    }
}
