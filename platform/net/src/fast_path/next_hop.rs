//! How a packet leaves this machine: interface and link-layer addresses, asked of the kernel by netlink.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// How long an answer holds: a gateway that was replaced is found within this.
const HOLDS: Duration = Duration::from_secs(3);
/// Answers kept; beyond that they are all asked again.
const ANSWERS_MAX: usize = 50_000;
/// More than any answer about one route, neighbour or link.
const ANSWER_BYTES: usize = 16 << 10;

/// The first leg of a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextHop {
    /// The number of the interface.
    pub interface: u32,
    /// Its own Ethernet address.
    pub own: [u8; 6],
    /// That of the peer, or of the gateway to it.
    pub address: [u8; 6],
}

/// Answers of the kernel, remembered for a moment.
#[derive(Debug)]
pub(super) struct NextHops {
    socket: Socket,
    answer: Vec<u8>,
    known: HashMap<(Ipv4Addr, Ipv4Addr), (Option<NextHop>, Instant)>,
}

impl NextHops {
    /// In the calling thread's network namespace.
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The kernel answers within the call that asks; what does not come is not waited for.
        socket.set_non_blocking(true)?;
        Ok(Self { socket, answer: vec![0; ANSWER_BYTES], known: HashMap::new() })
    }

    /// The way from an address of ours to `to`. `None` while it is not known, or there is none over
    /// Ethernet.
    pub(super) fn find(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> Option<NextHop> {
        if let Some((hop, since)) = self.known.get(&(from, to))
            && since.elapsed() < HOLDS
        {
            return *hop;
        }
        let hop = self.ask(from, to);
        if self.known.len() >= ANSWERS_MAX {
            self.known.clear();
        }
        self.known.insert((from, to), (hop, Instant::now()));
        hop
    }

    fn ask(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> Option<NextHop> {
        let (interface, gateway) = self.route(from, to)?;
        let address = self.neighbour(interface, gateway)?;
        Some(NextHop { interface, own: self.own_address(interface)?, address })
    }

    /// The interface, and who the packet is handed to: the gateway, or the peer itself.
    fn route(&mut self, from: Ipv4Addr, to: Ipv4Addr) -> Option<(u32, Ipv4Addr)> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.header.source_prefix_length = 32;
        message.attributes = vec![
            RouteAttribute::Destination(RouteAddress::from(IpAddr::from(to))),
            RouteAttribute::Source(RouteAddress::from(IpAddr::from(from))),
        ];
        let RouteNetlinkMessage::NewRoute(route) =
            self.request(RouteNetlinkMessage::GetRoute(message))?
        else {
            return None;
        };
        if route.header.kind != RouteType::Unicast {
            return None;
        }
        let (mut interface, mut hand_to) = (None, to);
        for attribute in route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => interface = Some(index),
                RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => hand_to = gateway,
                // A gateway of another family, or several ways at once.
                RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => return None,
                _ => {}
            }
        }
        Some((interface?, hand_to))
    }

    /// The Ethernet address of a neighbour, unless it does not answer.
    fn neighbour(&mut self, interface: u32, who: Ipv4Addr) -> Option<[u8; 6]> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = interface;
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(who))];
        let RouteNetlinkMessage::NewNeighbour(neighbour) =
            self.request(RouteNetlinkMessage::GetNeighbour(message))?
        else {
            return None;
        };
        use NeighbourState::{Delay, Permanent, Probe, Reachable, Stale};
        // RTCP, which goes by sockets, has the system ask again for one that is stale.
        if !matches!(neighbour.header.state, Reachable | Stale | Delay | Probe | Permanent) {
            return None;
        }
        neighbour.attributes.into_iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.try_into().ok(),
            _ => None,
        })
    }

    /// Packets an interface's driver was given and did not send, so far.
    pub(super) fn unsent(&mut self, interface: u32) -> Option<u64> {
        self.link(interface)?.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Stats64(stats) => Some(stats.tx_dropped),
            _ => None,
        })
    }

    /// The Ethernet address of an interface.
    fn own_address(&mut self, interface: u32) -> Option<[u8; 6]> {
        self.link(interface)?.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(bytes) => bytes.try_into().ok(),
            _ => None,
        })
    }

    fn link(&mut self, interface: u32) -> Option<Vec<LinkAttribute>> {
        let mut message = LinkMessage::default();
        message.header.index = interface;
        match self.request(RouteNetlinkMessage::GetLink(message))? {
            RouteNetlinkMessage::NewLink(link) => Some(link.attributes),
            _ => None,
        }
    }

    /// One question, one answer; `None` for an error.
    fn request(&mut self, message: RouteNetlinkMessage) -> Option<RouteNetlinkMessage> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0).ok()?;
        let len = self.socket.recv(&mut &mut self.answer[..], 0).ok()?;
        let answer =
            NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.answer[..len]).ok()?;
        match answer.payload {
            NetlinkPayload::InnerMessage(answer) => Some(answer),
            _ => None,
        }
    }
}
