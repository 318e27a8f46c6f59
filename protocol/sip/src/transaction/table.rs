//! Where transactions live: slots with generations, found by wire key, by flow, or as the first of
//! possibly merged requests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use foldhash::HashMap;
use sansio::{FlowId, Transport};

use super::client::Client;
use super::client_invite::ClientInvite;
use super::machine::Timer;
use super::server::Server;
use super::server_invite::ServerInvite;

/// Every transaction of a layer.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: HashMap<Arc<[u8]>, u32>,
    by_flow: BTreeSet<(FlowId, u32)>,
    merged: HashMap<u64, u32>,
    clients: usize,
}

impl Table {
    pub(super) fn insert(&mut self, entry: Entry) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            (self.slots.len() - 1) as u32
        });
        self.index.insert(entry.wire_key.clone(), slot);
        if entry.machine.is_client() {
            self.clients += 1;
            self.by_flow.insert((entry.flow, slot));
        }
        if let Some(merge) = entry.merge {
            let first = *self.merged.entry(merge).or_insert(slot);
            if first != slot && self.is_refused(first) {
                self.merged.insert(merge, slot);
            }
        }
        self.slots[slot as usize].entry = Some(entry);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        let Some(entry) = place.entry.take() else { return };
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        self.index.remove(&entry.wire_key);
        if entry.machine.is_client() {
            self.clients -= 1;
            self.by_flow.remove(&(entry.flow, slot));
        }
        if let Some(merge) = entry.merge
            && self.merged.get(&merge) == Some(&slot)
        {
            self.merged.remove(&merge);
        }
    }

    /// Whether an INVITE was answered with a failure. What comes after that is another try by a
    /// proxy that heard of it, such as one with plain RTP after a 488, and no copy of the first.
    fn is_refused(&self, slot: u32) -> bool {
        use super::server_invite::State;
        let machine = self.entry(slot).map(|entry| entry.machine);
        matches!(machine, Some(Machine::ServerInvite(m))
            if matches!(m.state, State::Completed(_) | State::Confirmed))
    }

    pub(super) fn find(&self, wire_key: &[u8]) -> Option<u32> {
        self.index.get(wire_key).copied()
    }

    pub(super) fn entry(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.entry.as_ref()
    }

    pub(super) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.entry.as_mut()
    }

    /// The public handle of an occupied slot.
    pub(super) fn handle(&self, slot: u32) -> u64 {
        u64::from(self.slots[slot as usize].generation) << 32 | u64::from(slot)
    }

    /// The slot of a handle, if that transaction still lives.
    pub(super) fn resolve(&self, handle: u64) -> Option<u32> {
        let slot = handle as u32;
        let place = self.slots.get(slot as usize)?;
        (place.generation == (handle >> 32) as u32 && place.entry.is_some()).then_some(slot)
    }

    /// The client transactions that were sent by `flow`.
    pub(super) fn on_flow(&self, flow: FlowId) -> Vec<u32> {
        self.by_flow.range((flow, 0)..=(flow, u32::MAX)).map(|(_, slot)| *slot).collect()
    }

    /// The first living server transaction with this merge hash.
    pub(super) fn first_merged(&self, merge: u64) -> Option<u32> {
        self.merged.get(&merge).copied()
    }

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    pub(super) fn servers(&self) -> usize {
        self.index.len() - self.clients
    }
}

/// One transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) wire_key: Arc<[u8]>,
    /// Hash of what merged requests have in common (RFC 3261 §8.2.2.2).
    pub(super) merge: Option<u64>,
    pub(super) machine: Machine,
    pub(super) flow: FlowId,
    pub(super) transport: Transport,
    /// What `Again` sends. On the server side it is the request until a response was sent.
    pub(super) kept: Bytes,
    /// A response was sent (server side).
    pub(super) answered: bool,
    /// The layer's own CANCEL: nobody above knows it.
    pub(super) internal: bool,
    pub(super) cancel: Cancel,
    pub(super) pace: Option<(Timer, Instant)>,
    pub(super) end: Option<(Timer, Instant)>,
}

impl Entry {
    pub(super) fn new(
        wire_key: &[u8],
        machine: Machine,
        via: (FlowId, Transport),
        kept: Bytes,
    ) -> Self {
        Self {
            wire_key: wire_key.into(),
            merge: None,
            machine,
            flow: via.0,
            transport: via.1,
            kept,
            answered: false,
            internal: false,
            cancel: Cancel::Unasked,
            pace: None,
            end: None,
        }
    }

    /// Arms a timer, in the place its kind has.
    pub(super) fn arm(&mut self, now: Instant, (timer, after): (Timer, Duration)) {
        let armed = Some((timer, now + after));
        if timer.is_pacing() {
            self.pace = armed;
        } else {
            self.end = armed;
        }
    }

    /// When the earlier of its timers fires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pace.into_iter().chain(self.end).map(|(_, at)| at).min()
    }

    /// Takes a timer that is due. The one that ends a state goes first: what it ends need not be
    /// sent again.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        for armed in [&mut self.end, &mut self.pace] {
            if let Some((timer, _)) = armed.take_if(|(_, at)| *at <= now) {
                return Some(timer);
            }
        }
        None
    }
}

/// One of the four machines of RFC 3261 §17.
#[derive(Debug, Clone, Copy)]
pub(super) enum Machine {
    ClientInvite(ClientInvite),
    Client(Client),
    ServerInvite(ServerInvite),
    Server(Server),
}

impl Machine {
    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::ClientInvite(_) | Self::Client(_))
    }
}

/// How far cancelling an INVITE has come (RFC 3261 §9.1).
#[derive(Debug)]
pub(super) enum Cancel {
    Unasked,
    /// Asked for, with the Reason to give; waits for a provisional.
    Waiting(Option<Box<str>>),
    Sent,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}
