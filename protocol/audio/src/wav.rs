//! WAV files: 16-bit PCM, any rate, one or two channels.

use crate::{Error, Resampler};

/// PCM in a `fmt ` chunk.
const FORMAT_PCM: u16 = 1;
/// PCM behind a sub-format GUID.
const FORMAT_EXTENSIBLE: u16 = 0xfffe;
/// Length of the header [`header`] writes.
pub const HEADER_LEN: usize = 44;

/// A recording in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wav {
    /// Sample rate in Hz.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u16,
    /// Samples, interleaved when there are two channels.
    pub samples: Vec<i16>,
}

impl Wav {
    /// A mono recording.
    pub fn mono(rate: u32, samples: Vec<i16>) -> Self {
        Self { rate, channels: 1, samples }
    }

    /// Reads a file. A `data` chunk cut short or of unknown length (0 or 0xffffffff, as streams
    /// write it) is read to the end of the file.
    ///
    /// # Errors
    /// [`Error::Wav`] with the place and what was expected there.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let is = |at: usize, tag: &[u8; 4]| bytes.get(at..at + 4) == Some(tag.as_slice());
        if !is(0, b"RIFF") {
            return Err(Error::Wav { at: 0, expected: "`RIFF`" });
        }
        if !is(8, b"WAVE") {
            return Err(Error::Wav { at: 8, expected: "`WAVE`" });
        }
        let mut format = None;
        let mut at = 12;
        while let Some(len) = u32_at(bytes, at + 4) {
            let (body, len) = (at + 8, len as usize);
            if is(at, b"fmt ") {
                format = Some(parse_format(bytes, body)?);
            } else if is(at, b"data") {
                let (rate, channels) = format.ok_or(Error::Wav { at, expected: "`fmt ` first" })?;
                return Ok(Self {
                    rate,
                    channels,
                    samples: samples_of(bytes, body, len, channels),
                });
            }
            at = body.saturating_add(len).saturating_add(len & 1);
        }
        Err(Error::Wav { at: at.min(bytes.len()), expected: "a `data` chunk" })
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = u32::try_from(self.samples.len() * 2).unwrap_or(u32::MAX);
        let mut out = header(self.rate, self.channels, len).to_vec();
        out.extend(self.samples.iter().flat_map(|s| s.to_le_bytes()));
        out
    }

    /// One channel at the rate asked for: stereo is averaged, other rates are converted.
    ///
    /// # Errors
    /// [`Error::Rate`] when the rates cannot be converted.
    pub fn to_mono(&self, rate: u32) -> Result<Vec<i16>, Error> {
        let average = |pair: &[i16]| ((i32::from(pair[0]) + i32::from(pair[1])) / 2) as i16;
        let mono = match self.channels {
            2 => self.samples.chunks_exact(2).map(average).collect(),
            _ => self.samples.clone(),
        };
        Resampler::convert(&mono, self.rate, rate)
    }

    /// Length in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        let frames = self.samples.len() as u64 / u64::from(self.channels.max(1));
        frames * 1000 / u64::from(self.rate.max(1))
    }
}

/// The header of a file with `data_len` bytes of samples. A recorder writes it with 0 first and
/// again with the true length when it is done.
pub fn header(rate: u32, channels: u16, data_len: u32) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"RIFF");
    put(4, &data_len.saturating_add(36).to_le_bytes());
    put(8, b"WAVEfmt ");
    put(16, &16_u32.to_le_bytes());
    put(20, &FORMAT_PCM.to_le_bytes());
    put(22, &channels.to_le_bytes());
    put(24, &rate.to_le_bytes());
    put(28, &rate.saturating_mul(2 * u32::from(channels)).to_le_bytes());
    put(32, &channels.saturating_mul(2).to_le_bytes());
    put(34, &16_u16.to_le_bytes());
    put(36, b"data");
    put(40, &data_len.to_le_bytes());
    out
}

fn parse_format(bytes: &[u8], at: usize) -> Result<(u32, u16), Error> {
    let need = |value: Option<u16>, expected| value.ok_or(Error::Wav { at, expected });
    let tag = need(u16_at(bytes, at), "a whole `fmt ` chunk")?;
    let channels = need(u16_at(bytes, at + 2), "a whole `fmt ` chunk")?;
    let rate = u32_at(bytes, at + 4).ok_or(Error::Wav { at, expected: "a whole `fmt ` chunk" })?;
    let bits = need(u16_at(bytes, at + 14), "a whole `fmt ` chunk")?;
    let sub_format = if tag == FORMAT_EXTENSIBLE { u16_at(bytes, at + 24) } else { Some(tag) };
    if sub_format != Some(FORMAT_PCM) || bits != 16 {
        return Err(Error::Wav { at, expected: "16-bit PCM" });
    }
    if !(1..=2).contains(&channels) {
        return Err(Error::Wav { at: at + 2, expected: "one or two channels" });
    }
    if !(1..=384_000).contains(&rate) {
        return Err(Error::Wav { at: at + 4, expected: "a rate of 1 to 384000 Hz" });
    }
    Ok((rate, channels))
}

fn samples_of(bytes: &[u8], at: usize, len: usize, channels: u16) -> Vec<i16> {
    let rest = bytes.get(at..).unwrap_or_default();
    let len = if len == 0 { rest.len() } else { len.min(rest.len()) };
    let frame = 2 * usize::from(channels);
    let whole = len / frame * frame;
    rest[..whole].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_round_trip_and_stereo_is_averaged() {
        let wav = Wav { rate: 44_100, channels: 2, samples: vec![100, 300, -5, 5] };
        assert_eq!(Wav::parse(&wav.to_bytes()), Ok(wav.clone()));
        assert_eq!(wav.to_mono(44_100), Ok(vec![200, 0]));
        assert_eq!(Wav::mono(8000, vec![0; 8000]).duration_ms(), 1000);
    }

    #[test]
    fn other_chunks_are_skipped_and_unknown_lengths_read_to_the_end() {
        let mut bytes = header(8000, 1, 0).to_vec();
        bytes.splice(36..36, *b"LIST\x03\0\0\0abc\0");
        bytes.extend([1, 0, 2, 0, 9]);
        assert_eq!(Wav::parse(&bytes).map(|w| w.samples), Ok(vec![1, 2]));
    }

    #[test]
    fn what_is_no_wav_is_told_where_and_why() {
        let mut float = Wav::mono(8000, vec![0; 4]).to_bytes();
        float[20] = 3;
        for (bytes, at) in [
            (b"RIFX".to_vec(), 0),
            (b"RIFF\0\0\0\0AVI ".to_vec(), 8),
            (float, 20),
            (header(8000, 1, 0)[..36].to_vec(), 36),
            (header(8000, 7, 0).to_vec(), 22),
        ] {
            let Err(Error::Wav { at: place, .. }) = Wav::parse(&bytes) else {
                panic!("not refused")
            };
            assert_eq!(place, at);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), keep in 0_usize..60) {
            let head = header(8000, 1, 20);
            let n = keep.min(head.len()).min(bytes.len());
            bytes[..n].copy_from_slice(&head[..n]);
            let _ = Wav::parse(&bytes);
        }

        #[test]
        fn any_recording_round_trips(rate in 1_u32..384_000, samples in prop::collection::vec(any::<i16>(), 1..200)) {
            let wav = Wav::mono(rate, samples);
            prop_assert_eq!(Wav::parse(&wav.to_bytes()), Ok(wav));
        }
    }
}
