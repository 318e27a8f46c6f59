//! Shards: N threads, each with its own runtime, sockets and core.
//!
//! ```text
//!   kernel ──SO_REUSEPORT──► shard 0: udp ┐                 ┌► outboxes of its connections
//!                                 streams ├► engine ► core ─┼► its udp sockets
//!   http ──upgraded streams────► websockets ┘      ▲        └► mailbox of shard 1, 2 …
//!                                                  └── mailbox, notes, one timer
//! ```

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sansio::{FlowId, NodeId, ShardId, Transport};
use sip::locate::NextHop;
use tokio::sync::{mpsc, watch};

mod admission;
mod diagnostics;
mod dial;
mod dialled;
mod doorkeeper;
mod engine;
mod halves;
mod mail;
mod outbox;
mod run;
mod stream;
mod udp;
mod udp_table;
mod websocket;

use crate::bind;
use crate::config::{Limits, Listener, ShardsConfig};
use crate::core::ShardCore;
use crate::error::NetError;
use crate::gate::{Gate, Verdict};
use crate::proof::{Proof, ProvedFlows};
use crate::stats::{Counters, ShardStats};
use admission::Admission;
use dialled::DialTable;
pub use doorkeeper::Load;
pub(crate) use mail::Adopted;
use mail::Mail;
use run::{Phase, Seed, Sockets};
use udp_table::UdpTable;

/// The running shards of one server. Dropping it shuts them down.
#[derive(Debug)]
pub struct Shards<N> {
    handles: Vec<ShardHandle<N>>,
    listeners: Arc<[Listener]>,
    door: WebSocketDoor,
    phase: watch::Sender<Phase>,
    drained: Vec<watch::Receiver<bool>>,
    failed: Arc<watch::Sender<bool>>,
    threads: Vec<JoinHandle<()>>,
}

impl<N: Send + 'static> Shards<N> {
    /// Binds every listener on every shard, then starts one thread per shard and makes its core
    /// there with `make`. If anything fails nothing keeps running.
    ///
    /// # Errors
    /// A port in use or forbidden, an address that is not ours, a TLS listener without TLS.
    pub fn start<C, F>(config: ShardsConfig, make: F) -> Result<Self, NetError>
    where
        C: ShardCore<Note = N> + 'static,
        F: Fn(ShardContext<N>) -> C + Send + Sync + 'static,
    {
        let count = config.shards.max(1);
        let (listeners, sockets) = bind_all(&config, count)?;
        let shared = Shared::new(&config, listeners, count);
        let mut shards = shared.shards();
        let make: Arc<F> = Arc::new(make);
        for (seed, sockets) in shared.seeds(&mut shards, &config).into_iter().zip(sockets) {
            let make = Arc::clone(&make);
            shards.threads.push(run::spawn(seed, sockets, move |context| make(context))?);
        }
        Ok(shards)
    }

    /// The way to one shard's core.
    pub fn handle(&self, shard: ShardId) -> Option<&ShardHandle<N>> {
        self.handles.get(usize::from(shard))
    }

    /// The ways to all cores, in order.
    pub fn handles(&self) -> &[ShardHandle<N>] {
        &self.handles
    }

    /// What is listened on, with true ports, in the order of the configuration.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Transport and address of each listener, with true ports.
    pub fn local_addrs(&self) -> Vec<(Transport, SocketAddr)> {
        self.listeners.iter().map(|l| (l.transport, l.bind)).collect()
    }

    /// Where [`crate::http`] hands in WebSockets, to the shards in turn.
    pub fn websocket_door(&self) -> WebSocketDoor {
        self.door.clone()
    }

    /// The counters of all shards added up.
    pub fn stats(&self) -> ShardStats {
        let mut sum = ShardStats::default();
        for handle in &self.handles {
            sum += handle.stats();
        }
        sum
    }

    /// Ready when a shard can no longer do its work (its core panicked): end the process, a
    /// supervisor starts it anew. Until then, pending.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<N> {
        let mut failed = self.failed.subscribe();
        async move {
            if failed.wait_for(|failed| *failed).await.is_err() {
                // The shards were shut down in order: nothing will fail any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops accepting connections, tells the cores, and waits until all of them have nothing under
    /// way or `patience` is over. Flows and UDP keep working meanwhile. True if all finished.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.phase.send_replace(Phase::Draining);
        let all = async {
            for drained in &self.drained {
                let mut drained = drained.clone();
                // An error means the shard has ended: nothing is under way there.
                let _ = drained.wait_for(|done| *done).await;
            }
        };
        tokio::time::timeout(patience, all).await.is_ok()
    }

    /// Closes every flow after writing what is queued (at most two seconds), and waits for the
    /// threads. Blocks.
    pub fn shutdown(mut self) {
        self.stop();
    }
}

impl<N> Shards<N> {
    fn stop(&mut self) {
        self.phase.send_replace(Phase::Stopping);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a shard's thread panicked");
            }
        }
    }
}

