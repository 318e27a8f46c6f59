//! The phone engine: registration, calls and media, sans-IO.
//!
//! ```text
//!   application ──register, call, answer, hold, dtmf, hang_up──►┌─────── Phone ───────┐
//!   driver: link ──handle_sip, handle_link_*───────────────────►│ registration        │──SendSip──►
//!           RTP sockets ──handle_media─────────────────────────►│ calls: dialog+media │──SendMedia►
//!           sound card ──capture, play─────────────────────────►│ transaction layer   │──Event────►
//!           clock ──handle_timeout at poll_timeout─────────────►└─────────────────────┘
//! ```
//!
//! Contract: sans-IO (see [`sansio`]); drain [`Phone::poll_output`] after every call, then sleep
//! until [`Phone::poll_timeout`]. One account and one link each; the driver opens the link and the
//! media sockets, and reopens the link when it breaks ([`Phone::handle_link_up`]).
//!
//! ```
//! use phone::{Account, Config, Link, Phone, PhoneEvent, PhoneOutput};
//! use sansio::{Redacted, SeededEntropy, Transport};
//!
//! let account = Account {
//!     user: "alice".into(),
//!     domain: "example.com".into(),
//!     password: Redacted::new("secret".into()),
//!     display_name: "Alice".into(),
//!     instance: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into(),
//! };
//! let now = sansio::testing::epoch();
//! let mut phone = Phone::new(account, Config::default(), Box::new(SeededEntropy::new(1)));
//! let link = Link {
//!     transport: Transport::Tls,
//!     local: "192.0.2.1:40000".parse()?,
//!     server: "198.51.100.1:5061".parse()?,
//! };
//! phone.handle_link_up(now, link);
//! phone.register(now);
//! let Some(PhoneOutput::SendSip(register)) = phone.poll_output() else { panic!() };
//! assert!(register.starts_with(b"REGISTER sip:example.com SIP/2.0"));
//! let call = phone.call(now, "bob", "192.0.2.1:4000".parse()?)?;
//! phone.hang_up(now, call)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: no sockets, no sound card, no clock, no name resolution, no contacts list.
//!
//! Start reading at [`Phone`], then `outgoing.rs` and `incoming.rs`.

mod account;
mod acks;
mod auth;
mod call;
mod delays;
mod early;
mod event;
mod extensions;
mod in_dialog;
mod incoming;
mod known_pairs;
mod messages;
mod outgoing;
mod phone;
mod probe;
mod progress;
mod redirect;
mod referred;
mod registration;
mod replaces;
mod requests;
mod screening;
mod session_timer;
mod subscriptions;
mod transfer;
mod transports;
mod trickle;
mod update;
mod ways;
mod zrtp;

pub use account::{Account, Config, Link};
pub use event::{
    CallHandle, Cause, MessageHandle, PhoneError, PhoneEvent, PhoneOutput, SubscriptionHandle,
};
pub use known_pairs::RememberedPair;
pub use phone::Phone;
pub use probe::probe_request;
pub use transports::{NetworkId, Remembered, Transports, TransportsOutput};
pub use ways::WayOutput;
