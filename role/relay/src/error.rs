//! Why the relay refused a command.

use media::keying::KeyingError;

use crate::Config;
use crate::ports::OpenError;

/// Why a description was not relayed. [`RelayError::status`] says what to answer in SIP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The description does not parse.
    #[error("malformed session description: {0}")]
    Sdp(#[from] sdp::ParseError),
    /// No stream in it over RTP, UDPTL or UDP/BFCP.
    #[error("no stream to relay: offer one over RTP or UDPTL with a port")]
    NoStream,
    /// T.38 knows no encryption, and the call is encrypted on one side at least: fax in the sound
    /// (G.711) instead.
    #[error("{0} is in clear, and this call is encrypted")]
    InClear(String),
    /// The keys in it cannot be used.
    #[error("no usable keys: {0}")]
    Keying(#[from] KeyingError),
    /// No codec is left to offer, or the answer has none in common with the offer and none that
    /// we can translate: widen `codecs` of the peer or device.
    #[error("no codec in common, and none that can be translated")]
    NoCodec,
    /// A codec library refused its work.
    #[error("no transcoding: {0}")]
    Transcoding(#[from] audio::Error),
    /// An encrypted offer was answered in the clear, or the other way round.
    #[error("the answer's transport {0} is not what was offered")]
    ProtocolMismatch(String),
    /// Media could never reach it: half of the credentials of ICE, or DTLS with neither an address
    /// nor ICE.
    #[error("no way for media: {0}")]
    NoPath(&'static str),
    /// An answer to an offer that was never made, or of a session that is gone.
    #[error("no offer is open in this session")]
    NoOffer,
    /// No interface of this name.
    #[error("unknown interface {0}")]
    UnknownInterface(String),
    /// Every port pair of the interface is taken: widen `rtp_ports` or add a relay.
    #[error("all RTP ports of interface {interface} are in use ({port_min}-{port_max})")]
    PortsExhausted {
        /// The interface's name.
        interface: String,
        /// First port of the range.
        port_min: u16,
        /// Last port of the range.
        port_max: u16,
    },
    /// The system gives no socket: raise the limit of open files, or correct the address.
    #[error("no RTP port can be opened on interface {interface}: {reason}")]
    PortsRefused {
        /// The interface's name.
        interface: String,
        /// What the system said.
        reason: std::io::ErrorKind,
    },
    /// The configured number of sessions is open.
    #[error("{0} sessions are open, the configured limit")]
    TooManySessions(usize),
    /// Candidates of a stream that the call has not.
    #[error("the candidates are of no stream of this call: a=mid names none")]
    UnknownStream,
    /// Candidates of another generation than was agreed on.
    #[error("the candidates are of another generation: a=ice-ufrag is not the one of this call")]
    UnknownGeneration,
    /// No such party in the call, or no such call.
    #[error("no such party in the call")]
    NoParty,
    /// The party understands no codec that we have: nothing can be played to it.
    #[error("the party knows no codec that sound can be played in: opus, G722, PCMU or PCMA")]
    NotPlayable,
    /// As many third parties listen to the session as may.
    #[error("{0} streams of the session are listened to, the limit")]
    TooManyListeners(usize),
    /// The session has as many branches as one may have.
    #[error("{0} branches in one session, the limit")]
    TooManyBranches(usize),
}

impl RelayError {
    pub(crate) fn no_ports(why: OpenError, config: &Config, interface: usize) -> Self {
        let interface = config.interfaces[interface].name.clone();
        let (port_min, port_max) = (config.port_min, config.port_max);
        match why {
            OpenError::Exhausted => Self::PortsExhausted { interface, port_min, port_max },
            OpenError::System(reason) => Self::PortsRefused { interface, reason },
        }
    }

    /// The SIP status for the side whose description was refused.
    pub fn status(&self) -> u16 {
        match self {
            Self::Sdp(_) => 400,
            Self::NoStream
            | Self::InClear(_)
            | Self::NoCodec
            | Self::Keying(_)
            | Self::ProtocolMismatch(_)
            | Self::NoPath(_)
            | Self::UnknownStream
            | Self::UnknownGeneration
            | Self::NotPlayable => 488,
            Self::NoOffer | Self::NoParty => 481,
            Self::UnknownInterface(_) | Self::Transcoding(_) => 500,
            Self::PortsExhausted { .. }
            | Self::PortsRefused { .. }
            | Self::TooManySessions(_)
            | Self::TooManyListeners(_)
            | Self::TooManyBranches(_) => 503,
        }
    }
}
