//! STUN messages (RFC 8489) with the attributes of ICE (RFC 8445 §16.1).

mod builder;
mod crc;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

pub use builder::Builder;

use crate::Error;

/// The fixed second word of every message (RFC 8489 §5).
pub const MAGIC_COOKIE: u32 = 0x2112_a442;
/// Length of a header.
pub const HEADER_LEN: usize = 20;
/// The Binding method.
pub const BINDING: u16 = 1;

/// More attributes make a message malformed.
const MAX_ATTRIBUTES: usize = 64;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Attribute types (RFC 8489 §18.3, RFC 8445 §21.3, RFC 5780 §7).
pub mod attribute {
    #![allow(missing_docs, reason = "the registered names say it")]
    pub const CHANGE_REQUEST: u16 = 0x0003;
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const PADDING: u16 = 0x0026;
    pub const RESPONSE_PORT: u16 = 0x0027;
    pub const SOFTWARE: u16 = 0x8022;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802a;
    pub const RESPONSE_ORIGIN: u16 = 0x802b;
    pub const OTHER_ADDRESS: u16 = 0x802c;
}
use attribute as attr;

/// Comprehension-required attributes that are understood or harmless (the realm family belongs to
/// the long-term mechanism, which a check does not use).
const UNDERSTOOD: [u16; 12] = [
    attr::USERNAME,
    attr::MESSAGE_INTEGRITY,
    attr::ERROR_CODE,
    attr::UNKNOWN_ATTRIBUTES,
    attr::XOR_MAPPED_ADDRESS,
    attr::PRIORITY,
    attr::USE_CANDIDATE,
    0x0001, // MAPPED-ADDRESS
    0x0014, // REALM
    0x0015, // NONCE
    0x001c, // MESSAGE-INTEGRITY-SHA256, which may stand beside SHA-1 (RFC 8489 §9.1.3)
    0x001d, // PASSWORD-ALGORITHM
];

/// Whether a datagram on a multiplexed port is STUN (RFC 7983 §7, RFC 8489 §5).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && datagram[0] < 4 && datagram[4..8] == MAGIC_COOKIE.to_be_bytes()
}

/// The class bits of the message type (RFC 8489 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Asks for a response.
    Request,
    /// Asks for nothing.
    Indication,
    /// The good response.
    Success,
    /// The bad response.
    Error,
}

/// A checked view of one message. Attributes behind MESSAGE-INTEGRITY are not shown, except
/// FINGERPRINT (RFC 8489 §14.5).
#[derive(Debug, Clone)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where MESSAGE-INTEGRITY starts.
    integrity_at: Option<usize>,
    has_fingerprint: bool,
}