impl<N> Drop for Shards<N> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes upgraded WebSockets into the shards, in turn.
#[derive(Debug, Clone)]
pub struct WebSocketDoor {
    mail: Arc<[mpsc::Sender<Mail>]>,
    turn: Arc<std::sync::atomic::AtomicUsize>,
    phase: watch::Receiver<Phase>,
    admission: Arc<Admission>,
    gate: Gate,
}

impl WebSocketDoor {
    /// Whether new connections are still taken.
    pub(crate) fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Running
    }

    /// Hands a stream over; `None` (it is dropped) if the shard's mailbox is full, or `peer` is banned
    /// or has too many connections.
    pub(crate) fn adopt(&self, mut adopted: Adopted) -> Option<()> {
        if self.gate.accept(Instant::now(), adopted.peer.ip()) != Verdict::Pass {
            return None;
        }
        adopted.permit = Some(self.admission.admit(adopted.peer.ip())?);
        let turn = self.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mail = self.mail.get(turn % self.mail.len().max(1))?;
        mail.try_send(Mail::Adopt(Box::new(adopted))).ok()
    }
}

/// What all shards hold in common while they are being started.
struct Shared<N> {
    listeners: Arc<[Listener]>,
    limits: Arc<Limits>,
    admission: Arc<Admission>,
    gate: Gate,
    proof: Proof,
    mail: Arc<[mpsc::Sender<Mail>]>,
    mail_ends: RefCell<Vec<mpsc::Receiver<Mail>>>,
    handles: Vec<ShardHandle<N>>,
    note_ends: RefCell<Vec<mpsc::Receiver<N>>>,
    phase: watch::Sender<Phase>,
}

impl<N: Send + 'static> Shared<N> {
    fn new(config: &ShardsConfig, listeners: Arc<[Listener]>, count: ShardId) -> Self {
        let room = config.limits.mailbox.max(1);
        let (mail, mail_ends): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(room)).unzip();
        let (notes, note_ends): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(room)).unzip();
        let handle = |(shard, notes)| ShardHandle { shard, notes, counters: Arc::default() };
        Self {
            listeners,
            limits: Arc::new(config.limits.clone()),
            admission: Arc::new(Admission::new(&config.limits)),
            gate: config.gate.clone().unwrap_or_else(|| Gate::open(Instant::now())),
            proof: Proof::new(Arc::clone(&config.peer_certificates)),
            mail: mail.into(),
            mail_ends: RefCell::new(mail_ends),
            handles: (0..).zip(notes).map(handle).collect(),
            note_ends: RefCell::new(note_ends),
            phase: watch::Sender::new(Phase::Running),
        }
    }

    fn shards(&self) -> Shards<N> {
        Shards {
            handles: self.handles.clone(),
            listeners: Arc::clone(&self.listeners),
            door: WebSocketDoor {
                mail: Arc::clone(&self.mail),
                turn: Arc::default(),
                phase: self.phase.subscribe(),
                admission: Arc::clone(&self.admission),
                gate: self.gate.clone(),
            },
            phase: self.phase.clone(),
            drained: Vec::new(),
            failed: Arc::new(watch::Sender::new(false)),
            threads: Vec::new(),
        }
    }

    fn seeds(&self, shards: &mut Shards<N>, config: &ShardsConfig) -> Vec<Seed<N>> {
        let ends = self.mail_ends.take().into_iter().zip(self.note_ends.take());
        let seed = |(handle, (mail_end, note_end)): (&ShardHandle<N>, _)| {
            let drained = watch::Sender::new(false);
            let failed = Arc::clone(&shards.failed);
            shards.drained.push(drained.subscribe());
            Seed {
                node: config.node,
                handle: handle.clone(),
                handles: self.handles.clone(),
                listeners: Arc::clone(&self.listeners),
                limits: Arc::clone(&self.limits),
                admission: Arc::clone(&self.admission),
                gate: self.gate.clone(),
                overload_target: config.overload_target,
                tls: config.tls.clone(),
                client_tls: config.client_tls.clone(),
                proof: self.proof.clone(),
                mail: Arc::clone(&self.mail),
                mail_end,
                note_end,
                phase: self.phase.subscribe(),
                drained,
                failed,
            }
        };
        self.handles.iter().zip(ends).map(seed).collect()
    }
}

/// Listeners with true ports, and the sockets of each shard in the listeners' order.
type Bound = (Arc<[Listener]>, Vec<Vec<Sockets>>);

/// Opens each listener once per shard: the listeners with true ports, and each shard's sockets.
fn bind_all(config: &ShardsConfig, count: ShardId) -> Result<Bound, NetError> {
    let mut listeners = Vec::new();
    let mut shards: Vec<Vec<Sockets>> = (0..count).map(|_| Vec::new()).collect();
    for wanted in &config.listeners {
        let sockets = bind_one(wanted, config, count)?;
        let bind = sockets.first().and_then(Sockets::local_addr).unwrap_or(wanted.bind);
        listeners.push(Listener { bind, ..wanted.clone() });
        for (shard, socket) in shards.iter_mut().zip(sockets) {
            shard.push(socket);
        }
    }
    Ok((listeners.into(), shards))
}

