//! Hashes, codes, and the keys that come of an agreement (RFC 6189 §4.4.1, §4.5).

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    UnboundCipherKey,
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{digest, hmac};

use super::algorithms::{Choice, Cipher};
use super::{Failure, Keys, Role, Sas, Zid};
use crate::srtp::KeyMaterial;

/// Every salt of SRTP (RFC 6189 §4.5.3): 112 bits.
const SALT: usize = 14;

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

pub(super) fn hmac256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// A code of 64 bits.
pub(super) fn mac64(key: &[u8], parts: &[&[u8]]) -> [u8; 8] {
    let whole = hmac256(key, parts);
    let mut out = [0; 8];
    out.copy_from_slice(&whole[..8]);
    out
}

/// In constant time.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

/// A generator of an endpoint's own: all that it draws comes from 256 bits it was given at its start.
#[derive(Clone)]
pub(super) struct Random {
    key: [u8; 32],
    drawn: u64,
}

impl Random {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, drawn: 0 }
    }

    pub(super) fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for chunk in out.chunks_mut(32) {
            self.drawn += 1;
            let block = hmac256(&self.key, &[b"draw", &self.drawn.to_be_bytes()]);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        out
    }
}

/// What an agreement rests on.
pub(super) struct Ingredients<'a> {
    /// What came of the two public values.
    pub secret: &'a [u8],
    pub initiator: Zid,
    pub responder: Zid,
    /// The responder's Hello, Commit, DHPart1, DHPart2.
    pub messages: [&'a [u8]; 4],
    /// The retained secret that both have.
    pub s1: Option<[u8; 32]>,
}

/// `s0` and what all keys are bound to. Never shown.
#[derive(Clone)]
pub(super) struct Session {
    s0: [u8; 32],
    context: [u8; 56],
    pub choice: Choice,
}

impl Session {
    /// RFC 6189 §4.4.1.4.
    pub(super) fn new(choice: Choice, from: &Ingredients<'_>) -> Self {
        let total_hash = sha256(&from.messages);
        let mut context = [0; 56];
        context[..12].copy_from_slice(&from.initiator.0);
        context[12..24].copy_from_slice(&from.responder.0);
        context[24..].copy_from_slice(&total_hash);
        let s1 = from.s1.as_ref().map_or(&[][..], |s1| &s1[..]);
        let s1_len = (s1.len() as u32).to_be_bytes();
        let none = 0_u32.to_be_bytes();
        let s0 = sha256(&[
            &1_u32.to_be_bytes(),
            from.secret,
            b"ZRTP-HMAC-KDF",
            &context,
            &s1_len,
            s1,
            &none,
            &none,
        ]);
        Self { s0, context, choice }
    }

    /// RFC 6189 §4.5.1; `len` is in bytes.
    fn derive(&self, label: &str, len: usize) -> Vec<u8> {
        let bits = (8 * len as u32).to_be_bytes();
        let parts: [&[u8]; 5] =
            [&1_u32.to_be_bytes(), label.as_bytes(), &[0], &self.context, &bits];
        hmac256(&self.s0, &parts)[..len].to_vec()
    }

    /// RFC 6189 §4.5.2: the leftmost 32 bits of the hash that users compare.
    pub(super) fn sas(&self) -> Sas {
        let hash = self.derive("SAS", 32);
        Sas(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }

    /// What is remembered of it (RFC 6189 §4.6.1).
    pub(super) fn retained(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(&self.derive("retained secret", 32));
        out
    }

    /// The keys of SRTP, seen from `role`.
    pub(super) fn srtp(&self, role: Role) -> Keys {
        let material = |who: Role| {
            let name = who.name();
            let key = self.derive(&format!("{name} SRTP master key"), self.choice.cipher.key_len());
            let salt = self.derive(&format!("{name} SRTP master salt"), SALT);
            KeyMaterial::new(&key, &salt)
        };
        let (local, remote) = (material(role), material(role.other()));
        Keys { suite: self.choice.suite(), local, remote }
    }

    /// Seals what `role` confirms: its code, where the cipher starts, the sealed part.
    pub(super) fn seal(
        &self,
        role: Role,
        iv: [u8; 16],
        mut plain: [u8; 40],
    ) -> Result<([u8; 8], [u8; 40]), Failure> {
        let key = EncryptingKey::cfb128(self.key(role)?).map_err(|_| Failure::Internal)?;
        let start = EncryptionContext::Iv128(FixedLength::from(iv));
        key.less_safe_encrypt(&mut plain, start).map_err(|_| Failure::Internal)?;
        Ok((mac64(&self.mac_key(role), &[&plain]), plain))
    }

    /// Opens what `role` confirmed.
    pub(super) fn open(
        &self,
        role: Role,
        iv: [u8; 16],
        (mac, sealed): ([u8; 8], &[u8]),
    ) -> Result<Vec<u8>, Failure> {
        if !same(&mac64(&self.mac_key(role), &[sealed]), &mac) {
            return Err(Failure::Confirm);
        }
        let key = DecryptingKey::cfb128(self.key(role)?).map_err(|_| Failure::Internal)?;
        let mut plain = sealed.to_vec();
        let start = DecryptionContext::Iv128(FixedLength::from(iv));
        key.decrypt(&mut plain, start).map_err(|_| Failure::Internal)?;
        Ok(plain)
    }

    fn key(&self, role: Role) -> Result<UnboundCipherKey, Failure> {
        let (algorithm, len) = match self.choice.cipher {
            Cipher::Aes1 => (&AES_128, 16),
            Cipher::Aes3 => (&AES_256, 32),
        };
        let key = self.derive(&format!("{} ZRTP key", role.name()), len);
        UnboundCipherKey::new(algorithm, &key).map_err(|_| Failure::Internal)
    }

    fn mac_key(&self, role: Role) -> Vec<u8> {
        self.derive(&format!("{} HMAC key", role.name()), 32)
    }
}
