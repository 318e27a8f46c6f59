//! R5.5: one codec into another, with its clock, its packet time and its pauses.

use std::time::{Duration, Instant};

use audio::{CodecKind, Decoder, Tone, level};
use media::transcode::{EventsOut, Input, Meaning, Plan, SoundOut, Transcoder};
use proptest::prelude::*;
use rtp::{Header, RtpPacket};
use sansio::testing::epoch;

use crate::allocations;

const IN: u8 = 96;
const OUT: u8 = 97;
const EVENTS_IN: u8 = 101;
const EVENTS_OUT: u8 = 110;

pub fn plan(from: CodecKind, to: CodecKind, ptime_ms: u32) -> Plan {
    let clock_rate = from.clock_rate();
    Plan {
        inputs: vec![
            Input { payload_type: IN, clock_rate, meaning: Meaning::Sound(from) },
            Input { payload_type: EVENTS_IN, clock_rate, meaning: Meaning::Events },
            Input { payload_type: 13, clock_rate: 8000, meaning: Meaning::ComfortNoise },
        ],
        sound: Some(SoundOut { codec: to, payload_type: OUT, ptime_ms, ptime_ms_max: 60 }),
        events: Some(EventsOut { payload_type: EVENTS_OUT, clock_rate: to.clock_rate() }),
        ..Plan::default()
    }
}

/// Packets of a tone, as a phone sends them.
fn tone_packets(kind: CodecKind, ptime_ms: u32, count: u16) -> Vec<Vec<u8>> {
    let mut encoder = kind.encoder().unwrap();
    let mut tone = Tone::test(kind.sample_rate());
    let mut frame = vec![0; (kind.sample_rate() * ptime_ms / 1000) as usize];
    let ticks = kind.clock_rate() * ptime_ms / 1000;
    (0..count)
        .map(|n| {
            tone.fill(&mut frame);
            let mut payload = Vec::new();
            encoder.encode(&frame, &mut payload).unwrap();
            // Close to the ends of both numberings, so that they wrap.
            let sequence = n.wrapping_sub(20);
            let timestamp = 0_u32.wrapping_sub(3000).wrapping_add(u32::from(n) * ticks);
            packet(IN, sequence, timestamp, &payload)
        })
        .collect()
}

pub fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header { payload_type, sequence, timestamp, ssrc: 77, marker: false };
    let mut bytes = vec![0; 12 + payload.len()];
    rtp::write_packet(&mut bytes, &header, payload).unwrap();
    bytes
}

/// Gives packets to a transcoder; what leaves.
fn through(transcoder: &mut Transcoder, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut left = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        let now = epoch() + Duration::from_millis(20 * n as u64);
        transcoder.handle_packet(now, &RtpPacket::parse(packet).unwrap());
        while let Some(packet) = transcoder.poll_packet() {
            left.push(packet.to_vec());
        }
    }
    left
}

fn decode(kind: CodecKind, packets: &[Vec<u8>]) -> Vec<i16> {
    let mut decoder: Box<dyn Decoder> = kind.decoder().unwrap();
    let mut sound = Vec::new();
    for packet in packets {
        decoder.decode(RtpPacket::parse(packet).unwrap().payload(), &mut sound).unwrap();
    }
    sound
}

/// Numbers without a hole, and times that step by `ticks`.
fn assert_continuous(packets: &[Vec<u8>], ticks: u32) {
    for pair in packets.windows(2) {
        let headers = [&pair[0], &pair[1]].map(|p| RtpPacket::parse(p).unwrap().header());
        assert_eq!(headers[1].sequence, headers[0].sequence.wrapping_add(1));
        assert_eq!(headers[1].timestamp, headers[0].timestamp.wrapping_add(ticks));
        assert_eq!((headers[1].ssrc, headers[1].payload_type), (77, OUT));
        assert!(!headers[1].marker, "no talk spurt begins in the middle");
    }
}

