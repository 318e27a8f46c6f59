//! The calls in progress, as seen from memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::{Consumer, LogError};
use sansio::WallTime;
use serde::Serialize;
use store::SequencedOp;

use crate::fold::Fold;

/// Most steps that wait for the store; while there are more, the view stands still.
const WAITING_MAX: usize = 65_536;
/// Most events folded at a time.
const BATCH_MAX: usize = 4096;

/// The view; clones share it. Nothing is woken to keep it up to date: whoever asks has the events
/// folded that came in since.
#[derive(Debug, Clone)]
pub struct OpenCalls {
    folding: Arc<Mutex<Folding>>,
}

#[derive(Debug)]
struct Folding {
    fold: Fold,
    consumer: Consumer,
}

/// What is to be stored next.
#[derive(Debug)]
pub(crate) struct Bunch {
    pub(crate) ops: Vec<SequencedOp>,
    /// How far the log is told with them.
    pub(crate) upto: u64,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// Being routed.
    Trying,
    /// A phone rings.
    Ringing,
    /// People talk.
    Answered,
}

/// One call in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenCall {
    /// The call's number.
    pub call: u64,
    /// RFC 7989 Session-ID.
    pub session_id: String,
    /// Call-ID of the caller's leg.
    pub call_id: String,
    /// The tenant's domain.
    pub tenant: String,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Address and transport it came by.
    pub source: String,
    /// How far it has come.
    pub state: CallState,
    /// When it began.
    #[serde(with = "store::wall_millis")]
    pub started_at: WallTime,
    /// When it was answered.
    #[serde(with = "store::wall_millis::option")]
    pub answered_at: Option<WallTime>,
    /// Codecs agreed.
    pub codecs: Vec<String>,
    /// `recording`, `paused`, or empty where nothing records.
    pub recording: String,
}

impl OpenCalls {
    pub(crate) fn new(fold: Fold, consumer: Consumer) -> Self {
        Self { folding: Arc::new(Mutex::new(Folding { fold, consumer })) }
    }

    /// All, oldest first.
    pub fn list(&self) -> Vec<OpenCall> {
        let mut calls: Vec<OpenCall> = self.caught_up().fold.open_calls().collect();
        calls.sort_by_key(|c| (c.started_at, c.call));
        calls
    }

    /// One by its number.
    pub fn call(&self, call: u64) -> Option<OpenCall> {
        self.caught_up().fold.open_call(call)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.caught_up().fold.open_count()
    }

    /// Whether nobody talks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be stored now; with `all`, everything.
    pub(crate) fn take(&self, all: bool) -> Result<Bunch, LogError> {
        let mut folding = self.lock();
        folding.catch_up()?;
        let ops = folding.fold.take_ops(all);
        Ok(Bunch { ops, upto: folding.fold.told_upto(folding.consumer.position()) })
    }

    /// What was taken is stored: the log may forget it.
    pub(crate) fn stored(&self, upto: u64) {
        self.lock().consumer.commit(upto);
    }

    fn caught_up(&self) -> MutexGuard<'_, Folding> {
        let mut folding = self.lock();
        // What cannot be read now is read, or complained of, when it is to be stored.
        let _ = folding.catch_up();
        folding
    }

    fn lock(&self) -> MutexGuard<'_, Folding> {
        self.folding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folding {
    fn catch_up(&mut self) -> Result<(), LogError> {
        while self.fold.waiting() < WAITING_MAX {
            let batch = self.consumer.read_ready(BATCH_MAX)?;
            if batch.is_empty() {
                break;
            }
            batch.iter().for_each(|envelope| self.fold.handle_event(envelope));
        }
        Ok(())
    }
}
