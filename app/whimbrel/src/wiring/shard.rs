//! One signalling shard: the edge's core driven by `net`, its questions answered by the roles.

use super::events;
use super::relaying::{self, MediaSides};
use crate::recordings::Recorded;
use edge::{
    Answer, AskId, ContactLine, EdgeCore, EdgeEvent, Inbound, Note, OutboundTo, Present, Question,
    Refusal, Taken,
};
use net::{CloseReason, Datagram, FlowTarget, Load, Received, ShardCore, ShardHandle, Transmit};
use registrar::{LocationShard, Origin, RegisterPlan, RegisterRequest};
use relay::Relay;
use sansio::{FlowId, Transport, WallTime};
use sip::Plain;
use sip::locate::LocateError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The roles a shard asks.
#[derive(Clone)]
pub struct Roles {
    pub relay: Relay,
    /// Where calls are recorded.
    pub recorded: Option<Arc<Recorded>>,
    pub sides: MediaSides,
    pub spine: cluster::Spine,
    pub gauges: Arc<Gauges>,
    pub locator: net::Locator,
    pub gate: net::Gate,
}

/// What a shard shows to metrics.
#[derive(Debug, Default)]
pub struct Gauges {
    pub calls: AtomicU64,
    pub auth_failures: AtomicU64,
    pub malformed: AtomicU64,
    pub requests: AtomicU64,
    pub handed_off: AtomicU64,
    pub identities_refused: AtomicU64,
    pub forged_tokens: AtomicU64,
    pub guesses_refused: AtomicU64,
    pub calls_held: AtomicU64,
}

/// The edge of one shard with everything it asks.
pub struct EdgeShard {
    core: EdgeCore,
    location: LocationShard,
    roles: Roles,
    handle: ShardHandle<Note>,
    events: events::Outgoing,
    /// The latest present seen, for calls that bring none.
    present: Present,
    counted: edge::Counters,
    calls_counted: u64,
    /// How much new work this shard turns away.
    load: Load,
    /// The Contact lines of the answer under way.
    contacts: String,
    expiry: Expiry,
    /// Questions about calls that had to be recorded and cannot be, while they are written down.
    unrecordable: Vec<u64>,
}

/// When the first binding of this shard ends, looked up again only where that may have changed: the
/// look costs one at each of the table's stripes.
#[derive(Debug, Default)]
struct Expiry {
    next: Option<WallTime>,
    /// Bindings were written or swept since.
    is_stale: bool,
}

/// Tells the tokens of held answers from those of questions.
const HELD: u64 = 1 << 63;

impl EdgeShard {
    /// A shard around a core.
    pub fn new(
        core: EdgeCore,
        location: LocationShard,
        roles: Roles,
        handle: ShardHandle<Note>,
        present: Present,
    ) -> Self {
        Self {
            core,
            location,
            events: events::Outgoing::new(roles.spine.clone()),
            roles,
            handle,
            present,
            counted: edge::Counters::default(),
            calls_counted: 0,
            load: Load::default(),
            contacts: String::new(),
            expiry: Expiry { next: None, is_stale: true },
            unrecordable: Vec::new(),
        }
    }

    /// Tells peers that listen (RFC 7339) how much this shard turns away.
    pub fn with_load(self, load: Load) -> Self {
        Self { load, ..self }
    }

    /// Answers every question and tells every event, until the core wants nothing.
    fn run(&mut self) {
        loop {
            let mut idle = true;
            while let Some((id, question)) = self.core.poll_ask() {
                idle = false;
                self.answer(id, question);
            }
            while let Some(event) = self.core.poll_event() {
                let now = self.present.now;
                match event {
                    EdgeEvent::Authenticated { peer } => self.roles.gate.prove(now, peer),
                    EdgeEvent::Suspicious { source, sign } => {
                        self.roles.gate.blame(now, source.ip(), sign);
                    }
                    EdgeEvent::CallAnswered { call, branch, .. } => {
                        let recorded = self.roles.recorded.iter();
                        recorded.for_each(|recorded| recorded.answered(call, branch));
                    }
                    EdgeEvent::CallEnded { call, .. } => {
                        self.roles.recorded.iter().for_each(|recorded| recorded.ended(call));
                    }
                    _ => {}
                }
                if let Some(event) = locator_heard(&self.roles.locator, event) {
                    let (relay, table) = (&self.roles.relay, self.location.table());
                    events::tell(&mut self.events, relay, table, self.present.wall, event);
                }
            }
            if idle {
                break;
            }
        }
    }

