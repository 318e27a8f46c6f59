//! A server's signalling cores on a host: what `net` does on real sockets, in virtual time.
//!
//! ```text
//!     datagram ─┐                          ┌─ shard 0: core ─┐
//!     stream  ──┼─► flow ─► its shard  ────┼─ shard 1: core ─┼─► flow ─► datagram | stream
//!               │   (each new peer goes    └─ ..             ┘
//!               │    to the next shard)       notes between cores
//! ```
//!
//! Each new peer is given to the next shard in turn, so that two phones of one call live on
//! different shards whenever there are several. TLS is a plain stream whose transport says TLS, and so is WSS.

mod flows;
mod media;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::Bytes;
use net::{CloseReason, FlowTarget, Received, ShardCore};
use sansio::{FlowId, ShardId, Transport, WallTime};
use sip::Frame;

use crate::node::{Node, StreamEvent, Transmit};
use flows::Flows;
pub use media::{MediaPlane, NoMedia};

/// A port and what is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// UDP, TCP, TLS or WSS.
    pub transport: Transport,
}

/// SIP on its usual ports.
pub const USUAL_PORTS: [Listening; 4] = [
    Listening { port: 5060, transport: Transport::Udp },
    Listening { port: 5060, transport: Transport::Tcp },
    Listening { port: 5061, transport: Transport::Tls },
    Listening { port: 443, transport: Transport::Wss },
];

/// One core per shard, and what forwards media on all other ports.
pub struct Server<C: ShardCore, M = NoMedia> {
    address: IpAddr,
    listening: Vec<Listening>,
    shards: Vec<C>,
    flows: Flows,
    /// The media plane, for stories that look at it.
    pub media: M,
    outgoing: VecDeque<Transmit>,
}

impl<C: ShardCore> Server<C> {
    /// A server without media on `address`, with the cores `make` gives for each shard.
    pub fn new(address: &str, shards: ShardId, make: impl FnMut(ShardId) -> C) -> Self {
        Self::with_media(address, shards, make, NoMedia)
    }
}

impl<C: ShardCore, M: MediaPlane> Server<C, M> {
    /// The same with a media plane.
    pub fn with_media(
        address: &str,
        shards: ShardId,
        make: impl FnMut(ShardId) -> C,
        media: M,
    ) -> Self {
        Self {
            address: address.parse().unwrap_or_else(|_| panic!("`{address}` is no IP address")),
            listening: USUAL_PORTS.to_vec(),
            shards: (0..shards).map(make).collect(),
            flows: Flows::new(shards),
            media,
            outgoing: VecDeque::new(),
        }
    }

    /// A shard's core.
    pub fn core(&self, shard: ShardId) -> &C {
        &self.shards[usize::from(shard)]
    }

    /// Leaves a note for a core, as a shell does when an answer has come.
    pub fn notify(&mut self, now: Instant, wall: WallTime, shard: ShardId, note: C::Note) {
        self.shards[usize::from(shard)].handle_note(now, wall, note);
        self.settle(now, wall);
    }

