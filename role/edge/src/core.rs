//! One shard's edge: takes messages, notes and answers; gives messages, questions and events.
//!
//! ```text
//!  handle_received ─► sanity ─► ours? other shard? ─► transaction layer ─┬─► register.rs
//!  handle_note                                                          ├─► initial.rs ─► branch.rs
//!  handle_answer ───────────────► whoever asked                         ├─► in_dialog.rs
//!  handle_timeout                                                       └─► responses ─► their request
//! ```

use crate::asks::Asks;
use crate::authenticate::Authenticator;
use crate::branch::BranchId;
use crate::call::Call;
use crate::conduct::Standings;
use crate::config::{Config, ConfigError, Place};
use crate::diagnose::{DateLine, wants_echo};
use crate::dialled::Dialled;
use crate::forward::Forward;
use crate::held_back::HeldBack;
use crate::in_dialog::Passing;
use crate::overload::Feedback;
use crate::peer::Peers;
use crate::plain::Answers;
use crate::ports::{
    Answer, AskId, Dialler, Directory, EdgeEvent, Locations, Pressed, Question, Reach, Router,
};
use crate::register::Proven;
use crate::session_timer::Sessions;
use crate::token::TokenKeys;
use crate::veil::Veils;
use crate::zones::MethodTable;
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use sansio::{Entropy, FlowId, Redacted, Transport, WallTime};
use sip::Message;
use sip::transaction::{Arrival, ClientKey, Layer, Output, ServerKey, TransactionKey};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The present, in both reckonings.
#[derive(Debug, Clone, Copy)]
pub struct Present {
    /// For timers.
    pub now: Instant,
    /// For records, nonces and leases.
    pub wall: WallTime,
}

/// A whole SIP message and where it came from.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// The flow to answer by.
    pub flow: FlowId,
    /// Its transport.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// Theirs.
    pub peer: SocketAddr,
    /// The bytes.
    pub message: Bytes,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// How.
    pub to: OutboundTo,
    /// The bytes.
    pub message: Bytes,
}

/// How a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundTo {
    /// By a flow, of this shard or another.
    Flow(FlowId),
    /// By UDP between two addresses, whether or not a flow is known.
    Udp {
        /// Our address.
        local: SocketAddr,
        /// Theirs.
        peer: SocketAddr,
    },
}

/// What other shards and the shell tell an edge.
#[derive(Debug)]
pub enum Note {
    /// A request of a dialog this shard tracks, received by another.
    HandOff(Inbound),
    /// The answer to a question.
    Answer(AskId, Answer),
    /// End this call: an administrator said so.
    HangUp(u64),
    /// This call had to be recorded and is not: end it.
    NotRecorded(u64),
    /// The relay heard nothing on this call for too long, and it is not on hold.
    MediaSilent(u64),
    /// A key was pressed on this call, and the side it goes to wants INFO.
    Digit(Pressed),
    /// Take no new calls: the server stops.
    Drain,
    /// From now on work by this configuration; it was checked.
    Configure(Arc<Config>),
}

/// Counters of one shard, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests taken up.
    pub requests: u64,
    /// Messages that could not be parsed.
    pub malformed: u64,
    /// Requests refused for want of good credentials.
    pub auth_failures: u64,
    /// Claims to be somebody else that were refused.
    pub identities_refused: u64,
    /// Route tokens that did not open.
    pub forged_tokens: u64,
    /// Calls begun.
    pub calls: u64,
    /// Messages handed to another shard.
    pub handed_off: u64,
    /// Calls refused because their account calls as programs do.
    pub calls_held: u64,
    /// Credentials not looked at, because there were too many wrong ones before.
    pub guesses_refused: u64,
}

