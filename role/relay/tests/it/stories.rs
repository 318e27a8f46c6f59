//! Calls in virtual time: who hears whom, who may not.

use std::net::SocketAddr;
use std::time::Duration;

use media::keying::dtls::DtlsRole;
use proptest::prelude::*;
use relay::bridge::{BridgeEvent, LegId};
use relay::{Direction, Protocol};

use crate::peers::Peer;
use crate::virtual_net::{SESSION, World, config, description};

const MS: Duration = Duration::from_millis(1);

fn world() -> World {
    World::new(config())
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn plain_phones_talk() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    let started = |leg| BridgeEvent::MediaStarted(LegId(leg));
    assert_eq!(world.events, [started(0), started(1)]);
}

#[test]
fn plain_and_sdes_phones_talk_both_directions_of_the_call() {
    let mut world1 = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world1.connect(&mut a, &mut b, Protocol::Srtp);
    world1.assert_talking(&mut a, &mut b);
    let mut world2 = world();
    let (mut a, mut b) = (Peer::sdes("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    world2.connect(&mut a, &mut b, Protocol::Rtp);
    world2.assert_talking(&mut a, &mut b);
}

/// R5.10
#[test]
fn a_browser_and_an_sdes_phone_talk_whoever_calls() {
    let mut world1 = world();
    let mut a = Peer::sdes("192.0.2.1:4000", 1);
    let mut b = Peer::browser("192.0.2.2:5000", 2, world1.now);
    world1.connect(&mut a, &mut b, Protocol::WebRtc);
    world1.establish(&mut b);
    world1.assert_talking(&mut a, &mut b);

    let mut world2 = world();
    let mut a = Peer::browser("192.0.2.1:4000", 1, world2.now);
    let mut b = Peer::plain("192.0.2.2:5000", 2);
    world2.connect(&mut a, &mut b, Protocol::Rtp);
    world2.establish(&mut a);
    world2.assert_talking(&mut a, &mut b);
}

#[test]
fn a_browsers_handshake_may_run_before_its_answer_arrives() {
    let mut world = world();
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::browser("192.0.2.2:5000", 2, world.now);
    let offer = description(Direction::FromCaller, 1, &a.describe(None), Protocol::WebRtc);
    let offered = world.offer(&offer).unwrap();
    b.take(&offered, false);
    world.establish(&mut b);
    let early = b.rtp();
    assert!(world.send(b.addr, b.remote.unwrap().port(), &early).is_empty(), "not verified yet");
    let answer = b.describe(Some(&offered));
    let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    a.take(&world.answer(&answer).unwrap(), true);
    world.assert_talking(&mut a, &mut b);
}

#[test]
fn a_browser_whose_certificate_is_not_the_announced_one_is_not_heard() {
    let mut world = world();
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::browser("192.0.2.2:5000", 2, world.now);
    let offer = description(Direction::FromCaller, 1, &a.describe(None), Protocol::WebRtc);
    let offered = world.offer(&offer).unwrap();
    b.take(&offered, false);
    // The answer names another browser's certificate, as a thief of the signalling would.
    let other = Peer::browser("192.0.2.2:5000", 2, world.now).describe(Some(&offered));
    let answer = description(Direction::FromCallee, 1, &other, Protocol::Rtp);
    a.take(&world.answer(&answer).unwrap(), true);
    for _ in 0..20 {
        for bytes in b.poll(world.now) {
            let mut queue = vec![bytes];
            while let Some(bytes) = queue.pop() {
                for sent in world.send(b.addr, b.remote.unwrap().port(), &bytes) {
                    queue.extend(b.handle(world.now, &sent.bytes).unwrap_or_default());
                }
            }
        }
        world.advance(20 * MS);
    }
    assert!(world.events.contains(&BridgeEvent::HandshakeFailed(LegId(1))), "{:?}", world.events);
}

#[test]
fn a_browser_that_moves_is_followed_by_its_checks() {
    let mut world = world();
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::browser("192.0.2.2:5000", 2, world.now);
    world.connect(&mut a, &mut b, Protocol::WebRtc);
    world.establish(&mut b);
    world.assert_talking(&mut a, &mut b);
    world.advance(600 * MS);
    b.addr = addr("198.51.100.9:6000");
    b.renominate();
    for check in b.poll(world.now) {
        world.send(b.addr, b.remote.unwrap().port(), &check);
    }
    world.assert_talking(&mut a, &mut b);
    assert_eq!(world.control.query(world.now, SESSION).unwrap().legs[1].moves, 1);
}

#[test]
fn a_browser_that_stops_checking_is_not_sent_to() {
    let mut world = world();
    let mut a = Peer::plain("192.0.2.1:4000", 1);
    let mut b = Peer::browser("192.0.2.2:5000", 2, world.now);
    world.connect(&mut a, &mut b, Protocol::WebRtc);
    world.establish(&mut b);
    world.assert_talking(&mut a, &mut b);
    world.advance(Duration::from_secs(31));
    assert!(world.events.contains(&BridgeEvent::ConsentLost(LegId(1))));
    let packet = a.rtp();
    assert!(world.send(a.addr, a.remote.unwrap().port(), &packet).is_empty());
    b.renominate();
    for check in b.poll(world.now) {
        world.send(b.addr, b.remote.unwrap().port(), &check);
    }
    world.assert_heard(&mut a, &mut b);
}

/// R5.13: an injector on the right port is dropped and counted.
#[test]
fn injected_packets_are_refused_and_counted() {
    for secure in [false, true] {
        let mut world = world();
        let mut a = Peer::plain("192.0.2.1:4000", 1);
        let mut b = match secure {
            true => Peer::sdes("192.0.2.2:5000", 2),
            false => Peer::plain("192.0.2.2:5000", 2),
        };
        world.connect(&mut a, &mut b, if secure { Protocol::Srtp } else { Protocol::Rtp });
        world.assert_talking(&mut a, &mut b);
        let mut thief = Peer::plain("198.51.100.66:9", 2);
        thief.sequence = b.sequence;
        for _ in 0..1000 {
            let packet = thief.rtp();
            let sent = world.send(thief.addr, b.remote.unwrap().port(), &packet);
            assert!(sent.is_empty());
        }
        world.assert_talking(&mut a, &mut b);
        let leg = world.control.query(world.now, SESSION).unwrap().legs.remove(1);
        assert_eq!(leg.dropped_injected + leg.dropped_unauthenticated, 1000);
        assert_eq!(leg.moves, 0);
    }
}

#[test]
fn a_plain_phone_may_change_its_port_after_a_silence_only() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    a.addr = addr("192.0.2.1:4444");
    let packet = a.rtp();
    assert!(world.send(a.addr, a.remote.unwrap().port(), &packet).is_empty(), "too soon");
    world.advance(600 * MS);
    world.assert_talking(&mut a, &mut b);
    a.addr = addr("192.0.2.99:4444");
    world.advance(600 * MS);
    let packet = a.rtp();
    assert!(world.send(a.addr, a.remote.unwrap().port(), &packet).is_empty(), "another host");
}

#[test]
fn an_sdes_phone_is_followed_at_once() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    world.assert_talking(&mut a, &mut b);
    b.addr = addr("198.51.100.7:777");
    world.assert_talking(&mut b, &mut a);
}

