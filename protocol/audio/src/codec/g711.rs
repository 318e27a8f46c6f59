//! G.711 as a codec: one byte per sample, with concealment.

use super::{CodecKind, Decoder, Encoder};
use crate::conceal::Concealer;
use crate::{Error, g711};

/// A payload longer than this (200 ms) is refused.
const PAYLOAD_MAX: usize = 1600;

#[derive(Debug)]
pub(super) struct G711Encoder {
    a_law: bool,
}

impl G711Encoder {
    pub(super) fn new(kind: CodecKind) -> Self {
        Self { a_law: kind == CodecKind::Pcma }
    }
}

impl Encoder for G711Encoder {
    fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), Error> {
        let code = if self.a_law { g711::encode_alaw } else { g711::encode_ulaw };
        out.extend(frame.iter().map(|s| code(*s)));
        Ok(())
    }

    fn set_expected_loss(&mut self, _percent: u8) {}
}

#[derive(Debug)]
pub(super) struct G711Decoder {
    kind: CodecKind,
    concealer: Concealer,
}

impl G711Decoder {
    pub(super) fn new(kind: CodecKind) -> Self {
        Self { kind, concealer: Concealer::new() }
    }
}

impl Decoder for G711Decoder {
    fn kind(&self) -> CodecKind {
        self.kind
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Error> {
        if self.duration(payload).is_none() {
            return Err(Error::Codec { codec: "G.711", reason: "payload of a wrong length" });
        }
        let expand =
            if self.kind == CodecKind::Pcma { g711::decode_alaw } else { g711::decode_ulaw };
        let start = out.len();
        out.extend(payload.iter().map(|b| expand(*b)));
        self.concealer.good(&mut out[start..]);
        Ok(())
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, out: &mut Vec<i16>) {
        self.concealer.conceal(samples.min(PAYLOAD_MAX), out);
    }

    fn duration(&self, payload: &[u8]) -> Option<u32> {
        u32::try_from(payload.len()).ok().filter(|n| (1..=PAYLOAD_MAX as u32).contains(n))
    }

    fn reset(&mut self) {
        self.concealer = Concealer::new();
    }
}
