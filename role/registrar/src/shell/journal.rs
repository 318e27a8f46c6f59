//! The journal of one shard.
//!
//! ```text
//!   fsync always          append ─► queue ─► a thread writes and syncs groups ─► done
//!   interval or never     append, write ─► the caller's write(2) ─► done; a thread syncs later
//! ```
//! Where nothing waits for the disk, a write costs less than handing the work to a thread and the
//! answer back: the shard then writes by itself, one group for each batch of messages it received.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::{FsyncPolicy, HEADER_LEN, LogError, LogFile, SyncClock, push_frame};

use crate::codec::{Entry, encode_entry};

mod thread;
mod writer;

use thread::Item;
use writer::Writer;

pub(crate) const HEADER: &[u8; HEADER_LEN] = b"whimbrel locat1\n";

/// Limits and policies of a journal.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// When written entries are forced to disk.
    pub fsync: FsyncPolicy,
    /// Most requests waiting for the writer, where there is a queue.
    pub queue: usize,
    /// A snapshot is taken when a journal has grown to this.
    pub compact_bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { fsync: FsyncPolicy::default(), queue: 65_536, compact_bytes: 32 << 20 }
    }
}

/// Hears whether entries are written. May be called on the writer's thread: hand the news on and
/// return.
pub(crate) type OnWritten = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The way to a shard's journal. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// What the snapshot thread holds: it must not keep a writer alive.
#[derive(Debug, Clone)]
pub(crate) struct WeakJournal(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// A thread writes, because writing waits for the disk.
    Queue { items: SyncSender<Item>, limit: usize },
    /// Whoever has something to write does; a thread syncs after `dirty` said so.
    Inline { writer: Mutex<Writer>, dirty: SyncSender<()> },
}

impl Journal {
    /// Opens or creates `DIR/journal-SHARD.log` and starts its thread; `full` hears when it has
    /// grown to [`JournalConfig::compact_bytes`]. The thread ends when every clone is gone.
    pub(crate) fn start(
        dir: &Path,
        shard: usize,
        config: &JournalConfig,
        full: SyncSender<()>,
    ) -> Result<(Self, JoinHandle<()>), LogError> {
        let path = dir.join(format!("journal-{shard}.log"));
        let (log, _) = LogFile::open(&path, HEADER, |_| ())?;
        let clock = SyncClock::new(config.fsync);
        let compact_bytes = config.compact_bytes;
        let writer = Writer { log, path: path.clone(), clock, compact_bytes, full };
        let name = std::thread::Builder::new().name(format!("journal-{shard}"));
        let (shared, thread) = if config.fsync == FsyncPolicy::Always {
            let (items, queue) = sync_channel(config.queue);
            let way = Way::Queue { items, limit: config.queue };
            let thread = name.spawn(move || thread::run(writer, &queue));
            (Arc::new(Shared { path: path.clone(), way }), thread)
        } else {
            let (dirty, told) = sync_channel(1);
            let writer = Mutex::new(writer);
            let way = Way::Inline { writer, dirty };
            let shared = Arc::new(Shared { path: path.clone(), way });
            let (policy, weak) = (config.fsync, WeakJournal(Arc::downgrade(&shared)));
            (shared, name.spawn(move || sync_after_writes(policy, &weak, &told)))
        };
        let thread = thread.map_err(|e| LogError::from_io(&path, &e))?;
        Ok((Self { shared }, thread))
    }

    /// Writes entries, all or none, and tells `done`: at once where writing waits for no disk.
    pub fn append(
        &self,
        entries: Vec<Entry>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) {
        let Way::Queue { items, limit } = &self.shared.way else {
            let mut bytes = Vec::new();
            let fits = push_entries(&entries, &mut bytes);
            return done(if fits { self.write(&bytes) } else { Err(LogError::TooLong) });
        };
        let (item, error) = match items.try_send(Item::Write { entries, done: Box::new(done) }) {
            Ok(()) => return,
            Err(TrySendError::Full(item)) => {
                (item, LogError::Busy { path: self.shared.path.clone(), queued: *limit })
            }
            Err(TrySendError::Disconnected(item)) => (item, LogError::Closed),
        };
        if let Item::Write { done, .. } = item {
            done(Err(error));
        }
    }