#[test]
fn a_reoffer_keeps_ports_and_follows_the_new_address() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    world.assert_talking(&mut a, &mut b);
    let before = (a.remote, b.remote);
    a.addr = addr("198.51.100.7:7000");
    world.connect(&mut a, &mut b, Protocol::Srtp);
    assert_eq!((a.remote, b.remote), before);
    world.assert_talking(&mut a, &mut b);
    assert_eq!(world.control.ports().in_use(), 2);
}

#[test]
fn an_sdes_session_goes_on_after_a_reoffer_with_the_same_keys() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    for _ in 0..70_000 {
        world.assert_heard(&mut a, &mut b);
    }
    let reoffer = description(Direction::FromCaller, 1, &a.describe(None), Protocol::Srtp);
    let offered = world.offer(&reoffer).unwrap();
    let answer = b.describe(Some(&offered));
    let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    world.answer(&answer).unwrap();
    // Neither side made a new context: the rollover counter is past its first wrap.
    world.assert_talking(&mut a, &mut b);
}

#[test]
fn a_source_that_starts_its_numbers_again_is_heard_within_four_packets() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    a.sequence = 20_000;
    world.assert_talking(&mut a, &mut b);
    a.sequence = 10_000;
    for _ in 0..3 {
        let packet = a.rtp();
        world.send(a.addr, a.remote.unwrap().port(), &packet);
    }
    for _ in 0..300 {
        world.assert_heard(&mut a, &mut b);
    }
}

