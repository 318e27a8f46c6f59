//! Ctrl-C and SIGTERM: both ask the phone to say goodbye.

use anyhow::{Context, Result};
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from its making on, so that none is lost between two waits.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// # Errors
    /// The system refuses.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Until a signal comes, or `at`. Safe to cancel.
    pub async fn until(&mut self, at: Option<Instant>) {
        let timed = async {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timed => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
