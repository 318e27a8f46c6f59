//! Session Recording Client (SRC, RFC 7866): has calls recorded by somebody else's recorder.
//!
//! ```text
//!   wiring: start, set_flowing, set_paused, end            Event: Started, Failed, Lost …
//!                 │                                          ▲
//!   Recorder ─────┴── commands ──► thread ──► Client ────────┘
//!                                    │          │ MediaPort: two sendonly streams of the relay
//!                             ClientTransport   ▼
//!                                    └──INVITE (SDP + metadata), re-INVITE, OPTIONS, BYE──► SRS
//! ```
//!
//! For each recorded call the [`Client`] opens one *recording session* (RS) with the *session
//! recording server* (SRS): an INVITE that requires `siprec`, with a description of two streams, one
//! of each participant, named by labels, and the metadata that say who is heard in which
//! ([`metadata`], RFC 7865). What changes later (hold, pause, resume) goes by re-INVITE with the
//! whole of the metadata; every [`Config::check_s`] seconds an OPTIONS in the dialog asks whether the
//! SRS still knows of it. A session that was refused or lost is opened anew for the rest of the call,
//! unless the configuration says that a call without it must not be: then whoever listens to the
//! events ends the call.
//!
//! # Contract
//! The core is sans-IO: after any `handle_*` or command drain [`Client::poll_output`], then sleep
//! until [`Client::poll_timeout`]. Each call that was started ends with [`Client::end`], or by an
//! event that [is final](Event::is_final).
//!
//! ```
//! use siprec::metadata::{Participant, Snapshot};
//! let caller = Participant { aor: "sip:ann@example.com".into(), name: "Ann <&> Co".into() };
//! # let callee = Participant { aor: "sip:bob@example.com".into(), name: String::new() };
//! # let mut entropy = sansio::SeededEntropy::new(1);
//! # let at = sansio::WallTime::from_secs(1_700_000_000);
//! let snapshot = Snapshot::new([caller, callee], "ab30317f1a784dc48ff824d0d3715d86", at, &mut entropy);
//! assert!(snapshot.to_xml().contains("<name>Ann &lt;&amp;&gt; Co</name>"));
//! ```
//!
//! What it does not do: it answers no challenge of an SRS, records no video, and does not say why
//! calls belong together (`group`).
//!
//! Start reading at `client.rs`, then `session.rs`.

mod body;
mod client;
mod config;
mod event;
mod incoming;
pub mod metadata;
mod requests;
mod responses;
mod session;
mod shell;

pub use client::{Client, Link, Output, Present};
pub use config::{Config, ConfigError};
pub use event::{Event, Failure};
pub use session::{CallFacts, Flowing, MediaPort, Offered};
pub use shell::{Figures, Recorder, Setup, StartError};
