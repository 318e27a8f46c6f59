//! R5.7, the check: 16 digits, nine conversions, 0, 5 and 10 % loss on each of the two ways.

use std::time::{Duration, Instant};

use audio::dtmf::{ToneDetector, ToneEvent, ToneGenerator};
use audio::{CodecKind, Decoder, Encoder};
use media::transcode::{Digit, DigitForm, EventsOut, Input, Meaning, Plan, SoundOut, Transcoder};
use rtp::dtmf::{DtmfEvent, Receiver, Sender};
use rtp::{Header, RtpPacket};
use sansio::testing::epoch;

use crate::transcoding::packet;

const KEYS: &str = "0123456789*#ABCD";
const FORMS: [DigitForm; 3] = [DigitForm::Events, DigitForm::Info, DigitForm::Inband];
/// Frames from one digit to the next: 200 ms.
const EVERY: usize = 10;
const SOUND: u8 = 0;
const EVENTS: u8 = 101;

struct Dice(u64);

impl Dice {
    fn lost(&mut self, percent: u64) -> bool {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % 100 < percent
    }
}

fn plan(from: DigitForm, to: DigitForm, codec: CodecKind) -> Plan {
    let meaning = Meaning::Sound(CodecKind::Pcmu);
    Plan {
        inputs: vec![
            Input { payload_type: SOUND, clock_rate: 8000, meaning },
            Input { payload_type: EVENTS, clock_rate: 8000, meaning: Meaning::Events },
        ],
        sound: Some(SoundOut { codec, payload_type: SOUND, ptime_ms: 20, ptime_ms_max: 20 }),
        events: (to == DigitForm::Events)
            .then_some(EventsOut { payload_type: EVENTS, clock_rate: codec.clock_rate() }),
        comfort_noise: None,
        digits_in: from,
        digits_out: to,
    }
}

/// A phone that presses all keys for `ms` each, in one form; frames of 20 ms.
struct Presser {
    form: DigitForm,
    ms: u32,
    sender: Sender,
    tone: Option<ToneGenerator>,
    encoder: Box<dyn Encoder>,
    sequence: u16,
}

impl Presser {
    fn new(form: DigitForm, ms: u32) -> Self {
        let encoder = CodecKind::Pcmu.encoder().unwrap();
        Self { form, ms, sender: Sender::new(8000, 20), tone: None, encoder, sequence: 0 }
    }

    fn frame(&mut self, n: usize) -> (Option<Vec<u8>>, Option<Digit>) {
        let pressed =
            (n >= 20 && n.is_multiple_of(EVERY)).then(|| KEYS.chars().nth(n / EVERY - 2)).flatten();
        let timestamp = n as u32 * 160;
        if let Some(digit) = pressed {
            match self.form {
                DigitForm::Events => self.sender.push(digit, self.ms).unwrap(),
                DigitForm::Info => {}
                DigitForm::Inband => {
                    let mut tone = ToneGenerator::new(digit, 8000).unwrap();
                    tone.end_after(self.ms * 8);
                    self.tone = Some(tone);
                }
            }
        }
        let info = pressed.filter(|_| self.form == DigitForm::Info);
        let info = info.map(|digit| Digit { digit, duration_ms: self.ms });
        self.sequence += 1;
        if self.sender.is_active()
            && let Some(event) = self.sender.poll(timestamp)
        {
            let payload = event.payload.to_bytes();
            return (Some(packet(EVENTS, self.sequence, event.timestamp, &payload)), info);
        }
        let mut frame = [0_i16; 160];
        if let Some(tone) = &mut self.tone {
            frame.iter_mut().for_each(|sample| *sample = tone.next().unwrap_or(0));
        }
        let mut payload = Vec::new();
        self.encoder.encode(&frame, &mut payload).unwrap();
        (Some(packet(SOUND, self.sequence, timestamp, &payload)), info)
    }
}

/// A phone that listens for digits in all forms at once: none may come twice.
struct Listener {
    codec: CodecKind,
    receiver: Receiver,
    decoder: Box<dyn Decoder>,
    detector: ToneDetector,
    expected: Option<u32>,
    heard: Vec<(DigitForm, char, u32)>,
}

