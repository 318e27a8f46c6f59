//! The relay's vocabulary, after the NG protocol: offer, answer, delete, query. All of it is plain
//! data that can travel to another node.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;

mod codecs;

pub use codecs::{CODEC_NAMES_MAX, CodecPolicy, DtmfMode};

/// A call's relay session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// How a leg carries media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// `RTP/AVP`
    Rtp,
    /// `RTP/SAVP` with keys in SDP (RFC 4568).
    Srtp,
    /// `UDP/TLS/RTP/SAVPF` with ICE-lite, DTLS-SRTP and rtcp-mux.
    WebRtc,
    /// `RTP/AVP` with keys that we agree on with this side by the media path (RFC 6189), as an
    /// intermediary that says so. Never read from a description: two sides that name a ZRTP Hello agree
    /// between themselves, unless the other one is keyed by us.
    Zrtp,
}

/// What one side of the call shall be offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegProfile {
    /// Used toward a side that has not described itself. A side that offers is answered in the
    /// protocol it offered.
    pub protocol: Protocol,
    /// The named interface; `None` for the first.
    #[serde(default)]
    pub interface: Option<String>,
    /// What this side is offered and how it sends digits. Taken from offers; answers are held to
    /// what was offered.
    #[serde(default)]
    pub codecs: CodecPolicy,
    /// How its descriptions are written.
    #[serde(default)]
    pub dialect: Dialect,
}

impl LegProfile {
    /// A profile on the first interface.
    pub fn new(protocol: Protocol) -> Self {
        let (codecs, dialect) = (CodecPolicy::default(), Dialect::default());
        Self { protocol, interface: None, codecs, dialect }
    }
}

/// Which side of the call a description comes from. In-dialog offers and delayed offers may come
/// from the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// The side that sent the first INVITE.
    FromCaller,
    /// The side that was called.
    FromCallee,
}

/// A session description on its way through us: an offer, or the answer to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The call.
    pub session: SessionId,
    /// Which of the call's branches; each has a callee leg of its own.
    pub branch: u32,
    /// Whose description it is.
    pub direction: Direction,
    /// The description as received.
    #[serde(with = "latin1")]
    pub sdp: Bytes,
    /// The side it comes from.
    pub from: LegProfile,
    /// The side it goes to.
    pub toward: LegProfile,
    /// Where the SIP message came from: behind a NAT its media comes from there, not from the
    /// address in SDP.
    #[serde(default)]
    pub signalled_from: Option<IpAddr>,
    /// The sender's dialog tag, for statistics.
    #[serde(default)]
    pub tag: String,
}

/// A command, for a relay on another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Write the offer for the other side.
    Offer(Description),
    /// Write the answer for the other side, and join the two.
    Answer(Description),
    /// End a session, or one branch of it.
    Delete {
        /// The call.
        session: SessionId,
        /// One branch only.
        branch: Option<u32>,
    },
    /// Statistics so far.
    Query {
        /// The call.
        session: SessionId,
    },
    /// Have one side hear a key, in the form that it wants digits in. For keys that came by INFO
    /// from the other.
    SendDigit {
        /// The call.
        session: SessionId,
        /// The branch that shall hear it, or `None` for the caller's side.
        toward: Option<u32>,
        /// `0-9*#A-D`.
        digit: char,
        /// How long it was down.
        duration_ms: u32,
    },
    /// Candidates of one side's, on their own.
    Trickle {
        /// The call.
        session: SessionId,
        /// The branch they are of, or `None` for the caller's side.
        from: Option<u32>,
        /// As RFC 8840 §9 has them.
        #[serde(with = "latin1")]
        fragment: Bytes,
    },
}

/// What happened on the media path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayEvent {
    /// First RTP from a side, or RTP again after a reported silence.
    MediaStarted {
        /// The call.
        session: SessionId,
        /// The branch, or `None` for the caller's side.
        branch: Option<u32>,
    },
    /// No RTP either way for the configured time, and nobody holds the call.
    MediaSilent {
        /// The call.
        session: SessionId,
    },
    /// A DTLS handshake failed: this side cannot be heard.
    HandshakeFailed {
        /// The call.
        session: SessionId,
        /// The branch, or `None` for the caller's side.
        branch: Option<u32>,
    },
    /// A key was pressed on one side, and the other wants its digits by INFO.
    Digit {
        /// The call.
        session: SessionId,
        /// The branch where it was pressed, or `None` for the caller's side.
        branch: Option<u32>,
        /// `0-9*#A-D`.
        digit: char,
        /// How long it was down.
        duration_ms: u32,
    },
    /// Marks (DSCP) of a side's packets do not come through. The call goes on. Told once for each way,
    /// where a phone of ours says what it puts on its packets and what comes to it.
    MarksLost {
        /// The call.
        session: SessionId,
        /// The branch, or `None` for the caller's side.
        branch: Option<u32>,
        /// Of what comes from it.
        inbound: bool,
        /// Of what goes to it.
        outbound: bool,
    },
    /// A browser stopped its ICE checks (RFC 7675): it is gone or has lost its network.
    ConsentLost {
        /// The call.
        session: SessionId,
        /// The branch, or `None` for the caller's side.
        branch: Option<u32>,
    },
}

