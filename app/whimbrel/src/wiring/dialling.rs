//! Flows to next hops, for the edge.

use edge::{Dialler, Reach};
use net::{Listener, UdpFlows};
use sansio::Transport;
use sip::locate::NextHop;
use std::net::SocketAddr;
use std::sync::Arc;

/// Opens flows from the shard's own sockets.
pub struct Flows {
    udp: UdpFlows,
    listeners: Arc<[Listener]>,
}

impl Flows {
    /// Flows of the shard that has these.
    pub fn new(udp: UdpFlows, listeners: Arc<[Listener]>) -> Self {
        Self { udp, listeners }
    }

    /// Our address for a hop: a listener of its transport and family.
    fn local(&self, transport: Transport, peer: SocketAddr) -> Option<SocketAddr> {
        let fits = |l: &&Listener| l.transport == transport && l.bind.is_ipv4() == peer.is_ipv4();
        self.listeners.iter().find(fits).map(|l| l.bind)
    }
}

impl Dialler for Flows {
    fn open(&self, hop: &NextHop) -> Option<Reach> {
        let (transport, peer) = (hop.transport, hop.addr());
        if transport != Transport::Udp {
            return None;
        }
        let local = self.local(transport, peer)?;
        let flow = self.udp.flow(local, peer)?;
        Some(Reach { transport, flow: Some(flow), local, peer })
    }
}
