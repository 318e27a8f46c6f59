//! The driver's errors, sorted by what can be done about them.

use std::path::Path;

use sqlx::migrate::MigrateError;
use store::StoreError;

/// Primary result codes, <https://www.sqlite.org/rescode.html>.
mod code {
    pub(super) const PERM: i64 = 3;
    pub(super) const BUSY: i64 = 5;
    pub(super) const LOCKED: i64 = 6;
    pub(super) const READONLY: i64 = 8;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const FULL: i64 = 13;
    pub(super) const CANTOPEN: i64 = 14;
    pub(super) const NOTADB: i64 = 26;
    /// A write that failed with something else than a full disk; a file size limit looks so too.
    pub(super) const IOERR_WRITE: i64 = 778;
    /// The shared-memory file could not grow.
    pub(super) const IOERR_SHMSIZE: i64 = 4874;
}

pub(crate) fn map(path: &Path, error: sqlx::Error) -> StoreError {
    let path = path.to_owned();
    let extended = match &error {
        sqlx::Error::Database(e) => e.code().and_then(|c| c.parse::<i64>().ok()).unwrap_or(0),
        sqlx::Error::PoolTimedOut => code::BUSY,
        _ => 0,
    };
    if matches!(extended, code::IOERR_WRITE | code::IOERR_SHMSIZE) {
        return StoreError::DiskFull { path };
    }
    match extended & 0xff {
        code::BUSY | code::LOCKED => StoreError::Locked { path },
        code::FULL => StoreError::DiskFull { path },
        code::CORRUPT | code::NOTADB => StoreError::Corrupt { path, detail: error.to_string() },
        code::PERM | code::READONLY | code::CANTOPEN => {
            StoreError::Denied { path, detail: error.to_string() }
        }
        _ => StoreError::Failed { path, source: Box::new(error) },
    }
}

pub(crate) fn map_migration(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            StoreError::Newer { path: path.to_owned(), version }
        }
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => map(path, e),
        other => StoreError::Failed { path: path.to_owned(), source: Box::new(other) },
    }
}

/// Whether a row of this name was there already.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Whether the row refers to one that does not exist.
pub(crate) fn is_dangling(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
}
