//! Steps of one batch put together: a call that begins, rings and ends in it is one row, not four
//! statements.

use std::collections::HashMap;

use store::{CallClose, CallRecord, FoldPosition, RecordOp, SequencedOp};

/// What a batch comes to.
#[derive(Debug, Default)]
pub(super) struct Merged<'a> {
    /// Calls that began in this batch, as they stand at its end, each with its first step's place.
    pub(super) opened: Vec<(CallRecord, FoldPosition)>,
    /// Steps of calls that began before, in order.
    pub(super) others: Vec<&'a RecordOp>,
    /// How many of `opened` are closed as well.
    pub(super) closed: u64,
}

impl<'a> Merged<'a> {
    /// Puts `ops` together.
    pub(super) fn new(epoch: u64, ops: impl Iterator<Item = &'a SequencedOp>) -> Self {
        let mut merged = Self::default();
        let mut places: HashMap<u64, usize> = HashMap::new();
        for SequencedOp { seq, op } in ops {
            match op {
                RecordOp::Open(record) => {
                    // A second opening does nothing.
                    places.entry(record.call).or_insert_with(|| {
                        let at = FoldPosition { epoch, seq: *seq };
                        merged.opened.push(((**record).clone(), at));
                        merged.opened.len() - 1
                    });
                }
                other => match call_of(other).and_then(|call| places.get(&call)) {
                    Some(place) => {
                        let closed = take(&mut merged.opened[*place].0, other);
                        merged.closed += u64::from(closed);
                    }
                    None => merged.others.push(other),
                },
            }
        }
        merged
    }
}

fn call_of(op: &RecordOp) -> Option<u64> {
    match op {
        RecordOp::Open(record) => Some(record.call),
        RecordOp::Ringing { call, .. }
        | RecordOp::Answered { call, .. }
        | RecordOp::Close { call, .. } => Some(*call),
        _ => None,
    }
}

/// Does to a record what the statements of `super` do to its row; true if it closed it.
fn take(record: &mut CallRecord, op: &RecordOp) -> bool {
    if record.ended_at.is_some() {
        return false;
    }
    match op {
        RecordOp::Ringing { at, .. } => {
            record.ringing_at.get_or_insert(*at);
        }
        RecordOp::Answered { at, codecs, .. } if record.answered_at.is_none() => {
            record.answered_at = Some(*at);
            record.codecs.clone_from(codecs);
        }
        RecordOp::Close { close, .. } => {
            shut(record, close);
            return true;
        }
        _ => {}
    }
    false
}

fn shut(record: &mut CallRecord, close: &CallClose) {
    record.ended_at = Some(close.at);
    record.cause.clone_from(&close.cause);
    record.status = close.status;
    record.q850 = close.q850;
    record.ended_by.clone_from(&close.ended_by);
    if record.codecs.is_empty() {
        record.codecs = close.codecs();
    }
    record.caller = close.caller.clone();
    record.callee = close.callee.clone();
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::WallTime;

    fn at(secs: u64) -> WallTime {
        WallTime::from_secs(secs)
    }

    fn ops(list: Vec<RecordOp>) -> Vec<SequencedOp> {
        (1..).zip(list).map(|(seq, op)| SequencedOp { seq, op }).collect()
    }

    fn open(call: u64) -> RecordOp {
        RecordOp::Open(Box::new(CallRecord { call, ..CallRecord::default() }))
    }

    #[test]
    fn a_call_of_one_batch_is_one_row_and_older_calls_keep_their_steps() {
        let close =
            CallClose { at: at(9), cause: "bye".into(), status: 200, ..CallClose::default() };
        let list = ops(vec![
            open(1),
            RecordOp::Ringing { call: 1, at: at(3) },
            RecordOp::Ringing { call: 2, at: at(4) },
            RecordOp::Answered { call: 1, at: at(5), codecs: vec!["opus".into()] },
            RecordOp::Ringing { call: 1, at: at(6) },
            RecordOp::Close { call: 1, close: Box::new(close.clone()) },
            RecordOp::Close { call: 1, close: Box::new(CallClose { at: at(11), ..close }) },
            open(3),
        ]);
        let merged = Merged::new(7, list.iter());
        let (record, place) = &merged.opened[0];
        assert_eq!((record.ringing_at, record.answered_at), (Some(at(3)), Some(at(5))));
        assert_eq!((record.ended_at, record.cause.as_str()), (Some(at(9)), "bye"));
        assert_eq!((record.codecs.as_slice(), place.seq), (["opus".to_owned()].as_slice(), 1));
        assert_eq!((merged.opened.len(), merged.closed, merged.others.len()), (2, 1, 1));
        assert_eq!(merged.opened[1].0.ended_at, None);
    }
}
