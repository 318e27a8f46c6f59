//! The end of a real network: what its hosts send goes in, what reaches them comes out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sansio::WallTime;

use crate::node::{Node, Transmit};

/// One packet that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// From where, as seen here.
    pub from: SocketAddr,
    /// To which of this host's addresses.
    pub to: SocketAddr,
    /// A datagram's payload, or everything behind the IP header.
    pub bytes: Bytes,
    /// It is a datagram, and no segment.
    pub datagram: bool,
}

/// A host that somebody else plays.
#[derive(Debug, Default)]
pub struct Cable {
    arrived: VecDeque<Arrival>,
    outgoing: VecDeque<Transmit>,
}

impl Cable {
    /// Puts a datagram or a segment in.
    pub fn send(&mut self, packet: Arrival) {
        let Arrival { from, to, bytes, datagram } = packet;
        self.outgoing.push_back(match datagram {
            true => Transmit::Datagram { from, to, bytes },
            false => Transmit::Segment { from, to, bytes },
        });
    }

    /// Takes out what arrived, oldest first.
    pub fn poll_arrival(&mut self) -> Option<Arrival> {
        self.arrived.pop_front()
    }
}

impl Node for Cable {
    fn handle_packet(
        &mut self,
        _now: Instant,
        _wall: WallTime,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.arrived.push_back(Arrival { from, to, bytes, datagram: true });
    }

    fn handle_segment(&mut self, _now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.arrived.push_back(Arrival { from, to, bytes, datagram: false });
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }
}
