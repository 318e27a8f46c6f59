//! The task that folds.

use std::sync::Arc;
use std::time::Duration;

use cluster::{LogError, Spine, Waiter};
use sansio::WallTime;
use store::{Store, StoreError};

use crate::fold::Fold;
use crate::open_calls::{Bunch, OpenCalls};

/// The name under which positions are kept.
pub const CONSUMER: &str = "records";

/// Most events of earlier runs in one transaction.
const BATCH_MAX: usize = 4096;
/// How long events are gathered before the store is written, on a quiet server and on a busy one: a
/// call that begins, rings and ends meanwhile is one row instead of four statements, and each
/// transaction writes a page of every index for nearly every row.
const LINGER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// Steps in one bunch from which on a server is busy.
const BUSY: usize = 32;
/// First and longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Why records cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The spine cannot be read.
    #[error(transparent)]
    Spine(#[from] LogError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps the records of a process.
pub struct RecordKeeper {
    calls: OpenCalls,
    waiter: Waiter,
    epoch: u64,
    store: Arc<dyn Store>,
}

impl RecordKeeper {
    /// Folds what earlier runs left in the log and closes their open records with
    /// [`crate::SERVER_RESTART`]. Call it before calls are taken.
    ///
    /// # Errors
    /// Whatever spine or store report: without records nothing should start.
    pub async fn open(
        spine: &Spine,
        store: Arc<dyn Store>,
        wall: WallTime,
    ) -> Result<Self, RecordsError> {
        let epoch = spine.epoch();
        let stored = store.position(CONSUMER).await?;
        let position = if stored.epoch == epoch { stored.seq } else { 0 };
        let mut consumer = spine.consumer(CONSUMER, position)?;
        let first_seq = spine.first_seq();
        let (mut earlier, mut fold) = (Fold::new(), Fold::new());
        while consumer.position() < first_seq {
            let batch = consumer.read_ready(BATCH_MAX)?;
            if batch.is_empty() {
                break;
            }
            let (before, of_this_run) =
                batch.split_at(batch.partition_point(|e| e.seq < first_seq));
            before.iter().for_each(|envelope| earlier.handle_event(envelope));
            of_this_run.iter().for_each(|envelope| fold.handle_event(envelope));
            if let Some(last) = before.last() {
                let ops = earlier.take_ops(true);
                store.apply(CONSUMER, epoch, &ops, last.seq).await?;
                consumer.commit(last.seq);
            }
        }
        let close = Fold::restart_close(wall);
        let cut = store.close_abandoned(epoch, first_seq, &close).await?;
        if !cut.is_empty() {
            tracing::warn!(calls = cut.len(), "calls were cut short by the restart");
        }
        let waiter = consumer.waiter();
        let mut keeper = Self { calls: OpenCalls::new(fold, consumer), waiter, epoch, store };
        keeper.store_ready(false).await?;
        Ok(keeper)
    }

    /// The view of open calls.
    pub fn open_calls(&self) -> OpenCalls {
        self.calls.clone()
    }

    /// Folds until the spine stops. Failures are logged and tried again: the spine keeps the events.
    pub async fn run(mut self) {
        let (mut wait, mut linger) = (RETRY.0, LINGER.0);
        let mut upto = 0;
        loop {
            let goes_on = self.waiter.wait_beyond(upto).await;
            if goes_on {
                tokio::time::sleep(linger).await;
            }
            match self.store_ready(!goes_on).await {
                Ok(bunch) => {
                    linger = if bunch.ops.len() < BUSY { LINGER.0 } else { LINGER.1 };
                    (wait, upto) = (RETRY.0, bunch.upto);
                    if !goes_on && bunch.ops.is_empty() {
                        return;
                    }
                }
                Err(e) => {
                    tracing::error!(error = %e, "the spine cannot be read");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Stores what there is; what that was.
    async fn store_ready(&mut self, all: bool) -> Result<Bunch, RecordsError> {
        let bunch = self.calls.take(all)?;
        let mut wait = RETRY.0;
        // Nothing to tell, nothing to store: the position follows with the next record.
        while !bunch.ops.is_empty()
            && let Err(e) = self.store.apply(CONSUMER, self.epoch, &bunch.ops, bunch.upto).await
        {
            tracing::error!(error = %e, "records wait for the store");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
        self.calls.stored(bunch.upto);
        Ok(bunch)
    }
}
