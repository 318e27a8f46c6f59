//! One packet thread: batches in, batches out, and a nap in between when there is much to do.
//!
//! Under load the thread takes its turns at intervals ([`TurnConfig::batch`]), so that packets wait
//! for each other and share the calls that move them; a packet is delayed by half of one. When
//! little comes it waits in epoll and nothing is delayed.
//!
//! [`TurnConfig::batch`]: crate::turn::TurnConfig::batch

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use net::PooledEntropy;
use net::batch::{BATCH_MAX, RecvBatch, send_batch};
use net::framed::Outlet;
use net::poll::Poller;
use net::raw::RawPacket;
use sansio::WallTime;
use smallvec::SmallVec;

use super::lent::{Lent, PORT_TOKEN, STEERED_TOKEN};
use super::streams::Inbound;
use crate::turn::allocation::{Flow, Via};
use crate::turn::server::{Clock, HEADROOM, Outcome, Server, Shared};

/// The longest datagram relayed; longer ones are dropped.
const DATAGRAM_MAX: usize = 4096;
/// Batches taken from one socket before the others have their turn.
const ROUNDS: usize = 16;
/// Packets in one turn from which on it is worth to let packets wait for each other.
const NAP_ABOVE: usize = 8;
/// The longest wait, when nothing ends sooner.
const IDLE: Duration = Duration::from_secs(1);
/// Messages of streams that may wait for the worker.
const INBOX_MAX: usize = 8192;

/// What others see of a packet thread.
pub(super) struct Worker {
    poller: Arc<Poller>,
    inbox: Mutex<Vec<Inbound>>,
    stop: AtomicBool,
}

/// What a packet thread works with.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) listeners: Vec<UdpSocket>,
    pub(super) lent: Lent,
}

/// What is the thread's own.
pub(super) struct Packets {
    server: Server,
    listeners: Vec<UdpSocket>,
    lent: Lent,
    streams: HashMap<u64, (Flow, Outlet)>,
    batch: Duration,
    from_clients: RecvBatch,
    from_peers: RecvBatch,
}

type ToPeers<'a> = SmallVec<[RawPacket<'a>; BATCH_MAX]>;
type ToClients<'a> = SmallVec<[(u16, SocketAddr, &'a [u8]); BATCH_MAX]>;

impl Worker {
    pub(super) fn new() -> io::Result<Self> {
        let poller = Arc::new(Poller::new()?);
        Ok(Self { poller, inbox: Mutex::default(), stop: AtomicBool::new(false) })
    }

    /// Readies what the thread will work with.
    pub(super) fn prepare(&self, parts: Parts) -> io::Result<Packets> {
        let Parts { shared, listeners, mut lent } = parts;
        for (token, listener) in (0..).zip(&listeners) {
            self.poller.add(listener, token)?;
        }
        lent.watch(&self.poller)?;
        let slot = HEADROOM + DATAGRAM_MAX + 4;
        let batch = shared.config.batch;
        let entropy = Box::new(PooledEntropy::default());
        Ok(Packets {
            server: Server::new(shared, Instant::now(), entropy),
            listeners,
            lent,
            streams: HashMap::new(),
            batch,
            from_clients: RecvBatch::new(BATCH_MAX, slot),
            from_peers: RecvBatch::with_destinations(BATCH_MAX, slot).with_headroom(HEADROOM),
        })
    }

