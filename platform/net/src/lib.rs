//! Sockets, TLS, WebSocket, shards and flows: how Whimbrel's machines touch the network.
//!
//! ```text
//!   UDP  TCP  TLS ──► shards ── Received ──► ShardCore (sans-IO: edge)
//!                       ▲  ▲ ◄─ Transmit ──     │ notes, timers
//!   HTTPS ── /sip ──────┘  └── ShardHandle ◄────┘ completions from shells
//!         └─ the rest ──► handler (admin)
//!   phone ──► client::ClientTransport          relay ──► batch::{RecvBatch, send_batch}
//! ```
//!
//! The contract is [`ShardCore`]: one core per shard, each shard one thread with its own sockets
//! (`SO_REUSEPORT`), no locks between them. A [`sansio::FlowId`] names a connection or a UDP peer of
//! any shard; sending to another shard's flow goes through its bounded mailbox, and what cannot be
//! sent comes back as `handle_flow_closed`. UDP peers without a flow are reached by
//! [`FlowTarget::Udp`]. Responses find the shard that made their Via branch ([`branch_prefix`]).
//! Starting is all or nothing; every limit is in [`Limits`], every loss in [`ShardStats`].
//!
//! ```no_run
//! use net::{Received, ShardCore, Shards, ShardsConfig, Transmit};
//! use sansio::{FlowId, ShardId, Transport, WallTime};
//! use std::{collections::VecDeque, time::Instant};
//!
//! #[derive(Default)]
//! struct Mirror(VecDeque<Transmit>);
//!
//! impl ShardCore for Mirror {
//!     type Note = ();
//!     fn handle_received(&mut self, _: Instant, _: WallTime, r: Received) {
//!         self.0.push_back(Transmit::on(r.flow, r.message));
//!     }
//!     fn handle_flow_closed(&mut self, _: Instant, _: FlowId, _: net::CloseReason) {}
//!     fn handle_note(&mut self, _: Instant, _: WallTime, (): ()) {}
//!     fn handle_timeout(&mut self, _: Instant, _: WallTime) {}
//!     fn poll_transmit(&mut self) -> Option<Transmit> { self.0.pop_front() }
//!     fn poll_note(&mut self) -> Option<(ShardId, ())> { None }
//!     fn poll_timeout(&mut self) -> Option<Instant> { None }
//! }
//!
//! let config = ShardsConfig { shards: 4, ..ShardsConfig::new() }
//!     .listen("lan", Transport::Udp, "0.0.0.0:5060".parse()?);
//! let shards = Shards::start(config, |_context| Mirror::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Before a message is copied, a [`Gate`] decides who is listened to, and a shard that cannot keep up
//! turns new work away (`overload.rs`).
//!
//! What this crate does not do: it parses no SIP beyond framing, the top Via's branch, the glance that
//! shedding takes and the 503 it answers; resolves no names itself, and decides nothing about calls.
//!
//! Start reading at [`ShardCore`], then `shard/engine.rs`.

mod authority;
pub mod batch;
mod bind;
mod branch;
pub mod client;
mod config;
mod connecting;
mod core;
mod entropy;
mod error;
pub mod fast_path;
pub mod framed;
mod gate;
pub mod http;
mod locator;
mod media_sockets;
mod overload;
pub mod poll;
mod proof;
pub mod raw;
mod route;
mod server_stream;
mod shard;
mod stats;
pub mod steer;
mod stun;
mod tickets;
mod tls;
pub mod tos;
mod ws;

pub use authority::{
    CertificateFiles, PreparedCertificate, ServerTls, TlsConfig, published_ca, published_ca_path,
};
pub use bind::udp as udp_listeners;
pub use branch::{branch_owner, branch_prefix};
pub use config::{Limits, Listener, ShardsConfig};
pub use core::{CloseReason, Datagram, FlowTarget, Received, ShardCore, Transmit};
pub use entropy::{OsEntropy, PooledEntropy};
pub use error::NetError;
pub use gate::{Ban, Gate, GatePolicy, SCANNERS, Shed, Sign, Verdict};
pub use locator::{Located, Locator, LocatorConfig};
pub use media_sockets::MediaSockets;
pub use proof::{PeerCertificates, ProvedFlows};
pub use route::{own_address, source_address};
pub use shard::{
    DialledFlows, Load, NoteRefused, ShardContext, ShardHandle, Shards, UdpFlows, WebSocketDoor,
};
pub use stats::ShardStats;
pub use tls::{client_config, install_crypto};
