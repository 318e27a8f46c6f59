//! Writing messages.

use std::net::{IpAddr, SocketAddr};

use super::{BINDING, Class, FINGERPRINT_XOR, HEADER_LEN, MAGIC_COOKIE, attribute as attr};
use super::{crc, integrity};

/// Writes one message, attribute by attribute.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A Binding request.
    pub fn request(transaction_id: [u8; 12]) -> Self {
        Self::new(Class::Request, transaction_id)
    }

    /// A Binding message of a class.
    pub fn new(class: Class, transaction_id: [u8; 12]) -> Self {
        Self::reuse(Vec::with_capacity(128), class, transaction_id)
    }

    /// As [`Builder::new`], in a buffer that is cleared first: [`Builder::finish`] gives it back.
    pub fn reuse(bytes: Vec<u8>, class: Class, transaction_id: [u8; 12]) -> Self {
        Self::answer(bytes, (BINDING, class), transaction_id)
    }

    /// As [`Builder::reuse`], of any method.
    pub fn answer(
        mut bytes: Vec<u8>,
        (method, class): (u16, Class),
        transaction_id: [u8; 12],
    ) -> Self {
        let class_bits = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110_u16,
        };
        bytes.clear();
        // The bits of the class stand between those of the method (RFC 8489 §5).
        let method = (method & 0xf) | (method & 0x70) << 1 | (method & 0xf80) << 2;
        bytes.extend((class_bits | method).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(transaction_id);
        Self { bytes }
    }

    /// USERNAME.
    #[must_use]
    pub fn username(self, name: &str) -> Self {
        self.attribute(attr::USERNAME, name.as_bytes())
    }

    /// PRIORITY.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(attr::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    #[must_use]
    pub fn use_candidate(self) -> Self {
        self.attribute(attr::USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING with a tie-breaker.
    #[must_use]
    pub fn ice_controlling(self, tie_breaker: u64) -> Self {
        self.attribute(attr::ICE_CONTROLLING, &tie_breaker.to_be_bytes())
    }

    /// ICE-CONTROLLED with a tie-breaker.
    #[must_use]
    pub fn ice_controlled(self, tie_breaker: u64) -> Self {
        self.attribute(attr::ICE_CONTROLLED, &tie_breaker.to_be_bytes())
    }

    /// ERROR-CODE.
    #[must_use]
    pub fn error(self, code: u16, reason: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        self.attribute(attr::ERROR_CODE, &value)
    }

    /// UNKNOWN-ATTRIBUTES.
    #[must_use]
    pub fn unknown_attributes(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|k| k.to_be_bytes()).collect();
        self.attribute(attr::UNKNOWN_ATTRIBUTES, &value)
    }

    /// XOR-MAPPED-ADDRESS.
    #[must_use]
    pub fn xor_mapped_address(self, addr: SocketAddr) -> Self {
        self.xor_address(attr::XOR_MAPPED_ADDRESS, addr)
    }

    /// An address masked as that of XOR-MAPPED-ADDRESS is.
    #[must_use]
    pub fn xor_address(self, kind: u16, addr: SocketAddr) -> Self {
        let port = addr.port() ^ (MAGIC_COOKIE >> 16) as u16;
        let mut value = vec![0, if addr.is_ipv4() { 1 } else { 2 }];
        value.extend(port.to_be_bytes());
        // Cookie and transaction id stand in a row in the header.
        let pad = &self.bytes[4..HEADER_LEN];
        match addr.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(pad).map(|(a, b)| a ^ b)),
            IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(pad).map(|(a, b)| a ^ b)),
        }
        self.attribute(kind, &value)
    }

    /// An address that is not masked, such as RESPONSE-ORIGIN (RFC 5780 §7.3).
    #[must_use]
    pub fn address(self, kind: u16, addr: SocketAddr) -> Self {
        let mut value = vec![0, if addr.is_ipv4() { 1 } else { 2 }];
        value.extend(addr.port().to_be_bytes());
        match addr.ip() {
            IpAddr::V4(ip) => value.extend(ip.octets()),
            IpAddr::V6(ip) => value.extend(ip.octets()),
        }
        self.attribute(kind, &value)
    }

    /// PADDING that brings the message to `total` bytes, a multiple of four (RFC 5780 §7.6). None
    /// if it is that long already.
    #[must_use]
    pub fn padding_to(mut self, total: usize) -> Self {
        if let Some(len) = total.checked_sub(self.bytes.len() + 4) {
            self.bytes.extend(attr::PADDING.to_be_bytes());
            self.bytes.extend((len as u16).to_be_bytes());
            self.bytes.resize(total, 0);
        }
        self
    }

    /// How many bytes the message has so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Any attribute. The value is cut at 1,024 bytes.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let value = &value[..value.len().min(1024)];
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds MESSAGE-INTEGRITY under `key` and FINGERPRINT.
    pub fn finish(self, key: &[u8]) -> Vec<u8> {
        self.signed(key).finish_unsigned()
    }

    /// Adds MESSAGE-INTEGRITY under `key` only.
    pub fn finish_signed(self, key: &[u8]) -> Vec<u8> {
        self.signed(key).finish_bare()
    }

    fn signed(self, key: &[u8]) -> Self {
        let tag = integrity(key, &self.bytes);
        self.attribute(attr::MESSAGE_INTEGRITY, tag.as_ref())
    }

    /// Adds nothing.
    pub fn finish_bare(mut self) -> Vec<u8> {
        let len = (self.bytes.len() - HEADER_LEN) as u16;
        self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
        self.bytes
    }

    /// Adds FINGERPRINT only: for errors to someone whose key is not known.
    pub fn finish_unsigned(mut self) -> Vec<u8> {
        let len = (self.bytes.len() - HEADER_LEN + 8) as u16;
        self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
        let crc = crc::crc32(&[&self.bytes]) ^ FINGERPRINT_XOR;
        self.attribute(attr::FINGERPRINT, &crc.to_be_bytes()).bytes
    }
}
