//! Offers and answers, stream by stream (RFC 3264 §6: an answer has the offer's m-lines in their
//! order).
//!
//! ```text
//!   offer   audio  video  image      a leg on both sides of each stream that can be relayed
//!   answer  audio  0      image  ──► audio and image are joined, the ports of video are free again
//! ```

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use media::keying::dtls::Certificate;
use sansio::Entropy;
use sdp::Session as Sdp;

use super::Control;
use super::codecs;
use super::facts::{Facts, Streams};
use super::party::{Party, Role, Session, Slot};
use super::side::{self, Side};
use super::writer::{self, Faces, Rejected};
use crate::RelayError;
use crate::api::{Description, Direction, LegProfile, Protocol, SessionId};
use crate::bridge::{Bridge, Carries, PayloadType};
use crate::dialect::DtlsWish;
use crate::ports::{PortOwner, Ports};

/// Legs that an offer opened: closed again if it is refused.
type Opened = Vec<(Slot, usize)>;

impl<P: Ports> Control<P> {
    pub(super) fn relay_offer(
        &mut self,
        now: Instant,
        d: &Description,
        sdp: Sdp,
        streams: Streams,
    ) -> Result<Bytes, RelayError> {
        let (from, to) = slots(d);
        let max = self.config.branches_max;
        let session = self.sessions.get_mut(&d.session).ok_or(RelayError::NoOffer)?;
        let new_from = session.ensure_party(from, max)?;
        let new_to = session.ensure_party(to, max).inspect_err(|_| {
            if new_from {
                session.remove(from);
            }
        })?;
        let mut opened = Opened::new();
        let written = self.offer_streams(now, d, sdp, streams, &mut opened);
        if written.is_err() {
            self.close_opened(d.session, opened);
            let session = self.sessions.get_mut(&d.session).ok_or(RelayError::NoOffer)?;
            for (slot, _) in [(from, new_from), (to, new_to)].iter().filter(|(_, new)| *new) {
                session.remove(*slot);
            }
        }
        written
    }

    fn offer_streams(
        &mut self,
        now: Instant,
        d: &Description,
        mut sdp: Sdp,
        mut streams: Streams,
        opened: &mut Opened,
    ) -> Result<Bytes, RelayError> {
        let (from_slot, to_slot) = slots(d);
        let shape = Rejected::shape_of(&sdp);
        let mut offered = 0;
        for index in streams.order() {
            let mut mine = Opened::new();
            let done = self.offer_stream(now, d, (&mut sdp, &streams), index, &mut mine);
            match done {
                Ok(()) => offered |= 1 << index,
                Err(error) if index == streams.main => {
                    opened.append(&mut mine);
                    return Err(error);
                }
                // The call goes on without it.
                Err(error) => {
                    tracing::info!(session = d.session.0, stream = index, %error, "not relayed");
                    self.close_opened(d.session, std::mem::take(&mut mine));
                    streams.facts[index] = None;
                }
            }
            opened.append(&mut mine);
        }
        let session = self.sessions.get_mut(&d.session).ok_or(RelayError::NoOffer)?;
        let from = session.party_mut(from_slot).ok_or(RelayError::NoOffer)?;
        d.tag.clone_into(&mut from.tag);
        (from.role, from.shape, from.offered) = (Some(Role::Offerer), shape, offered);
        let to = session.party_mut(to_slot).ok_or(RelayError::NoOffer)?;
        to.role = Some(Role::Answerer);
        let face = |index: usize| {
            let is_offered = offered >> index & 1 == 1;
            to.stream(index).filter(|_| is_offered).map(|side| side.offer_face(&self.certificate))
        };
        let faces = Faces {
            streams: (0..streams.facts.len()).map(face).collect(),
            ip: self.config.interfaces[to.interface().unwrap_or(0)].advertised(),
            keep_origin: d.toward.dialect.keep_origin,
            shape: &[],
        };
        Ok(writer::write(sdp, &faces).into())
    }

