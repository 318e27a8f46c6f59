//! The stream that leaves: frames of sound, packets with a numbering of their own.

use audio::{CodecKind, Encoder, Error};
use rtp::{HEADER_LEN, Header};

use super::adaptation::Rung;
use super::plan::{EventsOut, PTIMES_MS, SoundOut};

/// Packets that one packet in can become: 120 ms of Opus are twelve of 10 ms; and repetitions.
const PACKETS_MAX: usize = 32;

/// Collects sound, makes packets, holds them until they are taken.
#[derive(Debug)]
pub(super) struct Output {
    pub ssrc: u32,
    coding: Option<Coding>,
    events: Option<EventsOut>,
    sequence: u16,
    /// Where the next sound goes, in the receiver's clock: the first sample of `sound`.
    timestamp: u32,
    marker: bool,
    sound: Vec<i16>,
    /// Packets one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    taken: usize,
    pub packets: u32,
    pub octets: u32,
}

#[derive(Debug)]
struct Coding {
    kind: CodecKind,
    payload_type: u8,
    encoder: Box<dyn Encoder>,
    rate: u32,
    frame: usize,
    ptime_ms: u32,
    /// The packet time there is when all is well, and the longest.
    agreed_ms: u32,
    longest_ms: u32,
    bitrate: Option<u32>,
}

impl Output {
    pub(super) fn new(
        sound: Option<SoundOut>,
        events: Option<EventsOut>,
        rate: u32,
    ) -> Result<Self, Error> {
        let coding = sound.map(|sound| Coding::new(sound, rate)).transpose()?;
        Ok(Self {
            ssrc: 0,
            coding,
            events,
            sequence: 0,
            timestamp: 0,
            marker: true,
            sound: Vec::with_capacity(rate as usize / 4),
            bytes: Vec::with_capacity(4096),
            ends: Vec::with_capacity(PACKETS_MAX),
            taken: 0,
            packets: 0,
            octets: 0,
        })
    }

    /// What the codec takes of bits a second when all is well; `None` where it has no choice.
    pub(super) fn usual_bitrate(&self) -> Option<u32> {
        let coding = self.coding.as_ref()?;
        coding.kind.relay_bitrate(coding.rate)
    }

    /// Codes as the rung says from the next frame on.
    pub(super) fn adapt(&mut self, rung: &Rung) {
        let usual = self.usual_bitrate();
        let Some(coding) = &mut self.coding else { return };
        coding.encoder.set_expected_loss(rung.expected_loss);
        coding.bitrate = usual.map(|usual| usual / 4 * rung.bitrate_quarters);
        coding.bitrate.into_iter().for_each(|bits| coding.encoder.set_bitrate(bits));
        let ptime_ms = rung.ptime_ms.min(coding.longest_ms).max(coding.agreed_ms);
        coding.ptime_ms = ptime_ms;
        coding.frame = (coding.rate * ptime_ms / 1000) as usize;
    }

    /// Bits a second, where the codec has a choice, and the time in a packet.
    pub(super) fn coded(&self) -> Option<(Option<u32>, u32)> {
        self.coding.as_ref().map(|coding| (coding.bitrate, coding.ptime_ms))
    }

    /// Takes over another's numbering: the receiver's stream goes on.
    pub(super) fn continue_from(&mut self, other: &Self) {
        (self.ssrc, self.sequence, self.timestamp) = (other.ssrc, other.sequence, other.timestamp);
        (self.packets, self.octets) = (other.packets, other.octets);
    }

    /// The first packet's numbers: as its sender's, so that nothing jumps when packets begin or
    /// cease to be worked on.
    pub(super) fn begin(&mut self, ssrc: u32, sequence: u16, timestamp: u32) {
        (self.ssrc, self.sequence, self.timestamp) = (ssrc, sequence, timestamp);
    }