    pub(super) fn put(&self, inbound: Inbound) {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let is_frame = matches!(inbound, Inbound::Frame(..));
        // What is too much is lost, as by UDP; comings and goings are always told.
        if !is_frame || inbox.len() < INBOX_MAX {
            inbox.push(inbound);
        }
        if inbox.len() == 1 {
            self.poller.ring();
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poller.ring();
    }

    /// The thread's body.
    pub(super) fn run(&self, packets: &mut Packets) {
        let mut ready = Vec::new();
        let mut inbox = Vec::new();
        let (mut moved, mut woke) = (0, Instant::now());
        while !self.stop.load(Ordering::Acquire) {
            let naps = moved >= NAP_ABOVE && !packets.batch.is_zero();
            if naps {
                // From turn to turn, the work included: no packet waits longer.
                let next = woke + packets.batch;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            let wait = if naps { Duration::ZERO } else { packets.patience() };
            self.poller.wait(wait, &mut ready);
            let clock = clock();
            woke = clock.now;
            // One client's bug must not end the relaying of a whole thread.
            let turn = catch_unwind(AssertUnwindSafe(|| packets.turn(clock, &ready)));
            moved = turn.unwrap_or_else(|_| {
                tracing::error!("TURN packet handling panicked");
                0
            });
            std::mem::swap(
                &mut inbox,
                &mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner),
            );
            for inbound in inbox.drain(..) {
                let step = AssertUnwindSafe(|| packets.handle_inbound(clock, inbound));
                if catch_unwind(step).is_err() {
                    tracing::error!("TURN stream handling panicked");
                }
            }
        }
    }
}

impl Packets {
    fn patience(&self) -> Duration {
        let ends = self.server.poll_timeout();
        let left = ends.map(|at| at.saturating_duration_since(Instant::now()));
        left.map_or(IDLE, |left| left.min(IDLE))
    }

    /// Takes what waits at the sockets that are ready, and ends what is over; how many packets
    /// moved.
    fn turn(&mut self, clock: Clock, ready: &[u64]) -> usize {
        let mut moved = 0;
        for token in ready {
            moved += if *token >= PORT_TOKEN {
                let (relay, port) = ((token >> 16) as u8, *token as u16);
                self.drain_peers(clock, relay, Some(port))
            } else if *token >= STEERED_TOKEN {
                self.drain_peers(clock, (token - STEERED_TOKEN) as u8, None)
            } else {
                self.drain_clients(clock, *token as u16)
            };
        }
        self.server.handle_timeout(clock.now, &mut self.lent);
        while let Some(flow) = self.server.poll_ended() {
            if let Via::Stream(connection) = flow.via
                && let Some((_, outlet)) = self.streams.get(&connection)
            {
                outlet.keep(false);
            }
        }
        moved
    }

