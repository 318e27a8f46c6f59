//! [`Layer`]: its parts, its timers, and how a machine's step becomes outputs.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sansio::{Entropy, FlowId};

use super::machine::{ClientEvent, Fault, Send, ServerEvent, Step, Timing};
use super::table::{Entry, Machine, Table};
use super::wheel::Wheel;
use super::{ClientKey, Config, Ending, Output, ServerKey, TransactionKey, compose};
use crate::Message;

/// The transaction layer of one shard or one phone. See the [module](super).
pub struct Layer {
    pub(super) config: Config,
    /// Salt of the hashes and of the layer's own To tags.
    pub(super) salt: u64,
    pub(super) table: Table,
    pub(super) outputs: VecDeque<Output>,
    pub(super) stats: Stats,
    /// Where wire keys are written to be looked up.
    pub(super) scratch: Vec<u8>,
    wheel: Wheel,
}

/// Messages carry personal data: only numbers are shown.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("clients", &self.table.clients())
            .field("servers", &self.table.servers())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

/// What a [`Layer`] counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Messages sent again by Timers A, E, G or because their cause came again.
    pub retransmitted: u64,
    /// Messages that came again and were absorbed.
    pub absorbed: u64,
    /// Requests refused with 503 at [`Limits::servers_max`](super::Limits::servers_max).
    pub refused: u64,
    /// Messages without what a transaction key needs, dropped.
    pub unmatchable: u64,
}

/// Something that happens to a transaction, with what it carries.
pub(super) struct Happening {
    pub(super) step: Step,
    /// Goes up if the step says so.
    pub(super) up: Option<Output>,
    /// The response that came or is to be sent.
    pub(super) response: Option<Message>,
}

impl From<Step> for Happening {
    fn from(step: Step) -> Self {
        Self { step, up: None, response: None }
    }
}

