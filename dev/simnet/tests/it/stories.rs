//! Two phone engines and the server's role cores: what happens to people.

use std::time::Duration;

use phone::{Account, CallHandle, Config, PhoneEvent};
use sansio::{Redacted, Transport};
use simnet::{
    Habit, HostId, House, HouseSetup, Link, NatConfig, Net, PhoneNode, PhoneSetup, house, story,
};

use crate::server::setup;

const SERVER: &str = "198.51.100.1";

pub fn phone(user: &str, transport: Transport, habit: Habit) -> PhoneSetup {
    let port = match transport {
        Transport::Wss => 443,
        Transport::Tls => 5061,
        _ => 5060,
    };
    let account = Account {
        user: user.into(),
        domain: "example.com".into(),
        password: Redacted::new(format!("pw-{user}")),
        display_name: String::new(),
        instance: format!("urn:uuid:00000000-0000-4000-8000-00000000{:04x}", user.len() * 257),
    };
    let server = format!("{SERVER}:{port}").parse().unwrap();
    let ways = Vec::new();
    PhoneSetup { account, config: Config::default(), server, transport, ways, habit }
}

pub struct Scene {
    pub alice: HostId<PhoneNode>,
    pub bob: HostId<PhoneNode>,
    pub server: HostId<House>,
}

/// Alice at home behind a router, Bob on a mobile network behind a symmetric translator.
pub fn scene(net: &mut Net, transport: Transport, habit: Habit) -> Scene {
    scene_with(net, transport, habit, &setup())
}

pub fn scene_with(net: &mut Net, transport: Transport, habit: Habit, setup: &HouseSetup) -> Scene {
    let seed = net.seed();
    let server = net.add_host("server", SERVER, Link::lan(), house(setup, seed));
    let home = net.add_nat("203.0.113.1", Link::lan(), NatConfig::home());
    let carrier = net.add_nat("203.0.113.2", Link::lan(), NatConfig::symmetric());
    let node = PhoneNode::new(phone("alice", transport, Habit::Waits), "192.168.1.2", seed + 100);
    let alice = net.add_host_behind(home, "alice", "192.168.1.2", Link::wifi(), node);
    let node = PhoneNode::new(phone("bob", transport, habit), "10.1.2.3", seed + 200);
    let bob = net.add_host_behind(carrier, "bob", "10.1.2.3", Link::mobile(), node);
    for host in [alice, bob] {
        net.with(host, |node, now, _| node.connect(now));
    }
    let registered = net.run_until(Duration::from_secs(60), |net| {
        [alice, bob].iter().all(|host| net.node(*host).phone.is_registered())
    });
    assert!(registered, "both phones register");
    Scene { alice, bob, server }
}

pub fn answered(net: &Net, host: HostId<PhoneNode>) -> Option<CallHandle> {
    net.node(host).last_call(|event| match event {
        PhoneEvent::Answered { call, .. } => Some(*call),
        _ => None,
    })
}

pub fn ended(net: &Net, host: HostId<PhoneNode>) -> bool {
    net.node(host).events.iter().any(|e| matches!(e, PhoneEvent::Ended { .. }))
}

/// A call is set up, both hear each other, Alice hangs up, nothing is left behind.
fn call_and_hang_up(net: &mut Net, transport: Transport) {
    let scene = scene(net, transport, Habit::Answers);
    let call = net.with(scene.alice, |node, now, _| node.call(now, "bob").unwrap());
    let up = net.run_until(Duration::from_secs(40), |net| {
        answered(net, scene.alice).is_some() && answered(net, scene.bob).is_some()
    });
    assert!(up, "the call is answered on both sides");
    net.run_for(Duration::from_secs(10));
    for host in [scene.alice, scene.bob] {
        let call = answered(net, host).unwrap();
        let ear = net.node(host).heard[&call];
        assert!(ear.loud > 400, "ten seconds are 500 frames: {ear:?}");
    }
    net.with(scene.alice, |node, now, _| node.with_phone(now, |p, now| p.hang_up(now, call)))
        .unwrap();
    let over = net.run_until(Duration::from_secs(40), |net| ended(net, scene.bob));
    assert!(over, "bob's phone learns that the call is over");
    net.run_for(Duration::from_secs(40));
    let relay = &net.node(scene.server).media;
    assert_eq!((relay.sessions(), relay.ports_in_use()), (0, 0), "no port stays behind");
}

#[test]
fn two_people_behind_nats_talk_over_udp() {
    story(|net| call_and_hang_up(net, Transport::Udp));
}

#[test]
fn two_people_behind_nats_talk_over_tls_with_encrypted_media() {
    story(|net| call_and_hang_up(net, Transport::Tls));
}

#[test]
fn a_declined_call_ends_for_both() {
    story(|net| {
        let scene = scene(net, Transport::Tls, Habit::Declines);
        net.with(scene.alice, |node, now, _| node.call(now, "bob").unwrap());
        let over = net.run_until(Duration::from_secs(40), |net| ended(net, scene.alice));
        assert!(over, "alice is told");
        assert_eq!(answered(net, scene.alice), None);
    });
}

#[test]
fn an_encrypted_call_goes_on_when_the_caller_leaves_home() {
    story(|net| {
        let scene = scene(net, Transport::Tls, Habit::Answers);
        let call = net.with(scene.alice, |node, now, _| node.call(now, "bob").unwrap());
        let up = net.run_until(Duration::from_secs(40), |net| {
            answered(net, scene.alice).is_some() && answered(net, scene.bob).is_some()
        });
        assert!(up, "the call is answered on both sides");
        net.run_for(Duration::from_secs(5));
        net.set_link(scene.alice, Link::mobile());
        net.move_host(scene.alice, None, "192.0.2.77");
        net.run_for(Duration::from_secs(10));
        let heard = |net: &Net, host: HostId<PhoneNode>| {
            net.node(host).heard[&answered(net, host).unwrap()].loud
        };
        let before = [heard(net, scene.alice), heard(net, scene.bob)];
        net.run_for(Duration::from_secs(5));
        let after = [heard(net, scene.alice), heard(net, scene.bob)];
        assert!(after[0] > before[0] + 200, "alice hears bob again: {before:?} {after:?}");
        assert!(after[1] > before[1] + 200, "bob hears alice again: {before:?} {after:?}");
        net.with(scene.alice, |node, now, _| node.with_phone(now, |p, now| p.hang_up(now, call)))
            .unwrap();
        let over = net.run_until(Duration::from_secs(40), |net| ended(net, scene.bob));
        assert!(over, "bob's phone learns that the call is over");
    });
}
