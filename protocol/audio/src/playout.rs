//! From packets as they come to sound in 20 ms frames at 48 kHz.

use std::time::{Duration, Instant};

use crate::jitter::{Advice, JitterBuffer, JitterStats, Packet, Popped, Pushed};
use crate::{CodecKind, Decoder, Error, Resampler, time_scale};

/// Samples of a frame that is pulled: 20 ms at [`PLAYOUT_RATE`].
pub const PLAYOUT_FRAME: usize = 960;
/// Rate of what is pulled, in Hz.
pub const PLAYOUT_RATE: u32 = 48_000;
/// Above this the delay is brought down with seams that may be heard.
const HASTE: Duration = Duration::from_millis(60);
/// Packets taken for one frame at most: 2.5 ms packets, and one ahead.
const POPS_MAX: usize = 12;

/// A jitter buffer, a decoder and a converter: one received stream of one codec.
///
/// ```text
///   push ──► JitterBuffer ──► Decoder ──► shorten / stretch ──► Resampler ──► pull
///                                         (as the buffer advises)
/// ```
#[derive(Debug)]
pub struct Playout {
    buffer: JitterBuffer,
    decoder: Box<dyn Decoder>,
    resampler: Resampler,
    rate: usize,
    decoded: Vec<i16>,
    noise: Option<Noise>,
    time_scaled: u64,
}

impl Playout {
    /// A playout for one codec.
    ///
    /// # Errors
    /// When the codec cannot start.
    pub fn new(kind: CodecKind) -> Result<Self, Error> {
        let rate = kind.sample_rate();
        let mut buffer = JitterBuffer::new(rate);
        buffer.set_extra_frame(kind == CodecKind::Opus);
        Ok(Self {
            buffer,
            decoder: kind.decoder()?,
            resampler: Resampler::new(rate, PLAYOUT_RATE)?,
            rate: rate as usize,
            decoded: Vec::new(),
            noise: None,
            time_scaled: 0,
        })
    }

    /// Which codec it decodes.
    pub fn kind(&self) -> CodecKind {
        self.decoder.kind()
    }

    /// Takes a payload that arrived at `now`. `None` when it is no packet of this codec.
    pub fn push(
        &mut self,
        now: Instant,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) -> Option<Pushed> {
        let duration = self.decoder.duration(payload)?;
        self.noise = None;
        // The buffer counts samples; differences survive the wrap.
        let kind = self.decoder.kind();
        let timestamp = timestamp.wrapping_mul(kind.sample_rate() / kind.clock_rate());
        Some(self.buffer.push(now, &Packet { sequence, timestamp, duration, payload }))
    }

    /// The packet of this number carried no audio: its place is no loss.
    pub fn skip(&mut self, sequence: u16) {
        self.buffer.skip(sequence);
    }

    /// The far end announced silence at this level (RFC 3389): gaps are filled with such noise.
    pub fn comfort_noise(&mut self, dbov: f32) {
        self.noise = Some(Noise::new(dbov));
    }

    /// Another source begins.
    pub fn reset(&mut self) {
        self.buffer.reset();
        self.decoder.reset();
        self.decoded.clear();
        self.noise = None;
    }

    /// Fills 20 ms that are played from `now` on.
    pub fn pull(&mut self, now: Instant, out: &mut [i16; PLAYOUT_FRAME]) {
        let frame = self.rate / 50;
        for _ in 0..POPS_MAX {
            if self.decoded.len() >= frame {
                break;
            }
            self.decode_next(now);
        }
        self.decoded.resize(self.decoded.len().max(frame), 0);
        let mut samples = Vec::with_capacity(PLAYOUT_FRAME);
        self.resampler.process(&self.decoded[..frame], &mut samples);
        self.decoded.drain(..frame);
        let n = samples.len().min(out.len());
        out[..n].copy_from_slice(&samples[..n]);
        out[n..].fill(0);
    }

    /// How long sound waits in the buffer.
    pub fn delay(&self) -> Duration {
        self.buffer.current_delay()
    }

    /// How long it should.
    pub fn target_delay(&self) -> Duration {
        self.buffer.target_delay()
    }

    /// Counters of the buffer.
    pub fn stats(&self) -> JitterStats {
        self.buffer.stats()
    }

    /// Sound that was invented because packets were missing.
    pub fn concealed(&self) -> Duration {
        Duration::from_micros(self.stats().concealed_samples * 1_000_000 / self.rate as u64)
    }

    /// Sound removed or added to change the delay.
    pub fn time_scaled(&self) -> Duration {
        Duration::from_micros(self.time_scaled * 1_000_000 / self.rate as u64)
    }

    fn decode_next(&mut self, now: Instant) {
        let ahead = Duration::from_micros((self.decoded.len() * 1_000_000 / self.rate) as u64);
        match self.buffer.pop(now, ahead) {
            Popped::Payload(payload) => {
                self.decode(&payload);
                self.adapt();
            }
            Popped::Missing { samples, next } => match &mut self.noise {
                Some(noise) => noise.fill(samples as usize, &mut self.decoded),
                None => {
                    self.decoder.conceal(samples as usize, next.as_deref(), &mut self.decoded);
                }
            },
            Popped::Waiting => self.decoded.resize(self.decoded.len() + self.rate / 50, 0),
        }
    }

    fn decode(&mut self, payload: &[u8]) {
        if self.decoder.decode(payload, &mut self.decoded).is_err() {
            let samples = self.decoder.duration(payload).unwrap_or(0) as usize;
            self.decoder.conceal(samples, None, &mut self.decoded);
        }
    }

    fn adapt(&mut self) {
        let changed = match self.buffer.advice() {
            Advice::Steady => 0,
            Advice::Shrink { excess } => {
                let removed = time_scale::shrink(&mut self.decoded, self.rate, excess > HASTE);
                self.buffer.shortened_by(removed as u32);
                removed
            }
            Advice::Grow => time_scale::stretch(&mut self.decoded, self.rate),
        };
        self.time_scaled += changed as u64;
    }
}

/// White noise at a level, from a small generator of its own: it hides nothing.
#[derive(Debug)]
struct Noise {
    state: u32,
    amplitude: f32,
}

impl Noise {
    fn new(dbov: f32) -> Self {
        // A uniform signal's RMS is its peak over the root of three.
        let rms = 32_768.0 * 10_f32.powf(dbov.clamp(-127.0, -20.0) / 20.0);
        Self { state: 0x2545_f491, amplitude: rms * 3_f32.sqrt() }
    }

    fn fill(&mut self, samples: usize, out: &mut Vec<i16>) {
        out.extend((0..samples).map(|_| {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (self.state >> 8) as f32 / 8_388_608.0 - 1.0;
            (unit * self.amplitude) as i16
        }));
    }
}

#[cfg(test)]
mod tests;
