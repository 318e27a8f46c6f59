//! The file of one shard's journal: whole groups or nothing, and put aside on demand.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use cluster::{LogError, LogFile, SyncClock};

use super::HEADER;

/// Owns the file.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: LogFile,
    pub(super) path: PathBuf,
    pub(super) clock: SyncClock,
    pub(super) compact_bytes: u64,
    /// Hears when the file has grown to `compact_bytes`.
    pub(super) full: SyncSender<()>,
}

impl Writer {
    /// Appends whole frames, forced to disk where that is the policy. After an error nothing of
    /// them is in the file.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let before = self.log.len();
        self.log.append(bytes)?;
        if self.clock.wrote(Instant::now())
            && let Err(e) = self.log.sync()
        {
            self.log.roll_back(before)?;
            return Err(e);
        }
        if self.log.len() >= self.compact_bytes {
            // Full means that it has been told already.
            let _ = self.full.try_send(());
        }
        Ok(())
    }

    /// Begins a new file and puts the old one aside; it is returned, to be forced to disk by
    /// whoever has the time.
    pub(super) fn rotate(&mut self, aside: &Path) -> Result<File, LogError> {
        let fresh = self.path.with_extension("new");
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| LogError::from_io(&path, &e)
        };
        let (log, _) = LogFile::open(&fresh, HEADER, |_| ())?;
        let old = self.log.handle()?;
        std::fs::rename(&self.path, aside).map_err(fail(&self.path))?;
        self.log = log;
        // Whatever its name, the next start reads it: a failure here costs nothing.
        std::fs::rename(&fresh, &self.path).map_err(fail(&fresh))?;
        Ok(old)
    }

    pub(super) fn sync(&mut self) {
        if let Err(e) = self.log.sync() {
            tracing::error!(error = %e, "the journal could not be forced to disk");
        }
    }
}
