//! One leg's media: offer/answer, keying, RTP, jitter buffer and codecs, sans-IO.

pub mod keying;
