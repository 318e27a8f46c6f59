//! What transcoding costs: CPU milliseconds of this thread per second of a call (both directions),
//! and what it leaves of speech, as WAV files to score.
//!
//! ```text
//! cargo bench -p media --bench transcode -- SPEECH.wav [FOLDER]
//! ```
//!
//! `SPEECH.wav` is mono speech at 48 kHz; into `FOLDER` go what was said at 8 kHz, what our
//! transcoder made of it, and what libopus at 48 kHz and complexity 10 makes of it, for comparison.

use std::path::Path;
use std::time::{Duration, Instant};

use audio::{CodecKind, Resampler, Wav};
use media::transcode::{Input, Meaning, Plan, SoundOut, Transcoder};
use opus::{Application, Bitrate, Channels};
use rtp::{Header, RtpPacket};

const IN: u8 = 96;
const ROUNDS: u32 = 5;

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program with arguments and files that prints figures"
)]
fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(speech) = arguments.next() else {
        println!("usage: cargo bench -p media --bench transcode -- SPEECH.wav [FOLDER]");
        return;
    };
    let bytes = std::fs::read(&speech).expect("the speech named first");
    let speech = Wav::parse(&bytes).expect("a WAV file").to_mono(48_000).expect("48 kHz");
    for (a, b) in [
        (CodecKind::Opus, CodecKind::Pcmu),
        (CodecKind::Opus, CodecKind::G722),
        (CodecKind::G722, CodecKind::Pcmu),
        (CodecKind::Pcma, CodecKind::Pcmu),
    ] {
        let (there, back) = (cost(a, b, &speech), cost(b, a, &speech));
        println!(
            "{a:?} <-> {b:?}: {:.2} ms per call-second ({a:?} to {b:?} {there:.2}, back {back:.2})",
            there + back
        );
    }
    let (decode, encode) = (libopus_decodes(&speech), libopus_codes(&speech));
    println!(
        "libopus alone at 48 kHz and complexity 10: {:.2} ms per call-second (decodes {:.2}, codes {:.2})",
        decode.0 + encode.0,
        decode.0,
        encode.0
    );
    if let Some(folder) = arguments.next() {
        let folder = Path::new(&folder);
        let write = |name: &str, rate, samples: Vec<i16>| {
            let bytes = Wav::mono(rate, samples).to_bytes();
            std::fs::write(folder.join(name), bytes).expect("a folder to write to");
        };
        write("opus-to-pcmu.wav", 8000, heard(CodecKind::Opus, CodecKind::Pcmu, &speech));
        write("pcmu-to-opus.wav", 48_000, heard(CodecKind::Pcmu, CodecKind::Opus, &speech));
        write("libopus-to-pcmu.wav", 8000, decode.1);
        write("pcmu-to-libopus.wav", 48_000, encode.1);
        write("said.wav", 48_000, speech);
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn packets(kind: CodecKind, speech: &[i16]) -> Vec<Vec<u8>> {
    let rate = kind.sample_rate();
    let sound = Resampler::convert(speech, 48_000, rate).expect("rates we have");
    let mut encoder = kind.encoder().expect("an encoder");
    let frames = sound.chunks_exact(rate as usize / 50).enumerate();
    let packet = |(n, frame): (usize, &[i16])| {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).expect("20 ms");
        let timestamp = n as u32 * kind.clock_rate() / 50;
        let header =
            Header { payload_type: IN, sequence: n as u16, timestamp, ssrc: 1, marker: false };
        let mut bytes = vec![0; 12 + payload.len()];
        rtp::write_packet(&mut bytes, &header, &payload).expect("room for it");
        bytes
    };
    frames.map(packet).collect()
}

fn transcoder(from: CodecKind, to: CodecKind) -> Transcoder {
    let meaning = Meaning::Sound(from);
    let plan = Plan {
        inputs: vec![Input { payload_type: IN, clock_rate: from.clock_rate(), meaning }],
        sound: Some(SoundOut { codec: to, payload_type: 0, ptime_ms: 20, ptime_ms_max: 20 }),
        ..Plan::default()
    };
    Transcoder::new(plan, 1).expect("codecs we have")
}

