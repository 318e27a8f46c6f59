//! [`Client`]: every recording session of the server, by one connection to the SRS.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sansio::{Entropy, FlowId, TimerQueue, Transport, WallTime};
use sip::Message;
use sip::transaction::{self, Arrival, ClientKey, Layer, TransactionKey};

use crate::config::Config;
use crate::event::{Event, Failure};
use crate::metadata::Snapshot;
use crate::session::{CallFacts, Flowing, MediaPort, Phase, Session, Streams};

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Present {
    /// For timers.
    pub now: Instant,
    /// For metadata.
    pub wall: WallTime,
}

/// The connection to the SRS.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Its transport.
    pub transport: Transport,
    /// Our address on it.
    pub local: SocketAddr,
    /// The SRS's.
    pub peer: SocketAddr,
}

/// What the client wants done or known.
#[derive(Debug)]
pub enum Output {
    /// One whole message for the connection.
    Transmit(Bytes),
    /// For whoever follows.
    Event(Event),
    /// Nothing came by the connection for as long as an answer may take: it is to be given up, for
    /// another one may reach the SRS. [`Client::handle_link_down`] is to be called.
    HangUp,
}

/// Why a request of ours was sent, and for which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Invite(u64),
    /// A re-INVITE with what has changed.
    Change(u64),
    /// An OPTIONS: are you still there?
    Check(u64),
    Bye,
}

