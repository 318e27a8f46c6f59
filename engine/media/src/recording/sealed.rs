//! Files that open with one key only, and show what is missing or changed.
//!
//! ```text
//!   "WHMREC01" ‖ length of key id ‖ key id ‖ prefix (7 bytes)      header, authenticated with each chunk
//!   length (4 bytes) ‖ AES-256-GCM of up to 64 KiB ‖ tag           chunk 0, 1, 2, … last
//! ```
//!
//! The nonce of a chunk is prefix ‖ number ‖ 1 for the last one, else 0 (the STREAM construction):
//! chunks cannot be left out, moved or cut off at the end without being noticed. A file whose writer
//! died has no last chunk; what it has can be read.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};

/// Plain bytes of a chunk at most.
pub const CHUNK_BYTES: usize = 64 * 1024;
const MAGIC: &[u8; 8] = b"WHMREC01";
const PREFIX_LEN: usize = 7;
const LENGTH_LEN: usize = 4;

/// Writes a sealed file.
pub struct Sealer {
    key: LessSafeKey,
    header: Vec<u8>,
    prefix: [u8; PREFIX_LEN],
    number: u32,
    pending: Vec<u8>,
}

/// Why a file does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No file of ours.
    #[error("byte 0: expected a sealed recording")]
    Format,
    /// Another key, or the chunk was changed, moved or taken from another file.
    #[error("chunk {number} does not open: another key, or the file was changed")]
    Chunk {
        /// Which, from 0.
        number: u32,
    },
    /// The name of a key is longer than 255 bytes.
    #[error("a key id of {0} bytes; 255 is the most")]
    KeyId(usize),
}

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The bytes that were sealed.
    pub plain: Vec<u8>,
    /// Whether the end is there; it is not where the writer died.
    pub complete: bool,
}

impl Sealer {
    /// A file for the key named `key_id`. `prefix` has to be random: with it no two files of a key
    /// share a nonce.
    ///
    /// # Errors
    /// [`SealError::KeyId`].
    pub fn new(key: &[u8; 32], key_id: &str, prefix: [u8; PREFIX_LEN]) -> Result<Self, SealError> {
        let id_len = u8::try_from(key_id.len()).map_err(|_| SealError::KeyId(key_id.len()))?;
        let header = [MAGIC, &[id_len][..], key_id.as_bytes(), &prefix].concat();
        let key = cipher(key);
        Ok(Self { key, header, prefix, number: 0, pending: Vec::with_capacity(CHUNK_BYTES) })
    }

    /// What the file begins with.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Takes bytes and appends the chunks that are full.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() == CHUNK_BYTES {
                self.seal(false, out);
            }
        }
    }

    /// Appends what waits as a chunk of its own: what is written can be read, whatever comes after.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.seal(false, out);
        }
    }

    /// Appends the last chunk.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.seal(true, out);
    }

    fn seal(&mut self, last: bool, out: &mut Vec<u8>) {
        let length = (self.pending.len() + MAX_TAG_LEN) as u32;
        let nonce = nonce(self.prefix, self.number, last);
        // It fails for messages of gigabytes only.
        let sealed =
            self.key.seal_in_place_append_tag(nonce, Aad::from(&self.header), &mut self.pending);
        if sealed.is_ok() {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&self.pending);
        }
        self.number += 1;
        self.pending.clear();
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The name of the key that a file needs.
///
/// # Errors
/// [`SealError::Format`].
pub fn key_id(file: &[u8]) -> Result<&str, SealError> {
    let (header, _) = split_header(file).ok_or(SealError::Format)?;
    let id = &header[MAGIC.len() + 1..header.len() - PREFIX_LEN];
    std::str::from_utf8(id).map_err(|_| SealError::Format)
}

/// Opens a file.
///
/// # Errors
/// See [`SealError`].
pub fn open(file: &[u8], key: &[u8; 32]) -> Result<Opened, SealError> {
    let (header, mut rest) = split_header(file).ok_or(SealError::Format)?;
    let mut prefix = [0; PREFIX_LEN];
    prefix.copy_from_slice(&header[header.len() - PREFIX_LEN..]);
    let key = cipher(key);
    let mut opened = Opened { plain: Vec::with_capacity(rest.len()), complete: false };
    let mut number = 0;
    // A chunk that is not whole was being written when the writer died.
    while let Some((chunk, after)) = split_chunk(rest) {
        if opened.complete {
            return Err(SealError::Chunk { number });
        }
        let mut unseal = |last| {
            let mut bytes = chunk.to_vec();
            let nonce = nonce(prefix, number, last);
            let plain = key.open_in_place(nonce, Aad::from(header), &mut bytes).ok()?;
            opened.plain.extend_from_slice(plain);
            Some(())
        };
        if unseal(false).is_none() {
            unseal(true).ok_or(SealError::Chunk { number })?;
            opened.complete = true;
        }
        (rest, number) = (after, number + 1);
    }
    Ok(opened)
}