    fn drain_clients(&mut self, clock: Clock, listener: u16) -> usize {
        let mut moved = 0;
        for _ in 0..ROUNDS {
            let Some(socket) = self.listeners.get(usize::from(listener)) else { break };
            // Errors are ICMP reports of earlier sends: reading clears them.
            let Ok(count) = self.from_clients.recv(socket) else { break };
            moved += count;
            let full = self.from_clients.is_full();
            let mut to_peers: SmallVec<[ToPeers<'_>; 1]> = SmallVec::new();
            to_peers.resize_with(self.lent.count(), ToPeers::new);
            let mut answers: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
            for (addr, slot, len) in self.from_clients.slots_mut() {
                let flow = Flow { addr, via: Via::Datagrams(listener) };
                let message = &slot[..len];
                match self.server.handle_client(clock, flow, message, &mut self.lent) {
                    Outcome::Drop => {}
                    Outcome::Answer => answers.push((addr, self.server.answer().to_vec())),
                    Outcome::ToPeer { relay, port, to, data, dont_fragment } => {
                        let Some(ip) = self.lent.bind_of(relay) else { continue };
                        let from = SocketAddr::new(ip, port);
                        let payload = &message[data];
                        to_peers[usize::from(relay)].push(RawPacket {
                            from,
                            to,
                            payload,
                            tos: 0,
                            dont_fragment,
                        });
                    }
                }
            }
            for (relay, packets) in to_peers.iter().enumerate() {
                let lost = self.lent.send(relay, packets);
                self.server.count_unsent(lost);
            }
            let answers: SmallVec<[_; BATCH_MAX]> =
                answers.iter().map(|(to, bytes)| (Some(*to), bytes.as_slice())).collect();
            self.server.count_unsent(send_all(socket, &answers));
            if !full {
                break;
            }
        }
        moved
    }

    /// From the socket that all ports lead to, or from the one of a port.
    fn drain_peers(&mut self, clock: Clock, relay: u8, port: Option<u16>) -> usize {
        let mut moved = 0;
        for _ in 0..ROUNDS {
            let socket = match port {
                Some(port) => self.lent.port_socket(relay, port),
                None => self.lent.steered_socket(relay),
            };
            let Some(count) = socket.and_then(|s| self.from_peers.recv(s).ok()) else { break };
            moved += count;
            let full = self.from_peers.is_full();
            let mut to_clients = ToClients::new();
            for told in self.from_peers.addressed_mut() {
                let Some(port) = port.or(told.to.map(|to| to.port())) else { continue };
                let (slot, place) = (told.slot, (relay, port));
                let now = clock.now;
                let handled = self.server.handle_peer(now, place, told.from, slot, told.len);
                let Some((flow, range)) = handled else { continue };
                match flow.via {
                    Via::Datagrams(by) => to_clients.push((by, flow.addr, &slot[range])),
                    Via::Stream(connection) => {
                        let bytes = Bytes::copy_from_slice(&slot[range]);
                        let outlet = self.streams.get(&connection).map(|(_, outlet)| outlet);
                        let sent = outlet.is_some_and(|outlet| outlet.try_send(bytes));
                        self.server.count_unsent(usize::from(!sent));
                    }
                }
            }
            for (by, listener) in (0..).zip(&self.listeners) {
                let of = to_clients.iter().filter(|(of, ..)| *of == by);
                let packets: SmallVec<[_; BATCH_MAX]> =
                    of.map(|(_, to, bytes)| (Some(*to), *bytes)).collect();
                self.server.count_unsent(send_all(listener, &packets));
            }
            if !full {
                break;
            }
        }
        moved
    }

    fn handle_inbound(&mut self, clock: Clock, inbound: Inbound) {
        match inbound {
            Inbound::Opened(connection, addr, outlet) => {
                let flow = Flow { addr, via: Via::Stream(connection) };
                self.streams.insert(connection, (flow, outlet));
            }
            Inbound::Closed(connection) => {
                if let Some((flow, _)) = self.streams.remove(&connection) {
                    self.server.handle_closed(&flow, &mut self.lent);
                }
            }
            Inbound::Frame(connection, message) => self.handle_frame(clock, connection, &message),
        }
    }

    fn handle_frame(&mut self, clock: Clock, connection: u64, message: &[u8]) {
        let Some((flow, outlet)) = self.streams.get(&connection) else { return };
        match self.server.handle_client(clock, *flow, message, &mut self.lent) {
            Outcome::Drop => {}
            Outcome::Answer => {
                let sent = outlet.try_send(Bytes::copy_from_slice(self.server.answer()));
                self.server.count_unsent(usize::from(!sent));
                outlet.keep(self.server.has_allocation(flow));
            }
            Outcome::ToPeer { relay, port, to, data, dont_fragment } => {
                let Some(ip) = self.lent.bind_of(relay) else { return };
                let (from, payload) = (SocketAddr::new(ip, port), &message[data]);
                let packet = RawPacket { from, to, payload, tos: 0, dont_fragment };
                let lost = self.lent.send(usize::from(relay), &[packet]);
                self.server.count_unsent(lost);
            }
        }
    }
}

/// Sends packets by one socket; how many were lost.
fn send_all(socket: &UdpSocket, mut packets: &[(Option<SocketAddr>, &[u8])]) -> usize {
    let mut lost = 0;
    while !packets.is_empty() {
        let sent = send_batch(socket, packets).unwrap_or(0);
        // The first one cannot go (unreachable, buffer full): it is lost, as on any path.
        lost += usize::from(sent == 0);
        packets = &packets[sent.max(1).min(packets.len())..];
    }
    lost
}

fn clock() -> Clock {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Clock { now: Instant::now(), wall: WallTime::from_millis(since.as_millis() as u64) }
}
