//! Length and checksum around each entry, so that a torn tail is recognised.
//!
//! ```text
//!     0       4       8
//!     | len   | crc   | payload (len bytes) |      both little-endian; crc covers len and payload
//! ```

use crate::crc::crc32c;

/// Bytes a frame adds to its payload.
pub const FRAME_OVERHEAD: usize = 8;

/// Longest payload. A longer length field is damage, not a frame.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Appends one frame whose payload `fill` writes. False, and nothing appended, if the payload came
/// out empty or longer than [`MAX_PAYLOAD`].
pub fn push_frame(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_OVERHEAD]);
    fill(out);
    let len = out.len() - start - FRAME_OVERHEAD;
    if len == 0 || len > MAX_PAYLOAD {
        out.truncate(start);
        return false;
    }
    // Fits: MAX_PAYLOAD is below u32::MAX.
    let len_field = (len as u32).to_le_bytes();
    let crc = checksum(len_field, &out[start + FRAME_OVERHEAD..]);
    out[start..start + 4].copy_from_slice(&len_field);
    out[start + 4..start + FRAME_OVERHEAD].copy_from_slice(&crc.to_le_bytes());
    true
}

/// The whole frames at the beginning of some bytes; stops for good at the first that is not.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// Over bytes that begin with a frame.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes the frames given out so far took.
    pub fn consumed(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let len_field: [u8; 4] = rest.get(..4)?.try_into().ok()?;
        let crc = u32::from_le_bytes(rest.get(4..FRAME_OVERHEAD)?.try_into().ok()?);
        let len = u32::from_le_bytes(len_field) as usize;
        // A length of zero is what a power cut leaves of preallocated blocks.
        if len == 0 || len > MAX_PAYLOAD {
            return None;
        }
        let payload = rest.get(FRAME_OVERHEAD..FRAME_OVERHEAD + len)?;
        if checksum(len_field, payload) != crc {
            return None;
        }
        self.at += FRAME_OVERHEAD + len;
        Some(payload)
    }
}

fn checksum(len_field: [u8; 4], payload: &[u8]) -> u32 {
    // Mixing the length in keeps a shifted frame from passing.
    crc32c(payload) ^ u32::from_le_bytes(len_field).rotate_left(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut frames = Frames::new(&bytes);
            while frames.next().is_some() {}
            prop_assert!(frames.consumed() <= bytes.len());
        }

        #[test]
        fn the_valid_prefix_is_kept(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..20),
            tail in prop::collection::vec(any::<u8>(), 0..40),
            cut in 0_usize..2000,
        ) {
            let mut log = Vec::new();
            let mut ends = vec![0];
            for p in &payloads {
                push_frame(&mut log, |out| out.extend_from_slice(p));
                ends.push(log.len());
            }
            let cut = cut.min(log.len());
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let mut torn = log[..cut].to_vec();
            let found: Vec<Vec<u8>> = Frames::new(&torn).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&found[..], &payloads[..whole]);
            // Garbage behind a cut is not taken for entries (beyond a 2^-32 coincidence).
            torn.extend_from_slice(&tail);
            let kept = Frames::new(&torn).take(whole).map(<[u8]>::to_vec).collect::<Vec<_>>();
            prop_assert_eq!(&kept[..], &payloads[..whole]);
        }

        #[test]
        fn a_flipped_bit_ends_the_log(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..10),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut log = Vec::new();
            let mut ends = Vec::new();
            for p in &payloads {
                push_frame(&mut log, |out| out.extend_from_slice(p));
                ends.push(log.len());
            }
            let at = at.index(log.len());
            log[at] ^= 1 << bit;
            let before = ends.iter().filter(|end| **end <= at).count();
            let found: Vec<Vec<u8>> = Frames::new(&log).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(&found[..], &payloads[..before]);
        }
    }

    #[test]
    fn empty_and_endless_payloads_are_refused() {
        let mut out = Vec::new();
        assert!(!push_frame(&mut out, |_| ()));
        assert!(!push_frame(&mut out, |out| out.resize(out.len() + MAX_PAYLOAD + 1, 1)));
        assert!(out.is_empty());
        assert_eq!(Frames::new(&[0; 64]).count(), 0);
    }
}
