//! Events as steps of records: pure, so that a replay gives the same steps.
//!
//! A call is told when it has ended, as one step with everything that became of it. Only one that
//! goes on when [`Fold::take_ops`] is asked the second time is told before, and then step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::{Envelope, Event, MediaSummary, MediaWay};
use sansio::WallTime;
use store::{CallClose, CallRecord, MediaStats, RecordOp, RecordingStep, SequencedOp};

use crate::open_calls::{CallState, OpenCall};

/// Steps of a recording that one record keeps.
const RECORDING_STEPS_MAX: usize = 64;

/// The cause of calls that a restart cut short.
pub const SERVER_RESTART: &str = "server-restart";

/// Turns events into steps, and knows the calls in progress.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    calls: BTreeMap<u64, Live>,
    /// Calls that began since the last time.
    fresh: Vec<u64>,
    /// Those that began in the time before: told next, should they go on.
    ripe: Vec<u64>,
    ops: Vec<SequencedOp>,
}

/// A call in progress: its events as they came, to be put into words when somebody asks.
#[derive(Debug, Clone)]
struct Live {
    started: Arc<Envelope>,
    ringing_at: Option<WallTime>,
    answered: Option<Arc<Envelope>>,
    recording: Vec<RecordingStep>,
    /// Whether its beginning has been told as a step.
    told: bool,
}

impl Fold {
    /// Knows no call.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event.
    pub fn handle_event(&mut self, envelope: &Arc<Envelope>) {
        let (seq, at) = (envelope.seq, envelope.at);
        match &envelope.event {
            Event::CallStarted { call, .. } => {
                self.calls.entry(*call).or_insert_with(|| {
                    self.fresh.push(*call);
                    let started = Arc::clone(envelope);
                    let recording = Vec::new();
                    Live { started, ringing_at: None, answered: None, recording, told: false }
                });
            }
            Event::CallRinging { call } => {
                let live = self.calls.get_mut(call);
                if live.is_none_or(|live| live.rings(at)) {
                    self.tell(seq, RecordOp::Ringing { call: *call, at });
                }
            }
            Event::CallAnswered { call, codecs } => {
                let live = self.calls.get_mut(call);
                if live.is_none_or(|live| live.is_answered_by(envelope)) {
                    let codecs = codecs.clone();
                    self.tell(seq, RecordOp::Answered { call: *call, at, codecs });
                }
            }
            Event::CallRecording { call, recorder, state, why } => {
                let live = self.calls.get_mut(call);
                // A phone can pause as often as it likes; the events have all of it.
                if let Some(live) = live.filter(|l| l.recording.len() < RECORDING_STEPS_MAX) {
                    let (recorder, state) = (recorder.clone(), state.clone());
                    live.recording.push(RecordingStep { at, recorder, state, why: why.clone() });
                }
            }
            Event::CallEnded { call, cause, status, q850, by, caller, callee } => {
                let live = self.calls.remove(call);
                let close = CallClose {
                    at,
                    cause: cause.clone(),
                    status: *status,
                    q850: *q850,
                    ended_by: by.as_str().to_owned(),
                    caller: media(caller),
                    callee: media(callee),
                    recording: live.as_ref().map(|l| l.recording.clone()).unwrap_or_default(),
                };
                match live.filter(|live| !live.told) {
                    Some(live) => {
                        let mut record = live.record(*call);
                        record.close(close);
                        self.tell(live.started.seq, RecordOp::Open(Box::new(record)));
                    }
                    None => {
                        self.tell(seq, RecordOp::Close { call: *call, close: Box::new(close) });
                    }
                }
            }
            _ => {}
        }
    }

    /// The steps since the last time; with `all`, also those of calls that began since. The beginning
    /// of a call stands before what became of it.
    pub fn take_ops(&mut self, all: bool) -> Vec<SequencedOp> {
        let mut due = std::mem::replace(&mut self.ripe, std::mem::take(&mut self.fresh));
        if all {
            due.append(&mut self.ripe);
        }
        for call in due {
            if let Some(live) = self.calls.get_mut(&call).filter(|live| !live.told) {
                live.told = true;
                let (seq, record) = (live.started.seq, live.record(call));
                self.tell(seq, RecordOp::Open(Box::new(record)));
            }
        }
        std::mem::take(&mut self.ops)
    }

    /// How far everything is told of the events up to `seq`: behind it stands the beginning of a call
    /// that is not. Whoever starts again from there misses nothing, and what he meets a second time
    /// changes nothing.
    pub fn told_upto(&self, seq: u64) -> u64 {
        let untold = |call: &u64| self.calls.get(call).filter(|live| !live.told);
        let calls = self.ripe.iter().chain(&self.fresh);
        calls.filter_map(untold).map(|live| live.started.seq - 1).min().unwrap_or(seq).min(seq)
    }

    /// How many steps wait to be taken, at least.
    pub fn waiting(&self) -> usize {
        self.ops.len() + self.fresh.len()
    }

    /// The calls in progress.
    pub fn open_calls(&self) -> impl Iterator<Item = OpenCall> {
        self.calls.iter().map(|(call, live)| live.shown(*call))
    }

