//! The transaction layer: the four machines of RFC 3261 §17 with RFC 6026 and RFC 4320.
//!
//! ```text
//!                           transaction user: edge, phone
//!     send_request, cancel │ respond          ▲ Request, Cancel, Ack       ▲ Response, TimedOut,
//!                          ▼                  │                            │ FlowFailed, StrayResponse
//!     ┌────────────────────────────────── Layer ──────────────────────────────────┐
//!     │  ClientInvite    Client    ServerInvite    Server      one machine a file │
//!     │  Table: slots found by branch + sent-by + method       Wheel: the timers  │
//!     └───────────────────────────────────────────────────────────────────────────┘
//!          handle_message, handle_timeout, handle_flow_failed ▲     │ Transmit
//!                                  the driver: flows, clock   │     ▼
//! ```
//!
//! # Contract
//! After any call drain [`Layer::poll_output`] until `None`, then sleep until
//! [`Layer::poll_timeout`] (which may come early, with nothing to do yet). Each request reaches the TU once; retransmissions are absorbed and
//! answered here. Each transaction the TU was told of ends with exactly one
//! [`Output::Terminated`], after which its key is dead and no call with it does anything.
//!
//! - Client side: every provisional and the final pass up; a 2xx to INVITE passes up each time it
//!   comes (RFC 6026 §7.2), and as [`Output::StrayResponse`] once the transaction is gone. The
//!   layer acknowledges 300-699; the ACK of a 2xx is the TU's, sent outside any transaction.
//! - Server side: an ACK for a 2xx comes as [`Output::Request`] with no key. CANCEL is answered
//!   here (200 or 481, §9.2) and the TU hears [`Output::Cancel`]; the 487 is the TU's.
//! - RFC 4320: a non-INVITE is never answered 408 nor with a provisional other than a late 100.
//! - Limits: [`Limits`]; a request beyond them is refused with 503 and Retry-After.
//!
//! ```
//! use sansio::{FlowId, SeededEntropy, Transport};
//! use sip::{Message, transaction::{Config, Layer, Output, SendVia}};
//!
//! let mut layer = Layer::new(Config::default(), &mut SeededEntropy::new(1));
//! let flow = FlowId { node: 0, shard: 0, id: 1 };
//! let options = Message::parse(b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK77\r\nMax-Forwards: 70\r\n\
//!     From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
//!     Call-ID: 1@192.0.2.1\r\nCSeq: 1 OPTIONS\r\n\r\n".as_slice().into())?;
//! let now = sansio::testing::epoch();
//! let key = layer.send_request(now, SendVia { flow, transport: Transport::Udp }, options).unwrap();
//! assert!(matches!(layer.poll_output(), Some(Output::Transmit { .. })));
//! // Nobody answers: Timer E sends it again 500 ms later.
//! let mut later = now;
//! while layer.poll_output().is_none() {
//!     later = layer.poll_timeout().unwrap();
//!     layer.handle_timeout(later);
//! }
//! assert_eq!((later - now).as_millis(), 500);
//! # let _ = key;
//! # Ok::<(), sip::ParseError>(())
//! ```
//!
//! What it does not do: it opens no flows, looks up no hosts, keeps no dialogs, and retransmits no
//! 2xx to INVITE (that is the UAS core's, see [`crate::dialog::Answer`]).
//!
//! Start reading at [`Layer`], then `server_invite.rs`.

mod client;
mod client_invite;
mod compose;
mod inbound;
mod key;
mod layer;
mod machine;
mod outbound;
mod server;
mod server_invite;
mod table;
#[cfg(test)]
mod tests;
mod wheel;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sansio::{FlowId, Transport};

pub use self::layer::{Layer, Stats};
use crate::Message;

/// Base times and limits of a [`Layer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Round-trip estimate T1. Default 500 ms; 64*T1 bounds every wait.
    pub t1: Duration,
    /// Longest retransmission interval T2. Default 4 s.
    pub t2: Duration,
    /// Longest time a message stays in the network, T4. Default 5 s.
    pub t4: Duration,
    /// After how many milliseconds of silence from the TU a server INVITE is answered 100 by the
    /// layer (RFC 3261 §17.2.1 says 200); 0 at once, `None` never. Default 200.
    pub auto_trying_ms: Option<u64>,
    /// How long a server INVITE may wait for a word of the TU, provisional or final, before it is
    /// taken for forgotten and dropped with [`Ending::NoAnswer`]. Default 10 min: longer than Timer
    /// C, and a UAS that rings repeats its 1xx every minute (RFC 3261 §13.3.1.1).
    pub invite_silence_max: Duration,
    /// How much is kept.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            auto_trying_ms: Some(200),
            invite_silence_max: Duration::from_secs(600),
            limits: Limits::default(),
        }
    }
}

/// How many transactions a [`Layer`] keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client transactions; beyond it [`SendError::TooManyTransactions`]. Default 200,000.
    pub clients_max: usize,
    /// Server transactions; beyond it 503. Default 200,000.
    pub servers_max: usize,
    /// The Retry-After of that 503, in seconds. Default 5.
    pub retry_after_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients_max: 200_000, servers_max: 200_000, retry_after_s: 5 }
    }
}

