//! One direction of a call whose sides do not understand each other's packets: sound is decoded and
//! coded anew, packet times and clocks are converted, digits change their form.
//!
//! ```text
//!   packet ─► Source: in order? ─┬─ Pass   ─────────────────────────────► number, stamp ─┐
//!                                ├─ Sound  ─► decode ─► rate ─► frames ─► encode ────────┤
//!                                │            (what is lost is concealed)  ▲             ├─► packets
//!                                ├─ Events ─► as events, or ─► a tone ─────┘             │
//!                                │                       └──► digits told                │
//!                                └─ Noise  ─► as noise, or a pause ──────────────────────┘
//! ```
//!
//! The contract: after [`Transcoder::handle_packet`], [`Transcoder::handle_timeout`] and
//! [`Transcoder::send_digit`] take packets and digits until there are none. The stream that leaves
//! has numbers of its own, without holes; its timestamps keep the pauses of the one that comes.
//! Late packets are dropped: what they held was concealed when their turn came. After the first
//! packets nothing is allocated.
//!
//! What it does not do: it holds nothing back to put it in order, so it adds no delay beyond the
//! packet time.

mod adaptation;
mod keys;
mod output;
mod plan;
mod source;

use std::time::{Duration, Instant};

use adaptation::Adaptation;
use audio::{CodecKind, Decoder, Error, Resampler};
use rtp::rtcp::{self, Told};
use rtp::{Header, RtpPacket};

pub use adaptation::HOLD as ADAPTS_AFTER;
pub use keys::{DIGITS_MAX, Digit};
use keys::{Keys, Sounding, Verdict};
use output::Output;
pub use plan::{DigitForm, EventsOut, Input, Meaning, PTIMES_MS, Plan, SoundOut};
use source::{Place, Source, Step};

/// More than this is not concealed, but left out.
const CONCEAL_MS_MAX: u32 = 120;
/// Digits are clocked by time where no packet came for this long.
const IDLE: Duration = Duration::from_millis(60);
/// What a codec takes that has no choice.
const G711_BITRATE: u32 = 64_000;
/// Frames made by time at once: what a late timer may have missed.
const IDLE_FRAMES_MAX: u32 = 20;

/// See the module.
#[derive(Debug)]
pub struct Transcoder {
    plan: Plan,
    rate: u32,
    source: Option<Source>,
    decoders: Vec<Decoding>,
    out: Output,
    keys: Keys,
    adaptation: Adaptation,
    /// The rung that waits until no digit is under way.
    adapts: bool,
    heard_at: Option<Instant>,
    /// Up to when frames were made by time.
    clocked: Option<Instant>,
    dropped: u64,
}

/// How sound is coded for a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coded {
    /// Bits a second, where the codec has a choice.
    pub bitrate: Option<u32>,
    /// The time in a packet.
    pub ptime_ms: u32,
    /// How often the receiver's reports changed that.
    pub changes: u32,
}

/// One of the sender's codecs, from its first packet on.
#[derive(Debug)]
struct Decoding {
    kind: CodecKind,
    decoder: Box<dyn Decoder>,
    rate: u32,
    resampler: Option<Resampler>,
    sound: Vec<i16>,
    /// Samples of the last packet.
    last: u32,
}

impl Transcoder {
    /// A transcoder at rest. `ssrc` is for digits sent before any packet came.
    ///
    /// # Errors
    /// When a codec library cannot start.
    pub fn new(plan: Plan, ssrc: u32) -> Result<Self, Error> {
        let rate = plan.work_rate();
        let mut out = Output::new(plan.sound, plan.events, rate)?;
        out.begin(ssrc, ssrc as u16, ssrc);
        let keys = Keys::new(&plan, rate, out.ptime_ms())?;
        Ok(Self {
            plan,
            rate,
            source: None,
            decoders: Vec::new(),
            out,
            keys,
            adaptation: Adaptation::default(),
            adapts: false,
            heard_at: None,
            clocked: None,
            dropped: 0,
        })
    }