/// The recording client. See the crate's contract.
pub struct Client {
    pub(crate) config: Config,
    pub(crate) media: Box<dyn MediaPort>,
    pub(crate) entropy: Box<dyn Entropy + Send>,
    pub(crate) layer: Layer,
    pub(crate) link: Option<Link>,
    /// Of the connection; another one has another.
    pub(crate) flow: FlowId,
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) requests: BTreeMap<ClientKey, Purpose>,
    /// INVITEs that were given up: a late 2xx is acknowledged and ended.
    pub(crate) orphans: BTreeMap<ClientKey, Message>,
    /// When each call's next step is due; which one its phase says.
    pub(crate) timers: TimerQueue<u64>,
    /// When something came last.
    heard_at: Option<Instant>,
    /// Until when the SRS is taken for failing.
    failing_until: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Client {
    /// Knows no call and has no connection.
    pub fn new(
        config: Config,
        media: Box<dyn MediaPort>,
        mut entropy: Box<dyn Entropy + Send>,
    ) -> Self {
        let layer = Layer::new(transaction::Config::default(), &mut *entropy);
        Self {
            config,
            media,
            layer,
            entropy,
            link: None,
            flow: FlowId { node: 0, shard: 0, id: 0 },
            sessions: BTreeMap::new(),
            requests: BTreeMap::new(),
            orphans: BTreeMap::new(),
            timers: TimerQueue::new(),
            heard_at: None,
            failing_until: None,
            outputs: VecDeque::new(),
        }
    }

    /// A call was answered and is to be recorded.
    pub fn start(&mut self, at: Present, facts: CallFacts) {
        let call = facts.call;
        if self.sessions.len() >= self.config.sessions_max {
            let why = Failure::TooMany;
            return self.tell(Event::Failed { call, why, again: false, is_news: true });
        }
        let participants = facts.participants.clone();
        let (id, since) = (facts.session_id.clone(), facts.answered_at);
        let snapshot = Snapshot::new(participants, &id, since, &mut *self.entropy);
        let phase = Phase::Waiting { resting: false };
        let session = Session { facts, snapshot, paused: false, is_failed: false, phase };
        self.sessions.insert(call, session);
        self.begin(at, call);
        self.run(at);
    }

    /// Who sends sound has changed: hold, resume.
    pub fn set_flowing(&mut self, at: Present, call: u64, flowing: Flowing) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let sends = [flowing.caller, flowing.callee];
        if std::mem::replace(&mut session.snapshot.sends, sends) != sends {
            self.changed(at, call);
            self.run(at);
        }
    }

    /// Leaves out what is said from now on, or records it again.
    pub fn set_paused(&mut self, at: Present, call: u64, paused: bool) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if std::mem::replace(&mut session.paused, paused) == paused {
            return;
        }
        // Not when the SRS has agreed: from now on.
        if paused {
            let streams = match &mut session.phase {
                Phase::Recorded(recorded) => Some(&mut recorded.streams),
                Phase::Calling { streams, .. } => Some(streams),
                Phase::Waiting { .. } => None,
            };
            if let Some(streams) = streams {
                streams.rests = true;
                self.media.rest(call, streams.number);
            }
        }
        self.changed(at, call);
        self.run(at);
    }

    /// The call is over.
    pub fn end(&mut self, at: Present, call: u64) {
        self.timers.clear(&call);
        match self.sessions.remove(&call).map(|session| session.phase) {
            None | Some(Phase::Waiting { .. }) => {}
            Some(Phase::Calling { key, invite, streams }) => {
                self.media.end(call, streams.number);
                self.abandon(at, key, invite);
            }
            Some(Phase::Recorded(mut recorded)) => {
                self.media.end(call, recorded.streams.number);
                self.send_bye(at, &mut recorded.dialog);
                self.tell(Event::Ended { call });
            }
        }
        self.run(at);
    }

    /// There is a connection to the SRS.
    pub fn handle_link_up(&mut self, at: Present, link: Link) {
        self.flow.id += 1;
        (self.link, self.heard_at) = (Some(link), Some(at.now));
        for call in self.calls() {
            match self.sessions.get_mut(&call).map(|session| &mut session.phase) {
                Some(Phase::Waiting { resting: false }) => self.begin(at, call),
                Some(Phase::Recorded(recorded)) if recorded.is_adrift => {
                    recorded.is_adrift = false;
                    // It learns our new Contact by it.
                    self.changed(at, call);
                }
                _ => {}
            }
        }
        self.run(at);
    }

    /// The connection is gone.
    pub fn handle_link_down(&mut self, at: Present) {
        if self.link.take().is_none() {
            return;
        }
        let flow = self.flow;
        for call in self.calls() {
            if let Some(recorded) = self.recorded(call) {
                (recorded.is_adrift, recorded.is_stale) = (true, true);
                recorded.pending = None;
                self.timers.set(call, at.now + self.config.patience());
            }
        }
        self.layer.handle_flow_failed(at.now, flow);
        self.run(at);
    }

    /// No connection can be made.
    pub fn handle_link_failed(&mut self, at: Present, why: &str) {
        for call in self.calls() {
            let phase = self.sessions.get(&call).map(|session| &session.phase);
            if let Some(Phase::Waiting { resting: false }) = phase {
                self.fail(at, call, Failure::Unreachable(why.to_owned()));
            }
        }
        self.run(at);
    }

    /// A message came from the SRS.
    pub fn handle_message(&mut self, at: Present, bytes: Bytes) {
        let Some(link) = self.link else { return };
        let arrival = Arrival { flow: self.flow, transport: link.transport, peer: link.peer };
        self.heard_at = Some(at.now);
        match Message::parse(bytes) {
            Ok(message) => self.layer.handle_message(at.now, arrival, message),
            Err(error) => tracing::debug!(%error, "siprec: a message that cannot be read"),
        }
        self.run(at);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, at: Present) {
        self.layer.handle_timeout(at.now);
        while let Some(call) = self.timers.pop_due(at.now) {
            self.call_due(at, call);
        }
        self.resend_answers(at);
        self.run(at);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let answers = self.sessions.values().filter_map(|session| match &session.phase {
            Phase::Recorded(recorded) => recorded.answer.as_ref()?.poll_timeout(),
            _ => None,
        });
        let answers = answers.min();
        [self.layer.poll_timeout(), self.timers.next_deadline(), answers]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether somebody waits for a connection.
    pub fn wants_link(&self) -> bool {
        self.link.is_none()
            && self.sessions.values().any(|session| match &session.phase {
                Phase::Waiting { resting } => !resting,
                Phase::Recorded(recorded) => recorded.is_adrift,
                Phase::Calling { .. } => true,
            })
    }

    /// Whether the SRS failed lately: where recording is required, a call had better not begin.
    pub fn is_failing(&self, now: Instant) -> bool {
        self.failing_until.is_some_and(|until| now < until)
    }

    /// Whether a request of ours waits for its final response.
    pub fn has_open_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Calls that are recorded, or shall be.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Offers the call to the SRS, where there is a connection.
    pub(crate) fn begin(&mut self, at: Present, call: u64) {
        let (Some(link), Some(session)) = (self.link, self.sessions.get_mut(&call)) else {
            return self.timers.set(call, at.now + self.config.patience());
        };
        let srtp = self.config.seals(link.transport);
        let offered = self.media.offer(&session.facts, srtp);
        let streams = offered.and_then(|offered| {
            Streams::new(&offered).inspect_err(|_| self.media.end(call, offered.number))
        });
        match streams {
            Ok(streams) => self.send_invite(at, call, streams),
            Err(_) if !self.media.is_open(call) => self.fail(at, call, Failure::NoMedia),
            Err(why) => self.fail(at, call, Failure::Media(why)),
        }
    }

    /// The SRS did not take the call, or has lost it.
    pub(crate) fn fail(&mut self, at: Present, call: u64, why: Failure) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let again = !self.config.required && !why.is_lasting();
        let before = std::mem::replace(&mut session.phase, Phase::Waiting { resting: true });
        // That one call has no media here says nothing of the SRS.
        if why != Failure::NoMedia {
            self.failing_until = Some(at.now + self.config.retry_after());
        }
        let is_deaf = |heard| at.now.saturating_duration_since(heard) >= self.config.patience();
        if why == Failure::NoAnswer && self.link.is_some() && self.heard_at.is_some_and(is_deaf) {
            self.outputs.push_back(Output::HangUp);
        }
        let was_recorded = matches!(before, Phase::Recorded(_));
        let is_news = !std::mem::replace(&mut session.is_failed, true) || !again;
        match before {
            Phase::Waiting { .. } => {}
            Phase::Calling { streams, .. } => self.media.end(call, streams.number),
            Phase::Recorded(recorded) => self.media.end(call, recorded.streams.number),
        }
        if again {
            self.timers.set(call, at.now + self.config.retry_after());
        } else {
            self.timers.clear(&call);
            self.sessions.remove(&call);
        }
        self.tell(match was_recorded {
            true => Event::Lost { call, why, again },
            false => Event::Failed { call, why, again, is_news },
        });
    }

    /// The SRS has taken a call.
    pub(crate) fn works(&mut self) {
        self.failing_until = None;
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(crate) fn transmit(&mut self, message: Bytes) {
        self.outputs.push_back(Output::Transmit(message));
    }

    /// Takes what the transaction layer has to say.
    pub(crate) fn run(&mut self, at: Present) {
        while let Some(output) = self.layer.poll_output() {
            match output {
                transaction::Output::Transmit { flow, message, .. } if flow == self.flow => {
                    self.transmit(message);
                }
                transaction::Output::Transmit { .. } => {}
                transaction::Output::Request { key, message, .. } => {
                    self.handle_request(at, key, &message);
                }
                transaction::Output::Response { key, message } => {
                    self.handle_response(at, key, &message);
                }
                transaction::Output::StrayResponse { message, .. } => self.ack_again(&message),
                transaction::Output::TimedOut { key } => {
                    self.handle_failure(at, key, Failure::NoAnswer);
                }
                transaction::Output::FlowFailed { key } => {
                    let why = Failure::Unreachable("the connection broke".to_owned());
                    self.handle_failure(at, key, why);
                }
                transaction::Output::Terminated { key: TransactionKey::Client(key), .. } => {
                    self.requests.remove(&key);
                    self.orphans.remove(&key);
                }
                transaction::Output::Terminated { .. }
                | transaction::Output::Cancel { .. }
                | transaction::Output::Ack { .. } => {}
            }
        }
    }

    pub(crate) fn calls(&self) -> Vec<u64> {
        self.sessions.keys().copied().collect()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}
