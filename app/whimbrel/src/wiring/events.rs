//! The edge's events, told to the spine, the relay and the location table.

use cluster::{Emission, Event, LogError, MediaSummary, MediaWay, Spine};
use edge::{CallOpening, EdgeEvent};
use registrar::LocationTable;
use relay::{LegStats, Relay, RelayEvent, SessionId, SessionStats};
use sansio::WallTime;
use std::sync::{Arc, Mutex, PoisonError};

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

/// How long an event nobody waits for may wait for others, in milliseconds: each time is a write to
/// a file.
const LINGER_MS: u64 = 20;

/// Token and outcome of each.
type Written = Arc<Mutex<Vec<(u64, Result<(), LogError>)>>>;

/// One shard's events on their way to the spine.
pub struct Outgoing {
    spine: Spine,
    waiting: Vec<Emission>,
    /// What became of those that something waits for, between a write and its end.
    written: Written,
    /// Something waits for one of these to be written.
    urgent: bool,
}

impl Outgoing {
    /// For one shard.
    pub fn new(spine: Spine) -> Self {
        Self { spine, waiting: Vec::new(), written: Written::default(), urgent: false }
    }

    /// Whether anybody listens to what is not kept.
    pub fn is_heard(&self) -> bool {
        self.spine.has_subscribers()
    }

    /// An event for those who listen.
    pub fn tell(&mut self, at: WallTime, event: Event) {
        if !self.is_heard() {
            return;
        }
        self.waiting.push(Emission { at, event, on_written: None });
        // A page shows it at once.
        self.urgent = true;
    }

    /// An event that must reach the log before something goes on: [`Self::flush`] says when.
    pub fn write(&mut self, at: WallTime, event: Event, token: u64) {
        let written = Arc::clone(&self.written);
        let on_written = move |result: Result<u64, LogError>| {
            // Run by `flush`, on this thread: nobody else has the lock.
            written.lock().unwrap_or_else(PoisonError::into_inner).push((token, result.map(drop)));
        };
        self.waiting.push(Emission { at, event, on_written: Some(Box::new(on_written)) });
        self.urgent = true;
    }

    /// An event that must reach the log; a disk that does not take it is an operator's alarm.
    fn keep(&mut self, at: WallTime, event: Event) {
        let alarm = |written: Result<u64, LogError>| {
            if let Err(error) = written {
                tracing::error!(%error, "an event is lost: free space or repair the data folder");
            }
        };
        self.waiting.push(Emission { at, event, on_written: Some(Box::new(alarm)) });
        self.urgent |= self.is_heard();
    }

    /// Writes what is urgent or has waited long enough. Which of those that something waits for are
    /// in the log now, and which cannot be, by their tokens.
    pub fn flush(&mut self, wall: WallTime) -> Vec<(u64, Result<(), LogError>)> {
        if self.urgent || self.due().is_some_and(|due| due <= wall) {
            self.urgent = false;
            self.spine.emit_all(self.waiting.drain(..));
            return std::mem::take(
                &mut self.written.lock().unwrap_or_else(PoisonError::into_inner),
            );
        }
        Vec::new()
    }

    /// When [`Self::flush`] has something to hand over.
    pub fn due(&self) -> Option<WallTime> {
        let first = self.waiting.first()?;
        Some(WallTime::from_millis(first.at.as_millis() + LINGER_MS))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.spine.emit_all(self.waiting.drain(..));
    }
}

/// The same in the spine's words.
fn ended_by(by: edge::EndedBy) -> cluster::EndedBy {
    match by {
        edge::EndedBy::Caller => cluster::EndedBy::Caller,
        edge::EndedBy::Callee => cluster::EndedBy::Callee,
        edge::EndedBy::Server => cluster::EndedBy::Server,
    }
}

