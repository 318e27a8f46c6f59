//! For those who may miss some.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

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