    /// One of them.
    pub fn open_call(&self, call: u64) -> Option<OpenCall> {
        self.calls.get(&call).map(|live| live.shown(call))
    }

    /// How many there are.
    pub fn open_count(&self) -> usize {
        self.calls.len()
    }

    /// Closing for what a restart cut short.
    pub fn restart_close(wall: WallTime) -> CallClose {
        let ended_by = cluster::EndedBy::Server.as_str().to_owned();
        CallClose { at: wall, cause: SERVER_RESTART.to_owned(), ended_by, ..CallClose::default() }
    }

    fn tell(&mut self, seq: u64, op: RecordOp) {
        self.ops.push(SequencedOp { seq, op });
    }
}

impl Live {
    /// It rings. True if that is to be told as a step of its own.
    fn rings(&mut self, at: WallTime) -> bool {
        let first = self.ringing_at.is_none();
        self.ringing_at.get_or_insert(at);
        first && self.told
    }

    /// It is answered. True if that is to be told as a step of its own.
    fn is_answered_by(&mut self, envelope: &Arc<Envelope>) -> bool {
        let first = self.answered.is_none();
        self.answered.get_or_insert_with(|| Arc::clone(envelope));
        first && self.told
    }

    fn codecs(&self) -> &[String] {
        match self.answered.as_ref().map(|answered| &answered.event) {
            Some(Event::CallAnswered { codecs, .. }) => codecs,
            _ => &[],
        }
    }

    fn record(&self, call: u64) -> CallRecord {
        let mut record = CallRecord {
            call,
            started_at: self.started.at,
            ringing_at: self.ringing_at,
            answered: self.answered.is_some(),
            answered_at: self.answered.as_ref().map(|answered| answered.at),
            codecs: self.codecs().to_vec(),
            recording: self.recording.clone(),
            ..CallRecord::default()
        };
        if let Event::CallStarted {
            session_id,
            call_id,
            tenant,
            from,
            to,
            source,
            user_agent,
            ..
        } = &self.started.event
        {
            record.session_id.clone_from(session_id);
            record.call_id.clone_from(call_id);
            record.tenant.clone_from(tenant);
            record.from.clone_from(from);
            record.to.clone_from(to);
            record.source.clone_from(source);
            record.user_agent.clone_from(user_agent);
        }
        record
    }

    fn shown(&self, call: u64) -> OpenCall {
        let state = match (&self.answered, self.ringing_at) {
            (Some(_), _) => CallState::Answered,
            (None, Some(_)) => CallState::Ringing,
            (None, None) => CallState::Trying,
        };
        let r = self.record(call);
        OpenCall {
            call,
            session_id: r.session_id,
            call_id: r.call_id,
            tenant: r.tenant,
            from: r.from,
            to: r.to,
            source: r.source,
            state,
            started_at: r.started_at,
            answered_at: r.answered_at,
            codecs: r.codecs,
            recording: recording_now(&self.recording),
        }
    }
}

/// What is the last word of the recording: `recording`, `paused`, or empty where nothing records.
fn recording_now(steps: &[RecordingStep]) -> String {
    let last = |recorder: &str| steps.iter().rev().find(|step| step.recorder == recorder);
    let mut paused = false;
    for step in ["file", "siprec"].into_iter().filter_map(last) {
        match step.state.as_str() {
            "started" | "resumed" => return "recording".to_owned(),
            "paused" => paused = true,
            _ => {}
        }
    }
    if paused { "paused".to_owned() } else { String::new() }
}

fn media(summary: &MediaSummary) -> MediaStats {
    MediaStats {
        codec: summary.codec.clone(),
        packets: summary.packets,
        lost: summary.lost,
        jitter_ms: summary.jitter_ms,
        bytes: summary.bytes,
        way: summary.way.as_deref().map(way),
    }
}

