//! The server's own secrets: what signs nonces and seals route tokens, kept over restarts.

use anyhow::{Context, Result, bail};
use edge::Keys;
use sansio::{Entropy, Redacted};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "edge.key";
const NONCE_LEN: usize = 32;
const TOKEN_LEN: usize = 16;

/// Reads `DATA/edge.key`, or makes it.
pub fn load(data: &Path) -> Result<Keys> {
    let path = data.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(&path)?,
        Err(error) => {
            return Err(error).with_context(|| format!("{}: cannot be read", path.display()));
        }
    };
    let Some((nonce, token)) = split(&bytes) else {
        bail!(
            "{}: {} bytes instead of {}; restore it from a backup, or remove it (calls in progress \
             then lose their routes)",
            path.display(),
            bytes.len(),
            NONCE_LEN + TOKEN_LEN
        );
    };
    Ok(Keys { nonce: Redacted::new(nonce), token: (1, Redacted::new(token)) })
}

fn split(bytes: &[u8]) -> Option<([u8; NONCE_LEN], [u8; TOKEN_LEN])> {
    let (nonce, token) = bytes.split_first_chunk::<NONCE_LEN>()?;
    Some((*nonce, token.try_into().ok()?))
}

fn create(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = vec![0; NONCE_LEN + TOKEN_LEN];
    net::OsEntropy.fill(&mut bytes);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{}: cannot be made", path.display()))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{}: cannot be written; is the disk full?", path.display()))?;
    Ok(bytes)
}