fn bind_one(
    wanted: &Listener,
    config: &ShardsConfig,
    count: ShardId,
) -> Result<Vec<Sockets>, NetError> {
    let refuse = |remedy| NetError::BadListener {
        interface: wanted.interface.clone(),
        transport: wanted.transport,
        remedy,
    };
    Ok(match wanted.transport {
        Transport::Udp => {
            bind::udp(wanted.bind, count, config.limits.udp_receive_buffer, wanted.tos)?
                .into_iter()
                .map(Sockets::Udp)
                .collect()
        }
        Transport::Tcp => bind::tcp(wanted.bind, count, "tcp", wanted.tos)?
            .into_iter()
            .map(Sockets::Tcp)
            .collect(),
        Transport::Tls if config.tls.is_none() => {
            return Err(refuse("give the server a certificate"));
        }
        Transport::Tls => bind::tcp(wanted.bind, count, "tls", wanted.tos)?
            .into_iter()
            .map(Sockets::Tls)
            .collect(),
        Transport::Ws | Transport::Wss => {
            return Err(refuse("WebSockets are served by the HTTPS listener at /sip"));
        }
    })
}

/// What a core is born with, on its shard's thread.
#[derive(Debug)]
pub struct ShardContext<N> {
    /// This node.
    pub node: NodeId,
    /// This shard.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: ShardId,
    /// The listeners, with their true ports.
    pub listeners: Arc<[Listener]>,
    /// Names UDP flows beforehand.
    pub udp: UdpFlows,
    /// Names flows to next hops, which their first message connects.
    pub dialled: DialledFlows,
    /// What was proved on TLS flows, of any shard.
    pub proved: ProvedFlows,
    /// The way for completions to reach this core from any thread.
    pub handle: ShardHandle<N>,
    /// How much new work this shard turns away.
    pub load: Load,
}

/// Gives a core the [`FlowId`] of a UDP peer before anything was exchanged with it.
#[derive(Debug, Clone)]
pub struct UdpFlows {
    table: Rc<RefCell<UdpTable>>,
}

impl UdpFlows {
    /// This shard's flow from `local` (as in [`crate::Received::local`]; if no listener has it, the
    /// first UDP listener of the family) to `peer`. `None` without such a listener.
    pub fn flow(&self, local: SocketAddr, peer: SocketAddr) -> Option<FlowId> {
        self.table.borrow_mut().open(local, peer)
    }
}

/// Gives a core the [`FlowId`] of a next hop over a stream. Nothing is connected until the first
/// message is sent on it; a connection that cannot be made ends as
/// [`ShardCore::handle_flow_closed`] with [`crate::CloseReason::Unreachable`], `TimedOut` or
/// `Untrusted`. The flow outlives its connections: the next message connects it anew.
#[derive(Debug, Clone)]
pub struct DialledFlows {
    table: Rc<RefCell<DialTable>>,
}

impl DialledFlows {
    /// The flow to a hop: the one there is to any of its addresses under the same proved name, or
    /// a new one. `None` for UDP ([`UdpFlows`] has those), for TLS without
    /// [`crate::ShardsConfig::client_tls`], and when [`crate::Limits::dialled`] or
    /// `dialled_per_peer` is reached by flows in use.
    pub fn flow(&self, hop: &NextHop) -> Option<FlowId> {
        self.table.borrow_mut().open(hop)
    }

    /// Uses a connection that the peer opened for requests to `hop` as well, until it closes
    /// (RFC 5923). Only for a peer whose right to that address and name is beyond doubt: by its
    /// client certificate, or by configuration. False when we have a connection of our own.
    pub fn alias(&self, hop: &NextHop, accepted: FlowId) -> bool {
        self.table.borrow_mut().alias(hop, accepted)
    }
}

/// Reaches one shard's core from any thread.
#[derive(Debug)]
pub struct ShardHandle<N> {
    shard: ShardId,
    notes: tokio::sync::mpsc::Sender<N>,
    counters: Arc<Counters>,
}

impl<N> Clone for ShardHandle<N> {
    fn clone(&self) -> Self {
        Self { shard: self.shard, notes: self.notes.clone(), counters: Arc::clone(&self.counters) }
    }
}

impl<N> ShardHandle<N> {
    /// Which shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Leaves a note for the core.
    ///
    /// # Errors
    /// Refused, and counted, when the mailbox is full or the shard has stopped.
    pub fn notify(&self, note: N) -> Result<(), NoteRefused> {
        self.notes.try_send(note).map_err(|_| {
            self.counters.dropped_mailbox.add(1);
            NoteRefused
        })
    }

    /// Whether a note would be taken now.
    pub fn has_room(&self) -> bool {
        self.notes.capacity() > 0
    }

    /// As [`ShardHandle::notify`], but waits for room: for completions that must not be lost.
    ///
    /// # Errors
    /// Only if the shard has stopped.
    pub async fn deliver(&self, note: N) -> Result<(), NoteRefused> {
        self.notes.send(note).await.map_err(|_| NoteRefused)
    }

    /// The shard's counters now.
    pub fn stats(&self) -> ShardStats {
        self.counters.snapshot()
    }
}

/// A note was not delivered: the shard's mailbox is full, or the shard has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard's mailbox is full or closed")]
pub struct NoteRefused;
