//! Recordings of calls (R5.12): a tap on the packet path, a thread that writes, files that only the
//! tenant's key opens.
//!
//! ```text
//!   packet thread ─► Tap ─► bounded queue ─► recorder thread ─► StereoRecorder ─► Sealer ─► FILE.sealed
//!                    (a full queue loses the copy, and counts it)                   FILE.json
//! ```
//!
//! Nothing is recorded unless a [`RecordingGate`] says so. What is heard reaches the disk within a
//! second: a server that dies loses that second, and the file opens up to there.

mod commands;
mod metadata;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use audio::CodecKind;
pub use media::recording::RecordingFormat;
use media::recording::{RecordedSide, SealError, Sealer, StereoRecorder};
use serde::{Deserialize, Serialize};

use crate::api::SessionId;
use crate::bridge::PacketTap;
pub use metadata::{Metadata, Pause};
use writer::{Job, Writer};

/// Packets that may wait for the recorder: two seconds of twenty recorded calls.
const QUEUE_MAX: usize = 4096;
/// Buffers that one call's packets go round in.
const SPARE_MAX: usize = 16;
/// Recordings at once.
const RECORDINGS_MAX: usize = 1000;

/// What shall be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingOrder {
    /// The call.
    pub session: SessionId,
    /// Whose call it is: the name of the key, and of the folder.
    pub tenant: String,
    /// The file's name without its endings: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// WAV instead of Ogg Opus.
    #[serde(default)]
    pub wav: bool,
}

/// Whether a call may be recorded. Rules of consent hold it shut until they are kept.
pub trait RecordingGate: Send + Sync {
    /// Nothing, or why not.
    ///
    /// # Errors
    /// The reason, for the log and for whoever asked.
    fn may_record(&self, order: &RecordingOrder) -> Result<(), String>;
}

/// The keys of tenants.
pub trait RecordingKeys: Send + Sync {
    /// The key of a tenant to seal with now, and its name, by which it is found again.
    ///
    /// # Errors
    /// When there is none and none can be made.
    fn key(&self, tenant: &str) -> io::Result<(String, [u8; 32])>;
}

/// Where recordings go and who decides.
pub struct RecordingSetup {
    /// The folder.
    pub folder: PathBuf,
    /// Who has the keys.
    pub keys: Box<dyn RecordingKeys>,
    /// Who allows it.
    pub gate: Box<dyn RecordingGate>,
}

impl std::fmt::Debug for RecordingSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingSetup").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why a call is not recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The relay was started without a place for recordings.
    #[error(
        "recordings are switched off: set recording.calls, or give the relay alone --recording-dir"
    )]
    Off,
    /// No such session.
    #[error("no such session")]
    NoSession,
    /// The gate is shut.
    #[error("not allowed: {0}")]
    Refused(String),
    /// A name that would leave its folder.
    #[error("{0:?} is no name for a recording: letters, digits, '-', '_' and '.'")]
    Name(String),
    /// As many as may be at once.
    #[error("{RECORDINGS_MAX} calls are being recorded, the limit")]
    TooMany,
    /// The file or the key.
    #[error("recording: {0}")]
    Io(#[from] io::Error),
    /// The key's name.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The codec.
    #[error(transparent)]
    Codec(#[from] audio::Error),
}

/// The recorder thread, and the way to it. It ends with this.
pub(crate) struct Recordings {
    setup: RecordingSetup,
    jobs: SyncSender<Job>,
    running: Arc<AtomicU64>,
    next: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl Recordings {
    pub(crate) fn start(setup: RecordingSetup) -> io::Result<Self> {
        writer::make_folder(&setup.folder)?;
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let running = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::new(Arc::clone(&running));
        let body = move || writer.run(&queue);
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(body)?;
        Ok(Self { setup, jobs, running, next: AtomicU64::new(1), thread: Some(thread) })
    }

    /// Opens the file; the tap to put into the bridge, and the recording's number.
    pub(crate) fn open(
        &self,
        order: &RecordingOrder,
        prefix: [u8; 7],
    ) -> Result<(u64, Box<dyn PacketTap>), RecordingError> {
        self.setup.gate.may_record(order).map_err(RecordingError::Refused)?;
        for name in [&order.tenant, &order.name] {
            writer::check_name(name).map_err(RecordingError::Name)?;
        }
        if self.running.load(Ordering::Relaxed) >= RECORDINGS_MAX as u64 {
            return Err(RecordingError::TooMany);
        }
        let (key_id, key) = self.setup.keys.key(&order.tenant)?;
        let sealer = Sealer::new(&key, &key_id, prefix)?;
        let (now, format) = (Instant::now(), format_of(order));
        let mut begins = Vec::new();
        let serial = u32::from_be_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]);
        let recorder = StereoRecorder::new(now, format, serial, &mut begins)?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (spare, spares) = sync_channel(SPARE_MAX);
        let (alive, lost) = (Arc::new(()), Arc::new(AtomicU64::new(0)));
        let opened = writer::Opening {
            id,
            now,
            order: order.clone(),
            key_id,
            recorder,
            sealer,
            begins,
            spare,
            alive: Arc::downgrade(&alive),
            lost: Arc::clone(&lost),
        };
        let running = writer::Running::create(&self.setup.folder, opened)?;
        self.running.fetch_add(1, Ordering::Relaxed);
        // Control waits here for a queue that packets have filled, a few milliseconds at most.
        self.jobs.send(Job::Start(Box::new(running))).map_err(|_| RecordingError::Off)?;
        let jobs = self.jobs.clone();
        Ok((id, Box::new(Tap { id, jobs, spares, _alive: alive, lost })))
    }

    /// Stops writing for a while, or goes on.
    pub(crate) fn set_paused(&self, id: u64, paused: bool) {
        // As above; the thread outlives this.
        let _ = self.jobs.send(Job::SetPaused { id, paused, at: Instant::now() });
    }
}

impl Drop for Recordings {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn format_of(order: &RecordingOrder) -> RecordingFormat {
    if order.wav { RecordingFormat::Wav } else { RecordingFormat::Opus }
}

/// The end of the way on a packet thread. The recording ends when it is dropped.
struct Tap {
    id: u64,
    jobs: SyncSender<Job>,
    spares: Receiver<Vec<u8>>,
    _alive: Arc<()>,
    lost: Arc<AtomicU64>,
}

impl PacketTap for Tap {
    fn packet(&mut self, now: Instant, from_caller: bool, kind: CodecKind, packet: &[u8]) {
        let mut bytes = self.spares.try_recv().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet);
        let side = if from_caller { RecordedSide::Caller } else { RecordedSide::Callee };
        if self.jobs.try_send(Job::Packet { id: self.id, at: now, side, kind, bytes }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
