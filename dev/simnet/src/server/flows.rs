//! Which peer a flow is, and which shard it belongs to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sansio::{FlowId, ShardId, Transport};
use sip::StreamFramer;

/// One flow.
#[derive(Debug)]
pub(super) struct End {
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    /// Used by streams only.
    pub(super) framer: StreamFramer,
}

/// Datagram flows belong to a shard, as the kernel spreads them over sockets; a shard that sends to
/// a peer first opens one of its own.
type UdpKey = (ShardId, SocketAddr, SocketAddr);

/// All flows of one server.
#[derive(Debug)]
pub(super) struct Flows {
    shards: ShardId,
    ends: BTreeMap<FlowId, End>,
    udp: BTreeMap<UdpKey, FlowId>,
    /// The shard that hears a peer's datagrams.
    hears: BTreeMap<(SocketAddr, SocketAddr), ShardId>,
    streams: BTreeMap<(SocketAddr, SocketAddr), FlowId>,
    next_id: u64,
    next_shard: ShardId,
}

impl Flows {
    pub(super) fn new(shards: ShardId) -> Self {
        Self {
            shards: shards.max(1),
            ends: BTreeMap::new(),
            udp: BTreeMap::new(),
            hears: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_id: 1,
            next_shard: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn end(&self, flow: FlowId) -> Option<&End> {
        self.ends.get(&flow)
    }

    pub(super) fn end_mut(&mut self, flow: FlowId) -> Option<&mut End> {
        self.ends.get_mut(&flow)
    }

    /// The flow by which a peer's datagram comes in.
    pub(super) fn udp(&mut self, local: SocketAddr, peer: SocketAddr) -> FlowId {
        let shard = match self.hears.get(&(local, peer)) {
            Some(shard) => *shard,
            None => {
                let shard = self.turn();
                self.hears.insert((local, peer), shard);
                shard
            }
        };
        self.udp_of(shard, local, peer)
    }

    /// A shard's own flow to a peer.
    pub(super) fn udp_of(&mut self, shard: ShardId, local: SocketAddr, peer: SocketAddr) -> FlowId {
        if let Some(flow) = self.udp.get(&(shard, local, peer)) {
            return *flow;
        }
        let flow = self.open(shard, Transport::Udp, local, peer);
        self.udp.insert((shard, local, peer), flow);
        flow
    }

    pub(super) fn open_stream(
        &mut self,
        transport: Transport,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> FlowId {
        let shard = self.turn();
        let flow = self.open(shard, transport, local, peer);
        self.streams.insert((local, peer), flow);
        flow
    }

    pub(super) fn stream(&self, local: SocketAddr, peer: SocketAddr) -> Option<FlowId> {
        self.streams.get(&(local, peer)).copied()
    }

    pub(super) fn close(&mut self, flow: FlowId) -> Option<End> {
        let end = self.ends.remove(&flow)?;
        if end.transport == Transport::Udp {
            self.udp.remove(&(flow.shard, end.local, end.peer));
        } else {
            self.streams.remove(&(end.local, end.peer));
        }
        Some(end)
    }

    fn open(
        &mut self,
        shard: ShardId,
        transport: Transport,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> FlowId {
        let flow = FlowId { node: 0, shard, id: self.next_id };
        self.next_id += 1;
        let framer = StreamFramer::default();
        self.ends.insert(flow, End { transport, local, peer, framer });
        flow
    }

    fn turn(&mut self) -> ShardId {
        let shard = self.next_shard;
        self.next_shard = (shard + 1) % self.shards;
        shard
    }
}
