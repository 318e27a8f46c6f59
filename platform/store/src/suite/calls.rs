//! Stories of call records.

use super::at;
use crate::{
    CallClose, CallRecord, FoldPosition, MediaStats, MediaWay, RecordFilter, RecordOp,
    RecordingStep, SequencedOp, Store,
};

fn call(number: u64, started: u64) -> CallRecord {
    CallRecord {
        call: number,
        session_id: format!("{number:032x}"),
        call_id: format!("call-{number}"),
        tenant: "example.com".to_owned(),
        from: "sip:alice@example.com".to_owned(),
        to: "sip:bob@example.com".to_owned(),
        source: "udp:192.0.2.1:5060".to_owned(),
        user_agent: "Test/1".to_owned(),
        started_at: at(started),
        ..CallRecord::default()
    }
}

fn close(secs: u64, cause: &str) -> CallClose {
    let side = |packets| MediaStats {
        codec: "opus".to_owned(),
        packets,
        lost: 3,
        jitter_ms: 4.25,
        bytes: packets * 100,
        way: (packets == 500).then_some(MediaWay {
            dscp: Some(0),
            dscp_seen: Some(46),
            bleached_from: true,
            bleached_toward: false,
            reports: 12,
            told_lost: 4,
            told_jitter_ms: 1.5,
            rtt_ms: Some(31.25),
            mos: None,
            adapted: 2,
        }),
    };
    CallClose {
        at: at(secs),
        cause: cause.to_owned(),
        status: 200,
        q850: 38,
        ended_by: "callee".into(),
        caller: side(500),
        callee: side(499),
        recording: vec![RecordingStep {
            at: at(secs),
            recorder: "siprec".into(),
            state: "paused".into(),
            why: "admin:root".into(),
        }],
    }
}

fn ops(first_seq: u64, ops: Vec<RecordOp>) -> Vec<SequencedOp> {
    (first_seq..).zip(ops).map(|(seq, op)| SequencedOp { seq, op }).collect()
}

fn opened(number: u64, started: u64) -> RecordOp {
    RecordOp::Open(Box::new(call(number, started)))
}

fn closed(number: u64, secs: u64, cause: &str) -> RecordOp {
    RecordOp::Close { call: number, close: Box::new(close(secs, cause)) }
}

fn answered(number: u64, secs: u64) -> RecordOp {
    let codecs = vec!["opus".to_owned(), "PCMU".to_owned()];
    RecordOp::Answered { call: number, at: at(secs), codecs }
}

/// Every column comes back; opening and closing twice changes nothing.
pub async fn a_record_opens_and_closes_once(store: &dyn Store) {
    // Beyond 2^63, where a signed column would stumble.
    let number = u64::MAX - 7;
    assert!(store.open(call(number, 0)).await.unwrap());
    assert!(!store.open(call(number, 5)).await.unwrap());
    assert_eq!(store.open_calls().await.unwrap(), [call(number, 0)]);
    assert!(store.step(RecordOp::Ringing { call: number, at: at(1) }).await.unwrap());
    assert!(!store.step(RecordOp::Ringing { call: number, at: at(2) }).await.unwrap());
    assert!(store.step(answered(number, 3)).await.unwrap());
    assert!(!store.step(answered(number, 4)).await.unwrap());
    assert!(store.close(number, close(63, "bye")).await.unwrap());
    assert!(!store.close(number, close(99, "media-silence")).await.unwrap());
    assert!(!store.close(1234, close(99, "bye")).await.unwrap());
    assert!(store.open_calls().await.unwrap().is_empty());
    let record = store.record(number).await.unwrap().unwrap();
    let expected = CallRecord {
        ringing_at: Some(at(1)),
        answered: true,
        answered_at: Some(at(3)),
        ended_at: Some(at(63)),
        cause: "bye".to_owned(),
        status: 200,
        q850: 38,
        ended_by: "callee".into(),
        codecs: vec!["opus".to_owned(), "PCMU".to_owned()],
        caller: close(0, "").caller,
        callee: close(0, "").callee,
        recording: close(63, "").recording,
        ..call(number, 0)
    };
    assert_eq!(record, expected);
    assert_eq!(record.talked_secs(), Some(60.0));
    assert_eq!(store.record(1).await.unwrap(), None);
}

/// The position moves with the effects, so the same steps again do nothing.
pub async fn a_replayed_fold_changes_nothing(store: &dyn Store) {
    assert_eq!(store.position("records").await.unwrap(), FoldPosition::default());
    let batch = ops(10, vec![opened(1, 0), answered(1, 1), opened(2, 2), closed(1, 9, "bye")]);
    let applied = store.apply("records", 7, &batch, 13).await.unwrap();
    assert_eq!((applied.opened, applied.closed, applied.replayed), (2, 1, 0));
    assert_eq!(store.position("records").await.unwrap(), FoldPosition { epoch: 7, seq: 13 });
    let mut again = batch.clone();
    again.extend(ops(14, vec![closed(2, 20, "busy"), closed(2, 21, "bye")]));
    let applied = store.apply("records", 7, &again, 15).await.unwrap();
    assert_eq!((applied.opened, applied.closed, applied.replayed), (0, 1, 4));
    assert_eq!(store.record(2).await.unwrap().unwrap().cause, "busy");
    assert_eq!(store.position("other").await.unwrap(), FoldPosition::default());
    assert_eq!(store.apply("records", 7, &[], 15).await.unwrap().opened, 0);
    assert_eq!(store.position("records").await.unwrap().seq, 15);
}