/// The edge of one shard.
pub struct EdgeCore {
    pub(crate) place: Place,
    pub(crate) config: Arc<Config>,
    pub(crate) directory: Box<dyn Directory>,
    pub(crate) locations: Box<dyn Locations>,
    pub(crate) router: Box<dyn Router>,
    pub(crate) dialler: Box<dyn Dialler>,
    pub(crate) layer: Layer,
    pub(crate) auth: Authenticator,
    pub(crate) methods: MethodTable,
    pub(crate) peers: Peers,
    /// Peers that failed, and until when they are asked last.
    pub(crate) resting: HashMap<u16, Instant>,
    /// What peers asked us to hold back.
    pub(crate) held_back: HashMap<u16, HeldBack>,
    pub(crate) veils: Veils,
    pub(crate) tokens: TokenKeys,
    pub(crate) entropy: Box<dyn Entropy + Send>,
    pub(crate) counters: Counters,
    /// Addresses of record proved on a stream flow; a datagram proves nothing about the next.
    pub(crate) proven: HashMap<FlowId, Vec<Proven>>,
    pub(crate) forwards: HashMap<ServerKey, Box<Forward>>,
    pub(crate) branches: HashMap<ClientKey, (ServerKey, BranchId)>,
    pub(crate) passing: HashMap<ClientKey, Box<Passing>>,
    /// The other way round, for a CANCEL of a re-INVITE.
    pub(crate) passing_of: HashMap<ServerKey, ClientKey>,
    /// BYEs of our own to peers over connections, with the peer's id, until they are answered.
    pub(crate) own_byes: HashMap<ClientKey, (u64, Message)>,
    /// Requests in dialogs whose description is at the relay: whether they were cancelled.
    pub(crate) held: HashMap<ServerKey, bool>,
    pub(crate) calls: HashMap<u64, Box<Call>>,
    /// Calls whose end was not told.
    pub(crate) calls_live: usize,
    pub(crate) draining: bool,
    pub(crate) feedback: Feedback,
    pub(crate) standings: Standings,
    pub(crate) loop_salt: u64,
    /// Our address the message under way came to.
    pub(crate) arrived_at: SocketAddr,
    /// How the message under way came.
    pub(crate) arrived_by: Option<Arrival>,
    /// The message under way as it came, if it is to be played back.
    pub(crate) raw: Option<Bytes>,
    pub(crate) date: DateLine,
    /// When which response context wants its time-out.
    pub(crate) context_deadlines: BTreeSet<(Instant, ServerKey)>,
    /// When which re-INVITE has waited too long for its final.
    pub(crate) passing_deadlines: BTreeSet<(Instant, ClientKey)>,
    /// Session timers.
    pub(crate) sessions: Sessions,
    /// When which branch has waited too long for its next hop to say anything.
    pub(crate) hop_deadlines: BTreeSet<(Instant, ServerKey, BranchId)>,
    pub(crate) asks: Asks,
    /// Where responses without a transaction are written.
    pub(crate) scratch: Vec<u8>,
    /// Responses to plain requests.
    pub(crate) answers: Answers,
    dialled: Dialled,
    outbox: VecDeque<Outbound>,
    events: VecDeque<EdgeEvent>,
    notes: VecDeque<(u16, Note)>,
}

/// Why a request of ours got no final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Timer B or F: a 408.
    TimedOut,
    /// The flow broke: a 503.
    FlowFailed,
}

/// Secrets every shard of the server shares.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs nonces.
    pub nonce: Redacted<[u8; 32]>,
    /// Seals route tokens, with its id.
    pub token: (u8, Redacted<[u8; 16]>),
}

/// What an edge reads at once.
pub struct Snapshots {
    /// Accounts.
    pub directory: Box<dyn Directory>,
    /// Devices.
    pub locations: Box<dyn Locations>,
    /// Plans.
    pub router: Box<dyn Router>,
}

impl EdgeCore {
    /// An edge at `place`.
    ///
    /// # Errors
    /// The configuration's first field that makes no sense.
    pub fn new(
        place: Place,
        config: Config,
        keys: &Keys,
        snapshots: Snapshots,
        mut entropy: Box<dyn Entropy + Send>,
    ) -> Result<Self, ConfigError> {
        let auth = Authenticator::new(&config, &keys.nonce)?;
        let sessions = Sessions::new(&config)?;
        let methods = MethodTable::new(&config.methods)?;
        let peers = Peers::of(&config)?;
        let layer = crate::forward::new_layer(entropy.next_u64());
        let dialled = Dialled::new(place.node, place.shard);
        Ok(Self {
            place,
            auth,
            methods,
            peers,
            resting: HashMap::new(),
            held_back: HashMap::new(),
            veils: Veils::new(&keys.token.1),
            layer,
            config: Arc::new(config),
            directory: snapshots.directory,
            locations: snapshots.locations,
            router: snapshots.router,
            dialler: Box::new(crate::hops::NoDialler),
            tokens: TokenKeys::new(keys.token.0, &keys.token.1),
            entropy,
            counters: Counters::default(),
            proven: HashMap::new(),
            forwards: HashMap::new(),
            branches: HashMap::new(),
            passing: HashMap::new(),
            passing_of: HashMap::new(),
            own_byes: HashMap::new(),
            held: HashMap::new(),
            calls: HashMap::new(),
            calls_live: 0,
            draining: false,
            feedback: Feedback::default(),
            standings: Standings::default(),
            loop_salt: u64::from_le_bytes(nonce_head(&keys.nonce)),
            arrived_at: SocketAddr::from(([0, 0, 0, 0], 0)),
            arrived_by: None,
            raw: None,
            date: DateLine::default(),
            context_deadlines: BTreeSet::new(),
            passing_deadlines: BTreeSet::new(),
            sessions,
            hop_deadlines: BTreeSet::new(),
            asks: Asks::default(),
            scratch: Vec::with_capacity(2048),
            answers: Answers::default(),
            dialled,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            notes: VecDeque::new(),
        })
    }

