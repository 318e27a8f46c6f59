//! What can go wrong with a log, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A log's failure: cheap to clone, since one failed write answers a whole group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// No room left on the device, or over quota.
    #[error("no space left for {}: free some space on that disk; what was acknowledged is kept", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// We may not read or write it.
    #[error("{} cannot be used ({detail}): check that the data folder belongs to the user running whimbrel", path.display())]
    Denied {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        detail: String,
    },
    /// Another process uses this folder.
    #[error("{} is in use by another whimbrel: stop it, or start this one with another --data folder", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is something else, or from another version.
    #[error("{} is not a log of this version: put it aside, or run the version that wrote it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A durable consumer is stuck and the log has reached its limit.
    #[error("the log in {} reached its limit of {limit} bytes because `{consumer}` does not keep up: see why it is stuck, or raise the limit", path.display())]
    Backlog {
        /// The folder.
        path: PathBuf,
        /// Who is behind.
        consumer: String,
        /// The limit, bytes.
        limit: u64,
    },
    /// The writer has more queued than it may.
    #[error("the writer of {} is {queued} entries behind: the disk is too slow", path.display())]
    Busy {
        /// The file or folder.
        path: PathBuf,
        /// The queue's limit.
        queued: usize,
    },
    /// The entry does not fit a frame.
    #[error("an entry is longer than a log frame")]
    TooLong,
    /// The log was stopped.
    #[error("the log is closed")]
    Closed,
    /// Anything else the system says.
    #[error("{} failed: {detail}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        detail: String,
    },
}

impl LogError {
    /// Sorts a system error by what can be done about it.
    pub fn from_io(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { path, detail: error.to_string() }
            }
            _ => Self::Io { path, detail: error.to_string() },
        }
    }
}