#[test]
fn only_the_branch_that_answered_last_is_joined() {
    let mut world = world();
    let mut caller = Peer::plain("192.0.2.1:4000", 1);
    let mut callees = [Peer::plain("192.0.2.2:5000", 2), Peer::sdes("192.0.2.3:5000", 3)];
    let protocols = [Protocol::Rtp, Protocol::Srtp];
    let mut offers = Vec::new();
    for (n, protocol) in (1..).zip(protocols) {
        let d = description(Direction::FromCaller, n, &caller.describe(None), protocol);
        offers.push(world.offer(&d).unwrap());
    }
    for (n, callee) in callees.iter_mut().enumerate() {
        callee.take(&offers[n], false);
        let answer = callee.describe(Some(&offers[n]));
        let d = description(Direction::FromCallee, n as u32 + 1, &answer, Protocol::Rtp);
        caller.take(&world.answer(&d).unwrap(), true);
        world.assert_talking(&mut caller, callee);
    }
    let packet = callees[0].rtp();
    let sent = world.send(callees[0].addr, callees[0].remote.unwrap().port(), &packet);
    assert!(sent.is_empty(), "the early branch is not heard any more");
    world.control.delete(world.now, SESSION, Some(1)).unwrap();
    world.assert_talking(&mut caller, &mut callees[1]);
    assert_eq!(world.control.ports().in_use(), 2);
}

#[test]
fn silence_is_reported_once_not_on_hold_and_again_after_media() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    let count =
        |world: &World| world.events.iter().filter(|e| **e == BridgeEvent::MediaSilent).count();
    world.advance(Duration::from_secs(19));
    assert_eq!(count(&world), 0);
    world.advance(Duration::from_secs(2));
    world.advance(Duration::from_secs(60));
    assert_eq!(count(&world), 1);
    world.assert_heard(&mut a, &mut b);
    assert_eq!(world.events.last(), Some(&BridgeEvent::MediaStarted(LegId::CALLER)));

    let hold = String::from_utf8(a.describe(None)).unwrap().replace("a=sendrecv", "a=sendonly");
    let d = description(Direction::FromCaller, 1, hold.as_bytes(), Protocol::Rtp);
    let offered = world.offer(&d).unwrap();
    assert!(String::from_utf8(offered.clone()).unwrap().contains("a=sendonly"));
    let answer = String::from_utf8(b.describe(None)).unwrap().replace("sendrecv", "recvonly");
    let d = description(Direction::FromCallee, 1, answer.as_bytes(), Protocol::Rtp);
    world.answer(&d).unwrap();
    for _ in 0..100 {
        world.advance(Duration::from_secs(5));
    }
    assert_eq!(count(&world), 1, "held: silence is wanted");
    world.connect(&mut a, &mut b, Protocol::Rtp);
    // Timers that are due are looked at at once.
    world.advance(MS);
    assert_eq!(count(&world), 1, "counted from the end of the hold");
    world.advance(Duration::from_secs(21));
    assert_eq!(count(&world), 2);
}

/// Whoever held the call and died left it behind: it ends as well, later.
#[test]
fn a_held_call_is_borne_in_silence_for_its_own_time() {
    let config = relay::Config { held_silence_s: 100, ..config() };
    let mut world = World::new(config);
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.assert_talking(&mut a, &mut b);
    let text = String::from_utf8(a.describe(None)).unwrap().replace("sendrecv", "sendonly");
    let hold = description(Direction::FromCaller, 1, text.as_bytes(), Protocol::Rtp);
    let offered = world.offer(&hold).unwrap();
    let answer = b.describe(Some(&offered));
    world.answer(&description(Direction::FromCallee, 1, &answer, Protocol::Rtp)).unwrap();
    world.events.clear();
    let silent_after = |world: &mut World, most: u32| {
        (1..=most).find(|_| {
            world.advance(MS * 1000);
            world.events.contains(&BridgeEvent::MediaSilent)
        })
    };
    assert_eq!(silent_after(&mut world, 90), None);
    // Music on hold: it is somebody's call.
    world.assert_heard(&mut a, &mut b);
    let after = silent_after(&mut world, 200).expect("it ends");
    assert!((100..=122).contains(&after), "{after}");
}