    /// How many flows stand.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    fn transport(&self, port: u16, datagram: bool) -> Option<Transport> {
        let fits = |l: &&Listening| l.port == port && (l.transport == Transport::Udp) == datagram;
        self.listening.iter().find(fits).map(|l| l.transport)
    }

    /// Passes one message to the shard of its flow, or to the one whose transaction it answers.
    fn received(&mut self, now: Instant, wall: WallTime, flow: FlowId, message: Bytes) {
        let Some(end) = self.flows.end(flow) else { return };
        let (transport, local, peer) = (end.transport, end.local, end.peer);
        let shard = response_owner(&message)
            .filter(|shard| usize::from(*shard) < self.shards.len())
            .unwrap_or(flow.shard);
        let received = Received { flow, transport, local, peer, message };
        self.shards[usize::from(shard)].handle_received(now, wall, received);
    }

    /// Moves everything the cores want to say, until none has anything left.
    fn settle(&mut self, now: Instant, wall: WallTime) {
        let mut busy = true;
        while busy {
            busy = false;
            for shard in 0..self.shards.len() {
                self.shards[shard].handle_batch_end(now, wall);
                while let Some(transmit) = self.shards[shard].poll_transmit() {
                    busy = true;
                    self.transmit(now, shard, transmit);
                }
                while let Some((to, note)) = self.shards[shard].poll_note() {
                    busy = true;
                    self.shards[usize::from(to)].handle_note(now, wall, note);
                }
                while let Some(flow) = self.shards[shard].poll_close() {
                    if let Some(end) = self.flows.close(flow) {
                        let (from, to) = (end.local, end.peer);
                        self.outgoing.push_back(Transmit::Close { from, to });
                    }
                }
            }
        }
        while let Some((from, to, bytes)) = self.media.poll_transmit() {
            self.outgoing.push_back(Transmit::Datagram { from, to, bytes });
        }
    }

    fn transmit(&mut self, now: Instant, shard: usize, transmit: net::Transmit) {
        let flow = match transmit.to {
            FlowTarget::Flow(flow) => flow,
            FlowTarget::Udp { local, peer } => {
                let local = SocketAddr::new(self.address, local.port());
                // Shards are counted by ShardId, so the index fits.
                self.flows.udp_of(shard as ShardId, local, peer)
            }
        };
        let Some(end) = self.flows.end(flow) else {
            let why = CloseReason::NoSuchFlow;
            return self.shards[shard].handle_flow_closed(now, flow, why);
        };
        let (from, to, bytes) = (end.local, end.peer, transmit.message);
        self.outgoing.push_back(if end.transport == Transport::Udp {
            Transmit::Datagram { from, to, bytes }
        } else {
            Transmit::Send { from, to, bytes }
        });
    }

    fn stream_bytes(&mut self, now: Instant, wall: WallTime, flow: FlowId, bytes: &[u8]) {
        let Some(end) = self.flows.end_mut(flow) else { return };
        end.framer.push(bytes);
        loop {
            let Some(end) = self.flows.end_mut(flow) else { return };
            let (from, to) = (end.local, end.peer);
            match end.framer.next_frame() {
                Ok(Some(Frame::Message(message))) => self.received(now, wall, flow, message),
                Ok(Some(Frame::Ping)) => {
                    let bytes = Bytes::from_static(b"\r\n");
                    self.outgoing.push_back(Transmit::Send { from, to, bytes });
                }
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.flows.close(flow);
                    self.outgoing.push_back(Transmit::Close { from, to });
                    let core = &mut self.shards[usize::from(flow.shard)];
                    return core.handle_flow_closed(now, flow, CloseReason::Framing);
                }
            }
            self.settle(now, wall);
        }
    }
}

impl<C: ShardCore + 'static, M: MediaPlane + 'static> Node for Server<C, M> {
    fn handle_packet(
        &mut self,
        now: Instant,
        wall: WallTime,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        if self.transport(to.port(), true).is_none() {
            self.media.handle_packet(now, from, to, bytes);
        } else if let Ok(request) = ice::stun::Message::parse(bytes) {
            let answer =
                ice::stun::Builder::new(ice::stun::Class::Success, request.transaction_id());
            let bytes = answer.xor_mapped_address(from).finish_bare().into();
            self.outgoing.push_back(Transmit::Datagram { from: to, to: from, bytes });
        } else if !bytes.iter().all(|b| b.is_ascii_whitespace()) {
            // What is only white space keeps a translator's mapping alive and says nothing.
            let flow = self.flows.udp(to, from);
            self.received(now, wall, flow, Bytes::copy_from_slice(bytes));
        }
        self.settle(now, wall);
    }

    fn handle_stream(&mut self, now: Instant, wall: WallTime, event: StreamEvent) {
        match event {
            StreamEvent::Opened { local, peer } => {
                let transport = self.transport(local.port(), false).unwrap_or(Transport::Tcp);
                self.flows.open_stream(transport, local, peer);
            }
            StreamEvent::Received { local, peer, bytes } => {
                if let Some(flow) = self.flows.stream(local, peer) {
                    self.stream_bytes(now, wall, flow, &bytes);
                }
            }
            StreamEvent::Closed { local, peer, .. } => {
                if let Some(flow) = self.flows.stream(local, peer) {
                    self.flows.close(flow);
                    let core = &mut self.shards[usize::from(flow.shard)];
                    core.handle_flow_closed(now, flow, CloseReason::PeerClosed);
                }
            }
        }
        self.settle(now, wall);
    }

    fn handle_timeout(&mut self, now: Instant, wall: WallTime) {
        for core in &mut self.shards {
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now, wall);
            }
        }
        if self.media.poll_timeout().is_some_and(|at| at <= now) {
            self.media.handle_timeout(now);
        }
        self.settle(now, wall);
    }

    fn listens(&self, local: SocketAddr) -> bool {
        self.transport(local.port(), false).is_some()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let media = self.media.poll_timeout();
        self.shards.iter_mut().filter_map(ShardCore::poll_timeout).chain(media).min()
    }
}

/// The shard whose transaction a response belongs to, by its topmost Via.
fn response_owner(message: &Bytes) -> Option<ShardId> {
    let message = sip::Message::parse(message.clone()).ok().filter(|m| !m.is_request())?;
    let (_, shard) = net::branch_owner(message.top_via().ok()?.branch()?)?;
    Some(shard)
}

#[cfg(test)]
mod tests;
