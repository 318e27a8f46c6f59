//! The location service on disk: `DATA/location/`.
//!
//! ```text
//!   snapshot.bin              every binding as of one change (the watermark), replaced by rename
//!   journal-SHARD.log         changes since, one file per shard
//!   journal-SHARD.REV.old     put aside while a snapshot is being taken
//! ```
//! Changes are numbered across all shards, so files may be read in any order: the latest change of
//! a binding wins, and those a snapshot holds already are skipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster::{DirLock, LogError, LogFile, push_frame, replace_file};
use sansio::WallTime;

use crate::binding::{Binding, BindingKey};
use crate::codec::{Entry, decode_entry, encode_binding, encode_entry};
use crate::core::{Limits, Registrar, Renewed};
use crate::plan::{RegisterPlan, push_contact_line};
use crate::refusal::{Refusal, RefusalReason};
use crate::request::RegisterRequest;
use crate::table::{LocationTable, STRIPES};

mod journal;

use journal::HEADER;
pub use journal::{Journal, JournalConfig};

/// After a failed snapshot: how long to wait before the next.
const RETRY: Duration = Duration::from_secs(10);

/// How the location service runs.
#[derive(Debug, Clone)]
pub struct LocationConfig {
    /// Signalling shards, each with a journal of its own.
    pub shards: usize,
    /// What a registration may be.
    pub limits: Limits,
    /// How the journals are written.
    pub journal: JournalConfig,
}

impl Default for LocationConfig {
    fn default() -> Self {
        Self { shards: 1, limits: Limits::default(), journal: JournalConfig::default() }
    }
}

/// Hears the outcome of a REGISTER once it is safe. Called on the journal's thread, or at once
/// when there is nothing to write: hand the news on and return.
pub type OnRegistered = Box<dyn FnOnce(Result<RegisterPlan, Refusal>) + Send>;

/// The location service of a process.
#[derive(Debug)]
pub struct Location {
    table: Arc<LocationTable>,
    config: LocationConfig,
    journals: Vec<Journal>,
    threads: Vec<JoinHandle<()>>,
    compactor: JoinHandle<()>,
    loaded: usize,
    _lock: DirLock,
}

/// One shard's part of it.
#[derive(Debug)]
pub struct LocationShard {
    registrar: Registrar,
    journal: Journal,
    /// What is staged: frames, and who waits for them.
    frames: Vec<u8>,
    staged: Vec<Staged>,
}

/// A registration in memory that waits for the journal.
#[derive(Debug)]
struct Staged {
    token: u64,
    change: Staging,
    fits: bool,
}

/// What was changed.
#[derive(Debug)]
enum Staging {
    /// Told when it is written.
    Plan(Box<RegisterPlan>),
    /// Told only when it cannot be written.
    Answered(Box<RegisterPlan>),
    /// The same of a refresh.
    Renewed(Renewed),
}

impl Staging {
    /// Whether nothing of it belongs into the journal.
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Plan(plan) | Self::Answered(plan) if plan.changes.is_empty())
    }
}

impl Location {
    /// Loads what is in `dir` and starts the journals.
    ///
    /// # Errors
    /// [`LogError::InUse`] if another process has the folder; whatever the file system reports.
    pub fn open(dir: &Path, config: LocationConfig, wall: WallTime) -> Result<Self, LogError> {
        let lock = DirLock::take(dir)?;
        let table = Arc::new(LocationTable::new());
        let files = load(dir, &table)?;
        for stripe in 0..STRIPES {
            table.sweep(stripe, wall);
        }
        let loaded = table.len();
        // On a full disk the journals are kept as they are, and go on being appended to.
        match compact(dir, &table, &files) {
            Ok(()) => {}
            Err(e) => tracing::warn!(error = %e, "no snapshot at start"),
        }
        let (full, compactions) = sync_channel(1);
        let mut journals = Vec::new();
        let mut threads = Vec::new();
        for shard in 0..config.shards.max(1) {
            let (journal, thread) = Journal::start(dir, shard, &config.journal, full.clone())?;
            journals.push(journal);
            threads.push(thread);
        }
        let compactor = start_compactor(dir, &table, &journals, compactions)?;
        Ok(Self { table, config, journals, threads, compactor, loaded, _lock: lock })
    }

    /// The part of shard `shard`.
    pub fn shard(&self, shard: usize) -> LocationShard {
        let shards = self.journals.len();
        let table = Arc::clone(&self.table);
        let registrar = Registrar::for_shard(table, self.config.limits, shard % shards, shards);
        LocationShard::new(registrar, self.journals[shard % shards].clone())
    }

    /// The table all shards share.
    pub fn table(&self) -> &Arc<LocationTable> {
        &self.table
    }

    /// How many live bindings were found at start.
    pub fn loaded(&self) -> usize {
        self.loaded
    }

    /// Waits until everything queued is written and forced to disk, and a snapshot that was begun is
    /// taken: the folder is the next one's afterwards. Drop every [`LocationShard`] first.
    pub fn stop(self) {
        drop(self.journals);
        for thread in self.threads.into_iter().chain([self.compactor]) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread of the location service panicked");
            }
        }
    }
}

