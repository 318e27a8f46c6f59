//! For those who may miss some.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

use super::segments::Segments;
use crate::event::Envelope;

/// Events as they happen. Whoever is too slow loses the oldest, and knows how many.
#[derive(Debug)]
pub struct Subscription {
    events: Receiver<Arc<Envelope>>,
    lagged: u64,
}

impl Subscription {
    pub(super) fn new(events: Receiver<Arc<Envelope>>) -> Self {
        Self { events, lagged: 0 }
    }

    /// The next event; none when the spine has stopped. Safe to cancel.
    pub async fn next(&mut self) -> Option<Arc<Envelope>> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(missed)) => self.lagged += missed,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if there is one.
    pub fn try_next(&mut self) -> Option<Arc<Envelope>> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(missed)) => self.lagged += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// How many events this subscriber has lost so far.
    pub fn lagged(&self) -> u64 {
        self.lagged
    }
}

/// Durable events in bunches, from the memory of the spine. Whoever is too slow loses the oldest.
#[derive(Debug)]
pub struct Follower {
    seq: u64,
    segments: Arc<Segments>,
    reader: u64,
    last: watch::Receiver<u64>,
}

impl Follower {
    pub(super) fn new(segments: Arc<Segments>, last: watch::Receiver<u64>) -> Self {
        let seq = *last.borrow();
        let reader = segments.join(seq);
        Self { seq, segments, reader, last }
    }

    /// Waits until there is something to take; false when the spine has stopped. Safe to cancel.
    pub async fn wait(&mut self) -> bool {
        let seq = self.seq;
        self.last.wait_for(|last| *last > seq).await.is_ok()
    }

    /// Everything there is.
    pub fn take(&mut self) -> Vec<Arc<Envelope>> {
        // Asked first: what comes in meanwhile is for the next time.
        let last = *self.last.borrow();
        let next =
            self.segments.first_in_memory().map_or(self.seq, |first| self.seq.max(first - 1));
        let mut batch = Vec::new();
        self.segments.recall(next + 1, usize::MAX, &mut batch);
        self.seq = batch.last().map_or(last, |e| e.seq.max(self.seq));
        self.segments.passed(self.reader, self.seq);
        batch
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.segments.leave(self.reader);
    }
}
