//! The files of the log, and who still needs them.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::lock_of;
use crate::error::LogError;
use crate::event::Envelope;
use crate::logfile::{HEADER_LEN, LogFile, replace_file};

pub(super) const HEADER: &[u8; HEADER_LEN] = b"whimbrel spine1\n";

/// All segments, the active one last, and the positions of the durable consumers.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    state: Mutex<State>,
    /// The last events written, for consumers that keep up: they need not read and parse what this
    /// process has just made.
    tail: Mutex<Tail>,
}

/// Events kept in memory behind the log; a consumer further behind reads the files.
const TAIL_MAX: usize = 32_768;

/// What was written last, as long as somebody has yet to read it.
#[derive(Debug, Default)]
struct Tail {
    events: VecDeque<Arc<Envelope>>,
    /// Who reads here: its number, and what it has read.
    readers: Vec<(u64, u64)>,
    next_reader: u64,
}

impl Tail {
    fn trim(&mut self) {
        let read = self.readers.iter().map(|(_, seq)| *seq).min().unwrap_or(u64::MAX);
        let passed = self.events.partition_point(|e| e.seq <= read);
        let surplus = self.events.len().saturating_sub(TAIL_MAX);
        self.events.drain(..passed.max(surplus));
    }
}

#[derive(Debug, Default)]
struct State {
    /// First sequence number → bytes that are whole.
    files: BTreeMap<u64, u64>,
    consumers: BTreeMap<String, u64>,
}

/// A piece of the log to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) first_seq: u64,
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Whether a later segment exists: this one will not grow.
    pub(super) closed: bool,
}

impl Segments {
    /// Finds the segments, opens the last for appending; the last sequence number used.
    pub(super) fn open(dir: &Path) -> Result<(Self, LogFile, u64), LogError> {
        let mut state = State::default();
        for entry in fs::read_dir(dir).map_err(|e| LogError::from_io(dir, &e))? {
            let path = entry.map_err(|e| LogError::from_io(dir, &e))?.path();
            let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
            match path.extension().and_then(|e| e.to_str()) {
                Some("log") => {
                    let Ok(first) = stem.parse() else { continue };
                    let len = fs::metadata(&path).map_err(|e| LogError::from_io(&path, &e))?.len();
                    state.files.insert(first, len);
                }
                Some("offset") => {
                    // A garbled one only means that segments stay longer.
                    let text = fs::read_to_string(&path).unwrap_or_default();
                    state.consumers.insert(stem.to_owned(), text.trim().parse().unwrap_or(0));
                }
                _ => {}
            }
        }
        let first = state.files.last_key_value().map_or(1, |(first, _)| *first);
        let path = segment_path(dir, first);
        let mut last_seq = first - 1;
        let (active, found) = LogFile::open(&path, HEADER, |entry| {
            if let Ok(envelope) = serde_json::from_slice::<Envelope>(entry) {
                last_seq = last_seq.max(envelope.seq);
            }
        })?;
        if found.cut_bytes > 0 {
            tracing::warn!(path = %path.display(), bytes = found.cut_bytes, "cut a torn tail");
        }
        state.files.insert(first, active.len());
        let dir = dir.to_owned();
        let segments = Self { dir, state: Mutex::new(state), tail: Mutex::default() };
        Ok((segments, active, last_seq))
    }

    /// Starts a new segment.
    pub(super) fn roll(&self, first_seq: u64) -> Result<LogFile, LogError> {
        let (file, _) = LogFile::open(&segment_path(&self.dir, first_seq), HEADER, |_| ())?;
        lock_of(&self.state).files.insert(first_seq, file.len());
        self.delete_passed();
        Ok(file)
    }

    /// The active segment has grown.
    pub(super) fn grew(&self, len: u64) {
        if let Some(mut active) = lock_of(&self.state).files.last_entry() {
            *active.get_mut() = len;
        }
    }

    /// Events are in the log: those who keep up may have them from here.
    pub(super) fn remember(&self, written: impl Iterator<Item = Arc<Envelope>>) {
        let mut tail = lock_of(&self.tail);
        if tail.readers.is_empty() {
            return;
        }
        tail.events.extend(written);
        if tail.events.len() > TAIL_MAX {
            tail.trim();
        }
    }

    /// Somebody reads along, from behind `seq`: its number.
    pub(super) fn join(&self, seq: u64) -> u64 {
        let mut tail = lock_of(&self.tail);
        tail.next_reader += 1;
        let reader = tail.next_reader;
        tail.readers.push((reader, seq));
        reader
    }