/// How much of a sound is the test tone, in dB above the rest.
fn purity(sound: &[i16], rate: u32) -> f64 {
    let w = std::f64::consts::TAU * 1000.0 / f64::from(rate);
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in sound.iter().enumerate() {
        let s = f64::from(*sample);
        re += s * (w * n as f64).cos();
        im += s * (w * n as f64).sin();
        all += s * s;
    }
    let tone = 2.0 * (re * re + im * im) / sound.len() as f64;
    10.0 * (tone / (all - tone).max(1.0)).log10()
}

#[test]
fn r5_5_every_codec_becomes_every_other_and_the_tone_stays() {
    for from in CodecKind::ALL {
        for to in CodecKind::ALL {
            let mut transcoder = Transcoder::new(plan(from, to, 20), 1).unwrap();
            let left = through(&mut transcoder, &tone_packets(from, 20, 100));
            assert!((99..=100).contains(&left.len()), "{from:?} to {to:?}: {}", left.len());
            assert_continuous(&left, to.clock_rate() / 50);
            let sound = decode(to, &left);
            let steady = &sound[sound.len() / 2..];
            let dbov = level::dbov(steady);
            assert!((dbov + 13.2).abs() < 0.6, "{from:?} to {to:?}: {dbov} dBov");
            let purity = purity(steady, to.sample_rate());
            assert!(purity > 20.0, "{from:?} to {to:?}: {purity} dB");
        }
    }
}

#[test]
fn r5_5_packet_times_are_converted_without_losing_a_sample() {
    for (from, to) in [(CodecKind::Opus, CodecKind::Pcmu), (CodecKind::Pcma, CodecKind::Opus)] {
        for ptime_in in [10, 20, 40, 60] {
            for ptime_out in [10, 20, 40, 60] {
                let mut transcoder = Transcoder::new(plan(from, to, ptime_out), 1).unwrap();
                let count = 2400 / ptime_in;
                let left = through(&mut transcoder, &tone_packets(from, ptime_in, count as u16));
                assert_eq!(left.len() as u32, 2400 / ptime_out, "{ptime_in} to {ptime_out}");
                assert_continuous(&left, to.clock_rate() * ptime_out / 1000);
            }
        }
    }
    // 30 ms: G.711 has it, libopus has not and sends 20.
    let mut transcoder = Transcoder::new(plan(CodecKind::Opus, CodecKind::Pcmu, 30), 1).unwrap();
    let left = through(&mut transcoder, &tone_packets(CodecKind::Opus, 20, 30));
    assert_eq!(left.len(), 20);
    assert_continuous(&left, 240);
}

#[test]
fn r5_5_lost_packets_are_concealed_in_their_own_time() {
    for kind in [CodecKind::Opus, CodecKind::G722, CodecKind::Pcma] {
        let mut transcoder = Transcoder::new(plan(kind, CodecKind::Pcmu, 20), 1).unwrap();
        let mut packets = tone_packets(kind, 20, 200);
        let mut n = 0;
        packets.retain(|_| {
            n += 1;
            n % 10 != 5 && n % 50 != 6
        });
        let left = through(&mut transcoder, &packets);
        assert_eq!(left.len(), 200, "{kind:?}");
        assert_continuous(&left, 160);
        let sound = decode(CodecKind::Pcmu, &left);
        let quiet = sound[4000..].chunks(160).filter(|frame| level::dbov(frame) < -25.0).count();
        assert!(quiet <= 2, "{kind:?}: {quiet} frames fell silent");
    }
}

#[test]
fn r5_5_late_and_doubled_packets_change_nothing() {
    let packets = tone_packets(CodecKind::Opus, 20, 60);
    let mut disordered = packets.clone();
    disordered.insert(31, packets[30].clone());
    disordered.insert(45, packets[41].clone());
    let run = |packets: &[Vec<u8>]| {
        let plan = plan(CodecKind::Opus, CodecKind::Pcmu, 20);
        let mut transcoder = Transcoder::new(plan, 1).unwrap();
        (through(&mut transcoder, packets), transcoder.dropped())
    };
    let (wanted, _) = run(&packets);
    assert_eq!(run(&disordered), (wanted, 2));
}

