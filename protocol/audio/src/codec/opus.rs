//! Opus through libopus (RFC 6716): mono, tuned for voice. At 48 kHz for phones; at the rate of
//! the other codec where one is made into the other, so that libopus itself converts the rate.

use opus::{Application, Bitrate, Channels};

use super::{CodecKind, Decoder, Encoder};
use crate::Error;

/// The longest packet is 120 ms (RFC 6716 §3.2).
const PACKET_MS_MAX: u32 = 120;
/// More than any 20 ms voice frame takes.
const PACKET_MAX: usize = 1275;
/// libopus conceals in steps of 2.5 ms.
const CONCEAL_STEPS_PER_S: u32 = 400;

pub(super) struct OpusEncoder {
    inner: opus::Encoder,
}

impl OpusEncoder {
    /// `rate` is one of 8, 12, 16, 24 and 48 kHz.
    pub(super) fn new(rate: u32, bitrate: u32, complexity: u8) -> Result<Self, Error> {
        let mut inner =
            opus::Encoder::new(rate, Channels::Mono, Application::Voip).map_err(refused)?;
        let bits = i32::try_from(bitrate).unwrap_or(i32::MAX);
        inner.set_bitrate(Bitrate::Bits(bits)).map_err(refused)?;
        inner.set_complexity(i32::from(complexity)).map_err(refused)?;
        Ok(Self { inner })
    }
}

impl std::fmt::Debug for OpusEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusEncoder")
    }
}

impl Encoder for OpusEncoder {
    fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        out.resize(start + PACKET_MAX, 0);
        let written = self.inner.encode(frame, &mut out[start..]);
        out.truncate(start + written.as_ref().copied().unwrap_or(0));
        written.map(drop).map_err(refused)
    }

    fn set_expected_loss(&mut self, percent: u8) {
        // Both are hints to the encoder; a refusal leaves it as it was.
        let _ = self.inner.set_inband_fec(percent > 0);
        let _ = self.inner.set_packet_loss_perc(i32::from(percent.min(50)));
    }

    fn set_bitrate(&mut self, bits_per_s: u32) {
        // As above.
        let bits = i32::try_from(bits_per_s).unwrap_or(i32::MAX);
        let _ = self.inner.set_bitrate(Bitrate::Bits(bits));
    }
}

pub(super) struct OpusDecoder {
    inner: opus::Decoder,
    rate: u32,
    scratch: Vec<i16>,
}

impl OpusDecoder {
    /// `rate` is one of 8, 12, 16, 24 and 48 kHz.
    pub(super) fn new(rate: u32) -> Result<Self, Error> {
        let inner = opus::Decoder::new(rate, Channels::Mono).map_err(refused)?;
        Ok(Self { inner, rate, scratch: vec![0; (rate * PACKET_MS_MAX / 1000) as usize] })
    }

    fn run(&mut self, payload: &[u8], samples: usize, fec: bool) -> Result<usize, Error> {
        self.inner.decode(payload, &mut self.scratch[..samples], fec).map_err(refused)
    }
}

impl std::fmt::Debug for OpusDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpusDecoder")
    }
}

impl Decoder for OpusDecoder {
    fn kind(&self) -> CodecKind {
        CodecKind::Opus
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Error> {
        if payload.is_empty() {
            return Err(Error::Codec { codec: "opus", reason: "empty packet" });
        }
        let samples = self.run(payload, self.scratch.len(), false)?;
        out.extend_from_slice(&self.scratch[..samples]);
        Ok(())
    }

    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, out: &mut Vec<i16>) {
        let wanted = samples.clamp(1, self.scratch.len());
        let rounded = wanted.next_multiple_of((self.rate / CONCEAL_STEPS_PER_S) as usize);
        let done = match next.filter(|payload| !payload.is_empty()) {
            Some(payload) => self.run(payload, rounded, true),
            None => self.run(&[], rounded, false),
        };
        let done = done.unwrap_or_else(|_| {
            self.scratch[..rounded].fill(0);
            rounded
        });
        out.extend_from_slice(&self.scratch[..wanted.min(done)]);
        out.resize(out.len() + wanted.saturating_sub(done), 0);
    }

    fn duration(&self, payload: &[u8]) -> Option<u32> {
        let samples = opus::packet::get_nb_samples(payload, self.rate).ok()?;
        u32::try_from(samples).ok().filter(|n| (1..=self.scratch.len() as u32).contains(n))
    }

    fn reset(&mut self) {
        let _ = self.inner.reset_state();
    }
}

fn refused(error: opus::Error) -> Error {
    Error::Codec { codec: "opus", reason: error.description() }
}