fn way(way: &MediaWay) -> store::MediaWay {
    store::MediaWay {
        dscp: way.dscp,
        dscp_seen: way.dscp_seen,
        bleached_from: way.bleached_from,
        bleached_toward: way.bleached_toward,
        reports: way.reports,
        told_lost: way.told_lost,
        told_jitter_ms: way.told_jitter_ms,
        rtt_ms: way.rtt_ms,
        mos: way.mos,
        adapted: way.adapted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(fold: &mut Fold, seq: u64, event: Event) {
        fold.handle_event(&Arc::new(Envelope { seq, at: WallTime::from_secs(seq), event }));
    }

    fn started(call: u64) -> Event {
        Event::CallStarted {
            call,
            session_id: "s".into(),
            call_id: "c".into(),
            tenant: "example.com".into(),
            from: "sip:alice@example.com".into(),
            to: "sip:bob@example.com".into(),
            source: "UDP:192.0.2.1:5060".into(),
            user_agent: "Test".into(),
        }
    }

    #[test]
    fn r5_12_a_record_says_when_its_call_was_recorded() {
        let mut f = Fold::new();
        let step = |call, recorder: &str, state: &str| Event::CallRecording {
            call,
            recorder: recorder.into(),
            state: state.into(),
            why: String::new(),
        };
        let now = |f: &Fold| f.open_call(1).unwrap().recording;
        fold(&mut f, 1, started(1));
        assert_eq!(now(&f), "");
        for (seq, recorder, state, shown) in [
            (2, "file", "started", "recording"),
            (3, "siprec", "failed", "recording"),
            (4, "file", "paused", "paused"),
            (5, "siprec", "started", "recording"),
        ] {
            fold(&mut f, seq, step(1, recorder, state));
            assert_eq!(now(&f), shown, "{recorder} {state}");
        }
        for seq in 6..200 {
            fold(&mut f, seq, step(1, "file", "paused"));
        }
        fold(&mut f, 200, ended(1));
        let ops = f.take_ops(true);
        let RecordOp::Open(record) = &ops[0].op else { panic!("{ops:?}") };
        assert_eq!(record.recording.len(), RECORDING_STEPS_MAX);
        assert_eq!(record.recording[2].state, "paused");
        assert_eq!(record.recording[2].at, WallTime::from_secs(4));
        // Of a call that nobody knows: nothing is kept.
        fold(&mut f, 201, step(9, "file", "started"));
        assert!(f.take_ops(true).is_empty());
    }

    fn ended(call: u64) -> Event {
        Event::CallEnded {
            call,
            cause: "bye".into(),
            status: 200,
            q850: 38,
            by: cluster::EndedBy::Callee,
            caller: MediaSummary { packets: 9, ..MediaSummary::default() },
            callee: MediaSummary::default(),
        }
    }

    fn answered(call: u64) -> Event {
        Event::CallAnswered { call, codecs: vec!["opus".to_owned()] }
    }

    #[test]
    fn the_view_follows_a_call() {
        let mut f = Fold::new();
        let state = |f: &Fold| f.open_call(1).map(|c| c.state);
        fold(&mut f, 5, started(1));
        assert_eq!(state(&f), Some(CallState::Trying));
        fold(&mut f, 6, Event::CallRinging { call: 1 });
        assert_eq!(state(&f), Some(CallState::Ringing));
        fold(&mut f, 7, answered(1));
        fold(&mut f, 8, Event::CallRinging { call: 1 });
        let call = f.open_calls().next().unwrap();
        let at = Some(WallTime::from_secs(7));
        assert_eq!((call.state, call.answered_at), (CallState::Answered, at));
        assert_eq!(call.codecs, ["opus"]);
        fold(&mut f, 9, ended(1));
        assert_eq!(f.open_count(), 0);
    }

    #[test]
    fn a_call_that_ended_soon_is_one_step() {
        let mut f = Fold::new();
        fold(&mut f, 5, started(1));
        fold(&mut f, 6, Event::CallRinging { call: 1 });
        fold(&mut f, 7, answered(1));
        fold(&mut f, 8, Event::CallRinging { call: 1 });
        fold(&mut f, 9, started(2));
        fold(&mut f, 10, ended(1));
        fold(&mut f, 11, Event::ServerStarted { version: "1".into() });
        let ops = f.take_ops(false);
        let [SequencedOp { seq: 5, op: RecordOp::Open(one) }] = &*ops else { panic!("{ops:?}") };
        assert_eq!((one.ringing_at, one.answered), (Some(WallTime::from_secs(6)), true));
        assert_eq!((one.cause.as_str(), one.caller.packets), ("bye", 9));
        assert_eq!((one.q850, one.ended_by.as_str()), (38, "callee"));
        assert_eq!(f.told_upto(11), 8, "the second call is not told yet");
        fold(&mut f, 12, ended(2));
        assert_eq!(f.told_upto(12), 12, "its end will be");
        let ops = f.take_ops(false);
        let [SequencedOp { seq: 9, op: RecordOp::Open(two) }] = &*ops else { panic!("{ops:?}") };
        assert!(!two.is_open());
        assert_eq!((f.waiting(), f.take_ops(true).len()), (0, 0));
    }

    #[test]
    fn a_call_that_goes_on_is_told_the_second_time_or_at_the_end() {
        let mut f = Fold::new();
        fold(&mut f, 5, started(1));
        assert!(f.take_ops(false).is_empty());
        assert_eq!(f.told_upto(7), 4);
        let ops = f.take_ops(false);
        assert!(matches!(&*ops, [SequencedOp { seq: 5, op: RecordOp::Open(r) }] if r.is_open()));
        assert_eq!(f.told_upto(7), 7);
        fold(&mut f, 8, started(2));
        assert_eq!((f.take_ops(true).len(), f.told_upto(8)), (1, 8));
    }

    #[test]
    fn a_call_told_before_and_one_of_an_earlier_run_go_on_step_by_step() {
        let mut f = Fold::new();
        fold(&mut f, 5, started(1));
        f.take_ops(true);
        for call in [1, 7] {
            fold(&mut f, 10 * call, Event::CallRinging { call });
            fold(&mut f, 10 * call + 1, answered(call));
            fold(&mut f, 10 * call + 2, ended(call));
        }
        let seqs: Vec<u64> = f.take_ops(false).iter().map(|op| op.seq).collect();
        assert_eq!(seqs, [10, 11, 12, 70, 71, 72]);
    }
}
