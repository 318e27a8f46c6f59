//! Where transactions live: slots with generations, found by wire key, by flow, or as the first of
//! possibly merged requests.

use std::num::NonZeroU32;
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
    /// The client transaction each flow sent last; those before it follow by [`Entry::before`].
    by_flow: HashMap<FlowId, u32>,
    merged: HashMap<u64, u32>,
    clients: usize,
}

impl Table {
    pub(super) fn insert(&mut self, mut entry: Entry) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            (self.slots.len() - 1) as u32
        });
        self.index.insert(entry.wire_key.clone(), slot);
        if entry.machine.is_client() {
            self.clients += 1;
            entry.before = Link::to(self.by_flow.insert(entry.flow, slot));
            if let Some(before) = entry.before.slot().and_then(|before| self.entry_mut(before)) {
                before.after = Link::to(Some(slot));
            }
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
            self.leave_flow(&entry);
        }
        if let Some(merge) = entry.merge
            && self.merged.get(&merge) == Some(&slot)
        {
            self.merged.remove(&merge);
        }
    }

    /// Closes the gap a client transaction leaves among those of its flow.
    fn leave_flow(&mut self, entry: &Entry) {
        if let Some(before) = entry.before.slot().and_then(|before| self.entry_mut(before)) {
            before.after = entry.after;
        }
        match (entry.after.slot(), entry.before.slot()) {
            (Some(after), _) => {
                if let Some(after) = self.entry_mut(after) {
                    after.before = entry.before;
                }
            }
            (None, Some(before)) => {
                self.by_flow.insert(entry.flow, before);
            }
            (None, None) => {
                self.by_flow.remove(&entry.flow);
            }
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

    /// The client transactions that were sent by `flow`, the first one first.
    pub(super) fn on_flow(&self, flow: FlowId) -> Vec<u32> {
        let last = self.by_flow.get(&flow).copied();
        let before = |slot: &u32| self.entry(*slot)?.before.slot();
        let mut slots: Vec<u32> = std::iter::successors(last, before).collect();
        slots.reverse();
        slots
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
    /// The neighbours among the client transactions of its flow.
    before: Link,
    after: Link,
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
            before: Link::default(),
            after: Link::default(),
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

/// A slot, or none, in four bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Link(Option<NonZeroU32>);

impl Link {
    fn to(slot: Option<u32>) -> Self {
        Self(slot.and_then(|slot| NonZeroU32::new(slot.wrapping_add(1))))
    }

    fn slot(self) -> Option<u32> {
        self.0.map(|number| number.get() - 1)
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

    /// Whether what was sent may have to be sent again, or looked at. What a client transaction sent
    /// is done with once its final has come, and it waits on for a long time.
    pub(super) fn may_send_again(&self) -> bool {
        use super::{client, client_invite};
        match self {
            Self::ClientInvite(m) => m.state != client_invite::State::Accepted,
            Self::Client(m) => m.state != client::State::Completed,
            Self::ServerInvite(_) | Self::Server(_) => true,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::machine::Timing;

    fn client(flow: u64, name: u32) -> Entry {
        let ms = Duration::from_millis;
        let timing = Timing { t1: ms(1), t2: ms(1), t4: ms(1), silence: ms(1), reliable: false };
        let flow = FlowId { node: 0, shard: 0, id: flow };
        let machine = Machine::Client(Client::start(&timing).0);
        Entry::new(&name.to_be_bytes(), machine, (flow, Transport::Udp), Bytes::new())
    }

    /// In any order of ends, what is left of a flow is what was begun on it, oldest first.
    #[test]
    fn the_transactions_of_a_flow_are_known_whichever_ends_first() {
        for remove in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            let mut table = Table::default();
            let mut slots: Vec<u32> = (0..4).map(|n| table.insert(client(7, n))).collect();
            let other = table.insert(client(8, 9));
            let flow = |id| FlowId { node: 0, shard: 0, id };
            let order = slots.clone();
            for at in remove {
                assert_eq!(table.on_flow(flow(7)), slots);
                table.remove(order[at]);
                slots.retain(|slot| *slot != order[at]);
            }
            assert!(table.on_flow(flow(7)).is_empty());
            assert_eq!((table.on_flow(flow(8)), table.by_flow.len()), (vec![other], 1));
        }
    }
}
