//! What one shard's mailbox takes from other threads (besides notes).

use std::net::SocketAddr;

use bytes::Bytes;
use sansio::{FlowId, ShardId};

use super::admission::Permit;
use crate::core::{CloseReason, Received};
use crate::server_stream::ServerStream;

/// A letter to a shard.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Another shard's core sends on a flow of this one.
    Transmit { from: ShardId, flow: FlowId, message: Bytes },
    /// A response that belongs to a transaction of this shard.
    Received(Received),
    /// What this shard sent to another's flow did not go.
    Gone { flow: FlowId, why: CloseReason },
    /// A WebSocket upgraded by the HTTPS server.
    Adopt(Box<Adopted>),
}

/// A stream on which the WebSocket handshake is done.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) stream: ServerStream,
    /// Bytes read behind the handshake.
    pub(crate) read_ahead: Bytes,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// Its place among the connections, set by the door.
    pub(crate) permit: Option<Permit>,
}
