//! One thread's clients: the tables that packets are looked up in, and the clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_lc_rs::hmac;
use foldhash::quality::FixedState;
use ice::stun::{Class, Message};
use ice::turn::{self, CHANNEL_HEADER_LEN, attribute as attr, method};
use sansio::{Entropy, WallTime};

use super::accounts::{Account, Accounts, SharedSecret, candidates};
use super::allocation::{Allocation, Flow, Via};
use super::book::Book;
use super::config::TurnConfig;
use super::counters::{Counters, Refused, TurnStats};
use super::limiter::Limiter;

/// Room in front of a peer's datagram for what a client is to find there: at most the header of a
/// Data indication from an IPv6 peer, 48 bytes.
pub const HEADROOM: usize = 64;
/// Room behind it for padding.
const TAILROOM: usize = 3;

/// The time for machines and the time of day.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// For lifetimes.
    pub now: Instant,
    /// For credentials and nonces.
    pub wall: WallTime,
}

/// The ports that a thread can lend: sockets, or one socket that many ports lead to.
pub trait RelayPorts {
    /// Takes a port of the relay address with this number; false if it is not free.
    fn open(&mut self, relay: u8, port: u16) -> bool;
    /// Gives it back.
    fn close(&mut self, relay: u8, port: u16);
    /// Whether one datagram can be forbidden to be fragmented (DONT-FRAGMENT).
    fn can_forbid_fragments(&self) -> bool;
}

/// What becomes of a client's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Drop,
    /// [`Server::answer`] goes back to the client.
    Answer,
    /// A part of the message goes to a peer, from the port of a relay address.
    ToPeer {
        /// The relay address.
        relay: u8,
        /// The port.
        port: u16,
        /// The peer.
        to: SocketAddr,
        /// Which bytes of the message.
        data: Range<usize>,
        /// Whether it must not be fragmented.
        dont_fragment: bool,
    },
}

/// What the threads of one server have in common.
pub struct Shared {
    pub(super) config: TurnConfig,
    secret: Option<SharedSecret>,
    accounts: Arc<dyn Accounts>,
    pub(super) nonce_key: hmac::Key,
    /// A key that nobody has.
    pub(super) decoy: [u8; 16],
    book: Mutex<Book>,
    counters: Mutex<Vec<Arc<Counters>>>,
}

impl Shared {
    /// Of settings, and of those who have credentials.
    pub fn new(
        config: TurnConfig,
        secret: Option<SharedSecret>,
        accounts: Arc<dyn Accounts>,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let (mut key, mut decoy) = ([0; 32], [0; 16]);
        entropy.fill(&mut key);
        entropy.fill(&mut decoy);
        let nonce_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let (book, counters) = (Mutex::default(), Mutex::default());
        Self { config, secret, accounts, nonce_key, decoy, book, counters }
    }

    /// What all threads counted.
    pub fn stats(&self) -> TurnStats {
        let mut sums =
            TurnStats { allocations: self.book().total() as u64, ..TurnStats::default() };
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().for_each(|counters| counters.add_to(&mut sums));
        sums
    }

    pub(super) fn accounts_of(&self, username: &str) -> Vec<Account> {
        candidates((self.secret.as_ref(), &*self.accounts), username, &self.config.realm)
    }

    /// Its state is whole between its statements, so a panic elsewhere leaves it usable.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The TURN server of one thread: sans-IO.
pub struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) entropy: Box<dyn Entropy + Send>,
    pub(super) limiter: Limiter,
    /// Each flow's slot.
    flows: HashMap<Flow, u32, FixedState>,
    /// For each relay address the slot of each port, [`NOBODY`] for one that is not lent.
    ports: Vec<Box<[u32]>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// When allocations end, or ended before they were refreshed.
    ends: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    /// Flows whose allocation ended by itself.
    ended: Vec<Flow>,
    pub(super) answer: Vec<u8>,
}

/// No slot.
const NOBODY: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    /// Grows with each use, so that an old entry of `ends` concerns nobody new.
    generation: u32,
    allocation: Option<Allocation>,
}

