//! What can go wrong with a store, and what to do about it.

use std::path::PathBuf;

/// A store's failure. Variants that concern a file name it, and say the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Something of this name is there already.
    #[error("{what} `{key}` exists already")]
    Exists {
        /// The kind of thing: `tenant`, `user`.
        what: &'static str,
        /// Its name.
        key: String,
    },
    /// A thing referred to does not exist.
    #[error("there is no {what} `{key}`")]
    Missing {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        key: String,
    },
    /// A name that cannot be kept.
    #[error("{what} `{key}` cannot be used: {why}")]
    BadName {
        /// The kind of thing.
        what: &'static str,
        /// The name as given.
        key: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// No room left on the device.
    #[error("no space left for {}: free some space on that disk; nothing was changed", path.display())]
    DiskFull {
        /// The database file.
        path: PathBuf,
    },
    /// Another process holds the database for longer than we wait.
    #[error("{} is locked by another process: stop what holds it (`fuser {}` names it) and try again", path.display(), path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// The file is no database, or a damaged one.
    #[error("{} is damaged ({detail}): put it aside and restore a backup, or start with another --data folder", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What was noticed.
        detail: String,
    },
    /// We may not read or write it.
    #[error("{} cannot be opened ({detail}): check that it and its folder belong to the user running whimbrel", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// The system's words.
        detail: String,
    },
    /// Written by a newer version.
    #[error("{} was written by a newer whimbrel (schema {version}): run that version, or restore a backup from before the upgrade", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The schema found.
        version: i64,
    },
    /// The key file does not open what is in the database.
    #[error("{} does not open the secrets in the database: restore the key file that belongs to it, or set the passwords again", path.display())]
    WrongKey {
        /// The key file.
        path: PathBuf,
    },
    /// The key file is missing or not 32 bytes.
    #[error("{} is not a usable key ({detail}): restore it from the backup of this data folder", path.display())]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Anything else the database says.
    #[error("the database {} failed: {source}", path.display())]
    Failed {
        /// The database file.
        path: PathBuf,
        /// The driver's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether the same request may succeed later without anyone changing the request.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Locked { .. } | Self::Failed { .. })
    }

    /// Whether the caller asked for something impossible, as opposed to a failing store.
    pub fn is_callers_fault(&self) -> bool {
        matches!(self, Self::Exists { .. } | Self::Missing { .. } | Self::BadName { .. })
    }
}
