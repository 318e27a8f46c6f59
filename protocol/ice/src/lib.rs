//! STUN's wire format and an ICE-lite agent: what a server with a public address needs so that a
//! full ICE agent (a browser) finds and keeps the way to it.
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
//! does to them (RFC 5780). [`turn`] has the numbers and framing of RFC 8656; the server is in `role/relay`.
//!
//! What this crate does not do: it gathers no candidates, sends no checks (a full agent is another
//! library's work), allocates nothing on a TURN server.
//!
//! Start reading at [`Lite`], then [`stun::Message`].

pub mod behaviour;
mod error;
mod lite;
pub mod stun;
pub mod turn;

pub use error::Error;
pub use lite::{CONSENT_TIMEOUT, Lite, LiteEvent, MAX_PATHS};
pub use stun::is_stun;
