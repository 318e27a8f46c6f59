//! The thread that decodes, mixes, codes, seals and writes.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use audio::CodecKind;
use media::recording::{RecordedSide, Sealer, StereoRecorder};
use rtp::RtpPacket;

use super::{Metadata, Pause, RecordingOrder};

/// Recordings are looked after this often.
const TICK: Duration = Duration::from_millis(100);
/// What is heard is on the disk after this long.
const FLUSH: Duration = Duration::from_secs(1);

/// What the thread is told.
pub(super) enum Job {
    Start(Box<Running>),
    Packet {
        id: u64,
        at: Instant,
        side: RecordedSide,
        kind: CodecKind,
        bytes: Vec<u8>,
    },
    SetPaused {
        id: u64,
        paused: bool,
        at: Instant,
    },
    /// Finish what runs, and end.
    End,
}

/// What a recording begins with.
pub(super) struct Opening {
    pub id: u64,
    pub now: Instant,
    pub order: RecordingOrder,
    pub key_id: String,
    pub recorder: StereoRecorder,
    pub sealer: Sealer,
    /// What the sound's format begins with.
    pub begins: Vec<u8>,
    pub spare: SyncSender<Vec<u8>>,
    pub alive: Weak<()>,
    pub lost: Arc<AtomicU64>,
}

/// A recording under way.
pub(super) struct Running {
    id: u64,
    recorder: StereoRecorder,
    sealer: Sealer,
    file: File,
    /// Where the metadata stand.
    beside: PathBuf,
    metadata: Metadata,
    spare: SyncSender<Vec<u8>>,
    alive: Weak<()>,
    lost: Arc<AtomicU64>,
    /// Sound that is not sealed, and what is sealed and not written.
    sound: Vec<u8>,
    sealed: Vec<u8>,
    flushed: Instant,
}

impl Running {
    /// Makes the files, below the tenant's folder.
    pub(super) fn create(folder: &Path, opening: Opening) -> io::Result<Self> {
        let Opening { id, now, order, key_id, recorder, mut sealer, begins, spare, alive, lost } =
            opening;
        let folder = folder.join(&order.tenant);
        make_folder(&folder)?;
        let ending = if order.wav { "wav" } else { "opus" };
        let path = folder.join(format!("{}.{ending}.sealed", order.name));
        let mut file = create_new(&path)?;
        let mut sealed = sealer.header().to_vec();
        sealer.push(&begins, &mut sealed);
        file.write_all(&sealed)?;
        sealed.clear();
        let metadata = Metadata {
            session: order.session.0,
            tenant: order.tenant,
            key_id,
            format: ending.to_owned(),
            channels: ["caller".to_owned(), "callee".to_owned()],
            started_ms: unix_ms(),
            ended_ms: None,
            duration_ms: 0,
            pauses: Vec::new(),
            packets_lost: 0,
        };
        let beside = folder.join(format!("{}.json", order.name));
        let sound = Vec::new();
        let this = Self {
            id,
            recorder,
            sealer,
            file,
            beside,
            metadata,
            spare,
            alive,
            lost,
            sound,
            sealed,
            flushed: now,
        };
        this.write_metadata()?;
        Ok(this)
    }

    fn packet(&mut self, at: Instant, side: RecordedSide, kind: CodecKind, bytes: Vec<u8>) {
        self.recorder.advance(at, &mut self.sound);
        if let Ok(packet) = RtpPacket::parse(&bytes) {
            self.recorder.handle_packet(at, side, kind, &packet);
        }
        // A tap that is gone needs it no more.
        let _ = self.spare.try_send(bytes);
    }

    fn set_paused(&mut self, paused: bool, at: Instant) {
        let open = self.metadata.pauses.last_mut().filter(|pause| pause.to_ms.is_none());
        match (paused, open) {
            (true, None) => {
                self.recorder.pause(at, &mut self.sound);
                self.metadata.pauses.push(Pause { from_ms: unix_ms(), to_ms: None });
            }
            (false, Some(pause)) => {
                self.recorder.resume(at);
                pause.to_ms = Some(unix_ms());
            }
            _ => {}
        }
    }

    /// Writes what was heard up to `now`.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        self.recorder.advance(now, &mut self.sound);
        self.sealer.push(&self.sound, &mut self.sealed);
        self.sound.clear();
        if now.saturating_duration_since(self.flushed) >= FLUSH {
            self.flushed = now;
            self.sealer.flush(&mut self.sealed);
        }
        let written = self.file.write_all(&self.sealed);
        self.sealed.clear();
        written
    }

    fn finish(mut self, now: Instant) -> io::Result<()> {
        self.write(now)?;
        self.metadata.duration_ms = self.recorder.duration().as_millis() as u64;
        self.recorder.finish(now, &mut self.sound);
        self.sealer.push(&self.sound, &mut self.sealed);
        let Self { sealer, mut sealed, mut file, .. } = self;
        sealer.finish(&mut sealed);
        file.write_all(&sealed)?;
        file.sync_all()?;
        self.metadata.ended_ms = Some(unix_ms());
        self.metadata.packets_lost = self.lost.load(Ordering::Relaxed);
        write_json(&self.beside, &self.metadata)
    }

    fn write_metadata(&self) -> io::Result<()> {
        write_json(&self.beside, &self.metadata)
    }
}

/// The thread's own.
pub(super) struct Writer {
    running: BTreeMap<u64, Running>,
    count: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn new(count: Arc<AtomicU64>) -> Self {
        Self { running: BTreeMap::new(), count }
    }

    /// The thread's body.
    pub(super) fn run(&mut self, queue: &Receiver<Job>) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let told = queue.recv_timeout(wait);
            match told {
                Ok(Job::End) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(job) => self.take(job),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                self.tick(now);
            }
        }
        let now = Instant::now();
        for (_, running) in std::mem::take(&mut self.running) {
            self.end(running, now);
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Start(running) => {
                self.running.insert(running.id, *running);
            }
            Job::Packet { id, at, side, kind, bytes } => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.packet(at, side, kind, bytes);
                }
            }
            Job::SetPaused { id, paused, at } => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.set_paused(paused, at);
                }
            }
            Job::End => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        let mut over = Vec::new();
        for (id, running) in &mut self.running {
            if running.alive.strong_count() == 0 {
                over.push((*id, true));
            } else if let Err(error) = running.write(now) {
                let session = running.metadata.session;
                tracing::error!(session, %error, "a recording ends: free space or repair the folder");
                over.push((*id, false));
            }
        }
        for (id, whole) in over {
            let Some(running) = self.running.remove(&id) else { continue };
            match whole {
                true => self.end(running, now),
                false => drop(self.count.fetch_sub(1, Ordering::Relaxed)),
            }
        }
    }

    fn end(&self, running: Running, now: Instant) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        let session = running.metadata.session;
        match running.finish(now) {
            Ok(()) => tracing::info!(session, "recorded"),
            Err(error) => tracing::error!(session, %error, "a recording has no end"),
        }
    }
}

/// A folder that only we read.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A name that stays in its folder; itself where it does not.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = (1..=200).contains(&name.len()) && !name.starts_with('.') && name.chars().all(fits);
    if good { Ok(()) } else { Err(name.to_owned()) }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Whole or not at all.
fn write_json(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(metadata).map_err(io::Error::other)?;
    let beside = path.with_extension("json.new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&text)?;
    std::fs::rename(&beside, path)
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}
