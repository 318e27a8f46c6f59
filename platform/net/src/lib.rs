//! Sockets, TLS, WebSocket, shards, flows and the driver.

pub mod batch;
mod bind;
mod branch;
mod config;
mod core;
mod entropy;
mod error;
mod shard;
mod stats;
mod stun;

pub use branch::{branch_owner, branch_prefix};
pub use config::{Limits, Listener, ShardsConfig};
pub use core::{CloseReason, FlowTarget, Received, ShardCore, Transmit};
pub use entropy::OsEntropy;
pub use error::NetError;
pub use shard::{NoteRefused, ShardContext, ShardHandle, UdpFlows};
pub use stats::ShardStats;
