//! Opus through libopus (RFC 6716): 48 kHz mono, tuned for voice.

use opus::{Application, Bitrate, Channels};

use super::{CodecKind, Decoder, Encoder};
use crate::Error;

const RATE: u32 = 48_000;
/// The longest packet is 120 ms (RFC 6716 §3.2).
const SAMPLES_MAX: usize = 5760;
/// More than any 20 ms voice frame takes.
const PACKET_MAX: usize = 1275;
/// libopus conceals in steps of 2.5 ms.
const CONCEAL_STEP: usize = 120;

pub(super) struct OpusEncoder {
    inner: opus::Encoder,
}

impl OpusEncoder {
    pub(super) fn new(bitrate: u32) -> Result<Self, Error> {
        let mut inner =
            opus::Encoder::new(RATE, Channels::Mono, Application::Voip).map_err(refused)?;
        let bits = i32::try_from(bitrate).unwrap_or(i32::MAX);
        inner.set_bitrate(Bitrate::Bits(bits)).map_err(refused)?;
        inner.set_complexity(9).map_err(refused)?;
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
}

pub(super) struct OpusDecoder {
    inner: opus::Decoder,
    scratch: Vec<i16>,
}

impl OpusDecoder {
    pub(super) fn new() -> Result<Self, Error> {
        let inner = opus::Decoder::new(RATE, Channels::Mono).map_err(refused)?;
        Ok(Self { inner, scratch: vec![0; SAMPLES_MAX] })
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
        let samples = self.run(payload, SAMPLES_MAX, false)?;
        out.extend_from_slice(&self.scratch[..samples]);
        Ok(())
    }

    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, out: &mut Vec<i16>) {
        let wanted = samples.clamp(1, SAMPLES_MAX);
        let rounded = wanted.next_multiple_of(CONCEAL_STEP);
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
        let samples = opus::packet::get_nb_samples(payload, RATE).ok()?;
        u32::try_from(samples).ok().filter(|n| (1..=SAMPLES_MAX as u32).contains(n))
    }

    fn reset(&mut self) {
        let _ = self.inner.reset_state();
    }
}

fn refused(error: opus::Error) -> Error {
    Error::Codec { codec: "opus", reason: error.description() }
}
