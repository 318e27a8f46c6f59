//! What we send: packets of audio and digits.

use std::time::Instant;

use audio::{CodecKind, Encoder, PLAYOUT_FRAME, PLAYOUT_RATE, Resampler};
use rtp::dtmf;
use sansio::Entropy;
use sdp::offer_answer::Format;

use super::MediaError;

/// One RTP stream out.
#[derive(Debug)]
pub(super) struct Outbound {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// When `timestamp` was current, for sender reports.
    stamped_at: Option<Instant>,
    marker: bool,
    coding: Option<Coding>,
    packets: u64,
    octets: u64,
    loss_percent: u8,
}

#[derive(Debug)]
struct Coding {
    kind: CodecKind,
    payload_type: u8,
    event: Option<Event>,
    encoder: Box<dyn Encoder>,
    resampler: Resampler,
    pending: Vec<i16>,
    frame: usize,
    ptime_ms: u32,
}

#[derive(Debug)]
struct Event {
    payload_type: u8,
    sender: dtmf::Sender,
    /// Event clock units per audio clock unit, as a fraction.
    clock_rate: u32,
}

impl Outbound {
    pub(super) fn new(entropy: &mut dyn Entropy) -> Self {
        let random = entropy.next_u64();
        Self {
            ssrc: (random >> 32) as u32,
            // The upper half of the range is avoided, so that the first wrap is not at once
            // (RFC 3711 §3.3.1).
            sequence: (random & 0x7fff) as u16,
            timestamp: entropy.next_u64() as u32,
            stamped_at: None,
            marker: true,
            coding: None,
            packets: 0,
            octets: 0,
            loss_percent: 0,
        }
    }

    /// Sends with these from now on. What does not change goes on undisturbed.
    pub(super) fn configure(
        &mut self,
        send: &Format,
        event: Option<&Format>,
        ptime_ms: u32,
    ) -> Result<(), MediaError> {
        let kind = CodecKind::from_encoding_name(&send.map.encoding).unwrap_or(CodecKind::Pcmu);
        let same = self.coding.as_ref().is_some_and(|c| c.kind == kind && c.ptime_ms == ptime_ms);
        if !same {
            let rate = kind.sample_rate();
            self.coding = Some(Coding {
                kind,
                payload_type: send.map.payload_type,
                event: None,
                encoder: kind.encoder()?,
                resampler: Resampler::new(PLAYOUT_RATE, rate)?,
                pending: Vec::new(),
                frame: (rate * ptime_ms / 1000) as usize,
                ptime_ms,
            });
            self.marker = true;
        }
        let Some(coding) = &mut self.coding else { return Ok(()) };
        coding.payload_type = send.map.payload_type;
        let now = event.map(|e| e.map.clock_rate);
        if coding.event.as_ref().map(|e| e.clock_rate) != now {
            coding.event = event.map(|e| Event {
                payload_type: e.map.payload_type,
                sender: dtmf::Sender::new(e.map.clock_rate, ptime_ms),
                clock_rate: e.map.clock_rate,
            });
        }
        if let Some((ours, theirs)) = coding.event.as_mut().zip(event) {
            ours.payload_type = theirs.map.payload_type;
        }
        Ok(())
    }

    /// Takes 20 ms at 48 kHz; gives the packets that are complete. The timestamp runs on whether
    /// something is sent or not.
    pub(super) fn capture(
        &mut self,
        now: Instant,
        frame: &[i16; PLAYOUT_FRAME],
        sends: bool,
    ) -> Vec<Vec<u8>> {
        let Some(mut coding) = self.coding.take() else { return Vec::new() };
        self.stamped_at = Some(now);
        coding.resampler.process(frame, &mut coding.pending);
        let mut packets = Vec::new();
        while coding.pending.len() >= coding.frame {
            let rest = coding.pending.split_off(coding.frame);
            let samples = std::mem::replace(&mut coding.pending, rest);
            if sends {
                packets.extend(self.packet(&mut coding, &samples));
            } else {
                self.marker = true;
            }
            let ticks = coding.kind.clock_rate() * coding.ptime_ms / 1000;
            self.timestamp = self.timestamp.wrapping_add(ticks);
        }
        self.coding = Some(coding);
        packets
    }

    pub(super) fn push_digit(&mut self, digit: char, ms: u32) -> Option<()> {
        let event = self.coding.as_mut()?.event.as_mut()?;
        event.sender.push(digit, ms).ok()
    }

    /// The far end's loss, for encoders with redundancy: up at once, down by halves.
    pub(super) fn note_loss(&mut self, fraction_lost: u8) {
        let percent = (u32::from(fraction_lost) * 100).div_ceil(256) as u8;
        self.loss_percent = percent.max(self.loss_percent / 2);
        if let Some(coding) = &mut self.coding {
            coding.encoder.set_expected_loss(self.loss_percent);
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) fn codec(&self) -> Option<CodecKind> {
        self.coding.as_ref().map(|c| c.kind)
    }

    pub(super) fn units_to_ms(&self, units: u32) -> f64 {
        let rate = self.codec().map_or(8000, CodecKind::clock_rate);
        f64::from(units) * 1e3 / f64::from(rate)
    }

    /// The RTP time at `now`.
    pub(super) fn timestamp_at(&self, now: Instant) -> u32 {
        let rate = self.codec().map_or(8000, CodecKind::clock_rate);
        let passed =
            self.stamped_at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.timestamp.wrapping_add((passed * f64::from(rate)) as u32)
    }

    fn packet(&mut self, coding: &mut Coding, samples: &[i16]) -> Option<Vec<u8>> {
        if let Some(event) = coding.event.as_mut().filter(|e| e.sender.is_active()) {
            // Encoding goes on, so that the codec's memory is fresh when audio comes back.
            let _ = coding.encoder.encode(samples, &mut Vec::new());
            let packet = event.sender.poll(self.timestamp)?;
            self.marker = true;
            let payload = packet.payload.to_bytes();
            return self.write(event.payload_type, packet.timestamp, packet.marker, &payload);
        }
        let mut payload = Vec::new();
        coding.encoder.encode(samples, &mut payload).ok()?;
        let marker = std::mem::take(&mut self.marker);
        self.write(coding.payload_type, self.timestamp, marker, &payload)
    }

    fn write(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let header = rtp::Header {
            payload_type,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            marker,
        };
        let mut out = vec![0; rtp::HEADER_LEN + payload.len()];
        rtp::write_packet(&mut out, &header, payload).ok()?;
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.octets += payload.len() as u64;
        Some(out)
    }
}
