//! Speech to say, what a codec alone makes of it, and how good what was heard is.

use crate::story::Story;
use audio::{CodecKind, Resampler, Wav};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rate of everything a story plays and compares.
pub const RATE: u32 = 48_000;
/// How far below the codec alone a call may score on a clean path.
pub const PESQ_LOSS_MAX: f64 = 0.15;
/// Milliseconds per codec frame.
const FRAME_MS: u32 = 20;

/// Who speaks: two voices with different words, so that one is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// A low voice.
    Low,
    /// A high voice.
    High,
}

/// How a recording compares.
#[derive(Debug, Clone, Copy)]
pub struct Fidelity {
    /// PESQ-WB of what was heard.
    pub heard: f64,
    /// PESQ-WB of the same speech through the codec alone.
    pub offline: f64,
}

impl Fidelity {
    /// What the call cost.
    pub fn loss(&self) -> f64 {
        self.offline - self.heard
    }
}

/// A WAV file of at least 8 s of speech at 48 kHz, after a second of silence in which the media
/// path settles.
pub fn speech(story: &Story, voice: Voice) -> PathBuf {
    let (name, accent, words) = match voice {
        Voice::Low => ("low", "en-us+m3", LOW_WORDS),
        Voice::High => ("high", "en-gb+f4", HIGH_WORDS),
    };
    let raw = story.scratch.file(&format!("{name}-raw.wav"));
    let made = story.scratch.file(&format!("{name}.wav"));
    let mut espeak = Command::new("espeak-ng");
    espeak.args(["-v", accent, "-s", "150", "-w"]).arg(&raw).arg(words);
    run(espeak);
    let mut sox = Command::new("sox");
    sox.arg(&raw).args(["-r", "48000", "-c", "1", "-b", "16"]).arg(&made);
    sox.args(["gain", "-n", "-6", "trim", "0", "10", "pad", "1", "0.5"]);
    run(sox);
    assert!(read(&made).duration_ms() >= 9_500, "at least 8 s of speech: {}", made.display());
    made
}

/// Panics when what was heard lost more than [`PESQ_LOSS_MAX`] against the codec alone.
pub fn expect_fidelity(story: &Story, said: &Path, codec: CodecKind, heard: &Path) -> Fidelity {
    let coded = story.scratch.file(&format!("offline-{}.wav", codec.encoding_name()));
    let samples = offline(&mono(said), codec);
    story.scratch.write(
        &coded.file_name().expect("named above").to_string_lossy(),
        Wav::mono(RATE, samples).to_bytes(),
    );
    let found = Fidelity { heard: pesq(said, heard), offline: pesq(said, &coded) };
    // Standard error is where a story's figures belong; that it is closed would be no failure.
    let _ = writeln!(
        std::io::stderr(),
        "{} {}: heard {:.3}, codec alone {:.3}",
        codec.encoding_name(),
        heard.display(),
        found.heard,
        found.offline
    );
    assert!(found.loss() <= PESQ_LOSS_MAX, "{}: {found:?}", heard.display());
    found
}

/// PESQ-WB of one file against another, by the Python of `WHIMBREL_PYTHON` or of `make test`.
pub fn pesq(said: &Path, heard: &Path) -> f64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("pesq/score.py");
    let output = Command::new(python()).arg(script).arg(said).arg(heard).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; run `make test`", python().display()));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "score.py {}: {complaint}", heard.display());
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    line["score"].as_f64().expect("a score")
}

/// Speech through encoder and decoder, without a network.
pub fn offline(samples: &[i16], codec: CodecKind) -> Vec<i16> {
    let rate = codec.sample_rate();
    let at_rate = Resampler::convert(samples, RATE, rate).expect("rates we have");
    let mut encoder = codec.encoder().expect("an encoder");
    let mut decoder = codec.decoder().expect("a decoder");
    let mut out = Vec::new();
    for frame in at_rate.chunks_exact((rate * FRAME_MS / 1000) as usize) {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).expect("a 20 ms frame");
        decoder.decode(&payload, &mut out).expect("its own payload");
    }
    Resampler::convert(&out, rate, RATE).expect("rates we have")
}

/// A recording.
pub fn read(path: &Path) -> Wav {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Wav::parse(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A recording as mono at 48 kHz.
pub fn mono(path: &Path) -> Vec<i16> {
    read(path).to_mono(RATE).expect("a rate we can convert")
}

/// Level in dBov of the part of a signal that is at `hz` (Goertzel over the whole of it).
pub fn level_at(samples: &[i16], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / f64::from(RATE);
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (sin, cos) = (step * n as f64).sin_cos();
        re += f64::from(*sample) * cos;
        im -= f64::from(*sample) * sin;
    }
    let peak = 2.0 * re.hypot(im) / samples.len().max(1) as f64;
    20.0 * (peak / 2.0_f64.sqrt() / 32_768.0).max(1e-7).log10()
}

/// A second of a recording, from `from_ms`.
pub fn second(samples: &[i16], from_ms: usize) -> &[i16] {
    let at = (from_ms * RATE as usize / 1000).min(samples.len());
    &samples[at..(at + RATE as usize).min(samples.len())]
}

fn python() -> PathBuf {
    if let Some(path) = std::env::var_os("WHIMBREL_PYTHON") {
        return path.into();
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from);
    let own = std::env::var_os("WHIMBREL_CACHE").map_or(cache.join("whimbrel"), PathBuf::from);
    own.join("pesq/bin/python")
}

fn run(mut command: Command) {
    let status = command.status();
    assert!(status.as_ref().is_ok_and(|s| s.success()), "{command:?}: {status:?}");
}

const LOW_WORDS: &str = "The birch canoe slid on the smooth planks. Glue the sheet to the dark \
    blue background. It is easy to tell the depth of a well. These days a chicken leg is a rare \
    dish. Rice is often served in round bowls. The juice of lemons makes fine punch.";
const HIGH_WORDS: &str = "The boy was there when the sun rose. A rod is used to catch pink \
    salmon. The source of the huge river is the clear spring. Kick the ball straight and follow \
    through. Help the woman get back to her feet. A pot of tea helps to pass the evening.";
