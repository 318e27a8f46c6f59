//! The control core: sessions, legs and the descriptions that pass. Sans-IO: ports come from a
//! [`Ports`], randomness from an [`Entropy`], time is an argument; packets are the [`Bridge`]'s.
//!
//! ```text
//!   session ─┬─ caller's leg      one pair of ports, one set of keys and ICE credentials
//!            └─ branch 1..n       the same, one per forked branch
//!
//!   offer  caller → branch:  read caller's facts (kept until the answer), write branch's leg
//!   answer branch → caller:  apply both sides' facts, join the legs, write caller's leg
//! ```
//!
//! Every command can be repeated: a leg that exists keeps its ports, keys and credentials.

mod codecs;
mod digits;
mod facts;
mod playing;
mod recording;
mod side;
mod subscriptions;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use media::keying::dtls::Certificate;
use sansio::Entropy;
use sdp::Session as Sdp;

use crate::api::{Description, Direction, LegProfile, Protocol, SessionId, SessionStats};
pub use crate::bridge::MediaSwitch;
use crate::bridge::{Bridge, LegId, PayloadType};
use crate::ports::{PortOwner, Ports, SharedBridge};
use crate::{Config, RelayError};
use facts::Facts;
use side::{Role, Side};
use subscriptions::Subscriptions;
pub use subscriptions::{LISTENERS_MAX, Wanted};

/// A character of a token is worth five bits.
const TOKEN_LEN: usize = 26;

/// The sessions of one relay.
pub struct Control<P> {
    config: Config,
    ports: P,
    certificate: Certificate,
    entropy: Box<dyn Entropy + Send>,
    sessions: HashMap<SessionId, Session>,
}

impl<P: Ports> Control<P> {
    /// A relay without sessions. One certificate serves all its DTLS legs.
    pub fn new(
        config: Config,
        ports: P,
        certificate: Certificate,
        entropy: Box<dyn Entropy + Send>,
    ) -> Self {
        Self { config, ports, certificate, entropy, sessions: HashMap::new() }
    }

    /// Takes an offer from one side and writes the one for the other.
    ///
    /// # Errors
    /// See [`RelayError`]. Ports that were opened for the refused offer are closed again.
    pub fn offer(&mut self, now: Instant, d: &Description) -> Result<Bytes, RelayError> {
        let sdp = Sdp::parse(&d.sdp)?;
        let facts = Facts::read(&sdp)?;
        let is_new = !self.sessions.contains_key(&d.session);
        self.open_session(d.session)?;
        let written = self.relay_offer(now, d, sdp, facts);
        if written.is_err() && is_new {
            self.delete(now, d.session, None);
        }
        written
    }

