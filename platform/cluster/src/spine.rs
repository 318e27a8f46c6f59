//! The spine itself: who may emit, subscribe, consume.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use sansio::WallTime;
use tokio::sync::{broadcast, watch};

use crate::error::LogError;
use crate::event::{Envelope, Event};
use crate::logfile::{DirLock, replace_file};
use crate::sync::{FsyncPolicy, SyncClock};
use segments::Segments;
use syncer::{State, Writing};
use writer::Writer;

mod consumer;
mod segments;
mod subscription;
mod syncer;
#[cfg(test)]
mod tests;
mod writer;

pub use consumer::{Consumer, Waiter};
pub use subscription::{Follower, Subscription};

/// Hears whether an event is kept, with its sequence number. Called on the thread that emits it,
/// before that call returns.
pub type OnWritten = Box<dyn FnOnce(Result<u64, LogError>) + Send>;

/// An event on its way to the log.
pub struct Emission {
    /// When it happened.
    pub at: WallTime,
    /// What happened.
    pub event: Event,
    /// Who waits until it is kept.
    pub on_written: Option<OnWritten>,
}

impl fmt::Debug for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emission({:?})", self.event)
    }
}

/// Limits and policies of a spine.
#[derive(Debug, Clone)]
pub struct SpineConfig {
    /// When written events are forced to disk.
    pub fsync: FsyncPolicy,
    /// A segment is closed when it has grown to this.
    pub segment_bytes: u64,
    /// Most bytes kept for consumers that are behind.
    pub log_bytes: u64,
    /// Most events kept for a subscriber that is behind.
    pub subscriber_queue: usize,
}

impl Default for SpineConfig {
    fn default() -> Self {
        Self {
            fsync: FsyncPolicy::default(),
            segment_bytes: 8 << 20,
            log_bytes: 1 << 30,
            subscriber_queue: 4096,
        }
    }
}

/// The spine of events of one process. Clones share it; the last one to go stops it.
#[derive(Debug, Clone)]
pub struct Spine {
    shared: Arc<Shared>,
}

