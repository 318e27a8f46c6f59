//! Call records in memory.

use sansio::WallTime;

use super::{MemoryStore, State, StoredRecord, ready};
use crate::record::{
    Applied, CallClose, CallRecord, FoldPosition, RecordFilter, RecordOp, SequencedOp,
};
use crate::repository::{MAX_PAGE, Records, Reply};

impl Records for MemoryStore {
    fn apply<'a>(
        &'a self,
        consumer: &'a str,
        epoch: u64,
        ops: &'a [SequencedOp],
        upto: u64,
    ) -> Reply<'a, Applied> {
        let mut state = self.lock();
        let mut position = state.positions.get(consumer).copied().unwrap_or_default();
        if position.epoch != epoch {
            position = FoldPosition { epoch, seq: 0 };
        }
        let mut applied = Applied::default();
        for SequencedOp { seq, op } in ops {
            if *seq <= position.seq {
                applied.replayed += 1;
                continue;
            }
            let changed = state.step(op.clone(), FoldPosition { epoch, seq: *seq });
            match op {
                RecordOp::Open(record) if changed => {
                    applied.opened += 1;
                    applied.closed += u64::from(!record.is_open());
                }
                RecordOp::Open(record) => {
                    for later in record.later_steps() {
                        let closes = matches!(later, RecordOp::Close { .. });
                        applied.closed += u64::from(state.step(later, position) && closes);
                    }
                }
                RecordOp::Close { .. } => applied.closed += u64::from(changed),
                RecordOp::Ringing { .. } | RecordOp::Answered { .. } => {}
            }
        }
        position.seq = position.seq.max(upto);
        state.positions.insert(consumer.to_owned(), position);
        ready(Ok(applied))
    }

    fn position<'a>(&'a self, consumer: &'a str) -> Reply<'a, FoldPosition> {
        ready(Ok(self.lock().positions.get(consumer).copied().unwrap_or_default()))
    }

    fn close_abandoned<'a>(
        &'a self,
        epoch: u64,
        first_seq: u64,
        close: &'a CallClose,
    ) -> Reply<'a, Vec<CallRecord>> {
        let mut state = self.lock();
        let abandoned = |s: &&mut StoredRecord| {
            s.record.is_open() && (s.opened_at.epoch != epoch || s.opened_at.seq < first_seq)
        };
        let closed = state.records.values_mut().filter(abandoned).map(|stored| {
            stored.record.close(close.clone());
            stored.record.clone()
        });
        ready(Ok(closed.collect()))
    }

    fn list<'a>(
        &'a self,
        filter: &'a RecordFilter,
        limit: u32,
        before: Option<WallTime>,
    ) -> Reply<'a, Vec<CallRecord>> {
        let wanted =
            |r: &CallRecord| before.is_none_or(|before| r.started_at < before) && filter.matches(r);
        ready(Ok(self.lock().newest_first(wanted, limit)))
    }

    fn record(&self, call: u64) -> Reply<'_, Option<CallRecord>> {
        ready(Ok(self.lock().records.get(&call).map(|s| s.record.clone())))
    }

    fn open_calls(&self) -> Reply<'_, Vec<CallRecord>> {
        ready(Ok(self.lock().newest_first(CallRecord::is_open, MAX_PAGE)))
    }

    fn open(&self, record: CallRecord) -> Reply<'_, bool> {
        self.step(RecordOp::Open(Box::new(record)))
    }

    fn close(&self, call: u64, close: CallClose) -> Reply<'_, bool> {
        self.step(RecordOp::Close { call, close: Box::new(close) })
    }

    fn step(&self, op: RecordOp) -> Reply<'_, bool> {
        ready(Ok(self.lock().step(op, FoldPosition::default())))
    }
}

impl State {
    /// True if the step changed something.
    fn step(&mut self, op: RecordOp, at: FoldPosition) -> bool {
        match op {
            RecordOp::Open(record) => {
                if self.records.contains_key(&record.call) {
                    return false;
                }
                let stored = StoredRecord { record: *record, opened_at: at };
                self.records.insert(stored.record.call, stored);
                true
            }
            RecordOp::Ringing { call, at } => self.change(call, |r| {
                let first = r.ringing_at.is_none();
                r.ringing_at = r.ringing_at.or(Some(at));
                first
            }),
            RecordOp::Answered { call, at, codecs } => self.change(call, |r| {
                let first = !r.answered;
                if first {
                    (r.answered, r.answered_at, r.codecs) = (true, Some(at), codecs);
                }
                first
            }),
            RecordOp::Close { call, close } => self.change(call, |r| r.close(*close)),
        }
    }

    fn change(&mut self, call: u64, f: impl FnOnce(&mut CallRecord) -> bool) -> bool {
        match self.records.get_mut(&call) {
            Some(stored) if stored.record.is_open() => f(&mut stored.record),
            _ => false,
        }
    }

    fn newest_first(&self, wanted: impl Fn(&CallRecord) -> bool, limit: u32) -> Vec<CallRecord> {
        let mut found: Vec<CallRecord> =
            self.records.values().map(|s| &s.record).filter(|r| wanted(r)).cloned().collect();
        found.sort_by_key(|r| (std::cmp::Reverse(r.started_at), r.call));
        found.truncate(limit.min(MAX_PAGE) as usize);
        found
    }
}