/// Numbers of a new spine (its folder was deleted) are not taken for old ones.
pub async fn another_spine_starts_from_its_beginning(store: &dyn Store) {
    store.apply("records", 7, &ops(1000, vec![opened(1, 0)]), 1000).await.unwrap();
    let applied = store.apply("records", 8, &ops(1, vec![opened(2, 1)]), 1).await.unwrap();
    assert_eq!((applied.opened, applied.replayed), (1, 0));
    assert_eq!(store.position("records").await.unwrap(), FoldPosition { epoch: 8, seq: 1 });
}

/// After a restart, calls of earlier runs are closed, those of this run are not.
pub async fn calls_of_earlier_runs_are_closed_once(store: &dyn Store) {
    store.apply("records", 6, &ops(900, vec![opened(1, 0)]), 900).await.unwrap();
    let batch = ops(10, vec![opened(2, 1), opened(3, 2), closed(3, 3, "bye")]);
    store.apply("records", 7, &batch, 12).await.unwrap();
    store.apply("records", 7, &ops(21, vec![opened(4, 5)]), 21).await.unwrap();
    let restart = close(30, "server-restart");
    let closed = store.close_abandoned(7, 20, &restart).await.unwrap();
    let mut numbers: Vec<u64> = closed.iter().map(|r| r.call).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    assert!(closed.iter().all(|r| r.cause == "server-restart" && r.ended_at == Some(at(30))));
    assert!(store.close_abandoned(7, 20, &restart).await.unwrap().is_empty());
    let open: Vec<u64> = store.open_calls().await.unwrap().iter().map(|r| r.call).collect();
    assert_eq!(open, [4]);
    assert_eq!(store.record(3).await.unwrap().unwrap().cause, "bye");
}

/// Newest first, by page, by party, by Call-ID, by tenant.
pub async fn records_are_listed_newest_first_and_filtered(store: &dyn Store) {
    for number in 1..=5 {
        let mut record = call(number, number * 10);
        if number == 3 {
            record.tenant = "other.example".to_owned();
            record.to = "sip:carol@other.example".to_owned();
        }
        store.open(record).await.unwrap();
    }
    let numbers = |records: Vec<CallRecord>| records.iter().map(|r| r.call).collect::<Vec<_>>();
    let all = RecordFilter::default();
    assert_eq!(numbers(store.list(&all, 2, None).await.unwrap()), [5, 4]);
    assert_eq!(numbers(store.list(&all, 10, Some(at(40))).await.unwrap()), [3, 2, 1]);
    let by = |f: &dyn Fn(&mut RecordFilter)| {
        let mut filter = RecordFilter::default();
        f(&mut filter);
        filter
    };
    let carol = by(&|f| f.party = Some("sip:carol@other.example".to_owned()));
    assert_eq!(numbers(store.list(&carol, 10, None).await.unwrap()), [3]);
    let tenant = by(&|f| f.tenant = Some("example.com".to_owned()));
    assert_eq!(numbers(store.list(&tenant, 10, None).await.unwrap()), [5, 4, 2, 1]);
    let call_id = by(&|f| f.call_id = Some("call-2".to_owned()));
    assert_eq!(numbers(store.list(&call_id, 10, None).await.unwrap()), [2]);
    let since = by(&|f| f.since = Some(at(40)));
    assert_eq!(numbers(store.list(&since, 10, None).await.unwrap()), [5, 4]);
}

/// A 180 or 200 that comes after the end changes nothing.
pub async fn late_steps_leave_closed_records_alone(store: &dyn Store) {
    store.open(call(1, 0)).await.unwrap();
    store.close(1, close(5, "cancelled")).await.unwrap();
    assert!(!store.step(RecordOp::Ringing { call: 1, at: at(6) }).await.unwrap());
    assert!(!store.step(answered(1, 6)).await.unwrap());
    assert!(!store.step(answered(99, 6)).await.unwrap());
    let record = store.record(1).await.unwrap().unwrap();
    assert_eq!((record.ringing_at, record.answered), (None, false));
    assert_eq!(record.codecs, ["opus"], "what was heard, where no answer named codecs");
}

/// A call that began, rang, was answered and ended since the last time comes as one step; where the
/// store knows it by another way, only what is new to it counts.
pub async fn a_whole_call_is_one_step(store: &dyn Store) {
    let mut whole = call(1, 0);
    whole.ringing_at = Some(at(1));
    (whole.answered, whole.answered_at) = (true, Some(at(2)));
    whole.codecs = vec!["opus".to_owned()];
    assert!(whole.close(close(9, "bye")) && !whole.close(close(10, "busy")));
    let names = call(2, 0);
    let (session_id, call_id) = (names.session_id.clone(), names.call_id.clone());
    let known = CallRecord { call: 2, session_id, call_id, ..whole.clone() };
    store.open(names).await.unwrap();
    // Many: more than one statement takes.
    let many = (100..400).map(|number| RecordOp::Open(Box::new(call(number, 1))));
    let open = |r: &CallRecord| RecordOp::Open(Box::new(r.clone()));
    let list = [open(&whole), open(&known)].into_iter().chain(many).collect();
    let applied = store.apply("records", 7, &ops(1, list), 2000).await.unwrap();
    assert_eq!((applied.opened, applied.replayed), (301, 0));
    assert_eq!(store.record(1).await.unwrap(), Some(whole.clone()));
    assert_eq!(store.record(2).await.unwrap(), Some(known));
    assert_eq!(store.record(399).await.unwrap(), Some(call(399, 1)));
    assert_eq!(store.position("records").await.unwrap().seq, 2000);
    let again = store.apply("records", 7, &ops(5, vec![open(&whole)]), 2000).await.unwrap();
    assert_eq!((again.opened, again.replayed), (0, 1));
}
