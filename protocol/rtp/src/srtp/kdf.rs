//! Key derivation (RFC 3711 §4.3, RFC 6188 §3, RFC 7714 §11), key derivation rate 0.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

use super::KeyMaterial;
use crate::Error;

/// `label` of RFC 3711 §4.3.2 and RFC 7714 §11; add [`RTCP`] for SRTCP.
pub(super) const ENCRYPTION: u8 = 0;
pub(super) const AUTHENTICATION: u8 = 1;
pub(super) const SALT: u8 = 2;
pub(super) const RTCP: u8 = 3;

/// Fills `out` with the key stream of `label`.
pub(super) fn derive(keys: &KeyMaterial, label: u8, out: &mut [u8]) -> Result<(), Error> {
    let mut iv = [0; 16];
    // A 96-bit salt is extended with zeros on the right (RFC 7714 §11).
    iv[..keys.salt.len()].copy_from_slice(&keys.salt);
    iv[7] ^= label;
    out.fill(0);
    apply_ctr(&ctr_key(&keys.key)?, iv, out)
}

/// A counter-mode key of 16 or 32 bytes.
pub(super) fn ctr_key(key: &[u8]) -> Result<EncryptingKey, Error> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    UnboundCipherKey::new(algorithm, key).and_then(EncryptingKey::ctr).map_err(|_| Error::BadKey)
}

/// XORs `data` with the key stream that starts at `iv`.
pub(super) fn apply_ctr(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) -> Result<(), Error> {
    let context = EncryptionContext::Iv128(iv.into());
    key.less_safe_encrypt(data, context).map(drop).map_err(|_| Error::Authentication)
}