/// A sender that says nothing in pauses (DTX): the times keep the pause, and the marker says so.
#[test]
fn r5_5_a_pause_stays_a_pause() {
    let mut packets = tone_packets(CodecKind::Opus, 20, 50);
    for (n, packet) in packets.iter_mut().enumerate().skip(25) {
        let timestamp = 0_u32.wrapping_sub(3000).wrapping_add((n as u32 * 20 + 730) * 48);
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }
    let plan = plan(CodecKind::Opus, CodecKind::Pcmu, 20);
    let left = through(&mut Transcoder::new(plan, 1).unwrap(), &packets);
    assert_eq!(left.len(), 50);
    assert_continuous(&left[..25], 160);
    assert_continuous(&left[25..], 160);
    let headers = [24, 25].map(|n: usize| RtpPacket::parse(&left[n]).unwrap().header());
    assert_eq!(headers[1].timestamp.wrapping_sub(headers[0].timestamp), 750 * 8);
    assert_eq!(headers[1].sequence, headers[0].sequence.wrapping_add(1));
    assert!(headers[1].marker, "a talk spurt begins");
}

#[test]
fn r5_5_comfort_noise_passes_to_who_knows_it_and_is_a_pause_to_others() {
    for known in [Some(13), None] {
        let plan = Plan { comfort_noise: known, ..plan(CodecKind::Pcma, CodecKind::Pcmu, 20) };
        let mut packets = tone_packets(CodecKind::Pcma, 20, 50);
        let at = |n: u16| 0_u32.wrapping_sub(3000).wrapping_add(u32::from(n) * 160);
        packets[20] = packet(13, 0, at(20), &[40]);
        packets.drain(21..30);
        // What follows has the sequence after the noise, and its own time.
        for (n, packet) in packets.iter_mut().enumerate().skip(21) {
            packet[2..4].copy_from_slice(&(n as u16 - 20).to_be_bytes());
        }
        let left = through(&mut Transcoder::new(plan, 1).unwrap(), &packets);
        let types: Vec<u8> =
            left.iter().map(|p| RtpPacket::parse(p).unwrap().payload_type()).collect();
        assert_eq!(types.iter().filter(|t| **t == 13).count(), usize::from(known.is_some()));
        let after =
            RtpPacket::parse(&left[if known.is_some() { 21 } else { 20 }]).unwrap().header();
        assert!(after.marker);
        assert_eq!(after.timestamp, at(30));
        assert_eq!(usize::from(after.sequence), if known.is_some() { 1 } else { 0 });
    }
}

#[test]
fn r5_5_events_take_the_other_sides_number_and_clock() {
    let plan = plan(CodecKind::Opus, CodecKind::Pcmu, 20);
    let mut transcoder = Transcoder::new(plan, 1).unwrap();
    let mut packets = tone_packets(CodecKind::Opus, 20, 10);
    let start = 0_u32.wrapping_sub(3000).wrapping_add(10 * 960);
    for n in 1..=5_u16 {
        let event = rtp::dtmf::EventPayload { event: 5, end: n >= 3, volume: 10, duration: 0 };
        let event = rtp::dtmf::EventPayload { duration: 960 * n.min(3), ..event };
        packets.push(packet(EVENTS_IN, n.wrapping_sub(11), start, &event.to_bytes()));
    }
    let left = through(&mut transcoder, &packets);
    let events: Vec<RtpPacket<'_>> =
        left[10..].iter().map(|p| RtpPacket::parse(p).unwrap()).collect();
    assert_eq!(events.len(), 5);
    let audio = RtpPacket::parse(&left[9]).unwrap().timestamp();
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event.payload_type(), EVENTS_OUT);
        assert_eq!(event.timestamp(), audio.wrapping_add(160), "all at the time it began");
        assert_eq!(event.marker(), n == 0, "a missing marker is put there");
        let payload = rtp::dtmf::EventPayload::parse(event.payload()).unwrap();
        assert_eq!(payload.duration, 160 * (n as u16 + 1).min(3));
        assert_eq!((payload.event, payload.end), (5, n >= 2));
    }
}

