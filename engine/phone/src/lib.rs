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
//! What it does not do: no sockets, no sound card, no clock, no name resolution, no contacts list.
//!
//! Start reading at [`Phone`], then `outgoing.rs` and `incoming.rs`.

mod account;
mod acks;
mod auth;
mod call;
mod event;
mod in_dialog;
mod incoming;
mod outgoing;
mod phone;
mod registration;

pub use account::{Account, Config, Link};
pub use event::{CallHandle, Cause, PhoneError, PhoneEvent, PhoneOutput};
pub use phone::Phone;
