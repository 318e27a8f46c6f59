//! Flows to next hops, for the edge.

use edge::{Dialler, Reach};
use net::{DialledFlows, Listener, ProvedFlows, UdpFlows};
use sansio::{FlowId, Transport};
use sip::locate::NextHop;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long what the routing table said is believed.
const ROUTE_KEPT: Duration = Duration::from_secs(60);
/// Next hops whose route is remembered.
const ROUTES_MAX: usize = 4_096;

/// Opens flows from the shard's own sockets.
pub struct Flows {
    udp: UdpFlows,
    dialled: DialledFlows,
    proved: ProvedFlows,
    listeners: Arc<[Listener]>,
    gate: net::Gate,
    /// Our addresses other than wildcards.
    own: Vec<IpAddr>,
    routes: RefCell<Routes>,
}

/// Which of our addresses the routes to next hops leave by, since when.
struct Routes {
    since: Instant,
    own: HashMap<IpAddr, IpAddr>,
}

impl Flows {
    /// Flows of the shard that has these.
    pub fn new<N>(context: &net::ShardContext<N>, gate: net::Gate) -> Self {
        let (udp, dialled) = (context.udp.clone(), context.dialled.clone());
        let (proved, listeners) = (context.proved.clone(), Arc::clone(&context.listeners));
        let mut own: Vec<IpAddr> = listeners.iter().map(|l| l.bind.ip()).collect();
        own.retain(|ip| !ip.is_unspecified());
        own.sort_unstable();
        own.dedup();
        // In the order of the configuration: without a route the first one serves.
        own.sort_by_key(|ip| listeners.iter().position(|l| l.bind.ip() == *ip));
        let routes = RefCell::new(Routes { since: Instant::now(), own: HashMap::new() });
        Self { udp, dialled, proved, listeners, gate, own, routes }
    }

    /// Our address for a hop: a listener of its transport at the address that its route leaves by,
    /// else one of its family. A server without any could not be answered there.
    fn local(&self, transport: Transport, peer: SocketAddr) -> Option<SocketAddr> {
        let near = |l: &&Listener| l.bind.is_ipv4() == peer.is_ipv4();
        let fits = |l: &&Listener| l.transport == transport && near(l);
        let own = self.own_for(peer.ip());
        let found =
            self.listeners.iter().find(|l| fits(l) && own.is_none_or(|ip| l.bind.ip() == ip));
        let found = found.or_else(|| self.listeners.iter().find(fits));
        found.or_else(|| self.listeners.iter().find(near)).map(|l| l.bind)
    }

    /// The address of ours that a hop is to see, where there is a choice: behind the first of them
    /// may be what nobody outside is to know of (R2.2).
    fn own_for(&self, peer: IpAddr) -> Option<IpAddr> {
        self.own.iter().filter(|ip| ip.is_ipv4() == peer.is_ipv4()).nth(1)?;
        let mut routes = self.routes.borrow_mut();
        if routes.since.elapsed() > ROUTE_KEPT || routes.own.len() >= ROUTES_MAX {
            routes.own.clear();
            routes.since = Instant::now();
        }
        if let Some(known) = routes.own.get(&peer) {
            return Some(*known);
        }
        let own = net::own_address(&self.own, peer)?;
        routes.own.insert(peer, own);
        Some(own)
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
        self.gate.prove(Instant::now(), peer);
        Some(Reach { transport, flow: Some(flow), local, peer })
    }

    fn proved(&self, flow: FlowId) -> Option<Arc<[String]>> {
        self.proved.names(flow)
    }

    fn alias(&self, hop: &NextHop, flow: FlowId) -> bool {
        self.dialled.alias(hop, flow)
    }
}
