//! What a server does with datagrams that are not signalling.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

/// A media relay as `simnet` drives it: the same `handle_*` and `poll_*` as everything else.
pub trait MediaPlane {
    /// A datagram arrived at `to`, a port of ours that is no SIP port.
    fn handle_packet(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]);

    /// The deadline of [`MediaPlane::poll_timeout`] has come.
    fn handle_timeout(&mut self, _now: Instant) {}

    /// The next datagram to send: from which port of ours, to whom, what.
    fn poll_transmit(&mut self) -> Option<(SocketAddr, SocketAddr, Bytes)>;

    /// When [`MediaPlane::handle_timeout`] is wanted.
    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

/// No media: datagrams to other ports go nowhere.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoMedia;

impl MediaPlane for NoMedia {
    fn handle_packet(&mut self, _now: Instant, _from: SocketAddr, _to: SocketAddr, _bytes: &[u8]) {}

    fn poll_transmit(&mut self) -> Option<(SocketAddr, SocketAddr, Bytes)> {
        None
    }
}