fn split_header(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let id_len = usize::from(*file.strip_prefix(MAGIC)?.first()?);
    file.split_at_checked(MAGIC.len() + 1 + id_len + PREFIX_LEN)
}

fn split_chunk(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first_chunk::<LENGTH_LEN>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

fn nonce(prefix: [u8; PREFIX_LEN], number: u32, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..PREFIX_LEN].copy_from_slice(&prefix);
    bytes[PREFIX_LEN..NONCE_LEN - 1].copy_from_slice(&number.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key) {
        Ok(key) => LessSafeKey::new(key),
        // 32 bytes are what AES-256 takes.
        Err(_) => unreachable!("AES-256-GCM takes 32 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(parts: &[&[u8]], finish: bool) -> Vec<u8> {
        let mut sealer = Sealer::new(&KEY, "call.example/1", [3; 7]).unwrap();
        let mut file = sealer.header().to_vec();
        for part in parts {
            sealer.push(part, &mut file);
            sealer.flush(&mut file);
        }
        if finish {
            sealer.finish(&mut file);
        }
        file
    }

    #[test]
    fn r5_12_a_file_opens_with_its_key_and_no_other() {
        let file = sealed(&[b"hello ", b"world"], true);
        assert_eq!(key_id(&file), Ok("call.example/1"));
        let opened = open(&file, &KEY).unwrap();
        assert_eq!((opened.plain.as_slice(), opened.complete), (&b"hello world"[..], true));
        assert_eq!(open(&file, &[8; 32]), Err(SealError::Chunk { number: 0 }));
        assert!(!file.windows(5).any(|w| w == b"hello"), "nothing of it is in clear");
        assert_eq!(open(b"RIFF....", &KEY), Err(SealError::Format));
    }

    #[test]
    fn r5_12_what_was_written_before_a_crash_opens() {
        let whole = sealed(&[b"first", b"second"], false);
        let opened = open(&whole, &KEY).unwrap();
        assert_eq!((opened.plain.as_slice(), opened.complete), (&b"firstsecond"[..], false));
        let torn = open(&whole[..whole.len() - 3], &KEY).unwrap();
        assert_eq!(torn.plain, b"first");
    }

    #[test]
    fn r5_12_chunks_cannot_be_moved_left_out_or_changed() {
        let file = sealed(&[b"aaaa", b"bbbb"], true);
        let head = sealed(&[], false).len();
        let chunk = LENGTH_LEN + 4 + MAX_TAG_LEN;
        let mut swapped = file.clone();
        swapped[head..head + 2 * chunk].rotate_left(chunk);
        assert_eq!(open(&swapped, &KEY), Err(SealError::Chunk { number: 0 }));
        let mut shorter = file.clone();
        shorter.drain(head..head + chunk);
        assert_eq!(open(&shorter, &KEY), Err(SealError::Chunk { number: 0 }));
        for at in 9..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let opened = open(&changed, &KEY);
            assert!(opened.as_ref().map_or(true, |o| !o.complete), "byte {at}: {opened:?}");
        }
        let mut longer = file.clone();
        longer.extend_from_slice(&file[head..head + chunk]);
        assert!(open(&longer, &KEY).is_err(), "nothing comes behind the end");
    }

    proptest! {
        #[test]
        fn any_sizes_come_back(parts in prop::collection::vec(0_usize..150_000, 0..4)) {
            let parts: Vec<Vec<u8>> = parts.iter().map(|n| vec![*n as u8; *n]).collect();
            let mut sealer = Sealer::new(&KEY, "k", [1; 7]).unwrap();
            let mut file = sealer.header().to_vec();
            parts.iter().for_each(|part| sealer.push(part, &mut file));
            sealer.finish(&mut file);
            prop_assert_eq!(open(&file, &KEY).unwrap(), Opened { plain: parts.concat(), complete: true });
        }

        #[test]
        fn any_bytes_are_taken_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let file = [&MAGIC[..], &bytes].concat();
            let _ = (key_id(&file), open(&file, &KEY), open(&bytes, &KEY));
        }
    }
}
