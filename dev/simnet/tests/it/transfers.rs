//! R1.7, R1.6: transfers and early media through the server.

use std::time::Duration;

use phone::{CallHandle, Cause, PhoneEvent};
use sansio::Transport;
use simnet::{Habit, HostId, HouseSetup, Link, Net, PhoneNode, story};

use crate::server::setup;
use crate::stories::{Scene, answered, phone, scene_with};

const PATIENCE: Duration = Duration::from_secs(60);

/// Alice talks to bob through the server; carol, at home on the Internet, answers at once.
fn three(net: &mut Net, transport: Transport) -> (Scene, HostId<PhoneNode>) {
    let mut setup: HouseSetup = setup();
    setup.users.insert("carol".into(), "pw-carol".into());
    let scene = scene_with(net, transport, Habit::Answers, &setup);
    let seed = net.seed();
    let node = PhoneNode::new(phone("carol", transport, Habit::Answers), "192.0.2.33", seed + 300);
    let carol = net.add_host("carol", "192.0.2.33", Link::lan(), node);
    net.with(carol, |node, now, _| node.connect(now));
    let registered = net.run_until(PATIENCE, |net| net.node(carol).phone.is_registered());
    assert!(registered, "carol registers");
    net.with(scene.alice, |node, now, _| node.call(now, "bob").unwrap());
    let up = net.run_until(PATIENCE, |net| {
        answered(net, scene.alice).is_some() && answered(net, scene.bob).is_some()
    });
    assert!(up, "alice talks to bob");
    (scene, carol)
}

fn causes(net: &Net, host: HostId<PhoneNode>) -> Vec<Cause> {
    let cause = |e: &PhoneEvent| match e {
        PhoneEvent::Ended { cause, .. } => Some(*cause),
        _ => None,
    };
    net.node(host).events.iter().filter_map(cause).collect()
}

/// Both ends of the call that is left hear each other for three seconds.
fn assert_they_talk(net: &mut Net, hosts: [HostId<PhoneNode>; 2]) {
    let calls: Vec<CallHandle> =
        hosts.iter().map(|host| answered(net, *host).expect("answered")).collect();
    let loud = |net: &Net, n: usize| net.node(hosts[n]).heard[&calls[n]].loud;
    net.run_for(Duration::from_secs(2));
    let before = [loud(net, 0), loud(net, 1)];
    net.run_for(Duration::from_secs(3));
    for n in [0, 1] {
        assert!(loud(net, n) > before[n] + 100, "side {n}: {} after {}", loud(net, n), before[n]);
    }
}

/// Who sends the other side of the first call to carol.
#[derive(Clone, Copy, Debug)]
enum Referrer {
    Caller,
    Callee,
}

impl Referrer {
    /// The one who refers, and the one who stays with carol.
    fn of(self, scene: &Scene) -> (HostId<PhoneNode>, HostId<PhoneNode>) {
        match self {
            Self::Caller => (scene.alice, scene.bob),
            Self::Callee => (scene.bob, scene.alice),
        }
    }
}

fn blind(net: &mut Net, transport: Transport, who: Referrer) {
    let (scene, carol) = three(net, transport);
    let (refers, stays) = who.of(&scene);
    let call = answered(net, refers).unwrap();
    let transfer = |p: &mut phone::Phone, now| p.transfer(now, call, "carol");
    net.with(refers, |node, now, _| node.with_phone(now, transfer)).unwrap();
    let done = net.run_until(PATIENCE, |net| !causes(net, refers).is_empty());
    assert!(done, "who refers hears that it got through");
    assert_eq!(causes(net, refers), [Cause::Transferred]);
    assert_they_talk(net, [stays, carol]);
    net.run_for(Duration::from_secs(40));
    assert_eq!(net.node(scene.server).media.sessions(), 1, "the first call's media is let go");
}

fn attended(net: &mut Net, transport: Transport, who: Referrer) {
    let (scene, carol) = three(net, transport);
    let (refers, stays) = who.of(&scene);
    let call = answered(net, refers).unwrap();
    let second = net.with(refers, |node, now, _| node.call(now, "carol").unwrap());
    let up = net.run_until(PATIENCE, |net| answered(net, refers) == Some(second));
    assert!(up, "who refers talks to carol");
    net.run_for(Duration::from_secs(1));
    let transfer = |p: &mut phone::Phone, now| p.transfer_to(now, call, second);
    net.with(refers, |node, now, _| node.with_phone(now, transfer)).unwrap();
    let done = net.run_until(PATIENCE, |net| causes(net, refers).len() == 2);
    assert!(done, "both calls end: {:?}", causes(net, refers));
    assert_eq!(causes(net, carol), [Cause::Replaced]);
    assert_they_talk(net, [stays, carol]);
}

