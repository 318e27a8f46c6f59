//! A hierarchical timing wheel: one deadline per transaction slot, O(1) to set, move and clear.
//!
//! ```text
//! level 0   64 slots of   1 ms      the next 64 ms, exact
//! level 1   64 slots of  64 ms      the next 4 s
//! level 2   64 slots of   4 s       the next 4 min      ... seven levels, some 139 years
//! ```
//! A deadline sits on the level of the highest bit in which it differs from the wheel's time, and
//! falls to lower levels as time comes near. Lists are intrusive (slot numbers), so setting a timer
//! allocates nothing. Deadlines are rounded up to a whole millisecond after the wheel's first
//! instant; nothing ever fires early.

use std::time::{Duration, Instant};

const LEVELS: usize = 7;
const SLOTS: usize = 64;
const NIL: u32 = u32::MAX;
/// Place of a node that is not armed.
const IDLE: u16 = u16::MAX;
/// Place of a node whose deadline has been reached but which has not been popped.
const DUE: u16 = (LEVELS * SLOTS) as u16;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Wheel {
    origin: Option<Instant>,
    /// Milliseconds since `origin` up to which every slot has been emptied.
    elapsed: u64,
    occupied: [u64; LEVELS],
    /// First and last node of each slot's list; the extra one is the due list.
    lists: Box<[List; LEVELS * SLOTS + 1]>,
    nodes: Vec<Node>,
    armed: usize,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self {
            origin: None,
            elapsed: 0,
            occupied: [0; LEVELS],
            lists: Box::new([List { first: NIL, last: NIL }; LEVELS * SLOTS + 1]),
            nodes: Vec::new(),
            armed: 0,
        }
    }

    /// Arms `slot` for `at`, replacing its former deadline.
    pub(super) fn set(&mut self, now: Instant, slot: u32, at: Instant) {
        let origin = *self.origin.get_or_insert(now);
        self.clear(slot);
        let index = slot as usize;
        if self.nodes.len() <= index {
            self.nodes.resize(index + 1, Node::idle());
        }
        let at = at.saturating_duration_since(origin);
        self.nodes[index].at = ticks_up(at);
        self.link(slot);
        self.armed += 1;
    }

    /// Disarms `slot`.
    pub(super) fn clear(&mut self, slot: u32) {
        if self.nodes.get(slot as usize).is_some_and(|n| n.place != IDLE) {
            self.unlink(slot);
            self.armed -= 1;
        }
    }

    /// When to call [`Self::pop_due`] next. Never late; it may be early by less than one slot of
    /// the level a distant deadline sits on, in which case nothing is due yet.
    pub(super) fn next(&self) -> Option<Instant> {
        let origin = self.origin?;
        if self.lists[DUE as usize].first != NIL {
            return Some(origin + Duration::from_millis(self.elapsed));
        }
        self.next_slot().map(|(_, _, tick)| origin + Duration::from_millis(tick))
    }

    /// Takes one slot whose deadline is not after `now`, earliest first.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let target = ticks_down(now.saturating_duration_since(self.origin?));
        loop {
            let first = self.lists[DUE as usize].first;
            if first != NIL {
                self.unlink(first);
                self.armed -= 1;
                return Some(first);
            }
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= target => self.empty_slot(level, slot, tick),
                _ => {
                    self.elapsed = self.elapsed.max(target);
                    return None;
                }
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.armed
    }

    /// The earliest occupied slot: level, slot, and the tick at which it must be emptied.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = 6 * level as u32;
            let here = (self.elapsed >> shift) & 63;
            // Deadlines of a level lie in the same turn of that level, at or after `here`.
            let slot = u64::from((self.occupied[level] >> here).trailing_zeros()) + here;
            debug_assert!(slot < 64, "a slot behind the wheel's time is occupied");
            let turn = self.elapsed >> (shift + 6) << (shift + 6);
            return Some((level, slot as usize, turn + (slot << shift)));
        }
        None
    }

    /// Moves the wheel to `tick` and spreads what waits in that slot over the lower levels.
    fn empty_slot(&mut self, level: usize, slot: usize, tick: u64) {
        self.elapsed = self.elapsed.max(tick);
        let list = level * SLOTS + slot;
        while self.lists[list].first != NIL {
            let node = self.lists[list].first;
            self.unlink(node);
            self.link(node);
        }
    }

    fn place_of(&self, at: u64) -> u16 {
        if at <= self.elapsed {
            return DUE;
        }
        let level = ((63 - (at ^ self.elapsed).leading_zeros()) / 6).min(LEVELS as u32 - 1);
        (level * SLOTS as u32) as u16 + ((at >> (6 * level)) & 63) as u16
    }

    fn link(&mut self, slot: u32) {
        let place = self.place_of(self.nodes[slot as usize].at);
        let last = self.lists[place as usize].last;
        let node = &mut self.nodes[slot as usize];
        (node.place, node.prev, node.next) = (place, last, NIL);
        match last {
            NIL => self.lists[place as usize].first = slot,
            last => self.nodes[last as usize].next = slot,
        }
        self.lists[place as usize].last = slot;
        if place != DUE {
            self.occupied[place as usize / SLOTS] |= 1 << (place as usize % SLOTS);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Node { place, prev, next, .. } = self.nodes[slot as usize];
        match prev {
            NIL => self.lists[place as usize].first = next,
            prev => self.nodes[prev as usize].next = next,
        }
        match next {
            NIL => self.lists[place as usize].last = prev,
            next => self.nodes[next as usize].prev = prev,
        }
        if place != DUE && self.lists[place as usize].first == NIL {
            self.occupied[place as usize / SLOTS] &= !(1 << (place as usize % SLOTS));
        }
        self.nodes[slot as usize].place = IDLE;
    }
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    at: u64,
    prev: u32,
    next: u32,
    place: u16,
}

