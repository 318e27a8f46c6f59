//! One leg's media: offer/answer, keying, RTP, jitter buffer and codecs, sans-IO.
//!
//! ```text
//!   capture(20 ms, 48 kHz) ─► Resampler ─► Encoder ─► RTP ─► SRTP ─► poll_output: Transmit
//!   play   (20 ms, 48 kHz) ◄─ Playout (jitter buffer, decoder) ◄─ RTP ◄─ SRTP ◄─ handle_datagram
//!                             RTCP every ~5 s, RFC 4733 digits, silence watch: handle_timeout
//! ```
//!
//! The contract is that of `sansio`: time and randomness are arguments; after any call drain
//! [`Session::poll_output`], then sleep until [`Session::poll_timeout`]. `capture` and `play` are
//! called every 20 ms by whoever owns the sound clock; they need not be in step.
//!
//! ```
//! use media::{Config, MediaOutput, Session};
//! use std::time::Instant;
//!
//! let mut entropy = sansio::SeededEntropy::new(1);
//! let now = Instant::now();
//! let mut alice = Session::new(Config::new("192.0.2.1:4000".parse()?), now, &mut entropy);
//! let mut bob = Session::new(Config::new("192.0.2.2:4000".parse()?), now, &mut entropy);
//! let offer = alice.create_offer(now);
//! let answer = bob.handle_offer(now, &offer)?;
//! alice.handle_answer(now, &answer)?;
//! alice.capture(now, &[0; 960]);
//! let Some(MediaOutput::Transmit { to, .. }) = alice.poll_output() else { panic!("no packet") };
//! assert_eq!(to, "192.0.2.2:4000".parse()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What this crate does not do: it opens no socket and no sound card, relays nothing between two
//! legs (`role/relay`; what it has done to sound on the way is [`transcode`]), speaks no SIP.
//!
//! Start reading at [`Session`], then [`keying`], then [`traversal`] (ICE and TURN), then
//! [`transcode`].

pub mod keying;
pub mod recording;
mod session;
pub mod transcode;
pub mod traversal;

pub use keying::zrtp::ZrtpIdentity;
pub use session::{
    CodecChoice, Config, MediaError, MediaEvent, MediaOutput, MediaStats, Security, Session,
};
