//! Sound, digits, hold and figures of whole calls (R5.2, R5.10).

use std::time::Duration;

use audio::CodecKind::{Opus, Pcma, Pcmu};
use audio::{Tone, level};
use media::{MediaEvent, MediaOutput, Security};

use crate::wire::{Path, Wire, config, frequency};

const SECOND: Duration = Duration::from_secs(1);

fn wire(codecs: &[audio::CodecKind], security: Security) -> Wire {
    Wire::new(7, [config(0, codecs, security), config(1, codecs, security)])
}

fn tones() -> impl FnMut(usize, &mut [i16; 960]) {
    let mut tones = [Tone::test(48_000), Tone::new(440.0, 48_000, 10_160.0)];
    move |side, frame| tones[side].fill(frame)
}

#[test]
fn a_clean_path_carries_a_tone_unharmed_with_every_codec_and_keying() {
    for codec in [Opus, Pcmu, Pcma] {
        for security in [Security::Plain, Security::Sdes, Security::SdesOptional] {
            let mut w = wire(&[codec], security);
            w.connect();
            w.run(12 * SECOND, tones());
            let what = format!("{codec:?} {security:?}");
            for (side, hz) in [(0, 440.0), (1, 1000.0)] {
                let heard = &w.heard[side][48_000..];
                assert!((frequency(heard) - hz).abs() < 1.0, "{what}: {}", frequency(heard));
                assert!((level::dbov(heard) + 13.2).abs() < 0.5, "{what}: {}", level::dbov(heard));
                // A concealed or dropped frame would show as a dent in some 20 ms.
                for frame in heard.chunks(960) {
                    assert!((level::dbov(frame) + 13.2).abs() < 0.7, "{what}");
                }
                let stats = w.side(side).stats();
                assert_eq!((stats.concealed_ms, stats.time_scaled_ms), (0, 0), "{what}");
                assert_eq!((stats.lost, stats.late, stats.discarded), (0, 0, 0), "{what}");
                assert_eq!(stats.secure, security != Security::Plain);
                assert!((10.0..=41.0).contains(&stats.delay_ms), "{what}: {}", stats.delay_ms);
                assert!(w.events[side].contains(&MediaEvent::Connected { codec }), "{what}");
            }
        }
    }
}

/// RFC 3264 §5.1, §6.1: each side is sent the number that it asked for, whatever the other one uses.
#[test]
fn r1_5_sound_goes_both_ways_where_each_side_has_a_number_of_its_own_for_the_codec() {
    let mut w = wire(&[Opus], Security::Plain);
    let offer = w.alice.create_offer(w.now);
    let answer = w.bob.handle_offer(w.now, &offer).expect("an answer");
    let answer = String::from_utf8(answer.to_vec()).expect("text");
    assert!(answer.contains("a=rtpmap:111 opus"), "{answer}");
    let answer = answer
        .replace("a=rtpmap:111 ", "a=rtpmap:98 ")
        .replace("a=fmtp:111 ", "a=fmtp:98 ")
        .replace("RTP/AVP 111", "RTP/AVP 98");
    w.alice.handle_answer(w.now, answer.as_bytes()).expect("agreed");
    w.renumber[0] = Some((98, 111, 0));
    w.run(6 * SECOND, tones());
    let (_, _, alices) = w.renumber[0].expect("set above");
    assert!(alices > 250, "alice sends with bob's number: {alices}");
    for (side, hz) in [(0, 440.0), (1, 1000.0)] {
        let heard = &w.heard[side][96_000..];
        assert!((frequency(heard) - hz).abs() < 1.0, "side {side}: {}", frequency(heard));
        assert_eq!(w.side(side).stats().discarded, 0);
    }
}

#[test]
fn both_ends_count_the_same_and_rtcp_tells_the_round_trip() {
    let mut w = wire(&[Opus], Security::Sdes);
    w.path = Path { delay_ms: 40, jitter_ms: 0, loss_percent: 0 };
    w.connect();
    w.run(40 * SECOND, tones());
    let (a, b) = (w.alice.stats(), w.bob.stats());
    assert!(a.packets_sent - b.packets_received <= 3 && b.packets_sent - a.packets_received <= 3);
    assert!((a.packets_sent as i64 - 2000).abs() <= 1);
    for stats in [a, b] {
        let rtt = stats.rtt_ms.expect("reports went both ways");
        assert!((rtt - 80.0).abs() < 4.0, "{rtt}");
        assert_eq!(stats.remote_lost, 0);
        assert!(stats.jitter_ms < 2.0);
    }
}

#[test]
fn loss_is_seen_by_both_ends() {
    let mut w = wire(&[Opus], Security::Plain);
    w.path = Path { delay_ms: 30, jitter_ms: 5, loss_percent: 5 };
    w.connect();
    w.run(60 * SECOND, tones());
    let (a, b) = (w.alice.stats(), w.bob.stats());
    let share = b.lost as f64 / a.packets_sent as f64;
    assert!((0.03..0.07).contains(&share), "{share}");
    assert!(a.remote_lost > 0 && a.remote_lost <= b.lost);
    let concealed = b.concealed_ms as f64 / 60_000.0;
    assert!((0.02..0.08).contains(&concealed), "{concealed}");
}

