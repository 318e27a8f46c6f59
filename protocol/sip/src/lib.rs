//! SIP: message, transactions, dialogs, digest and the proxy's response context (RFC 3261).
//!
//! ```text
//!   bytes ──► StreamFramer ──► Message { Bytes + index } ──► typed views: Via, NameAddr, SipUri …
//!             (TCP, TLS)          ▲            │
//!   datagram, WS frame ───────────┘            ├──► Edit (splice, byte-exact elsewhere) ──► Message
//!                                              └──► response_to / RequestBuilder ─────────► Message
//!                        transaction::Layer, proxy::ResponseContext, dialog::Dialog work on Messages
//! ```
//!
//! A [`Message`] is the bytes that came plus an index of where each header lies; nothing is decoded
//! until somebody asks, and a normal message parses without allocating. [`Message::parse`] refuses
//! what RFC 3261 calls malformed and says with which status to answer ([`ParseError::status`]);
//! unknown methods, headers, URI schemes and parameters pass byte-exact. Every size has a limit
//! ([`Limits`]); nothing here panics on what a stranger sent.
//!
//! ```
//! use sip::{Edit, HeaderName, Message, Method, response_to};
//! let bytes = b"OPTIONS sip:bob@example.com SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK77;rport\r\n\
//!     From: Alice <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.com>\r\n\
//!     Call-ID: 1@192.0.2.1\r\nCSeq: 7 OPTIONS\r\nMax-Forwards: 70\r\n\r\n";
//! let request = Message::parse(bytes.as_slice().into())?;
//! assert_eq!(request.method(), Some(Method::OPTIONS));
//! assert_eq!(request.top_via()?.branch(), Some(b"z9hG4bK77".as_slice()));
//! let forwarded = Edit::new(&request).replace_first(HeaderName::MAX_FORWARDS, "69").finish();
//! assert_eq!(forwarded.max_forwards(), Some(69));
//! let ok = response_to(&request, 200, "OK").to_tag("b1").build();
//! assert_eq!(ok.status(), Some(200));
//! # Ok::<(), sip::ParseError>(())
//! ```
//!
//! What this crate does not do: no sockets, clocks, DNS, TLS or randomness; no policy (who may
//! call whom is `edge` and `router`); it does not check credentials against a store.
//!
//! Start reading at [`Message`], then [`Edit`] and [`transaction`].

pub mod body;
mod builder;
mod date;
pub mod dialog;
pub mod digest;
mod edit;
mod error;
mod framing;
mod glance;
mod limits;
pub mod locate;
mod message;
mod method;
mod name;
mod name_addr;
mod params;
mod plain;
mod pressed;
pub mod proxy;
mod reply;
pub mod response_policy;
mod text;
pub mod transaction;
mod uri;
mod via;
mod writer;

pub use builder::{RequestBuilder, ResponseBuilder, reason_phrase, response_to};
pub use date::SipDate;
pub use edit::Edit;
pub use error::{ParseError, ParseErrorKind};
pub use framing::{Frame, FrameError, StreamFramer};
pub use glance::Glance;
pub use limits::Limits;
pub use message::{CSeq, Message};
pub use method::Method;
pub use name::HeaderName;
pub use name_addr::NameAddr;
pub use params::Params;
pub use plain::{Plain, PlainContact};
pub use pressed::PressedKey;
pub use reply::Reply;
pub use text::{Items, split_list, unquote};
pub use uri::{Aor, SipUri, Uri};
pub use via::{Via, ViaBuilder};