#[test]
fn statistics_count_what_passed() {
    let mut world = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    for n in 0..50 {
        if n == 20 {
            a.sequence += 5;
        }
        world.assert_heard(&mut a, &mut b);
        world.advance(20 * MS);
    }
    let stats = world.control.query(world.now, SESSION).unwrap();
    let (caller, callee) = (&stats.legs[0], &stats.legs[1]);
    assert!(stats.answered);
    assert_eq!(
        (caller.packets_received, caller.lost, caller.codec.as_deref()),
        (50, 5, Some("PCMU"))
    );
    assert_eq!((callee.packets_sent, callee.packets_received), (50, 0));
    assert_eq!((caller.bytes_received, callee.bytes_sent), (50 * 172, 50 * 182));
    assert_eq!(caller.last_packet_ms, Some(20));
    assert_eq!(callee.remote, Some(b.addr));
    assert_eq!((caller.branch, callee.branch), (None, Some(1)));
}

/// RFC 3264 §5.1: each side sends with the numbers of the other's description.
#[test]
fn the_codec_is_known_when_the_sides_number_it_differently() {
    let mut world = world();
    let sdp = |ip: &str, port: u16, number: u8, more: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {number}{more}\r\na=rtpmap:{number} opus/48000/2\r\n"
        )
    };
    let offer = sdp("192.0.2.1", 4000, 111, " 8");
    let d = description(Direction::FromCaller, 1, offer.as_bytes(), Protocol::Rtp);
    let offered = world.offer(&d).unwrap();
    let answer = sdp("192.0.2.2", 5000, 96, "");
    let d = description(Direction::FromCallee, 1, answer.as_bytes(), Protocol::Rtp);
    let answered = world.answer(&d).unwrap();
    for (from, number, sdp) in
        [("192.0.2.1:4000", 96, &answered), ("192.0.2.2:5000", 111, &offered)]
    {
        let port = sdp::Session::parse(sdp).unwrap().media()[0].port();
        let header = rtp::Header { payload_type: number, ssrc: 1, ..Default::default() };
        let mut buf = [0; 40];
        let len = rtp::write_packet(&mut buf, &header, &[1; 20]).unwrap();
        assert_eq!(world.send(addr(from), port, &buf[..len]).len(), 1);
    }
    let stats = world.control.query(world.now, SESSION).unwrap();
    for (leg, number) in stats.legs.iter().zip([96, 111]) {
        assert_eq!((leg.codec.as_deref(), leg.payload_type), (Some("opus"), Some(number)));
    }
}

#[test]
fn garbage_on_a_media_port_is_dropped() {
    let mut world = world();
    let (mut a, mut b) =
        (Peer::plain("192.0.2.1:4000", 1), Peer::browser("192.0.2.2:5000", 2, world.now));
    world.connect(&mut a, &mut b, Protocol::WebRtc);
    let ports = [a.remote.unwrap().port(), a.remote.unwrap().port() + 1, b.remote.unwrap().port()];
    for first in 0..=255_u8 {
        for len in [0, 1, 2, 7, 12, 13, 28, 100] {
            let bytes: Vec<u8> =
                (0..len).map(|i| first.wrapping_add((i as u8).wrapping_mul(7))).collect();
            for port in ports {
                world.send(addr("198.51.100.1:1"), port, &bytes);
            }
        }
    }
    world.establish(&mut b);
    // The garbage that looked like RTP was learned from on the plain leg; the phone's own address,
    // named in its SDP, takes over.
    world.assert_talking(&mut a, &mut b);
}

