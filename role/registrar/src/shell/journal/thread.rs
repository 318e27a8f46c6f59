//! A journal whose writer waits for the disk: what queued up while one group was written becomes
//! the next group.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use cluster::LogError;

use super::writer::Writer;
use super::{OnWritten, push_entries};
use crate::codec::Entry;

/// Most requests in one write.
const GROUP_MAX: usize = 4096;
/// Nothing due: how long to sleep at most.
const IDLE: Duration = Duration::from_secs(3600);

/// What a writer is asked.
pub(super) enum Item {
    Write { entries: Vec<Entry>, done: OnWritten },
    Rotate { aside: PathBuf, done: SyncSender<Result<(), LogError>> },
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { entries, .. } => write!(f, "Write({})", entries.len()),
            Self::Rotate { .. } => f.write_str("Rotate"),
        }
    }
}

/// Writes until every sender is gone.
pub(super) fn run(mut writer: Writer, items: &Receiver<Item>) {
    let mut bytes = Vec::new();
    let mut waiting = Vec::new();
    loop {
        let first = match items.recv_timeout(writer.clock.wait(Instant::now()).unwrap_or(IDLE)) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        for item in first.into_iter().chain(items.try_iter().take(GROUP_MAX)) {
            match item {
                Item::Write { entries, done } => {
                    let fits = push_entries(&entries, &mut bytes);
                    waiting.push((done, fits));
                }
                Item::Rotate { aside, done } => {
                    // What came before belongs into the old file.
                    write(&mut writer, &mut bytes, &mut waiting);
                    let rotated = writer
                        .rotate(&aside)
                        .and_then(|old| old.sync_data().map_err(|e| LogError::from_io(&aside, &e)));
                    // Nobody listening means nobody compacts: no harm.
                    let _ = done.send(rotated);
                }
            }
        }
        write(&mut writer, &mut bytes, &mut waiting);
        if writer.clock.take_due(Instant::now()) {
            writer.sync();
        }
    }
    writer.sync();
}

fn write(writer: &mut Writer, bytes: &mut Vec<u8>, waiting: &mut Vec<(OnWritten, bool)>) {
    let written = if bytes.is_empty() { Ok(()) } else { writer.append(bytes) };
    if let Err(e) = &written {
        tracing::error!(error = %e, refused = waiting.len(), "registrations were refused");
    }
    bytes.clear();
    for (done, fits) in waiting.drain(..) {
        done(if fits { written.clone() } else { Err(LogError::TooLong) });
    }
}
