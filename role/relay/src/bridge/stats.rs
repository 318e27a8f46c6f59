//! Counters of one leg.

use std::time::Instant;

/// What came from and went to a leg's peer.
#[derive(Debug, Clone, Default)]
pub struct LegCounters {
    /// RTP packets accepted from the peer.
    pub packets_received: u64,
    /// Their bytes, headers included, protection not.
    pub bytes_received: u64,
    /// RTP packets sent to the peer.
    pub packets_sent: u64,
    /// Their bytes on the wire.
    pub bytes_sent: u64,
    /// RTCP packets accepted from the peer.
    pub rtcp_received: u64,
    /// RTCP packets sent to the peer.
    pub rtcp_sent: u64,
    /// When the last RTP packet came.
    pub last_received: Option<Instant>,
    /// The payload type of the last audio packet (telephone events do not count).
    pub payload_type: Option<u8>,
    /// The type of service octet the last packet came with, where the system tells.
    pub tos: Option<u8>,
    /// How often the peer's address changed in the call.
    pub moves: u32,
    /// What was not accepted.
    pub dropped: DropCounts,
}

/// Packets dropped, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DropCounts {
    /// From an address that is not the peer's.
    pub injected: u64,
    /// Authentication failed, or clear text where keys are agreed.
    pub unauthenticated: u64,
    /// Seen before.
    pub replayed: u64,
    /// Not RTP, RTCP, STUN or DTLS, or broken.
    pub malformed: u64,
    /// Came before SDP or keys were there, or there was nowhere to send it.
    pub early: u64,
    /// Could not be sealed or sent to the peer.
    pub unsent: u64,
    /// Held back because a controller turned them off.
    pub gated: u64,
}
