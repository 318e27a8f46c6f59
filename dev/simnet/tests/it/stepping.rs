//! A phone on networks that block one transport after another (R1.2).

use std::net::SocketAddr;
use std::time::Duration;

use phone::PhoneEvent;
use sansio::Transport;
use simnet::{Habit, HostId, Link, NatConfig, Net, PhoneNode, house, story};

use crate::server::setup;
use crate::stories::phone;

const SERVER: &str = "198.51.100.1";
const UDP: (bool, u16) = (true, 5060);
const TCP: (bool, u16) = (false, 5060);
const TLS: (bool, u16) = (false, 5061);

fn scene(net: &mut Net) -> HostId<PhoneNode> {
    let seed = net.seed();
    net.add_host("server", SERVER, Link::lan(), house(&setup(), seed));
    let home = net.add_nat("203.0.113.1", Link::lan(), NatConfig::home());
    let mut who = phone("alice", Transport::Udp, Habit::Answers);
    let at = |port| SocketAddr::new(SERVER.parse().unwrap(), port);
    who.ways = vec![
        (Transport::Udp, at(5060)),
        (Transport::Tcp, at(5060)),
        (Transport::Tls, at(5061)),
        (Transport::Wss, at(443)),
    ];
    let node = PhoneNode::new(who, "192.168.1.2", seed + 100);
    net.add_host_behind(home, "alice", "192.168.1.2", Link::lan(), node)
}

fn registered(net: &Net, host: HostId<PhoneNode>) -> usize {
    let is = |e: &&PhoneEvent| matches!(e, PhoneEvent::Registered { .. });
    net.node(host).events.iter().filter(is).count()
}

/// Waits for one more registration, and says by what.
fn registers(net: &mut Net, host: HostId<PhoneNode>, limit: Duration) -> Transport {
    let before = registered(net, host);
    let done = net.run_until(limit, |net| registered(net, host) > before);
    assert!(done, "no registration within {limit:?}; {:?} is tried", net.node(host).transport());
    net.node(host).transport()
}

#[test]
fn r1_2_each_transport_that_is_blocked_costs_a_moment_and_the_next_registers_within_five_seconds() {
    for (blocked, want) in [
        (&[][..], Transport::Udp),
        (&[UDP], Transport::Tcp),
        (&[UDP, TCP], Transport::Tls),
        (&[UDP, TCP, TLS], Transport::Wss),
    ] {
        story(|net| {
            let alice = scene(net);
            net.block(alice, blocked);
            net.with(alice, |node, now, _| node.connect(now));
            assert_eq!(registers(net, alice, Duration::from_secs(5)), want);
        });
    }
}

#[test]
fn r1_2_what_worked_is_remembered_for_its_network_and_the_phone_steps_back_later() {
    story(|net| {
        let alice = scene(net);
        net.block(alice, &[UDP, TCP]);
        net.with(alice, |node, now, _| node.connect(now));
        assert_eq!(registers(net, alice, Duration::from_secs(5)), Transport::Tls);
        net.run_for(Duration::from_secs(60));

        // Another network blocks nothing: the first transport, at once.
        net.block(alice, &[]);
        net.move_host(alice, None, "192.0.2.77");
        assert_eq!(registers(net, alice, Duration::from_millis(900)), Transport::Udp);
        net.run_for(Duration::from_secs(60));

        // Back again: no time is lost on what did not work here.
        net.block(alice, &[UDP, TCP]);
        net.move_host(alice, None, "192.168.1.2");
        assert_eq!(registers(net, alice, Duration::from_millis(900)), Transport::Tls);

        // The firewall is gone. Within the hour the phone is back, without having been away.
        net.block(alice, &[]);
        let before = net.node(alice).events.len();
        let back = |net: &Net| net.node(alice).transport() == Transport::Udp;
        assert!(net.run_until(Duration::from_secs(3600), back), "it steps back");
        assert_eq!(registers(net, alice, Duration::from_secs(5)), Transport::Udp);
        let failed = |e: &PhoneEvent| matches!(e, PhoneEvent::RegistrationFailed { .. });
        assert!(!net.node(alice).events[before..].iter().any(failed));
    });
}

#[test]
fn r1_2_a_transport_cut_off_in_use_is_left_at_the_next_request() {
    story(|net| {
        let alice = scene(net);
        net.with(alice, |node, now, _| node.connect(now));
        assert_eq!(registers(net, alice, Duration::from_secs(5)), Transport::Udp);
        net.run_for(Duration::from_secs(30));
        net.block(alice, &[UDP]);
        net.with(alice, |node, now, _| node.with_phone(now, |p, now| p.register(now)));
        assert_eq!(registers(net, alice, Duration::from_secs(7)), Transport::Tcp);
    });
}

#[test]
fn r1_2_a_transport_cut_off_while_idle_is_left_soon_after_its_next_keep_alive() {
    // (cut, next, how long): UDP is kept alive every 25 s, streams every 95 s; then come 8 s.
    for (cut, next, limit) in [(UDP, Transport::Tcp, 40), (TCP, Transport::Tls, 110)] {
        story(|net| {
            let alice = scene(net);
            let first = if cut == UDP { &[][..] } else { &[UDP] };
            net.block(alice, first);
            net.with(alice, |node, now, _| node.connect(now));
            registers(net, alice, Duration::from_secs(5));
            net.run_for(Duration::from_secs(3));
            let blocked: Vec<_> = first.iter().copied().chain([cut]).collect();
            net.block(alice, &blocked);
            assert_eq!(registers(net, alice, Duration::from_secs(limit)), next);
        });
    }
}

#[test]
fn r1_2_a_link_that_answers_its_keep_alives_stays_for_hours() {
    story(|net| {
        let alice = scene(net);
        net.with(alice, |node, now, _| node.connect(now));
        assert_eq!(registers(net, alice, Duration::from_secs(5)), Transport::Udp);
        net.run_for(Duration::from_secs(2 * 3600));
        let down = |e: &PhoneEvent| matches!(e, PhoneEvent::RegistrationFailed { .. });
        assert!(!net.node(alice).events.iter().any(down));
        assert_eq!(net.node(alice).transport(), Transport::Udp);
    });
}
