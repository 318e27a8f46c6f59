//! Where SRTP keys come from: SDES lines in SDP ([`sdes`], RFC 4568), a DTLS handshake on the media
//! path ([`dtls`], RFC 5763 and RFC 5764), or an agreement there that the two users can check
//! ([`zrtp`], RFC 6189). Used by endpoints and by the relay alike.

use rtp::Error as RtpError;
use rtp::srtp::{KeyMaterial, SrtpContext, Suite};

pub mod dtls;
mod fingerprint;
pub mod sdes;
pub mod zrtp;

pub use fingerprint::{fingerprint_fits, fingerprint_of};

/// The agreed keys of one leg, whatever the method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// The suite both sides use.
    pub suite: Suite,
    /// For what we send.
    pub local: KeyMaterial,
    /// For what we receive.
    pub remote: KeyMaterial,
}

impl SrtpKeys {
    /// A context that protects what we send.
    ///
    /// # Errors
    /// When the key does not fit the suite.
    pub fn outbound(&self) -> Result<SrtpContext, RtpError> {
        SrtpContext::new(self.suite, &self.local)
    }

    /// A context that opens what we receive.
    ///
    /// # Errors
    /// When the key does not fit the suite.
    pub fn inbound(&self) -> Result<SrtpContext, RtpError> {
        SrtpContext::new(self.suite, &self.remote)
    }
}

/// Why keys could not be agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyingError {
    /// None of the offered crypto lines can be used.
    #[error("no crypto line offered with a suite we know")]
    NoCommonSuite,
    /// The answer's crypto line has a tag that was not offered (RFC 4568 §5.1.3).
    #[error("crypto tag {0} was not offered")]
    UnknownTag(u32),
    /// The peer's certificate is not the one its SDP announced (RFC 5763 §5).
    #[error("the certificate does not match the fingerprint in SDP")]
    FingerprintMismatch,
    /// A certificate could not be made.
    #[error("could not make a certificate")]
    Certificate,
    /// The handshake ended: alert, timeout, or nothing in common. Start anew with a fresh endpoint.
    #[error("DTLS failed: {0}")]
    Dtls(dimpl::Error),
    /// The peer does not say that it agrees on keys by ZRTP (RFC 6189 §8).
    #[error("no a=zrtp-hash in the answer")]
    NoZrtp,
    /// The peer negotiated no SRTP protection profile (RFC 5764 §4.1).
    #[error("DTLS without use_srtp")]
    NoSrtpProfile,
}