#[test]
fn r1_7_a_blind_transfer_through_the_server_over_udp() {
    story(|net| blind(net, Transport::Udp, Referrer::Caller));
}

#[test]
fn r1_7_a_blind_transfer_through_the_server_with_encrypted_media() {
    story(|net| blind(net, Transport::Tls, Referrer::Caller));
}

#[test]
fn r1_7_an_attended_transfer_through_the_server() {
    story(|net| attended(net, Transport::Tls, Referrer::Caller));
}

/// Alice calls carol beside her call with bob and has one of the two brought into the other call.
fn conference(net: &mut Net, transport: Transport, who: Referrer) {
    let (scene, carol) = three(net, transport);
    let (refers, comes) = who.of(&scene);
    let call = answered(net, refers).unwrap();
    let second = net.with(refers, |node, now, _| node.call(now, "carol").unwrap());
    let up = net.run_until(PATIENCE, |net| answered(net, refers) == Some(second));
    assert!(up, "who refers talks to carol");
    net.run_for(Duration::from_secs(1));
    let join = |p: &mut phone::Phone, now| p.join_to(now, call, second);
    net.with(refers, |node, now, _| node.with_phone(now, join)).unwrap();
    let done = net.run_until(PATIENCE, |net| !causes(net, refers).is_empty());
    assert!(done, "who refers hears that it got through");
    assert_eq!(causes(net, refers), [Cause::Transferred]);
    assert_eq!(causes(net, carol), [], "carol has both");
    let joined = |e: &PhoneEvent| matches!(e, PhoneEvent::Incoming { joins: Some(_), .. });
    assert_eq!(net.node(carol).events.iter().filter(|e| joined(e)).count(), 1);
    assert_they_talk(net, [comes, carol]);
    assert!(net.node(refers).phone.is_talking(second));
}

#[test]
fn r1_7_a_conference_referral_through_the_server_leaves_carol_with_both() {
    for transport in [Transport::Udp, Transport::Tls] {
        for who in [Referrer::Caller, Referrer::Callee] {
            story(|net| conference(net, transport, who));
        }
    }
}

/// A phone on WSS is taken for a browser first: its calls come the second time without WebRTC.
#[test]
fn r1_7_transfers_by_either_side_over_wss_leave_the_other_two_talking() {
    for who in [Referrer::Caller, Referrer::Callee] {
        story(|net| blind(net, Transport::Wss, who));
        story(|net| attended(net, Transport::Wss, who));
    }
}

/// Who refers, by which transport, in clear or encrypted; who is left hears the other's tone.
#[test]
fn r1_7_transfers_by_either_side_over_udp_tcp_and_tls_leave_the_other_two_talking() {
    use Transport::{Tcp, Tls, Udp};
    for transport in [Udp, Tcp, Tls] {
        for who in [Referrer::Caller, Referrer::Callee] {
            story(|net| blind(net, transport, who));
            story(|net| attended(net, transport, who));
        }
    }
}

#[test]
fn r1_6_early_media_crosses_the_server_with_prack() {
    story(|net| {
        let scene = scene_with(net, Transport::Udp, Habit::Waits, &setup());
        let call = net.with(scene.alice, |node, now, _| node.call(now, "bob").unwrap());
        let incoming = |e: &PhoneEvent| match e {
            PhoneEvent::Incoming { call, .. } => Some(*call),
            _ => None,
        };
        let rings =
            net.run_until(PATIENCE, |net| net.node(scene.bob).last_call(incoming).is_some());
        assert!(rings);
        let callee = net.node(scene.bob).last_call(incoming).unwrap();
        net.with(scene.bob, |node, now, _| node.progress(now, callee)).unwrap();
        let early = |e: &PhoneEvent| matches!(e, PhoneEvent::EarlyMedia { .. });
        let heard = net.run_until(PATIENCE, |net| net.node(scene.alice).events.iter().any(early));
        assert!(heard, "alice is told");
        net.run_for(Duration::from_secs(3));
        let loud = net.node(scene.alice).heard[&call].loud;
        assert!(loud > 80, "alice hears bob before he answers: {loud}");
        net.with(scene.bob, |node, now, _| node.answer(now, callee)).unwrap();
        let up = net.run_until(PATIENCE, |net| answered(net, scene.alice) == Some(call));
        assert!(up, "and then they talk");
        assert_they_talk(net, [scene.alice, scene.bob]);
    });
}
