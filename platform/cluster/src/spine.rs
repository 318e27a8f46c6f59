//! The spine itself: who may emit, subscribe, consume.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use sansio::WallTime;
use tokio::sync::{broadcast, watch};

use crate::error::LogError;
use crate::event::{Envelope, Event};
use crate::logfile::{DirLock, replace_file};
use crate::sync::FsyncPolicy;
use segments::Segments;
use writer::Writer;

mod consumer;
mod segments;
mod subscription;
#[cfg(test)]
mod tests;
mod writer;

pub use consumer::Consumer;
pub use subscription::Subscription;

/// Hears whether an event is kept, with its sequence number. Called on the writer's thread: hand
/// the news on and return.
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

/// What goes to the writer in one go. A batch is never empty.
type Batch = Vec<Emission>;

/// Limits and policies of a spine.
#[derive(Debug, Clone)]
pub struct SpineConfig {
    /// When written events are forced to disk.
    pub fsync: FsyncPolicy,
    /// Most batches of events waiting for the writer.
    pub queue: usize,
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
            queue: 65_536,
            segment_bytes: 8 << 20,
            log_bytes: 1 << 30,
            subscriber_queue: 4096,
        }
    }
}

/// The spine of events of one process. Clones share it; the last one to go stops the writer.
#[derive(Debug, Clone)]
pub struct Spine {
    shared: Arc<Shared>,
}

impl Spine {
    /// Opens the log in `dir`, cuts a torn tail, starts the writer, and writes this run's
    /// [`Event::ServerStarted`].
    ///
    /// # Errors
    /// [`LogError::InUse`] if another process has the folder; whatever the file system reports.
    pub fn open(dir: &Path, config: SpineConfig, wall: WallTime) -> Result<Self, LogError> {
        let lock = DirLock::take(dir)?;
        let epoch = epoch(dir, wall)?;
        let (segments, active, last_seq) = Segments::open(dir)?;
        let (queue, items) = sync_channel(config.queue);
        let (last, watch_last) = watch::channel(last_seq);
        let (broadcast, _) = broadcast::channel(config.subscriber_queue);
        let (kept, _) = broadcast::channel(config.subscriber_queue);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            epoch,
            first_seq: last_seq + 1,
            queue: Mutex::new(Some(queue)),
            queue_limit: config.queue,
            dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            segments: Arc::new(segments),
            last: watch_last,
            broadcast: broadcast.clone(),
            kept: kept.clone(),
            writer: Mutex::new(None),
            _lock: lock,
        });
        let writer = Writer {
            active,
            next_seq: last_seq + 1,
            config,
            segments: Arc::clone(&shared.segments),
            last,
            broadcast,
            kept,
        };
        let thread = std::thread::Builder::new().name("spine".to_owned());
        let thread = thread.spawn(move || writer.run(&items));
        let thread = thread.map_err(|e| LogError::from_io(dir, &e))?;
        *lock_of(&shared.writer) = Some(thread);
        let spine = Self { shared };
        spine.write_start(wall)?;
        Ok(spine)
    }

    /// Tells everyone, without waiting. Kinds that are not durable reach subscribers only. If the
    /// writer is too far behind the event is lost and counted in [`Self::dropped`]: what must not
    /// be lost goes by [`Self::emit_durable`].
    pub fn emit(&self, at: WallTime, event: Event) {
        if !event.is_durable() && !self.has_subscribers() {
            return;
        }
        self.emit_all(vec![Emission { at, event, on_written: None }]);
    }

    /// Tells everyone, and `on_written` when the event is in the log (or why it is not). An event
    /// of a kind that is not durable is answered with sequence number 0.
    pub fn emit_durable(
        &self,
        at: WallTime,
        event: Event,
        on_written: impl FnOnce(Result<u64, LogError>) + Send + 'static,
    ) {
        self.emit_all(vec![Emission { at, event, on_written: Some(Box::new(on_written)) }]);
    }

    /// As [`Self::emit`] and [`Self::emit_durable`] for several events in their order: the writer is
    /// woken once for all of them.
    pub fn emit_all(&self, batch: Vec<Emission>) {
        if batch.is_empty() {
            return;
        }
        let Err(refused) = self.push(batch) else { return };
        let (batch, error) = *refused;
        for item in batch {
            match item.on_written {
                Some(on_written) => on_written(Err(error.clone())),
                None => drop(self.shared.dropped.fetch_add(1, Ordering::Relaxed)),
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

    /// As [`Self::subscribe`], for the durable kinds alone. Who listens always should ask for these:
    /// a registration is only told when somebody looks ([`Self::has_subscribers`]).
    pub fn subscribe_kept(&self) -> Subscription {
        Subscription::new(self.shared.kept.subscribe())
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

    /// Events lost because the writer was too far behind.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Where the log is.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Writes what is queued, forces it to disk and stops the writer. Later events are refused.
    pub fn stop(&self) {
        self.shared.stop();
    }

    fn push(&self, batch: Batch) -> Result<(), Box<(Batch, LogError)>> {
        let queue = lock_of(&self.shared.queue);
        let Some(queue) = &*queue else { return Err(Box::new((batch, LogError::Closed))) };
        queue.try_send(batch).map_err(|refused| match refused {
            TrySendError::Full(batch) => {
                let path = self.shared.dir.clone();
                Box::new((batch, LogError::Busy { path, queued: self.shared.queue_limit }))
            }
            TrySendError::Disconnected(batch) => Box::new((batch, LogError::Closed)),
        })
    }

    fn write_start(&self, wall: WallTime) -> Result<(), LogError> {
        let (done, written) = sync_channel(1);
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
    queue: Mutex<Option<SyncSender<Batch>>>,
    queue_limit: usize,
    dropped: AtomicU64,
    stopping: AtomicBool,
    segments: Arc<Segments>,
    last: watch::Receiver<u64>,
    broadcast: broadcast::Sender<Arc<Envelope>>,
    kept: broadcast::Sender<Arc<Envelope>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: DirLock,
}

impl Shared {
    fn stop(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        // Without a sender the writer ends behind the last queued event.
        lock_of(&self.queue).take();
        let thread = lock_of(&self.writer).take();
        // The last clone may go inside a callback, on the writer's own thread.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the spine's writer panicked");
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