impl Layer {
    /// An empty layer. Entropy is drawn once, for the salt of its hashes and To tags.
    pub fn new(config: Config, entropy: &mut dyn Entropy) -> Self {
        Self {
            config,
            salt: entropy.next_u64(),
            table: Table::default(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
            scratch: Vec::with_capacity(128),
            wheel: Wheel::new(),
        }
    }

    /// Fires every timer due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(slot) = self.wheel.pop_due(now) {
            while let Some(timer) = self.table.entry_mut(slot).and_then(|e| e.take_due(now)) {
                let step = match self.table.entry(slot).is_some_and(|e| e.machine.is_client()) {
                    true => self.step_client(slot, ClientEvent::Timer(timer)),
                    false => self.step_server(slot, ServerEvent::Timer(timer)),
                };
                let Some(step) = step else { break };
                self.run(now, slot, step.into());
            }
            self.schedule(now, slot);
        }
    }

    /// The flow is gone: client transactions without a final fail with [`Output::FlowFailed`].
    /// Server transactions live on; [`Layer::reroute`] can give them another flow.
    pub fn handle_flow_failed(&mut self, now: Instant, flow: FlowId) {
        for slot in self.table.on_flow(flow) {
            if let Some(step) = self.step_client(slot, ClientEvent::FlowFailed) {
                self.run(now, slot, step.into());
            }
        }
    }

    /// The next thing to do. Drain it after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Layer::handle_timeout`]. It may be early, never late.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// How many transactions live, client and server.
    pub fn len(&self) -> usize {
        self.table.clients() + self.table.servers()
    }

    /// Whether no transaction lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Files a new transaction and does its first step.
    pub(super) fn start(&mut self, now: Instant, entry: Entry, first: Happening) -> u32 {
        let slot = self.table.insert(entry);
        self.run(now, slot, first);
        slot
    }

    /// Does what a machine asked for: send, pass up, timers, faults, end; in this order.
    pub(super) fn run(&mut self, now: Instant, slot: u32, happening: Happening) {
        let Happening { step, up, response } = happening;
        if let Some(what) = step.send {
            self.transmit(slot, what, response);
        } else if step == Step::NONE {
            self.stats.absorbed += 1;
        }
        if step.pass {
            self.outputs.extend(up);
        }
        if let Some(entry) = self.table.entry_mut(slot) {
            if step.clear {
                (entry.pace, entry.end) = (None, None);
                if !entry.machine.may_send_again() {
                    entry.kept = Bytes::new();
                }
            }
            for timer in step.pace.into_iter().chain(step.end) {
                entry.arm(now, timer);
            }
        }
        if step.terminated {
            self.finish(slot, step.fault);
        } else {
            self.schedule(now, slot);
        }
    }

    pub(super) fn timing(&self, reliable: bool) -> Timing {
        let Config { t1, t2, t4, invite_silence_max: silence, .. } = self.config;
        // A timer of zero would fire for ever at the same instant.
        let t1 = t1.max(Duration::from_millis(1));
        Timing { t1, t2: t2.max(t1), t4, silence, reliable }
    }

    pub(super) fn auto_trying(&self) -> Option<Duration> {
        self.config.auto_trying_ms.map(Duration::from_millis)
    }

    pub(super) fn step_client(&mut self, slot: u32, event: ClientEvent) -> Option<Step> {
        match self.timing_and_machine(slot)? {
            (timing, Machine::ClientInvite(m)) => Some(m.handle(event, &timing)),
            (timing, Machine::Client(m)) => Some(m.handle(event, &timing)),
            _ => None,
        }
    }

    pub(super) fn step_server(&mut self, slot: u32, event: ServerEvent) -> Option<Step> {
        match self.timing_and_machine(slot)? {
            (timing, Machine::ServerInvite(m)) => Some(m.handle(event, &timing)),
            (timing, Machine::Server(m)) => Some(m.handle(event, &timing)),
            _ => None,
        }
    }

    pub(super) fn client_key(&self, slot: u32) -> ClientKey {
        ClientKey(self.table.handle(slot))
    }

    pub(super) fn server_key(&self, slot: u32) -> ServerKey {
        ServerKey(self.table.handle(slot))
    }

    /// Moves the slot's place in the wheel to its earlier timer.
    pub(super) fn schedule(&mut self, now: Instant, slot: u32) {
        match self.table.entry(slot).and_then(Entry::deadline) {
            Some(at) => self.wheel.set(now, slot, at),
            None => self.wheel.clear(slot),
        }
    }

    fn timing_and_machine(&mut self, slot: u32) -> Option<(Timing, &mut Machine)> {
        let reliable = self.table.entry(slot)?.transport.is_reliable();
        let timing = self.timing(reliable);
        Some((timing, &mut self.table.entry_mut(slot)?.machine))
    }

    fn transmit(&mut self, slot: u32, what: Send, response: Option<Message>) {
        let Some(entry) = self.table.entry_mut(slot) else { return };
        let message = match (what, response) {
            // An INVITE that came again before anything was sent has nothing to get again.
            (Send::Again, _) if !entry.machine.is_client() && !entry.answered => {
                self.stats.absorbed += 1;
                return;
            }
            (Send::Again, _) => {
                self.stats.retransmitted += 1;
                entry.kept.clone()
            }
            (Send::Through, Some(response)) => response.bytes().clone(),
            (Send::Response, Some(response)) => response.bytes().clone(),
            (Send::Ack, Some(response)) => {
                let invite = Message::parse(entry.kept.clone()).ok();
                let ack = invite.and_then(|invite| compose::ack(&invite, &response));
                let Some(ack) = ack else { return };
                ack.bytes().clone()
            }
            (Send::Trying, _) => match Message::parse(entry.kept.clone()) {
                Ok(invite) => compose::trying(&invite).bytes().clone(),
                Err(_) => return,
            },
            (_, None) => return,
        };
        if what != Send::Through {
            entry.kept = message.clone();
            entry.answered = !entry.machine.is_client();
        }
        let (flow, transport) = (entry.flow, entry.transport);
        self.outputs.push_back(Output::Transmit { flow, transport, message });
    }

    fn finish(&mut self, slot: u32, fault: Option<Fault>) {
        self.wheel.clear(slot);
        let Some(entry) = self.table.entry(slot) else { return };
        let (is_client, internal) = (entry.machine.is_client(), entry.internal);
        let client = self.client_key(slot);
        let key = match is_client {
            true => TransactionKey::Client(client),
            false => TransactionKey::Server(self.server_key(slot)),
        };
        self.table.remove(slot);
        if internal {
            return;
        }
        let ending = match fault {
            None => Ending::Normal,
            Some(Fault::TimedOut) => Ending::TimedOut,
            Some(Fault::FlowFailed) => Ending::FlowFailed,
            Some(Fault::NoAck) => Ending::NoAck,
            Some(Fault::NoAnswer) => Ending::NoAnswer,
        };
        match ending {
            Ending::TimedOut => self.outputs.push_back(Output::TimedOut { key: client }),
            Ending::FlowFailed => self.outputs.push_back(Output::FlowFailed { key: client }),
            _ => {}
        }
        self.outputs.push_back(Output::Terminated { key, ending });
    }
}