impl LocationShard {
    fn new(registrar: Registrar, journal: Journal) -> Self {
        Self { registrar, journal, frames: Vec::new(), staged: Vec::new() }
    }

    /// Decides a REGISTER, writes it down, and tells `done` the outcome.
    pub fn register(
        &self,
        wall: WallTime,
        request: &RegisterRequest<'_>,
        done: impl FnOnce(Result<RegisterPlan, Refusal>) + Send + 'static,
    ) {
        match self.registrar.handle_register(wall, request) {
            Ok(plan) => self.write(plan, Box::new(done)),
            Err(refusal) => done(Err(refusal)),
        }
    }

    /// Whether [`Self::stage`] and [`Self::flush`] may be used: where writing waits for no disk.
    pub fn can_stage(&self) -> bool {
        self.journal.is_inline()
    }

    /// Decides a REGISTER and changes memory; what belongs into the journal waits for
    /// [`Self::flush`], and the answer with it. `Some` if there is nothing to wait for.
    ///
    /// # Errors
    /// A [`Refusal`] to answer at once; nothing was changed.
    pub fn stage(
        &mut self,
        wall: WallTime,
        request: &RegisterRequest<'_>,
        token: u64,
    ) -> Result<Option<RegisterPlan>, Refusal> {
        debug_assert!(self.can_stage(), "a journal that waits for the disk has its own thread");
        let plan = self.registrar.handle_register(wall, request)?;
        if plan.changes.is_empty() {
            return Ok(Some(plan));
        }
        let fits = plan.push_frames(&mut self.frames);
        self.staged.push(Staged { token, change: Staging::Plan(Box::new(plan)), fits });
        Ok(None)
    }

    /// As [`Self::stage`], for who has written the answer already: the Contact lines for it are
    /// appended to `contacts`, and [`Self::flush`] tells only what could not be written.
    ///
    /// # Errors
    /// A [`Refusal`] to answer at once; nothing was changed.
    pub fn stage_answered(
        &mut self,
        wall: WallTime,
        request: &RegisterRequest<'_>,
        token: u64,
        contacts: &mut String,
    ) -> Result<(), Refusal> {
        debug_assert!(self.can_stage(), "a journal that waits for the disk has its own thread");
        let Self { registrar, frames, staged, .. } = self;
        let mut fits = true;
        let renewed = registrar.renew(wall, request, |binding| {
            fits = push_frame(frames, |out| encode_binding(binding, out));
            push_contact_line(binding, wall, contacts);
        });
        if let Some(renewed) = renewed {
            staged.push(Staged { token, change: Staging::Renewed(renewed), fits });
            return Ok(());
        }
        let plan = registrar.handle_register(wall, request)?;
        plan.push_contact_lines(wall, contacts);
        let fits = plan.push_frames(frames);
        staged.push(Staged { token, change: Staging::Answered(Box::new(plan)), fits });
        Ok(())
    }

    /// Whether something is staged.
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Writes what is staged by one write(2) and tells the outcome of each, by its token and in
    /// order; of those answered already only what could not be written. That is taken back.
    pub fn flush(&mut self, mut told: impl FnMut(u64, Result<RegisterPlan, Refusal>)) {
        if self.staged.is_empty() {
            return;
        }
        let written = match self.frames.is_empty() {
            true => Ok(()),
            false => self.journal.write(&self.frames),
        };
        self.frames.clear();
        if let Err(e) = &written {
            tracing::error!(error = %e, refused = self.staged.len(), "registrations were refused");
        }
        let failed = |s: &Staged| match (&written, s.fits) {
            _ if s.change.is_nothing() => None,
            (Err(e), _) => Some(e.clone()),
            (Ok(()), false) => Some(LogError::TooLong),
            (Ok(()), true) => None,
        };
        // The latest first: each then finds the table as it left it.
        for staged in self.staged.iter().rev().filter(|s| failed(s).is_some()) {
            let table = self.registrar.table();
            match &staged.change {
                Staging::Plan(plan) | Staging::Answered(plan) => table.revert(plan),
                Staging::Renewed(Renewed { key, revision, before }) => {
                    table.undo_renewal((*key, *revision), before);
                }
            }
        }
        for staged in self.staged.drain(..) {
            match (failed(&staged), staged.change) {
                (Some(e), _) => {
                    told(staged.token, Err(Refusal::new(RefusalReason::NotWritten(e))));
                }
                (None, Staging::Plan(plan)) => told(staged.token, Ok(*plan)),
                (None, Staging::Answered(_) | Staging::Renewed(_)) => {}
            }
        }
    }