    fn answer(&mut self, id: AskId, question: Question) {
        match question {
            Question::Register(ask) => self.register(id, &ask),
            Question::Relay(ask) => {
                let (relay, sides) = (&self.roles.relay, &self.roles.sides);
                let written = match &self.roles.recorded {
                    Some(recorded) => relaying::answer_recorded(relay, sides, ask, recorded),
                    None => relaying::answer(relay, sides, ask),
                };
                self.core.handle_answer(self.present, id, Answer::Relayed(written));
            }
            Question::Locate(ask) => {
                let handle = self.handle.clone();
                self.roles.locator.locate(*ask, move |located| {
                    let located = located.map_err(|error| unlocated(&error));
                    notify(&handle, Note::Answer(id, Answer::Located(located)));
                });
            }
            Question::OpenCall(opening) => {
                // Told at the end of the batch, once the log has all of it.
                let at = opening.at;
                if let Some(recorded) = &self.roles.recorded {
                    recorded.note(&opening);
                    if !recorded.admits(opening.call) {
                        self.unrecordable.push(id.0);
                    }
                }
                self.events.write(at, events::call_started(opening), id.0);
            }
        }
    }

    fn register(&mut self, id: AskId, ask: &edge::RegisterAsk) {
        let origin = Origin {
            flow: ask.flow,
            transport: ask.transport,
            local: ask.local,
            source: ask.source,
        };
        let wall = self.present.wall;
        let request = match RegisterRequest::read(&ask.aor, &ask.message, origin) {
            Ok(request) => request,
            Err(error) => {
                let refused = Answer::Registered(Err(translate(&error)));
                self.core.handle_answer(self.present, id, refused);
                return;
            }
        };
        if self.location.can_stage() {
            match self.location.stage(wall, &request, id.0) {
                // Told at the end of the batch, once the journal has all of it.
                Ok(None) => {}
                done => self.registered(id, done.map(Option::unwrap_or_default)),
            }
            return;
        }
        self.expiry.is_stale = true;
        let (handle, spine) = (self.handle.clone(), self.roles.spine.clone());
        self.location.register(wall, &request, move |result| {
            let (answer, events) = told(wall, result, spine.has_subscribers());
            events.into_iter().for_each(|event| spine.emit(wall, event));
            notify(&handle, Note::Answer(id, answer));
        });
    }

    /// The short way of a plain request; false when it has to go the long one.
    fn take_plain(&mut self, datagram: &Datagram<'_>) -> bool {
        let Some(request) = Plain::read(datagram.message) else { return false };
        // Whoever listens hears more than the short way makes; a journal with a queue answers later.
        let binds = request.credentials().is_some();
        if binds && (self.events.is_heard() || !self.location.can_stage()) {
            return false;
        }
        match self.core.handle_plain(self.present, datagram, &request) {
            Taken::No => return false,
            Taken::Answered => {}
            Taken::Bind => self.bind_plain(datagram, &request),
        }
        true
    }

    fn bind_plain(&mut self, datagram: &Datagram<'_>, request: &Plain<'_>) {
        let Datagram { flow, local, peer: source, .. } = *datagram;
        let origin = Origin { flow, transport: Transport::Udp, local, source };
        let ask = RegisterRequest::of_plain(request, origin);
        let token = HELD | self.core.held_answers() as u64;
        self.contacts.clear();
        match self.location.stage_answered(self.present.wall, &ask, token, &mut self.contacts) {
            Ok(()) => self.core.hold_ok(self.present, datagram, request, &self.contacts),
            Err(error) => {
                tracing::debug!(%error, "registration refused");
                self.core.refuse_plain(datagram, request, &translate(&error));
            }
        }
    }

