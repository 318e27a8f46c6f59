//! R5.8, R5.9: what peers tell of what is sent to them.

use std::net::SocketAddr;
use std::time::Duration;

use relay::bridge::{BridgeEvent, Component, LegId, Port};
use relay::{LegStats, Protocol};
use rtp::rtcp::{Marks, Report, ReportBlock, SenderInfo};

use crate::peers::Peer;
use crate::virtual_net::{SESSION, World, config};

const EF: u8 = 0xb8;

fn marked() -> World {
    let mut config = config();
    config.interfaces[0].tos = EF;
    World::new(config)
}

fn legs(world: &World) -> Vec<LegStats> {
    world.control.query(world.now, SESSION).unwrap().legs
}

fn rtcp_addr(peer: &Peer) -> SocketAddr {
    let muxed = peer.remote == peer.remote_rtcp;
    SocketAddr::new(peer.addr.ip(), peer.addr.port() + u16::from(!muxed))
}

fn compound(ssrc: u32, sender: Option<SenderInfo>, block: ReportBlock) -> Vec<u8> {
    let report = Report { ssrc, sender, blocks: &[block], cname: "c@x", bye: None };
    let mut out = vec![0; 300];
    let len = report.write(&mut out).unwrap();
    out.truncate(len);
    out
}

/// A packet came from a peer with this type of service octet.
fn arrives_with(world: &World, leg: LegId, tos: u8) {
    let bridge = world.control.bridge(SESSION).unwrap();
    bridge.lock().note_tos(Port { leg, component: Component::Rtp }, tos);
}

fn lost_marks(world: &World) -> Vec<(LegId, bool, bool)> {
    let lost = |event: &BridgeEvent| match event {
        BridgeEvent::MarksLost { leg, inbound, outbound } => Some((*leg, *inbound, *outbound)),
        _ => None,
    };
    world.events.iter().filter_map(lost).collect()
}

#[test]
fn r5_8_lost_marks_are_told_once_for_each_way_and_go_no_further() {
    let mut world = marked();
    let mut a = Peer::plain("192.0.2.1:4000", 11);
    let mut b = Peer::plain("192.0.2.5:5000", 22);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    let report = |marks: Marks| {
        let plain = compound(11, None, ReportBlock { ssrc: 22, ..ReportBlock::default() });
        ([plain.clone(), marks.packet(11).to_vec()].concat(), plain)
    };
    let port = a.remote_rtcp.unwrap().port();
    let say = |world: &mut World, sent, arrived| {
        let (whole, plain) = report(Marks::of_octets(sent, arrived));
        let passed = world.send(rtcp_addr(&a), port, &whole);
        assert_eq!(passed.len(), 1);
        assert_eq!(passed[0].bytes, plain, "marks are of one hop");
    };

    arrives_with(&world, LegId::CALLER, EF | 1);
    say(&mut world, Some(EF), Some(EF));
    assert_eq!(lost_marks(&world), [], "congestion bits are no marks");
    say(&mut world, Some(EF), Some(0));
    say(&mut world, Some(EF), Some(0));
    assert_eq!(lost_marks(&world), [(LegId::CALLER, false, true)]);
    // From now on the other way too.
    arrives_with(&world, LegId::CALLER, 0);
    say(&mut world, Some(EF), Some(0));
    say(&mut world, Some(EF), Some(0));
    assert_eq!(lost_marks(&world)[1..], [(LegId::CALLER, true, false)]);

    let legs = legs(&world);
    let told = legs[0].told.clone().unwrap();
    assert_eq!((told.bleached_from, told.bleached_toward), (true, true));
    assert_eq!((told.dscp_put, told.dscp_seen, legs[0].tos_sent), (Some(46), Some(0), EF));
    assert_eq!(legs[0].interface, "default");
    // Of the other side, whose phone is no phone of ours, nothing is claimed.
    assert!(legs[1].told.as_ref().is_none_or(|t| !t.bleached_from && t.dscp_put.is_none()));
    world.assert_talking(&mut a, &mut b);
}

#[test]
fn r5_8_who_marks_nothing_loses_nothing() {
    let mut world = World::new(config());
    let mut a = Peer::plain("192.0.2.1:4000", 11);
    let mut b = Peer::plain("192.0.2.5:5000", 22);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    arrives_with(&world, LegId::CALLER, 0);
    let port = a.remote_rtcp.unwrap().port();
    for marks in [Marks::of_octets(None, Some(0)), Marks::of_octets(Some(0), Some(EF))] {
        let block = ReportBlock::default();
        let whole = [compound(11, None, block), marks.packet(11).to_vec()].concat();
        world.send(rtcp_addr(&a), port, &whole);
    }
    // Neither the phone's system nor this relay marks: there is nothing to be taken off. Marks that
    // somebody put on are another's.
    assert_eq!(lost_marks(&world), []);
}

#[test]
fn r5_9_reports_are_read_on_their_way_and_pass_untouched() {
    let mut world = marked();
    let mut a = Peer::plain("192.0.2.1:4000", 11);
    let mut b = Peer::plain("192.0.2.5:5000", 22);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    let before = legs(&world)[1].told.clone().map_or(0, |t| t.reports);

    let sender = SenderInfo { ntp: 0x1234_5678_9abc_def0, ..SenderInfo::default() };
    let from_a = compound(11, Some(sender), ReportBlock { ssrc: 22, ..ReportBlock::default() });
    let passed = world.send(rtcp_addr(&a), a.remote_rtcp.unwrap().port(), &from_a);
    assert_eq!(passed[0].bytes, from_a);
    world.advance(Duration::from_millis(230));
    // 150 ms of the 230 it lay at the peer's; 12 of the last packets did not come.
    let block = ReportBlock {
        ssrc: 11,
        fraction_lost: 64,
        cumulative_lost: 12,
        jitter: 80,
        last_sender_report: 0x5678_9abc,
        delay_since_last: 65_536 * 150 / 1000,
        ..ReportBlock::default()
    };
    let from_b = compound(22, None, block);
    let passed = world.send(rtcp_addr(&b), b.remote_rtcp.unwrap().port(), &from_b);
    assert_eq!(passed[0].bytes, from_b);

    let told = legs(&world)[1].told.clone().unwrap();
    assert_eq!((told.reports, told.lost, told.loss_percent), (before + 1, 12, 25.0));
    assert!((told.jitter_ms - 10.0).abs() < 0.01, "80 units of 8 kHz: {}", told.jitter_ms);
    let rtt = told.rtt_ms.unwrap();
    assert!((79.0..81.0).contains(&rtt), "{rtt}");
}