/// A session's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStats {
    /// The call.
    pub session: SessionId,
    /// Whether a branch has answered.
    pub answered: bool,
    /// The caller's legs first, each party's in the order of its streams.
    pub legs: Vec<LegStats>,
}

/// The figures of one leg: one stream of one party. "Received" is what its peer sent us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegStats {
    /// The branch, or `None` for the caller's leg.
    pub branch: Option<u32>,
    /// Which of the call's streams: its m-line's place.
    #[serde(default)]
    pub stream: usize,
    /// The kind of the m-line, such as `audio`.
    #[serde(default)]
    pub media: String,
    /// The peer's dialog tag, as far as known.
    pub tag: String,
    /// How its media is carried.
    pub protocol: Protocol,
    /// The named interface of its ports.
    #[serde(default)]
    pub interface: String,
    /// Our RTP port.
    pub port: u16,
    /// Where we send to.
    pub remote: Option<SocketAddr>,
    /// The codec in use, as in SDP.
    pub codec: Option<String>,
    /// Its payload type.
    pub payload_type: Option<u8>,
    /// The type of service octet the peer's last packet came with, where the system tells: another
    /// than the peer's mark tells of a network on the way that changes marks.
    pub tos: Option<u8>,
    /// The octet of what leaves to the peer.
    #[serde(default)]
    pub tos_sent: u8,
    /// What the peer tells of what we send.
    #[serde(default)]
    pub told: Option<PeerTold>,
    /// Whether the peer holds.
    pub held: bool,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP bytes received.
    pub bytes_received: u64,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP bytes sent.
    pub bytes_sent: u64,
    /// RTCP packets received.
    pub rtcp_received: u64,
    /// RTP packets missing on the way from the peer; negative when duplicates prevail.
    pub lost: i64,
    /// Interarrival jitter of what the peer sends, in milliseconds.
    pub jitter_ms: f64,
    /// Milliseconds since the last RTP packet.
    pub last_packet_ms: Option<u64>,
    /// How often the peer's address changed.
    pub moves: u32,
    /// Packets dropped because they came from someone else.
    pub dropped_injected: u64,
    /// Packets dropped because authentication failed or they were replayed.
    pub dropped_unauthenticated: u64,
    /// Packets dropped for another reason.
    pub dropped_other: u64,
}

/// What a leg's peer tells in RTCP of what we send to it, and a phone of ours of marks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerTold {
    /// Reports of reception (RFC 3550 §6.4).
    pub reports: u64,
    /// Packets lost on the way to it.
    pub lost: i64,
    /// The share lost before the last report.
    pub loss_percent: f64,
    /// Interarrival jitter there, in milliseconds.
    pub jitter_ms: f64,
    /// From us to the peer and back, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Its mean opinion score for listening (RFC 3611 §4.7.5).
    pub mos: Option<f64>,
    /// The most bits per second that it can take (REMB).
    pub max_bitrate: Option<u64>,
    /// Packets that transport-wide feedback spoke of.
    pub transport_packets: u64,
    /// Those of them that did not come.
    pub transport_lost: u64,
    /// The mark (DSCP) that it puts on its packets.
    pub dscp_put: Option<u8>,
    /// The mark that ours come to it with.
    pub dscp_seen: Option<u8>,
    /// How often we changed what we code for it, because of its reports.
    #[serde(default)]
    pub adapted: u32,
    /// The bits per second we code for it, where the codec has a choice, and the packet time.
    #[serde(default)]
    pub coded: Option<(u32, u32)>,
    /// Marks of what it sends are changed on the way.
    pub bleached_from: bool,
    /// Marks of what we send are.
    pub bleached_toward: bool,
}

/// Bytes as text, one character each: readable in JSON, and nothing is lost.
mod latin1 {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&bytes.iter().map(|b| char::from(*b)).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.map(Bytes::from).map_err(|_| D::Error::custom("a character above U+00FF"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_json() {
        let command = Command::Offer(Description {
            session: SessionId(u64::MAX),
            branch: 1,
            direction: Direction::FromCaller,
            sdp: Bytes::from_static(b"v=0\r\ns=\xff\r\n"),
            from: LegProfile::new(Protocol::Rtp),
            toward: LegProfile::new(Protocol::WebRtc),
            signalled_from: Some(IpAddr::from([10, 0, 0, 1])),
            tag: "a".to_owned(),
        });
        let json = serde_json::to_string(&command).unwrap();
        assert!(json.contains(r"v=0\r\ns="), "{json}");
        assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), command);
    }
}
