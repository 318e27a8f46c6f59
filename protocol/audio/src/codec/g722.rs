//! G.722 as a codec: one byte per two samples at 16 kHz, with concealment.

use super::{CodecKind, Decoder, Encoder};
use crate::conceal::Concealer;
use crate::{Error, g722};

/// A payload longer than this (200 ms) is refused.
const PAYLOAD_MAX: usize = 1600;

#[derive(Debug, Default)]
pub(super) struct G722Encoder(g722::Encoder);

impl Encoder for G722Encoder {
    fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.encode(frame, out);
        Ok(())
    }

    fn set_expected_loss(&mut self, _percent: u8) {}
}

#[derive(Debug)]
pub(super) struct G722Decoder {
    decoder: g722::Decoder,
    /// Made for 8 kHz: here it repeats periods half as long, and fades twice as fast.
    concealer: Concealer,
}

impl G722Decoder {
    pub(super) fn new() -> Self {
        Self { decoder: g722::Decoder::default(), concealer: Concealer::new() }
    }
}

impl Decoder for G722Decoder {
    fn kind(&self) -> CodecKind {
        CodecKind::G722
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Error> {
        if self.duration(payload).is_none() {
            return Err(Error::Codec { codec: "G.722", reason: "payload of a wrong length" });
        }
        let start = out.len();
        self.decoder.decode(payload, out);
        self.concealer.good(&mut out[start..]);
        Ok(())
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, out: &mut Vec<i16>) {
        self.concealer.conceal(samples.min(2 * PAYLOAD_MAX), out);
    }

    fn duration(&self, payload: &[u8]) -> Option<u32> {
        let bytes = u32::try_from(payload.len()).ok();
        bytes.filter(|n| (1..=PAYLOAD_MAX as u32).contains(n)).map(|n| 2 * n)
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}
