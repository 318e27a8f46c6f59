//! The heart of a shard: gives inputs to the core and carries out what it asks for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sansio::{FlowId, NodeId, ShardId, Transport, WallTime};
use tokio::sync::{Notify, mpsc, watch};

use super::ShardHandle;
use super::admission::Admission;
use super::diagnostics::Diagnostics;
use super::dialled::DialTable;
use super::doorkeeper::Doorkeeper;
use super::mail::Mail;
use super::outbox::{Ending, Outbox};
use super::run::Phase;
use super::udp::UdpPort;
use super::udp_table::UdpTable;
use crate::branch::response_owner;
use crate::config::Limits;
use crate::core::{CloseReason, Datagram, FlowTarget, Received, ShardCore, Transmit};
use crate::proof::Proof;
use crate::stats::Counters;

/// How many closed flows are reported in one go: a core that answers each report with a message to
/// another dead flow must not hold the shard.
const REPORTS_MAX: usize = 1024;

/// One shard's state, shared by its tasks; all on one thread, never across an `await`.
pub(crate) struct Engine<C: ShardCore> {
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) udp: Rc<RefCell<UdpTable>>,
    pub(crate) dialled: Rc<RefCell<DialTable>>,
    pub(crate) proof: Proof,
    /// By listener; `None` for stream listeners.
    pub(crate) ports: Vec<Option<UdpPort>>,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) timer: Notify,
    pub(crate) deadline: Cell<Option<Instant>>,
    core: RefCell<C>,
    streams: RefCell<BTreeMap<u64, Rc<Outbox>>>,
    next_stream: Cell<u64>,
    reports: RefCell<VecDeque<(FlowId, CloseReason)>>,
    mail: Arc<[mpsc::Sender<Mail>]>,
    handles: Vec<ShardHandle<C::Note>>,
    drained: watch::Sender<bool>,
    draining: Cell<bool>,
    failed: Arc<watch::Sender<bool>>,
}

/// What [`Engine::new`] needs besides the core.
pub(crate) struct Parts<N> {
    pub(crate) node: NodeId,
    pub(crate) handle: ShardHandle<N>,
    pub(crate) handles: Vec<ShardHandle<N>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) udp: Rc<RefCell<UdpTable>>,
    pub(crate) dialled: Rc<RefCell<DialTable>>,
    pub(crate) proof: Proof,
    pub(crate) ports: Vec<Option<UdpPort>>,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) mail: Arc<[mpsc::Sender<Mail>]>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) failed: Arc<watch::Sender<bool>>,
}

impl<C: ShardCore> Engine<C> {
    pub(crate) fn new(parts: Parts<C::Note>, core: C) -> Self {
        Self {
            node: parts.node,
            shard: parts.handle.shard,
            limits: parts.limits,
            counters: parts.handle.counters,
            admission: parts.admission,
            doorkeeper: parts.doorkeeper,
            udp: parts.udp,
            dialled: parts.dialled,
            proof: parts.proof,
            ports: parts.ports,
            diagnostics: parts.diagnostics,
            scratch: RefCell::new(vec![0; 16 * 1024].into_boxed_slice()),
            phase: parts.phase,
            timer: Notify::new(),
            deadline: Cell::new(None),
            core: RefCell::new(core),
            streams: RefCell::default(),
            next_stream: Cell::new(1),
            reports: RefCell::default(),
            mail: parts.mail,
            handles: parts.handles,
            drained: parts.drained,
            draining: Cell::new(false),
            failed: parts.failed,
        }
    }

    /// Asks the new core for its first deadline and messages.
    pub(crate) fn start(&self) {
        self.drive(|_, _, _| {});
        self.flush();
    }

    /// One message arrived on a connection.
    pub(crate) fn receive(&self, received: Received) {
        if let Some(received) = self.keep_own(received) {
            self.drive(|core, now, wall| core.handle_received(now, wall, received));
        }
    }

