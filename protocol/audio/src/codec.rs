//! What every codec offers, and which there are.

mod g711;
mod g722;
#[cfg(feature = "g729")]
mod g729;
mod opus;

use crate::Error;

/// Opus target bit rate for voice, in bit/s: transparent for wide-band speech, and with headers
/// (IP, UDP, RTP) below 63 kbit/s on the wire.
pub const OPUS_BITRATE: u32 = 48_000;
/// What a phone, which codes one stream, spends on it: libopus knows 0 to 10.
const OPUS_COMPLEXITY: u8 = 9;
/// What a relay, which codes hundreds, spends.
const OPUS_COMPLEXITY_RELAY: u8 = 5;

#[cfg(not(feature = "g729"))]
const NOT_BUILT: Error =
    Error::Codec { codec: "G.729", reason: "built without it: cargo build --features g729" };

/// The codecs this crate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CodecKind {
    /// Opus, 48 kHz (RFC 6716, RFC 7587).
    Opus,
    /// G.722, 16 kHz at 64 kbit/s.
    G722,
    /// G.711 mu-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.729 Annex A, 8 kHz at 8 kbit/s. Only where the feature `g729` was built in.
    G729,
}

impl CodecKind {
    /// What a phone offers, best first.
    pub const ALL: [Self; 4] = [Self::Opus, Self::G722, Self::Pcmu, Self::Pcma];
    /// What is there beside them, for who asks for it by name.
    const OPTIONAL: &[Self] = if cfg!(feature = "g729") { &[Self::G729] } else { &[] };

    /// The name in rtpmap lines and in what people read.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::G722 => "G722",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G729 => "G729",
        }
    }

    /// By the name, without case.
    pub fn from_encoding_name(name: &str) -> Option<Self> {
        let mut known = Self::ALL.iter().chain(Self::OPTIONAL);
        known.find(|c| c.encoding_name().eq_ignore_ascii_case(name)).copied()
    }

    /// Rate of the samples that go in and come out, in Hz.
    pub fn sample_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::G722 => 16_000,
            Self::Pcmu | Self::Pcma | Self::G729 => 8000,
        }
    }

    /// Rate of the RTP clock, in Hz: the sample rate, but for G.722, whose clock was set to 8 kHz by
    /// mistake and stays so (RFC 3551 §4.5.2).
    pub fn clock_rate(self) -> u32 {
        if self == Self::G722 { 8000 } else { self.sample_rate() }
    }

    /// The static payload type, if it has one (RFC 3551 §6).
    pub fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Opus => None,
            Self::G722 => Some(9),
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G729 => Some(18),
        }
    }

    /// Channels in the rtpmap line: Opus always says 2 (RFC 7587 §4.1).
    pub fn rtpmap_channels(self) -> u8 {
        if self == Self::Opus { 2 } else { 1 }
    }

    /// What we say of it in fmtp where we offer it. Of G.729 that silence is coded as speech is: what
    /// we send has no Annex B in it, which a peer would otherwise take for agreed (RFC 4856 §2.1.9).
    pub fn format_parameters(self) -> Option<&'static str> {
        match self {
            // Repair for lost packets (RFC 7587 §6.1).
            Self::Opus => Some("useinbandfec=1"),
            Self::G729 => Some("annexb=no"),
            _ => None,
        }
    }

    /// Makes an encoder.
    ///
    /// # Errors
    /// [`Error::Codec`] when the library cannot start.
    pub fn encoder(self) -> Result<Box<dyn Encoder>, Error> {
        Ok(match self {
            Self::Opus => Box::new(opus::OpusEncoder::new(48_000, OPUS_BITRATE, OPUS_COMPLEXITY)?),
            Self::G722 => Box::new(g722::G722Encoder::default()),
            Self::Pcmu | Self::Pcma => Box::new(g711::G711Encoder::new(self)),
            #[cfg(feature = "g729")]
            Self::G729 => Box::new(g729::G729Encoder::new()?),
            #[cfg(not(feature = "g729"))]
            Self::G729 => return Err(NOT_BUILT),
        })
    }

    /// Makes a decoder.
    ///
    /// # Errors
    /// [`Error::Codec`] when the library cannot start.
    pub fn decoder(self) -> Result<Box<dyn Decoder>, Error> {
        Ok(match self {
            Self::Opus => Box::new(opus::OpusDecoder::new(48_000)?),
            Self::G722 => Box::new(g722::G722Decoder::new()),
            Self::Pcmu | Self::Pcma => Box::new(g711::G711Decoder::new(self)),
            #[cfg(feature = "g729")]
            Self::G729 => Box::new(g729::G729Decoder::new()?),
            #[cfg(not(feature = "g729"))]
            Self::G729 => return Err(NOT_BUILT),
        })
    }
}