/// R5.4: the two ends agree on keys by ZRTP through a relay that has none; what they encrypt then
/// passes as it is, and a stranger's packet does not.
#[test]
fn r5_4_zrtp_passes_untouched_between_legs_in_clear() {
    let mut hello = vec![0x10, 0, 0, 9, b'Z', b'R', b'T', b'P', 0, 0, 0, 1, 0x50, 0x5a];
    hello.extend(0..100);
    let passes = |world: &mut World, from: &Peer, to: &Peer, source: SocketAddr| {
        let sent = world.send(source, from.remote.unwrap().port(), &hello);
        let whole = |s: &crate::virtual_net::Sent| s.to == to.addr && s.bytes == hello;
        sent.len() == 1 && whole(&sent[0]) && sent[0].from_port == to.remote.unwrap().port()
    };
    let mut plain = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    plain.connect(&mut a, &mut b, Protocol::Rtp);
    assert!(passes(&mut plain, &a, &b, a.addr), "before any RTP");
    plain.assert_talking(&mut a, &mut b);
    assert!(passes(&mut plain, &a, &b, a.addr) && passes(&mut plain, &b, &a, b.addr));
    assert!(!passes(&mut plain, &a, &b, addr("198.51.100.66:4000")), "a stranger");
    let mut cookie = hello.clone();
    cookie[4] = b'S';
    assert!(plain.send(a.addr, a.remote.unwrap().port(), &cookie).is_empty());

    let mut keyed = world();
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    keyed.connect(&mut a, &mut b, Protocol::Srtp);
    keyed.assert_talking(&mut a, &mut b);
    assert!(!passes(&mut keyed, &a, &b, a.addr) && !passes(&mut keyed, &b, &a, b.addr));
}

/// R5.4: what an end says of its ZRTP (RFC 6189 §8) reaches the other.
#[test]
fn r5_4_the_hash_of_a_hello_crosses_in_sdp() {
    let mut world = world();
    let (a, _) = (Peer::plain("192.0.2.1:4000", 1), ());
    let line = "a=zrtp-hash:1.10 fe30efd02423cb054e50efd0248742ac7a52c8f91bc2df881ae642c371ba46df";
    let offer = [a.describe(None), format!("{line}\r\n").into_bytes()].concat();
    let d = description(Direction::FromCaller, 1, &offer, Protocol::Rtp);
    let offered = String::from_utf8(world.offer(&d).unwrap()).unwrap();
    assert!(offered.contains(line), "{offered}");
    let d = relay::Description { toward: relay::LegProfile::new(Protocol::Srtp), branch: 2, ..d };
    let offered = String::from_utf8(world.offer(&d).unwrap()).unwrap();
    assert!(!offered.contains("zrtp"), "a leg that we key has none: {offered}");
}

/// R5.3: DTLS without ICE, in either role, offered and answered.
#[test]
fn dtls_phones_without_ice_talk_in_either_role() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut world1 = world();
        let mut a = Peer::plain("192.0.2.1:4000", 1);
        let mut b = Peer::dtls_phone("192.0.2.2:5000", 2, world1.now, role);
        world1.connect(&mut a, &mut b, Protocol::WebRtc);
        world1.establish(&mut b);
        world1.assert_talking(&mut a, &mut b);

        let mut world2 = world();
        let mut a = Peer::dtls_phone("192.0.2.1:4000", 1, world2.now, role);
        let mut b = Peer::sdes("192.0.2.2:5000", 2);
        world2.connect(&mut a, &mut b, Protocol::Srtp);
        world2.establish(&mut a);
        world2.assert_talking(&mut a, &mut b);
    }
}

