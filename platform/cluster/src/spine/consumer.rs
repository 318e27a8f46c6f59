//! For those who may miss none.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use tokio::sync::watch;

use super::segments::{Piece, Segments};
use crate::error::LogError;
use crate::event::Envelope;
use crate::frame::{FRAME_OVERHEAD, Frames, MAX_PAYLOAD};
use crate::logfile::HEADER_LEN;

const CHUNK: usize = 256 << 10;

/// Reads every durable event in order. One per name at a time.
#[derive(Debug)]
pub struct Consumer {
    name: String,
    /// The last event given out.
    seq: u64,
    cursor: Option<Cursor>,
    segments: Arc<Segments>,
    reader: u64,
    last: watch::Receiver<u64>,
}

/// Waits for events without being in the way of whoever reads them.
#[derive(Debug, Clone)]
pub struct Waiter {
    last: watch::Receiver<u64>,
}

impl Waiter {
    /// Until there is an event after `seq`; false when the spine has stopped and there will be none.
    /// Safe to cancel.
    pub async fn wait_beyond(&mut self, seq: u64) -> bool {
        self.last.wait_for(|last| *last > seq).await.is_ok()
    }
}

#[derive(Debug)]
struct Cursor {
    piece: Piece,
    at: u64,
}

impl Consumer {
    pub(super) fn new(
        name: &str,
        seq: u64,
        segments: Arc<Segments>,
        last: watch::Receiver<u64>,
    ) -> Self {
        let reader = segments.join(seq);
        Self { name: name.to_owned(), seq, cursor: None, segments, reader, last }
    }

    /// Waits for at least one event and gives up to `max`; none when the spine has stopped and
    /// everything was read. Safe to cancel.
    ///
    /// # Errors
    /// Whatever the file system reports; a later call tries again.
    pub async fn next_batch(&mut self, max: usize) -> Result<Option<Vec<Arc<Envelope>>>, LogError> {
        loop {
            let batch = self.read_ready(max)?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
            let seq = self.seq;
            if self.last.wait_for(|last| *last > seq).await.is_err() {
                let rest = self.read_ready(max)?;
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }

    /// Waits on behalf of a consumer that others read as well.
    pub fn waiter(&self) -> Waiter {
        Waiter { last: self.last.clone() }
    }

    /// What is there now, up to `max` events.
    ///
    /// # Errors
    /// Whatever the file system reports; a later call tries again.
    pub fn read_ready(&mut self, max: usize) -> Result<Vec<Arc<Envelope>>, LogError> {
        let mut batch = Vec::new();
        let last = *self.last.borrow_and_update();
        self.segments.recall(self.seq + 1, max, &mut batch);
        if let Some(recalled) = batch.last() {
            // The place in the files is found anew, should it be needed again.
            (self.seq, self.cursor) = (recalled.seq, None);
            self.segments.passed(self.reader, self.seq);
            return Ok(batch);
        }
        while batch.len() < max && self.seq < last {
            let Some(mut cursor) = self.next_cursor() else { break };
            let done = self.read_piece(&mut cursor, max, &mut batch)?;
            let closed = cursor.piece.closed;
            self.cursor = Some(cursor);
            if done && !closed {
                break;
            }
            if done && !self.step_over() {
                break;
            }
        }
        if !batch.is_empty() {
            self.segments.passed(self.reader, self.seq);
        }
        Ok(batch)
    }

    /// Everything up to `seq` has been stored elsewhere: the log may forget it.
    pub fn commit(&self, seq: u64) {
        self.segments.commit(&self.name, seq);
    }

    /// The last event given out.
    pub fn position(&self) -> u64 {
        self.seq
    }

    fn next_cursor(&mut self) -> Option<Cursor> {
        let at = self.cursor.take();
        let first = at.as_ref().map_or(self.seq + 1, |c| c.piece.first_seq);
        let piece = self.segments.piece(first)?;
        let same = at.filter(|c| c.piece.first_seq == piece.first_seq);
        Some(Cursor { at: same.map_or(HEADER_LEN as u64, |c| c.at), piece })
    }

    /// To the next segment. False if there is none.
    fn step_over(&mut self) -> bool {
        let Some(cursor) = &mut self.cursor else { return false };
        let Some(next) = self.segments.piece_after(cursor.piece.first_seq) else { return false };
        if cursor.at < cursor.piece.len {
            let path = cursor.piece.path.display();
            tracing::error!(%path, at = cursor.at, "damaged segment: events behind it are skipped");
        }
        *cursor = Cursor { piece: next, at: HEADER_LEN as u64 };
        true
    }

    /// True when the piece has no further whole frame.
    fn read_piece(
        &mut self,
        cursor: &mut Cursor,
        max: usize,
        batch: &mut Vec<Arc<Envelope>>,
    ) -> Result<bool, LogError> {
        let path = &cursor.piece.path;
        let fail = |e: std::io::Error| LogError::from_io(path, &e);
        let mut file = File::open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        let mut chunk = CHUNK as u64;
        while batch.len() < max {
            let left = cursor.piece.len.saturating_sub(cursor.at);
            file.seek(SeekFrom::Start(cursor.at)).map_err(fail)?;
            bytes.clear();
            (&mut file).take(left.min(chunk)).read_to_end(&mut bytes).map_err(fail)?;
            let mut frames = Frames::new(&bytes);
            while batch.len() < max
                && let Some(entry) = frames.next()
            {
                self.take_entry(entry, batch);
            }
            cursor.at += frames.consumed() as u64;
            if frames.consumed() == 0 {
                // Either the end, damage, or one frame longer than the chunk.
                if left <= chunk || chunk > (MAX_PAYLOAD + FRAME_OVERHEAD) as u64 {
                    return Ok(true);
                }
                chunk *= 4;
            }
        }
        Ok(false)
    }

    fn take_entry(&mut self, entry: &[u8], batch: &mut Vec<Arc<Envelope>>) {
        match serde_json::from_slice::<Envelope>(entry) {
            Ok(envelope) if envelope.seq > self.seq => {
                self.seq = envelope.seq;
                batch.push(Arc::new(envelope));
            }
            Ok(_) => {}
            // Written by a newer version: not ours to understand.
            Err(e) => tracing::warn!(consumer = self.name, error = %e, "unknown event skipped"),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.segments.leave(self.reader);
    }
}