/// A client transaction: a handle, never reused while the layer lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(u64);

/// A server transaction: a handle, never reused while the layer lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(u64);

/// Either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransactionKey {
    /// A request we sent.
    Client(ClientKey),
    /// A request we received.
    Server(ServerKey),
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The flow; responses of the transaction go back by it.
    pub flow: FlowId,
    /// The flow's transport.
    pub transport: Transport,
    /// The address it came from.
    pub peer: SocketAddr,
}

/// How a request is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendVia {
    /// The flow; it must exist.
    pub flow: FlowId,
    /// The flow's transport, which decides the timers.
    pub transport: Transport,
}

/// What the layer wants done or known. See the module's contract. `Debug` shows no message bytes.
#[derive(Clone)]
pub enum Output {
    /// Bytes for the wire: one whole message.
    Transmit {
        /// By this flow.
        flow: FlowId,
        /// The flow's transport.
        transport: Transport,
        /// The message.
        message: Bytes,
    },
    /// A request for the TU, once.
    Request {
        /// What to answer with; `None` for an ACK that belongs to no transaction (of a 2xx).
        key: Option<ServerKey>,
        /// How it came.
        arrival: Arrival,
        /// The request.
        message: Message,
    },
    /// The INVITE was cancelled before its final; the CANCEL itself is answered. Answer 487.
    Cancel {
        /// The INVITE.
        invite: ServerKey,
        /// The CANCEL, for its Reason.
        message: Message,
    },
    /// The ACK for the 300-699 the TU gave. For information.
    Ack {
        /// The INVITE.
        key: ServerKey,
    },
    /// A response to a request of the TU.
    Response {
        /// The request.
        key: ClientKey,
        /// The response, our Via still on top.
        message: Message,
    },
    /// Timer B or F, or no final came within 64*T1 of a CANCEL: to be treated as 408 (§8.1.3.1).
    TimedOut {
        /// The request.
        key: ClientKey,
    },
    /// The flow broke before a final came: to be treated as 503 (§8.1.3.1).
    FlowFailed {
        /// The request.
        key: ClientKey,
    },
    /// A response that belongs to no transaction: a late 2xx to INVITE, to be acknowledged or
    /// forwarded by who knows the dialog. Anything else should be dropped (RFC 6026 §7.3).
    StrayResponse {
        /// How it came.
        arrival: Arrival,
        /// The response.
        message: Message,
    },
    /// The transaction is gone.
    Terminated {
        /// Which.
        key: TransactionKey,
        /// How it came to its end.
        ending: Ending,
    },
}

/// How a transaction came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Answered, and whatever had to be waited for.
    Normal,
    /// [`Output::TimedOut`] was given.
    TimedOut,
    /// [`Output::FlowFailed`] was given.
    FlowFailed,
    /// Timer H: the ACK of our 300-699 never came.
    NoAck,
    /// The TU did not answer a non-INVITE while its client could still take the answer, or forgot an
    /// INVITE ([`Config::invite_silence_max`]).
    NoAnswer,
}

/// Why a request was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// [`Limits::clients_max`] is reached: answer 503.
    #[error("too many client transactions")]
    TooManyTransactions,
    /// The message is a response, an ACK (which has no transaction), or a CANCEL (see
    /// [`Layer::cancel`]).
    #[error("the message starts no client transaction")]
    NotARequest,
    /// The message has no Via that could be matched.
    #[error("no usable Via on top")]
    NoVia,
    /// A living transaction has the same branch, sent-by and method.
    #[error("the branch is in use")]
    DuplicateBranch,
}

/// What [`Layer::cancel`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The CANCEL is on its way.
    Sent,
    /// It goes when the first provisional comes (§9.1).
    Waiting,
    /// Cancelled before; nothing was done.
    Already,
    /// The transaction has its final, is gone, or is not an INVITE; nothing was done.
    TooLate,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transmit { flow, transport, message } => {
                write!(f, "Transmit({flow} {transport} {} bytes)", message.len())
            }
            Self::Request { key, message, .. } => {
                write!(f, "Request({key:?} {:?})", message.method())
            }
            Self::Cancel { invite, .. } => write!(f, "Cancel({invite:?})"),
            Self::Ack { key } => write!(f, "Ack({key:?})"),
            Self::Response { key, message } => {
                write!(f, "Response({key:?} {:?})", message.status())
            }
            Self::TimedOut { key } => write!(f, "TimedOut({key:?})"),
            Self::FlowFailed { key } => write!(f, "FlowFailed({key:?})"),
            Self::StrayResponse { message, .. } => {
                write!(f, "StrayResponse({:?})", message.status())
            }
            Self::Terminated { key, ending } => write!(f, "Terminated({key:?} {ending:?})"),
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client#{}.{}", self.0 as u32, self.0 >> 32)
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server#{}.{}", self.0 as u32, self.0 >> 32)
    }
}