    /// Datagrams arrived together: the core sees them one by one, all at the same instant, and what
    /// follows from them is collected once.
    pub(crate) fn receive_all<'d>(&self, mut next: impl FnMut() -> Option<Datagram<'d>>) {
        self.drive(|core, now, wall| {
            while let Some(datagram) = next() {
                if core.handle_datagram(now, wall, datagram) {
                    self.counters.received.add(1);
                } else if let Some(received) = self.keep_own(datagram.received()) {
                    core.handle_received(now, wall, received);
                }
            }
        });
    }

    /// Responses to another shard's transactions go there.
    fn keep_own(&self, received: Received) -> Option<Received> {
        self.counters.received.add(1);
        if self.mail.len() > 1
            && let Some((node, shard)) = response_owner(&received.message)
            && (node, usize::from(shard) < self.mail.len()) == (self.node, true)
            && shard != self.shard
        {
            self.counters.rerouted.add(1);
            self.post(shard, Mail::Received(received));
            return None;
        }
        Some(received)
    }

    /// A letter came from another thread. Adoptions are the runner's.
    pub(crate) fn open_mail(&self, mail: Mail) {
        match mail {
            Mail::Transmit { from, flow, message } => {
                if let Err(why) = self.send_local(flow, message) {
                    self.post(from, Mail::Gone { flow, why });
                }
                // A slow reader may have been expelled just now.
                self.drive(|_, _, _| {});
            }
            Mail::Received(received) => {
                self.drive(|core, now, wall| core.handle_received(now, wall, received));
            }
            Mail::Gone { flow, why } => self.drive(|core, now, _| {
                core.handle_flow_closed(now, flow, why);
            }),
            Mail::Adopt(_) => {}
        }
    }

    /// Notes that came together.
    pub(crate) fn notes(&self, notes: impl Iterator<Item = C::Note>) {
        self.drive(|core, now, wall| notes.for_each(|note| core.handle_note(now, wall, note)));
    }

    pub(crate) fn timeout(&self) {
        self.drive(|core, now, wall| core.handle_timeout(now, wall));
    }

    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.drive(|core, now, wall| core.handle_drain(now, wall));
    }

    /// A new connection's flow and queue.
    pub(crate) fn open_stream(&self) -> (FlowId, Rc<Outbox>) {
        let id = self.next_stream.replace(self.next_stream.get() + 2);
        let outbox = Rc::new(Outbox::new(self.limits.write_queue_bytes));
        self.streams.borrow_mut().insert(id, Rc::clone(&outbox));
        self.counters.accepted.add(1);
        self.counters.connections.add(1);
        (FlowId { node: self.node, shard: self.shard, id }, outbox)
    }

    /// A connection's task is over. The core is told unless the engine itself ended it.
    pub(crate) fn stream_ended(&self, flow: FlowId, why: CloseReason) {
        self.counters.connections.sub(1);
        if is_expulsion(why) {
            self.counters.expelled.add(1);
        }
        self.dialled.borrow_mut().ended(flow.id);
        self.proof.flows.remove(flow);
        if self.streams.borrow_mut().remove(&flow.id).is_some() {
            tracing::debug!(%flow, ?why, "connection closed");
            self.drive(|core, now, _| core.handle_flow_closed(now, flow, why));
            self.flush();
        }
    }

    /// Asks every connection to end once its queue is written.
    pub(crate) fn end_all(&self) {
        for outbox in self.streams.borrow().values() {
            outbox.end(Ending::Flushed);
        }
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.streams.borrow().len()
    }

    /// Sends the datagrams queued since the last flush, many per system call.
    pub(crate) fn flush(&self) {
        for port in self.ports.iter().flatten() {
            port.flush(&self.counters);
        }
    }

    /// Gives the core its input and carries out all that follows from it.
    fn drive(&self, input: impl FnOnce(&mut C, Instant, WallTime)) {
        let (now, wall) = clock();
        let _alarm = Alarm(&self.failed);
        self.udp.borrow_mut().set_now(now);
        let mut core = self.core.borrow_mut();
        input(&mut core, now, wall);
        core.handle_batch_end(now, wall);
        for _ in 0..REPORTS_MAX {
            self.collect(&mut core);
            let Some((flow, why)) = self.reports.borrow_mut().pop_front() else { break };
            core.handle_flow_closed(now, flow, why);
            core.handle_batch_end(now, wall);
        }
        self.collect(&mut core);
        self.set_deadline(core.poll_timeout());
        if self.draining.get() && core.is_drained() {
            self.drained.send_if_modified(|done| !std::mem::replace(done, true));
        }
    }

    /// Wakes the timer for an earlier deadline only: most later ones only mean that something was
    /// answered in time, and the timer finds out when it goes off.
    fn set_deadline(&self, next: Option<Instant>) {
        let was = self.deadline.replace(next);
        let earlier = match (was, next) {
            (Some(was), Some(next)) => next < was,
            (None, next) => next.is_some(),
            (Some(_), None) => false,
        };
        if earlier {
            self.timer.notify_one();
        }
    }

    fn collect(&self, core: &mut C) {
        while let Some(transmit) = core.poll_transmit() {
            self.transmit(transmit);
        }
        while let Some((shard, note)) = core.poll_note() {
            match self.handles.get(usize::from(shard)) {
                // A refusal is counted there.
                Some(handle) => drop(handle.notify(note)),
                None => self.counters.dropped_mailbox.add(1),
            }
        }
        while let Some(flow) = core.poll_close() {
            if let Some(outbox) = self.streams.borrow_mut().remove(&flow.id) {
                outbox.end(Ending::Flushed);
            }
            self.udp.borrow_mut().remove(flow.id);
        }
    }

    fn transmit(&self, transmit: Transmit) {
        match transmit.to {
            FlowTarget::Flow(flow) if (flow.node, flow.shard) == (self.node, self.shard) => {
                if let Err(why) = self.send_local(flow, transmit.message) {
                    self.report(flow, why);
                }
            }
            FlowTarget::Flow(flow) => self.send_far(flow, transmit.message),
            FlowTarget::Udp { local, peer } => {
                let flow = self.udp.borrow_mut().open(local, peer);
                let sent = flow.map(|flow| self.send_local(flow, transmit.message));
                if sent.is_none() {
                    self.counters.dropped_no_flow.add(1);
                    tracing::warn!(%local, %peer, "no UDP listener of this address family");
                }
            }
        }
    }

    fn send_far(&self, flow: FlowId, message: Bytes) {
        if flow.node != self.node || usize::from(flow.shard) >= self.mail.len() {
            self.counters.dropped_no_flow.add(1);
            return self.report(flow, CloseReason::NoSuchFlow);
        }
        let letter = Mail::Transmit { from: self.shard, flow, message };
        if !self.post(flow.shard, letter) {
            self.report(flow, CloseReason::MailboxFull);
        }
    }

    /// Sends on a flow of this shard. `Err`: it is gone (and nobody has been told).
    fn send_local(&self, flow: FlowId, message: Bytes) -> Result<(), CloseReason> {
        if let Some((listener, peer)) = self.udp.borrow_mut().target(flow) {
            self.send_datagram(listener, peer, message);
            return Ok(());
        }
        let outbox = self.streams.borrow().get(&flow.id).map(Rc::clone);
        let Some(outbox) = outbox.or_else(|| self.begin_dialling(flow)) else {
            self.counters.dropped_no_flow.add(1);
            return Err(CloseReason::NoSuchFlow);
        };
        if outbox.push(message) {
            self.counters.sent.add(1);
            return Ok(());
        }
        self.streams.borrow_mut().remove(&flow.id);
        outbox.end(Ending::Now(CloseReason::SlowReader));
        self.report(flow, CloseReason::SlowReader);
        Ok(())
    }

    /// The queue of a flow to a next hop whose connection is made now; `None` for other flows.
    fn begin_dialling(&self, flow: FlowId) -> Option<Rc<Outbox>> {
        if !self.dialled.borrow_mut().want(flow.id) {
            return None;
        }
        let outbox = Rc::new(Outbox::new(self.limits.write_queue_bytes));
        self.streams.borrow_mut().insert(flow.id, Rc::clone(&outbox));
        self.counters.connections.add(1);
        Some(outbox)
    }

    /// The queue of a connection.
    pub(crate) fn outbox(&self, flow: FlowId) -> Option<Rc<Outbox>> {
        self.streams.borrow().get(&flow.id).map(Rc::clone)
    }

    /// Queues a datagram until the next flush.
    pub(crate) fn send_datagram(&self, listener: usize, peer: SocketAddr, message: Bytes) {
        if let Some(Some(port)) = self.ports.get(listener) {
            port.push(peer, message, &self.counters);
        }
    }

    fn report(&self, flow: FlowId, why: CloseReason) {
        self.reports.borrow_mut().push_back((flow, why));
    }

    fn post(&self, shard: ShardId, mail: Mail) -> bool {
        let sent = self.mail.get(usize::from(shard)).is_some_and(|to| to.try_send(mail).is_ok());
        if !sent {
            self.counters.dropped_mailbox.add(1);
        }
        sent
    }
}

/// A panic of the core ends only the task it happened in; the shard would go on deaf. This raises
/// [`super::Shards::failed`], so that the server ends rather than half-runs.
pub(crate) struct Alarm<'a>(pub(crate) &'a watch::Sender<bool>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

/// Where a connection's messages come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Origin {
    pub(crate) fn received(&self, flow: FlowId, message: Bytes) -> Received {
        let Self { transport, local, peer } = *self;
        Received { flow, transport, local, peer, message }
    }
}

fn is_expulsion(why: CloseReason) -> bool {
    use CloseReason::{Dribble, Framing, SlowReader, TooLarge, Unwelcome};
    matches!(why, Dribble | Framing | SlowReader | TooLarge | Unwelcome)
}

/// The only place a shard reads the clocks.
fn clock() -> (Instant, WallTime) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    (Instant::now(), WallTime::from_millis(millis))
}
