//! A party of a session, the caller or a branch: one leg for each stream of the call.
//!
//! Streams are told by the places of their m-lines, which are the same in every description of a
//! call (RFC 3264 §6, §8): what one m-line of the caller's offers is joined with the same m-line of
//! the branch's answer.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Instant;

use super::side::Side;
use super::subscriptions::Subscriptions;
use super::writer::Rejected;
use crate::RelayError;
use crate::api::{LegStats, Protocol};
use crate::bridge::{Bridge, Carries, LegId, SharedBridge};
use crate::config::Interface;

/// What a party did last in offer/answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It offered, and waits for our answer (or has had it).
    Offerer,
    /// It was offered to.
    Answerer,
}

/// Who a description comes from, or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Caller,
    Branch(u32),
}

/// One party.
#[derive(Debug, Default)]
pub(super) struct Party {
    pub tag: String,
    pub role: Option<Role>,
    /// The m-lines of its last offer.
    pub shape: Box<[Rejected]>,
    /// Bit `n`: the stream of m-line `n` is in its last offer.
    pub offered: u64,
    /// By the places of their m-lines. In boxes: a list has room for more than it holds, and a side
    /// is large.
    streams: Vec<Option<Box<Side>>>,
}

impl Party {
    /// Its leg of a stream.
    pub(super) fn stream(&self, index: usize) -> Option<&Side> {
        self.streams.get(index)?.as_deref()
    }

    /// Its leg of a stream, to change.
    pub(super) fn stream_mut(&mut self, index: usize) -> Option<&mut Side> {
        self.streams.get_mut(index)?.as_deref_mut()
    }

    /// Its legs in the order of their streams.
    pub(super) fn sides(&self) -> impl Iterator<Item = &Side> {
        self.streams.iter().flatten().map(|side| &**side)
    }

    pub(super) fn insert(&mut self, index: usize, side: Side) {
        if self.streams.len() <= index {
            // Most calls have one stream: no room for more.
            self.streams.reserve_exact(index + 1 - self.streams.len());
            self.streams.resize_with(index + 1, || None);
        }
        self.streams[index] = Some(Box::new(side));
    }

    pub(super) fn take(&mut self, index: usize) -> Option<Side> {
        self.streams.get_mut(index)?.take().map(|side| *side)
    }

    pub(super) fn into_sides(self) -> impl Iterator<Item = Side> {
        self.streams.into_iter().flatten().map(|side| *side)
    }

    /// Where its ports are, once it has any.
    pub(super) fn interface(&self) -> Option<usize> {
        self.sides().next().map(|side| side.interface)
    }

    /// How its media is keyed, as far as it has described itself.
    pub(super) fn spoken(&self) -> Option<Protocol> {
        self.sides().find_map(Side::spoken)
    }

    /// How its media is keyed: its sound, if it has any.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        let sound = self.sides().find(|side| side.carries() == Carries::Sound);
        sound.or_else(|| self.sides().next()).map(Side::protocol)
    }

    /// The leg of its sound.
    pub(super) fn sound(&self) -> Option<LegId> {
        self.sides().find(|side| side.carries() == Carries::Sound).map(|side| side.id)
    }

    /// The figures of its legs.
    pub(super) fn stats(
        &self,
        now: Instant,
        (branch, interfaces): (Option<u32>, &[Interface]),
        bridge: &mut Bridge,
    ) -> Vec<LegStats> {
        let stats = |side: &Side| side.stats(now, (branch, &self.tag, interfaces), bridge);
        self.sides().filter_map(stats).collect()
    }
}

/// The parties of one call. In boxes, as the sides are.
pub(super) struct Session {
    pub bridge: SharedBridge,
    pub caller: Option<Box<Party>>,
    pub branches: BTreeMap<u32, Box<Party>>,
    /// The number of its recording, while there is one.
    pub recording: Option<NonZeroU64>,
    /// Third parties; few calls have any, and sessions lie in a table.
    pub subscriptions: Option<Box<Subscriptions>>,
    next_leg: u16,
    caller_has_leg: bool,
}

impl Session {
    pub(super) fn new(bridge: SharedBridge) -> Self {
        Self {
            bridge,
            caller: None,
            branches: BTreeMap::new(),
            recording: None,
            subscriptions: None,
            next_leg: 1,
            caller_has_leg: false,
        }
    }

    /// A leg's number. None is used again: the counter is far larger than any call needs, and a
    /// session that exhausts it is refused.
    pub(super) fn new_leg(&mut self, slot: Slot) -> Option<LegId> {
        if slot == Slot::Caller && !std::mem::replace(&mut self.caller_has_leg, true) {
            return Some(LegId::CALLER);
        }
        self.next_number()
    }

    /// The number of a leg that is not the caller's.
    pub(super) fn next_number(&mut self) -> Option<LegId> {
        let leg = LegId(self.next_leg);
        self.next_leg = self.next_leg.checked_add(1)?;
        Some(leg)
    }

    /// Makes a party unless it is there; whether it is new.
    pub(super) fn ensure_party(
        &mut self,
        slot: Slot,
        branches_max: usize,
    ) -> Result<bool, RelayError> {
        let is_new = self.party(slot).is_none();
        match slot {
            Slot::Caller => drop(self.caller.get_or_insert_default()),
            Slot::Branch(_) if is_new && self.branches.len() >= branches_max => {
                return Err(RelayError::TooManyBranches(branches_max));
            }
            Slot::Branch(branch) => drop(self.branches.entry(branch).or_default()),
        }
        Ok(is_new)
    }

    pub(super) fn party(&self, slot: Slot) -> Option<&Party> {
        match slot {
            Slot::Caller => self.caller.as_deref(),
            Slot::Branch(branch) => self.branches.get(&branch).map(|party| &**party),
        }
    }

    pub(super) fn party_mut(&mut self, slot: Slot) -> Option<&mut Party> {
        match slot {
            Slot::Caller => self.caller.as_deref_mut(),
            Slot::Branch(branch) => self.branches.get_mut(&branch).map(|party| &mut **party),
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Party>> {
        match slot {
            Slot::Caller => self.caller.take(),
            Slot::Branch(branch) => self.branches.remove(&branch),
        }
    }

    /// Takes a stream out that a branch does not have (any more): its leg, and the caller's unless
    /// another branch has it.
    pub(super) fn take_stream(&mut self, branch: u32, index: usize) -> Vec<Side> {
        let own = self.branches.get_mut(&branch).and_then(|party| party.take(index));
        let mut gone: Vec<Side> = own.into_iter().collect();
        if self.branches.values().all(|party| party.stream(index).is_none()) {
            gone.extend(self.caller.as_mut().and_then(|party| party.take(index)));
        }
        gone
    }

    /// Takes the caller's legs out that none of the branches needs any more.
    pub(super) fn take_unused(&mut self) -> Vec<Side> {
        let Some(caller) = &mut self.caller else { return Vec::new() };
        if self.branches.is_empty() {
            // The next branch will want what these had.
            return Vec::new();
        }
        let used = |index| self.branches.values().any(|party| party.stream(index).is_some());
        let unused = (0..caller.streams.len()).filter(|index| !used(*index));
        unused.filter_map(|index| caller.take(index)).collect()
    }
}
