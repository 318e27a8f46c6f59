//! What lives on a host.

use std::any::Any;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sansio::WallTime;

/// A machine on a host: a phone, a server, a load generator. The same contract as every sans-IO
/// machine (see [`sansio`]): after each `handle_*` the network drains [`Node::poll_transmit`] and
/// then asks [`Node::poll_timeout`].
pub trait Node: Any {
    /// A datagram arrived at `to`, one of this host's own addresses.
    fn handle_packet(
        &mut self,
        now: Instant,
        wall: WallTime,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    );

    /// A packet of a transport the network does not know arrived ([`Transmit::Segment`]).
    fn handle_segment(&mut self, _now: Instant, _from: SocketAddr, _to: SocketAddr, _bytes: &[u8]) {
    }

    /// Something happened to a stream.
    fn handle_stream(&mut self, _now: Instant, _wall: WallTime, _event: StreamEvent) {}

    /// The deadline of [`Node::poll_timeout`] has come.
    fn handle_timeout(&mut self, _now: Instant, _wall: WallTime) {}

    /// The host has another address now: the phone has moved. Streams of the old one are gone.
    fn handle_address_changed(&mut self, _now: Instant, _wall: WallTime, _local: std::net::IpAddr) {
    }

    /// Whether a stream to this local address is accepted.
    fn listens(&self, _local: SocketAddr) -> bool {
        false
    }

    /// The next thing to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// When [`Node::handle_timeout`] is wanted. It must lie after `now` once that was called.
    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

/// What a node sends. A stream is named by its pair of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// One datagram.
    Datagram {
        /// One of this host's addresses.
        from: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// One packet of a transport the network does not know, such as TCP: `bytes` follow the IP
    /// header. Translators map it as they map streams.
    Segment {
        /// One of this host's addresses.
        from: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// Opens a stream. [`StreamEvent::Opened`] or [`StreamEvent::Closed`] follows.
    Connect {
        /// One of this host's addresses; the port is the node's choice.
        from: SocketAddr,
        /// Where to.
        to: SocketAddr,
    },
    /// Bytes on a stream; kept until it is open. Without such a stream they vanish.
    Send {
        /// This side.
        from: SocketAddr,
        /// The other side.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// Ends a stream once everything before is sent.
    Close {
        /// This side.
        from: SocketAddr,
        /// The other side.
        to: SocketAddr,
    },
}

/// What happens to streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// A stream stands, opened by this side or accepted from the other.
    Opened {
        /// This side.
        local: SocketAddr,
        /// The other side, as it is seen here (behind a NAT: its public address).
        peer: SocketAddr,
    },
    /// Bytes arrived, in order, cut anywhere.
    Received {
        /// This side.
        local: SocketAddr,
        /// The other side.
        peer: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// The stream is gone.
    Closed {
        /// This side.
        local: SocketAddr,
        /// The other side.
        peer: SocketAddr,
        /// Why.
        reason: CloseReason,
    },
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side ended it in order.
    Ended,
    /// The other side knows no such stream: nothing listens there, or it has restarted.
    Reset,
    /// Nothing came through for half a minute.
    TimedOut,
    /// This host changed its address.
    Moved,
}