    /// Forgets packets that were taken.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.taken = 0;
    }

    /// The next packet.
    pub(super) fn poll(&mut self) -> Option<&[u8]> {
        let end = *self.ends.get(self.taken)?;
        let start = self.taken.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.taken += 1;
        Some(&self.bytes[start..end])
    }

    /// Samples of a frame, 20 ms where no sound is coded.
    pub(super) fn frame(&self) -> usize {
        self.coding.as_ref().map_or(160, |coding| coding.frame)
    }

    pub(super) fn ptime_ms(&self) -> u32 {
        self.coding.as_ref().map_or(20, |coding| coding.ptime_ms)
    }

    /// Ticks of a frame, in the receiver's clock.
    pub(super) fn frame_ticks(&self) -> u32 {
        let events = self.events.map_or(8000, |events| events.clock_rate);
        let clock = self.coding.as_ref().map_or(events, |coding| coding.kind.clock_rate());
        clock * self.ptime_ms() / 1000
    }

    pub(super) fn has_frame(&self) -> bool {
        self.coding.is_some() && self.sound.len() >= self.frame()
    }

    /// The frame that is due.
    pub(super) fn next_frame(&mut self) -> &mut [i16] {
        let frame = self.frame();
        &mut self.sound[..frame]
    }

    /// Where the frame that is due begins.
    pub(super) fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// Where the next sample to come stands.
    pub(super) fn position(&self) -> u32 {
        let Some(coding) = &self.coding else { return self.timestamp };
        let ticks = self.sound.len() as u64 * u64::from(coding.kind.clock_rate());
        self.timestamp.wrapping_add((ticks / u64::from(coding.rate)) as u32)
    }

    pub(super) fn sound_mut(&mut self) -> &mut Vec<i16> {
        &mut self.sound
    }

    /// Codes the frame that is due and sends it.
    pub(super) fn send_frame(&mut self) {
        let timestamp = self.timestamp;
        let Some(mut coding) = self.coding.take() else { return };
        let start = self.bytes.len();
        self.bytes.resize(start + HEADER_LEN, 0);
        let coded = coding.encoder.encode(&self.sound[..coding.frame], &mut self.bytes);
        let payload_type = coding.payload_type;
        self.coding = Some(coding);
        match coded {
            Ok(()) => self.seal(start, payload_type, timestamp, false),
            // A frame of a length that no codec here refuses: nothing is sent in its place.
            Err(_) => self.bytes.truncate(start),
        }
        self.drop_frame();
    }

    /// Passes over the frame that is due.
    pub(super) fn drop_frame(&mut self) {
        let frame = self.frame().min(self.sound.len());
        self.sound.drain(..frame);
        self.timestamp = self.timestamp.wrapping_add(self.frame_ticks());
    }

    /// Completes what is there to a frame, with silence.
    pub(super) fn fill_frame(&mut self) {
        let frame = self.frame();
        let rest = self.sound.len() % frame;
        if self.coding.is_some() && rest > 0 {
            self.sound.resize(self.sound.len() + frame - rest, 0);
        }
    }

    /// Goes on at another time: after a pause, or where the sender jumped.
    pub(super) fn jump(&mut self, timestamp: u32) {
        self.sound.clear();
        self.timestamp = timestamp;
        self.marker = true;
    }

    /// Sends a packet of the receiver's events.
    pub(super) fn send_event(&mut self, timestamp: u32, marker: bool, payload: [u8; 4]) {
        if let Some(events) = self.events {
            self.write(events.payload_type, timestamp, marker, &payload);
            self.marker = true;
        }
    }

    pub(super) fn events(&self) -> Option<EventsOut> {
        self.events
    }

    /// Sends a packet that is passed.
    pub(super) fn pass(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload: &[u8]) {
        let marker = std::mem::take(&mut self.marker) && self.packets > 0 || marker;
        self.write(payload_type, timestamp, marker, payload);
        self.sound.clear();
        self.timestamp = timestamp.wrapping_add(self.frame_ticks());
    }

    fn write(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.resize(start + HEADER_LEN, 0);
        self.bytes.extend_from_slice(payload);
        let before = std::mem::replace(&mut self.marker, marker);
        self.seal(start, payload_type, timestamp, marker);
        self.marker = before;
    }

    fn seal(&mut self, start: usize, payload_type: u8, timestamp: u32, marker: bool) {
        if self.ends.len() >= PACKETS_MAX {
            self.bytes.truncate(start);
            return;
        }
        let marker = std::mem::take(&mut self.marker) || marker;
        let (sequence, ssrc) = (self.sequence, self.ssrc);
        let header = Header { payload_type, sequence, timestamp, ssrc, marker };
        // The room was made above: it cannot fail.
        let _ = rtp::write_header(&mut self.bytes[start..], &header);
        self.ends.push(self.bytes.len());
        self.sequence = sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        let octets = (self.bytes.len() - start - HEADER_LEN) as u32;
        self.octets = self.octets.wrapping_add(octets);
    }
}

impl Coding {
    fn new(sound: SoundOut, rate: u32) -> Result<Self, Error> {
        let ptime_ms = if PTIMES_MS.contains(&sound.ptime_ms) { sound.ptime_ms } else { 20 };
        // libopus has no frame of 30 ms.
        let ptime_ms = match (sound.codec, ptime_ms) {
            (CodecKind::Opus, 30) => 20,
            (_, ms) => ms,
        };
        // Of the rungs' two, what the receiver takes.
        let longest = [60, 40].into_iter().find(|ms| *ms <= sound.ptime_ms_max);
        Ok(Self {
            kind: sound.codec,
            payload_type: sound.payload_type,
            encoder: sound.codec.relay_encoder(rate)?,
            rate,
            frame: (rate * ptime_ms / 1000) as usize,
            ptime_ms,
            agreed_ms: ptime_ms,
            longest_ms: longest.unwrap_or(ptime_ms).max(ptime_ms),
            bitrate: sound.codec.relay_bitrate(rate),
        })
    }
}
