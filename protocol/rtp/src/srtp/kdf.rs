//! Key derivation (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11), key derivation rate 0.

use super::aws::AesCtr;
use super::{KeyMaterial, Suite};
use crate::Error;

/// `label` of RFC 3711 §4.3.2 and RFC 7714 §11; add [`RTCP`] for SRTCP.
pub(super) const ENCRYPTION: u8 = 0;
pub(super) const AUTHENTICATION: u8 = 1;
pub(super) const SALT: u8 = 2;
pub(super) const RTCP: u8 = 3;

/// The session keys of RTP or of RTCP, as derived. Shorter ones stand in front of zeros.
#[derive(Clone)]
pub(super) struct Derived {
    pub(super) key: [u8; 32],
    pub(super) auth: [u8; 20],
    pub(super) salt: [u8; 14],
}

impl Derived {
    /// `base` is zero or [`RTCP`].
    pub(super) fn new(suite: Suite, keys: &KeyMaterial, base: u8) -> Result<Self, Error> {
        let mut derived = Self { key: [0; 32], auth: [0; 20], salt: [0; 14] };
        let master = AesCtr::new(&keys.key)?;
        let salt = &keys.salt;
        derive(&master, salt, base + ENCRYPTION, &mut derived.key[..suite.key_len()]);
        derive(&master, salt, base + AUTHENTICATION, &mut derived.auth);
        derive(&master, salt, base + SALT, &mut derived.salt[..suite.salt_len()]);
        Ok(derived)
    }
}

/// Fills `out` with the key stream of `label`.
pub(super) fn derive(master: &AesCtr, salt: &[u8], label: u8, out: &mut [u8]) {
    let mut iv = [0; 16];
    // A 96-bit salt is extended with zeros on the right (RFC 7714 §11).
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    master.apply(iv, out);
}