impl Node {
    fn idle() -> Self {
        Self { at: 0, prev: NIL, next: NIL, place: IDLE }
    }
}

/// The longest delay the top level holds without wrapping.
const MAX_TICK: u64 = (1 << (6 * LEVELS as u32)) - 1;

fn ticks_down(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(MAX_TICK).min(MAX_TICK)
}

fn ticks_up(d: Duration) -> u64 {
    u64::try_from(d.as_nanos().div_ceil(1_000_000)).unwrap_or(MAX_TICK).min(MAX_TICK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn deadlines_fire_on_the_millisecond_and_in_order() {
        let t0 = sansio::testing::epoch();
        let mut wheel = Wheel::new();
        for (slot, at) in [(0, 32_000), (1, 500), (2, 63), (3, 64), (4, 4096), (5, 4095)] {
            wheel.set(t0, slot, t0 + ms(at));
        }
        wheel.set(t0, 9, t0 + ms(7));
        wheel.clear(9);
        let mut fired = Vec::new();
        while let Some(at) = wheel.next() {
            while let Some(slot) = wheel.pop_due(at) {
                fired.push((slot, (at - t0).as_millis()));
            }
        }
        assert_eq!(fired, [(2, 63), (3, 64), (1, 500), (5, 4095), (4, 4096), (0, 32_000)]);
        assert_eq!(wheel.len(), 0);
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(ops in prop::collection::vec((0_u32..40, 0_u64..400_000, 0_u64..9_000, 0_u8..4), 1..200)) {
            let t0 = sansio::testing::epoch();
            let mut now = t0;
            let mut wheel = Wheel::new();
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (slot, delay_us, step, what) in ops {
                match what {
                    0 => {
                        now += ms(step);
                        let mut fired = Vec::new();
                        while let Some(slot) = wheel.pop_due(now) {
                            fired.push(slot);
                        }
                        fired.sort_unstable();
                        // Rounded up to the millisecond, so compare on whole ticks.
                        let tick = |at: Instant| t0 + ms(ticks_up(at - t0));
                        let due: Vec<u32> =
                            model.iter().filter(|(_, at)| tick(**at) <= now).map(|(s, _)| *s).collect();
                        prop_assert_eq!(&fired, &due);
                        model.retain(|_, at| tick(*at) > now);
                    }
                    1 => {
                        wheel.clear(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        let at = now + Duration::from_micros(delay_us * 17);
                        wheel.set(now, slot, at);
                        model.insert(slot, at);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                if let (Some(next), Some(first)) = (wheel.next(), model.values().min()) {
                    prop_assert!(next <= *first + ms(1));
                }
                prop_assert_eq!(wheel.next().is_some(), !model.is_empty());
            }
        }
    }
}
