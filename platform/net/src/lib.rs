//! Sockets, TLS, WebSocket, shards, flows and the driver.

mod authority;
pub mod batch;
mod bind;
mod branch;
pub mod client;
mod config;
mod core;
mod entropy;
mod error;
pub mod http;
mod server_stream;
mod shard;
mod stats;
mod stun;
mod tls;
mod ws;

pub use authority::{CertificateFiles, ServerTls, TlsConfig, published_ca, published_ca_path};
pub use branch::{branch_owner, branch_prefix};
pub use config::{Limits, Listener, ShardsConfig};
pub use core::{CloseReason, FlowTarget, Received, ShardCore, Transmit};
pub use entropy::OsEntropy;
pub use error::NetError;
pub use shard::{NoteRefused, ShardContext, ShardHandle, Shards, UdpFlows, WebSocketDoor};
pub use stats::ShardStats;
pub use tls::{client_config, install_crypto};