    /// Removes all bindings of a user that is gone.
    pub fn remove_user(
        &self,
        wall: WallTime,
        aor: &str,
        done: impl FnOnce(Result<RegisterPlan, Refusal>) + Send + 'static,
    ) {
        let plan = self.registrar.handle_user_removed(wall, aor);
        self.write(plan, Box::new(done));
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<WallTime> {
        self.registrar.next_expiry()
    }

    /// Removes what has expired in this shard's share of the table.
    pub fn expire(&self, wall: WallTime) -> Vec<Binding> {
        self.registrar.handle_timeout(wall)
    }

    /// The table all shards share.
    pub fn table(&self) -> &Arc<LocationTable> {
        self.registrar.table()
    }

    fn write(&self, plan: RegisterPlan, done: OnRegistered) {
        let entries: Vec<Entry> = plan.entries().collect();
        if entries.is_empty() {
            return done(Ok(plan));
        }
        let table = Arc::clone(self.registrar.table());
        self.journal.append(entries, move |written| match written {
            Ok(()) => done(Ok(plan)),
            Err(e) => {
                table.revert(&plan);
                done(Err(Refusal::new(RefusalReason::NotWritten(e))));
            }
        });
    }
}

impl Clone for LocationShard {
    /// The same shard for another caller: what is staged stays with whoever staged it.
    fn clone(&self) -> Self {
        Self::new(self.registrar.clone(), self.journal.clone())
    }
}

/// Reads snapshot and journals into the table; the journals found.
fn load(dir: &Path, table: &LocationTable) -> Result<Vec<PathBuf>, LogError> {
    let mut watermark = 0;
    let mut unknown = 0_u64;
    let found = LogFile::read(&snapshot_path(dir), HEADER, |bytes| match decode_entry(bytes) {
        Some(Entry::Watermark { revision }) => watermark = revision,
        Some(Entry::Set(binding)) => table.restore(binding),
        Some(Entry::Remove { .. }) | None => unknown += 1,
    })?;
    if found.cut_bytes > 0 || unknown > 0 {
        let path = snapshot_path(dir);
        tracing::error!(path = %path.display(), unknown, "the snapshot is damaged: what is behind \
            the damage comes back when the phones register again");
    }
    table.saw_revision(watermark);
    let files = journals_in(dir)?;
    let mut removed: BTreeMap<BindingKey, u64> = BTreeMap::new();
    for path in &files {
        LogFile::read(path, HEADER, |bytes| match decode_entry(bytes) {
            Some(Entry::Set(binding)) if binding.revision() > watermark => table.restore(binding),
            Some(Entry::Remove { key, revision }) if revision > watermark => {
                table.saw_revision(revision);
                let latest = removed.entry(key).or_default();
                *latest = revision.max(*latest);
            }
            _ => {}
        })?;
    }
    for (key, revision) in removed {
        table.remove_older(key, revision);
    }
    Ok(files)
}

/// Writes a snapshot and deletes the journals whose content it holds.
fn compact(dir: &Path, table: &LocationTable, files: &[PathBuf]) -> Result<(), LogError> {
    if files.is_empty() {
        return Ok(());
    }
    // Every change up to here is in memory: its number was given out under the stripe's lock.
    let revision = table.revision();
    replace_file(&snapshot_path(dir), |out| {
        let mut bytes = HEADER.to_vec();
        push_frame(&mut bytes, |b| encode_entry(&Entry::Watermark { revision }, b));
        for stripe in table.snapshot() {
            for entry in &stripe {
                push_frame(&mut bytes, |b| encode_entry(entry, b));
            }
            out.write_all(&bytes)?;
            bytes.clear();
        }
        Ok(())
    })?;
    for path in files {
        std::fs::remove_file(path).map_err(|e| LogError::from_io(path, &e))?;
    }
    Ok(())
}

/// A thread that takes a snapshot whenever a journal is full; ends with the journals.
fn start_compactor(
    dir: &Path,
    table: &Arc<LocationTable>,
    journals: &[Journal],
    compactions: Receiver<()>,
) -> Result<JoinHandle<()>, LogError> {
    let (owned, table) = (dir.to_owned(), Arc::clone(table));
    let journals: Vec<_> = journals.iter().map(Journal::downgrade).collect();
    let thread = std::thread::Builder::new().name("snapshot".to_owned());
    let run = move || {
        while compactions.recv().is_ok() {
            let done = journals
                .iter()
                .try_for_each(|j| j.rotate(table.revision()))
                .and_then(|()| aside_in(&owned))
                .and_then(|files| compact(&owned, &table, &files));
            if let Err(e) = done {
                tracing::warn!(error = %e, "no snapshot: the journals grow until the next try");
                rest(&compactions);
            }
        }
    };
    thread.spawn(run).map_err(|e| LogError::from_io(dir, &e))
}

/// Waits before the next try, but not once the journals are gone. What was asked for meanwhile is
/// asked for again by the next write.
fn rest(compactions: &Receiver<()>) {
    let until = Instant::now() + RETRY;
    while compactions.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok() {}
}

fn journals_in(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| LogError::from_io(dir, &e))? {
        let entry = entry.map_err(|e| LogError::from_io(dir, &e))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with("journal-")) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn aside_in(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut files = journals_in(dir)?;
    files.retain(|path| path.extension().is_some_and(|e| e == "old"));
    Ok(files)
}

fn snapshot_path(dir: &Path) -> PathBuf {
    dir.join("snapshot.bin")
}
