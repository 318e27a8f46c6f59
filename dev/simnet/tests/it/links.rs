//! Delay, loss, crashes and moves, as a host sees them.

use std::net::SocketAddr;
use std::time::Duration;

use simnet::{Datagrams, Fate, HostId, Link, Net, TraceEntry};

const ALICE: &str = "10.0.0.1";
const BOB: &str = "10.0.0.2";

fn at(ip: &str) -> SocketAddr {
    format!("{ip}:5060").parse().unwrap()
}

fn pair(link: Link) -> (Net, HostId<Datagrams>, HostId<Datagrams>) {
    let mut net = Net::new(5);
    let alice = net.add_host("alice", ALICE, link.clone(), Datagrams::silent());
    let bob = net.add_host("bob", BOB, link, Datagrams::echoing());
    (net, alice, bob)
}

fn ask(net: &mut Net, alice: HostId<Datagrams>) -> usize {
    let before = net.node(alice).received.len();
    net.with(alice, |node, _, _| node.send(at(ALICE), at(BOB), b"ping"));
    net.run_for(Duration::from_secs(2));
    net.node(alice).received.len() - before
}

fn fates(net: &Net) -> Vec<Fate> {
    let fate = |entry: &TraceEntry| match entry {
        TraceEntry::Packet { fate, .. } => Some(*fate),
        TraceEntry::Note { .. } => None,
    };
    net.trace().entries().filter_map(fate).collect()
}

#[test]
fn a_round_trip_takes_four_delays() {
    let (mut net, alice, _) = pair(Link::lan().delayed(10, 0));
    let sent = net.now();
    assert_eq!(ask(&mut net, alice), 1);
    assert_eq!(net.node(alice).received[0].at - sent, Duration::from_millis(40));
}

#[test]
fn a_link_that_is_down_carries_nothing() {
    let (mut net, alice, bob) = pair(Link::lan());
    net.set_link_up(bob, false);
    assert_eq!(ask(&mut net, alice), 0);
    assert_eq!(fates(&net), [Fate::LostOnLink]);
    net.set_link_up(bob, true);
    assert_eq!(ask(&mut net, alice), 1);
}

#[test]
fn a_crashed_node_answers_nothing_until_it_starts_again() {
    let (mut net, alice, bob) = pair(Link::lan());
    net.crash(bob);
    assert_eq!(ask(&mut net, alice), 0);
    assert_eq!(fates(&net), [Fate::HostDown]);
    net.restart(bob, Datagrams::echoing());
    assert_eq!(ask(&mut net, alice), 1);
}

#[test]
fn a_host_that_moved_is_not_at_its_old_address() {
    let (mut net, alice, bob) = pair(Link::lan());
    net.move_host(bob, None, "10.0.0.3");
    assert_eq!(ask(&mut net, alice), 0);
    assert_eq!(fates(&net), [Fate::NoSuchHost]);
    net.with(alice, |node, _, _| node.send(at(ALICE), at("10.0.0.3"), b"ping"));
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.node(alice).received.len(), 1);
}

#[test]
fn duplicates_arrive_twice() {
    let (mut net, alice, _) = pair(Link { duplicate: 1.0, ..Link::lan() });
    assert_eq!(ask(&mut net, alice), 16, "two per link, four links there and back");
}
