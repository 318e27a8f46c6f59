//! Translators as the hosts on both sides see them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use simnet::{Arrival, Cable, Datagrams, HostId, Link, NatConfig, NatId, Net};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct House {
    net: Net,
    nat: NatId,
    inner: HostId<Datagrams>,
    server: HostId<Datagrams>,
    other: HostId<Datagrams>,
}

/// One host behind a translator, two on the internet.
fn house(config: NatConfig) -> House {
    let mut net = Net::new(9);
    let nat = net.add_nat("203.0.113.1", Link::lan(), config);
    let inner = net.add_host_behind(nat, "inner", "192.168.1.2", Link::lan(), Datagrams::silent());
    let server = net.add_host("server", "198.51.100.1", Link::lan(), Datagrams::silent());
    let other = net.add_host("other", "198.51.100.9", Link::lan(), Datagrams::silent());
    House { net, nat, inner, server, other }
}

impl House {
    /// Sends from the inner host; the address the receiver sees.
    fn outbound(&mut self, to: &str, receiver: HostId<Datagrams>) -> SocketAddr {
        let to = address(to);
        self.net.with(self.inner, |n, _, _| n.send(address("192.168.1.2:5060"), to, b"out"));
        self.net.run_for(Duration::from_secs(1));
        self.net.node(receiver).received.last().expect("outbound always passes").from
    }

    /// Whether a packet from outside reaches the inner host.
    fn inbound(&mut self, sender: HostId<Datagrams>, from: &str, to: SocketAddr) -> bool {
        let before = self.net.node(self.inner).received.len();
        self.net.with(sender, |n, _, _| n.send(address(from), to, b"in"));
        self.net.run_for(Duration::from_secs(1));
        self.net.node(self.inner).received.len() > before
    }
}

#[test]
fn a_home_router_shows_one_address_and_lets_only_the_called_one_answer() {
    let mut house = house(NatConfig::home());
    let (server, other) = (house.server, house.other);
    let seen = house.outbound("198.51.100.1:5060", server);
    assert_eq!(seen.ip().to_string(), "203.0.113.1");
    assert!(house.inbound(server, "198.51.100.1:5060", seen));
    assert!(!house.inbound(server, "198.51.100.1:5061", seen));
    assert!(!house.inbound(other, "198.51.100.9:5060", seen));
    assert_eq!(house.outbound("198.51.100.9:5060", other), seen);
    assert!(house.inbound(other, "198.51.100.9:5060", seen));
}

#[test]
fn a_symmetric_nat_defeats_what_a_third_party_learned() {
    let mut house = house(NatConfig::symmetric());
    let (server, other) = (house.server, house.other);
    let seen = house.outbound("198.51.100.1:5060", server);
    assert_ne!(house.outbound("198.51.100.9:5060", other), seen);
    assert!(!house.inbound(other, "198.51.100.9:5060", seen));
}

#[test]
fn a_mapping_is_forgotten_after_silence_and_when_the_router_restarts() {
    let mut house = house(NatConfig::home());
    let server = house.server;
    let seen = house.outbound("198.51.100.1:5060", server);
    house.net.run_for(Duration::from_secs(31));
    assert!(!house.inbound(server, "198.51.100.1:5060", seen));
    let again = house.outbound("198.51.100.1:5060", server);
    assert!(house.inbound(server, "198.51.100.1:5060", again));
    house.net.reset_nat(house.nat);
    assert!(!house.inbound(server, "198.51.100.1:5060", again));
}

#[test]
fn neighbours_meet_directly_and_by_their_public_address_only_where_hairpins_are_allowed() {
    for config in [NatConfig::home(), NatConfig::full_cone()] {
        let hairpins = config.hairpinning;
        let mut house = house(config);
        let server = house.server;
        let seen = house.outbound("198.51.100.1:5060", server);
        let neighbour = house.net.add_host_behind(
            house.nat,
            "neighbour",
            "192.168.1.3",
            Link::lan(),
            Datagrams::silent(),
        );
        assert!(house.inbound(neighbour, "192.168.1.3:5060", address("192.168.1.2:5060")));
        assert_eq!(house.inbound(neighbour, "192.168.1.3:5060", seen), hairpins);
    }
}

#[test]
fn a_host_behind_two_translators_is_reached_through_both() {
    let mut net = Net::new(1);
    let carrier = net.add_nat("203.0.113.1", Link::lan(), NatConfig::home());
    let home = net.add_nat_behind(carrier, "100.64.0.7", Link::mobile(), NatConfig::symmetric());
    let inner =
        net.add_host_behind(home, "inner", "192.168.1.2", Link::wifi(), Datagrams::silent());
    let server = net.add_host("server", "198.51.100.1", Link::lan(), Datagrams::echoing());
    for _ in 0..20 {
        net.with(inner, |n, _, _| {
            n.send(address("192.168.1.2:5060"), address("198.51.100.1:5060"), b"hello");
        });
        net.run_for(Duration::from_secs(1));
    }
    assert_eq!(net.node(server).received[0].from.ip().to_string(), "203.0.113.1");
    assert!(net.node(inner).received.len() > 10);
}

#[test]
fn a_segment_of_another_transport_is_mapped_as_streams_are_and_lost_as_datagrams_are() {
    let mut net = Net::new(3);
    let nat = net.add_nat("203.0.113.1", Link::lan(), NatConfig::home());
    let inner = net.add_host_behind(nat, "inner", "192.168.1.2", Link::lan(), Cable::default());
    let server = net.add_host("server", "198.51.100.1", Link::lan(), Cable::default());
    let send = |net: &mut Net, host: HostId<Cable>, from: SocketAddr, to: SocketAddr| {
        let bytes = Bytes::from_static(b"segment");
        net.with(host, |n, _, _| n.send(Arrival { from, to, bytes, datagram: false }));
        net.run_for(Duration::from_secs(1));
    };
    let poll = |net: &mut Net, host| net.with(host, |n: &mut Cable, _, _| n.poll_arrival());
    let (local, remote) = (address("192.168.1.2:40000"), address("198.51.100.1:5061"));
    send(&mut net, inner, local, remote);
    let seen = poll(&mut net, server).expect("it arrives");
    assert!(!seen.datagram && seen.from.ip().to_string() == "203.0.113.1", "{seen:?}");
    // Streams live two hours, where a datagram's mapping is forgotten after half a minute.
    net.run_for(Duration::from_secs(3_600));
    send(&mut net, server, remote, seen.from);
    assert_eq!(poll(&mut net, inner).expect("it comes back").to, local);
    net.set_link(inner, Link::lan().lossy(1.0));
    send(&mut net, inner, local, remote);
    assert_eq!(poll(&mut net, server), None);
    net.set_link(inner, Link::lan());
    net.block_ranges(inner, vec![(false, 0..=442), (false, 444..=65_535)]);
    send(&mut net, inner, local, remote);
    assert_eq!(poll(&mut net, server), None, "only port 443 is open");
    send(&mut net, inner, local, address("198.51.100.1:443"));
    assert!(poll(&mut net, server).is_some());
}
