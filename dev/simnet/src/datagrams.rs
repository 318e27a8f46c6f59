//! The simplest node: it remembers what it hears and sends what it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sansio::WallTime;

use crate::node::{Node, StreamEvent, Transmit};

/// One datagram that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// From where, as seen here.
    pub from: SocketAddr,
    /// What.
    pub bytes: Bytes,
}

/// A node for tests of the network itself, and a stand-in for a peer that only listens.
#[derive(Debug, Default)]
pub struct Datagrams {
    /// Every datagram so far.
    pub received: Vec<Heard>,
    /// Every stream event so far.
    pub events: Vec<StreamEvent>,
    echoes: bool,
    outgoing: VecDeque<Transmit>,
}

impl Datagrams {
    /// A node that only listens.
    pub fn silent() -> Self {
        Self::default()
    }

    /// A node that sends every datagram and every stream's bytes back.
    pub fn echoing() -> Self {
        Self { echoes: true, ..Self::default() }
    }

    /// Sends one datagram.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.transmit(Transmit::Datagram { from, to, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// Sends anything.
    pub fn transmit(&mut self, transmit: Transmit) {
        self.outgoing.push_back(transmit);
    }
}

impl Node for Datagrams {
    fn handle_packet(
        &mut self,
        now: Instant,
        _wall: WallTime,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.received.push(Heard { at: now, from, bytes: bytes.clone() });
        if self.echoes {
            self.transmit(Transmit::Datagram { from: to, to: from, bytes });
        }
    }

    fn handle_stream(&mut self, _now: Instant, _wall: WallTime, event: StreamEvent) {
        if let (StreamEvent::Received { local, peer, bytes }, true) = (&event, self.echoes) {
            let bytes = bytes.clone();
            self.transmit(Transmit::Send { from: *local, to: *peer, bytes });
        }
        self.events.push(event);
    }

    fn listens(&self, _local: SocketAddr) -> bool {
        self.echoes
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }
}
