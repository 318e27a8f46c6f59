//! HMAC-SHA1 (RFC 2104) with both padded keys hashed beforehand: 40 bytes a key, and two
//! compressions less for each packet than from the key.

use super::aws::sha1;

const BLOCK: usize = 64;
/// What the end of the hash takes at least: a one bit and the length.
const END: usize = 1 + 8;
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// The hash's state behind the inner and behind the outer key.
#[derive(Clone)]
pub(super) struct HmacSha1 {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl HmacSha1 {
    /// RFC 3711 §5.2 knows one key length: 160 bits.
    pub(super) fn new(key: &[u8; 20]) -> Self {
        let behind = |pad: u8| {
            let (mut block, mut state) = ([pad; BLOCK], INITIAL);
            block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
            sha1(&mut state, &[block]);
            state
        };
        Self { inner: behind(0x36), outer: behind(0x5c) }
    }

    /// The code of `message ‖ suffix`. The suffix is a few bytes at most.
    pub(super) fn sign(&self, message: &[u8], suffix: &[u8]) -> [u8; 20] {
        let mut state = self.inner;
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        sha1(&mut state, blocks);
        let mut tail = [[0; BLOCK]; 2];
        let used = rest.len() + suffix.len();
        let flat = tail.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        flat[rest.len()..used].copy_from_slice(suffix);
        let count = if used + END <= BLOCK { 1 } else { 2 };
        finish(&mut flat[..count * BLOCK], used, message.len() + suffix.len());
        sha1(&mut state, &tail[..count]);

        let mut block = [0; BLOCK];
        block[..20].copy_from_slice(&bytes(&state));
        finish(&mut block, 20, 20);
        state = self.outer;
        sha1(&mut state, &[block]);
        bytes(&state)
    }
}

/// Ends a hash of one block of key and `len` bytes, of which the last `used` are in `tail`.
fn finish(tail: &mut [u8], used: usize, len: usize) {
    tail[used] = 0x80;
    let bits = 8 * (BLOCK + len) as u64;
    let at = tail.len() - 8;
    tail[at..].copy_from_slice(&bits.to_be_bytes());
}

fn bytes(state: &[u32; 5]) -> [u8; 20] {
    let mut out = [0; 20];
    out.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(o, w)| *o = w.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Around every border of a block, and far behind.
        #[test]
        fn it_agrees_with_the_library(
            key: [u8; 20],
            message in prop::collection::vec(any::<u8>(), 0..300),
            suffix in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let library = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
            let whole = [&message[..], &suffix].concat();
            let (ours, theirs) = (HmacSha1::new(&key).sign(&message, &suffix), sign(&library, &whole));
            prop_assert_eq!(&ours[..], theirs.as_ref());
        }
    }

    /// RFC 2202 §3, the case whose key has our length.
    #[test]
    fn rfc_2202_case_1() {
        let code = HmacSha1::new(&[0x0b; 20]).sign(b"Hi There", b"");
        assert_eq!(code[..4], [0xb6, 0x17, 0x31, 0x86]);
        assert_eq!(code[16..], [0xf1, 0x46, 0xbe, 0x00]);
    }
}