impl Spine {
    /// Opens the log in `dir`, cuts a torn tail, starts what forces it to disk, and writes this run's
    /// [`Event::ServerStarted`].
    ///
    /// # Errors
    /// [`LogError::InUse`] if another process has the folder; whatever the file system reports.
    pub fn open(dir: &Path, config: SpineConfig, wall: WallTime) -> Result<Self, LogError> {
        let lock = DirLock::take(dir)?;
        let epoch = epoch(dir, wall)?;
        let (segments, active, last_seq) = Segments::open(dir)?;
        let (last, watch_last) = watch::channel(last_seq);
        let (broadcast, _) = broadcast::channel(config.subscriber_queue);
        let segments = Arc::new(segments);
        let writer = Writer {
            active,
            next_seq: last_seq + 1,
            clock: SyncClock::new(config.fsync),
            config,
            bytes: Vec::new(),
            segments: Arc::clone(&segments),
            last,
            broadcast: broadcast.clone(),
        };
        let state = Mutex::new(State { writer: Some(writer), asleep: false });
        let writing = Arc::new(Writing { state, woken: Condvar::new() });
        let thread = std::thread::Builder::new().name("spine".to_owned());
        let thread = thread.spawn({
            let writing = Arc::clone(&writing);
            move || syncer::run(&writing)
        });
        let thread = thread.map_err(|e| LogError::from_io(dir, &e))?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            epoch,
            first_seq: last_seq + 1,
            writing,
            dropped: AtomicU64::new(0),
            segments,
            last: watch_last,
            broadcast,
            syncer: Mutex::new(Some(thread)),
            _lock: lock,
        });
        let spine = Self { shared };
        spine.write_start(wall)?;
        Ok(spine)
    }

    /// Tells everyone. Kinds that are not durable reach subscribers only. An event that cannot be
    /// written is lost and counted in [`Self::dropped`]: what must not be lost goes by
    /// [`Self::emit_durable`].
    pub fn emit(&self, at: WallTime, event: Event) {
        if !event.is_durable() && !self.has_subscribers() {
            return;
        }
        self.emit_all(std::iter::once(Emission { at, event, on_written: None }));
    }

    /// Tells everyone, and `on_written` when the event is in the log (or why it is not). An event
    /// of a kind that is not durable is answered with sequence number 0.
    pub fn emit_durable(
        &self,
        at: WallTime,
        event: Event,
        on_written: impl FnOnce(Result<u64, LogError>) + Send + 'static,
    ) {
        let on_written: OnWritten = Box::new(on_written);
        self.emit_all(std::iter::once(Emission { at, event, on_written: Some(on_written) }));
    }

    /// As [`Self::emit`] and [`Self::emit_durable`] for several events in their order: one write
    /// for all of them, on this thread, so that nobody has to be woken.
    pub fn emit_all(&self, group: impl IntoIterator<Item = Emission>) {
        let mut group = group.into_iter().peekable();
        if group.peek().is_none() {
            return;
        }
        let told = {
            let mut state = lock_of(&self.shared.writing.state);
            let told = match &mut state.writer {
                Some(writer) => writer.write_group(group),
                None => group.map(|item| (item.on_written, Err(LogError::Closed))).collect(),
            };
            if state.asleep && state.writer.as_ref().is_some_and(|w| w.clock.is_running()) {
                state.asleep = false;
                self.shared.writing.woken.notify_one();
            }
            told
        };
        for (on_written, result) in told {
            match on_written {
                Some(on_written) => on_written(result),
                None if result.is_err() => {
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                None => {}
            }
        }
    }

    /// Whether anybody hears what is not durable: who would have to make such an event first may ask
    /// before.
    pub fn has_subscribers(&self) -> bool {
        self.shared.broadcast.receiver_count() > 0
    }

    /// Everything from now on, for those who may miss some.
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(self.shared.broadcast.subscribe())
    }

    /// The durable kinds alone, from now on and in bunches, for those who may miss some. Who always
    /// listens should ask for these: nobody is woken for an event, and a registration is only told
    /// when somebody looks ([`Self::has_subscribers`]).
    pub fn follow_kept(&self) -> Follower {
        Follower::new(Arc::clone(&self.shared.segments), self.shared.last.clone())
    }

    /// Every durable event after `position`, also those of earlier runs. Segments stay until each
    /// consumer that ever was has committed past them.
    ///
    /// # Errors
    /// Whatever the file system reports.
    pub fn consumer(&self, name: &str, position: u64) -> Result<Consumer, LogError> {
        self.shared.segments.register(name, position)?;
        Ok(Consumer::new(
            name,
            position,
            Arc::clone(&self.shared.segments),
            self.shared.last.clone(),
        ))
    }

    /// Which spine this is: fixed when its folder was made.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The number of this run's first event.
    pub fn first_seq(&self) -> u64 {
        self.shared.first_seq
    }

    /// The number of the last event in the log.
    pub fn last_seq(&self) -> u64 {
        *self.shared.last.borrow()
    }

    /// Events lost because they could not be written.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Where the log is.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Forces what was written to disk and stops. Later events are refused.
    pub fn stop(&self) {
        self.shared.stop();
    }

    fn write_start(&self, wall: WallTime) -> Result<(), LogError> {
        let (done, written) = std::sync::mpsc::sync_channel(1);
        let event = Event::ServerStarted { version: env!("CARGO_PKG_VERSION").to_owned() };
        self.emit_durable(wall, event, move |result| {
            let _ = done.send(result);
        });
        written.recv().map_err(|_| LogError::Closed)??;
        Ok(())
    }
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    epoch: u64,
    first_seq: u64,
    writing: Arc<Writing>,
    dropped: AtomicU64,
    segments: Arc<Segments>,
    last: watch::Receiver<u64>,
    broadcast: broadcast::Sender<Arc<Envelope>>,
    syncer: Mutex<Option<JoinHandle<()>>>,
    _lock: DirLock,
}

impl Shared {
    fn stop(&self) {
        let writer = lock_of(&self.writing.state).writer.take();
        self.writing.woken.notify_all();
        if let Some(mut writer) = writer
            && let Err(e) = writer.active.sync()
        {
            tracing::error!(error = %e, "the spine could not be forced to disk");
        }
        let thread = lock_of(&self.syncer).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("what forces the spine to disk panicked");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock_of<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder's own number, made with it.
fn epoch(dir: &Path, wall: WallTime) -> Result<u64, LogError> {
    let path = dir.join("epoch");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| LogError::Foreign { path }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let epoch = wall.as_millis().max(1);
            replace_file(&path, |w| writeln!(w, "{epoch}"))?;
            Ok(epoch)
        }
        Err(e) => Err(LogError::from_io(&path, &e)),
    }
}