    /// Whether [`Self::write`] may be used.
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self.shared.way, Way::Inline { .. })
    }

    /// Writes whole frames by one write(2), or nothing of them. Only where [`Self::is_inline`].
    pub(crate) fn write(&self, frames: &[u8]) -> Result<(), LogError> {
        let Way::Inline { writer, dirty } = &self.shared.way else { return Err(LogError::Closed) };
        lock(writer).append(frames)?;
        // Full means that the thread knows already, disconnected that nobody syncs.
        let _ = dirty.try_send(());
        Ok(())
    }

    pub(crate) fn downgrade(&self) -> WeakJournal {
        WeakJournal(Arc::downgrade(&self.shared))
    }
}

impl WeakJournal {
    /// Puts the journal aside under a name of its own and begins a new one; waits until it is
    /// done.
    pub(crate) fn rotate(&self, revision: u64) -> Result<(), LogError> {
        let shared = self.0.upgrade().ok_or(LogError::Closed)?;
        let name = |n: u32| shared.path.with_extension(format!("{revision}-{n}.old"));
        let aside = (0..).map(name).find(|path| !path.exists()).ok_or(LogError::Closed)?;
        match &shared.way {
            Way::Queue { items, .. } => {
                let (done, rotated) = sync_channel(1);
                items.send(Item::Rotate { aside, done }).map_err(|_| LogError::Closed)?;
                rotated.recv().map_err(|_| LogError::Closed)?
            }
            Way::Inline { writer, .. } => {
                // The shard waits for the rename, not for the disk.
                let old = lock(writer).rotate(&aside)?;
                old.sync_data().map_err(|e| LogError::from_io(&aside, &e))
            }
        }
    }

    /// Forces to disk what was written so far, without keeping anybody from writing more.
    fn sync(&self) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        let Way::Inline { writer, .. } = &shared.way else { return false };
        let file = lock(writer).log.handle();
        let synced =
            file.and_then(|file| file.sync_data().map_err(|e| LogError::from_io(&shared.path, &e)));
        if let Err(e) = synced {
            tracing::error!(error = %e, "the journal could not be forced to disk");
        }
        true
    }
}

/// Syncs once, an interval after the first write that was not synced; ends with the journal, and
/// what it held is on disk then.
fn sync_after_writes(policy: FsyncPolicy, journal: &WeakJournal, dirty: &Receiver<()>) {
    while dirty.recv().is_ok() {
        let FsyncPolicy::Interval(every) = policy else { continue };
        if !wait_or_end(every, journal) || !journal.sync() {
            return;
        }
    }
}

/// Waits, in steps short enough that a stop is not held up; false when the journal is gone.
fn wait_or_end(every: Duration, journal: &WeakJournal) -> bool {
    let mut left = every;
    while !left.is_zero() {
        let step = left.min(Duration::from_millis(100));
        std::thread::sleep(step);
        left -= step;
        if journal.0.strong_count() == 0 {
            return false;
        }
    }
    true
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Way::Inline { writer, .. } = &mut self.way {
            writer.get_mut().unwrap_or_else(PoisonError::into_inner).sync();
        }
    }
}

// A writer that panicked left the file as its last whole write did.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All entries of one request, or none of them.
fn push_entries(entries: &[Entry], bytes: &mut Vec<u8>) -> bool {
    let before = bytes.len();
    let fits = entries.iter().all(|e| push_frame(bytes, |out| encode_entry(e, out)));
    if !fits {
        bytes.truncate(before);
    }
    fits
}
