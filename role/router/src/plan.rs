//! What was decided.

use std::fmt;

use sansio::Transport;
use serde::Serialize;

use crate::step::Step;

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The tenant's domain, if the called one is of ours.
    pub tenant: Option<String>,
    /// What to do.
    pub outcome: Outcome,
    /// Why, in the order it was found out.
    pub steps: Vec<Step>,
}

/// What to do with a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Outcome {
    /// Ring these, all at once; the first to answer has the call.
    Fork {
        /// Whom, best first.
        targets: Vec<Target>,
    },
    /// Answer by ourselves.
    Service {
        /// With what.
        service: Service,
    },
    /// Hand it to a peer; to the next when it fails.
    Peers {
        /// Which, in the order to be tried.
        targets: Vec<PeerTarget>,
    },
    /// Refuse.
    Refuse {
        /// The SIP status.
        status: u16,
        /// Its reason phrase.
        reason: &'static str,
    },
}

/// One peer to hand a call to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerTarget {
    /// Its place among the configured.
    pub peer: usize,
    /// Its name.
    pub name: String,
    /// The user or number to ask for.
    pub user: String,
    /// The host to ask for.
    pub host: String,
}

/// One phone to ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The binding's key.
    pub binding: u64,
    /// Its Contact URI: the Request-URI to send.
    pub contact: String,
    /// Preference in thousandths.
    pub q: u16,
    /// The media it takes.
    pub media: MediaProfile,
}

/// How a phone wants its media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaProfile {
    /// RTP/AVP.
    Rtp,
    /// RTP/SAVP with SDES keys (RFC 4568).
    Srtp,
    /// UDP/TLS/RTP/SAVPF with ICE and DTLS-SRTP.
    WebRtc,
}

impl MediaProfile {
    /// What a phone registered by this transport takes. SDES keys stand in the clear in SIP, so
    /// they go by TLS only; whoever speaks WebSocket is a browser.
    pub fn of(transport: Transport) -> Self {
        match transport {
            Transport::Udp | Transport::Tcp => Self::Rtp,
            Transport::Tls => Self::Srtp,
            Transport::Ws | Transport::Wss => Self::WebRtc,
        }
    }
}

impl fmt::Display for MediaProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtp => "plain RTP",
            Self::Srtp => "SRTP keyed by SDES",
            Self::WebRtc => "WebRTC media",
        })
    }
}

/// What we answer by ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Service {
    /// Plays back what one says.
    Echo,
    /// Plays 1 kHz.
    Tone,
}

impl Service {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Tone => "tone",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
