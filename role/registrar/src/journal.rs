//! The journal of one shard: what queued up while one group was written becomes the next group.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cluster::{FsyncPolicy, HEADER_LEN, LogError, LogFile, SyncClock, push_frame};

use crate::codec::{Entry, encode_entry};

pub(crate) const HEADER: &[u8; HEADER_LEN] = b"whimbrel locat1\n";

/// Most requests in one write.
const GROUP_MAX: usize = 4096;
/// Nothing due: how long to sleep at most.
const IDLE: Duration = Duration::from_secs(3600);

/// Limits and policies of a journal.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// When written entries are forced to disk.
    pub fsync: FsyncPolicy,
    /// Most requests waiting for the writer.
    pub queue: usize,
    /// A snapshot is taken when a journal has grown to this.
    pub compact_bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { fsync: FsyncPolicy::default(), queue: 65_536, compact_bytes: 32 << 20 }
    }
}

/// Hears whether entries are written. Called on the writer's thread: hand the news on and return.
pub(crate) type OnWritten = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The way to a shard's writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

/// What the snapshot thread holds: it must not keep a writer alive.
#[derive(Debug, Clone)]
pub(crate) struct WeakJournal(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Item>,
    path: PathBuf,
    limit: usize,
}

impl Journal {
    /// Opens or creates `DIR/journal-SHARD.log` and starts its writer; `full` hears when it has
    /// grown to [`JournalConfig::compact_bytes`]. The writer ends when every clone is gone.
    pub(crate) fn start(
        dir: &Path,
        shard: usize,
        config: &JournalConfig,
        full: SyncSender<()>,
    ) -> Result<(Self, JoinHandle<()>), LogError> {
        let path = dir.join(format!("journal-{shard}.log"));
        let (log, _) = LogFile::open(&path, HEADER, |_| ())?;
        let (queue, items) = sync_channel(config.queue);
        let writer = Writer {
            log,
            path: path.clone(),
            clock: SyncClock::new(config.fsync),
            compact_bytes: config.compact_bytes,
            full,
        };
        let thread = std::thread::Builder::new().name(format!("journal-{shard}"));
        let thread = thread.spawn(move || writer.run(&items));
        let thread = thread.map_err(|e| LogError::from_io(&path, &e))?;
        let shared = Shared { queue, path, limit: config.queue };
        Ok((Self { shared: Arc::new(shared) }, thread))
    }

    /// Writes entries, all or none, and tells `done`. Never waits.
    pub fn append(
        &self,
        entries: Vec<Entry>,
        done: impl FnOnce(Result<(), LogError>) + Send + 'static,
    ) {
        let item = Item::Write { entries, done: Box::new(done) };
        let (item, error) = match self.shared.queue.try_send(item) {
            Ok(()) => return,
            Err(TrySendError::Full(item)) => {
                let Shared { path, limit, .. } = &*self.shared;
                (item, LogError::Busy { path: path.clone(), queued: *limit })
            }
            Err(TrySendError::Disconnected(item)) => (item, LogError::Closed),
        };
        if let Item::Write { done, .. } = item {
            done(Err(error));
        }
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
        let (done, rotated) = sync_channel(1);
        shared.queue.send(Item::Rotate { aside, done }).map_err(|_| LogError::Closed)?;
        rotated.recv().map_err(|_| LogError::Closed)?
    }
}

enum Item {
    Write { entries: Vec<Entry>, done: OnWritten },
    Rotate { aside: PathBuf, done: SyncSender<Result<(), LogError>> },
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { entries, .. } => write!(f, "Write({})", entries.len()),
            Self::Rotate { .. } => f.write_str("Rotate"),
        }
    }
}

struct Writer {
    log: LogFile,
    path: PathBuf,
    clock: SyncClock,
    compact_bytes: u64,
    full: SyncSender<()>,
}

impl Writer {
    fn run(mut self, items: &Receiver<Item>) {
        let mut bytes = Vec::new();
        let mut waiting = Vec::new();
        loop {
            let first = match items.recv_timeout(self.clock.wait(Instant::now()).unwrap_or(IDLE)) {
                Ok(item) => Some(item),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            for item in first.into_iter().chain(items.try_iter().take(GROUP_MAX)) {
                match item {
                    Item::Write { entries, done } => {
                        let fits = push_entries(&entries, &mut bytes);
                        waiting.push((done, fits));
                    }
                    Item::Rotate { aside, done } => {
                        // What came before belongs into the old file.
                        self.write(&mut bytes, &mut waiting);
                        // Nobody listening means nobody compacts: no harm.
                        let _ = done.send(self.rotate(&aside));
                    }
                }
            }
            self.write(&mut bytes, &mut waiting);
            if self.clock.take_due(Instant::now()) {
                self.sync();
            }
        }
        self.sync();
    }

    fn write(&mut self, bytes: &mut Vec<u8>, waiting: &mut Vec<(OnWritten, bool)>) {
        let written = if bytes.is_empty() { Ok(()) } else { self.append(bytes) };
        if let Err(e) = &written {
            tracing::error!(error = %e, refused = waiting.len(), "registrations were refused");
        }
        bytes.clear();
        for (done, fits) in waiting.drain(..) {
            done(if fits { written.clone() } else { Err(LogError::TooLong) });
        }
        if self.log.len() >= self.compact_bytes {
            // Full means that it has been told already.
            let _ = self.full.try_send(());
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let before = self.log.len();
        self.log.append(bytes)?;
        if self.clock.wrote(Instant::now())
            && let Err(e) = self.log.sync()
        {
            self.log.roll_back(before)?;
            return Err(e);
        }
        Ok(())
    }

    fn rotate(&mut self, aside: &Path) -> Result<(), LogError> {
        let fresh = self.path.with_extension("new");
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| LogError::from_io(&path, &e)
        };
        self.log.sync()?;
        let (log, _) = LogFile::open(&fresh, HEADER, |_| ())?;
        std::fs::rename(&self.path, aside).map_err(fail(&self.path))?;
        self.log = log;
        // Whatever its name, the next start reads it: a failure here costs nothing.
        std::fs::rename(&fresh, &self.path).map_err(fail(&fresh))
    }

    fn sync(&mut self) {
        if let Err(e) = self.log.sync() {
            tracing::error!(error = %e, "the journal could not be forced to disk");
        }
    }
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
