//! Echo and tone: what answers when a caller tries the line.
//!
//! ```text
//!   server's UDP listener ◄──SIP──► link ─┐                    thread of its own
//!                                         ├─► phone::Phone ──events──► Player per call
//!   relay ◄──────RTP, RTCP──► sockets ────┘        ▲ play, capture every 20 ms │
//!                                                  └───────────────────────────┘
//! ```
//!
//! [`Services`] is an unregistered phone beside the server: every INVITE the server sends it is
//! answered at once, and the Request-URI's user says with what ([`Service`]). Requests from any
//! address but the server's are not heard. Media is plain RTP, for it stays on this machine: the
//! relay anchors the call and encrypts toward the caller. A caller who is silent for a minute is
//! hung up.
//!
//! ```no_run
//! let server = "127.0.0.1:5060".parse()?;
//! let services = pbx::Services::start(pbx::Config::new(server, "127.0.0.1".parse()?))?;
//! println!("route echo and tone to sip:echo@{}", services.addr);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: voice mail, conferences, prompts from files, registration.
//!
//! Start reading at `service.rs`, then `shell.rs`.

mod service;
mod shell;

pub use service::{Player, Service};
pub use shell::{Config, PbxError, Services};