impl Server {
    /// A thread of the server.
    pub fn new(shared: Arc<Shared>, now: Instant, mut entropy: Box<dyn Entropy + Send>) -> Self {
        let counters = Arc::<Counters>::default();
        let all = shared.counters.lock();
        all.unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        let config = &shared.config;
        let limits = (config.limits.unproved_per_s, config.limits.unproved_burst);
        let limiter = Limiter::new(now, entropy.next_u64(), limits);
        let count = usize::from(config.port_max.saturating_sub(config.port_min)) + 1;
        let ports = config.relays.iter().map(|_| vec![NOBODY; count].into_boxed_slice()).collect();
        let flows = HashMap::with_hasher(FixedState::with_seed(entropy.next_u64()));
        Self {
            shared,
            counters,
            entropy,
            limiter,
            flows,
            ports,
            slots: Vec::new(),
            free: Vec::new(),
            ends: BinaryHeap::new(),
            ended: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// A client's datagram, or one message of its stream.
    pub fn handle_client(
        &mut self,
        clock: Clock,
        flow: Flow,
        message: &[u8],
        ports: &mut impl RelayPorts,
    ) -> Outcome {
        if let Some((number, data)) = turn::channel_data(message) {
            return self.handle_channel_data(clock.now, &flow, number, data);
        }
        let Ok(message) = Message::parse(message) else { return Outcome::Drop };
        match (message.class(), message.method()) {
            (Class::Request, _) => self.handle_request(clock, flow, &message, ports),
            (Class::Indication, method::SEND) => self.handle_send(clock.now, &flow, &message),
            _ => Outcome::Drop,
        }
    }

    fn handle_channel_data(
        &mut self,
        now: Instant,
        flow: &Flow,
        number: u16,
        data: Range<usize>,
    ) -> Outcome {
        let found = self.allocation(flow).filter(|a| a.expires > now);
        let peer = found.and_then(|a| Some((a.relay, a.port, a.peer_of(number, now)?)));
        let Some((relay, port, to)) = peer else {
            self.counters.refuse(Refused::Unpermitted);
            return Outcome::Drop;
        };
        self.count_to_peer(data.len());
        Outcome::ToPeer { relay, port, to, data, dont_fragment: false }
    }

    /// A Send indication (RFC 8656 §11.2): what is wrong with one is never said.
    fn handle_send(&mut self, now: Instant, flow: &Flow, message: &Message<'_>) -> Outcome {
        let known = [attr::XOR_PEER_ADDRESS, attr::DATA, attr::DONT_FRAGMENT];
        let strange = |(kind, _): (u16, &[u8])| kind < 0x8000 && !known.contains(&kind);
        let peer = message.xor_address(attr::XOR_PEER_ADDRESS);
        let (Some(to), Some(data)) = (peer, message.value_range(attr::DATA)) else {
            return Outcome::Drop;
        };
        let found = self.allocation(flow).filter(|a| a.expires > now && a.permits(to.ip(), now));
        let (relay, port) = match found.map(|a| (a.relay, a.port)) {
            Some(place) if self.shared.config.peers.allows(to) => place,
            _ => {
                self.counters.refuse(Refused::Unpermitted);
                return Outcome::Drop;
            }
        };
        if message.attributes().any(strange) {
            return Outcome::Drop;
        }
        let dont_fragment = message.attribute(attr::DONT_FRAGMENT).is_some();
        self.count_to_peer(data.len());
        Outcome::ToPeer { relay, port, to, data, dont_fragment }
    }

    /// A datagram that came to a relayed port: whom it goes to, and which bytes of `slot`. It lies
    /// at [`HEADROOM`] and is `len` long; what the client finds in front of it is written there.
    pub fn handle_peer(
        &mut self,
        now: Instant,
        (relay, port): (u8, u16),
        from: SocketAddr,
        slot: &mut [u8],
        len: usize,
    ) -> Option<(Flow, Range<usize>)> {
        let id = self.slot_of(relay, port).and_then(|id| self.slots.get(*id as usize));
        let found = id.and_then(|slot| slot.allocation.as_ref()).filter(|a| a.expires > now);
        let permitted = found.filter(|a| a.permits(from.ip(), now));
        let Some(allocation) = permitted.filter(|_| HEADROOM + len + TAILROOM <= slot.len()) else {
            self.counters.refuse(Refused::Unpermitted);
            return None;
        };
        let flow = allocation.flow;
        let range = match allocation.channel_of(from, now) {
            Some(number) => {
                let start = HEADROOM - CHANNEL_HEADER_LEN;
                // A datagram is shorter than 64 KiB.
                let header = turn::channel_header(number, len as u16);
                slot[start..HEADROOM].copy_from_slice(&header);
                // On a stream each message begins at a multiple of four (RFC 8656 §12.5).
                let padded = len.next_multiple_of(4);
                slot[HEADROOM + len..HEADROOM + padded].fill(0);
                match flow.via {
                    Via::Datagrams(_) => start..HEADROOM + len,
                    Via::Stream(_) => start..HEADROOM + padded,
                }
            }
            None => {
                let mut id = [0; 12];
                self.entropy.fill(&mut id);
                turn::data_indication(slot, HEADROOM, len, (from, id))
            }
        };
        self.counters.to_clients.add(1);
        self.counters.bytes_to_clients.add(len as u64);
        Some((flow, range))
    }

    /// The client's connection is gone, and with it what it had allocated.
    pub fn handle_closed(&mut self, flow: &Flow, ports: &mut impl RelayPorts) {
        if let Some(id) = self.flows.get(flow).copied() {
            self.remove(id, ports);
        }
    }

    /// Ends what was not refreshed.
    pub fn handle_timeout(&mut self, now: Instant, ports: &mut impl RelayPorts) {
        while let Some(Reverse((at, id, generation))) = self.ends.peek().copied() {
            if at > now {
                break;
            }
            self.ends.pop();
            let slot = &self.slots[id as usize];
            let Some(allocation) = slot.allocation.as_ref() else { continue };
            if slot.generation != generation {
                continue;
            }
            if allocation.expires > now {
                self.ends.push(Reverse((allocation.expires, id, generation)));
            } else {
                self.ended.push(allocation.flow);
                self.remove(id, ports);
            }
        }
    }

    /// When [`Server::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ends.peek().map(|Reverse((at, ..))| *at)
    }

    /// A flow whose allocation ended by itself.
    pub fn poll_ended(&mut self) -> Option<Flow> {
        self.ended.pop()
    }

    /// What [`Outcome::Answer`] sends.
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Whether a flow has an allocation.
    pub fn has_allocation(&self, flow: &Flow) -> bool {
        self.flows.contains_key(flow)
    }

    /// Allocations of this thread.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The system did not take this many packets.
    pub fn count_unsent(&self, packets: usize) {
        self.counters.unsent.add(packets as u64);
    }

    pub(super) fn allocation(&self, flow: &Flow) -> Option<&Allocation> {
        self.slots[*self.flows.get(flow)? as usize].allocation.as_ref()
    }

    pub(super) fn allocation_mut(&mut self, flow: &Flow) -> Option<&mut Allocation> {
        self.slots[*self.flows.get(flow)? as usize].allocation.as_mut()
    }

    /// Takes up an allocation whose port is open and which the book admitted.
    pub(super) fn insert(&mut self, allocation: Allocation) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, allocation: None });
            // There are never more than ports.
            (self.slots.len() - 1) as u32
        });
        let (flow, expires) = (allocation.flow, allocation.expires);
        if let Some(slot) = self.slot_of_mut(allocation.relay, allocation.port) {
            *slot = id;
        }
        let slot = &mut self.slots[id as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.allocation = Some(allocation);
        self.ends.push(Reverse((expires, id, slot.generation)));
        self.flows.insert(flow, id);
        self.counters.allocated.add(1);
    }

    /// Ends the allocation of a flow.
    pub(super) fn end(&mut self, flow: &Flow, ports: &mut impl RelayPorts) {
        self.handle_closed(flow, ports);
    }

    fn remove(&mut self, id: u32, ports: &mut impl RelayPorts) {
        let Some(gone) = self.slots[id as usize].allocation.take() else { return };
        self.flows.remove(&gone.flow);
        if let Some(slot) = self.slot_of_mut(gone.relay, gone.port) {
            *slot = NOBODY;
        }
        ports.close(gone.relay, gone.port);
        self.shared.book().release(&gone.owner);
        self.free.push(id);
    }

    fn slot_of(&self, relay: u8, port: u16) -> Option<&u32> {
        let at = port.checked_sub(self.shared.config.port_min)?;
        self.ports.get(usize::from(relay))?.get(usize::from(at))
    }

    fn slot_of_mut(&mut self, relay: u8, port: u16) -> Option<&mut u32> {
        let at = port.checked_sub(self.shared.config.port_min)?;
        self.ports.get_mut(usize::from(relay))?.get_mut(usize::from(at))
    }

    fn count_to_peer(&self, len: usize) {
        self.counters.to_peers.add(1);
        self.counters.bytes_to_peers.add(len as u64);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("allocations", &self.flows.len()).finish_non_exhaustive()
    }
}
