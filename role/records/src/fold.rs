//! Events as steps of records: pure, so that a replay gives the same steps.

use cluster::{Envelope, Event, MediaSummary};
use sansio::WallTime;
use store::{CallClose, CallRecord, MediaStats, RecordOp, SequencedOp};

use crate::open_calls::OpenCalls;

/// The cause of calls that a restart cut short.
pub const SERVER_RESTART: &str = "server-restart";

/// Turns events into steps, and keeps the view of open calls.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    calls: OpenCalls,
}

impl Fold {
    /// With an empty view.
    pub fn new() -> Self {
        Self::default()
    }

    /// The view of open calls.
    pub fn open_calls(&self) -> &OpenCalls {
        &self.calls
    }

    /// Takes one event; its step, if it is about a record.
    pub fn handle_event(&mut self, envelope: &Envelope) -> Option<SequencedOp> {
        let op = op_of(envelope)?;
        self.calls.apply(&op);
        Some(SequencedOp { seq: envelope.seq, op })
    }

    /// Closing for what a restart cut short.
    pub fn restart_close(wall: WallTime) -> CallClose {
        let ended_by = cluster::EndedBy::Server.as_str().to_owned();
        CallClose { at: wall, cause: SERVER_RESTART.to_owned(), ended_by, ..CallClose::default() }
    }
}

fn op_of(envelope: &Envelope) -> Option<RecordOp> {
    let at = envelope.at;
    match &envelope.event {
        Event::CallStarted { call, session_id, call_id, tenant, from, to, source, user_agent } => {
            Some(RecordOp::Open(Box::new(CallRecord {
                call: *call,
                session_id: session_id.clone(),
                call_id: call_id.clone(),
                tenant: tenant.clone(),
                from: from.clone(),
                to: to.clone(),
                source: source.clone(),
                user_agent: user_agent.clone(),
                started_at: at,
                ..CallRecord::default()
            })))
        }
        Event::CallRinging { call } => Some(RecordOp::Ringing { call: *call, at }),
        Event::CallAnswered { call, codecs } => {
            Some(RecordOp::Answered { call: *call, at, codecs: codecs.clone() })
        }
        Event::CallEnded { call, cause, status, q850, by, caller, callee } => {
            let close = CallClose {
                at,
                cause: cause.clone(),
                status: *status,
                q850: *q850,
                ended_by: by.as_str().to_owned(),
                caller: media(caller),
                callee: media(callee),
            };
            Some(RecordOp::Close { call: *call, close: Box::new(close) })
        }
        _ => None,
    }
}

fn media(summary: &MediaSummary) -> MediaStats {
    MediaStats {
        codec: summary.codec.clone(),
        packets: summary.packets,
        lost: summary.lost,
        jitter_ms: summary.jitter_ms,
        bytes: summary.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open_calls::CallState;

    fn envelope(seq: u64, event: Event) -> Envelope {
        Envelope { seq, at: WallTime::from_secs(seq), event }
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
    fn the_view_follows_a_call() {
        let mut fold = Fold::new();
        let view = fold.open_calls().clone();
        let op = fold.handle_event(&envelope(5, started(1))).unwrap();
        assert_eq!(op.seq, 5);
        assert_eq!(view.list()[0].state, CallState::Trying);
        fold.handle_event(&envelope(6, Event::CallRinging { call: 1 }));
        assert_eq!(view.list()[0].state, CallState::Ringing);
        let codecs = vec!["opus".to_owned()];
        fold.handle_event(&envelope(7, Event::CallAnswered { call: 1, codecs }));
        fold.handle_event(&envelope(8, Event::CallRinging { call: 1 }));
        let call = view.call(1).unwrap();
        assert_eq!(
            (call.state, call.answered_at),
            (CallState::Answered, Some(WallTime::from_secs(7)))
        );
        let ended = Event::CallEnded {
            call: 1,
            cause: "bye".into(),
            status: 200,
            q850: 38,
            by: cluster::EndedBy::Callee,
            caller: MediaSummary { packets: 9, ..MediaSummary::default() },
            callee: MediaSummary::default(),
        };
        let op = fold.handle_event(&envelope(9, ended)).unwrap().op;
        assert!(matches!(op, RecordOp::Close { close, .. } if close.caller.packets == 9));
        assert!(view.is_empty());
        let other = Event::ServerStarted { version: "1".into() };
        assert_eq!(fold.handle_event(&envelope(10, other)), None);
    }
}
