//! H(user:realm:password), once per digest algorithm (RFC 7616 §3.4.2).

use std::fmt;

use sip::digest::{Algorithm, ha1};
use subtle::ConstantTimeEq;

/// The three HA1 values of one user. As good as the password within its realm, so `Debug` shows
/// nothing and disks get it sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ha1Set {
    /// MD5 (RFC 2617; still all that many desk phones know).
    pub md5: [u8; 16],
    /// SHA-256 (RFC 7616, RFC 8760).
    pub sha256: [u8; 32],
    /// SHA-512-256 (RFC 7616, RFC 8760).
    pub sha512_256: [u8; 32],
}

impl Ha1Set {
    /// Bytes of [`Self::to_bytes`].
    pub const LEN: usize = 80;

    /// Computes all three.
    pub fn from_password(user: &str, realm: &str, password: &str) -> Self {
        Self {
            md5: hash(Algorithm::Md5, user, realm, password),
            sha256: hash(Algorithm::Sha256, user, realm, password),
            sha512_256: hash(Algorithm::Sha512_256, user, realm, password),
        }
    }

    /// Whether `password` is the one this was made from; takes the same time either way.
    pub fn matches(&self, user: &str, realm: &str, password: &str) -> bool {
        let other = Self::from_password(user, realm, password);
        bool::from(self.sha256.ct_eq(&other.sha256))
    }

    /// One flat value, for sealing.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..16].copy_from_slice(&self.md5);
        out[16..48].copy_from_slice(&self.sha256);
        out[48..].copy_from_slice(&self.sha512_256);
        out
    }

    /// The inverse of [`Self::to_bytes`]; `None` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LEN {
            return None;
        }
        Some(Self {
            md5: bytes[..16].try_into().ok()?,
            sha256: bytes[16..48].try_into().ok()?,
            sha512_256: bytes[48..].try_into().ok()?,
        })
    }

    /// The value for an algorithm (or its `-sess` form), as [`sip::digest`] wants it: lower-case
    /// hexadecimal.
    pub fn hex_for(&self, algorithm: Algorithm) -> String {
        match algorithm {
            Algorithm::Md5 | Algorithm::Md5Sess => self.md5_hex(),
            Algorithm::Sha256 | Algorithm::Sha256Sess => self.sha256_hex(),
            Algorithm::Sha512_256 | Algorithm::Sha512_256Sess => self.sha512_256_hex(),
        }
    }

    /// The same into a buffer; how much of it was written.
    pub fn hex_into(&self, algorithm: Algorithm, out: &mut [u8; 64]) -> usize {
        let bytes: &[u8] = match algorithm {
            Algorithm::Md5 | Algorithm::Md5Sess => &self.md5,
            Algorithm::Sha256 | Algorithm::Sha256Sess => &self.sha256,
            Algorithm::Sha512_256 | Algorithm::Sha512_256Sess => &self.sha512_256,
        };
        for (digits, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        2 * bytes.len()
    }

    /// The MD5 value as digest arithmetic wants it: lower-case hexadecimal.
    pub fn md5_hex(&self) -> String {
        hex(&self.md5)
    }

    /// The SHA-256 value in lower-case hexadecimal.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// The SHA-512-256 value in lower-case hexadecimal.
    pub fn sha512_256_hex(&self) -> String {
        hex(&self.sha512_256)
    }
}

impl fmt::Debug for Ha1Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1Set([redacted])")
    }
}

fn hash<const N: usize>(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> [u8; N] {
    let hex = ha1(algorithm, user.as_bytes(), realm.as_bytes(), password.as_bytes());
    let mut out = [0; N];
    for (byte, digits) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = (nibble(digits[0]) << 4) | nibble(digits[1]);
    }
    out
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit - b'a' + 10,
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user of RFC 7616 §3.9.1; the hashes are those its responses are made from.
    #[test]
    fn mufasa_has_the_hashes_of_rfc_7616() {
        let set = Ha1Set::from_password("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(set.md5_hex(), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(
            set.sha256_hex(),
            "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
        );
        assert!(set.matches("Mufasa", "http-auth@example.org", "Circle of Life"));
        assert!(!set.matches("Mufasa", "http-auth@example.org", "circle of life"));
    }

    #[test]
    fn the_hex_is_what_digest_arithmetic_makes() {
        let set = Ha1Set::from_password("alice", "example.com", "secret");
        for algorithm in Algorithm::ALL {
            assert_eq!(set.hex_for(algorithm), ha1(algorithm, b"alice", b"example.com", b"secret"));
        }
    }

    #[test]
    fn bytes_round_trip_and_debug_is_silent() {
        let set = Ha1Set::from_password("a", "b", "c");
        assert_eq!(Ha1Set::from_bytes(&set.to_bytes()), Some(set));
        assert_eq!(Ha1Set::from_bytes(&[0; 79]), None);
        assert_eq!(format!("{set:?}"), "Ha1Set([redacted])");
    }
}
