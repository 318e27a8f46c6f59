//! One shard's edge, its questions answered at once by the cores beside it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge::{
    Answer, AskId, ContactLine, EdgeCore, EdgeEvent, Inbound, Note, OutboundTo, Present, Question,
    Refusal, RegisterAsk,
};
use net::{CloseReason, FlowTarget, Received, ShardCore, Transmit};
use registrar::{Origin, RegisterRequest, Registrar};
use sansio::{FlowId, ShardId, WallTime};

use super::RelayPlane;

/// The edge of one shard.
pub struct EdgeShard {
    /// The core.
    pub core: EdgeCore,
    registrar: Registrar,
    relay: RelayPlane,
    events: Arc<Mutex<Vec<EdgeEvent>>>,
    present: Option<Present>,
}

impl EdgeShard {
    pub(super) fn new(
        core: EdgeCore,
        registrar: Registrar,
        relay: RelayPlane,
        events: Arc<Mutex<Vec<EdgeEvent>>>,
    ) -> Self {
        Self { core, registrar, relay, events, present: None }
    }

    /// What the edges of all shards told, in order.
    pub fn events(&self) -> Vec<EdgeEvent> {
        self.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// Calls the core, then answers everything it asks.
    fn run(&mut self, at: Present, f: impl FnOnce(&mut EdgeCore, Present)) {
        self.present = Some(at);
        f(&mut self.core, at);
        loop {
            while let Some(event) = self.core.poll_event() {
                self.tell(at, event);
            }
            let Some((id, question)) = self.core.poll_ask() else { return };
            self.answer(at, id, question);
        }
    }

    fn answer(&mut self, at: Present, id: AskId, question: Question) {
        let answer = match question {
            Question::Register(ask) => Answer::Registered(self.register(at.wall, &ask)),
            Question::Relay(ask) => Answer::Relayed(self.relay.write(at.now, ask)),
            Question::OpenCall(_) => Answer::Opened(Ok(())),
            Question::Locate(_) => Answer::Located(Err(Refusal::new(503, "No Name Servers Here"))),
        };
        self.core.handle_answer(at, id, answer);
    }

    fn register(&self, wall: WallTime, ask: &RegisterAsk) -> Result<Vec<ContactLine>, Refusal> {
        let RegisterAsk { flow, transport, local, source, .. } = *ask;
        let origin = Origin { flow, transport, local, source };
        let plan = RegisterRequest::read(&ask.aor, &ask.message, origin)
            .and_then(|request| self.registrar.handle_register(wall, &request));
        match plan {
            Ok(plan) => Ok(plan.contact_lines(wall).into_iter().map(ContactLine).collect()),
            Err(e) => Err(Refusal { status: e.status(), reason: e.phrase(), headers: e.headers() }),
        }
    }

    fn tell(&mut self, at: Present, event: EdgeEvent) {
        match &event {
            EdgeEvent::CallEnded { relay_session, .. } => {
                self.relay.end(at.now, *relay_session, None);
            }
            EdgeEvent::BranchEnded { relay_session, branch } => {
                self.relay.end(at.now, *relay_session, Some(*branch));
            }
            EdgeEvent::FlowClosed { flow, aor } => {
                self.registrar.table().forget_flow(aor, *flow);
            }
            _ => {}
        }
        if let Ok(mut events) = self.events.lock() {
            events.push(event);
        }
    }
}

impl ShardCore for EdgeShard {
    type Note = Note;

    fn handle_received(&mut self, now: Instant, wall: WallTime, r: Received) {
        let Received { flow, transport, local, peer, message } = r;
        let inbound = Inbound { flow, transport, local, peer, message };
        self.run(Present { now, wall }, |core, at| core.handle_received(at, inbound));
    }

    fn handle_flow_closed(&mut self, now: Instant, flow: FlowId, _why: CloseReason) {
        let wall = self.present.map_or_else(WallTime::default, |p| p.wall);
        self.run(Present { now, wall }, |core, at| core.handle_flow_closed(at, flow));
    }

    fn handle_note(&mut self, now: Instant, wall: WallTime, note: Note) {
        self.run(Present { now, wall }, |core, at| core.handle_note(at, note));
    }

    fn handle_timeout(&mut self, now: Instant, wall: WallTime) {
        self.run(Present { now, wall }, EdgeCore::handle_timeout);
        self.registrar.handle_timeout(wall);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let out = self.core.poll_transmit()?;
        let to = match out.to {
            OutboundTo::Flow(flow) => FlowTarget::Flow(flow),
            OutboundTo::Udp { local, peer } => FlowTarget::Udp { local, peer },
        };
        Some(Transmit { to, message: out.message })
    }

    fn poll_note(&mut self) -> Option<(ShardId, Note)> {
        self.core.poll_note()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        // A second late is early enough for an expiry.
        let expiry = self
            .registrar
            .next_expiry()
            .zip(self.present)
            .map(|(at, present)| present.now + at.since(present.wall) + Duration::from_secs(1));
        [self.core.poll_timeout(), expiry].into_iter().flatten().min()
    }
}
