//! What can be wrong with a STUN message.

/// Why bytes are not a STUN message. Such a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shorter than a header, or its length field disagrees with the datagram (RFC 8489 §5).
    #[error("STUN length does not fit the datagram")]
    Length,
    /// The first two bits or the magic cookie are wrong (RFC 8489 §5).
    #[error("not STUN: wrong magic cookie")]
    Cookie,
    /// An attribute reaches beyond the message, or there are more than 64.
    #[error("malformed STUN attribute at byte {0}")]
    Attribute(usize),
    /// The FINGERPRINT is not last or does not match (RFC 8489 §14.7).
    #[error("STUN fingerprint does not match")]
    Fingerprint,
}