    /// Takes the answer to the last offer between these two sides, joins them, and writes the
    /// answer for the side that offered.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn answer(&mut self, now: Instant, d: &Description) -> Result<Bytes, RelayError> {
        let mut sdp = Sdp::parse(&d.sdp)?;
        let session = self.sessions.get_mut(&d.session).ok_or(RelayError::NoOffer)?;
        let mut bridge = session.bridge.lock();
        let caller = session.caller.as_mut().ok_or(RelayError::NoOffer)?;
        let branch = session.branches.get_mut(&d.branch).ok_or(RelayError::NoOffer)?;
        let branch_leg = branch.id;
        let (from, to) = match d.direction {
            Direction::FromCaller => (caller, branch),
            Direction::FromCallee => (branch, caller),
        };
        if to.role != Some(Role::Offerer) {
            return Err(RelayError::NoOffer);
        }
        d.tag.clone_into(&mut from.tag);
        let facts = match Facts::read(&sdp) {
            Ok(facts) => facts,
            // All streams rejected: a legal answer, nothing to join.
            Err(RelayError::NoAudio) => {
                return Ok(writer::write(sdp, None, &to.answer_face(&self.certificate)).into());
            }
            Err(error) => return Err(error),
        };
        let agreement = from.agree(&mut sdp.media_mut()[facts.index])?;
        from.apply_answer(now, &facts, d.signalled_from, &mut bridge)?;
        let certificate = &self.certificate;
        let muxes = from.muxes();
        to.apply_offer(
            side::Kit { now, certificate, bridge: &mut bridge },
            &d.toward.dialect,
            muxes,
        )?;
        match agreement {
            Some(agreement) => {
                agreement.apply((from.id, to.id), &mut bridge, &mut *self.entropy)?
            }
            None => {
                let payloads: Arc<[PayloadType]> = to.agreed_payloads(&facts).into();
                for leg in [from.id, to.id] {
                    if let Some(leg) = bridge.leg_mut(leg) {
                        leg.set_payloads(Arc::clone(&payloads));
                    }
                }
                bridge.forward_as_it_comes();
            }
        }
        bridge.select(now, branch_leg);
        Ok(writer::write(sdp, Some(facts.index), &to.answer_face(&self.certificate)).into())
    }

    /// Ends a session, or one branch of it; its last figures. `None` if there is none.
    pub fn delete(
        &mut self,
        now: Instant,
        id: SessionId,
        branch: Option<u32>,
    ) -> Option<SessionStats> {
        let stats = self.query(now, id)?;
        let session = self.sessions.get_mut(&id)?;
        let listeners = session.end_subscriptions(branch);
        let gone: Vec<Box<Side>> = match branch {
            Some(branch) => session.branches.remove(&branch).into_iter().collect(),
            None => {
                let branches = std::mem::take(&mut session.branches);
                session.caller.take().into_iter().chain(branches.into_values()).collect()
            }
        };
        let bridge = session.bridge.clone();
        if branch.is_none() {
            self.sessions.remove(&id);
        }
        for side in gone.into_iter().map(|side| *side).chain(listeners) {
            bridge.lock().remove_leg(side.id);
            self.ports.close(side.interface, side.addr.port());
        }
        if branch.is_none() {
            self.ports.leave(id);
        }
        Some(stats)
    }

    /// A session's figures so far.
    pub fn query(&self, now: Instant, id: SessionId) -> Option<SessionStats> {
        let session = self.sessions.get(&id)?;
        let mut bridge = session.bridge.look();
        let caller = session.caller.iter().map(|side| (None, side));
        let branches = session.branches.iter().map(|(branch, side)| (Some(*branch), side));
        let legs = caller.chain(branches);
        let legs = legs.filter_map(|(branch, side)| side.stats(now, branch, &mut bridge)).collect();
        Some(SessionStats { session: id, answered: bridge.selected().is_some(), legs })
    }

    /// Turns something a party sends off or on again: the caller as `None`, or a branch. False if
    /// there is no such party.
    pub fn switch(
        &mut self,
        id: SessionId,
        branch: Option<u32>,
        switch: MediaSwitch,
        on: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let slot = branch.map_or(Slot::Caller, Slot::Branch);
        let Some(leg) = session.side_mut(slot).map(|side| side.id) else { return false };
        let mut bridge = session.bridge.lock();
        let Some(leg) = bridge.leg_mut(leg) else { return false };
        leg.gate.set(switch, on);
        true
    }

    /// How a party's media is keyed: the caller's as `None`, or a branch's.
    pub fn protocol_of(&self, id: SessionId, branch: Option<u32>) -> Option<Protocol> {
        let session = self.sessions.get(&id)?;
        match branch {
            None => session.caller.as_ref().map(|side| side.protocol()),
            Some(branch) => session.branches.get(&branch).map(|side| side.protocol()),
        }
    }

    /// A name for something new that nobody guesses.
    pub fn token(&mut self) -> String {
        self.entropy.token(TOKEN_LEN)
    }

    /// Sessions open.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is open.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The source of ports.
    pub fn ports(&self) -> &P {
        &self.ports
    }

    /// A session's packet path.
    pub fn bridge(&self, id: SessionId) -> Option<SharedBridge> {
        self.sessions.get(&id).map(|s| s.bridge.clone())
    }

    /// The branch a leg serves; `None` inside for the caller's.
    pub fn branch_of(&self, id: SessionId, leg: LegId) -> Option<Option<u32>> {
        let session = self.sessions.get(&id)?;
        if leg == LegId::CALLER {
            return Some(None);
        }
        session.branches.iter().find(|(_, side)| side.id == leg).map(|(branch, _)| Some(*branch))
    }

    fn open_session(&mut self, id: SessionId) -> Result<(), RelayError> {
        if !self.sessions.contains_key(&id) {
            if self.sessions.len() >= self.config.sessions_max {
                return Err(RelayError::TooManySessions(self.config.sessions_max));
            }
            let bridge = Bridge::new(self.config.silence());
            let bridge = self.ports.home(id).keep(id, bridge);
            self.sessions.insert(id, Session::new(bridge));
        }
        Ok(())
    }

    fn relay_offer(
        &mut self,
        now: Instant,
        d: &Description,
        mut sdp: Sdp,
        facts: Facts,
    ) -> Result<Bytes, RelayError> {
        let (from_slot, to_slot) = match d.direction {
            Direction::FromCaller => (Slot::Caller, Slot::Branch(d.branch)),
            Direction::FromCallee => (Slot::Branch(d.branch), Slot::Caller),
        };
        self.ensure_side(d.session, from_slot, &d.from)?;
        if let Err(error) = self.ensure_side(d.session, to_slot, &d.toward) {
            self.close_unused(d.session, from_slot);
            return Err(error);
        }
        let Some(session) = self.sessions.get_mut(&d.session) else {
            return Err(RelayError::NoOffer);
        };
        let shared = session.bridge.clone();
        let mut bridge = shared.lock();
        let index = facts.index;
        let shape = writer::Rejected::shape_of(&sdp);
        let media = &mut sdp.media_mut()[index];
        let offered = codecs::write_offer(media, &d.from.codecs, &d.toward.codecs)?;
        let from = session.side_mut(from_slot).ok_or(RelayError::NoOffer)?;
        d.tag.clone_into(&mut from.tag);
        let kit = side::Kit { now, certificate: &self.certificate, bridge: &mut bridge };
        let sender = (d.signalled_from, &d.from.dialect);
        from.take_offer(facts, shape, sender, kit, &mut *self.entropy)?;
        let transport = from.offered();
        let to = session.side_mut(to_slot).ok_or(RelayError::NoOffer)?;
        let kit = side::Kit { now, certificate: &self.certificate, bridge: &mut bridge };
        to.make_offer(&d.toward, transport, kit, &mut *self.entropy)?;
        to.codecs = codecs::Offer::new(offered, &d.from.codecs, &d.toward.codecs);
        Ok(writer::write(sdp, Some(index), &to.offer_face(&self.certificate)).into())
    }

    /// Makes the side and opens its ports unless it is there.
    fn ensure_side(
        &mut self,
        id: SessionId,
        slot: Slot,
        profile: &LegProfile,
    ) -> Result<(), RelayError> {
        let interface = self.interface(profile)?;
        let Some(session) = self.sessions.get_mut(&id) else { return Err(RelayError::NoOffer) };
        if session.side_mut(slot).is_some() {
            return Ok(());
        }
        let leg = session.new_leg(slot, self.config.branches_max)?;
        let place = &self.config.interfaces[interface];
        let bridge = session.bridge.clone();
        let owner = PortOwner { session: id, leg, bridge, bind: place.bind };
        let opened = self.ports.open(interface, &owner);
        let opened = opened.map_err(|why| RelayError::no_ports(why, &self.config, interface))?;
        let addr = (place.advertised(), opened.port).into();
        let mut side = Side::new(leg, interface, addr, &mut *self.entropy);
        side.source = opened.source;
        session.insert(slot, side);
        Ok(())
    }

    /// Closes a side that this very offer opened and that cannot be used.
    fn close_unused(&mut self, id: SessionId, slot: Slot) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.side_mut(slot).is_some_and(|side| side.role.is_none())
            && let Some(side) = session.remove(slot)
        {
            self.ports.close(side.interface, side.addr.port());
        }
    }

    fn interface(&self, profile: &LegProfile) -> Result<usize, RelayError> {
        let Some(name) = &profile.interface else { return Ok(0) };
        let found = self.config.interfaces.iter().position(|i| i.name == *name);
        found.ok_or_else(|| RelayError::UnknownInterface(name.clone()))
    }
}