    fn offer_stream(
        &mut self,
        now: Instant,
        d: &Description,
        (sdp, streams): (&mut Sdp, &Streams),
        index: usize,
        opened: &mut Opened,
    ) -> Result<(), RelayError> {
        let Some(facts) = &streams.facts[index] else { return Err(RelayError::NoStream) };
        let (from_slot, to_slot) = slots(d);
        let session = self.sessions.get(&d.session).ok_or(RelayError::NoOffer)?;
        let parties = (session.party(from_slot), session.party(to_slot));
        check_clear(facts, streams, parties, d)?;
        let toward = profile_of(&d.toward, parties.1, facts);
        self.ensure_side(d.session, (from_slot, index), &d.from, opened)?;
        self.ensure_side(d.session, (to_slot, index), &toward, opened)?;
        let session = self.sessions.get_mut(&d.session).ok_or(RelayError::NoOffer)?;
        let shared = session.bridge.clone();
        let mut bridge = shared.lock();
        let offered = match facts.carries {
            Carries::Sound => {
                let media = &mut sdp.media_mut()[index];
                codecs::write_offer(media, &d.from.codecs, &d.toward.codecs)?
            }
            Carries::Rtp | Carries::Datagrams => None,
        };
        let from = session.party_mut(from_slot).and_then(|party| party.stream_mut(index));
        let from = from.ok_or(RelayError::NoOffer)?;
        let kit = side::Kit { now, certificate: &self.certificate, bridge: &mut bridge };
        let sender = (d.signalled_from, &d.from.dialect);
        from.take_offer(facts.clone(), sender, kit, &mut *self.entropy)?;
        let transport = from.offered();
        let to = session.party_mut(to_slot).and_then(|party| party.stream_mut(index));
        let to = to.ok_or(RelayError::NoOffer)?;
        let kit = side::Kit { now, certificate: &self.certificate, bridge: &mut bridge };
        to.make_offer(&toward, transport, kit, &mut *self.entropy)?;
        to.codecs = codecs::Offer::new(offered, &d.from.codecs, &d.toward.codecs);
        Ok(())
    }

    pub(super) fn relay_answer(
        &mut self,
        now: Instant,
        d: &Description,
        mut sdp: Sdp,
    ) -> Result<Bytes, RelayError> {
        let session = self.sessions.get_mut(&d.session).ok_or(RelayError::NoOffer)?;
        let (from_slot, to_slot) = slots(d);
        session.party(from_slot).ok_or(RelayError::NoOffer)?;
        let to = session.party(to_slot).filter(|party| party.role == Some(Role::Offerer));
        let offered = to.ok_or(RelayError::NoOffer)?.offered;
        let streams = match Streams::read(&sdp, self.config.streams()) {
            Ok(streams) => streams,
            // All streams rejected: a legal answer, nothing to join.
            Err(RelayError::NoStream) => Streams { main: 0, facts: Vec::new() },
            Err(error) => return Err(error),
        };
        let from = session.party_mut(from_slot).ok_or(RelayError::NoOffer)?;
        d.tag.clone_into(&mut from.tag);
        let shared = session.bridge.clone();
        let mut joined = 0_u64;
        for index in streams.order() {
            let mut answering = Answering {
                now,
                d,
                certificate: &self.certificate,
                bridge: &mut shared.lock(),
                entropy: &mut *self.entropy,
            };
            let known = offered >> index & 1 == 1;
            let done = match streams.facts[index].as_ref().filter(|_| known) {
                Some(facts) => answering.stream(session, &mut sdp, (index, facts)),
                None => Err(RelayError::NoOffer),
            };
            match done {
                Ok(()) => joined |= 1 << index,
                Err(error) if index == streams.main => return Err(error),
                // The call goes on without it; the offerer is told so.
                Err(error) => {
                    tracing::info!(session = d.session.0, stream = index, %error, "not joined");
                }
            }
        }
        let to = session.party(to_slot).ok_or(RelayError::NoOffer)?;
        let face = |index: usize| {
            let is_joined = joined >> index & 1 == 1;
            to.stream(index).filter(|_| is_joined).map(|side| side.answer_face(&self.certificate))
        };
        let faces = Faces {
            streams: (0..streams.facts.len()).map(face).collect(),
            ip: self.config.interfaces[to.interface().unwrap_or(0)].advertised(),
            keep_origin: d.toward.dialect.keep_origin,
            shape: &to.shape,
        };
        let written = writer::write(sdp, &faces).into();
        let gone = (0..self.config.streams()).filter(|index| joined >> index & 1 == 0);
        let gone: Vec<_> = gone.flat_map(|index| session.take_stream(d.branch, index)).collect();
        self.close(&shared, gone);
        Ok(written)
    }

