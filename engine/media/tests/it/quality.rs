//! What is heard is what the codec makes of it, sample by sample.

use std::time::Duration;

use audio::{CodecKind, PLAYOUT_RATE, Resampler};
use media::{Config, Security};

use crate::wire::{Wire, config};

/// Voiced stretches of harmonics that glide, a hiss, and pauses.
fn speech_like(frames: usize) -> Vec<i16> {
    let (mut phase, mut seed) = (0.0_f64, 1_u32);
    (0..frames * 960)
        .map(|n| {
            let t = n as f64 / 48_000.0;
            phase += (120.0 + 30.0 * (t * 2.1).sin()) / 48_000.0;
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = f64::from(seed >> 16) / 65_536.0 - 0.5;
            let voice: f64 = (1..20)
                .map(|k| (phase * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k))
                .sum();
            let syllable = (t * 4.0 * std::f64::consts::PI).sin().max(0.0);
            ((voice * syllable + hiss * 0.1) * 4000.0) as i16
        })
        .collect()
}

/// The same coded and decoded without a network.
fn offline(codec: CodecKind, speech: &[i16]) -> Vec<i16> {
    let rate = codec.sample_rate();
    let mut encoder = codec.encoder().expect("starts");
    let mut decoder = codec.decoder().expect("starts");
    let mut down = Resampler::new(PLAYOUT_RATE, rate).expect("rates");
    let mut up = Resampler::new(rate, PLAYOUT_RATE).expect("rates");
    let mut out = Vec::new();
    for frame in speech.chunks_exact(960) {
        let (mut samples, mut payload, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        down.process(frame, &mut samples);
        encoder.encode(&samples, &mut payload).expect("codes");
        decoder.decode(&payload, &mut decoded).expect("decodes");
        up.process(&decoded, &mut out);
    }
    out
}

#[test]
fn on_a_clean_path_what_is_heard_is_the_coded_signal_bit_by_bit() {
    let speech = speech_like(1000);
    for codec in CodecKind::ALL {
        let mut w = Wire::new(5, [0, 1].map(|side| config(side, &[codec], Security::Sdes)));
        w.connect();
        let mut frames = speech.chunks_exact(960);
        w.run(Duration::from_secs(21), |side, frame| match (side, frames.len()) {
            (0, 1..) => frame.copy_from_slice(frames.next().expect("one more")),
            _ => frame.fill(0),
        });
        let want = offline(codec, &speech);
        let heard = &w.heard[1];
        let at = (0..8).map(|k| k * 960).find(|at| heard[*at..].starts_with(&want));
        assert!(at.is_some(), "{codec:?}");
    }
}

#[test]
fn packets_of_other_lengths_are_sent_and_played() {
    for codec in [CodecKind::Opus, CodecKind::Pcma] {
        for ptime_ms in [10, 40, 60] {
            let config = |side| Config { ptime_ms, ..config(side, &[codec], Security::Plain) };
            let mut w = Wire::new(5, [config(0), config(1)]);
            w.connect();
            let mut tone = audio::Tone::test(48_000);
            w.run(Duration::from_secs(10), |side, frame| {
                if side == 0 { tone.fill(frame) } else { frame.fill(0) }
            });
            let stats = w.bob.stats();
            let expected = 10_000 / u64::from(ptime_ms);
            assert!(stats.packets_received.abs_diff(expected) < 4, "{stats:?}");
            assert_eq!(
                (stats.late, stats.lost, stats.concealed_ms),
                (0, 0, 0),
                "{codec:?} {ptime_ms}"
            );
            let end = &w.heard[1][w.heard[1].len() - 48_000..];
            assert!((audio::level::dbov(end) + 13.2).abs() < 0.5, "{codec:?} {ptime_ms}");
        }
    }
}
