//! The two transforms: AES counter mode with HMAC-SHA1 (RFC 3711 §4.1, §4.2) and AES-GCM
//! (RFC 7714 §8, §9).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::EncryptingKey;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::kdf::{self, apply_ctr, ctr_key};
use super::{E_FLAG, KeyMaterial, RTCP_HEADER, RTCP_INDEX, Suite};
use crate::Error;

const GCM_TAG: usize = 16;
const RTCP_CM_TAG: usize = 10;

/// Session keys of RTP or of RTCP. Buffers passed in end where the tag (and index) end.
pub(super) enum SessionKeys {
    Cm { cipher: Box<EncryptingKey>, mac: Box<hmac::Key>, salt: [u8; 14], tag: usize },
    Gcm { cipher: LessSafeKey, salt: [u8; 12] },
}

impl SessionKeys {
    pub(super) fn derive(suite: Suite, keys: &KeyMaterial, rtcp: bool) -> Result<Self, Error> {
        let base = if rtcp { kdf::RTCP } else { 0 };
        let (mut key, mut salt) = ([0; 32], [0; 14]);
        let key = &mut key[..suite.key_len()];
        kdf::derive(keys, base + kdf::ENCRYPTION, key)?;
        kdf::derive(keys, base + kdf::SALT, &mut salt[..suite.salt_len()])?;
        if suite.is_aead() {
            let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
            let unbound = UnboundKey::new(algorithm, key).map_err(|_| Error::BadKey)?;
            let mut short = [0; 12];
            short.copy_from_slice(&salt[..12]);
            return Ok(Self::Gcm { cipher: LessSafeKey::new(unbound), salt: short });
        }
        let mut auth = [0; 20];
        kdf::derive(keys, base + kdf::AUTHENTICATION, &mut auth)?;
        let mac = Box::new(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth));
        let tag = if rtcp { suite.rtcp_tag_len() } else { suite.rtp_tag_len() };
        Ok(Self::Cm { cipher: Box::new(ctr_key(key)?), mac, salt, tag })
    }

    /// `packet` ends with room for the tag.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Error> {
        match self {
            Self::Cm { cipher, mac, salt, tag } => {
                let (body, room) = packet.split_at_mut(packet.len() - tag);
                apply_ctr(cipher, cm_iv(salt, ssrc, index), &mut body[header..])?;
                room.copy_from_slice(&rtp_mac(mac, body, index).as_ref()[..*tag]);
            }
            Self::Gcm { cipher, salt } => {
                let (aad, rest) = packet.split_at_mut(header);
                let (body, room) = rest.split_at_mut(rest.len() - GCM_TAG);
                let nonce = gcm_rtp_nonce(salt, ssrc, index);
                let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(&*aad), body);
                room.copy_from_slice(tag.map_err(|_| Error::Authentication)?.as_ref());
            }
        }
        Ok(())
    }

    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Error> {
        match self {
            Self::Cm { cipher, mac, salt, tag } => {
                let (body, theirs) = packet.split_at_mut(packet.len() - tag);
                let ours = rtp_mac(mac, body, index);
                verify_slices_are_equal(&ours.as_ref()[..*tag], theirs)
                    .map_err(|_| Error::Authentication)?;
                apply_ctr(cipher, cm_iv(salt, ssrc, index), &mut body[header..])
            }
            Self::Gcm { cipher, salt } => {
                let (aad, rest) = packet.split_at_mut(header);
                let nonce = gcm_rtp_nonce(salt, ssrc, index);
                let opened = cipher.open_in_place(nonce, Aad::from(&*aad), rest);
                opened.map(drop).map_err(|_| Error::Authentication)
            }
        }
    }

    /// `packet` is a compound of `len` bytes and room for index and tag.
    pub(super) fn seal_rtcp(
        &self,
        packet: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<(), Error> {
        let word = (index | E_FLAG).to_be_bytes();
        match self {
            Self::Cm { cipher, mac, salt, .. } => {
                let iv = cm_iv(salt, ssrc, u64::from(index));
                apply_ctr(cipher, iv, &mut packet[RTCP_HEADER..len])?;
                packet[len..len + RTCP_INDEX].copy_from_slice(&word);
                let tag = hmac::sign(mac, &packet[..len + RTCP_INDEX]);
                packet[len + RTCP_INDEX..].copy_from_slice(&tag.as_ref()[..RTCP_CM_TAG]);
            }
            Self::Gcm { cipher, salt } => {
                let (header, rest) = packet.split_at_mut(RTCP_HEADER);
                let (body, trailer) = rest.split_at_mut(len - RTCP_HEADER);
                let aad = rtcp_aad(header, word);
                let nonce = gcm_rtcp_nonce(salt, ssrc, index);
                let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(aad), body);
                let tag = tag.map_err(|_| Error::Authentication)?;
                trailer[..GCM_TAG].copy_from_slice(tag.as_ref());
                trailer[GCM_TAG..].copy_from_slice(&word);
            }
        }
        Ok(())
    }

    /// `word` is the E flag and index read from the packet.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<(), Error> {
        let (encrypted, index) = (word & E_FLAG != 0, word & !E_FLAG);
        match self {
            Self::Cm { cipher, mac, salt, tag } => {
                let (body, theirs) = packet.split_at_mut(packet.len() - tag);
                let ours = hmac::sign(mac, body);
                verify_slices_are_equal(&ours.as_ref()[..*tag], theirs)
                    .map_err(|_| Error::Authentication)?;
                if encrypted {
                    let end = body.len() - RTCP_INDEX;
                    let iv = cm_iv(salt, ssrc, u64::from(index));
                    apply_ctr(cipher, iv, &mut body[RTCP_HEADER..end])?;
                }
                Ok(())
            }
            Self::Gcm { cipher, salt } => {
                let end = packet.len() - RTCP_INDEX;
                let nonce = gcm_rtcp_nonce(salt, ssrc, index);
                if encrypted {
                    let (header, rest) = packet[..end].split_at_mut(RTCP_HEADER);
                    let aad = rtcp_aad(header, word.to_be_bytes());
                    let opened = cipher.open_in_place(nonce, Aad::from(aad), rest);
                    return opened.map(drop).map_err(|_| Error::Authentication);
                }
                // RFC 7714 §9.3: authenticated only. The whole packet and the index are AAD.
                let (body, tag) = packet[..end].split_at_mut(end - GCM_TAG);
                let mut aad = body.to_vec();
                aad.extend(word.to_be_bytes());
                let opened = cipher.open_in_place_separate_tag(nonce, Aad::from(aad), tag, &mut []);
                opened.map(drop).map_err(|_| Error::Authentication)
            }
        }
    }
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys([redacted])")
    }
}

/// RFC 3711 §4.1.1: (salt · 2^16) ⊕ (SSRC · 2^64) ⊕ (index · 2^16).
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

/// RFC 7714 §8.1: 00 00 ‖ SSRC ‖ ROC ‖ SEQ, ⊕ salt.
fn gcm_rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.1: 00 00 ‖ SSRC ‖ 00 00 ‖ 0+index, ⊕ salt.
fn gcm_rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[8..12], &index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 3711 §4.2: HMAC over the packet and the rollover counter.
fn rtp_mac(mac: &hmac::Key, body: &[u8], index: u64) -> hmac::Tag {
    let mut context = hmac::Context::with_key(mac);
    context.update(body);
    context.update(&((index >> 16) as u32).to_be_bytes());
    context.sign()
}

fn rtcp_aad(header: &[u8], word: [u8; 4]) -> [u8; RTCP_HEADER + RTCP_INDEX] {
    let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
    aad[..RTCP_HEADER].copy_from_slice(header);
    aad[RTCP_HEADER..].copy_from_slice(&word);
    aad
}

fn xor(a: &mut [u8], b: &[u8]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
}
