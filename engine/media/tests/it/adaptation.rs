//! R5.9: what is coded follows what its receiver reports, up and down a staircase of loss.

use std::time::{Duration, Instant};

use audio::{CodecKind, Decoder};
use media::transcode::{ADAPTS_AFTER, Digit, Transcoder};
use rtp::RtpPacket;
use rtp::rtcp::{Report, ReportBlock};
use sansio::testing::epoch;

use crate::transcoding::{packet, plan};

const IN: u8 = 96;
const RATE: usize = 8000;
const FRAME: usize = RATE / 50;

/// Harmonics that glide, and a hiss: what concealment cannot guess.
fn voice(seconds: usize) -> Vec<i16> {
    let (mut phase, mut seed) = (0.0_f64, 1_u32);
    (0..seconds * RATE)
        .map(|n| {
            let t = n as f64 / RATE as f64;
            phase += (140.0 + 60.0 * (t * 7.3).sin()) / RATE as f64;
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = f64::from(seed >> 16) / 65_536.0 - 0.5;
            let voice: f64 = (1..12)
                .map(|k| (phase * f64::from(k) * std::f64::consts::TAU).sin() / f64::from(k))
                .sum();
            ((voice + hiss * 0.05) * 4000.0) as i16
        })
        .collect()
}

/// Who receives over a link that loses, reports, and hears.
struct Listener {
    seed: u64,
    lossy: Box<dyn Decoder>,
    clean: Box<dyn Decoder>,
    receiver: rtp::Receiver,
    /// Packets in a row that did not come: for each, what it would have sounded like.
    missing: Vec<Vec<i16>>,
    report_at: Instant,
    bytes: usize,
    /// Stretches of 20 ms, and those of them that sound as they should.
    windows: (u32, u32),
}

/// One step of the staircase: what it came to.
#[derive(Debug)]
struct Step {
    kbit_per_s: f64,
    ptime_ms: u32,
    /// The share of stretches that sound as they should.
    score: f64,
}

impl Listener {
    fn new() -> Self {
        let decoder = || CodecKind::Opus.relay_decoder(8000).unwrap();
        Self {
            seed: 7,
            lossy: decoder(),
            clean: decoder(),
            receiver: rtp::Receiver::new(48_000),
            missing: Vec::new(),
            report_at: epoch() + Duration::from_secs(1),
            bytes: 0,
            windows: (0, 0),
        }
    }

    fn is_lost(&mut self, percent: u64) -> bool {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % 100 < percent
    }

    fn take(&mut self, now: Instant, bytes: &[u8], percent: u64) {
        let packet = RtpPacket::parse(bytes).unwrap();
        self.bytes += bytes.len();
        let mut wanted = Vec::new();
        self.clean.decode(packet.payload(), &mut wanted).unwrap();
        if self.is_lost(percent) {
            self.missing.push(wanted);
            return;
        }
        self.receiver.handle_packet(now, packet.sequence(), packet.timestamp());
        let missing = std::mem::take(&mut self.missing);
        for (n, wanted) in missing.iter().enumerate() {
            let next = (n + 1 == missing.len()).then_some(packet.payload());
            let mut heard = Vec::new();
            self.lossy.conceal(wanted.len(), next, &mut heard);
            self.compare(wanted, &heard);
        }
        let mut heard = Vec::new();
        self.lossy.decode(packet.payload(), &mut heard).unwrap();
        self.compare(&wanted, &heard);
    }

    fn compare(&mut self, wanted: &[i16], heard: &[i16]) {
        for (wanted, heard) in wanted.chunks_exact(FRAME).zip(heard.chunks_exact(FRAME)) {
            let sum = |a: &[i16], b: &[i16]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let likeness =
                sum(wanted, heard) / (sum(wanted, wanted) * sum(heard, heard)).sqrt().max(1.0);
            self.windows.0 += 1;
            self.windows.1 += u32::from(likeness > 0.8);
        }
    }

