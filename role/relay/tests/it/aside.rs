//! What the relay adds to a call: sound and digits of its own, and third parties who hear a copy.

use std::time::Duration;

use audio::{Tone, Wav, g711, level};
use relay::bridge::{BridgeEvent, Rounds};
use relay::control::{LISTENERS_MAX, Wanted};
use relay::{Direction, LegProfile, Protocol, RelayError};
use rtp::Header;
use rtp::dtmf::EventPayload;
use sdp::Session;

use crate::peers::Peer;
use crate::virtual_net::{SESSION, Sent, World, config, description};

const FRAME: Duration = Duration::from_millis(20);
const CALLER: Option<u32> = None;
const CALLEE: Option<u32> = Some(1);

fn tone(ms: u32) -> Wav {
    Wav::mono(8000, Tone::new(440.0, 8000, 8000.0).take(ms as usize * 8).collect())
}

/// A plain caller and an SDES callee who talk.
fn call() -> (World, Peer, Peer) {
    let mut world = World::new(config());
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::sdes("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Srtp);
    world.assert_talking(&mut a, &mut b);
    (world, a, b)
}

/// What reaches `peer` of these packets.
fn heard(peer: &mut Peer, sent: &[Sent]) -> Vec<(Header, Vec<u8>)> {
    let addr = peer.addr;
    let own = sent.iter().filter(|s| s.to == addr);
    own.map(|s| peer.open(&s.bytes).expect("a whole packet")).collect()
}

fn say(world: &mut World, peer: &mut Peer) -> Vec<Sent> {
    let packet = peer.rtp();
    world.send(peer.addr, peer.remote.unwrap().port(), &packet)
}

#[test]
fn ng_sound_is_played_in_place_of_what_the_other_says_and_then_no_more() {
    let (mut world, mut a, mut b) = call();
    let sound = tone(200);
    world.control.play(world.now, SESSION, CALLEE, (&sound, Rounds::default())).unwrap();
    let (mut played, mut samples) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        world.advance(FRAME);
        assert!(heard(&mut b, &say(&mut world, &mut a)).is_empty(), "what plays has the callee");
        let back = say(&mut world, &mut b);
        assert_eq!(heard(&mut a, &back).len(), 1, "the caller hears on");
        let unasked = std::mem::take(&mut world.unasked);
        played.extend(heard(&mut b, &unasked));
    }
    world.advance(FRAME);
    let unasked = std::mem::take(&mut world.unasked);
    played.extend(heard(&mut b, &unasked));
    assert_eq!(played.len(), 10);
    for (n, (header, payload)) in (0_u32..).zip(&played) {
        assert_eq!((header.payload_type, header.marker), (0, n == 0));
        assert_eq!(header.timestamp.wrapping_sub(played[0].0.timestamp), 160 * n);
        assert_ne!(header.ssrc, a.ssrc, "a stream of its own");
        samples.extend(payload.iter().map(|byte| g711::decode_ulaw(*byte)));
    }
    assert!((level::dbov(&samples) - level::dbov(&sound.samples)).abs() < 0.5);
    world.advance(FRAME);
    assert!(world.unasked.is_empty());
    world.assert_talking(&mut a, &mut b);
}

#[test]
fn ng_sound_is_repeated_until_it_is_stopped() {
    let (mut world, _, mut b) = call();
    let rounds = Rounds { times: u32::MAX, within: None };
    world.control.play(world.now, SESSION, CALLEE, (&tone(40), rounds)).unwrap();
    for _ in 0..100 {
        world.advance(FRAME);
    }
    let unasked = std::mem::take(&mut world.unasked);
    assert!((99..=101).contains(&heard(&mut b, &unasked).len()));
    assert!(world.control.stop_playing(SESSION, CALLEE));
    assert!(!world.control.stop_playing(SESSION, CALLEE));
    world.advance(FRAME);
    assert!(world.unasked.is_empty());
    let refused = world.control.play(world.now, SESSION, Some(9), (&tone(40), rounds));
    assert_eq!(refused, Err(RelayError::NoParty));
    // A session that ends ends what plays.
    world.control.play(world.now, SESSION, CALLER, (&tone(40), rounds)).unwrap();
    world.control.delete(world.now, SESSION, None).unwrap();
    assert_eq!(world.control.ports().in_use(), 0);
}

