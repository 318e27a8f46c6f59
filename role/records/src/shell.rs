//! The task that folds.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Consumer, Envelope, LogError, Spine};
use sansio::WallTime;
use store::{SequencedOp, Store, StoreError};

use crate::fold::Fold;
use crate::open_calls::OpenCalls;

/// The name under which positions are kept.
pub const CONSUMER: &str = "records";

/// Most events in one transaction.
const BATCH_MAX: usize = 4096;
/// How long events are gathered before the store is written: a call that begins, rings and is
/// answered meanwhile is one row instead of three statements.
const LINGER: Duration = Duration::from_millis(30);
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
    fold: Fold,
    consumer: Consumer,
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
        let consumer = spine.consumer(CONSUMER, position)?;
        let mut keeper = Self { fold: Fold::new(), consumer, epoch, store };
        let first_seq = spine.first_seq();
        let mut of_this_run = Vec::new();
        while keeper.consumer.position() < first_seq {
            let batch = keeper.consumer.read_ready(BATCH_MAX)?;
            let Some(last) = batch.last().map(|e| e.seq) else { break };
            let (earlier, later) = batch.into_iter().partition(|e| e.seq < first_seq);
            of_this_run = later;
            let ops = keeper.ops_of(earlier);
            keeper.store_ops(&ops, last.min(first_seq)).await?;
        }
        let close = Fold::restart_close(wall);
        let cut = keeper.store.close_abandoned(epoch, first_seq, &close).await?;
        if !cut.is_empty() {
            tracing::warn!(calls = cut.len(), "calls were cut short by the restart");
        }
        keeper.fold.open_calls().clear();
        let ops = keeper.ops_of(of_this_run);
        keeper.store_ops(&ops, keeper.consumer.position()).await?;
        Ok(keeper)
    }

    /// The view of open calls.
    pub fn open_calls(&self) -> OpenCalls {
        self.fold.open_calls().clone()
    }

    /// Folds until the spine stops. Failures are logged and tried again: the spine keeps the events.
    pub async fn run(mut self) {
        let mut wait = RETRY.0;
        loop {
            let batch = match self.consumer.next_batch(BATCH_MAX).await {
                Ok(Some(batch)) => batch,
                Ok(None) => return,
                Err(e) => {
                    tracing::error!(error = %e, "the spine cannot be read");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                    continue;
                }
            };
            let mut ops = self.ops_of(batch);
            if ops.len() < BATCH_MAX {
                tokio::time::sleep(LINGER).await;
                // What cannot be read now is read, or complained of, in the next turn.
                let more = self.consumer.read_ready(BATCH_MAX - ops.len()).unwrap_or_default();
                ops.extend(self.ops_of(more));
            }
            while let Err(e) = self.store_ops(&ops, self.consumer.position()).await {
                tracing::error!(error = %e, "records wait for the store");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            wait = RETRY.0;
        }
    }

    /// The view changes at once, whatever becomes of the store.
    fn ops_of(&mut self, batch: Vec<Arc<Envelope>>) -> Vec<SequencedOp> {
        batch.iter().filter_map(|envelope| self.fold.handle_event(envelope)).collect()
    }

    async fn store_ops(&self, ops: &[SequencedOp], upto: u64) -> Result<(), RecordsError> {
        if !ops.is_empty() {
            self.store.apply(CONSUMER, self.epoch, ops).await?;
        }
        self.consumer.commit(upto);
        Ok(())
    }
}