impl Listener {
    fn new(codec: CodecKind) -> Self {
        Self {
            codec,
            receiver: Receiver::new(),
            decoder: codec.decoder().unwrap(),
            detector: ToneDetector::new(),
            expected: None,
            heard: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let packet = RtpPacket::parse(bytes).unwrap();
        let Header { payload_type, timestamp, .. } = packet.header();
        if payload_type == EVENTS {
            let ms = |duration| duration * 1000 / self.codec.clock_rate();
            for event in self.receiver.handle_payload(timestamp, packet.payload()) {
                if let Some(DtmfEvent::Ended { digit, duration }) = event {
                    self.heard.push((DigitForm::Events, digit, ms(duration)));
                }
            }
            return;
        }
        assert_eq!(self.codec, CodecKind::Pcmu, "tones are looked for in PCMU");
        let mut sound = Vec::new();
        let missing = self.expected.map_or(0, |at| timestamp.wrapping_sub(at));
        self.decoder.conceal(missing.min(480) as usize, None, &mut sound);
        sound.truncate(missing.min(480) as usize);
        self.decoder.decode(packet.payload(), &mut sound).unwrap();
        self.expected = Some(timestamp + packet.payload().len() as u32);
        let heard = &mut self.heard;
        self.detector.process(&sound, |event| {
            if let ToneEvent::Ended { digit, samples, .. } = event {
                heard.push((DigitForm::Inband, digit, samples as u32 / 8));
            }
        });
    }
}

/// All keys from one form into another over two lossy ways; what the far phone understood.
fn pressed(
    from: DigitForm,
    to: DigitForm,
    ms: u32,
    loss: u64,
    seed: u64,
) -> Vec<(DigitForm, char, u32)> {
    let mut transcoder = Transcoder::new(plan(from, to, CodecKind::Pcmu), 5).unwrap();
    let mut presser = Presser::new(from, ms);
    let mut listener = Listener::new(CodecKind::Pcmu);
    let mut dice = Dice(seed);
    let mut now: Instant = epoch();
    for n in 0..(KEYS.len() + 4) * EVERY {
        let (bytes, info) = presser.frame(n);
        if let Some(digit) = info {
            assert!(transcoder.send_digit(now, digit));
        }
        if let Some(bytes) = bytes.filter(|_| !dice.lost(loss)) {
            transcoder.handle_packet(now, &RtpPacket::parse(&bytes).unwrap());
            while let Some(packet) = transcoder.poll_packet() {
                if !dice.lost(loss) {
                    listener.take(packet);
                }
            }
        }
        while let Some(digit) = transcoder.poll_digit() {
            listener.heard.push((DigitForm::Info, digit.digit, digit.duration_ms));
        }
        now += Duration::from_millis(20);
    }
    listener.heard
}

fn string(heard: &[(DigitForm, char, u32)]) -> String {
    heard.iter().map(|(_, digit, _)| *digit).collect()
}

#[test]
fn r5_7_sixteen_digits_in_nine_conversions_are_exact_on_a_clean_path() {
    for from in FORMS {
        for to in FORMS {
            for ms in [60, 100, 120] {
                let heard = pressed(from, to, ms, 0, 1);
                assert_eq!(string(&heard), KEYS, "{from:?} to {to:?} of {ms} ms: {heard:?}");
                for (form, digit, measured) in heard {
                    assert_eq!(form, to, "{digit} in another form than was asked for");
                    let tones = from == DigitForm::Inband || to == DigitForm::Inband;
                    let off = measured.abs_diff(ms);
                    assert!(off <= if tones { 6 } else { 0 }, "{from:?} to {to:?}: {measured} ms");
                }
            }
        }
    }
}

#[test]
fn r5_7_events_and_info_are_exact_at_5_and_10_percent_loss() {
    let exact = [DigitForm::Events, DigitForm::Info];
    for (from, to) in exact.into_iter().flat_map(|from| exact.map(|to| (from, to))) {
        for loss in [5, 10] {
            for seed in 0..20 {
                let heard = pressed(from, to, 100, loss, seed);
                assert_eq!(string(&heard), KEYS, "{from:?} to {to:?}, {loss} %, seed {seed}");
            }
        }
    }
}

#[test]
fn r5_7_tones_of_100_ms_survive_10_percent_loss_in_19_of_20() {
    for (from, to) in FORMS.into_iter().flat_map(|from| FORMS.map(|to| (from, to))) {
        if from != DigitForm::Inband && to != DigitForm::Inband {
            continue;
        }
        for loss in [5, 10] {
            let (mut right, mut of) = (0, 0);
            for seed in 0..20 {
                let heard = string(&pressed(from, to, 100, loss, seed));
                right += common(&heard, KEYS);
                of += KEYS.len().max(heard.len());
            }
            let share = right as f64 / of as f64;
            println!("{from:?} to {to:?} at {loss} %: {:.1} %", share * 100.0);
            assert!(share >= 0.95, "{from:?} to {to:?} at {loss} %: {share}");
        }
    }
}

/// The longest common subsequence: what was understood in its order.
fn common(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row = vec![0; b.len() + 1];
    for x in a.chars() {
        let mut diagonal = 0;
        for (n, y) in b.iter().enumerate() {
            let above = row[n + 1];
            row[n + 1] = if x == *y { diagonal + 1 } else { above.max(row[n]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Digits of a held or silent call: nothing comes that could carry them.
#[test]
fn r5_7_digits_go_out_by_time_where_no_sound_comes() {
    for to in [DigitForm::Events, DigitForm::Inband] {
        let mut transcoder =
            Transcoder::new(plan(DigitForm::Info, to, CodecKind::Pcmu), 5).unwrap();
        let mut listener = Listener::new(CodecKind::Pcmu);
        let mut now = epoch();
        for digit in "159".chars() {
            assert!(transcoder.send_digit(now, Digit { digit, duration_ms: 100 }));
        }
        assert!(transcoder.poll_timeout().is_some());
        // The packet threads look after timers every 50 ms.
        for _ in 0..40 {
            now += Duration::from_millis(50);
            transcoder.handle_timeout(now);
            while let Some(packet) = transcoder.poll_packet() {
                listener.take(packet);
            }
        }
        assert_eq!(string(&listener.heard), "159", "{to:?}");
        assert_eq!(transcoder.poll_timeout(), None, "nothing is left to do");
    }
    let mut info =
        Transcoder::new(plan(DigitForm::Events, DigitForm::Info, CodecKind::Pcmu), 5).unwrap();
    let event = rtp::dtmf::EventPayload { event: 7, end: false, volume: 10, duration: 800 };
    let bytes = packet(EVENTS, 1, 0, &event.to_bytes());
    info.handle_packet(epoch(), &RtpPacket::parse(&bytes).unwrap());
    let due = info.poll_timeout().expect("an end that never comes");
    info.handle_timeout(due);
    assert_eq!(info.poll_digit(), Some(Digit { digit: '7', duration_ms: 100 }));
}

/// Phones that send sound beside their events: the tone is heard once, the sound beside it never.
#[test]
fn r5_7_sound_beside_events_is_left_out() {
    let mut transcoder =
        Transcoder::new(plan(DigitForm::Events, DigitForm::Inband, CodecKind::Pcmu), 5).unwrap();
    let mut listener = Listener::new(CodecKind::Pcmu);
    let mut sender = Sender::new(8000, 20);
    let (mut now, mut sequence) = (epoch(), 0);
    for n in 0..60_u32 {
        if n % 20 == 10 {
            sender.push('8', 100).unwrap();
        }
        let event = sender.is_active().then(|| sender.poll(n * 160)).flatten();
        let event = event.map(|e| (EVENTS, e.timestamp, e.payload.to_bytes().to_vec()));
        for (payload_type, timestamp, payload) in
            event.into_iter().chain([(SOUND, n * 160, vec![0x30; 160])])
        {
            sequence += 1;
            let bytes = packet(payload_type, sequence, timestamp, &payload);
            transcoder.handle_packet(now, &RtpPacket::parse(&bytes).unwrap());
            while let Some(packet) = transcoder.poll_packet() {
                listener.take(packet);
            }
        }
        now += Duration::from_millis(20);
    }
    assert_eq!(string(&listener.heard), "888");
}

/// Between an Opus phone with 48 kHz events and a PCMU phone, durations are the same time.
#[test]
fn r5_7_durations_are_exact_between_clocks() {
    let mut transcoder =
        Transcoder::new(plan(DigitForm::Events, DigitForm::Events, CodecKind::Opus), 5).unwrap();
    let mut presser = Presser::new(DigitForm::Events, 100);
    let mut listener = Listener::new(CodecKind::Opus);
    for n in 0..(KEYS.len() + 4) * EVERY {
        let now = epoch() + Duration::from_millis(20 * n as u64);
        let bytes = presser.frame(n).0.unwrap();
        transcoder.handle_packet(now, &RtpPacket::parse(&bytes).unwrap());
        while let Some(packet) = transcoder.poll_packet() {
            if RtpPacket::parse(packet).unwrap().payload_type() == EVENTS {
                listener.take(packet);
            }
        }
    }
    assert_eq!(string(&listener.heard), KEYS);
    assert!(listener.heard.iter().all(|(_, _, ms)| *ms == 100), "{:?}", listener.heard);
}