/// Codecs inside a relay, whose samples come at the rate of the codec on the other side.
impl CodecKind {
    /// Whether its encoders and decoders can work at this rate.
    pub fn works_at(self, rate: u32) -> bool {
        match self {
            Self::Opus => matches!(rate, 8000 | 16_000 | 48_000),
            _ => rate == self.sample_rate(),
        }
    }

    /// Makes an encoder of samples at `rate`, cheap enough to run by the hundred. Opus at 8 kHz
    /// costs a third of what it costs at 48, and there is nothing above 4 kHz to code.
    ///
    /// # Errors
    /// [`Error::Rate`] when [`CodecKind::works_at`] is false; [`Error::Codec`] when the library
    /// cannot start.
    pub fn relay_encoder(self, rate: u32) -> Result<Box<dyn Encoder>, Error> {
        if !self.works_at(rate) {
            return Err(Error::Rate { rate });
        }
        match self.relay_bitrate(rate) {
            Some(bitrate) => {
                Ok(Box::new(opus::OpusEncoder::new(rate, bitrate, OPUS_COMPLEXITY_RELAY)?))
            }
            None => self.encoder(),
        }
    }

    /// What [`CodecKind::relay_encoder`] takes of bits a second; `None` for codecs that have no choice.
    pub fn relay_bitrate(self, rate: u32) -> Option<u32> {
        (self == Self::Opus).then_some(match rate {
            8000 => 24_000,
            16_000 => 32_000,
            _ => OPUS_BITRATE,
        })
    }

    /// Makes a decoder that gives samples at `rate`.
    ///
    /// # Errors
    /// As [`CodecKind::relay_encoder`].
    pub fn relay_decoder(self, rate: u32) -> Result<Box<dyn Decoder>, Error> {
        match self {
            _ if !self.works_at(rate) => Err(Error::Rate { rate }),
            Self::Opus => Ok(Box::new(opus::OpusDecoder::new(rate)?)),
            _ => self.decoder(),
        }
    }
}

/// One stream's encoder. Samples are mono at [`CodecKind::sample_rate`].
pub trait Encoder: Send + std::fmt::Debug {
    /// Codes one frame and appends the payload to `out`.
    ///
    /// # Errors
    /// When the frame has a length the codec cannot code.
    fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), Error>;

    /// The loss the far end sees, in percent: an encoder with redundancy adapts.
    fn set_expected_loss(&mut self, percent: u8);

    /// How many bits a second it may take. One that has no choice goes on as it is.
    fn set_bitrate(&mut self, _bits_per_s: u32) {}
}

/// One stream's decoder. Samples are mono at [`CodecKind::sample_rate`].
pub trait Decoder: Send + std::fmt::Debug {
    /// Which codec it is.
    fn kind(&self) -> CodecKind;

    /// Decodes one payload and appends its samples to `out`.
    ///
    /// # Errors
    /// When the payload is no packet of this codec; nothing is appended then.
    fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<(), Error>;

    /// Appends `samples` of what a lost packet probably held. `next` is the payload after it, when
    /// it is there already: a codec with in-band redundancy (Opus FEC) recovers from it.
    fn conceal(&mut self, samples: usize, next: Option<&[u8]>, out: &mut Vec<i16>);

    /// Samples a payload decodes to; `None` if it is no packet of this codec.
    fn duration(&self, payload: &[u8]) -> Option<u32>;

    /// Forgets the past: a new stream begins.
    fn reset(&mut self);
}