/// A key held for three seconds does not fit the duration of a 48 kHz clock: it becomes segments.
#[test]
fn r5_7_a_long_key_becomes_one_event_of_several_segments() {
    let plan = plan(CodecKind::Pcmu, CodecKind::Opus, 20);
    let mut transcoder = Transcoder::new(plan, 1).unwrap();
    let mut packets = tone_packets(CodecKind::Pcmu, 20, 1);
    for n in 1..=152_u16 {
        let event = rtp::dtmf::EventPayload {
            event: 5,
            end: n >= 150,
            volume: 10,
            duration: 160 * n.min(150),
        };
        packets.push(packet(
            EVENTS_IN,
            n.wrapping_sub(20),
            160_u32.wrapping_sub(3000),
            &event.to_bytes(),
        ));
    }
    let mut receiver = rtp::dtmf::Receiver::new();
    let mut heard = Vec::new();
    for packet in through(&mut transcoder, &packets) {
        let packet = RtpPacket::parse(&packet).unwrap();
        if packet.payload_type() == EVENTS_OUT {
            heard.extend(
                receiver.handle_payload(packet.timestamp(), packet.payload()).into_iter().flatten(),
            );
        }
    }
    use rtp::dtmf::DtmfEvent::{Ended, Started};
    assert_eq!(heard, [Started('5'), Ended { digit: '5', duration: 3 * 48_000 }]);
}

#[test]
fn r5_5_a_new_source_goes_on_with_the_same_numbering() {
    let plan = plan(CodecKind::Pcma, CodecKind::Pcmu, 20);
    let mut transcoder = Transcoder::new(plan, 1).unwrap();
    let mut packets = tone_packets(CodecKind::Pcma, 20, 20);
    for packet in &mut packets[10..] {
        packet[2] = 0x55;
        packet[4] ^= 0x80;
        packet[11] = 9;
    }
    let left = through(&mut transcoder, &packets);
    assert_eq!(left.len(), 20);
    let headers: Vec<Header> = left.iter().map(|p| RtpPacket::parse(p).unwrap().header()).collect();
    for pair in headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
    }
    assert_ne!(headers[9].ssrc, headers[10].ssrc);
}

#[test]
fn r5_5_sender_reports_tell_of_the_stream_that_leaves() {
    let plan = plan(CodecKind::Opus, CodecKind::Pcmu, 20);
    let mut transcoder = Transcoder::new(plan, 1).unwrap();
    let left = through(&mut transcoder, &tone_packets(CodecKind::Opus, 20, 10));
    let last = RtpPacket::parse(left.last().unwrap()).unwrap().timestamp();
    let sender = rtp::rtcp::SenderInfo {
        rtp_timestamp: 0_u32.wrapping_sub(3000).wrapping_add(9 * 960 + 480),
        packets: 5000,
        octets: 6000,
        ..rtp::rtcp::SenderInfo::default()
    };
    let mut bytes = [0; 200];
    let report =
        rtp::rtcp::Report { ssrc: 77, sender: Some(sender), cname: "c", ..Default::default() };
    let len = report.write(&mut bytes).unwrap();
    transcoder.rewrite_report(&mut bytes[..len]);
    let items = rtp::rtcp::parse(&bytes[..len]).unwrap();
    let Some(rtp::rtcp::Item::Report { sender: Some(told), .. }) = items.first() else {
        panic!("{items:?}")
    };
    assert_eq!(told.rtp_timestamp, last.wrapping_add(80));
    assert_eq!((told.packets, told.octets), (10, 1600));
}

