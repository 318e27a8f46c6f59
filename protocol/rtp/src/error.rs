//! What can be wrong with a packet.

/// Why a packet was refused. All variants but [`Error::BufferTooSmall`] and [`Error::BadKey`] are
/// the sender's doing; the packet is dropped and counted, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shorter than its own header fields say.
    #[error("packet of {actual} bytes is shorter than the {needed} it announces")]
    Truncated {
        /// Bytes the header asks for.
        needed: usize,
        /// Bytes there are.
        actual: usize,
    },
    /// The version field is not 2 (RFC 3550 §5.1).
    #[error("RTP version {0}, expected 2")]
    Version(u8),
    /// The padding count exceeds the payload (RFC 3550 §5.1).
    #[error("padding longer than the payload")]
    Padding,
    /// An RTCP packet inside a compound is malformed (RFC 3550 §6.4).
    #[error("malformed RTCP compound packet")]
    Rtcp,
    /// The authentication tag does not match (RFC 3711 §3.4, RFC 7714 §8.2).
    #[error("authentication failed")]
    Authentication,
    /// The packet index was used before (RFC 3711 §3.3.2).
    #[error("packet index already used")]
    Replayed,
    /// The packet index lies behind the replay window.
    #[error("packet older than the replay window")]
    TooOld,
    /// More synchronisation sources than [`srtp::MAX_STREAMS`](crate::srtp::MAX_STREAMS).
    #[error("too many synchronisation sources under one key")]
    TooManyStreams,
    /// The key has protected as many packets as it may (RFC 3711 §9.2).
    #[error("key exhausted, rekeying needed")]
    KeyExhausted,
    /// The caller's buffer has no room for the result.
    #[error("buffer of {have} bytes is too small, {needed} needed")]
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        have: usize,
    },
    /// Key or salt have the wrong length for the suite.
    #[error("key material does not fit the suite")]
    BadKey,
    /// The check sum of a packet of ZRTP is not that of its bytes (RFC 6189 §5).
    #[error("check sum does not fit")]
    Checksum,
    /// A packet of ZRTP, or what SDP says of one, has no form that RFC 6189 knows.
    #[error("malformed ZRTP")]
    Zrtp,
    /// Not a digit that RFC 4733 knows, or too many waiting.
    #[error("cannot queue this telephone event")]
    BadEvent,
}
