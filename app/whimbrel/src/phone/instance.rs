//! The phone's instance (RFC 5626 §4.1): a URN that stays the same for an account on this machine,
//! so that a phone started again replaces its old binding instead of adding one.

use aws_lc_rs::digest::{SHA256, digest};
use sansio::Entropy;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Phones of one account running at once on one machine; each is an instance of its own.
const AT_ONCE: usize = 32;

/// An instance, ours while this value lives.
pub struct Instance {
    /// `urn:uuid:..`.
    pub urn: String,
    /// Holds the lock by which another phone of the account sees that this one is in use.
    _lock: Option<File>,
}

impl Instance {
    /// The account's instance on this machine: kept in the state folder, or derived from account
    /// and host name where nothing can be kept.
    pub fn of(account: &str) -> Self {
        let kept = state_dir().map(|dir| Self::kept_in(&dir, account, &mut net::OsEntropy));
        match kept {
            Some(Ok(instance)) => instance,
            Some(Err(error)) => {
                tracing::info!(%error, "the instance cannot be kept; derived instead");
                Self::derived(account)
            }
            None => Self::derived(account),
        }
    }

    fn kept_in(dir: &Path, account: &str, entropy: &mut dyn Entropy) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let name = hex(&digest(&SHA256, account.as_bytes()).as_ref()[..8]);
        for slot in 0..AT_ONCE {
            let path = dir.join(format!("instance-{name}-{slot}"));
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let mut file = options.open(path)?;
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Self { urn: read_or_make(&mut file, entropy)?, _lock: Some(file) });
                }
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{AT_ONCE} phones of {account} run already")))
    }

    fn derived(account: &str) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let hash = digest(&SHA256, format!("{account}\n{}", host.trim()).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        Self { urn: urn(bytes, 8), _lock: None }
    }
}

/// `${XDG_STATE_HOME:-~/.local/state}/whimbrel`; none without a home.
pub fn state_dir() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME");
    let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|dir| dir.join("whimbrel"))
}

fn read_or_make(file: &mut File, entropy: &mut dyn Entropy) -> io::Result<String> {
    let mut text = String::new();
    // A file that is no text is made anew, like an empty one.
    let _ = file.take(200).read_to_string(&mut text);
    if is_urn(text.trim()) {
        return Ok(text.trim().to_string());
    }
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    let urn = urn(bytes, 4);
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{urn}")?;
    Ok(urn)
}

fn is_urn(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("urn:uuid:") else { return false };
    uuid.len() == 36
        && uuid.char_indices().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// RFC 9562: version 4 is random, version 8 whatever its maker says.
fn urn(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let h = hex(&bytes);
    format!("urn:uuid:{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_stays_and_two_phones_at_once_differ() {
        let name = format!("whimbrel-instance-{}", net::OsEntropy.token(8));
        let dir = std::env::temp_dir().join(name);
        let open = |account| Instance::kept_in(&dir, account, &mut net::OsEntropy).unwrap();
        let first = open("alice@example.org");
        assert!(is_urn(&first.urn), "{}", first.urn);
        let second = open("alice@example.org");
        assert_ne!(first.urn, second.urn);
        assert_ne!(open("bob@example.org").urn, first.urn);
        let before = first.urn.clone();
        drop(first);
        assert_eq!(open("alice@example.org").urn, before);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn without_a_place_to_keep_it_the_instance_is_derived() {
        let alice = Instance::derived("alice@example.org").urn;
        assert!(is_urn(&alice), "{alice}");
        assert_eq!(alice, Instance::derived("alice@example.org").urn);
        assert_ne!(alice, Instance::derived("bob@example.org").urn);
        let nowhere = Path::new("/proc/whimbrel");
        assert!(Instance::kept_in(nowhere, "a@b", &mut net::OsEntropy).is_err());
    }
}
