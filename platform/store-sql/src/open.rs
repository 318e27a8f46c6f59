//! Opening, migrating, closing.

use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};
use store::StoreError;

use crate::error::{map, map_migration};
use crate::seal::Sealer;

/// The database in the data folder.
pub const DATABASE_FILE: &str = "whimbrel.db";
/// The key its secrets are sealed with.
pub const KEY_FILE: &str = "secret.key";
/// How long to wait for another process that writes.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const READERS: u32 = 4;
/// Pages in memory for each connection, in kB below zero. A batch of records touches a page of each
/// index for nearly every row.
const CACHE: &str = "-16000";
/// Pages in the write-ahead log before they go to the file: the longer, the more often several
/// changes of a page go there as one.
const CHECKPOINT: &str = "4000";
const KEY_CHECK: &str = "key-check";

/// The store on SQLite. Clones share it.
#[derive(Clone)]
pub struct SqlStore {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    pub(crate) sealer: std::sync::Arc<Sealer>,
    path: PathBuf,
    key_path: PathBuf,
}

impl SqlStore {
    /// Opens `DATA/whimbrel.db`, making and migrating it as needed.
    ///
    /// # Errors
    /// [`StoreError`] naming the file and the remedy: damaged, locked, denied, of a newer version,
    /// key missing or wrong.
    pub async fn open(data: &Path) -> Result<Self, StoreError> {
        let path = data.join(DATABASE_FILE);
        make_private(&path)?;
        let options = options(&path);
        let fail = |e| map(&path, e);
        let writer = pool(1).connect_with(options.clone()).await.map_err(fail)?;
        let migrations = sqlx::migrate!("./migrations/sqlite");
        migrations.run(&writer).await.map_err(|e| map_migration(&path, e))?;
        let readers = pool(READERS).connect_lazy_with(options.read_only(true));
        let key_path = data.join(KEY_FILE);
        let sealer = open_key(&writer, &path, &key_path).await?;
        Ok(Self { writer, readers, sealer: sealer.into(), path, key_path })
    }

    /// Finishes what runs and lets go of the files.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs SQLite's own check of the file; what it found, nothing if all is well.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the damage keeps even the check from running.
    pub async fn check(&self) -> Result<Vec<String>, StoreError> {
        let found: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(20)")
            .fetch_all(&self.readers)
            .await
            .map_err(|e| self.fail(e))?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    pub(crate) fn fail(&self, error: sqlx::Error) -> StoreError {
        map(&self.path, error)
    }

    pub(crate) fn wrong_key(&self) -> StoreError {
        StoreError::WrongKey { path: self.key_path.clone() }
    }

    /// A transaction that has the write lock from its beginning: it cannot fail halfway because
    /// another process wrote in between.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.fail(e))
    }

    pub(crate) async fn commit(&self, tx: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        tx.commit().await.map_err(|e| self.fail(e))
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("path", &self.path).finish_non_exhaustive()
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT)
        .foreign_keys(true)
}

fn pool(max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(max).acquire_timeout(BUSY_TIMEOUT * 2)
}

/// SQLite gives its side files the mode of the database, so this covers them too.
fn make_private(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options.open(path);
    made.map(drop).map_err(|e| match e.kind() {
        std::io::ErrorKind::StorageFull => StoreError::DiskFull { path: path.to_owned() },
        _ => StoreError::Denied { path: path.to_owned(), detail: e.to_string() },
    })
}

/// The key that belongs to this database: made together with it, afterwards only accepted if it
/// opens a value sealed on the first day.
async fn open_key(writer: &SqlitePool, path: &Path, key: &Path) -> Result<Sealer, StoreError> {
    let fail = |e| map(path, e);
    let check = sqlx::query_scalar::<_, Vec<u8>>("SELECT value FROM meta WHERE name = ?");
    let sealed = check.bind(KEY_CHECK).fetch_optional(writer).await.map_err(fail)?;
    let sealer = Sealer::load(key, sealed.is_none())?;
    if let Some(sealed) = sealed {
        let opened = sealer.open(KEY_CHECK, &sealed);
        return opened.map(|_| sealer).ok_or(StoreError::WrongKey { path: key.to_owned() });
    }
    let wrong = || StoreError::WrongKey { path: key.to_owned() };
    let sealed = sealer.seal(KEY_CHECK, KEY_CHECK.as_bytes()).ok_or_else(wrong)?;
    sqlx::query("INSERT OR IGNORE INTO meta (name, value) VALUES (?, ?)")
        .bind(KEY_CHECK)
        .bind(sealed)
        .execute(writer)
        .await
        .map_err(fail)?;
    Ok(sealer)
}