#[test]
fn keys_beside_plain_rtp_are_taken_up() {
    let mut world = world();
    let (mut a, mut b) = (Peer::sdes("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    let offer = description(Direction::FromCaller, 1, &a.describe_opportunistic(), Protocol::Rtp);
    b.take(&world.offer(&offer).unwrap(), false);
    let answer = description(Direction::FromCallee, 1, &b.describe(None), Protocol::Rtp);
    let answered = world.answer(&answer).unwrap();
    assert!(String::from_utf8_lossy(&answered).contains(" RTP/AVP "));
    a.take(&answered, true);
    world.assert_talking(&mut a, &mut b);
}

#[test]
fn an_ice_restart_gets_new_credentials_and_the_call_goes_on() {
    let mut world = world();
    let mut a = Peer::browser("192.0.2.1:4000", 1, world.now);
    let mut b = Peer::plain("192.0.2.2:5000", 2);
    world.connect(&mut a, &mut b, Protocol::Rtp);
    world.establish(&mut a);
    world.assert_talking(&mut a, &mut b);
    world.advance(600 * MS);
    let before = a.told_by_ice();
    a.addr = addr("198.51.100.9:6000");
    a.restart_ice();
    world.connect(&mut a, &mut b, Protocol::Rtp);
    let after = a.told_by_ice();
    let differ = before.as_ref().zip(after.as_ref()).is_some_and(|(b, a)| b.0 != a.0 && b.1 != a.1);
    assert!(differ, "both are new: {before:?}, {after:?}");
    for check in a.poll(world.now) {
        for sent in world.send(a.addr, a.remote.unwrap().port(), &check) {
            a.handle(world.now, &sent.bytes);
        }
    }
    world.assert_talking(&mut a, &mut b);
    // The old ones served until then, and are good for nothing any more.
    a.believe_ice(before);
    a.renominate();
    let refused = a.poll(world.now);
    assert!(!refused.is_empty());
    for check in refused {
        for sent in world.send(a.addr, a.remote.unwrap().port(), &check) {
            assert_ne!(sent.bytes[..2], [1, 1], "no success");
        }
    }
}

#[test]
fn hold_passes_through_a_browser_call_and_back() {
    let mut world = world();
    let mut a = Peer::browser("192.0.2.1:4000", 1, world.now);
    let mut b = Peer::sdes("192.0.2.2:5000", 2);
    world.connect(&mut a, &mut b, Protocol::Srtp);
    world.establish(&mut a);
    let hold = String::from_utf8(a.describe(None)).unwrap().replace("a=sendrecv", "a=sendonly");
    let d = description(Direction::FromCaller, 1, hold.as_bytes(), Protocol::Srtp);
    let offered = world.offer(&d).unwrap();
    let answer = [b.describe(Some(&offered)), b"a=recvonly\r\n".to_vec()].concat();
    let d = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    let answered = String::from_utf8(world.answer(&d).unwrap()).unwrap();
    assert!(answered.contains("a=recvonly") && answered.contains("a=setup:passive"));
    assert!(world.control.query(world.now, SESSION).unwrap().legs[0].held);
    world.connect(&mut a, &mut b, Protocol::Srtp);
    world.assert_talking(&mut a, &mut b);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever arrives at whichever port, nothing panics and nothing foreign is passed on.
    #[test]
    fn any_packets_are_taken_without_panic(
        packets in prop::collection::vec(
            (0..4_usize, any::<bool>(), prop::collection::vec(any::<u8>(), 0..120)), 0..60),
    ) {
        let mut world = world();
        let mut a = Peer::sdes("192.0.2.1:4000", 1);
        let mut b = Peer::browser("192.0.2.2:5000", 2, world.now);
        world.connect(&mut a, &mut b, Protocol::WebRtc);
        let (a_port, b_port) = (a.remote.unwrap().port(), b.remote.unwrap().port());
        for (port, rtp_like, mut bytes) in packets {
            if let (true, Some(first)) = (rtp_like, bytes.first_mut()) {
                *first = 0x80 | (*first & 0x3f);
            }
            let port = [a_port, a_port + 1, b_port, b_port + 1][port];
            prop_assert!(world.send(addr("198.51.100.1:1"), port, &bytes).is_empty());
        }
        world.establish(&mut b);
        world.assert_talking(&mut a, &mut b);
    }

    /// Any description is refused or rewritten, and every refusal leaves no port open.
    #[test]
    fn any_description_is_answered_or_refused(
        lines in prop::collection::vec("[a-z]=[ -~]{0,40}", 0..12), tail in "[ -~]{0,60}",
    ) {
        let mut world = world();
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n";
        let media = "m=audio 4000 RTP/SAVPF 0 96\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:";
        let sdp = format!("{head}{}\r\n{media}{tail}\r\n", lines.join("\r\n"));
        for sdp in [sdp.as_str(), &lines.join("\r\n")] {
            let d = description(Direction::FromCaller, 1, sdp.as_bytes(), Protocol::WebRtc);
            if world.offer(&d).is_err() {
                prop_assert_eq!(world.control.ports().in_use(), 0);
            }
            let d = description(Direction::FromCallee, 1, sdp.as_bytes(), Protocol::WebRtc);
            let _ = world.answer(&d);
            world.control.delete(world.now, SESSION, None);
        }
    }
}