/// A digit in a stream that passed as it came: its packets go on without a jump, before, within and
/// after, and after a re-offer too.
#[test]
fn ng_a_digit_goes_between_the_packets_of_a_stream_that_passes() {
    let (mut world, mut a, mut b) = call();
    let mut all = Vec::new();
    let mut talk = |world: &mut World, a: &mut Peer, b: &mut Peer, frames: usize| {
        for _ in 0..frames {
            world.advance(FRAME);
            let sent = say(world, a);
            let unasked = std::mem::take(&mut world.unasked);
            all.extend(heard(b, &unasked).into_iter().chain(heard(b, &sent)));
        }
    };
    talk(&mut world, &mut a, &mut b, 5);
    assert!(world.control.inject_digit(world.now, SESSION, CALLER, ('5', 200)));
    talk(&mut world, &mut a, &mut b, 20);
    let again = description(Direction::FromCaller, 1, &a.describe(None), Protocol::Srtp);
    let offered = world.offer(&again).unwrap();
    b.take(&offered, false);
    let answer = b.describe(Some(&offered));
    let answered = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    world.answer(&answered).unwrap();
    talk(&mut world, &mut a, &mut b, 5);
    let numbers: Vec<u16> = all.iter().map(|(h, _)| h.sequence).collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1)), "{numbers:?}");
    assert!(all.iter().all(|(header, _)| header.ssrc == a.ssrc));
    let events: Vec<_> = all.iter().filter(|(h, _)| h.payload_type == 101).collect();
    assert!(events[0].0.marker && events.len() >= 10, "{}", events.len());
    let last = EventPayload::parse(&events.last().unwrap().1).unwrap();
    assert_eq!((last.event, last.end), (5, true));
    assert!((1_440..=1_920).contains(&last.duration), "{last:?}");
    let before = events[0].0.timestamp;
    assert!(events.iter().all(|(header, _)| header.timestamp == before), "one event");
    assert!(all.last().unwrap().0.payload_type == 0, "sound goes on");
}

#[test]
fn ng_a_digit_is_a_tone_where_the_other_side_knows_no_events() {
    let mut world = World::new(config());
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    let without = |sdp: Vec<u8>| {
        let text = String::from_utf8(sdp).unwrap();
        text.lines()
            .filter(|l| !l.contains(":101 "))
            .map(|l| format!("{l}\r\n"))
            .collect::<String>()
            .replace(" 0 101", " 0")
    };
    let offer = without(a.describe(None));
    let offer = description(Direction::FromCaller, 1, offer.as_bytes(), Protocol::Rtp);
    let offered = world.offer(&offer).unwrap();
    assert!(!world.control.inject_digit(world.now, SESSION, CALLER, ('7', 200)), "no answer yet");
    b.take(&offered, false);
    let answer = without(b.describe(Some(&offered)));
    let answer = description(Direction::FromCallee, 1, answer.as_bytes(), Protocol::Rtp);
    let answered = world.answer(&answer).unwrap();
    a.take(&answered, true);
    say(&mut world, &mut a);
    assert!(world.control.inject_digit(world.now, SESSION, CALLER, ('7', 200)));
    let mut detector = audio::dtmf::ToneDetector::new();
    let (mut digits, mut samples) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        world.advance(FRAME);
        for (_, payload) in heard(&mut b, &say(&mut world, &mut a)) {
            samples.extend(payload.iter().map(|byte| g711::decode_ulaw(*byte)));
        }
    }
    detector.process(&samples, |event| digits.push(event));
    assert!(format!("{digits:?}").contains("'7'"), "{digits:?}");
}

fn both() -> [Wanted; 2] {
    let wanted = |source, label: &str| Wanted { source, label: Some(label.to_owned()) };
    [wanted(CALLER, "1"), wanted(CALLEE, "2")]
}

fn subscribe(world: &mut World, wanted: &[Wanted], protocol: Protocol) -> (u32, Vec<u8>) {
    let profile = LegProfile::new(protocol);
    let (number, offer) = world.control.subscribe(world.now, SESSION, wanted, &profile).unwrap();
    (number, offer.to_vec())
}