    /// What it does.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Does something else from now on; the stream that leaves goes on.
    ///
    /// # Errors
    /// As [`Transcoder::new`]; nothing has changed then.
    pub fn set_plan(&mut self, plan: Plan) -> Result<(), Error> {
        if plan != self.plan {
            let mut next = Self::new(plan, self.out.ssrc)?;
            next.out.continue_from(&self.out);
            // What is known of the way to the receiver stays true.
            next.adaptation = std::mem::take(&mut self.adaptation);
            next.adapts = true;
            *self = next;
            self.adapt();
        }
        Ok(())
    }

    /// Packets that were of no use: unknown, late or broken.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes a packet.
    pub fn handle_packet(&mut self, now: Instant, packet: &RtpPacket<'_>) {
        self.out.clear();
        self.adapt();
        let header = packet.header();
        let Some(input) = self.plan.input(header.payload_type) else {
            self.dropped += 1;
            return;
        };
        self.keys.handle_timeout(now);
        (self.heard_at, self.clocked) = (Some(now), None);
        let place = self.place(&header, input);
        let payload = packet.payload();
        match (input.meaning, place) {
            (Meaning::Events, _) => self.event(now, &header, input.clock_rate, payload),
            (_, Place::Next { lost }) => match input.meaning {
                Meaning::Pass { payload_type } => self.pass(payload_type, &header, payload),
                Meaning::Sound(kind) => self.sound(kind, &header, lost, payload),
                Meaning::ComfortNoise => self.noise(&header, payload),
                Meaning::Events => {}
            },
            (_, Place::Late | Place::Restart) => self.dropped += 1,
        }
    }