impl<'a> Message<'a> {
    /// Checks lengths, cookie, attributes and, when there is one, the fingerprint.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() < HEADER_LEN {
            return Err(Error::Length);
        }
        if !is_stun(bytes) {
            return Err(Error::Cookie);
        }
        let len = usize::from(be16(bytes, 2));
        if len % 4 != 0 || bytes.len() != HEADER_LEN + len {
            return Err(Error::Length);
        }
        let mut message = Self { bytes, integrity_at: None, has_fingerprint: false };
        let mut at = HEADER_LEN;
        for _ in 0..MAX_ATTRIBUTES {
            if at == bytes.len() {
                return Ok(message);
            }
            at = message.check_attribute(at)?;
        }
        if at == bytes.len() { Ok(message) } else { Err(Error::Attribute(at)) }
    }

    fn check_attribute(&mut self, at: usize) -> Result<usize, Error> {
        // Lengths are multiples of four, so an attribute header always fits.
        let len = usize::from(be16(self.bytes, at + 2));
        let end = at + 4 + len.next_multiple_of(4);
        if end > self.bytes.len() {
            return Err(Error::Attribute(at));
        }
        match be16(self.bytes, at) {
            attr::MESSAGE_INTEGRITY if self.integrity_at.is_none() => {
                if len != 20 {
                    return Err(Error::Attribute(at));
                }
                self.integrity_at = Some(at);
            }
            attr::FINGERPRINT => {
                let crc = crc::crc32(&[&self.bytes[..at]]) ^ FINGERPRINT_XOR;
                if len != 4 || end != self.bytes.len() || be32(self.bytes, at + 4) != crc {
                    return Err(Error::Fingerprint);
                }
                self.has_fingerprint = true;
            }
            _ => {}
        }
        Ok(end)
    }

    /// The class.
    pub fn class(&self) -> Class {
        match (self.bytes[0] & 1, self.bytes[1] & 0x10) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            _ => Class::Error,
        }
    }

    /// The method; [`BINDING`] is 1.
    pub fn method(&self) -> u16 {
        let kind = be16(self.bytes, 0);
        (kind & 0x000f) | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2
    }

    /// The transaction id.
    pub fn transaction_id(&self) -> [u8; 12] {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..20]);
        id
    }

    /// The value of the first attribute of this type.
    pub fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// Type and value of each attribute, in order.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let (bytes, mut at) = (self.bytes, HEADER_LEN);
        let end = self.integrity_at.map_or(bytes.len(), |at| at + 24);
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let len = usize::from(be16(bytes, at + 2));
                let item = (be16(bytes, at), &bytes[at + 4..at + 4 + len]);
                at += 4 + len.next_multiple_of(4);
                item
            })
        })
    }

    /// The user name, if it is UTF-8.
    pub fn username(&self) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(attr::USERNAME)?).ok()
    }

    /// The priority of the peer-reflexive candidate this check would make.
    pub fn priority(&self) -> Option<u32> {
        self.attribute(attr::PRIORITY).filter(|v| v.len() == 4).map(|v| be32(v, 0))
    }

    /// Whether the check nominates its pair.
    pub fn use_candidate(&self) -> bool {
        self.attribute(attr::USE_CANDIDATE).is_some()
    }

    /// The sender says it controls; its tie-breaker.
    pub fn ice_controlling(&self) -> Option<u64> {
        self.attribute(attr::ICE_CONTROLLING).and_then(be64)
    }

    /// The sender says it is controlled; its tie-breaker.
    pub fn ice_controlled(&self) -> Option<u64> {
        self.attribute(attr::ICE_CONTROLLED).and_then(be64)
    }

    /// The error code of an error response, 300..=699.
    pub fn error_code(&self) -> Option<u16> {
        let value = self.attribute(attr::ERROR_CODE).filter(|v| v.len() >= 4)?;
        Some(u16::from(value[2] & 7) * 100 + u16::from(value[3]))
    }

    /// A plain address, such as OTHER-ADDRESS (RFC 5780 §7.4), written as MAPPED-ADDRESS is.
    pub fn address(&self, kind: u16) -> Option<SocketAddr> {
        let value = self.attribute(kind)?;
        let ip = match (value.get(1)?, value.len()) {
            (1, 8) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&value[4..]).ok()?)),
            (2, 20) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&value[4..]).ok()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, be16(value, 2)))
    }

    /// The address the other side saw (RFC 8489 §14.2).
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(attr::XOR_MAPPED_ADDRESS)
    }

    /// The first attribute of this type, written as XOR-MAPPED-ADDRESS is.
    pub fn xor_address(&self, kind: u16) -> Option<SocketAddr> {
        self.unmask(self.attribute(kind)?)
    }

    /// Where in the message the value of the first attribute of this type is.
    pub fn value_range(&self, kind: u16) -> Option<Range<usize>> {
        let value = self.attribute(kind)?;
        let start = value.as_ptr() as usize - self.bytes.as_ptr() as usize;
        Some(start..start + value.len())
    }

    /// The address in a value that is written as XOR-MAPPED-ADDRESS is.
    pub fn unmask(&self, value: &[u8]) -> Option<SocketAddr> {
        let mut pad = [0; 16];
        pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        pad[4..].copy_from_slice(&self.transaction_id());
        for (mask, byte) in pad.iter_mut().zip(value.iter().skip(4)) {
            *mask ^= byte;
        }
        let ip = match (value.get(1)?, value.len()) {
            (1, 8) => IpAddr::V4(Ipv4Addr::new(pad[0], pad[1], pad[2], pad[3])),
            (2, 20) => IpAddr::V6(Ipv6Addr::from(pad)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, be16(value, 2) ^ (MAGIC_COOKIE >> 16) as u16))
    }

    /// Comprehension-required attributes (0x0000..=0x7fff) that this codec does not know.
    pub fn unknown_required(&self) -> Vec<u16> {
        let kinds = self.attributes().map(|(kind, _)| kind);
        kinds.filter(|k| *k < 0x8000 && !UNDERSTOOD.contains(k)).collect()
    }

    /// Whether there is a MESSAGE-INTEGRITY.
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// Whether there is a (correct) FINGERPRINT.
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// Whether MESSAGE-INTEGRITY is there and right under `key` (RFC 8489 §14.5).
    pub fn verify_integrity(&self, key: &[u8]) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let ours = integrity(key, &self.bytes[..at]);
        ours.as_ref().ct_eq(&self.bytes[at + 4..at + 24]).into()
    }
}

/// HMAC-SHA1 over `bytes` with the length field set as if MESSAGE-INTEGRITY were the end.
fn integrity(key: &[u8], bytes: &[u8]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    context.update(&bytes[..2]);
    context.update(&((bytes.len() - HEADER_LEN + 24) as u16).to_be_bytes());
    context.update(&bytes[4..]);
    context.sign()
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