    /// A report, if one is due: each second, as browsers send them.
    fn report(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.report_at {
            return None;
        }
        self.report_at = now + Duration::from_secs(1);
        let block: ReportBlock = self.receiver.report_block(now, 77);
        let report = Report { ssrc: 9, blocks: &[block], cname: "c", ..Report::default() };
        let mut bytes = vec![0; 200];
        let len = report.write(&mut bytes).unwrap();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// Up and down `stairs` of loss, each of so many seconds; what each came to, and when the transcoder
/// changed what it codes.
fn climb(stairs: &[u64], seconds: usize, adapts: bool) -> (Vec<Step>, Vec<Duration>) {
    let mut transcoder = Transcoder::new(plan(CodecKind::Pcmu, CodecKind::Opus, 20), 1).unwrap();
    let mut encoder = CodecKind::Pcmu.encoder().unwrap();
    let speech = voice(seconds * stairs.len());
    let mut listener = Listener::new();
    let (mut steps, mut changes, mut known) = (Vec::new(), Vec::new(), 0);
    for (n, frame) in speech.chunks_exact(FRAME).enumerate() {
        let passed = Duration::from_millis(20 * n as u64);
        let (now, loss) = (epoch() + passed, stairs[n / (seconds * 50)]);
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).unwrap();
        let bytes = packet(IN, n as u16, (n * FRAME) as u32, &payload);
        transcoder.handle_packet(now, &RtpPacket::parse(&bytes).unwrap());
        while let Some(bytes) = transcoder.poll_packet() {
            listener.take(now, bytes, loss);
        }
        if let Some(report) = listener.report(now).filter(|_| adapts) {
            transcoder.handle_report(now, &report);
        }
        let coded = transcoder.coded().unwrap();
        if coded.changes != known {
            known = coded.changes;
            changes.push(passed);
        }
        // The second half of a step: the first is for the reports to arrive.
        if n % (seconds * 50) == seconds * 25 {
            (listener.bytes, listener.windows) = (0, (0, 0));
        }
        if (n + 1) % (seconds * 50) == 0 {
            let (all, good) = listener.windows;
            let kbit_per_s = listener.bytes as f64 * 8.0 / 1e3 / (seconds as f64 / 2.0);
            let score = f64::from(good) / f64::from(all);
            steps.push(Step { kbit_per_s, ptime_ms: coded.ptime_ms, score });
        }
    }
    (steps, changes)
}

#[test]
fn r5_9_bits_repair_and_packet_time_follow_a_staircase_of_loss_up_and_down() {
    let stairs = [0, 5, 15, 35, 15, 5, 0];
    let (steps, changes) = climb(&stairs, 60, true);
    let (without, none) = climb(&stairs, 60, false);
    assert!(none.is_empty());
    println!("{steps:#.3?}\n{without:#.3?}\n{changes:?}");

    // Up and down again, and where it began at the end.
    let ptimes: Vec<u32> = steps.iter().map(|step| step.ptime_ms).collect();
    assert_eq!(ptimes, [20, 20, 40, 60, 40, 20, 20]);
    let rates: Vec<f64> = steps.iter().map(|step| step.kbit_per_s).collect();
    assert!(rates[3] < rates[0] * 0.65, "{rates:?}");
    assert!(rates[2] < rates[1] && rates[3] < rates[2] && rates[4] > rates[3], "{rates:?}");
    assert!((rates[6] - rates[0]).abs() < rates[0] * 0.05, "{rates:?}");
    // R5.9: no more than one change in five seconds.
    assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= ADAPTS_AFTER), "{changes:?}");
    assert!((4..=9).contains(&changes.len()), "{changes:?}");

    // What is heard stays above a floor, and above what it would be.
    for (step, floor) in [(1, 0.96), (2, 0.92), (4, 0.92), (5, 0.96)] {
        let (score, bare) = (steps[step].score, without[step].score);
        assert!(score > floor && score > bare, "step {step}: {score:.3}, {bare:.3} without");
    }
    assert!(steps[3].score > 0.55 && steps[3].score > without[3].score, "{steps:?}");
}

#[test]
fn r5_9_a_digit_is_sent_whole_before_packets_change() {
    let mut transcoder = Transcoder::new(plan(CodecKind::Pcmu, CodecKind::Opus, 20), 1).unwrap();
    let mut payload = Vec::new();
    CodecKind::Pcmu.encoder().unwrap().encode(&[0; FRAME], &mut payload).unwrap();
    let block = ReportBlock { fraction_lost: 128, ..ReportBlock::default() };
    let report = Report { ssrc: 9, blocks: &[block], cname: "c", ..Report::default() };
    let mut bytes = [0; 200];
    let len = report.write(&mut bytes).unwrap();
    let mut ended = None;
    for n in 0..60_u16 {
        let now = epoch() + Duration::from_millis(20 * u64::from(n));
        let sound = packet(IN, n, u32::from(n) * 160, &payload);
        transcoder.handle_packet(now, &RtpPacket::parse(&sound).unwrap());
        while let Some(bytes) = transcoder.poll_packet() {
            let packet = RtpPacket::parse(bytes).unwrap();
            if packet.payload_type() == 110 && packet.payload()[1] & 0x80 != 0 {
                ended = Some(u16::from_be_bytes([packet.payload()[2], packet.payload()[3]]));
                assert_eq!(transcoder.coded().unwrap().ptime_ms, 20);
            }
        }
        if n == 5 {
            assert!(transcoder.send_digit(now, Digit { digit: '7', duration_ms: 200 }));
        }
        if n == 8 {
            transcoder.handle_report(now, &bytes[..len]);
        }
    }
    assert_eq!(ended, Some(200 * 48), "the digit has its length");
    assert_eq!(transcoder.coded().unwrap().ptime_ms, 60);
}