impl<P> std::fmt::Debug for Control<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Caller,
    Branch(u32),
}

/// Sides in boxes: a map has room for more than it holds, and a side is large.
struct Session {
    bridge: SharedBridge,
    caller: Option<Box<Side>>,
    branches: BTreeMap<u32, Box<Side>>,
    next_leg: u16,
    /// The number of its recording, while there is one.
    recording: Option<u64>,
    /// Third parties; few calls have any, and sessions lie in a table.
    subscriptions: Option<Box<Subscriptions>>,
}

impl Session {
    fn new(bridge: SharedBridge) -> Self {
        Self {
            bridge,
            caller: None,
            branches: BTreeMap::new(),
            next_leg: 1,
            recording: None,
            subscriptions: None,
        }
    }

    fn new_leg(&mut self, slot: Slot, branches_max: usize) -> Result<LegId, RelayError> {
        if slot == Slot::Caller {
            return Ok(LegId::CALLER);
        }
        // Numbers of removed branches are not used again while any session lives: the counter is
        // far larger than the limit, and a session that exhausts it is refused.
        if self.branches.len() >= branches_max || self.next_leg == u16::MAX {
            return Err(RelayError::TooManyBranches(branches_max));
        }
        self.next_leg += 1;
        Ok(LegId(self.next_leg - 1))
    }

    fn side_mut(&mut self, slot: Slot) -> Option<&mut Side> {
        match slot {
            Slot::Caller => self.caller.as_deref_mut(),
            Slot::Branch(branch) => self.branches.get_mut(&branch).map(|side| &mut **side),
        }
    }

    fn insert(&mut self, slot: Slot, side: Side) {
        match slot {
            Slot::Caller => self.caller = Some(Box::new(side)),
            Slot::Branch(branch) => drop(self.branches.insert(branch, Box::new(side))),
        }
    }

    fn remove(&mut self, slot: Slot) -> Option<Box<Side>> {
        match slot {
            Slot::Caller => self.caller.take(),
            Slot::Branch(branch) => self.branches.remove(&branch),
        }
    }
}
