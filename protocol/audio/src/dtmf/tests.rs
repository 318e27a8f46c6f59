//! R5.7: the limits of ITU-T Q.24, and what must not be taken for a key.

use super::*;
use crate::{Resampler, Tone, g711, wav};

const KEYS_ALL: &str = "0123456789*#ABCD";

/// A tone as a line may deliver it.
#[derive(Clone, Copy)]
struct Line {
    ms: f64,
    low_off: f64,
    high_off: f64,
    low_dbm0: f64,
    high_dbm0: f64,
    snr_db: Option<f64>,
    /// Samples of silence before it: its place between the windows.
    lead: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            ms: 40.0,
            low_off: 0.0,
            high_off: 0.0,
            low_dbm0: -8.0,
            high_dbm0: -8.0,
            snr_db: None,
            lead: 400,
        }
    }
}

/// A deterministic source of noise, uniform within +-1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
    }
}

fn peak(dbm0: f64) -> f64 {
    32_767.0 * 10_f64.powf((dbm0 - 3.17) / 20.0)
}

impl Line {
    fn samples(self, digit: char, noise: &mut Noise) -> Vec<i16> {
        let (low, high) = frequencies(digit).unwrap();
        let (a, b) = (peak(self.low_dbm0), peak(self.high_dbm0));
        let mut low = Tone::new(low * (1.0 + self.low_off), 8000, a);
        let mut high = Tone::new(high * (1.0 + self.high_off), 8000, b);
        let power = (a * a + b * b) / 2.0;
        // Uniform noise of amplitude x has the mean square x * x / 3.
        let noise_peak =
            self.snr_db.map_or(0.0, |db| (3.0 * power / 10_f64.powf(db / 10.0)).sqrt());
        let long = (self.ms * 8.0) as usize;
        (0..self.lead + long + 600)
            .map(|n| {
                let tone = n >= self.lead && n < self.lead + long;
                let sound = if tone {
                    f64::from(low.next().unwrap()) + f64::from(high.next().unwrap())
                } else {
                    0.0
                };
                (sound + noise.next() * noise_peak).clamp(-32_768.0, 32_767.0) as i16
            })
            .collect()
    }
}

fn heard(samples: &[i16]) -> Vec<(char, u64)> {
    let mut detector = ToneDetector::new();
    let mut heard = Vec::new();
    let mut note = |event| {
        if let ToneEvent::Ended { digit, samples, .. } = event {
            heard.push((digit, samples));
        }
    };
    detector.process(samples, &mut note);
    detector.finish(note);
    heard
}

/// How many of 16 keys at eight places between the windows are recognised once and right.
fn recognised(line: Line) -> usize {
    let mut noise = Noise(7);
    let mut right = 0;
    for digit in KEYS_ALL.chars() {
        for place in 0..8 {
            let line = Line { lead: 400 + 5 * place, ..line };
            let heard = heard(&line.samples(digit, &mut noise));
            right += usize::from(heard.len() == 1 && heard[0].0 == digit);
            assert!(heard.iter().all(|h| h.0 == digit), "{digit} heard as {heard:?}");
        }
    }
    right
}

const ALL: usize = 128;

#[test]
fn r5_7_all_keys_are_recognised_from_40_ms_and_refused_up_to_23() {
    for ms in [40.0, 45.0, 50.0, 70.0, 100.0, 1000.0] {
        assert_eq!(recognised(Line { ms, ..Line::default() }), ALL, "{ms} ms");
    }
    for ms in [5.0, 10.0, 15.0, 20.0, 22.9] {
        assert_eq!(recognised(Line { ms, ..Line::default() }), 0, "{ms} ms");
    }
}

