//! Recordings of a call: both sides in stereo, as WAV or Ogg Opus, sealed with the tenant's key.
//!
//! ```text
//!   caller's packets ─► jitter buffer ─► decode ─┐ left
//!                                                ├─► every 20 ms ─► WAV or Ogg Opus ─► Sealer ─► bytes
//!   callee's packets ─► jitter buffer ─► decode ─┘ right
//! ```
//!
//! Sans-IO: packets and time come in, bytes for a file come out.

mod sealed;
mod stereo;

pub use sealed::{CHUNK_BYTES, Opened, SealError, Sealer, key_id, open};
pub use stereo::{RecordedSide, RecordingFormat, StereoRecorder};
