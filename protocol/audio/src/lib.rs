//! Codecs, jitter buffer, tones, DTMF, WAV and resampling.