    /// And does so no more.
    pub(super) fn leave(&self, reader: u64) {
        let mut tail = lock_of(&self.tail);
        tail.readers.retain(|(number, _)| *number != reader);
        tail.trim();
    }

    /// A reader has read everything up to `seq`.
    pub(super) fn passed(&self, reader: u64, seq: u64) {
        let mut tail = lock_of(&self.tail);
        tail.readers.iter_mut().filter(|(number, _)| *number == reader).for_each(|r| r.1 = seq);
        tail.trim();
    }

    /// The first number in memory.
    pub(super) fn first_in_memory(&self) -> Option<u64> {
        lock_of(&self.tail).events.front().map(|e| e.seq)
    }

    /// Appends the events from `seq` on, up to `max` in all; nothing when the first of them is not
    /// in memory any more.
    pub(super) fn recall(&self, seq: u64, max: usize, batch: &mut Vec<Arc<Envelope>>) {
        let tail = lock_of(&self.tail);
        let Some(skip) = tail.events.front().and_then(|first| seq.checked_sub(first.seq)) else {
            return;
        };
        // Numbers have no gaps, so the distance is the place.
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        batch.extend(tail.events.iter().skip(skip).take(max.saturating_sub(batch.len())).cloned());
    }

    /// Refuses when more than `limit` bytes are kept for a consumer that is behind. Without any
    /// consumer the oldest segment goes instead.
    pub(super) fn check_backlog(&self, limit: u64) -> Result<(), LogError> {
        let mut state = lock_of(&self.state);
        while state.files.values().sum::<u64>() > limit && state.files.len() > 1 {
            let slowest = state.consumers.iter().min_by_key(|(_, seq)| **seq);
            if let Some((consumer, _)) = slowest {
                let (path, consumer) = (self.dir.clone(), consumer.clone());
                return Err(LogError::Backlog { path, consumer, limit });
            }
            if let Some((first, _)) = state.files.pop_first() {
                let _ = fs::remove_file(segment_path(&self.dir, first));
            }
        }
        Ok(())
    }

    /// Makes a consumer known, here and to later runs.
    pub(super) fn register(&self, name: &str, position: u64) -> Result<(), LogError> {
        lock_of(&self.state).consumers.insert(name.to_owned(), position);
        self.save(name, position)
    }

    /// A consumer has stored the effects of everything up to `seq`.
    pub(super) fn commit(&self, name: &str, seq: u64) {
        lock_of(&self.state).consumers.insert(name.to_owned(), seq);
        if self.delete_passed()
            && let Err(e) = self.save(name, seq)
        {
            tracing::warn!(consumer = name, error = %e, "position not saved; segments stay longer");
        }
    }

    /// The piece that holds `seq`, or the first one behind it.
    pub(super) fn piece(&self, seq: u64) -> Option<Piece> {
        let state = lock_of(&self.state);
        let before = state.files.range(..=seq).next_back();
        let (first, len) = before.or_else(|| state.files.first_key_value())?;
        Some(self.piece_of(&state, *first, *len))
    }

    /// The piece behind the one that begins with `first_seq`.
    pub(super) fn piece_after(&self, first_seq: u64) -> Option<Piece> {
        let state = lock_of(&self.state);
        let (first, len) = state.files.range(first_seq + 1..).next()?;
        Some(self.piece_of(&state, *first, *len))
    }

    fn piece_of(&self, state: &State, first_seq: u64, len: u64) -> Piece {
        let closed = state.files.range(first_seq + 1..).next().is_some();
        Piece { first_seq, path: segment_path(&self.dir, first_seq), len, closed }
    }

    /// Deletes segments every consumer has passed. True if one went.
    fn delete_passed(&self) -> bool {
        let mut state = lock_of(&self.state);
        let Some(passed) = state.consumers.values().min().copied() else { return false };
        let mut deleted = false;
        while let Some((_, next)) = state.files.keys().next().zip(state.files.keys().nth(1))
            && *next <= passed + 1
            && let Some((first, _)) = state.files.pop_first()
        {
            let path = segment_path(&self.dir, first);
            if let Err(e) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), error = %e, "old segment stays");
            }
            deleted = true;
        }
        deleted
    }

    fn save(&self, name: &str, seq: u64) -> Result<(), LogError> {
        replace_file(&self.dir.join(format!("{name}.offset")), |w| writeln!(w, "{seq}"))
    }
}

fn segment_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.log"))
}
