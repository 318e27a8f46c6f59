//! STUN's wire format, an ICE-lite agent (what a server with a public address needs so that a full
//! one finds and keeps the way to it), a full agent and a TURN client (what a phone needs).
//!
//! ```text
//!   datagram ── is_stun() ──► Lite::handle(now, from, ..) ──► response bytes (send back to `from`)
//!                                                        └──► LiteEvent: Checked, Nominated
//!   clock    ───────────────► Lite::has_consent(now)            RFC 7675
//! ```
//!
//! Contract: sans-IO. The caller owns sockets and the clock; credentials come from the caller. A
//! lite agent sends nothing of its own, it only answers (RFC 8445 §2.5), so there is no timer to
//! drive; consent is a question with `now` as its argument.
//!
//! ```
//! # let now = std::time::Instant::now();
//! use ice::{Lite, LiteEvent, stun};
//!
//! let mut agent = Lite::new("uf", "a password of at least 22");
//! let request = stun::Builder::request([7; 12])
//!     .username("uf:peer")
//!     .ice_controlling(1)
//!     .use_candidate()
//!     .finish(b"a password of at least 22");
//! let (from, mut answer) = ("192.0.2.1:4000".parse()?, Vec::new());
//! let event = agent.handle(now, from, &request, &mut answer);
//! assert_eq!(event, LiteEvent::Nominated(from));
//! assert_eq!(stun::Message::parse(&answer)?.xor_mapped_address(), Some(from));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`behaviour::Server`] is the other half of the crate: it answers phones that measure what a NAT
//! does to them (RFC 5780). [`Agent`] is the full agent of a phone: checks, nomination, consent. [`turn`]
//! has the numbers and framing of RFC 8656, and the client; the server is in `role/relay`.
//!
//! What this crate does not do: it has no sockets and gathers no candidates by itself (`media` asks
//! servers and gives the agent what they say).
//!
//! Start reading at [`Lite`] for a server, at [`Agent`] for a phone, then [`stun::Message`].

pub mod agent;
pub mod behaviour;
mod error;
mod ids;
mod lite;
pub mod stun;
pub mod turn;

pub use agent::Agent;
pub use error::Error;
pub use ids::TransactionIds;
pub use lite::{CONSENT_TIMEOUT, Lite, LiteEvent, MAX_PATHS};
pub use stun::is_stun;
