//! ZRTP (RFC 6189): two ends agree on SRTP keys between themselves, and their users compare a short
//! string to know that nobody sits between.
//!
//! ```text
//!   initiator                                   responder
//!      │◄──────────── Hello / HelloACK ────────────►│   what each can do, H3, ZID
//!      │─── Commit (hvi, H2) ──────────────────────►│   committed to a key not shown yet
//!      │◄────────────────────── DHPart1 (pvr, H1) ──│
//!      │─── DHPart2 (pvi, H1) ─────────────────────►│   s0 ─► SRTP keys, SAS, next rs1
//!      │◄───────────── Confirm1 (H0, flags, sealed)─│
//!      │─── Confirm2 (H0, flags, sealed) ──────────►│
//!      │◄──────────────────────────────── Conf2ACK ─│   SRTP from here on
//! ```
//!
//! The contract is that of `sansio`: [`Endpoint`] takes packets, time and, once, randomness; it
//! gives packets and events. What two ends remember of each other ([`Cache`]) is handed to an
//! endpoint and comes back as [`Event::Retain`].
//!
//! Not here: multistream and preshared modes, signatures, GoClear (refused), and SHA-384 with what
//! hangs on it. Why: docs/design/0099-zrtp-of-our-own.md.
//!
//! Start reading at [`Endpoint`], then [`Packet`].

mod agreement;
mod algorithms;
mod cache;
mod chain;
mod crc;
mod endpoint;
mod failure;
mod group;
mod keys;
mod message;
mod packet;
mod sas;
mod write;

pub use algorithms::{Algorithm, AuthTag, Choice, Cipher, KeyAgreement, SasType};
pub use cache::{Cache, Retained};
pub use chain::HelloHash;
pub use endpoint::{Endpoint, Event, Keys, Output, Role, Secured, Setup, Trust};
pub use failure::Failure;
pub use message::{
    Commit, Confirm, DhPart, Hello, Message, Ping, PingAck, SasRelay, Sealed, Secrets,
};
pub use packet::{Packet, seal};
pub use sas::Sas;

/// Names an endpoint for as long as its cache lives (RFC 6189 §4.9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zid(pub [u8; 12]);

impl std::fmt::Debug for Zid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