    /// Writes the registrations of this batch down, all by one write, and answers them.
    fn settle_registrations(&mut self) {
        let mut outcomes = Vec::new();
        let core = &mut self.core;
        self.location.flush(|token, result| match (token & HELD, result) {
            (0, result) => outcomes.push((AskId(token), result)),
            (_, Err(error)) => core.refuse_held((token & !HELD) as usize, &translate(&error)),
            // It was answered.
            (_, Ok(_)) => {}
        });
        core.release_held();
        for (id, result) in outcomes {
            self.registered(id, result);
        }
    }

    /// Writes the events of this batch down, all by one write, and lets the calls go on that waited
    /// for it.
    fn write_events(&mut self, wall: WallTime) {
        loop {
            let written = self.events.flush(wall);
            if written.is_empty() {
                break;
            }
            for (token, written) in written {
                let opened = written.map_err(|error| {
                    tracing::error!(%error, "no record, no call: repair the data folder");
                    refusal(503, "Call Records Cannot Be Written")
                });
                let opened = opened.and_then(|()| self.may_be_recorded(token));
                self.core.handle_answer(self.present, AskId(token), Answer::Opened(opened));
            }
            self.run();
        }
    }

    /// A call that must be recorded and cannot be is refused, once it stands in the records.
    fn may_be_recorded(&mut self, token: u64) -> Result<(), Refusal> {
        let at = self.unrecordable.iter().position(|refused| *refused == token);
        match at.map(|at| self.unrecordable.swap_remove(at)) {
            Some(_) => Err(refusal(503, "Calls Cannot Be Recorded")),
            None => Ok(()),
        }
    }

    fn registered(&mut self, id: AskId, result: Result<RegisterPlan, registrar::Refusal>) {
        let wall = self.present.wall;
        let (answer, events) = told(wall, result, self.events.is_heard());
        events.into_iter().for_each(|event| self.events.tell(wall, event));
        self.core.handle_answer(self.present, id, answer);
    }

    fn expire(&mut self) {
        self.expiry.is_stale = true;
        for binding in self.location.expire(self.present.wall) {
            if !self.events.is_heard() {
                continue;
            }
            let event = cluster::Event::Unregistered {
                aor: binding.aor().to_string(),
                binding: binding.key().0,
                contact: binding.contact().to_string(),
                reason: cluster::UnregisterReason::Expired,
            };
            self.events.tell(self.present.wall, event);
        }
    }

    /// Adds what this shard counted since the last time to what all shards show.
    fn count(&mut self) {
        let now = self.core.counters();
        let gauges = &self.roles.gauges;
        let add = |gauge: &AtomicU64, now: u64, before: u64| {
            if now != before {
                gauge.fetch_add(now - before, Ordering::Relaxed);
            }
        };
        add(&gauges.auth_failures, now.auth_failures, self.counted.auth_failures);
        add(&gauges.malformed, now.malformed, self.counted.malformed);
        add(&gauges.requests, now.requests, self.counted.requests);
        add(&gauges.handed_off, now.handed_off, self.counted.handed_off);
        let identities = (now.identities_refused, self.counted.identities_refused);
        add(&gauges.identities_refused, identities.0, identities.1);
        add(&gauges.forged_tokens, now.forged_tokens, self.counted.forged_tokens);
        add(&gauges.guesses_refused, now.guesses_refused, self.counted.guesses_refused);
        add(&gauges.calls_held, now.calls_held, self.counted.calls_held);
        self.counted = now;
        let calls = self.core.calls_open() as u64;
        if calls != self.calls_counted {
            gauges.calls.fetch_add(calls.wrapping_sub(self.calls_counted), Ordering::Relaxed);
            self.calls_counted = calls;
        }
    }
}

impl ShardCore for EdgeShard {
    type Note = Note;

    fn handle_received(&mut self, now: Instant, wall: WallTime, r: Received) {
        self.present = Present { now, wall };
        let Received { flow, transport, local, peer, message } = r;
        let inbound = Inbound { flow, transport, local, peer, message };
        self.core.set_load(self.load.shed_permille());
        self.core.handle_received(self.present, inbound);
        self.run();
    }

    fn handle_datagram(&mut self, now: Instant, wall: WallTime, datagram: Datagram<'_>) -> bool {
        self.present = Present { now, wall };
        let taken = self.take_plain(&datagram);
        if taken {
            self.run();
        }
        taken
    }

