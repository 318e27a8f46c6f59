//! G.729 Annex A, 8 kbit/s (RFC 3551 §4.5.6), behind the feature `g729`: ten bytes per 10 ms. Annex B
//! is understood (a last frame of two bytes is comfort noise) and never sent.
//!
//! The arithmetic is `codec_core`'s; see docs/design/0119.

use codec_core::codecs::g729::G729Codec;
use codec_core::types::{AudioCodecExt, CodecConfig};

use super::{CodecKind, Decoder, Encoder};
use crate::Error;

/// Samples of a frame: 10 ms.
const FRAME: usize = G729Codec::FRAME_SAMPLES;
/// Bytes of a frame of speech.
const SPEECH: usize = G729Codec::MAX_ENCODED_BYTES;
/// Bytes of a frame that describes silence (Annex B).
const SILENCE: usize = 2;
/// Frames of a payload; a longer one (200 ms) is refused.
const FRAMES_MAX: usize = 20;

pub(super) struct G729Encoder(G729Codec);

impl G729Encoder {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self(make(CodecConfig::g729a())?))
    }
}

impl Encoder for G729Encoder {
    fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), Error> {
        if frame.is_empty() || !frame.len().is_multiple_of(FRAME) {
            return Err(Error::Codec { codec: "G.729", reason: "no whole frames of 10 ms" });
        }
        for frame in frame.chunks_exact(FRAME) {
            let mut payload = [0; SPEECH];
            let coded = self.0.encode_to_buffer(frame, &mut payload);
            let bytes = coded.map_err(|_| refused("a frame is not coded"))?;
            out.extend_from_slice(&payload[..bytes]);
        }
        Ok(())
    }

    fn set_expected_loss(&mut self, _percent: u8) {}
}

pub(super) struct G729Decoder(G729Codec);

impl G729Decoder {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self(make(CodecConfig::g729ba())?))
    }

    /// One frame of 10 ms; an empty one was lost.
    fn frame(&mut self, frame: &[u8], out: &mut Vec<i16>) -> Result<(), Error> {
        let mut samples = [0; FRAME];
        let decoded = self.0.decode_to_buffer(frame, &mut samples);
        decoded.map_err(|_| refused("a frame is not decoded"))?;
        out.extend_from_slice(&samples);
        Ok(())
    }
}

impl Decoder for G729Decoder {
    fn kind(&self) -> CodecKind {
        CodecKind::G729
    }

    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Error> {
        if self.duration(payload).is_none() {
            return Err(refused("payload of a wrong length"));
        }
        // The last chunk may be the short one.
        payload.chunks(SPEECH).try_for_each(|frame| self.frame(frame, out))
    }

    fn conceal(&mut self, samples: usize, _next: Option<&[u8]>, out: &mut Vec<i16>) {
        let start = out.len();
        let samples = samples.min(FRAMES_MAX * FRAME);
        while out.len() < start + samples {
            // The decoder's own concealment takes an empty frame for a lost one.
            if self.frame(&[], out).is_err() {
                out.resize(start + samples, 0);
            }
        }
        out.truncate(start + samples);
    }

    fn duration(&self, payload: &[u8]) -> Option<u32> {
        let frames = match (payload.len() / SPEECH, payload.len() % SPEECH) {
            (speech, 0) => speech,
            (speech, SILENCE) => speech + 1,
            _ => return None,
        };
        (1..=FRAMES_MAX).contains(&frames).then_some((frames * FRAME) as u32)
    }

    fn reset(&mut self) {
        // What was made once is made again.
        if let Ok(new) = Self::new() {
            *self = new;
        }
    }
}

fn make(config: CodecConfig) -> Result<G729Codec, Error> {
    G729Codec::new(config).map_err(|_| refused("it does not start"))
}

fn refused(reason: &'static str) -> Error {
    Error::Codec { codec: "G.729", reason }
}

impl std::fmt::Debug for G729Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("G729Encoder").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for G729Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("G729Decoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(encoder: &mut dyn Encoder, samples: &[i16]) -> Vec<u8> {
        let mut payload = Vec::new();
        encoder.encode(samples, &mut payload).unwrap();
        payload
    }

    #[test]
    fn r5_5_ten_milliseconds_are_ten_bytes_in_any_packet_time() {
        let mut encoder = CodecKind::G729.encoder().unwrap();
        let mut decoder = CodecKind::G729.decoder().unwrap();
        for frames in [1, 2, 3, 6, FRAMES_MAX] {
            let payload = coded(&mut *encoder, &vec![100; frames * FRAME]);
            assert_eq!(payload.len(), frames * SPEECH);
            assert_eq!(decoder.duration(&payload), Some((frames * FRAME) as u32));
            let mut out = Vec::new();
            decoder.decode(&payload, &mut out).unwrap();
            assert_eq!(out.len(), frames * FRAME);
        }
        assert!(encoder.encode(&[0; 81], &mut Vec::new()).is_err());
        assert!(encoder.encode(&[], &mut Vec::new()).is_err());
    }

    #[test]
    fn r5_5_a_tone_is_heard_at_its_level_and_a_loss_is_not_silence() {
        let mut tone = crate::Tone::new(440.0, 8000, 8000.0);
        let mut encoder = CodecKind::G729.encoder().unwrap();
        let mut decoder = CodecKind::G729.decoder().unwrap();
        let mut out = Vec::new();
        for _ in 0..50 {
            let mut frame = [0; 160];
            tone.fill(&mut frame);
            decoder.decode(&coded(&mut *encoder, &frame), &mut out).unwrap();
        }
        let level = crate::level::dbov(&out[4000..]);
        assert!((level + 15.2).abs() < 1.5, "{level}");
        let mut lost = Vec::new();
        decoder.conceal(250, None, &mut lost);
        assert_eq!(lost.len(), 250);
        assert!(crate::level::dbov(&lost[..80]) > -30.0, "it goes on");
    }

    #[test]
    fn r5_5_comfort_noise_of_annex_b_is_understood() {
        let mut decoder = CodecKind::G729.decoder().unwrap();
        let mut out = Vec::new();
        decoder.decode(&[0x12, 0x34], &mut out).unwrap();
        assert_eq!(out.len(), FRAME);
        let mut speech_and_noise = vec![0x55; SPEECH];
        speech_and_noise.extend([0x12, 0x34]);
        assert_eq!(decoder.duration(&speech_and_noise), Some(160));
        for wrong in [0, 1, 3, 9, 11, 13, SPEECH * FRAMES_MAX + 2, SPEECH * (FRAMES_MAX + 1)] {
            assert_eq!(decoder.duration(&vec![0; wrong]), None, "{wrong} bytes");
            assert!(decoder.decode(&vec![0; wrong], &mut out).is_err(), "{wrong} bytes");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_strangers_send_is_sound_of_the_right_length_or_refused(
            payloads in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..64), 1..40)
        ) {
            let mut decoder = CodecKind::G729.decoder().unwrap();
            for payload in payloads {
                let mut out = Vec::new();
                match decoder.duration(&payload) {
                    Some(samples) => {
                        decoder.decode(&payload, &mut out).unwrap();
                        assert_eq!(out.len(), samples as usize);
                    }
                    None => assert!(decoder.decode(&payload, &mut out).is_err()),
                }
            }
        }

        #[test]
        fn what_microphones_give_is_coded(
            frames in proptest::collection::vec(proptest::collection::vec(i16::MIN.., 80..=80), 1..20)
        ) {
            let mut encoder = CodecKind::G729.encoder().unwrap();
            for frame in frames {
                assert_eq!(coded(&mut *encoder, &frame).len(), SPEECH);
            }
        }
    }
}
