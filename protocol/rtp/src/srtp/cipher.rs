//! The two transforms: AES counter mode with HMAC-SHA1 (RFC 3711 §4.1, §4.2) and AES-GCM
//! (RFC 7714 §8, §9).

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::aws::{AesCtr, GCM_TAG, GcmKey};
use super::hmac::HmacSha1;
use super::kdf::Derived;
use super::{E_FLAG, RTCP_HEADER, RTCP_INDEX, Suite};
use crate::Error;

/// RFC 7714 §9.3: what a compound that is only authenticated may have at most.
const AAD_MAX: usize = 1500;

/// Session keys of RTP or of RTCP, ready for packets. Buffers passed in end where the tag (and
/// index) end.
#[expect(clippy::large_enum_variant, reason = "the usual one stays beside its stream, unboxed")]
pub(super) enum Transform {
    Cm { cipher: AesCtr, mac: HmacSha1, salt: [u8; 14], tag: usize },
    Gcm(Box<Gcm>),
}

pub(super) struct Gcm {
    pub(super) key: GcmKey,
    pub(super) salt: [u8; 12],
}

impl Transform {
    pub(super) fn new(suite: Suite, keys: &Derived, tag: usize) -> Result<Self, Error> {
        let key = &keys.key[..suite.key_len()];
        if suite.is_aead() {
            return Ok(Self::Gcm(Box::new(Gcm::new(key, &keys.salt)?)));
        }
        let (cipher, mac) = (AesCtr::new(key)?, HmacSha1::new(&keys.auth));
        Ok(Self::Cm { cipher, mac, salt: keys.salt, tag })
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
                cipher.apply(cm_iv(salt, ssrc, index), &mut body[header..]);
                room.copy_from_slice(&mac.sign(body, &roc(index))[..*tag]);
                Ok(())
            }
            Self::Gcm(gcm) => {
                let (aad, rest) = packet.split_at_mut(header);
                let (body, room) = rest.split_at_mut(rest.len() - GCM_TAG);
                room.copy_from_slice(&gcm.key.seal(&gcm.rtp_nonce(ssrc, index), aad, body)?);
                Ok(())
            }
        }
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
                verify(&mac.sign(body, &roc(index)), theirs)?;
                cipher.apply(cm_iv(salt, ssrc, index), &mut body[header..]);
                Ok(())
            }
            Self::Gcm(gcm) => {
                let (aad, rest) = packet.split_at_mut(header);
                gcm.open(&gcm.rtp_nonce(ssrc, index), aad, rest)
            }
        }
    }
}

/// SRTCP comes every few seconds: its keys are kept as derived, a tenth of their schedules, and
/// made ready for each packet.
pub(super) struct RtcpTransform<'a> {
    pub(super) suite: Suite,
    pub(super) keys: &'a Derived,
}

impl RtcpTransform<'_> {
    /// `packet` is a compound of `len` bytes and room for index and tag.
    pub(super) fn seal(
        &self,
        packet: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<(), Error> {
        let word = (index | E_FLAG).to_be_bytes();
        let key = &self.keys.key[..self.suite.key_len()];
        if self.suite.is_aead() {
            let gcm = Gcm::new(key, &self.keys.salt)?;
            let (header, rest) = packet.split_at_mut(RTCP_HEADER);
            let (body, trailer) = rest.split_at_mut(len - RTCP_HEADER);
            let aad = rtcp_aad(header, word);
            let tag = gcm.key.seal(&gcm.rtcp_nonce(ssrc, index), &aad, body)?;
            trailer[..GCM_TAG].copy_from_slice(&tag);
            trailer[GCM_TAG..].copy_from_slice(&word);
            return Ok(());
        }
        let iv = cm_iv(&self.keys.salt, ssrc, u64::from(index));
        AesCtr::new(key)?.apply(iv, &mut packet[RTCP_HEADER..len]);
        let (body, tag) = packet.split_at_mut(len + RTCP_INDEX);
        body[len..].copy_from_slice(&word);
        let ours = HmacSha1::new(&self.keys.auth).sign(body, &[]);
        tag.copy_from_slice(&ours[..tag.len()]);
        Ok(())
    }

    /// `word` is the E flag and index read from the packet.
    pub(super) fn open(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<(), Error> {
        let (encrypted, index) = (word & E_FLAG != 0, word & !E_FLAG);
        let key = &self.keys.key[..self.suite.key_len()];
        if self.suite.is_aead() {
            let gcm = Gcm::new(key, &self.keys.salt)?;
            return gcm.open_rtcp(packet, ssrc, word);
        }
        let (body, theirs) = packet.split_at_mut(packet.len() - self.suite.rtcp_tag_len());
        verify(&HmacSha1::new(&self.keys.auth).sign(body, &[]), theirs)?;
        if encrypted {
            let end = body.len() - RTCP_INDEX;
            let iv = cm_iv(&self.keys.salt, ssrc, u64::from(index));
            AesCtr::new(key)?.apply(iv, &mut body[RTCP_HEADER..end]);
        }
        Ok(())
    }
}

impl Gcm {
    pub(super) fn new(key: &[u8], salt: &[u8; 14]) -> Result<Self, Error> {
        let mut short = [0; 12];
        short.copy_from_slice(&salt[..12]);
        Ok(Self { key: GcmKey::new(key)?, salt: short })
    }

    fn open(&self, nonce: &[u8; 12], aad: &[u8], body_and_tag: &mut [u8]) -> Result<(), Error> {
        let (body, tag) = body_and_tag.split_at_mut(body_and_tag.len() - GCM_TAG);
        self.key.open(nonce, aad, body, tag)
    }

    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: u32) -> Result<(), Error> {
        let end = packet.len() - RTCP_INDEX;
        let nonce = self.rtcp_nonce(ssrc, word & !E_FLAG);
        let word_bytes = word.to_be_bytes();
        if word & E_FLAG != 0 {
            let (header, rest) = packet[..end].split_at_mut(RTCP_HEADER);
            return self.open(&nonce, &rtcp_aad(header, word_bytes), rest);
        }
        // RFC 7714 §9.3: authenticated only. The whole packet and the index are AAD.
        let (body, tag) = packet[..end].split_at(end - GCM_TAG);
        let mut aad = [0; AAD_MAX + RTCP_INDEX];
        let aad = aad.get_mut(..body.len() + RTCP_INDEX).ok_or(Error::Authentication)?;
        aad[..body.len()].copy_from_slice(body);
        aad[body.len()..].copy_from_slice(&word_bytes);
        self.key.open(&nonce, aad, &mut [], tag)
    }

    /// RFC 7714 §8.1: 00 00 ‖ SSRC ‖ ROC ‖ SEQ, ⊕ salt.
    pub(super) fn rtp_nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        nonce
    }

    /// RFC 7714 §9.1: 00 00 ‖ SSRC ‖ 00 00 ‖ 0+index, ⊕ salt.
    pub(super) fn rtcp_nonce(&self, ssrc: u32, index: u32) -> [u8; 12] {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[8..12], &index.to_be_bytes());
        nonce
    }
}

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transform([redacted])")
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Derived([redacted])")
    }
}

/// Compares in constant time as much of the code as the suite sends.
fn verify(ours: &[u8; 20], theirs: &[u8]) -> Result<(), Error> {
    verify_slices_are_equal(&ours[..theirs.len()], theirs).map_err(|_| Error::Authentication)
}

/// RFC 3711 §4.1.1: (salt · 2^16) ⊕ (SSRC · 2^64) ⊕ (index · 2^16).
pub(super) fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

/// RFC 3711 §4.2: the code covers the packet and the rollover counter.
fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
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