#[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
fn cost(from: CodecKind, to: CodecKind, speech: &[i16]) -> f64 {
    let packets = packets(from, speech);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let mut transcoder = transcoder(from, to);
        let (now, before) = (Instant::now(), cpu());
        for bytes in &packets {
            transcoder.handle_packet(now, &RtpPacket::parse(bytes).expect("our own"));
            while transcoder.poll_packet().is_some() {}
        }
        let spent = (cpu() - before).as_secs_f64() * 1e3;
        best = best.min(spent / (packets.len() as f64 / 50.0));
    }
    best
}

#[expect(clippy::disallowed_methods, reason = "a bench has a clock")]
fn heard(from: CodecKind, to: CodecKind, speech: &[i16]) -> Vec<i16> {
    let (mut transcoder, mut decoder) = (transcoder(from, to), to.decoder().expect("a decoder"));
    let (mut sound, now) = (Vec::new(), Instant::now());
    for bytes in packets(from, speech) {
        transcoder.handle_packet(now, &RtpPacket::parse(&bytes).expect("our own"));
        while let Some(packet) = transcoder.poll_packet() {
            let packet = RtpPacket::parse(packet).expect("our own");
            decoder.decode(packet.payload(), &mut sound).expect("our own");
        }
    }
    sound
}

/// Opus to PCMU by libopus at 48 kHz.
fn libopus_decodes(speech: &[i16]) -> (f64, Vec<i16>) {
    let packets = packets(CodecKind::Opus, speech);
    let (mut best, mut wide) = (f64::MAX, Vec::new());
    for _ in 0..ROUNDS {
        let mut decoder = opus::Decoder::new(48_000, Channels::Mono).expect("a decoder");
        wide.clear();
        let before = cpu();
        for bytes in &packets {
            let mut frame = [0; 960];
            let n = decoder.decode(&bytes[12..], &mut frame, false).expect("our own");
            wide.extend_from_slice(&frame[..n]);
        }
        best = best.min((cpu() - before).as_secs_f64() * 1e3 / (packets.len() as f64 / 50.0));
    }
    let narrow = Resampler::convert(&wide, 48_000, 8000).expect("rates we have");
    let coded = |s: &i16| audio::g711::decode_ulaw(audio::g711::encode_ulaw(*s));
    (best, narrow.iter().map(coded).collect())
}

/// PCMU to Opus by libopus at 48 kHz and complexity 10.
fn libopus_codes(speech: &[i16]) -> (f64, Vec<i16>) {
    let narrow = Resampler::convert(speech, 48_000, 8000).expect("rates we have");
    let coded = |s: &i16| audio::g711::decode_ulaw(audio::g711::encode_ulaw(*s));
    let narrow: Vec<i16> = narrow.iter().map(coded).collect();
    let wide = Resampler::convert(&narrow, 8000, 48_000).expect("rates we have");
    let (mut best, mut sound) = (f64::MAX, Vec::new());
    for _ in 0..ROUNDS {
        let mut encoder =
            opus::Encoder::new(48_000, Channels::Mono, Application::Voip).expect("an encoder");
        encoder.set_complexity(10).expect("10 is the highest");
        encoder.set_bitrate(Bitrate::Bits(32_000)).expect("a bit rate");
        let mut coded = Vec::new();
        let before = cpu();
        for frame in wide.chunks_exact(960) {
            let mut packet = vec![0; 1275];
            let n = encoder.encode(frame, &mut packet).expect("20 ms");
            packet.truncate(n);
            coded.push(packet);
        }
        best = best.min((cpu() - before).as_secs_f64() * 1e3 / (coded.len() as f64 / 50.0));
        let mut decoder = opus::Decoder::new(48_000, Channels::Mono).expect("a decoder");
        sound.clear();
        for packet in coded {
            let mut frame = [0; 960];
            let n = decoder.decode(&packet, &mut frame, false).expect("our own");
            sound.extend_from_slice(&frame[..n]);
        }
    }
    (best, sound)
}