    /// Makes a leg and opens its ports unless it is there.
    fn ensure_side(
        &mut self,
        id: SessionId,
        (slot, index): (Slot, usize),
        profile: &LegProfile,
        opened: &mut Opened,
    ) -> Result<(), RelayError> {
        let named = self.interface(profile)?;
        let Some(session) = self.sessions.get_mut(&id) else { return Err(RelayError::NoOffer) };
        let party = session.party(slot).ok_or(RelayError::NoOffer)?;
        if party.stream(index).is_some() {
            return Ok(());
        }
        // All streams of a party are at one address: the description names it once.
        let interface = party.interface().unwrap_or(named);
        let branches_max = self.config.branches_max;
        let leg = session.new_leg(slot).ok_or(RelayError::TooManyBranches(branches_max))?;
        let place = &self.config.interfaces[interface];
        let bridge = session.bridge.clone();
        let owner = PortOwner { session: id, leg, bridge, bind: place.bind, tos: place.tos };
        let port = self.ports.open(interface, &owner);
        let port = port.map_err(|why| RelayError::no_ports(why, &self.config, interface))?;
        let addr = (place.advertised(), port.port).into();
        let mut side = Side::new((leg, index), interface, addr);
        (side.source, side.tos) = (port.source, port.tos);
        if let Some(party) = session.party_mut(slot) {
            party.insert(index, side);
            opened.push((slot, index));
        }
        Ok(())
    }

    fn close_opened(&mut self, id: SessionId, opened: Opened) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let bridge = session.bridge.clone();
        let mut take = |(slot, index)| session.party_mut(slot)?.take(index);
        let gone: Vec<_> = opened.into_iter().filter_map(&mut take).collect();
        self.close(&bridge, gone);
    }

    pub(super) fn interface(&self, profile: &LegProfile) -> Result<usize, RelayError> {
        let Some(name) = &profile.interface else { return Ok(0) };
        let found = self.config.interfaces.iter().position(|i| i.name == *name);
        found.ok_or_else(|| RelayError::UnknownInterface(name.clone()))
    }
}

/// What the streams of one answer need.
struct Answering<'a> {
    now: Instant,
    d: &'a Description,
    certificate: &'a Certificate,
    bridge: &'a mut Bridge,
    entropy: &'a mut dyn Entropy,
}