#[test]
fn digits_arrive_in_order_and_replace_the_audio() {
    for codec in [Opus, Pcmu] {
        let mut w = wire(&[codec], Security::Sdes);
        w.path.jitter_ms = 5;
        w.connect();
        w.run(SECOND, tones());
        for digit in "159#*D".chars() {
            w.alice.send_dtmf(w.now, digit, 100).expect("a digit");
        }
        assert!(w.alice.send_dtmf(w.now, 'x', 100).is_err());
        w.run(3 * SECOND, tones());
        let digits: String = w.events[1]
            .iter()
            .filter_map(|e| if let MediaEvent::Dtmf(c) = e { Some(*c) } else { None })
            .collect();
        assert_eq!(digits, "159#*D");
        let stats = w.bob.stats();
        assert_eq!((stats.lost, stats.concealed_ms), (0, 0), "digits are no loss");
        let end = &w.heard[1][w.heard[1].len() - 9600..];
        assert!((level::dbov(end) + 13.2).abs() < 0.5, "audio is back");
    }
}

#[test]
fn hold_stops_and_resume_starts_the_audio() {
    let mut w = wire(&[Pcmu], Security::Sdes);
    w.connect();
    w.run(2 * SECOND, tones());
    w.alice.set_hold(true);
    w.connect();
    assert!(w.bob.is_held_by_remote());
    let sent = w.bob.stats().packets_sent;
    w.run(2 * SECOND, |_, frame| frame.fill(0));
    assert_eq!(w.bob.stats().packets_sent, sent);
    w.alice.set_hold(false);
    w.connect();
    w.heard = Default::default();
    w.run(2 * SECOND, tones());
    for side in 0..2 {
        let end = &w.heard[side][48_000..];
        assert!((level::dbov(end) + 13.2).abs() < 0.5);
        assert_eq!(w.side(side).stats().discarded, 0, "keys went on");
    }
    assert!(!w.bob.is_held_by_remote());
}

#[test]
fn a_clock_that_drifts_by_100_ppm_is_followed_without_concealment() {
    for ppm in [100, -100] {
        let mut w = wire(&[Pcmu], Security::Plain);
        w.bob_ppm = ppm;
        w.connect();
        w.run(600 * SECOND, tones());
        for side in 0..2 {
            let stats = w.side(side).stats();
            assert_eq!((stats.concealed_ms, stats.late), (0, 0), "{ppm} side {side}");
            assert!(stats.delay_ms < 60.0, "{ppm} side {side}: {}", stats.delay_ms);
            assert!(stats.time_scaled_ms < 120, "{ppm} side {side}: {}", stats.time_scaled_ms);
        }
    }
}

#[test]
fn silence_is_told_once_and_its_end_too() {
    let mut w = wire(&[Pcmu], Security::Plain);
    w.connect();
    w.run(2 * SECOND, tones());
    w.path.loss_percent = 100;
    w.run(15 * SECOND, tones());
    w.path.loss_percent = 0;
    w.run(2 * SECOND, tones());
    let told: Vec<_> = w.events[1].iter().skip(1).collect();
    assert_eq!(told, [&MediaEvent::Silent { after: 10 * SECOND }, &MediaEvent::Resumed]);
    let end = &w.heard[1][w.heard[1].len() - 4800..];
    assert!((level::dbov(end) + 13.2).abs() < 0.5);
    w.alice.close(w.now);
    w.run(SECOND, |_, _| {});
    assert!(w.events[1].contains(&MediaEvent::RemoteLeft));
}

#[test]
fn forged_and_garbled_packets_change_nothing() {
    let mut w = wire(&[Pcmu], Security::Sdes);
    w.connect();
    w.run(SECOND, tones());
    for n in 0..200_u32 {
        let junk: Vec<u8> =
            (0..n).map(|i| (i * 7 + n) as u8 | if i == 0 { 0x80 } else { 0 }).collect();
        w.bob.handle_datagram(w.now, crate::wire::address(0, 0), &junk);
    }
    w.run(2 * SECOND, tones());
    let stats = w.bob.stats();
    assert_eq!((stats.concealed_ms, stats.late), (0, 0));
    assert!(stats.discarded > 50);
}

#[test]
fn without_rtcp_mux_reports_use_the_next_port() {
    let mut configs = [0, 1].map(|side| config(side, &[Pcmu], Security::Plain));
    configs[1].rtcp_mux = false;
    let mut w = Wire::new(7, configs);
    w.connect();
    w.alice.handle_timeout(w.now + 9 * SECOND);
    let output = w.alice.poll_output();
    let Some(MediaOutput::Transmit { to, rtcp, .. }) = output else { panic!("{output:?}") };
    assert_eq!((to, rtcp), (crate::wire::address(1, 1), true));
    w.run(20 * SECOND, tones());
    assert!(w.bob.stats().rtt_ms.is_some());
}