#[test]
fn r5_7_frequencies_off_by_1_5_percent_are_accepted_and_by_3_5_refused() {
    for (low_off, high_off) in [(0.015, 0.015), (-0.015, -0.015), (0.015, -0.015), (-0.015, 0.015)]
    {
        assert_eq!(recognised(Line { low_off, high_off, ..Line::default() }), ALL);
    }
    for off in [0.035, -0.035, 0.05, -0.05] {
        assert_eq!(recognised(Line { low_off: off, ms: 100.0, ..Line::default() }), 0, "row {off}");
        assert_eq!(
            recognised(Line { high_off: off, ms: 100.0, ..Line::default() }),
            0,
            "column {off}"
        );
    }
}

#[test]
fn r5_7_twist_of_8_and_4_db_is_accepted_and_much_more_refused() {
    for (low_dbm0, high_dbm0) in [(-8.0, -16.0), (-12.0, -8.0), (-10.0, -10.0)] {
        assert_eq!(recognised(Line { low_dbm0, high_dbm0, ..Line::default() }), ALL);
    }
    for (low_dbm0, high_dbm0) in [(-8.0, -18.0), (-14.0, -8.0)] {
        let line = Line { low_dbm0, high_dbm0, ms: 100.0, ..Line::default() };
        assert_eq!(recognised(line), 0, "{low_dbm0} {high_dbm0}");
    }
}

#[test]
fn r5_7_levels_down_to_minus_29_dbm0_are_heard_and_whispers_are_not() {
    for dbm0 in [-3.0, -10.0, -20.0, -25.0, -29.0] {
        let line = Line { low_dbm0: dbm0, high_dbm0: dbm0, ..Line::default() };
        assert_eq!(recognised(line), ALL, "{dbm0} dBm0");
    }
    for dbm0 in [-40.0, -55.0] {
        let line = Line { low_dbm0: dbm0, high_dbm0: dbm0, ms: 100.0, ..Line::default() };
        assert_eq!(recognised(line), 0, "{dbm0} dBm0");
    }
}

#[test]
fn r5_7_keys_are_recognised_at_15_db_of_noise_with_everything_at_its_limit() {
    assert_eq!(recognised(Line { snr_db: Some(15.0), ..Line::default() }), ALL);
    let line = Line { snr_db: Some(15.0), low_dbm0: -25.0, high_dbm0: -25.0, ..Line::default() };
    assert_eq!(recognised(line), ALL);
    let line =
        Line { snr_db: Some(20.0), low_off: 0.015, high_off: -0.015, high_dbm0: -12.0, ..line };
    assert_eq!(recognised(Line { low_dbm0: -8.0, ..line }), ALL);
}

#[test]
fn r5_7_durations_are_measured_and_pauses_of_40_ms_separate() {
    for ms in [40_u32, 55, 80, 120, 500] {
        for lead in [400, 411, 423] {
            let line = Line { ms: f64::from(ms), lead, ..Line::default() };
            let heard = heard(&line.samples('5', &mut Noise(1)));
            let measured = heard[0].1 as f64 / 8.0;
            assert!((measured - f64::from(ms)).abs() <= 5.0, "{ms} ms measured {measured}");
        }
    }
    let mut twice = Vec::new();
    for _ in 0..4 {
        let tone = Line { ms: 50.0, lead: 0, ..Line::default() }.samples('7', &mut Noise(1));
        twice.extend_from_slice(&tone[..400 + 320]);
    }
    assert_eq!(heard(&twice).len(), 4, "50 ms on, 40 ms off");
    let mut torn = Line { ms: 100.0, lead: 0, ..Line::default() }.samples('7', &mut Noise(1));
    torn[300..380].fill(0);
    assert_eq!(heard(&torn).len(), 1, "10 ms out of a tone are no pause");
}