    fn handle_flow_closed(&mut self, now: Instant, flow: FlowId, why: CloseReason) {
        tracing::debug!(%flow, ?why, "flow closed");
        self.present.now = now;
        self.core.handle_flow_closed(self.present, flow);
        self.run();
    }

    fn handle_note(&mut self, now: Instant, wall: WallTime, note: Note) {
        self.present = Present { now, wall };
        self.core.handle_note(self.present, note);
        self.run();
    }

    fn handle_timeout(&mut self, now: Instant, wall: WallTime) {
        self.present = Present { now, wall };
        self.core.handle_timeout(self.present);
        self.expire();
        self.run();
    }

    fn handle_batch_end(&mut self, _now: Instant, wall: WallTime) {
        if self.location.has_staged() {
            self.expiry.is_stale = true;
            self.settle_registrations();
            self.run();
        }
        self.write_events(wall);
        self.count();
    }

    fn handle_drain(&mut self, now: Instant, wall: WallTime) {
        self.handle_note(now, wall, Note::Drain);
    }

    fn is_drained(&self) -> bool {
        self.core.calls_open() == 0
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let out = self.core.poll_transmit()?;
        let to = match out.to {
            OutboundTo::Flow(flow) => FlowTarget::Flow(flow),
            OutboundTo::Udp { local, peer } => FlowTarget::Udp { local, peer },
        };
        Some(Transmit { to, message: out.message })
    }

    fn poll_note(&mut self) -> Option<(u16, Note)> {
        self.core.poll_note()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let later = |at: WallTime| self.present.now + at.since(self.present.wall);
        if std::mem::take(&mut self.expiry.is_stale) {
            self.expiry.next = self.location.next_expiry();
        }
        // A second late is early enough for an expiry, and keeps the timer quiet.
        let expiry = self.expiry.next.map(|at| later(at) + Duration::from_secs(1));
        let events = self.events.due().map(later);
        [self.core.poll_timeout(), expiry, events].into_iter().flatten().min()
    }
}

fn notify(handle: &ShardHandle<Note>, note: Note) {
    if handle.notify(note).is_err() {
        tracing::error!("an answer was lost: the shard's mailbox is full");
    }
}

/// What the registrar decided: for the edge, and for those who listen.
fn told(
    wall: WallTime,
    result: Result<RegisterPlan, registrar::Refusal>,
    heard: bool,
) -> (Answer, Vec<cluster::Event>) {
    match result {
        Ok(plan) => {
            // Most of the time nobody listens, and the texts need not be made.
            let events = if heard { plan.events(wall) } else { Vec::new() };
            let lines = plan.contact_lines(wall).into_iter().map(ContactLine).collect();
            (Answer::Registered(Ok(lines)), events)
        }
        Err(error) => {
            tracing::debug!(%error, "registration refused");
            (Answer::Registered(Err(translate(&error))), Vec::new())
        }
    }
}

fn translate(error: &registrar::Refusal) -> Refusal {
    Refusal { status: error.status(), reason: error.phrase(), headers: error.headers() }
}

/// What concerns next hops goes to the locator; the rest comes back.
fn locator_heard(locator: &net::Locator, event: EdgeEvent) -> Option<EdgeEvent> {
    match event {
        EdgeEvent::HopFailed { hop, retry_after } => locator.failed(hop, retry_after),
        EdgeEvent::HopWorked { hop } => locator.worked(hop),
        other => return Some(other),
    }
    None
}

fn unlocated(error: &LocateError) -> Refusal {
    match error {
        LocateError::NoSuchName(_) => refusal(404, "No Such Domain"),
        LocateError::NoCommonTransport(_) => refusal(480, "No Common Transport"),
        LocateError::Busy => refusal(503, "Too Many Lookups"),
        // RFC 3261 §21.5.5: an external server did not answer in time.
        _ => refusal(504, "Name Servers Do Not Answer"),
    }
}

fn refusal(status: u16, reason: &str) -> Refusal {
    Refusal { status, reason: reason.into(), headers: Vec::new() }
}