    /// The edge opens flows to next hops with `dialler`; without one, only bound flows are used.
    #[must_use]
    pub fn dialling(mut self, dialler: Box<dyn Dialler>) -> Self {
        self.dialler = dialler;
        self
    }

    /// Works by another configuration from now on; calls, flows and nonces given out stay. One that
    /// makes no sense changes nothing: whoever sends it checks it first ([`Config::check`]).
    fn configure(&mut self, config: Arc<Config>) {
        let checked = config.check();
        let taken = checked.and_then(|()| self.auth.configure(&config));
        let taken = taken.and_then(|()| {
            self.methods = MethodTable::new(&config.methods)?;
            self.peers = Peers::of(&config)?;
            Ok(())
        });
        if let Err(error) = taken.and_then(|()| self.sessions.configure(&config)) {
            tracing::error!(%error, "the configuration stays as it was");
            return;
        }
        self.config = config;
    }

    /// Shares the budgets of guesses with the other cores of the server; otherwise they are its own.
    pub fn share_attempts(&mut self, attempts: crate::Attempts) {
        self.auth.attempts = attempts;
    }

    /// Accounts that call as programs do are held as these say; without them, nobody is.
    pub fn follow_standings(&mut self, standings: Standings) {
        self.standings = standings;
    }

    /// A message came.
    pub fn handle_received(&mut self, at: Present, inbound: Inbound) {
        let Some(message) = self.admit(&inbound) else { return };
        if message.is_request() && self.handle_stateless(at, &inbound, &message) {
            return;
        }
        if let Some(shard) = self.other_owner(&message) {
            self.counters.handed_off += 1;
            self.notes.push_back((shard, Note::HandOff(inbound)));
            return;
        }
        let message = self.stamped(at, &inbound, message);
        self.take(at, &inbound, message);
    }

    /// Another shard or the shell has something to say.
    pub fn handle_note(&mut self, at: Present, note: Note) {
        match note {
            Note::HandOff(inbound) => {
                if let Some(message) = self.admit(&inbound) {
                    let message = self.stamped(at, &inbound, message);
                    self.take(at, &inbound, message);
                }
            }
            Note::Answer(id, answer) => self.handle_answer(at, id, answer),
            Note::HangUp(call) => self.hang_up(at, call, crate::EndCause::HungUp),
            Note::NotRecorded(call) => self.hang_up(at, call, crate::EndCause::NotRecorded),
            // Early media may fall silent; what ends a ringing call is its caller or Timer C.
            Note::MediaSilent(call) if !self.is_answered(call) => {}
            Note::MediaSilent(call) => self.hang_up(at, call, crate::EndCause::MediaSilence),
            Note::Digit(pressed) => self.tell_digit(at, pressed),
            Note::Drain => self.draining = true,
            Note::Configure(config) => self.configure(config),
        }
        self.run_layer(at);
    }

    /// A flow closed.
    pub fn handle_flow_closed(&mut self, at: Present, flow: FlowId) {
        for Proven { aor, .. } in self.proven.remove(&flow).unwrap_or_default() {
            self.events.push_back(EdgeEvent::FlowClosed { flow, aor });
        }
        self.layer.handle_flow_failed(at.now, flow);
        self.run_layer(at);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, at: Present) {
        self.layer.handle_timeout(at.now);
        self.run_layer(at);
        self.asks_timeout(at);
        self.contexts_timeout(at);
        self.passing_timeout(at);
        self.sessions_timeout(at);
        self.hops_timeout(at);
        self.run_layer(at);
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let contexts = self.next_context_timeout();
        let asks = self.asks.next_deadline();
        let passing = self.passing_deadlines.first().map(|(at, _)| *at);
        let sessions = self.sessions.next_deadline();
        let hops = self.hop_deadlines.first().map(|(at, ..)| *at);
        let all = [self.layer.poll_timeout(), contexts, asks, passing, sessions, hops];
        all.into_iter().flatten().min()
    }

    /// A message to send.
    pub fn poll_transmit(&mut self) -> Option<Outbound> {
        self.answers.seal(&mut self.outbox);
        self.outbox.pop_front()
    }

    /// A question to have answered.
    pub fn poll_ask(&mut self) -> Option<(AskId, Question)> {
        self.asks.leaving.pop_front()
    }

    /// Something that happened.
    pub fn poll_event(&mut self) -> Option<EdgeEvent> {
        self.events.pop_front()
    }

    /// A note for another shard.
    pub fn poll_note(&mut self) -> Option<(u16, Note)> {
        self.notes.pop_front()
    }