    /// Does what is due by time: digits without sound to carry them, events without an end.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.out.clear();
        self.keys.handle_timeout(now);
        if !self.keys.has_to_send() || self.heard_at.is_some_and(|at| now < at + IDLE) {
            return;
        }
        let step = Duration::from_millis(u64::from(self.out.ptime_ms()));
        let mut clocked = self.clocked.unwrap_or(now.checked_sub(step).unwrap_or(now));
        for _ in 0..IDLE_FRAMES_MAX {
            if clocked + step > now || !self.keys.has_to_send() {
                break;
            }
            clocked += step;
            self.idle_frame();
        }
        self.clocked = Some(clocked);
        if let Some(source) = &mut self.source {
            source.expected = None;
        }
    }

    /// When [`Transcoder::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let step = Duration::from_millis(u64::from(self.out.ptime_ms()));
        let frames = self.keys.has_to_send().then(|| {
            let heard = self.heard_at.map(|at| at + IDLE);
            self.clocked.map(|at| at + step).or(heard)
        });
        // A digit before any packet has nothing to wait for: `clocked` is set by `send_digit`.
        frames.flatten().into_iter().chain(self.keys.incoming.deadline()).min()
    }

    /// Has a digit sent in the receiver's form. False when it cannot be: no digit, no form that
    /// the receiver understands, or [`DIGITS_MAX`] wait.
    pub fn send_digit(&mut self, now: Instant, digit: Digit) -> bool {
        self.out.clear();
        let sent = self.keys.send(digit);
        if sent && self.heard_at.is_none_or(|at| now >= at + IDLE) {
            self.clocked.get_or_insert(now);
        }
        sent
    }

    /// Packets are on their way, or will be soon: a digit waits for them to go between, for a moment.
    pub fn expect_packets(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self) -> Option<&[u8]> {
        self.out.poll()
    }

    /// The next digit that leaves by INFO.
    pub fn poll_digit(&mut self) -> Option<Digit> {
        self.keys.poll_digit()
    }

    /// Puts what concerns our stream into the sender's report: time, packets and bytes
    /// (RFC 3550 §6.4.1, §7.1). Other packets stay as they are.
    pub fn rewrite_report(&mut self, rtcp: &mut [u8]) {
        const SENDER_REPORT: u8 = 200;
        let Some(source) = &mut self.source else { return };
        if rtcp.len() < 28 || rtcp[1] != SENDER_REPORT || rtcp[4..8] != source.ssrc.to_be_bytes() {
            return;
        }
        let timestamp = u32::from_be_bytes([rtcp[16], rtcp[17], rtcp[18], rtcp[19]]);
        rtcp[16..20].copy_from_slice(&source.map(timestamp).to_be_bytes());
        rtcp[20..24].copy_from_slice(&self.out.packets.to_be_bytes());
        rtcp[24..28].copy_from_slice(&self.out.octets.to_be_bytes());
    }

    /// Takes the receiver's report on what we send it: repair in the packets, bits and packet time
    /// follow it, with at most one change in [`ADAPTS_AFTER`]. Other packets say nothing.
    pub fn handle_report(&mut self, now: Instant, rtcp: &[u8]) {
        if self.out.coded().is_none() {
            return;
        }
        let usual = self.out.usual_bitrate().unwrap_or(G711_BITRATE);
        let (adaptation, mut first, mut heard) = (&mut self.adaptation, true, false);
        rtcp::told(rtcp, |told| match told {
            // The stream's own block stands first.
            Told::Block(block) if std::mem::take(&mut first) => {
                adaptation.note_loss(now, block.fraction_lost);
                heard = true;
            }
            Told::MaxBitrate(bits) => {
                adaptation.note_most(bits);
                heard = true;
            }
            _ => {}
        });
        if heard && self.adaptation.step(now, usual) {
            self.adapts = true;
            self.adapt();
        }
    }

    /// How it codes for its receiver now; `None` where it codes nothing.
    pub fn coded(&self) -> Option<Coded> {
        let (bitrate, ptime_ms) = self.out.coded()?;
        Some(Coded { bitrate, ptime_ms, changes: self.adaptation.changes() })
    }

    /// Does what was decided, unless a digit is under way: it is made of packets of one length.
    fn adapt(&mut self) {
        if !self.adapts || self.keys.has_to_send() {
            return;
        }
        self.adapts = false;
        self.out.adapt(self.adaptation.rung());
        self.keys.set_ptime(self.plan.events, self.out.ptime_ms());
    }

    /// Where a packet stands; a new stream takes the old one's place.
    fn place(&mut self, header: &Header, input: Input) -> Place {
        let place = self.source.as_mut().map_or(Place::Restart, |source| source.place(header));
        let is_sound = matches!(input.meaning, Meaning::Pass { .. } | Meaning::Sound(_));
        if place == Place::Restart {
            if self.source.is_none() && self.out.packets == 0 {
                self.out.begin(header.ssrc, header.sequence, header.timestamp);
            }
            self.flush();
            self.out.ssrc = header.ssrc;
            self.decoders.iter_mut().for_each(|d| d.decoder.reset());
            let clock_out = self.plan.clock_out().unwrap_or(input.clock_rate);
            let position = self.out.position();
            self.source = Some(Source::new(header, input.clock_rate, clock_out, position));
            return Place::Next { lost: 0 };
        }
        if let Some(source) = self.source.as_mut().filter(|s| s.clock_in() != input.clock_rate)
            && is_sound
            && place != Place::Late
        {
            source.anchor(header.timestamp, input.clock_rate, self.out.position());
            source.expected = None;
        }
        place
    }

    fn pass(&mut self, payload_type: u8, header: &Header, payload: &[u8]) {
        self.flush();
        let Some(source) = &mut self.source else { return };
        source.expected = None;
        let timestamp = source.map(header.timestamp);
        if !self.keys.event_due(timestamp, &mut self.out) {
            self.out.pass(payload_type, timestamp, header.marker, payload);
        }
    }

    fn noise(&mut self, header: &Header, payload: &[u8]) {
        self.flush();
        let Some(source) = &mut self.source else { return };
        source.expected = None;
        if let Some(payload_type) = self.plan.comfort_noise {
            let timestamp = source.map(header.timestamp);
            self.out.pass(payload_type, timestamp, header.marker, payload);
        }
    }

    fn sound(&mut self, kind: CodecKind, header: &Header, lost: u16, payload: &[u8]) {
        let Some(at) = self.decoding(kind) else { return };
        let Some(mut source) = self.source else { return };
        let clock = u64::from(source.clock_in());
        let rate = u64::from(self.decoders[at].rate);
        let Some(samples) = self.decoders[at].decoder.duration(payload) else {
            self.dropped += 1;
            return;
        };
        // Phones that send sound beside events send what the receiver hears as the event.
        if self.keys.incoming.is_down() && self.plan.digits_out == DigitForm::Inband {
            return;
        }
        let mut overlap = 0;
        match source.step_to(header.timestamp) {
            Step::Continues => {}
            Step::Overlap(ticks) => overlap = u64::from(ticks) * u64::from(self.rate) / clock,
            Step::Gap(ticks) => {
                let missing = u64::from(ticks) * rate / clock;
                let most = u64::from(lost) * u64::from(self.decoders[at].last);
                let longest = u64::from(CONCEAL_MS_MAX) * rate / 1000;
                let concealed = missing.min(most).min(longest);
                self.conceal(at, concealed as u32, payload);
                if missing > concealed {
                    self.pause_until(header.timestamp);
                }
            }
            Step::Unknown => self.pause_until(header.timestamp),
            Step::Jump => {
                self.flush();
                let position = self.out.position();
                source.anchor(header.timestamp, source.clock_in(), position);
                self.source = Some(source);
                self.out.jump(position);
            }
        }
        self.decode(at, payload, overlap as usize);
        self.decoders[at].last = samples;
        let ticks = (u64::from(samples) * clock / rate) as u32;
        self.expect(header.timestamp.wrapping_add(ticks));
        self.drain();
    }

    fn decode(&mut self, at: usize, payload: &[u8], overlap: usize) {
        let decoding = &mut self.decoders[at];
        decoding.sound.clear();
        if decoding.decoder.decode(payload, &mut decoding.sound).is_err() {
            self.dropped += 1;
            let samples = decoding.last as usize;
            decoding.decoder.conceal(samples, None, &mut decoding.sound);
        }
        let start = self.out.sound_mut().len();
        decoding.hand_over(self.out.sound_mut());
        let end = self.out.sound_mut().len().min(start + overlap);
        self.out.sound_mut().drain(start..end);
    }

    fn conceal(&mut self, at: usize, mut samples: u32, next: &[u8]) {
        let decoding = &mut self.decoders[at];
        decoding.sound.clear();
        while samples > 0 {
            let part = samples.min(decoding.last.max(1));
            samples -= part;
            // The packet after a lost one may hold its repair (Opus FEC).
            let repair = (samples == 0).then_some(next);
            decoding.decoder.conceal(part as usize, repair, &mut decoding.sound);
        }
        decoding.hand_over(self.out.sound_mut());
    }

    fn event(&mut self, now: Instant, header: &Header, clock_rate: u32, payload: &[u8]) {
        match self.plan.digits_out {
            DigitForm::Events => self.pass_event(header, clock_rate, payload),
            DigitForm::Info => {
                let (keys, mut told) = (&mut self.keys, [None; 2]);
                let tell = |digit| {
                    let free = told.iter_mut().find(|slot| slot.is_none());
                    free.into_iter().for_each(|slot| *slot = Some(digit));
                };
                keys.incoming.receive(now, header.timestamp, clock_rate, payload, tell);
                for digit in told.into_iter().flatten() {
                    keys.tell(digit);
                }
            }
            DigitForm::Inband => self.sound_event(now, header, clock_rate, payload),
        }
        if self.plan.digits_out != DigitForm::Inband
            && let Some(source) = &mut self.source
        {
            source.expected = None;
        }
    }

    fn pass_event(&mut self, header: &Header, clock_rate: u32, payload: &[u8]) {
        self.flush();
        let (Some(source), Some(events)) = (&mut self.source, self.out.events()) else { return };
        let incoming = &mut self.keys.incoming;
        let clock_out = events.clock_rate;
        let Some(passed) = incoming.pass(header.timestamp, clock_rate, clock_out, payload) else {
            self.dropped += 1;
            return;
        };
        let start = source.map(header.timestamp);
        if let Some((offset, full)) = passed.completed {
            self.out.send_event(start.wrapping_add(offset), false, full);
        }
        let timestamp = start.wrapping_add(passed.offset);
        self.out.send_event(timestamp, passed.first, passed.payload);
    }

    fn sound_event(&mut self, now: Instant, header: &Header, clock_rate: u32, payload: &[u8]) {
        let incoming = &mut self.keys.incoming;
        let sounding = incoming.receive(now, header.timestamp, clock_rate, payload, |_| {});
        if sounding == Sounding::Nothing {
            return;
        }
        let begins = sounding == Sounding::Begins;
        if begins {
            self.pause_until(header.timestamp);
            self.expect(header.timestamp);
        }
        let Some(mut source) = self.source else { return };
        let made = self.keys.incoming.sound(begins, payload, self.rate, self.out.sound_mut());
        if let Some(expected) = &mut source.expected {
            let ticks = made as u64 * u64::from(source_clock(&self.source)) / u64::from(self.rate);
            *expected = expected.wrapping_add(ticks as u32);
        }
        self.source = Some(source);
        self.drain();
    }

    /// Sends what is there and goes on at the time of `timestamp`, or where we are if that is later.
    fn pause_until(&mut self, timestamp: u32) {
        self.flush();
        self.keys.pause();
        let Some(source) = &mut self.source else { return };
        let (to, position) = (source.map(timestamp), self.out.position());
        if to.wrapping_sub(position).cast_signed() < 0 {
            source.anchor(timestamp, source.clock_in(), position);
            self.out.jump(position);
        } else {
            self.out.jump(to);
        }
    }

    fn expect(&mut self, timestamp: u32) {
        if let Some(source) = &mut self.source {
            source.expected = Some(timestamp);
        }
    }

    /// Sends what is there, completed with silence.
    fn flush(&mut self) {
        self.out.fill_frame();
        self.drain();
    }

    fn drain(&mut self) {
        while self.out.has_frame() {
            match self.keys.frame(&mut self.out) {
                Verdict::Send => self.out.send_frame(),
                Verdict::Drop => self.out.drop_frame(),
            }
        }
    }

    fn idle_frame(&mut self) {
        if self.plan.sound.is_some() {
            let len = self.out.sound_mut().len() + self.out.frame();
            self.out.sound_mut().resize(len, 0);
            self.drain();
        } else {
            let timestamp = self.out.timestamp();
            self.keys.event_due(timestamp, &mut self.out);
            self.out.drop_frame();
        }
    }

    /// The place of a codec's decoder, which is made at its first packet.
    fn decoding(&mut self, kind: CodecKind) -> Option<usize> {
        if let Some(at) = self.decoders.iter().position(|d| d.kind == kind) {
            return Some(at);
        }
        let rate = if kind.works_at(self.rate) { self.rate } else { kind.sample_rate() };
        let made = kind.relay_decoder(rate).ok()?;
        let resampler = match rate == self.rate {
            true => None,
            false => Some(Resampler::new(rate, self.rate).ok()?),
        };
        let sound = Vec::with_capacity(rate as usize / 4);
        self.decoders.push(Decoding {
            kind,
            decoder: made,
            rate,
            resampler,
            sound,
            last: rate / 50,
        });
        Some(self.decoders.len() - 1)
    }
}

impl Decoding {
    fn hand_over(&mut self, out: &mut Vec<i16>) {
        match &mut self.resampler {
            Some(resampler) => resampler.process(&self.sound, out),
            None => out.extend_from_slice(&self.sound),
        }
    }
}

fn source_clock(source: &Option<Source>) -> u32 {
    source.map_or(8000, |source| source.clock_in())
}
