//! The hash chain that ties an end's messages together (RFC 6189 §9), and the hash of its Hello that
//! goes by SDP (§8).

use std::fmt;
use std::str::FromStr;

use super::Hello;
use super::keys::{mac64, same, sha256};

/// H0 to H3. Each message shows one more, the last first: who shows H2 sent H3.
#[derive(Clone)]
pub(super) struct HashChain {
    pub h0: [u8; 32],
    pub h1: [u8; 32],
    pub h2: [u8; 32],
    pub h3: [u8; 32],
}

impl HashChain {
    pub(super) fn new(h0: [u8; 32]) -> Self {
        let h1 = sha256(&[&h0]);
        let h2 = sha256(&[&h1]);
        Self { h0, h1, h2, h3: sha256(&[&h2]) }
    }
}

/// Whether `image` is what `earlier` is the hash of.
pub(super) fn leads_to(image: &[u8; 32], earlier: &[u8; 32]) -> bool {
    same(&sha256(&[image]), earlier)
}

/// Whether a message's code was made with `image`.
pub(super) fn is_coded(image: &[u8; 32], (covered, code): (&[u8], [u8; 8])) -> bool {
    same(&mac64(image, &[covered]), &code)
}

/// The value of `a=zrtp-hash` (RFC 6189 §8): version, and hash of the Hello that will come by the
/// media path. In signalling that nobody changed it proves that nobody changed the Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelloHash {
    /// As `1.10`.
    pub version: [u8; 4],
    /// SHA-256 of the message.
    pub hash: [u8; 32],
}

impl HelloHash {
    /// Of a Hello.
    pub fn of(hello: &Hello<'_>) -> Self {
        Self { version: hello.version(), hash: sha256(&[hello.bytes()]) }
    }

    /// Whether it is this one's. Of another version's Hello nothing is known.
    pub fn fits(&self, hello: &Hello<'_>) -> bool {
        self.version != hello.version() || same(&sha256(&[hello.bytes()]), &self.hash)
    }
}

impl fmt::Display for HelloHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", String::from_utf8_lossy(&self.version))?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for HelloHash {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = crate::Error::Zrtp;
        let (version, digits) = text.trim().split_once(' ').ok_or(wrong)?;
        let version = version.as_bytes().try_into().map_err(|_| wrong)?;
        let (pairs, rest) = digits.trim().as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(wrong);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(wrong);
        let mut hash = [0; 32];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
        }
        Ok(Self { version, hash })
    }
}