/// A third party over SDES hears the plain caller; what it sends itself reaches nobody and keeps no
/// call alive.
#[test]
fn ng_a_third_party_hears_a_copy_and_is_heard_by_nobody() {
    let (mut world, mut a, mut b) = call();
    let mut ear = Peer::sdes("192.0.2.9:7000", 9);
    let (number, offer) = subscribe(&mut world, &both()[..1], Protocol::Srtp);
    let text = String::from_utf8_lossy(&offer).into_owned();
    assert!(text.contains("a=sendonly") && text.contains("a=label:1"), "{text}");
    assert!(text.contains("RTP/SAVP 0 101") && text.contains("a=rtpmap:101 telephone-event/8000"));
    ear.take(&offer, false);
    assert!(heard(&mut ear, &say(&mut world, &mut a)).is_empty(), "not before its answer");
    let answer = ear.describe(Some(&offer));
    world.control.subscribe_answer(world.now, SESSION, number, &answer).unwrap();
    // What an answer is made of twice is said twice.
    world.control.subscribe_answer(world.now, SESSION, number, &answer).unwrap();
    for _ in 0..3 {
        let sent = say(&mut world, &mut a);
        let copies: Vec<u32> = heard(&mut ear, &sent).iter().map(|(h, _)| h.ssrc).collect();
        assert_eq!(copies, [a.ssrc], "once");
        assert_eq!(sent.iter().filter(|s| s.to == b.addr).count(), 1, "the callee hears on");
        assert!(say(&mut world, &mut b).iter().all(|s| s.to != ear.addr), "of the caller alone");
    }
    let report = a.rtcp();
    let from = "192.0.2.1:4001".parse().unwrap();
    let sent = world.send(from, a.remote_rtcp.unwrap().port(), &report);
    let copy = sent.iter().find(|s| s.to.port() == 7001).expect("its reports too");
    assert_eq!(ear.open_rtcp(&copy.bytes), Some(a.ssrc));

    // Its own packets: for longer than silence is borne.
    world.events.clear();
    for _ in 0..30 {
        assert!(say(&mut world, &mut ear).is_empty());
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(world.events, [BridgeEvent::MediaSilent]);

    let ports = world.control.ports().in_use();
    assert!(world.control.unsubscribe(SESSION, number));
    assert!(!world.control.unsubscribe(SESSION, number));
    assert_eq!(world.control.ports().in_use(), ports - 1);
    assert!(say(&mut world, &mut a).iter().all(|s| s.to != ear.addr));
}

#[test]
fn ng_two_streams_of_a_subscription_pause_and_end_with_their_call() {
    let (mut world, mut a, mut b) = call();
    let (number, offer) = subscribe(&mut world, &both(), Protocol::Rtp);
    let offered = Session::parse(&offer).unwrap();
    assert_eq!(offered.media().len(), 2);
    let ports: Vec<u16> = offered.media().iter().map(|m| m.port()).collect();
    assert!(ports[0] != ports[1] && ports.iter().all(|p| *p >= 10_000), "{ports:?}");
    let answer = |direction: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
             m=audio 7000 RTP/AVP 0 101\r\na={direction}\r\n\
             m=audio 7002 RTP/AVP 0 101\r\na={direction}\r\n"
        )
    };
    let mut copied = |world: &mut World| {
        let sent: Vec<Sent> = say(world, &mut a).into_iter().chain(say(world, &mut b)).collect();
        let ports: Vec<u16> = sent.iter().map(|s| s.to.port()).collect();
        [7000, 7002].map(|port| ports.iter().filter(|p| **p == port).count())
    };
    for (direction, expected) in [("recvonly", 1), ("inactive", 0), ("recvonly", 1)] {
        let answer = answer(direction);
        world.control.subscribe_answer(world.now, SESSION, number, answer.as_bytes()).unwrap();
        assert_eq!(copied(&mut world), [expected; 2], "{direction}");
    }
    assert_eq!(world.control.ports().in_use(), 4);
    world.control.delete(world.now, SESSION, None).unwrap();
    assert_eq!(world.control.ports().in_use(), 0);
    let gone =
        world.control.subscribe_answer(world.now, SESSION, number, answer("recvonly").as_bytes());
    assert_eq!(gone, Err(RelayError::NoParty));
}

