//! Flows to next hops, for the edge.

use edge::{Dialler, Reach};
use net::{DialledFlows, Listener, ProvedFlows, UdpFlows};
use sansio::{FlowId, Transport};
use sip::locate::NextHop;
use std::net::SocketAddr;
use std::sync::Arc;

/// Opens flows from the shard's own sockets.
pub struct Flows {
    udp: UdpFlows,
    dialled: DialledFlows,
    proved: ProvedFlows,
    listeners: Arc<[Listener]>,
    gate: net::Gate,
}

impl Flows {
    /// Flows of the shard that has these.
    pub fn new<N>(context: &net::ShardContext<N>, gate: net::Gate) -> Self {
        let (udp, dialled) = (context.udp.clone(), context.dialled.clone());
        let (proved, listeners) = (context.proved.clone(), Arc::clone(&context.listeners));
        Self { udp, dialled, proved, listeners, gate }
    }

    /// Our address for a hop: a listener of its family, if possible of its transport. A server
    /// without any could not be answered there.
    fn local(&self, transport: Transport, peer: SocketAddr) -> Option<SocketAddr> {
        let near = |l: &&Listener| l.bind.is_ipv4() == peer.is_ipv4();
        let fits = |l: &&Listener| l.transport == transport && near(l);
        let found = self.listeners.iter().find(fits);
        found.or_else(|| self.listeners.iter().find(near)).map(|l| l.bind)
    }
}

impl Dialler for Flows {
    fn open(&self, hop: &NextHop) -> Option<Reach> {
        let (transport, peer) = (hop.transport, hop.addr());
        let local = self.local(transport, peer)?;
        let flow = match transport {
            Transport::Udp => self.udp.flow(local, peer)?,
            _ => self.dialled.flow(hop)?,
        };
        // Whom we send requests to is no stranger when it answers.
        self.gate.prove(std::time::Instant::now(), peer);
        Some(Reach { transport, flow: Some(flow), local, peer })
    }

    fn proved(&self, flow: FlowId) -> Option<Arc<[String]>> {
        self.proved.names(flow)
    }

    fn alias(&self, hop: &NextHop, flow: FlowId) -> bool {
        self.dialled.alias(hop, flow)
    }
}
