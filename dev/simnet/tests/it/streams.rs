//! Streams: everything arrives, in order, late; and every way they end.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use simnet::{CloseReason, Datagrams, HostId, Link, NatConfig, Net, StreamEvent, Transmit};

fn local() -> SocketAddr {
    "192.168.1.2:40000".parse().unwrap()
}

fn server_address() -> SocketAddr {
    "198.51.100.1:5061".parse().unwrap()
}

struct World {
    net: Net,
    client: HostId<Datagrams>,
    server: HostId<Datagrams>,
}

/// A client behind a translator with a stream to an echoing server.
fn connected(link: Link) -> World {
    let mut net = Net::new(11);
    let nat = net.add_nat("203.0.113.1", Link::lan(), NatConfig::home());
    let client = net.add_host_behind(nat, "client", "192.168.1.2", link, Datagrams::silent());
    let server = net.add_host("server", "198.51.100.1", Link::lan(), Datagrams::echoing());
    net.with(client, |n, _, _| {
        n.transmit(Transmit::Connect { from: local(), to: server_address() });
    });
    World { net, client, server }
}

impl World {
    fn send(&mut self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let send = Transmit::Send { from: local(), to: server_address(), bytes };
        self.net.with(self.client, |n, _, _| n.transmit(send));
    }

    fn heard(&self) -> Vec<u8> {
        let events = &self.net.node(self.client).events;
        let bytes = events.iter().filter_map(|e| match e {
            StreamEvent::Received { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        });
        bytes.flatten().collect()
    }

    fn closed(&self, host: HostId<Datagrams>) -> Option<CloseReason> {
        self.net.node(host).events.iter().find_map(|e| match e {
            StreamEvent::Closed { reason, .. } => Some(*reason),
            _ => None,
        })
    }
}

#[test]
fn everything_arrives_in_order_over_a_terrible_link() {
    let link = Link { duplicate: 0.2, reorder: 0.2, ..Link::mobile().lossy(0.3) };
    let mut world = connected(link);
    let text: Vec<u8> = (0..50_000_u32).map(|i| (i % 251) as u8).collect();
    for part in text.chunks(1234) {
        world.send(part);
    }
    world.net.run_for(Duration::from_secs(60));
    assert_eq!(world.heard(), text);
    let pieces = world.net.node(world.server).events.len();
    assert!(pieces > 45, "pieces are cut anywhere: {pieces}");
}

#[test]
fn a_stream_ends_in_order_after_its_last_byte() {
    let mut world = connected(Link::mobile());
    world.send(b"last words");
    let close = Transmit::Close { from: local(), to: server_address() };
    world.net.with(world.client, |n, _, _| n.transmit(close));
    world.net.run_for(Duration::from_secs(1));
    // Closing before the stream stands abandons it; a second one is closed properly.
    assert_eq!(world.heard(), b"");
    let mut world = connected(Link::mobile());
    world.net.run_for(Duration::from_secs(1));
    world.send(b"last words");
    let close = Transmit::Close { from: local(), to: server_address() };
    world.net.with(world.client, |n, _, _| n.transmit(close));
    world.net.run_for(Duration::from_secs(2));
    assert_eq!(world.closed(world.server), Some(CloseReason::Ended));
}

#[test]
fn nobody_listening_is_told_at_once() {
    let mut world = connected(Link::lan());
    let closed_port = "203.0.113.77:5061".parse().unwrap();
    let mut net = Net::new(1);
    let client = net.add_host("client", "192.168.1.2", Link::lan(), Datagrams::silent());
    net.add_host("deaf", "203.0.113.77", Link::lan(), Datagrams::silent());
    net.with(client, |n, _, _| n.transmit(Transmit::Connect { from: local(), to: closed_port }));
    net.run_for(Duration::from_secs(1));
    assert!(matches!(
        net.node(client).events[..],
        [StreamEvent::Closed { reason: CloseReason::Reset, .. }]
    ));
    world.net.run_for(Duration::from_secs(1));
    assert_eq!(world.closed(world.client), None);
}

#[test]
fn a_crash_resets_a_silent_link_times_out_and_a_move_is_told_here() {
    let mut world = connected(Link::lan());
    world.net.run_for(Duration::from_secs(1));
    world.net.crash(world.server);
    world.net.run_for(Duration::from_secs(1));
    assert_eq!(world.closed(world.client), Some(CloseReason::Reset));

    let mut world = connected(Link::lan());
    world.net.run_for(Duration::from_secs(1));
    world.net.set_link_up(world.client, false);
    world.send(b"into the void");
    world.net.run_for(Duration::from_secs(40));
    assert_eq!(world.closed(world.client), Some(CloseReason::TimedOut));

    let mut world = connected(Link::lan());
    world.net.run_for(Duration::from_secs(1));
    world.net.move_host(world.client, None, "198.51.100.77");
    assert_eq!(world.closed(world.client), Some(CloseReason::Moved));
}

#[test]
fn a_short_outage_only_delays() {
    let mut world = connected(Link::lan());
    world.net.run_for(Duration::from_secs(1));
    world.net.set_link_up(world.client, false);
    world.send(b"hold on");
    world.net.run_for(Duration::from_secs(10));
    assert_eq!(world.heard(), b"");
    world.net.set_link_up(world.client, true);
    world.net.run_for(Duration::from_secs(3));
    assert_eq!(world.heard(), b"hold on");
    assert_eq!(world.closed(world.client), None);
}
