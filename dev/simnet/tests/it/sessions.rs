//! R1.9: a call whose people vanish is gone everywhere within its session interval.

use std::collections::BTreeSet;
use std::time::Duration;

use sansio::Transport;
use simnet::{Fate, Habit, HouseSetup, Net, TraceEntry, story};

use crate::server::setup;
use crate::stories::{Scene, answered, ended, scene_with};

const INTERVAL: Duration = Duration::from_secs(90);

/// An answered call through a server that asks for intervals of 90 s.
fn talking(net: &mut Net, transport: Transport) -> Scene {
    let edge = edge::Config { session_expires_s: INTERVAL.as_secs(), ..edge::Config::default() };
    let scene = scene_with(net, transport, Habit::Answers, &HouseSetup { edge, ..setup() });
    net.with(scene.alice, |node, now, _| node.call(now, "bob").unwrap());
    let up = net.run_until(Duration::from_secs(40), |net| {
        answered(net, scene.alice).is_some() && answered(net, scene.bob).is_some()
    });
    assert!(up, "the call is answered on both sides");
    scene
}

fn relay_sessions(net: &Net, scene: &Scene) -> usize {
    net.node(scene.server).media.sessions()
}

#[test]
fn r1_9_both_phones_vanish_and_the_server_lets_go_before_expiry_and_32_s() {
    story(|net| {
        let scene = talking(net, Transport::Tls);
        net.run_for(Duration::from_secs(20));
        net.set_link_up(scene.alice, false);
        net.set_link_up(scene.bob, false);
        assert_eq!(relay_sessions(net, &scene), 1);
        net.run_for(INTERVAL + Duration::from_secs(32));
        assert_eq!(relay_sessions(net, &scene), 0, "dialog and relay are gone");
    });
}

#[test]
fn r1_9_one_phone_vanishes_and_the_other_is_told_in_one_interval() {
    for vanished in ["alice", "bob"] {
        story(|net| {
            let scene = talking(net, Transport::Udp);
            net.run_for(Duration::from_secs(10));
            let (gone, left) = match vanished {
                "alice" => (scene.alice, scene.bob),
                _ => (scene.bob, scene.alice),
            };
            net.set_link_up(gone, false);
            net.run_for(INTERVAL + Duration::from_secs(1));
            assert!(ended(net, left), "{vanished} vanished and nobody noticed");
            net.run_for(Duration::from_secs(31));
            assert_eq!(relay_sessions(net, &scene), 0);
        });
    }
}

#[test]
fn r1_9_a_long_call_is_refreshed_through_the_server_and_never_three_times_in_an_interval() {
    story(|net| {
        let scene = talking(net, Transport::Udp);
        // On hold no media flows, so nothing but refreshes tells that the two are there.
        for host in [scene.alice, scene.bob] {
            let call = answered(net, host).unwrap();
            let hold = |p: &mut phone::Phone, now| p.set_hold(now, call, true);
            net.with(host, |node, now, _| node.with_phone(now, hold)).unwrap();
            net.run_for(Duration::from_secs(5));
        }
        let start = net.elapsed();
        net.run_for(INTERVAL * 4);
        assert!(!ended(net, scene.alice) && !ended(net, scene.bob), "the call goes on");
        // What reached the server, once for each transaction.
        let mut refreshes = BTreeSet::new();
        for entry in net.trace().entries() {
            let TraceEntry::Packet { at, receiver, label: Some(label), fate, .. } = entry else {
                continue;
            };
            let arrived = receiver.as_deref() == Some("server") && *fate == Fate::Delivered;
            if arrived && *at >= start && label.starts_with("UPDATE") {
                refreshes.insert(label.clone());
            }
            assert!(!(arrived && *at >= start && label.starts_with("INVITE")), "{label}");
        }
        let refreshes = refreshes.len();
        assert!((4..=8).contains(&refreshes), "{refreshes} in four intervals");
    });
}
