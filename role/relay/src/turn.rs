//! The TURN server (RFC 8656): ports of ours lent to authenticated clients that no peer can reach
//! directly, and STUN Binding for everybody (RFC 8489).
//!
//! ```text
//!   client ── UDP ──────► worker: recvmmsg ─► Server (sans-IO) ─► raw sendmmsg ──► peer
//!          ── TCP, TLS ─► net::framed ─► mailbox ─┘  ▲ └─► sendmmsg ──► client
//!   peer ── UDP to a relayed port ─► PortSteer ──────┘
//! ```
//!
//! The contract:
//! - [`Server`] is sans-IO and belongs to one thread with the clients that the kernel gives it; what
//!   threads share ([`Shared`]: quotas, reservations, accounts) is touched by requests only. A
//!   packet of an allocation allocates nothing and takes no lock.
//! - Nobody relays without credentials: long-term ones of [`Accounts`], or time-limited ones of a
//!   [`SharedSecret`]. A wrong password and an unknown user get the same answer.
//! - Peers inside are refused by [`PeerPolicy`] unless the operator names them.
//! - Before credentials are proved an answer is as small as the protocol allows, and each source
//!   gets so many of them a second.
//!
//! What this module does not do: TCP towards peers (RFC 6062), mobility (RFC 8016), DTLS, tokens of
//! a third party (RFC 7635), MESSAGE-INTEGRITY-SHA256.
//!
//! Start reading at [`Server`], then `requests.rs`, then `shell/worker.rs`.

mod accounts;
mod allocation;
mod authenticate;
mod book;
mod config;
mod counters;
mod limiter;
mod peers;
mod requests;
mod server;
mod shell;
#[cfg(test)]
mod tests;

pub use accounts::{Account, Accounts, NamedUsers, SharedSecret, long_term_key};
pub use allocation::{Flow, Via};
pub use config::{RelayAddress, TurnConfig, TurnLimits};
pub use counters::{Refused, TurnStats};
pub use peers::{PeerPolicy, Prefix};
pub use server::{Clock, HEADROOM, Outcome, RelayPorts, Server, Shared};
pub use shell::{Turn, TurnAccess};
