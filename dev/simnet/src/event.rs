//! What will happen, in order of time and then of having been decided.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Instant;

use crate::packet::{Origin, Packet};
use crate::wire::Way;

/// Where a packet stands after a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The router of a realm; 0 is the internet.
    Router(usize),
    /// A host.
    Host(usize),
}

/// One thing that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A packet has crossed a link.
    Arrived { stop: Stop, packet: Packet },
    /// A stream's piece tries once more to cross a link that was down.
    Retry { wire: usize, way: Way, stop: Stop, packet: Packet, tries: u32 },
    /// A stream has been without an answer for too long.
    StreamDead { origin: Origin },
}

/// The future. Events at the same instant happen in the order they were decided.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    order: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    next: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Instant, event: Event) {
        self.order.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let Reverse((_, id)) = self.order.pop()?;
        self.events.remove(&id)
    }
}
