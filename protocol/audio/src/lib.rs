//! Sound of a call: codecs, jitter buffer, concealment, rates, tones, levels and WAV files.
//!
//! ```text
//!   microphone ─► Resampler ─► Encoder ─► payload … RTP … payload ─► Playout ─► loudspeaker
//!    48 kHz        to codec                                           │           48 kHz
//!                                     JitterBuffer ─► Decoder ─► time scale ─► Resampler
//! ```
//!
//! The contract: samples are 16-bit mono; frames are 20 ms unless said otherwise; time is an
//! argument. Payloads are data from strangers: decoders refuse or conceal, nothing panics.
//!
//! ```
//! use audio::{CodecKind, Playout, Tone, PLAYOUT_FRAME};
//! use std::time::{Duration, Instant};
//!
//! let mut encoder = CodecKind::Pcmu.encoder()?;
//! let mut playout = Playout::new(CodecKind::Pcmu)?;
//! let mut tone = Tone::test(8000);
//! let (mut now, mut frame, mut out) = (Instant::now(), [0; 160], [0; PLAYOUT_FRAME]);
//! for n in 0..50_u16 {
//!     tone.fill(&mut frame);
//!     let mut payload = Vec::new();
//!     encoder.encode(&frame, &mut payload)?;
//!     playout.push(now, n, u32::from(n) * 160, &payload);
//!     playout.pull(now, &mut out);
//!     now += Duration::from_millis(20);
//! }
//! assert!((audio::level::dbov(&out) + 13.2).abs() < 0.5);
//! # Ok::<(), audio::Error>(())
//! ```
//!
//! What this crate does not do: it knows no RTP header, no SDP, no sound card; it removes no echo
//! and no noise.
//!
//! Start reading at [`Playout`], then [`JitterBuffer`], then [`CodecKind`].

mod codec;
mod conceal;
pub mod dtmf;
mod error;
pub mod g711;
pub mod g722;
mod jitter;
pub mod level;
mod ogg;
mod playout;
mod resample;
mod time_scale;
mod tone;
pub mod wav;

pub use codec::{CodecKind, Decoder, Encoder, OPUS_BITRATE};
pub use error::Error;
pub use jitter::{Advice, JitterBuffer, JitterStats, Packet, Popped, Pushed};
pub use ogg::OggOpus;
pub use playout::{PLAYOUT_FRAME, PLAYOUT_RATE, Playout};
pub use resample::Resampler;
pub use tone::Tone;
pub use wav::Wav;
