//! Secrets at rest: AES-256-GCM with the key in `DATA/secret.key`.
//!
//! A sealed value is `1 | 12 bytes nonce | ciphertext | 16 bytes tag`; the first byte names the
//! form, so that another can come later. Nonces are random: good for 2^32 values per key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use store::StoreError;

const FORM: u8 = 1;
const KEY_LEN: usize = 32;

/// Seals and opens.
pub(crate) struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    /// Reads the key file, or makes one, readable by its owner alone, if `create` allows.
    pub(crate) fn load(path: &Path, create: bool) -> Result<Self, StoreError> {
        let bad = |detail: String| StoreError::BadKey { path: path.to_owned(), detail };
        if create && !path.exists() {
            create_key(path).map_err(|e| bad(e.to_string()))?;
        }
        let key = fs::read(path).map_err(|e| bad(e.to_string()))?;
        if key.len() != KEY_LEN {
            return Err(bad(format!("it has {} bytes instead of {KEY_LEN}", key.len())));
        }
        let key = UnboundKey::new(&AES_256_GCM, &key);
        let key = key.map_err(|_| bad("refused by the cipher".to_owned()))?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Seals `secret` for `place`; none only if the system has no randomness.
    pub(crate) fn seal(&self, place: &str, secret: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut sealed = secret.to_vec();
        let aad = Aad::from(place.as_bytes());
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(unique, aad, &mut sealed).ok()?;
        Some([&[FORM], &nonce[..], &sealed].concat())
    }

    /// Opens what was sealed for `place`.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (form, rest) = sealed.split_first()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *form != FORM {
            return None;
        }
        let mut bytes = ciphertext.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(place.as_bytes());
        let len = self.key.open_in_place(nonce, aad, &mut bytes).ok()?.len();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// Appears whole or not at all, and never replaces another: server and CLI may race here.
fn create_key(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_LEN];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_in_their_place_only() {
        let path = std::env::temp_dir().join(format!("wb-seal-{}.key", std::process::id()));
        let _ = fs::remove_file(&path);
        assert!(Sealer::load(&path, false).is_err());
        let sealer = Sealer::load(&path, true).unwrap();
        let sealed = sealer.seal("a", b"secret").unwrap();
        assert_ne!(sealed, sealer.seal("a", b"secret").unwrap());
        let again = Sealer::load(&path, true).unwrap();
        assert_eq!(again.open("a", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(again.open("b", &sealed), None);
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(again.open("a", &damaged), None);
        }
        assert_eq!(again.open("a", &sealed[..5]), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, b"short").unwrap();
        assert!(matches!(Sealer::load(&path, true), Err(StoreError::BadKey { .. })));
        fs::remove_file(&path).unwrap();
    }
}
