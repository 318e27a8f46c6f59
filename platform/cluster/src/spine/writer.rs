//! The one thread that writes: whatever queued up while it wrote becomes the next group.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};

use super::segments::Segments;
use super::{Batch, SpineConfig};
use crate::error::LogError;
use crate::event::Envelope;
use crate::frame::push_frame;
use crate::logfile::LogFile;
use crate::sync::SyncClock;

/// Events in one write, up to a batch more.
const GROUP_MAX: usize = 1024;
/// Nothing due: how long to sleep at most.
const IDLE: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) active: LogFile,
    pub(super) next_seq: u64,
    pub(super) config: SpineConfig,
    pub(super) segments: Arc<Segments>,
    pub(super) last: watch::Sender<u64>,
    pub(super) broadcast: broadcast::Sender<Arc<Envelope>>,
    /// For those who hear durable kinds alone.
    pub(super) kept: broadcast::Sender<Arc<Envelope>>,
}

impl Writer {
    /// Until every sender is gone.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) {
        let mut clock = SyncClock::new(self.config.fsync);
        let mut group = Vec::new();
        let mut bytes = Vec::new();
        loop {
            let wait = clock.wait(Instant::now()).unwrap_or(IDLE);
            match batches.recv_timeout(wait) {
                Ok(batch) => group.extend(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while group.len() < GROUP_MAX
                && let Ok(batch) = batches.try_recv()
            {
                group.extend(batch);
            }
            if !group.is_empty() {
                self.write_group(&mut group, &mut bytes, &mut clock);
            }
            if clock.take_due(Instant::now())
                && let Err(e) = self.active.sync()
            {
                tracing::error!(error = %e, "the spine could not be forced to disk");
            }
        }
        if let Err(e) = self.active.sync() {
            tracing::error!(error = %e, "the spine could not be forced to disk");
        }
    }

    fn write_group(&mut self, group: &mut Batch, bytes: &mut Vec<u8>, clock: &mut SyncClock) {
        bytes.clear();
        let mut seq = self.next_seq;
        let mut entries = Vec::with_capacity(group.len());
        for item in group.drain(..) {
            let durable = item.event.is_durable();
            let number = if durable { seq } else { 0 };
            let envelope = Envelope { seq: number, at: item.at, event: item.event };
            let fits = !durable
                || push_frame(bytes, |out| {
                    // Writing these types to memory cannot fail.
                    let _ = serde_json::to_writer(out, &envelope);
                });
            seq += u64::from(durable && fits);
            entries.push((Arc::new(envelope), item.on_written, fits));
        }
        let written = if bytes.is_empty() { Ok(()) } else { self.append(bytes, clock) };
        if let Err(e) = &written {
            tracing::error!(error = %e, "events were refused");
        }
        if written.is_ok() {
            let kept = entries.iter().filter(|(envelope, _, fits)| envelope.seq > 0 && *fits);
            self.segments.remember(kept.map(|(envelope, _, _)| Arc::clone(envelope)));
            self.next_seq = seq;
            self.last.send_replace(seq - 1);
        }
        for (envelope, on_written, fits) in entries {
            let kept = if fits { written.clone() } else { Err(LogError::TooLong) };
            let kept = if envelope.seq == 0 { Ok(()) } else { kept };
            let answer = kept.map(|()| envelope.seq);
            if answer.is_ok() && envelope.seq > 0 && self.kept.receiver_count() > 0 {
                let _ = self.kept.send(Arc::clone(&envelope));
            }
            if answer.is_ok() && self.broadcast.receiver_count() > 0 {
                // Fails only while nobody subscribes.
                let _ = self.broadcast.send(envelope);
            }
            if let Some(on_written) = on_written {
                on_written(answer);
            }
        }
    }

    fn append(&mut self, bytes: &[u8], clock: &mut SyncClock) -> Result<(), LogError> {
        if self.active.len() >= self.config.segment_bytes {
            self.active.sync()?;
            self.active = self.segments.roll(self.next_seq)?;
        }
        self.segments.check_backlog(self.config.log_bytes)?;
        let before = self.active.len();
        self.active.append(bytes)?;
        if clock.wrote(Instant::now())
            && let Err(e) = self.active.sync()
        {
            self.active.roll_back(before)?;
            return Err(e);
        }
        self.segments.grew(self.active.len());
        Ok(())
    }
}
