//! What a session is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use audio::CodecKind;
use sansio::WallTime;
use sdp::offer_answer::{Capabilities, Format};

use crate::keying::zrtp::ZrtpIdentity;

/// The payload types we offer for what has no static one.
const OPUS: u8 = 111;
const EVENTS_8K: u8 = 101;
const EVENTS_48K: u8 = 110;

/// How a session is to behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Codecs, best first.
    pub codecs: Vec<CodecChoice>,
    /// Encryption.
    pub security: Security,
    /// Our RTP address, as the far end reaches it.
    pub local: SocketAddr,
    /// Our RTCP port when it is not multiplexed; the port after RTP unless set.
    pub rtcp_port: Option<u16>,
    /// Offer and accept `rtcp-mux`.
    pub rtcp_mux: bool,
    /// Packet length we ask for.
    pub ptime_ms: u32,
    /// Tell [`crate::MediaEvent::Silent`] after this long without a packet.
    pub silence_after: Duration,
    /// The time of day when the session starts, for RTCP.
    pub wall: WallTime,
    /// Who we are in ZRTP, and whom we remember; without it, somebody new.
    pub zrtp: Option<ZrtpIdentity>,
}

impl Config {
    /// All codecs, no encryption, `rtcp-mux`, 20 ms packets, silence after 10 s.
    pub fn new(local: SocketAddr) -> Self {
        Self {
            codecs: CodecKind::ALL.to_vec(),
            security: Security::Plain,
            local,
            rtcp_port: None,
            rtcp_mux: true,
            ptime_ms: 20,
            silence_after: Duration::from_secs(10),
            wall: WallTime::default(),
            zrtp: None,
        }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let mut codecs = Vec::new();
        for kind in &self.codecs {
            let payload_type = kind.static_payload_type().unwrap_or(OPUS);
            let (rate, channels) = (kind.clock_rate(), kind.rtpmap_channels());
            let format = Format::new(payload_type, kind.encoding_name(), rate, channels);
            codecs.push(match kind {
                CodecKind::Opus => format.with_fmtp("minptime=10;useinbandfec=1"),
                CodecKind::G722 | CodecKind::Pcmu | CodecKind::Pcma => format,
                CodecKind::G729 => format.with_fmtp("annexb=no"),
            });
        }
        let event = |pt, rate| Format::new(pt, "telephone-event", rate, 1).with_fmtp("0-16");
        let telephone_events = [event(EVENTS_48K, 48_000), event(EVENTS_8K, 8000)]
            .into_iter()
            .filter(|e| codecs.iter().any(|c| c.map.clock_rate == e.map.clock_rate))
            .collect();
        Capabilities { codecs, telephone_events, ptime_ms: self.ptime_ms }
    }
}

/// A codec a session may use.
pub type CodecChoice = CodecKind;

/// Whether packets are encrypted, and how keys are agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Security {
    /// Plain RTP only.
    Plain,
    /// SRTP with keys in SDP (RFC 4568), or no call.
    Sdes,
    /// SRTP where the far end can, plain RTP where not: `RTP/AVP` is offered with crypto lines.
    SdesOptional,
    /// SRTP with keys that both ends agree on by the media path (RFC 6189), or nothing is said.
    Zrtp,
    /// The same where the far end can; else SRTP with keys in SDP where it offers those, else in
    /// clear.
    ZrtpOptional,
}

impl Security {
    /// The transport of our offers.
    pub(super) fn offered_proto(self) -> &'static str {
        match self {
            Self::Sdes => "RTP/SAVP",
            Self::Plain | Self::SdesOptional | Self::Zrtp | Self::ZrtpOptional => "RTP/AVP",
        }
    }

    /// Whether keys may be agreed on by the media path.
    pub(super) fn speaks_zrtp(self) -> bool {
        matches!(self, Self::Zrtp | Self::ZrtpOptional)
    }

    /// Whether an offer has audio over a transport that can be answered, with keys where there must be
    /// some. Which keys and codecs is looked at when it is.
    pub fn can_answer(self, offer: &[u8]) -> bool {
        let Ok(offer) = sdp::Session::parse(offer) else { return false };
        let audio = sdp::offer_answer::find_audio(&offer, |proto| self.accepts(proto));
        audio.is_ok_and(|at| self != Self::Sdes || offer.media()[at].cryptos().next().is_some())
    }

    /// Whether an offered transport can be answered.
    pub(super) fn accepts(self, proto: &str) -> bool {
        let plain = ["RTP/AVP", "RTP/AVPF"].iter().any(|p| p.eq_ignore_ascii_case(proto));
        let secure = ["RTP/SAVP", "RTP/SAVPF"].iter().any(|p| p.eq_ignore_ascii_case(proto));
        match self {
            Self::Plain | Self::Zrtp => plain,
            Self::Sdes | Self::SdesOptional | Self::ZrtpOptional => secure || plain,
        }
    }
}
