use sansio::{Entropy, SeededEntropy};

use super::*;
use crate::{Tone, level};

/// How a simulated network treats the packet sent at a time (ms): delay in ms, or lost.
type Network<'a> = &'a mut dyn FnMut(u64, &mut SeededEntropy) -> Option<f64>;

struct Outcome {
    concealed: f64,
    delays: Vec<f64>,
    heard: Vec<i16>,
}

/// Sends a voice-like signal for `secs` and plays it.
fn simulate(kind: CodecKind, secs: u64, network: Network<'_>) -> Outcome {
    let t0 = sansio::testing::epoch();
    let mut entropy = SeededEntropy::new(11);
    let (mut encoder, mut playout) =
        (kind.encoder().expect("starts"), Playout::new(kind).expect("starts"));
    let rate = kind.sample_rate();
    let mut tone = Tone::new(200.0, rate, 8000.0);
    let mut flight: Vec<(f64, u16, Vec<u8>)> = Vec::new();
    let (mut delays, mut heard) = (Vec::new(), Vec::new());
    for n in 0..secs * 50 {
        let mut frame = vec![0; rate as usize / 50];
        // Half a second of voice, a quarter of a pause.
        if n % 38 < 25 {
            tone.fill(&mut frame);
        }
        let mut payload = Vec::new();
        encoder.encode(&frame, &mut payload).expect("codes");
        if let Some(delay) = network(n * 20, &mut entropy) {
            flight.push((n as f64 * 20.0 + delay, n as u16, payload));
        }
        let now = n as f64 * 20.0 + 13.0;
        flight.sort_by(|a, b| a.0.total_cmp(&b.0));
        while flight.first().is_some_and(|(at, ..)| *at <= now) {
            let (at, seq, payload) = flight.remove(0);
            let timestamp = u32::from(seq) * (kind.clock_rate() / 50);
            playout.push(t0 + Duration::from_secs_f64(at / 1e3), seq, timestamp, &payload);
        }
        let mut out = [0; PLAYOUT_FRAME];
        playout.pull(t0 + Duration::from_secs_f64(now / 1e3), &mut out);
        heard.extend_from_slice(&out);
        delays.push(playout.delay().as_secs_f64() * 1e3);
    }
    Outcome { concealed: playout.concealed().as_secs_f64() / secs as f64, delays, heard }
}

fn average(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

#[test]
fn an_even_path_is_played_without_concealment_at_two_frames_or_less() {
    for kind in CodecKind::ALL {
        let o = simulate(kind, 300, &mut |_, _| Some(30.0));
        assert_eq!(o.concealed, 0.0, "{kind:?}");
        let last = o.delays[o.delays.len() - 1];
        assert!((10.0..=41.0).contains(&last), "{kind:?} {last}");
    }
}

#[test]
fn small_jitter_is_absorbed() {
    let o = simulate(CodecKind::Pcmu, 120, &mut |_, e| Some(30.0 + (e.next_u64() % 8) as f64));
    assert!(o.concealed < 0.001, "{}", o.concealed);
    assert!(average(&o.delays) < 50.0, "{}", average(&o.delays));
}

#[test]
fn jitter_of_50_plus_minus_30_ms_with_reordering_costs_little() {
    let o = simulate(CodecKind::Opus, 120, &mut |_, e| Some(20.0 + (e.next_u64() % 61) as f64));
    assert!(o.concealed < 0.02, "{}", o.concealed);
    assert!(average(&o.delays) < 130.0, "{}", average(&o.delays));
}

#[test]
fn loss_conceals_what_was_lost_and_hardly_more() {
    let o = simulate(CodecKind::Opus, 120, &mut |_, e| (e.next_u64() % 100 >= 5).then_some(30.0));
    assert!((0.035..0.07).contains(&o.concealed), "{}", o.concealed);
    assert!(average(&o.delays) < 65.0, "{}", average(&o.delays));
}

#[test]
fn a_slow_stretch_of_three_seconds_is_forgotten_in_two() {
    let slow = |at: u64| (10_000..13_000).contains(&at);
    let o = simulate(CodecKind::Opus, 20, &mut |at, _| Some(if slow(at) { 230.0 } else { 30.0 }));
    let back = &o.delays[(15_500 / 20)..];
    assert!(back.iter().all(|d| *d < 60.0), "{back:?}");
    assert!(o.concealed < 0.03, "{}", o.concealed);
}

#[test]
fn an_outage_of_a_second_leaves_no_delay_behind() {
    let o =
        simulate(CodecKind::Pcma, 20, &mut |at, _| (!(5000..6000).contains(&at)).then_some(30.0));
    assert!(o.delays.last().is_some_and(|d| *d < 45.0));
    assert!((0.04..0.06).contains(&o.concealed), "{}", o.concealed);
    assert!(level::dbov(&o.heard[49 * 48_00..]) > -30.0);
}

#[test]
fn comfort_noise_fills_announced_silence() {
    let t0 = sansio::testing::epoch();
    let mut p = Playout::new(CodecKind::Pcmu).expect("starts");
    let mut out = [1; PLAYOUT_FRAME];
    p.pull(t0, &mut out);
    assert_eq!(out, [0; PLAYOUT_FRAME], "nothing yet");
    p.push(t0, 0, 0, &[0xff; 160]);
    p.skip(1);
    p.comfort_noise(-50.0);
    for n in 1..20 {
        p.pull(t0 + Duration::from_millis(20 * n + 5), &mut out);
    }
    assert!((level::dbov(&out) + 50.0).abs() < 3.0, "{}", level::dbov(&out));
    assert_eq!(p.push(t0, 1, 1, &[]), None, "an empty payload is no packet");
}

#[test]
fn a_player_that_wakes_up_late_now_and_then_changes_nothing() {
    let t0 = sansio::testing::epoch();
    let mut encoder = CodecKind::Pcmu.encoder().expect("starts");
    let mut p = Playout::new(CodecKind::Pcmu).expect("starts");
    let mut tone = Tone::new(300.0, 8000, 8000.0);
    let (mut frame, mut out) = ([0; 160], [0; PLAYOUT_FRAME]);
    let mut owed = 0;
    for n in 0..1000_u16 {
        let now = t0 + Duration::from_millis(20 * u64::from(n));
        tone.fill(&mut frame);
        let mut payload = Vec::new();
        encoder.encode(&frame, &mut payload).expect("codes");
        p.push(now, n, u32::from(n) * 160, &payload);
        owed += 1;
        // Every second or so it sleeps for 60 ms and then catches up.
        if n < 47 || n % 47 > 2 {
            while owed > 0 {
                p.pull(now + Duration::from_millis(5), &mut out);
                owed -= 1;
            }
        }
    }
    assert_eq!((p.concealed(), p.time_scaled()), (Duration::ZERO, Duration::ZERO));
}
