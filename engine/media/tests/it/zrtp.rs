//! R5.4: two sessions agree on keys between themselves.

use std::time::Duration;

use audio::CodecKind;
use media::{Config, MediaError, MediaEvent, Security, ZrtpIdentity};
use rtp::RtpPacket;
use rtp::zrtp::{Secured, Trust, Zid};
use sansio::SeededEntropy;

use crate::wire::{Path, Wire, config, frequency};

const CODECS: [CodecKind; 1] = [CodecKind::Pcmu];
const SECOND: Duration = Duration::from_secs(1);

fn wire(seed: u64, security: [Security; 2]) -> Wire {
    let of = |side: usize| Config {
        zrtp: Some(identity(side)),
        ..config(side, &CODECS, security[side])
    };
    Wire::new(seed, [of(0), of(1)])
}

fn identity(side: usize) -> ZrtpIdentity {
    let zid = Zid([side as u8 + 1; 12]);
    ZrtpIdentity { zid, ..ZrtpIdentity::new(&mut SeededEntropy::new(1)) }
}

/// 400 and 600 Hz.
fn tones() -> impl FnMut(usize, &mut [i16; 960]) {
    let mut phase = [0.0_f64; 2];
    move |side, out| {
        let hertz = [400.0, 600.0][side];
        for sample in out {
            phase[side] += hertz * std::f64::consts::TAU / 48_000.0;
            *sample = (phase[side].sin() * 8_000.0) as i16;
        }
    }
}