#[test]
fn r5_7_what_the_generator_makes_is_heard_at_each_rate_and_through_g711() {
    for rate in [8000, 16_000, 48_000] {
        for digit in KEYS_ALL.chars() {
            let mut tone = ToneGenerator::new(digit, rate).unwrap();
            tone.end_after(rate * 60 / 1000);
            let mut sound = vec![0; rate as usize / 20];
            sound.extend(tone);
            sound.resize(sound.len() + rate as usize / 10, 0);
            let sound = Resampler::convert(&sound, rate, 8000).unwrap();
            let coded = |s: &i16| g711::decode_alaw(g711::encode_alaw(*s));
            let heard = heard(&sound.iter().map(coded).collect::<Vec<_>>());
            assert_eq!(heard.len(), 1, "{digit} at {rate}");
            assert_eq!(heard[0].0, digit);
            assert!((heard[0].1 as i64 - 480).abs() <= 40, "{heard:?}");
        }
    }
    assert!(ToneGenerator::new('x', 8000).is_none());
}

/// Chords of three to five notes with ten partials each: all that an organ or a ring-back tone may do.
#[test]
fn r5_7_music_is_no_digit() {
    let mut noise = Noise(3);
    for n in 0..400 {
        let root = 110.0 * 2_f64.powf(f64::from(n % 36) / 12.0);
        let notes = [0, 4, 7, 12, 16].map(|step| root * 2_f64.powf(f64::from(step) / 12.0));
        let notes = &notes[..3 + n as usize % 3];
        let mut sound = vec![0.0; 4000];
        for note in notes {
            for partial in 1..=10 {
                let hz = note * f64::from(partial);
                if hz < 3800.0 {
                    let phase = noise.next();
                    let tone = Tone::new(hz, 8000, 3000.0 / f64::from(partial));
                    let skip = (phase.abs() * 200.0) as usize;
                    sound.iter_mut().zip(tone.skip(skip)).for_each(|(s, t)| *s += f64::from(t));
                }
            }
        }
        let sound: Vec<i16> = sound.iter().map(|s| *s as i16).collect();
        assert_eq!(heard(&sound), [], "chord on {root} Hz");
    }
    for (a, b) in [(350.0, 440.0), (440.0, 480.0), (480.0, 620.0), (425.0, 425.0), (1100.0, 2100.0)]
    {
        let tones = Tone::new(a, 8000, 8000.0).zip(Tone::new(b, 8000, 8000.0));
        let sound: Vec<i16> = tones.map(|(a, b)| a + b).take(16_000).collect();
        assert_eq!(heard(&sound), [], "{a} + {b} Hz is a tone of the network");
    }
}

/// Talk-off with speech that Debian's espeak-ng makes: five voices, numbers and sentences.
#[test]
fn r5_7_speech_is_no_digit() {
    const TEXT: &str = "The quick brown fox jumps over the lazy dog. One two three four five six \
        seven eight nine zero. Please hold the line while we connect you to the next free agent. \
        Ooh, aah, eee, hmm, la la la, oh no, you knew who threw the blue shoe. She sells sea shells \
        by the sea shore. Mississippi, Hallelujah, Eeny meeny miny moe.";
    let mut seconds = 0;
    for (voice, pitch) in
        [("en", 30), ("en+f3", 60), ("de+f2", 99), ("fr+m3", 10), ("en+croak", 50), ("es+f4", 80)]
    {
        let made = std::process::Command::new("espeak-ng")
            .args(["--stdout", "-v", voice, "-p", &pitch.to_string(), "-s", "140", TEXT])
            .output()
            .expect("espeak-ng of Debian: scripts/setup.sh installs it");
        let mut bytes = made.stdout;
        // espeak-ng writes to a pipe, so its header has no lengths.
        let len = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&(len - 8).to_le_bytes());
        bytes[40..44].copy_from_slice(&(len - 44).to_le_bytes());
        let wav = wav::Wav::parse(&bytes).unwrap();
        let sound = Resampler::convert(&wav.samples, wav.rate, 8000).unwrap();
        seconds += sound.len() / 8000;
        for gain in [0.25, 1.0, 2.0] {
            let loud: Vec<i16> = sound.iter().map(|s| (f32::from(*s) * gain) as i16).collect();
            assert_eq!(heard(&loud), [], "voice {voice} at {gain}");
        }
    }
    assert!(seconds > 90, "{seconds} s of speech");
}