#[test]
fn ng_as_many_listen_as_may_and_what_is_refused_leaves_no_port() {
    let (mut world, ..) = call();
    let profile = LegProfile::new(Protocol::Rtp);
    for _ in 0..LISTENERS_MAX / 2 {
        subscribe(&mut world, &both(), Protocol::Rtp);
    }
    let before = world.control.ports().in_use();
    let refused = world.control.subscribe(world.now, SESSION, &both(), &profile);
    assert_eq!(refused.unwrap_err(), RelayError::TooManyListeners(LISTENERS_MAX));
    let nobody = [both()[0].clone(), Wanted { source: Some(7), label: None }];
    let (mut fresh, ..) = call();
    let refused = fresh.control.subscribe(fresh.now, SESSION, &nobody, &profile);
    assert_eq!(refused.unwrap_err(), RelayError::NoParty);
    assert_eq!((world.control.ports().in_use(), fresh.control.ports().in_use()), (before, 2));
}

/// A browser that subscribes is offered ICE and DTLS, and hears once its handshake is done.
#[test]
fn ng_a_browser_may_be_the_third_party() {
    let (mut world, mut a, _) = call();
    let mut ear = Peer::browser("192.0.2.9:7000", 9, world.now);
    let (number, offer) = subscribe(&mut world, &both()[..1], Protocol::WebRtc);
    ear.take(&offer, false);
    let answer = ear.describe(Some(&offer));
    let answer = String::from_utf8(answer).unwrap().replace("a=sendrecv", "a=recvonly");
    world.control.subscribe_answer(world.now, SESSION, number, answer.as_bytes()).unwrap();
    world.establish(&mut ear);
    let sent = say(&mut world, &mut a);
    let copy = sent.iter().find(|s| s.to == ear.addr).expect("a copy");
    assert_eq!(ear.open_rtp(&copy.bytes), Some(a.ssrc));
}

/// The kernel forwards plain streams by itself (0115), but copies and plays nothing.
#[test]
fn ng_streams_with_a_listener_or_a_player_stay_out_of_the_kernel() {
    let mut world = World::new(config());
    let (mut a, mut b) = (Peer::plain("192.0.2.1:4000", 1), Peer::plain("192.0.2.2:5000", 2));
    world.connect(&mut a, &mut b, Protocol::Rtp);
    for _ in 0..10 {
        world.assert_talking(&mut a, &mut b);
    }
    let for_the_kernel = |world: &World| {
        let mut count = 0;
        let bridge = world.control.bridge(SESSION).unwrap();
        let mut bridge = bridge.lock();
        for (leg, port) in [(0, 10_000), (1, 10_002)] {
            let at = std::net::SocketAddr::from(([10, 0, 0, 1], port));
            bridge.leg_mut(relay::bridge::LegId(leg)).unwrap().source = Some(at);
        }
        bridge.open_streams(&mut |_| {
            count += 1;
            None
        });
        count
    };
    assert_eq!(for_the_kernel(&world), 2);
    let (number, offer) = subscribe(&mut world, &both()[..1], Protocol::Rtp);
    let ear = Peer::plain("192.0.2.9:7000", 9);
    let answer = ear.describe(Some(&offer));
    world.control.subscribe_answer(world.now, SESSION, number, &answer).unwrap();
    assert_eq!(for_the_kernel(&world), 0, "somebody listens");
    world.control.unsubscribe(SESSION, number);
    assert_eq!(for_the_kernel(&world), 2);
    world.control.play(world.now, SESSION, CALLEE, (&tone(200), Rounds::default())).unwrap();
    assert_eq!(for_the_kernel(&world), 0, "something plays");
    assert!(world.control.stop_playing(SESSION, CALLEE));
    assert_eq!(for_the_kernel(&world), 2);
    assert!(world.control.inject_digit(world.now, SESSION, CALLER, ('1', 100)));
    assert_eq!(for_the_kernel(&world), 1, "the way that has digits is renumbered");
}
