//! The one thread that forces the log to disk, while others go on writing.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::lock_of;
use super::writer::Writer;
use crate::error::LogError;

/// What the thread and those who emit share.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) state: Mutex<State>,
    /// Something was written after a time in which nothing was, or the end has come.
    pub(super) woken: Condvar,
}

/// The writer while the spine runs; whether the thread sleeps until somebody writes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) writer: Option<Writer>,
    pub(super) asleep: bool,
}

/// Until the writer is gone.
pub(super) fn run(writing: &Arc<Writing>) {
    let mut state = lock_of(&writing.state);
    while let Some(writer) = &mut state.writer {
        if let Some(file) = writer.due(Instant::now()) {
            drop(state);
            let synced = file.and_then(|(path, file)| {
                file.sync_data().map_err(|e| LogError::from_io(&path, &e))
            });
            if let Err(e) = synced {
                tracing::error!(error = %e, "the spine could not be forced to disk");
            }
            state = lock_of(&writing.state);
            continue;
        }
        let wait = writer.clock.wait(Instant::now());
        state.asleep = wait.is_none();
        // A poisoned lock is as good as any: what it protects is whole after every write.
        state = match wait {
            None => writing.woken.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner),
            Some(wait) => match writing.woken.wait_timeout(state, wait) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            },
        };
    }
}