/// Does what an event of the edge asks for.
pub fn tell(
    out: &mut Outgoing,
    relay: &Relay,
    table: &LocationTable,
    wall: WallTime,
    event: EdgeEvent,
) {
    match event {
        EdgeEvent::CallRinging { call, at } => {
            tracing::info!(call, "call rings");
            out.keep(at, Event::CallRinging { call });
        }
        EdgeEvent::CallAnswered { call, branch, at } => {
            tracing::info!(call, branch, "call answered");
            let codecs = relay.query(SessionId(call)).map(|s| codecs(&s)).unwrap_or_default();
            out.keep(at, Event::CallAnswered { call, codecs });
        }
        EdgeEvent::CallEnded { call, relay_session, cause, status, by, q850, at } => {
            let anchored = relay_session != 0;
            let stats = anchored.then(|| relay.delete(SessionId(relay_session), None)).flatten();
            let (caller, callee) = stats.as_ref().map(sides).unwrap_or_default();
            let cause = cause_word(cause, status).to_string();
            let status = status.unwrap_or(0);
            let (by, q850) = (ended_by(by), q850.unwrap_or(0));
            tracing::info!(call, cause, status, by = by.as_str(), q850, "call ended");
            out.keep(at, Event::CallEnded { call, cause, status, q850, by, caller, callee });
        }
        EdgeEvent::BranchEnded { relay_session, branch } => {
            relay.delete(SessionId(relay_session), Some(branch));
        }
        // The shard itself tells its dialler.
        EdgeEvent::HopFailed { .. } | EdgeEvent::HopWorked { .. } => {}
        EdgeEvent::FlowClosed { flow, aor } => {
            table.forget_flow(&aor, flow);
        }
        // The gate's.
        EdgeEvent::Authenticated { .. } | EdgeEvent::Suspicious { .. } => {}
        EdgeEvent::IdentityRefused { source, user, method, header, claimed } => {
            let (user, claimed) = (user.into_revealed(), claimed.into_revealed());
            let (source, header) = (source.to_string(), header.to_string());
            tracing::warn!(source, method, header, "an identity is refused");
            out.tell(wall, Event::IdentityRefused { user, source, method, header, claimed });
        }
        EdgeEvent::AuthFailed { source, user, realm, method } => {
            let (user, source) = (user.into_revealed(), source.to_string());
            out.tell(wall, Event::AuthFailed { realm, user, source, method });
        }
    }
}

/// Marks of packets that the network changes, as the spine tells it. The relay has logged it.
pub fn marks_bleached(event: &RelayEvent) -> Option<Event> {
    let RelayEvent::MarksLost { session, branch, inbound, outbound } = event else { return None };
    let side = if branch.is_none() { "caller" } else { "callee" };
    let way = match (inbound, outbound) {
        (true, true) => "both",
        (true, false) => "from",
        (false, _) => "toward",
    };
    Some(Event::MarksBleached { call: session.0, side: side.into(), way: way.into() })
}

/// The record's cause: what the edge says, told apart by status where that says more.
fn cause_word(cause: edge::EndCause, status: Option<u16>) -> &'static str {
    match (cause, status) {
        (edge::EndCause::Failed, Some(486 | 600)) => "busy",
        (edge::EndCause::Failed, Some(603 | 607)) => "declined",
        (edge::EndCause::Failed, Some(404)) => "not-found",
        (edge::EndCause::Failed, Some(488 | 415 | 606)) => "no-common-media",
        (edge::EndCause::NoAnswer, Some(480)) => "unavailable",
        (cause, _) => cause.as_str(),
    }
}

/// The caller's leg and the answered callee's.
fn sides(stats: &SessionStats) -> (MediaSummary, MediaSummary) {
    // A record tells of the sound; of what else there was where there was none.
    let is_sound = |leg: &&LegStats| leg.media == "audio";
    let any_sound = stats.legs.iter().any(|leg| is_sound(&leg));
    let told = || stats.legs.iter().filter(move |leg| is_sound(leg) || !any_sound);
    let caller = told().find(|leg| leg.branch.is_none());
    let callee = told().filter(|leg| leg.branch.is_some());
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
        way: way(leg).map(Box::new),
    }
}

/// What was heard of the way between a leg's peer and us.
fn way(leg: &LegStats) -> Option<MediaWay> {
    let told = leg.told.clone().unwrap_or_default();
    let way = MediaWay {
        dscp: leg.tos.map(|tos| tos >> 2),
        dscp_seen: told.dscp_seen,
        bleached_from: told.bleached_from,
        bleached_toward: told.bleached_toward,
        reports: told.reports,
        told_lost: u64::try_from(told.lost).unwrap_or(0),
        told_jitter_ms: told.jitter_ms,
        rtt_ms: told.rtt_ms,
        mos: told.mos,
        adapted: told.adapted,
    };
    (way != MediaWay::default()).then_some(way)
}

fn codecs(stats: &SessionStats) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for leg in &stats.legs {
        let codec = leg.codec.clone().filter(|codec| !all.contains(codec));
        all.extend(codec);
    }
    all
}
