//! Clients over TCP and TLS: from the thread of the streams to the inbox of a worker.

use std::net::SocketAddr;
use std::sync::Arc;

use ice::turn::stream_frame;
use net::framed::{FrameSink, NotAFrame, Outlet};

use super::worker::Worker;

/// What reaches a worker.
pub(super) enum Inbound {
    Opened(u64, SocketAddr, Outlet),
    Frame(u64, Box<[u8]>),
    Closed(u64),
}

pub(super) struct StreamSink {
    workers: Vec<Arc<Worker>>,
}

impl StreamSink {
    /// Hands connections to workers in turn.
    pub(super) fn new(workers: Vec<Arc<Worker>>) -> Self {
        Self { workers }
    }

    fn put(&self, connection: u64, inbound: Inbound) {
        // There is always a worker, and the remainder is below their number.
        self.workers[(connection % self.workers.len() as u64) as usize].put(inbound);
    }
}

impl FrameSink for StreamSink {
    fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, NotAFrame> {
        stream_frame(bytes).map_err(|_| NotAFrame)
    }

    fn opened(&self, connection: u64, peer: SocketAddr, outlet: Outlet) {
        self.put(connection, Inbound::Opened(connection, peer, outlet));
    }

    fn received(&self, connection: u64, frame: &[u8]) {
        self.put(connection, Inbound::Frame(connection, frame.into()));
    }

    fn closed(&self, connection: u64) {
        self.put(connection, Inbound::Closed(connection));
    }
}
