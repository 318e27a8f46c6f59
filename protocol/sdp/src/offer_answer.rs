//! Offer/answer (RFC 3264) for an endpoint with one audio stream.
//!
//! ```text
//!   we call:      offer() ───────────► … ───► apply_answer() ──► Negotiated
//!   we are called: find_audio() ─► (keying chooses) ─► answer() ──► (Session, Negotiated)
//! ```
//!
//! Payload types in a description are those its maker wants to *receive* (RFC 3264 §5.1): we send
//! with the far end's numbers and receive with ours, and the two may differ.

mod answer;
mod negotiate;

use std::net::{IpAddr, SocketAddr};

pub use answer::{answer, apply_answer, find_audio};

use crate::{Direction, MediaLine, RtcpAddress, RtpMap, Session};

/// A codec as SDP sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// What it is, and the payload type it is offered with or arrived with.
    pub map: RtpMap,
    /// Parameters for `a=fmtp`.
    pub fmtp: Option<String>,
}

impl Format {
    /// A format without parameters.
    pub fn new(payload_type: u8, encoding: &str, clock_rate: u32, channels: u8) -> Self {
        let map = RtpMap { payload_type, encoding: encoding.to_owned(), clock_rate, channels };
        Self { map, fmtp: None }
    }

    /// The same with parameters.
    pub fn with_fmtp(self, params: &str) -> Self {
        Self { fmtp: Some(params.to_owned()), ..self }
    }

    /// Whether both name the same codec, whatever the numbers.
    pub fn is_same_codec(&self, other: &RtpMap) -> bool {
        self.map.encoding.eq_ignore_ascii_case(&other.encoding)
            && self.map.clock_rate == other.clock_rate
            && self.map.channels == other.channels
    }
}

/// What this end can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Codecs, best first.
    pub codecs: Vec<Format>,
    /// `telephone-event` (RFC 4733): one per clock rate, with the number to offer.
    pub telephone_events: Vec<Format>,
    /// Packet length wanted, in ms.
    pub ptime_ms: u32,
}

/// Where and how this end wants its audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Identifies the session in `o=`.
    pub session_id: u64,
    /// Version in `o=`; one more for each description that differs.
    pub version: u64,
    /// Address of RTP, as the far end reaches it.
    pub rtp: SocketAddr,
    /// Port of RTCP when it is not multiplexed.
    pub rtcp_port: u16,
    /// Offer or accept `a=rtcp-mux`.
    pub rtcp_mux: bool,
    /// Transport: `RTP/AVP`, `RTP/SAVP` …
    pub proto: String,
    /// What this end wants: sendrecv, or sendonly/inactive to hold.
    pub direction: Direction,
    /// More attributes of the m-line, such as `crypto`.
    pub attributes: Vec<(String, Option<String>)>,
}

/// What both ends agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Which m-line it is.
    pub index: usize,
    /// Where RTP goes.
    pub remote_rtp: SocketAddr,
    /// Where RTCP goes.
    pub remote_rtcp: SocketAddr,
    /// Both share one port (RFC 5761).
    pub rtcp_mux: bool,
    /// What we send, with the far end's payload type.
    pub send: Format,
    /// What we accept, with our payload types.
    pub receive: Vec<Format>,
    /// Telephone events to send, with the far end's payload type.
    pub send_event: Option<Format>,
    /// Telephone events to accept, with our payload types.
    pub receive_events: Vec<Format>,
    /// Which way audio flows, seen from here.
    pub direction: Direction,
    /// Length of the packets we send.
    pub ptime_ms: u32,
}

/// Why two ends do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferAnswerError {
    /// No m-line is audio on a transport this end takes, or it is disabled.
    #[error("no usable audio stream is offered")]
    NoAudio,
    /// No codec in common: the call ends with 488 (RFC 3261 §21.4.26).
    #[error("no codec in common")]
    NoCommonCodec,
    /// The answer rejects the stream (port 0).
    #[error("the far end rejected the audio stream")]
    Rejected,
    /// The answer has another number of m-lines than the offer (RFC 3264 §6).
    #[error("the answer has {answered} m-lines, the offer {offered}")]
    MediaCount {
        /// In the offer.
        offered: usize,
        /// In the answer.
        answered: usize,
    },
    /// The answer changed the kind or transport of the m-line.
    #[error("the answer changed the kind or transport of the stream")]
    Changed,
    /// Neither the m-line nor the session names an IP address.
    #[error("the stream has no address")]
    NoAddress,
}

/// Makes an offer. `previous` is the last description this end sent in the session: m-lines never
/// go away (RFC 3264 §8), so those besides ours are kept, disabled.
pub fn offer(local: &LocalMedia, caps: &Capabilities, previous: Option<&Session>) -> Session {
    let formats: Vec<&Format> = caps.codecs.iter().chain(&caps.telephone_events).collect();
    let ours = media_line(local, &formats, caps.ptime_ms, local.rtcp_mux);
    let mut session = Session::new(local.session_id, local.version, local.rtp.ip());
    let Some(previous) = previous.filter(|p| !p.media().is_empty()) else {
        session.push_media(ours);
        return session;
    };
    let active = previous.media().iter().position(|m| !m.is_rejected()).unwrap_or(0);
    for (index, media) in previous.media().iter().enumerate() {
        session.push_media(if index == active { ours.clone() } else { rejected(media) });
    }
    session
}

/// The m-line with its formats and attributes.
fn media_line(local: &LocalMedia, formats: &[&Format], ptime_ms: u32, mux: bool) -> MediaLine {
    let numbers: Vec<String> = formats.iter().map(|f| f.map.payload_type.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let mut media = MediaLine::new("audio", local.rtp.port(), &local.proto, &numbers);
    for format in formats {
        media.add_attribute("rtpmap", Some(&format.map.to_string()));
        if let Some(params) = &format.fmtp {
            let value = format!("{} {params}", format.map.payload_type);
            media.add_attribute("fmtp", Some(&value));
        }
    }
    media.add_attribute("ptime", Some(&ptime_ms.to_string()));
    if mux {
        media.add_attribute("rtcp-mux", None);
    }
    if local.rtcp_port != local.rtp.port().wrapping_add(1) {
        media.set_rtcp(&RtcpAddress { port: local.rtcp_port, connection: None });
    }
    for (name, value) in &local.attributes {
        media.add_attribute(name, value.as_deref());
    }
    media.set_direction(local.direction);
    media
}

/// The same m-line, refused (RFC 3264 §6: port 0, at least one format).
fn rejected(offered: &MediaLine) -> MediaLine {
    let first = offered.formats().first().map_or("0", String::as_str);
    let mut media = MediaLine::new(offered.kind(), 0, offered.proto(), &[first]);
    if let Some(mid) = offered.mid() {
        media.add_attribute("mid", Some(mid));
    }
    media
}

/// Whether an address means "hold" as RFC 2543 wrote it.
fn is_null(ip: IpAddr) -> bool {
    ip.is_unspecified()
}

#[cfg(test)]
mod tests;
