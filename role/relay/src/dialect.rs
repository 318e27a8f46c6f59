//! How a description is written for a side, beyond the way its media is keyed: what a controller
//! that speaks the NG protocol may ask for.

use serde::{Deserialize, Serialize};

/// The manner of a side's descriptions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dialect {
    /// The transport of RTP as written, such as `RTP/AVPF`; `None` for the protocol's own.
    pub transport: Option<String>,
    /// Each stream goes on in the transport it was offered in unless `transport` is said, and in
    /// clear beside encrypted ones if it is so. Otherwise all are keyed as the profile's protocol
    /// says, and what cannot be is rejected.
    pub each_stream: bool,
    /// Whether ICE is spoken.
    pub ice: IceWish,
    /// Whether RTP and RTCP share a port (RFC 5761).
    pub mux: MuxWish,
    /// The part in the DTLS handshake.
    pub dtls: DtlsWish,
    /// Write where RTCP goes (`a=rtcp`, RFC 3605).
    pub rtcp_attribute: bool,
    /// Say that candidates are taken one after the other (RFC 8838): the signalling beside us leads
    /// fragments to [`crate::Relay::trickle`].
    pub trickle: bool,
    /// Leave the address in `o=` as it came.
    pub keep_origin: bool,
}

/// Whether ICE is spoken with a side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IceWish {
    /// With WebRTC peers and nobody else.
    #[default]
    WithWebRtc,
    /// Where the other side offered it.
    AsOffered,
    /// Always.
    Force,
    /// Never: candidates are taken out.
    Remove,
}

/// Whether RTP and RTCP share a port. Nothing set: with WebRTC peers and nobody else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MuxWish {
    /// Other peers may have it too, where both sides want it.
    pub as_offered: bool,
    /// Offer it, whoever offered what.
    pub offer: bool,
    /// Accept it of the one who offered, and offer two ports to the other.
    pub demux: bool,
    /// Accept it of the one who offered.
    pub accept: bool,
    /// Refuse it to the one who offered.
    pub reject: bool,
}

impl MuxWish {
    /// Whether it is offered to a side when the other `offered` it.
    pub fn offers(self, offered: bool) -> bool {
        self.offer || (self.as_offered && offered && !self.demux)
    }

    /// Whether the one who offered it gets it when the other side has it or not.
    pub fn grants(self, other_has: bool) -> bool {
        !self.reject && (self.accept || self.demux || (self.as_offered && other_has))
    }
}

/// The part in the DTLS handshake (RFC 5763 §5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DtlsWish {
    /// Either, as the peer chooses.
    #[default]
    Any,
    /// None: SRTP is keyed in SDP.
    Off,
    /// We wait for the peer's ClientHello.
    Passive,
    /// We send the ClientHello.
    Active,
}
