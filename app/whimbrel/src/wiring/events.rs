//! The edge's events, told to the spine, the relay and the location table.

use cluster::{Event, MediaSummary, Spine};
use edge::{CallOpening, EdgeEvent};
use registrar::LocationTable;
use relay::{LegStats, Relay, SessionId, SessionStats};
use sansio::WallTime;

/// The spine's event for a call that begins.
pub fn call_started(opening: CallOpening) -> Event {
    // One line for each change of a call's state; who talks to whom is in its record.
    tracing::info!(call = opening.call, session_id = %opening.session_id, "call started");
    let tenant = opening.from.split_once('@').map_or("", |(_, domain)| domain).to_string();
    Event::CallStarted {
        call: opening.call,
        session_id: opening.session_id,
        call_id: opening.call_id,
        tenant,
        from: opening.from,
        to: opening.to,
        source: opening.source,
        user_agent: opening.user_agent,
    }
}

/// Does what an event of the edge asks for.
pub fn tell(spine: &Spine, relay: &Relay, table: &LocationTable, wall: WallTime, event: EdgeEvent) {
    match event {
        EdgeEvent::CallRinging { call, at } => {
            tracing::info!(call, "call rings");
            keep(spine, at, Event::CallRinging { call });
        }
        EdgeEvent::CallAnswered { call, branch, at } => {
            tracing::info!(call, branch, "call answered");
            let codecs = relay.query(SessionId(call)).map(|s| codecs(&s)).unwrap_or_default();
            keep(spine, at, Event::CallAnswered { call, codecs });
        }
        EdgeEvent::CallEnded { call, relay_session, cause, status, at } => {
            let anchored = relay_session != 0;
            let stats = anchored.then(|| relay.delete(SessionId(relay_session), None)).flatten();
            let (caller, callee) = stats.as_ref().map(sides).unwrap_or_default();
            let cause = cause_word(cause, status).to_string();
            let status = status.unwrap_or(0);
            tracing::info!(call, cause, status, "call ended");
            keep(spine, at, Event::CallEnded { call, cause, status, caller, callee });
        }
        EdgeEvent::BranchEnded { relay_session, branch } => {
            relay.delete(SessionId(relay_session), Some(branch));
        }
        // The shard itself tells its dialler.
        EdgeEvent::HopFailed { .. } | EdgeEvent::HopWorked { .. } => {}
        EdgeEvent::FlowClosed { flow, aor } => {
            table.forget_flow(&aor, flow);
        }
        EdgeEvent::AuthFailed { source, user, realm, method } => {
            let (user, source) = (user.into_revealed(), source.to_string());
            spine.emit(wall, Event::AuthFailed { realm, user, source, method });
        }
    }
}

/// An event that must reach the log; a disk that does not take it is an operator's alarm.
fn keep(spine: &Spine, at: WallTime, event: Event) {
    spine.emit_durable(at, event, |written| {
        if let Err(error) = written {
            tracing::error!(%error, "an event is lost: free space or repair the data folder");
        }
    });
}

/// The record's cause: what the edge says, told apart by status where that says more.
fn cause_word(cause: edge::EndCause, status: Option<u16>) -> &'static str {
    match (cause, status) {
        (edge::EndCause::Failed, Some(486 | 600)) => "busy",
        (edge::EndCause::Failed, Some(603)) => "declined",
        (edge::EndCause::Failed, Some(404)) => "not-found",
        (edge::EndCause::Failed, Some(488 | 415 | 606)) => "no-common-media",
        (edge::EndCause::NoAnswer, Some(480)) => "unavailable",
        (cause, _) => cause.as_str(),
    }
}

/// The caller's leg and the answered callee's.
fn sides(stats: &SessionStats) -> (MediaSummary, MediaSummary) {
    let caller = stats.legs.iter().find(|leg| leg.branch.is_none());
    let callee = stats.legs.iter().filter(|leg| leg.branch.is_some());
    let callee = callee.max_by_key(|leg| leg.packets_received);
    (caller.map(summary).unwrap_or_default(), callee.map(summary).unwrap_or_default())
}

fn summary(leg: &LegStats) -> MediaSummary {
    MediaSummary {
        codec: leg.codec.clone().unwrap_or_default(),
        packets: leg.packets_received,
        lost: u64::try_from(leg.lost).unwrap_or(0),
        jitter_ms: leg.jitter_ms,
        bytes: leg.bytes_received,
    }
}

fn codecs(stats: &SessionStats) -> Vec<String> {
    let mut all: Vec<String> = stats.legs.iter().filter_map(|leg| leg.codec.clone()).collect();
    all.dedup();
    all
}