impl Answering<'_> {
    /// Applies both sides' descriptions of one stream, and joins its legs.
    fn stream(
        &mut self,
        session: &mut Session,
        sdp: &mut Sdp,
        (index, facts): (usize, &Facts),
    ) -> Result<(), RelayError> {
        let caller = session.caller.as_mut().and_then(|party| party.stream_mut(index));
        let branch = session.branches.get_mut(&self.d.branch);
        let branch = branch.and_then(|party| party.stream_mut(index));
        let (Some(caller), Some(branch)) = (caller, branch) else {
            return Err(RelayError::NoOffer);
        };
        let (caller_leg, branch_leg) = (caller.id, branch.id);
        let (from, to) = match self.d.direction {
            Direction::FromCaller => (caller, branch),
            Direction::FromCallee => (branch, caller),
        };
        if facts.carries != to.offers {
            // An answer has the kinds of the offer (RFC 3264 §6).
            return Err(RelayError::ProtocolMismatch(facts.proto.clone()));
        }
        let (now, certificate) = (self.now, self.certificate);
        let agreement = from.agree(&mut sdp.media_mut()[index])?;
        let kit = side::Kit { now, certificate, bridge: &mut *self.bridge };
        from.apply_answer(kit, facts, self.d.signalled_from)?;
        let kit = side::Kit { now, certificate, bridge: &mut *self.bridge };
        to.apply_offer(kit, &self.d.toward.dialect, from.as_other(self.d.toward.protocol))?;
        match agreement {
            Some(agreement) => {
                let legs = (from.id, to.id);
                agreement.apply(legs, caller_leg, self.bridge, &mut *self.entropy)?;
            }
            None => {
                let payloads: Arc<[PayloadType]> = to.agreed_payloads(facts).into();
                for leg in [from.id, to.id] {
                    if let Some(leg) = self.bridge.leg_mut(leg) {
                        leg.set_payloads(Arc::clone(&payloads));
                    }
                }
                self.bridge.forward_as_it_comes(caller_leg);
            }
        }
        self.bridge.join(now, caller_leg, branch_leg);
        if let Some(sound) = session.caller.as_ref().and_then(|party| party.sound()) {
            self.bridge.set_sound(sound);
        }
        Ok(())
    }
}

fn slots(d: &Description) -> (Slot, Slot) {
    match d.direction {
        Direction::FromCaller => (Slot::Caller, Slot::Branch(d.branch)),
        Direction::FromCallee => (Slot::Branch(d.branch), Slot::Caller),
    }
}

/// How a stream is offered to a party: a stream that comes to a call is keyed as the party's others
/// are, and with `each_stream` as it was offered.
fn profile_of(toward: &LegProfile, party: Option<&Party>, facts: &Facts) -> LegProfile {
    let mut profile = toward.clone();
    if toward.dialect.each_stream && toward.dialect.transport.is_none() {
        let written = facts.proto.to_ascii_uppercase();
        profile.protocol = match (written.contains("TLS"), written.contains("SAVP")) {
            (true, _) if toward.dialect.dtls == DtlsWish::Off => Protocol::Srtp,
            (true, _) => Protocol::WebRtc,
            (false, true) => Protocol::Srtp,
            (false, false) => Protocol::Rtp,
        };
        profile.dialect.transport = Some(written);
    } else if let Some(spoken) = party.and_then(Party::spoken) {
        profile.protocol = spoken;
    }
    profile
}

/// A stream in clear beside encrypted ones would be encryption in name only: it is not relayed,
/// unless the controller has each stream as it is offered.
fn check_clear(
    facts: &Facts,
    streams: &Streams,
    (from, to): (Option<&Party>, Option<&Party>),
    d: &Description,
) -> Result<(), RelayError> {
    if d.toward.dialect.each_stream || facts.protocol != Protocol::Rtp {
        return Ok(());
    }
    let encrypted = |protocol| protocol != Protocol::Rtp;
    let spoken = |party: Option<&Party>| party.and_then(Party::spoken);
    let is_main = streams.of_main().is_some_and(|main| std::ptr::eq(main, facts));
    // What sound there is says how this side is keyed; a fax knows what the sound before it had.
    let own = match streams.of_main().filter(|main| main.carries != Carries::Datagrams) {
        Some(main) => Some(main.protocol),
        None => spoken(from),
    };
    let beside = (!is_main || facts.carries == Carries::Datagrams) && own.is_some_and(encrypted);
    let fax_to =
        facts.carries == Carries::Datagrams && encrypted(spoken(to).unwrap_or(d.toward.protocol));
    match beside || fax_to {
        true => Err(RelayError::InClear(facts.proto.clone())),
        false => Ok(()),
    }
}
