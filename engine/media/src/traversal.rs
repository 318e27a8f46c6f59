//! A media socket's ways to the far end: what a phone gathers before a call, and the ICE agent of
//! the call (RFC 8445, RFC 8656, R6.1).
//!
//! ```text
//!   begin ──► STUN query ─► mapped address          ┐
//!        ──► TURN over UDP ─► relayed, mapped       ├─► candidates ─► description
//!        ──► (250 ms later) TURN over TCP, TLS      ┘                     │
//!   remote description ─► agent: checks by the socket and by borrowed addresses ─► selected
//!   media ◄─► socket │ ChannelData over UDP │ ChannelData over a stream
//! ```
//!
//! The contract: sans-IO. It outlives a call: [`Traversal::recycle_or_close`] gives it back with what it
//! knows, and the next call on the network asks nothing (R6.4). After any call drain
//! [`Traversal::poll_output`], then sleep until [`Traversal::poll_timeout`]. Streams to TURN servers
//! are opened by whoever owns sockets.

mod describe;
mod gather;
mod known;
mod lent;
mod regions;
#[cfg(test)]
mod tests;
mod trickle;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ice::agent::{AgentEvent, Kind, Path, Via, priority};
use ice::turn::Login;
use ice::{Agent, TransactionIds, is_stun};
use sansio::{Entropy, Transport};

pub use describe::RemoteIce;
pub use gather::{GATHER_MAX, HEAD_START};
use gather::{Gathering, Query};
pub use known::{KNOWN_MAX, KnownPair};
use lent::Lent;
pub use regions::KnownDelay;
pub(crate) use trickle::MID;
pub use trickle::TrickleError;

/// TURN servers of one traversal.
pub const SERVERS_MAX: usize = 6;
/// A mapping nobody used for longer may be gone (RFC 4787 REQ-5 says two minutes at least).
const MAPPING_LIVES: Duration = Duration::from_secs(100);
/// What is left of an allocation that a call may begin with.
const ALLOCATION_LEFT: Duration = Duration::from_secs(90);
/// The local preference of the socket's address; borrowed ones are less by kind and place.
const LOCAL_PREFERENCE: u16 = 65_535;

/// What there is to find ways with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraversalConfig {
    /// Servers that tell what address they see, over UDP.
    pub stun: Vec<SocketAddr>,
    /// Servers that lend addresses.
    pub turn: Vec<TurnServer>,
    /// Only borrowed addresses are told and used: nobody learns where the phone is.
    pub relay_only: bool,
    /// The socket is IPv6 behind a NAT64.
    pub translated: bool,
    /// On this network datagrams came to nothing before: streams are tried at once.
    pub udp_silent: bool,
    /// Candidates may be told one after the other (RFC 8838).
    pub trickle: bool,
}

/// A TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// Where it is.
    pub addr: SocketAddr,
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// Who we are there.
    pub login: Login,
    /// By how many milliseconds it counts as farther away than it is: for one that costs more.
    pub cost_ms: u16,
}

impl TurnServer {
    fn is_stream(&self) -> bool {
        self.transport != Transport::Udp
    }
}

/// What a traversal wants from its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraversalOutput {
    /// Send from the socket.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// Connect to this one of [`TraversalConfig::turn`].
    OpenStream {
        /// Which.
        server: u8,
    },
    /// Send by that connection.
    Stream {
        /// Which.
        server: u8,
        /// What.
        bytes: Bytes,
    },
    /// Close it, once what was sent by it is out.
    CloseStream {
        /// Which.
        server: u8,
    },
    /// Something to know.
    Event(TraversalEvent),
}

/// What a traversal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraversalEvent {
    /// All candidates are there that were worth waiting for.
    Gathered,
    /// Media goes by this way.
    Selected {
        /// By an address borrowed from a TURN server.
        relayed: bool,
    },
    /// A new mapping of a translator was noticed.
    Mapped(SocketAddr),
    /// There are candidates that the far end is to be told: [`Traversal::trickle`] says them.
    Untold,
    /// The way is dead, and others are tried.
    Lost,
    /// It stays dead: an ICE restart is wanted.
    RestartWanted,
    /// The far end's consent ended: nothing is sent.
    ConsentEnded,
    /// No pair works.
    Failed,
}

