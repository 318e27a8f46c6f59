//! `[recording]`: which calls are recorded, the tenants' keys, and `whimbrel recording open`.

use crate::cli::RecordingVerb;
use crate::config::{RecordedCalls, Recording};
use anyhow::{Context, Result, bail};
use media::recording;
use relay::recording::{
    RecordingError, RecordingGate, RecordingKeys, RecordingOrder, RecordingSetup,
};
use relay::{Relay, SessionId};
use sansio::Entropy;
use std::collections::HashMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Below the data folder.
const KEYS: &str = "recording-keys";
const FILES: &str = "recordings";
/// Calls whose tenant is remembered until they are answered.
const WAITING_MAX: usize = 100_000;

/// Starts recordings where the configuration says so.
pub struct Recorded {
    wav: bool,
    /// The tenant and the file's name of calls that are not answered yet.
    waiting: Mutex<HashMap<u64, (String, String)>>,
}

impl Recorded {
    /// Prepares the relay; `None` where no call is recorded.
    pub fn start(relay: &Relay, data: &Path, config: &Recording) -> Result<Option<Arc<Self>>> {
        if config.calls == RecordedCalls::None {
            return Ok(None);
        }
        let folder = config.folder.clone().unwrap_or_else(|| data.join(FILES));
        let setup = setup(folder, data.join(KEYS));
        let folder = setup.folder.display().to_string();
        relay.enable_recording(setup).with_context(|| format!("{folder}: no recordings"))?;
        Ok(Some(Arc::new(Self { wav: config.wav, waiting: Mutex::default() })))
    }

    /// A call begins: whose it is.
    pub fn note(&self, opening: &edge::CallOpening) {
        let Some((_, domain)) = opening.from.rsplit_once('@') else { return };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            let name = format!("{}-{}", opening.at.as_millis(), opening.session_id);
            waiting.insert(opening.call, (domain.to_ascii_lowercase(), name));
        }
    }

    /// A call is answered: it is recorded from now on.
    pub fn answered(&self, relay: &Relay, call: u64) {
        let Some((tenant, name)) = self.forget(call) else { return };
        let order = RecordingOrder { session: SessionId(call), tenant, name, wav: self.wav };
        match relay.start_recording(&order) {
            Ok(()) => tracing::info!(call, tenant = order.tenant, "recording"),
            // Media that does not cross the relay cannot be recorded.
            Err(RecordingError::NoSession) => tracing::warn!(call, "not recorded: no media here"),
            Err(error) => tracing::error!(call, %error, "not recorded"),
        }
    }

    /// A call is over.
    pub fn forget(&self, call: u64) -> Option<(String, String)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&call)
    }
}

/// Recordings below `folder`, sealed with keys below `keys`.
pub fn setup(folder: PathBuf, keys: PathBuf) -> RecordingSetup {
    let keys = Box::new(TenantKeys { folder: keys });
    RecordingSetup { folder, keys, gate: Box::new(AsConfigured) }
}

/// The operator has said so. Rules of consent will stand here.
struct AsConfigured;

impl RecordingGate for AsConfigured {
    fn may_record(&self, _: &RecordingOrder) -> Result<(), String> {
        Ok(())
    }
}

/// A key of 32 bytes for each tenant, made when first needed.
struct TenantKeys {
    folder: PathBuf,
}

impl RecordingKeys for TenantKeys {
    fn key(&self, tenant: &str) -> io::Result<(String, [u8; 32])> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{tenant}.key"));
        let mut key = [0; 32];
        net::OsEntropy.fill(&mut key);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(&key)?;
                file.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => key = read_key(&path)?,
            Err(error) => return Err(error),
        }
        Ok((tenant.to_owned(), key))
    }
}

fn read_key(path: &Path) -> io::Result<[u8; 32]> {
    let bytes = std::fs::read(path)?;
    let wrong = |_| {
        let what = format!("{}: {} bytes instead of 32", path.display(), bytes.len());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    bytes.as_slice().try_into().map_err(wrong)
}

/// `whimbrel recording …`.
pub fn run(data: &Path, verb: &RecordingVerb) -> Result<bool> {
    let RecordingVerb::Open { file, out, key_file } = verb;
    let sealed = std::fs::read(file).with_context(|| file.display().to_string())?;
    let tenant = recording::key_id(&sealed).with_context(|| file.display().to_string())?;
    let usual = || data.join(KEYS).join(format!("{tenant}.key"));
    if key_file.is_none() && tenant.contains('/') {
        bail!("{}: its key has the name {tenant:?}: say --key-file", file.display());
    }
    let key_file = key_file.clone().unwrap_or_else(usual);
    let key = read_key(&key_file).with_context(|| format!("{}: no key", key_file.display()))?;
    let opened = recording::open(&sealed, &key).with_context(|| file.display().to_string())?;
    let mut options = OpenOptions::new();
    let mut written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("{}: cannot be made", out.display()))?;
    written.write_all(&opened.plain).with_context(|| out.display().to_string())?;
    if !opened.complete {
        anyhow::ensure!(!opened.plain.is_empty(), "{}: nothing in it", file.display());
        crate::present::complain("the recording has no end: its server died, or it still runs");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r5_12_a_tenants_key_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("whimbrel-keys-{}", std::process::id()));
        let keys = TenantKeys { folder: folder.clone() };
        let (id, key) = keys.key("call.example").unwrap();
        assert_eq!(keys.key("call.example").unwrap(), (id, key));
        assert_ne!(keys.key("other.example").unwrap().1, key);
        let mode = std::fs::metadata(folder.join("call.example.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.join("short.key"), [1; 3]).unwrap();
        assert!(keys.key("short").unwrap_err().to_string().contains("3 bytes instead of 32"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
