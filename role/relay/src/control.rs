//! The control core: sessions, legs and the descriptions that pass. Sans-IO: ports come from a
//! [`Ports`], randomness from an [`Entropy`], time is an argument; packets are the [`Bridge`]'s.
//!
//! ```text
//!   session ─┬─ caller            a leg for each stream, by the places of the m-lines
//!            └─ branch 1..n       the same, for each forked branch
//!   leg                           one pair of ports, one set of keys and ICE credentials
//!
//!   offer  caller → branch:  read caller's facts (kept until the answer), write branch's legs
//!   answer branch → caller:  apply both sides' facts, join the legs, write caller's legs
//! ```
//!
//! Every command can be repeated: a leg that exists keeps its ports, keys and credentials.

mod codecs;
mod digits;
mod facts;
mod party;
mod playing;
mod recording;
mod side;
mod streams;
mod subscriptions;
mod trickle;
mod writer;

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use media::keying::dtls::Certificate;
use sansio::Entropy;
use sdp::Session as Sdp;

use crate::api::{Description, Protocol, SessionId, SessionStats};
pub use crate::bridge::MediaSwitch;
use crate::bridge::{Bridge, Carries, LegId};
use crate::ports::{Ports, SharedBridge};
use crate::{Config, RelayError};
use facts::Streams;
use party::{Session, Slot};
use side::Side;
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
        let streams = Streams::read(&sdp, self.config.streams())?;
        let is_new = !self.sessions.contains_key(&d.session);
        self.open_session(d.session)?;
        let written = self.relay_offer(now, d, sdp, streams);
        if written.is_err() && is_new {
            self.delete(now, d.session, None);
        }
        written
    }

    /// Takes the answer to the last offer between these two sides, joins the streams that both
    /// have, frees the others' ports, and writes the answer for the side that offered.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn answer(&mut self, now: Instant, d: &Description) -> Result<Bytes, RelayError> {
        let sdp = Sdp::parse(&d.sdp)?;
        self.relay_answer(now, d, sdp)
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
        let bridge = session.bridge.clone();
        let gone: Vec<Side> = match branch {
            Some(branch) => {
                let party = session.branches.remove(&branch).into_iter();
                let gone = party.flat_map(|party| party.into_sides()).collect::<Vec<_>>();
                gone.into_iter().chain(session.take_unused()).collect()
            }
            None => {
                let branches = std::mem::take(&mut session.branches);
                let parties = session.caller.take().into_iter().chain(branches.into_values());
                parties.flat_map(|party| party.into_sides()).collect()
            }
        };
        if branch.is_none() {
            self.sessions.remove(&id);
        }
        self.close(&bridge, gone);
        self.close(&bridge, listeners);
        if branch.is_none() {
            self.ports.leave(id);
        }
        Some(stats)
    }

    /// Takes legs out of the packet path and closes their ports.
    fn close(&mut self, bridge: &SharedBridge, gone: Vec<Side>) {
        for side in gone {
            bridge.lock().remove_leg(side.id);
            self.ports.close(side.interface, side.addr.port());
        }
    }

    /// A session's figures so far.
    pub fn query(&self, now: Instant, id: SessionId) -> Option<SessionStats> {
        let session = self.sessions.get(&id)?;
        let mut bridge = session.bridge.look();
        let caller = session.caller.iter().map(|party| (None, party));
        let branches = session.branches.iter().map(|(branch, party)| (Some(*branch), party));
        let parties = caller.chain(branches);
        let interfaces = &self.config.interfaces;
        let legs = parties
            .flat_map(|(branch, party)| party.stats(now, (branch, interfaces), &mut bridge))
            .collect();
        Some(SessionStats { session: id, answered: bridge.is_answered(), legs })
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
        let Some(session) = self.sessions.get(&id) else { return false };
        let slot = branch.map_or(Slot::Caller, Slot::Branch);
        let Some(party) = session.party(slot) else { return false };
        let mut bridge = session.bridge.lock();
        for side in party.sides() {
            // Only sound can be silent, and only in it keys are pressed.
            let concerned = switch == MediaSwitch::Block || side.carries() == Carries::Sound;
            if let Some(leg) = bridge.leg_mut(side.id).filter(|_| concerned) {
                leg.gate.set(switch, on);
            }
        }
        true
    }

    /// How a party's media is keyed: the caller's as `None`, or a branch's.
    pub fn protocol_of(&self, id: SessionId, branch: Option<u32>) -> Option<Protocol> {
        let session = self.sessions.get(&id)?;
        session.party(branch.map_or(Slot::Caller, Slot::Branch))?.protocol()
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
        let has = |party: &party::Party| party.sides().any(|side| side.id == leg);
        if session.caller.as_ref().is_some_and(|party| has(party)) {
            return Some(None);
        }
        session.branches.iter().find(|(_, party)| has(party)).map(|(branch, _)| Some(*branch))
    }

    fn open_session(&mut self, id: SessionId) -> Result<(), RelayError> {
        if !self.sessions.contains_key(&id) {
            if self.sessions.len() >= self.config.sessions_max {
                return Err(RelayError::TooManySessions(self.config.sessions_max));
            }
            let mut bridge = Bridge::new(self.config.silence());
            bridge.bear_hold_for(self.config.held_silence());
            let bridge = self.ports.home(id).keep(id, bridge);
            self.sessions.insert(id, Session::new(bridge));
        }
        Ok(())
    }
}

impl<P> std::fmt::Debug for Control<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}