    /// Calls in progress on this shard. Ended ones are tracked a little longer, for what is still
    /// under way in their dialogs, but count no more.
    pub fn calls_open(&self) -> usize {
        self.calls_live
    }

    /// Calls tracked, ended ones included.
    pub fn calls_tracked(&self) -> usize {
        self.calls.len()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is remembered beside calls: requests under way, open questions, deadlines. Zero when
    /// nothing goes on; otherwise something leaks.
    pub fn under_way(&self) -> usize {
        let maps = [self.forwards.len(), self.branches.len(), self.passing.len()];
        let more = [self.passing_of.len(), self.held.len(), self.context_deadlines.len()];
        let late = [self.passing_deadlines.len(), self.hop_deadlines.len(), self.sessions.len()];
        let more = more.into_iter().chain(late).chain([self.own_byes.len()]);
        maps.into_iter().chain(more).sum::<usize>() + self.asks.len() + self.layer.len()
    }

    pub(crate) fn emit(&mut self, event: EdgeEvent) {
        self.events.push_back(event);
    }

    /// The flow to a device: its live one, or a pseudo flow that stands for a pair of addresses.
    pub(crate) fn flow_of(&mut self, reach: &Reach) -> Option<FlowId> {
        if let Some(flow) = reach.flow {
            return Some(flow);
        }
        if reach.transport != Transport::Udp {
            return None;
        }
        Some(self.dialled.flow((reach.local, reach.peer)))
    }

    pub(crate) fn transmit(&mut self, flow: FlowId, message: Bytes) {
        let to = match self.dialled.pair(flow) {
            Some((local, peer)) => OutboundTo::Udp { local, peer },
            None => OutboundTo::Flow(flow),
        };
        self.outbox.push_back(Outbound { to, message });
    }

    /// A branch parameter of ours: it names node and shard, so that the response finds home.
    pub(crate) fn new_branch(&mut self) -> String {
        let mut branch = net::branch_prefix(self.place.node, self.place.shard);
        branch.push_str(&self.entropy.token(16));
        branch
    }

    /// Runs the transaction layer dry.
    pub(crate) fn run_layer(&mut self, at: Present) {
        while let Some(output) = self.layer.poll_output() {
            self.handle_output(at, output);
        }
    }

    fn take(&mut self, at: Present, inbound: &Inbound, message: Message) {
        self.counters.requests += u64::from(message.is_request());
        self.arrived_at = inbound.local;
        self.raw = wants_echo(&message).then(|| inbound.message.clone());
        let arrival = crate::forward::arrival(inbound);
        self.arrived_by = Some(arrival);
        self.layer.handle_message(at.now, arrival, message);
        self.run_layer(at);
    }

    fn handle_output(&mut self, at: Present, output: Output) {
        match output {
            Output::Transmit { flow, message, .. } => self.transmit(flow, message),
            Output::Request { key: Some(key), arrival, message } => {
                self.handle_request(at, key, &arrival, message);
            }
            Output::Request { key: None, arrival, message } => {
                self.pass_ack(at, &arrival, &message);
            }
            Output::Cancel { invite, message } => self.handle_cancel(at, invite, &message),
            Output::Response { key, message } => self.handle_response(at, &key, message),
            Output::TimedOut { key } => self.handle_failed(at, &key, Failure::TimedOut),
            Output::FlowFailed { key } => self.handle_failed(at, &key, Failure::FlowFailed),
            Output::Terminated { key: TransactionKey::Client(key), .. } => self.client_gone(key),
            Output::Terminated { key: TransactionKey::Server(key), .. } => {
                self.server_gone(at, key)
            }
            Output::StrayResponse { arrival, message } => {
                self.handle_stray(at, &arrival, &message);
            }
            Output::Ack { .. } => {}
        }
    }

    fn handle_response(&mut self, at: Present, key: &ClientKey, message: Message) {
        if let Some((server, branch)) = self.branches.get(key).copied() {
            self.branch_response(at, server, branch, message);
        } else if self.passing.contains_key(key) {
            self.pass_response(at, key, message);
        }
    }

    fn handle_failed(&mut self, at: Present, key: &ClientKey, why: Failure) {
        if let Some((server, branch)) = self.branches.get(key).copied() {
            self.branch_failed(at, server, branch, why);
        } else if self.passing.contains_key(key) {
            self.pass_failed(at, key, why);
        } else if why == Failure::FlowFailed {
            self.bye_failed(at, key);
        }
    }
}

/// The loop salt is shared by all shards, as a request may come back to another.
/// Nothing of the key can be learnt from it: it is used with a hash that hides less.
fn nonce_head(key: &Redacted<[u8; 32]>) -> [u8; 8] {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.reveal());
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_ref()[..8]);
    head
}

/// A retry hint for refusals under load.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);
