//! What writes: on the thread of whoever emits, one write for each group it hands over.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{broadcast, watch};

use super::segments::Segments;
use super::{Emission, OnWritten, SpineConfig};
use crate::error::LogError;
use crate::event::{Envelope, json};
use crate::frame::push_frame;
use crate::logfile::LogFile;
use crate::sync::SyncClock;

/// What is kept of the buffer frames are made in.
const BUFFER_KEPT: usize = 256 << 10;

/// Who is told, and what; none for those nobody waits for.
pub(super) type Told = Vec<(Option<OnWritten>, Result<u64, LogError>)>;

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) active: LogFile,
    pub(super) next_seq: u64,
    pub(super) config: SpineConfig,
    pub(super) clock: SyncClock,
    /// Where frames are made; kept for its memory.
    pub(super) bytes: Vec<u8>,
    pub(super) segments: Arc<Segments>,
    pub(super) last: watch::Sender<u64>,
    pub(super) broadcast: broadcast::Sender<Arc<Envelope>>,
}

impl Writer {
    /// Writes a group: all of its durable events are in the log, or none. Those who wait are told
    /// by the caller, who has let go of the writer then.
    pub(super) fn write_group(&mut self, group: impl Iterator<Item = Emission>) -> Told {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut seq = self.next_seq;
        let mut entries = Vec::with_capacity(group.size_hint().0);
        for item in group {
            let durable = item.event.is_durable();
            let number = if durable { seq } else { 0 };
            let envelope = Envelope { seq: number, at: item.at, event: item.event };
            let fits = !durable || push_frame(&mut bytes, |out| json::write(out, &envelope));
            seq += u64::from(durable && fits);
            entries.push((Arc::new(envelope), item.on_written, fits));
        }
        let written = if bytes.is_empty() { Ok(()) } else { self.append(&bytes) };
        bytes.clear();
        bytes.shrink_to(BUFFER_KEPT);
        self.bytes = bytes;
        match &written {
            Ok(()) if seq > self.next_seq => {
                let kept = entries.iter().filter(|(envelope, _, fits)| envelope.seq > 0 && *fits);
                self.segments.remember(kept.map(|(envelope, _, _)| Arc::clone(envelope)));
                self.next_seq = seq;
                self.last.send_replace(seq - 1);
            }
            Ok(()) => {}
            Err(e) => tracing::error!(error = %e, "events were refused"),
        }
        let heard = self.broadcast.receiver_count() > 0;
        let tell = |(envelope, on_written, fits): (Arc<Envelope>, _, bool)| {
            let seq = envelope.seq;
            let kept = if fits { written.clone() } else { Err(LogError::TooLong) };
            let kept = if seq == 0 { Ok(()) } else { kept };
            if heard && kept.is_ok() {
                // Fails only while nobody subscribes.
                let _ = self.broadcast.send(envelope);
            }
            (on_written, kept.map(|()| seq))
        };
        entries.into_iter().map(tell).collect()
    }

    /// The active file, if it is to be forced to disk by now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Result<(PathBuf, File), LogError>> {
        let path = || self.active.path().to_owned();
        self.clock.take_due(now).then(|| Ok((path(), self.active.handle()?)))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if self.active.len() >= self.config.segment_bytes {
            self.active.sync()?;
            self.active = self.segments.roll(self.next_seq)?;
        }
        self.segments.check_backlog(self.config.log_bytes)?;
        let before = self.active.len();
        self.active.append(bytes)?;
        if self.clock.wrote(Instant::now())
            && let Err(e) = self.active.sync()
        {
            self.active.roll_back(before)?;
            return Err(e);
        }
        self.segments.grew(self.active.len());
        Ok(())
    }
}