/// What happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// It is connected.
    Up,
    /// Bytes came.
    Bytes(Bytes),
    /// It could not be connected, or is gone.
    Down,
}

/// A packet of the far end's, in what arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// How it came.
    pub path: Path,
    /// Where in the message it is.
    pub range: Range<usize>,
}

/// The ways of one media socket.
#[derive(Debug)]
pub struct Traversal {
    config: TraversalConfig,
    local: SocketAddr,
    now: Instant,
    ids: TransactionIds,
    agent: Agent,
    /// ICE was agreed on for the present call.
    speaks: bool,
    query: Option<Query>,
    mapped: Option<SocketAddr>,
    lent: Vec<Lent>,
    gathering: Gathering,
    udp_works: bool,
    used: Instant,
    queries: u32,
    known: known::Known,
    trickling: trickle::Trickling,
    regions: regions::Regions,
    out: VecDeque<TraversalOutput>,
}

impl Traversal {
    /// For the socket at `local`. `entropy` must be the operating system's outside tests.
    pub fn new(
        config: TraversalConfig,
        local: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let mut secret = || {
            let mut bytes = [0; 32];
            entropy.fill(&mut bytes);
            bytes
        };
        let mut ids = TransactionIds::new(&secret());
        let servers = config.turn.iter().take(SERVERS_MAX);
        let lent = servers.map(|server| Lent::new(server.clone(), &secret())).collect();
        let mut agent = Agent::new(true, describe::credentials(&mut ids), &secret());
        agent.set_translated(config.translated);
        let regions = regions::Regions::of(&config.turn);
        agent.keep_backup(regions.are_several());
        let mut this = Self {
            config,
            local,
            now,
            ids,
            agent,
            speaks: false,
            query: None,
            mapped: None,
            lent,
            gathering: Gathering::NotBegun,
            udp_works: false,
            used: now,
            queries: 0,
            known: known::Known::default(),
            trickling: trickle::Trickling::default(),
            regions,
            out: VecDeque::new(),
        };
        this.tell_agent_of_host();
        this
    }