/// A receiver that loses packets gets Opus with repair in it: what a lost packet held comes back
/// better from the next one.
#[test]
fn r5_5_an_encoder_adapts_to_the_loss_its_receiver_reports() {
    let repaired = |fraction_lost: u8| {
        let plan = plan(CodecKind::G722, CodecKind::Opus, 20);
        let mut transcoder = Transcoder::new(plan, 1).unwrap();
        let block = rtp::rtcp::ReportBlock { fraction_lost, ..Default::default() };
        let report =
            rtp::rtcp::Report { ssrc: 9, blocks: &[block], cname: "c", ..Default::default() };
        let mut bytes = [0; 200];
        let len = report.write(&mut bytes).unwrap();
        transcoder.handle_report(epoch(), &bytes[..len]);
        let left = through(&mut transcoder, &tone_packets(CodecKind::G722, 20, 100));
        left.iter().map(Vec::len).sum::<usize>()
    };
    assert_ne!(repaired(0), repaired(64), "the repair is in the packets");
}

#[test]
fn r5_5_nothing_is_allocated_for_a_packet() {
    for (from, to) in [
        (CodecKind::Opus, CodecKind::Pcmu),
        (CodecKind::Pcmu, CodecKind::Opus),
        (CodecKind::G722, CodecKind::Pcma),
    ] {
        let packets = tone_packets(from, 20, 400);
        let mut transcoder = Transcoder::new(plan(from, to, 20), 1).unwrap();
        let run = |transcoder: &mut Transcoder, packets: &[Vec<u8>]| {
            for packet in packets {
                transcoder.handle_packet(epoch(), &RtpPacket::parse(packet).unwrap());
                while transcoder.poll_packet().is_some() {}
            }
        };
        run(&mut transcoder, &packets[..50]);
        let mut lossy = packets[50..].to_vec();
        lossy.remove(100);
        let before = allocations();
        run(&mut transcoder, &lossy);
        assert_eq!(allocations() - before, 0, "{from:?} to {to:?}");
    }
}

#[test]
fn a_transcoder_takes_less_than_a_call_of_rtpengines() {
    let now: Instant = epoch();
    let plan = plan(CodecKind::Opus, CodecKind::Pcmu, 20);
    let before = allocated_bytes();
    let mut transcoder = Transcoder::new(plan, 1).unwrap();
    for packet in tone_packets(CodecKind::Opus, 20, 3) {
        transcoder.handle_packet(now, &RtpPacket::parse(&packet).unwrap());
    }
    let ours = allocated_bytes() - before;
    assert!(ours < 64 * 1024, "{ours} bytes beside libopus, which takes 20 to 30 KiB a direction");
}

fn allocated_bytes() -> i64 {
    crate::allocated_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn r5_5_any_packets_are_taken_without_panic_and_leave_in_order(
        packets in prop::collection::vec(
            (prop::sample::select(vec![IN, EVENTS_IN, 13, 5]), any::<u16>(), any::<u32>(),
             prop::collection::vec(any::<u8>(), 0..200)), 0..40),
        kind in prop::sample::select(CodecKind::ALL.to_vec()),
    ) {
        let mut transcoder = Transcoder::new(plan(kind, CodecKind::Pcmu, 20), 1).unwrap();
        let mut last: Option<u16> = None;
        for (payload_type, sequence, timestamp, payload) in packets {
            let bytes = packet(payload_type, sequence, timestamp, &payload);
            transcoder.handle_packet(epoch(), &RtpPacket::parse(&bytes).unwrap());
            while let Some(packet) = transcoder.poll_packet() {
                let sequence = RtpPacket::parse(packet).unwrap().sequence();
                prop_assert!(last.is_none_or(|last| sequence == last.wrapping_add(1)));
                last = Some(sequence);
            }
        }
    }
}