fn secured(events: &[MediaEvent]) -> Secured {
    let found = events.iter().find_map(|event| match event {
        MediaEvent::Secured(secured) => Some(*secured),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("not secured: {events:?}"))
}

fn talks(wire: &Wire) {
    for (side, hertz) in [(0, 600.0), (1, 400.0)] {
        let heard = &wire.heard[side];
        let heard = frequency(&heard[heard.len() - 48_000..]);
        assert!((heard - hertz).abs() < 5.0, "side {side} hears {heard} Hz");
    }
}

/// Packets of RTP of one side, their payloads as G.711, as loud as the loudest sample.
fn loudest_in_clear(packets: &[(usize, Vec<u8>)]) -> i16 {
    let mut decoder = CodecKind::Pcmu.decoder().unwrap();
    let mut sound = Vec::new();
    for (_, bytes) in packets.iter().filter(|(_, b)| rtp::kind(b) == rtp::PacketKind::Rtp) {
        let packet = RtpPacket::parse(bytes).unwrap();
        if packet.payload().len() == 160 {
            decoder.decode(packet.payload(), &mut sound).unwrap();
        }
    }
    sound.iter().map(|s| s.saturating_abs()).max().unwrap_or(0)
}

/// Nothing is said in clear before there are keys, and both hear each other with them; over a path
/// that loses.
#[test]
fn r5_4_two_sessions_talk_under_keys_of_their_own_and_say_nothing_before() {
    for seed in 1..6 {
        let mut wire = wire(seed, [Security::Zrtp; 2]);
        wire.path = Path { delay_ms: 20, jitter_ms: 15, loss_percent: 5 };
        wire.connect();
        let mut voices = tones();
        while !(wire.alice.is_secure() && wire.bob.is_secure()) {
            wire.run(Duration::from_millis(1), &mut voices);
            assert!(wire.now < sansio::testing::epoch() + 9 * SECOND, "no keys");
        }
        assert!(loudest_in_clear(&wire.seen) < 16, "only silence before the keys");
        wire.path.loss_percent = 0;
        wire.run(3 * SECOND, &mut voices);
        talks(&wire);
        let (a, b) = (secured(&wire.events[0]), secured(&wire.events[1]));
        assert_eq!((a.sas, a.trust), (b.sas, Trust::FirstContact));
        assert_eq!((a.peer, b.peer), (Zid([2; 12]), Zid([1; 12])));
        assert_eq!(wire.kept.each_ref().map(Vec::len), [1, 1]);
    }
}

/// Before there are keys no digit is sent either: it would be a number of a card in clear.
#[test]
fn r5_4_no_digit_goes_before_the_keys() {
    let mut wire = wire(7, [Security::Zrtp; 2]);
    wire.connect();
    let refused = Err(MediaError::Dtmf { digit: '5' });
    assert_eq!(wire.alice.send_dtmf(wire.now, '5', 100), refused);
    wire.run(SECOND, tones());
    assert_eq!(wire.alice.send_dtmf(wire.now, '5', 100), Ok(()));
    wire.run(SECOND, tones());
    assert!(wire.events[1].contains(&MediaEvent::Dtmf('5')));
}

/// Who insists hears nothing of one who cannot, and is told; who does not insist talks in clear.
#[test]
fn r5_4_without_zrtp_over_there_it_is_silence_or_clear_as_asked() {
    let mut insisting = wire(8, [Security::Zrtp, Security::Plain]);
    insisting.connect();
    insisting.run(6 * SECOND, tones());
    assert!(insisting.events[0].contains(&MediaEvent::NotSecured(None)));
    assert!(insisting.heard[0].iter().all(|s| *s == 0), "what comes in clear is not heard");
    assert!(loudest_in_clear(&of_alice(&insisting)) < 16);

    let mut willing = wire(9, [Security::ZrtpOptional, Security::Plain]);
    willing.connect();
    willing.run(6 * SECOND, tones());
    assert!(willing.events[0].contains(&MediaEvent::NotSecured(None)));
    talks(&willing);
    assert!(!willing.alice.is_secure());
}

fn of_alice(wire: &Wire) -> Vec<(usize, Vec<u8>)> {
    wire.seen.iter().filter(|(side, _)| *side == 0).cloned().collect()
}

/// Two who may talk in clear do until they have keys, and never again: not even if what comes is.
#[test]
fn r5_4_two_who_can_find_each_other_and_do_not_go_back_to_clear() {
    let mut wire = wire(10, [Security::ZrtpOptional; 2]);
    wire.connect();
    wire.run(3 * SECOND, tones());
    assert_eq!(secured(&wire.events[0]).sas, secured(&wire.events[1]).sas);
    talks(&wire);
    let before = wire.alice.stats().discarded;
    let clear =
        wire.seen.iter().find(|(side, b)| *side == 1 && rtp::kind(b) == rtp::PacketKind::Rtp);
    let clear = clear.unwrap().1.clone();
    wire.alice.handle_datagram(wire.now, crate::wire::address(1, 0), &clear);
    assert_eq!(wire.alice.stats().discarded, before + 1);
    assert!(wire.alice.insists_on_keys());
}

/// RFC 6189 §8: both descriptions say the hash of the Hello that comes, and a re-offer says it again
/// and disturbs nothing.
#[test]
fn r5_4_descriptions_tell_the_hash_of_the_hello_and_a_reoffer_keeps_the_keys() {
    let mut wire = wire(11, [Security::Zrtp; 2]);
    let offer = wire.alice.create_offer(wire.now);
    let answer = wire.bob.handle_offer(wire.now, &offer).unwrap();
    for sdp in [&offer, &answer] {
        let text = String::from_utf8_lossy(sdp);
        assert!(text.contains("a=zrtp-hash:1.10 ") && text.contains("RTP/AVP "), "{text}");
        assert!(!text.contains("crypto"), "{text}");
    }
    wire.alice.handle_answer(wire.now, &answer).unwrap();
    wire.run(2 * SECOND, tones());
    let hash = |sdp: &[u8]| {
        let text = String::from_utf8_lossy(sdp).into_owned();
        text.lines().find(|l| l.starts_with("a=zrtp-hash")).unwrap().to_owned()
    };
    let again = wire.alice.create_offer(wire.now);
    assert_eq!(hash(&again), hash(&offer));
    let answer = wire.bob.handle_offer(wire.now, &again).unwrap();
    wire.alice.handle_answer(wire.now, &answer).unwrap();
    wire.run(2 * SECOND, tones());
    talks(&wire);
    let agreements =
        |n: usize| wire.events[n].iter().filter(|e| matches!(e, MediaEvent::Secured(_))).count();
    assert_eq!((agreements(0), agreements(1)), (1, 1));
}

/// A re-offer that announces another Hello is another phone (a transfer): keys are agreed on anew,
/// and those of before serve nobody.
#[test]
fn r5_4_a_far_end_that_was_exchanged_is_agreed_with_anew() {
    let mut wire = wire(12, [Security::Zrtp; 2]);
    wire.connect();
    wire.run(2 * SECOND, tones());
    let first = secured(&wire.events[0]);
    let other = Config { zrtp: Some(identity(8)), ..config(1, &CODECS, Security::Zrtp) };
    let mut entropy = SeededEntropy::new(99);
    wire.bob = media::Session::new(other, wire.now, &mut entropy);
    let offer = wire.bob.create_offer(wire.now);
    let answer = wire.alice.handle_offer(wire.now, &offer).unwrap();
    assert!(!wire.alice.is_secure(), "nothing is said to the one who is gone");
    wire.bob.handle_answer(wire.now, &answer).unwrap();
    wire.run(3 * SECOND, tones());
    talks(&wire);
    let Some(MediaEvent::Secured(second)) =
        wire.events[0].iter().rev().find(|e| matches!(e, MediaEvent::Secured(_)))
    else {
        panic!("no second agreement")
    };
    assert_eq!(second.peer, Zid([9; 12]));
    assert_ne!(first.sas, second.sas);
}

/// The first of two phones that answer an offer does not spoil it for the second.
#[test]
fn r5_4_each_phone_that_answers_one_offer_gets_keys_of_its_own() {
    let mut wire = wire(13, [Security::Zrtp; 2]);
    let offer = wire.alice.create_offer(wire.now);
    let mut entropy = SeededEntropy::new(5);
    let mut second = wire.alice.fork(wire.now, &mut entropy);
    let answer = wire.bob.handle_offer(wire.now, &offer).unwrap();
    wire.alice.handle_answer(wire.now, &answer).unwrap();
    wire.run(2 * SECOND, tones());
    let first = secured(&wire.events[0]).sas;
    let other = Config { zrtp: Some(identity(8)), ..config(1, &CODECS, Security::Zrtp) };
    wire.bob = media::Session::new(other, wire.now, &mut entropy);
    let answer = wire.bob.handle_offer(wire.now, &offer).unwrap();
    second.handle_answer(wire.now, &answer).unwrap();
    wire.alice = second;
    wire.events = Default::default();
    wire.run(3 * SECOND, tones());
    talks(&wire);
    assert_ne!(secured(&wire.events[0]).sas, first);
}

/// A willing end takes SDES where the offer has it instead.
#[test]
fn r5_4_who_is_willing_takes_keys_in_sdp_where_those_are_offered() {
    for offers in [Security::Sdes, Security::SdesOptional] {
        let mut wire = wire(14, [offers, Security::ZrtpOptional]);
        wire.connect();
        wire.run(3 * SECOND, tones());
        talks(&wire);
        assert!(wire.alice.is_secure() && wire.bob.is_secure());
        assert!(wire.bob.secured().is_none());
    }
    let mut strict = wire(15, [Security::Sdes, Security::Zrtp]);
    let offer = strict.alice.create_offer(strict.now);
    assert!(strict.bob.handle_offer(strict.now, &offer).is_err());
}