    /// A datagram came to the socket. `None` when it was the traversal's own business.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Arrived> {
        self.now = now;
        let server = self.lent.iter().position(|l| !l.server.is_stream() && l.server.addr == from);
        let arrived = match server {
            Some(at) if ice::turn::channel_data(datagram).is_some() || is_stun(datagram) => {
                self.handle_lent(now, at, datagram)
            }
            _ => self.handle_direct(now, from, datagram),
        };
        self.work(now);
        arrived
    }

    fn handle_direct(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Arrived> {
        let path = Path { via: Via(0), remote: from };
        if !is_stun(datagram) {
            return Some(Arrived { path, range: 0..datagram.len() });
        }
        if !self.handle_answer_of_query(datagram) && !self.config.relay_only {
            self.agent.handle_stun(now, path, datagram);
        }
        None
    }

    /// A message of a TURN server's.
    fn handle_lent(&mut self, now: Instant, at: usize, message: &[u8]) -> Option<Arrived> {
        if self.is_alive_answer(now, at, message) {
            return None;
        }
        let via = Lent::via(at);
        let ice::turn::Received::Data { peer, range } =
            self.lent[at].client.handle_message(now, message)
        else {
            return None;
        };
        let path = Path { via, remote: peer };
        if is_stun(&message[range.clone()]) {
            self.agent.handle_stun(now, path, &message[range]);
            return None;
        }
        Some(Arrived { path, range })
    }

    /// Something happened to the stream to a TURN server: what the far end sent by it.
    pub fn handle_stream(
        &mut self,
        now: Instant,
        server: u8,
        event: StreamEvent,
    ) -> Vec<(Path, Vec<u8>)> {
        self.now = now;
        let at = usize::from(server);
        let mut media = Vec::new();
        if let Some(lent) = self.lent.get_mut(at) {
            for message in lent.handle_stream(now, event) {
                if let Some(Arrived { path, range }) = self.handle_lent(now, at, &message) {
                    media.push((path, message[range].to_vec()));
                }
            }
        }
        self.work(now);
        media
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.agent.handle_timeout(now);
        for lent in &mut self.lent {
            lent.client.handle_timeout(now);
        }
        self.decide(now);
        self.watch_lender(now);
        self.gather(now);
        self.notice_miss(now);
        self.work(now);
    }

    /// When [`Traversal::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let agent = self.agent.poll_timeout().filter(|_| self.speaks);
        let lent = self.lent.iter().filter_map(|l| l.client.poll_timeout());
        lent.chain(agent)
            .chain(self.gather_at())
            .chain(self.miss_at())
            .chain(self.regions_at())
            .min()
    }

    /// The next thing to do or to know.
    pub fn poll_output(&mut self) -> Option<TraversalOutput> {
        self.out.pop_front()
    }

    /// Time goes on: what media is sent from now on is of this moment.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
    }

    /// Sends a packet: by the way ICE found, or where ICE is not spoken to `to`, by a borrowed address
    /// where datagrams come to nothing. False where there is no way yet.
    pub fn send(&mut self, to: SocketAddr, packet: &[u8]) -> bool {
        let path = match self.speaks {
            true => match self.agent.send_path() {
                Some(path) => path,
                None => return false,
            },
            false => Path { via: self.default_via(), remote: to },
        };
        self.send_by(path, packet)
    }

    fn send_by(&mut self, path: Path, packet: &[u8]) -> bool {
        let now = self.now;
        if path.via == Via(0) {
            self.used = now;
            let bytes = Bytes::copy_from_slice(packet);
            self.out.push_back(TraversalOutput::Transmit { to: path.remote, bytes });
            return true;
        }
        let Some(at) = Lent::place(path.via).filter(|at| *at < self.lent.len()) else {
            return false;
        };
        let sent = self.lent[at].send(now, path.remote, packet);
        self.drain_lent(at);
        sent
    }

    /// Whether a packet that came this way is of whom we talk to.
    pub fn is_valid(&self, path: Path) -> bool {
        !self.speaks || self.agent.is_valid(path)
    }

    /// Sound came this way.
    pub fn note_media(&mut self, now: Instant, path: Path) {
        self.now = now;
        self.regions.heard(now, path);
        self.agent.note_media(now, path);
    }

    /// So many percent of the media of the last second were lost, whichever way they went: where we
    /// choose the way, another one may be better. Whether we do.
    pub fn note_loss(&mut self, now: Instant, percent: u8) -> bool {
        self.now = now;
        if self.speaks {
            self.agent.note_loss(now, percent);
            self.work(now);
        }
        self.agent.is_controlling()
    }

    /// Whether sound is expected.
    pub fn expect_media(&mut self, expects: bool) {
        self.regions.expects = expects;
        self.agent.expect_media(expects);
    }

    /// Whether ICE is spoken in the present call.
    pub fn speaks_ice(&self) -> bool {
        self.speaks
    }

    /// The pair in use.
    pub fn path(&self) -> Option<Path> {
        if self.speaks { self.agent.send_path() } else { None }
    }

    /// Messages sent to find ways: to servers, and checks.
    pub fn messages(&self) -> u32 {
        self.gathering_messages() + self.agent.sent()
    }

    /// Those of them that went to servers, but to bind channels.
    pub fn gathering_messages(&self) -> u32 {
        self.queries + self.lent.iter().map(|l| l.client.messages()).sum::<u32>()
    }

    /// The call is over: the same ways for another one, with credentials of its own, where that is
    /// `wanted` and what it knows is still true. Otherwise, in second place, with what was borrowed
    /// given back: drain its outputs.
    pub fn recycle_or_close(mut self, now: Instant, wanted: bool) -> (Option<Self>, Option<Self>) {
        if !wanted || !self.is_fresh(now) {
            self.close(now);
            return (None, Some(self));
        }
        let mut secret = [0; 32];
        for part in secret.chunks_mut(12) {
            part.copy_from_slice(&self.ids.next_id()[..part.len()]);
        }
        self.agent = Agent::new(true, describe::credentials(&mut self.ids), &secret);
        self.agent.set_translated(self.config.translated);
        self.agent.keep_backup(self.regions.are_several());
        self.speaks = false;
        self.known.end_call();
        self.trickling = trickle::Trickling::default();
        self.regions.end_call();
        self.out.retain(|o| !matches!(o, TraversalOutput::Event(_)));
        self.tell_agent_of_host();
        for at in 0..self.lent.len() {
            if let Some(relayed) = self.lent[at].client.relayed() {
                self.tell_agent_of_lent(at, relayed);
            }
        }
        (Some(self), None)
    }

    /// Whether a call may begin with what is known: gathered, the mapping alive, the allocations not
    /// about to end.
    pub fn is_fresh(&self, now: Instant) -> bool {
        let lost = self.lent.iter().any(|l| l.was_ready && l.client.is_over());
        let over = self.fresh_until().is_some_and(|until| now >= until);
        self.is_gathered() && !lost && !over
    }

    /// When what is known is too old to begin a call with; never without a translator and without
    /// anything borrowed.
    pub fn fresh_until(&self) -> Option<Instant> {
        let Gathering::Done { at, .. } = self.gathering else { return None };
        let behind_nat = self.mapped.is_some_and(|mapped| mapped != self.local);
        let mapped = behind_nat.then(|| self.used.max(at) + MAPPING_LIVES);
        let ends = self.lent.iter().filter_map(|l| l.client.ends());
        // A lifetime is ten minutes, and what was is over at once.
        let lent = ends.filter_map(|ends| ends.checked_sub(ALLOCATION_LEFT));
        lent.chain(mapped).min()
    }

    /// Gives back what was borrowed. Drain the outputs after it.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        for at in 0..self.lent.len() {
            self.lent[at].client.close(now);
            self.drain_lent(at);
            if self.lent[at].is_open() {
                self.out.push_back(TraversalOutput::CloseStream { server: at as u8 });
            }
        }
    }

    /// The socket's address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams came to nothing here while streams did not.
    pub fn udp_is_silent(&self) -> bool {
        let gathered = matches!(self.gathering, Gathering::Done { .. });
        let by_stream = self.lent.iter().any(|l| l.server.is_stream() && l.was_ready);
        gathered && !self.udp_works && by_stream
    }

    fn tell_agent_of_host(&mut self) {
        if !self.config.relay_only {
            let priority = priority(Kind::Host, LOCAL_PREFERENCE);
            self.agent.add_local(self.now, Via(0), self.local, priority);
        }
        if let Some(mapped) = self.mapped {
            self.agent.note_mapped(mapped);
        }
    }

    fn tell_agent_of_lent(&mut self, at: usize, relayed: SocketAddr) {
        let priority = self.lent[at].priority(at);
        self.agent.add_local(self.now, Lent::via(at), relayed, priority);
        self.trickling.changed = true;
    }

    /// Moves on what agent and clients want.
    fn work(&mut self, now: Instant) {
        // What one of them says may have the other speak; it ends, since each round has less to say.
        for _ in 0..8 {
            for at in 0..self.lent.len() {
                self.drain_lent(at);
            }
            self.decide(now);
            let mut idle = true;
            while let Some(transmit) = self.agent.poll_transmit() {
                idle = false;
                self.send_by(transmit.path, &transmit.bytes);
            }
            while let Some(event) = self.agent.poll_event() {
                self.agent_says(event);
            }
            if idle {
                break;
            }
        }
        self.finish_gathering(now);
        self.tell_untold();
    }

    fn agent_says(&mut self, event: AgentEvent) {
        let event = match event {
            AgentEvent::Selected(path) => TraversalEvent::Selected { relayed: path.via != Via(0) },
            AgentEvent::Mapped(mapped) => {
                self.mapped = Some(mapped);
                TraversalEvent::Mapped(mapped)
            }
            AgentEvent::Lost => TraversalEvent::Lost,
            AgentEvent::RestartWanted => TraversalEvent::RestartWanted,
            AgentEvent::ConsentEnded => TraversalEvent::ConsentEnded,
            AgentEvent::Failed => TraversalEvent::Failed,
        };
        self.out.push_back(TraversalOutput::Event(event));
    }
}
