//! Third parties who hear what sides of a call send: a recorder, a supervisor. Packets are copied as
//! they come, keyed anew; nothing a third party sends goes anywhere.
//!
//! ```text
//!   subscribe  sides A, B ─► a leg and a port pair for each ─► offer: two sendonly streams
//!   answer                ─► where each goes, and its keys  ─► copies flow
//! ```

use std::time::Instant;

use audio::CodecKind;
use bytes::Bytes;
use sdp::{Direction as Way, MediaLine, Session as Sdp};

use super::Control;
use super::facts::Streams;
use super::party::Session;
use super::side::{Kit, Offered, Side};
use super::writer::{self, Faces};
use crate::RelayError;
use crate::api::{LegProfile, SessionId};
use crate::bridge::{Carries, LegId, PayloadType};
use crate::ports::{PortOwner, Ports};

/// Streams that third parties of one session may hear.
pub const LISTENERS_MAX: usize = 16;

/// The third parties of a session.
#[derive(Default)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
}

/// A third party.
struct Subscription {
    number: u32,
    listeners: Vec<Listener>,
}

struct Listener {
    /// Whom it hears.
    source: Option<u32>,
    side: Side,
}

/// What a third party shall hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Whose stream: a branch's, or the caller's.
    pub source: Option<u32>,
    /// Its name in the description (RFC 4574).
    pub label: Option<String>,
}

impl<P: Ports> Control<P> {
    /// Writes an offer for a third party who shall hear these sides, one stream for each in their
    /// order; the subscription's number.
    ///
    /// # Errors
    /// See [`RelayError`]. Nothing stays open then.
    pub fn subscribe(
        &mut self,
        now: Instant,
        id: SessionId,
        wanted: &[Wanted],
        profile: &LegProfile,
    ) -> Result<(u32, Bytes), RelayError> {
        let number = match self.sessions.get_mut(&id) {
            Some(session) if !wanted.is_empty() => session.open_subscription(),
            _ => return Err(RelayError::NoParty),
        };
        let mut offer: Option<Sdp> = None;
        for one in wanted {
            let written = self.add_listener(now, (id, number), one, profile).inspect_err(|_| {
                self.unsubscribe(id, number);
            })?;
            match &mut offer {
                None => offer = Some(written),
                Some(offer) => join(offer, written),
            }
        }
        let offer = offer.ok_or(RelayError::NoParty)?;
        Ok((number, offer.to_bytes().into()))
    }

    /// Takes a third party's answer: copies flow from now on to the streams it accepts. Repeatable,
    /// also with another answer: streams that it makes inactive rest.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn subscribe_answer(
        &mut self,
        now: Instant,
        id: SessionId,
        number: u32,
        sdp: &[u8],
    ) -> Result<(), RelayError> {
        let sdp = Sdp::parse(sdp)?;
        let session = self.sessions.get_mut(&id).ok_or(RelayError::NoParty)?;
        let Session { bridge, caller, branches, subscriptions, .. } = session;
        let subscription = subscriptions.as_mut().and_then(|all| all.find(number));
        let subscription = subscription.ok_or(RelayError::NoParty)?;
        let mut bridge = bridge.lock();
        for (at, listener) in subscription.listeners.iter_mut().enumerate() {
            let party = match listener.source {
                None => caller.as_ref(),
                Some(branch) => branches.get(&branch),
            };
            let source = party.and_then(|party| party.sound());
            let leg = listener.side.id;
            let hears = sdp.media().get(at).is_some_and(|m| !m.is_rejected())
                && sdp.direction_of(at).receives();
            if !hears {
                bridge.stop_listening(leg);
                continue;
            }
            let streams = Streams::read(&sdp.only(at), 1)?;
            let facts = streams.of_main().ok_or(RelayError::NoStream)?;
            let kit = Kit { now, certificate: &self.certificate, bridge: &mut bridge };
            listener.side.apply_answer(kit, facts, None)?;
            if let Some(source) = source {
                bridge.listen(source, leg);
            }
        }
        Ok(())
    }

    /// Nothing flows to a third party until its next answer. False when there is none.
    pub fn rest_subscription(&mut self, id: SessionId, number: u32) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let found = session.subscriptions.as_mut().and_then(|all| all.find(number));
        let Some(subscription) = found else { return false };
        let mut bridge = session.bridge.lock();
        for listener in &subscription.listeners {
            bridge.stop_listening(listener.side.id);
        }
        true
    }

    /// Ends a subscription. False when there is none.
    pub fn unsubscribe(&mut self, id: SessionId, number: u32) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(gone) = session.close_subscription(number) else { return false };
        let bridge = session.bridge.clone();
        for Listener { side, .. } in gone {
            bridge.lock().remove_leg(side.id);
            self.ports.close(side.interface, side.addr.port());
        }
        true
    }

    /// Opens a listener's leg and writes its offer.
    fn add_listener(
        &mut self,
        now: Instant,
        (id, number): (SessionId, u32),
        wanted: &Wanted,
        profile: &LegProfile,
    ) -> Result<Sdp, RelayError> {
        let interface = self.interface(profile)?;
        let place = &self.config.interfaces[interface];
        let session = self.sessions.get_mut(&id).ok_or(RelayError::NoParty)?;
        let source = session.leg_of(wanted.source).ok_or(RelayError::NoParty)?;
        let payloads = match session.bridge.lock().leg(source) {
            Some(leg) if !leg.payloads().is_empty() => leg.payloads().to_vec(),
            // Nothing is agreed yet.
            _ => return Err(RelayError::NoOffer),
        };
        let leg = session.listener_leg()?;
        let owner = PortOwner {
            session: id,
            leg,
            bridge: session.bridge.clone(),
            bind: place.bind,
            tos: place.tos,
        };
        let opened = self.ports.open(interface, &owner);
        let opened = opened.map_err(|why| RelayError::no_ports(why, &self.config, interface))?;
        let addr = (place.advertised(), opened.port).into();
        let mut side = Side::new((leg, 0), interface, addr);
        (side.source, side.tos) = (opened.source, opened.tos);
        let shared = owner.bridge.clone();
        let mut bridge = shared.lock();
        let kit = Kit { now, certificate: &self.certificate, bridge: &mut bridge };
        let offered = Offered {
            ice: false,
            mux: false,
            feedback: false,
            carries: Carries::Sound,
            media: "audio",
        };
        let made = side.make_offer(profile, offered, kit, &mut *self.entropy);
        drop(bridge);
        let description = describe(&payloads, wanted.label.as_deref(), self.entropy.next_u64());
        let faces = Faces {
            streams: vec![Some(side.offer_face(&self.certificate))],
            ip: place.advertised(),
            keep_origin: profile.dialect.keep_origin,
            shape: &[],
        };
        let written = made.map(|()| writer::write(description, &faces));
        // Kept in any case: who asked closes it if something failed.
        let subscription = session.subscriptions.as_mut().and_then(|all| all.find(number));
        if let Some(subscription) = subscription {
            subscription.listeners.push(Listener { source: wanted.source, side });
        }
        Ok(Sdp::parse(&written?)?)
    }
}

impl Subscriptions {
    fn find(&mut self, number: u32) -> Option<&mut Subscription> {
        self.list.iter_mut().find(|s| s.number == number)
    }
}

impl Session {
    fn open_subscription(&mut self) -> u32 {
        let list = &mut self.subscriptions.get_or_insert_default().list;
        let number = list.last().map_or(1, |last| last.number + 1);
        list.push(Subscription { number, listeners: Vec::new() });
        number
    }

    fn close_subscription(&mut self, number: u32) -> Option<Vec<Listener>> {
        let list = &mut self.subscriptions.as_mut()?.list;
        let at = list.iter().position(|s| s.number == number)?;
        Some(list.remove(at).listeners)
    }

    fn listener_leg(&mut self) -> Result<LegId, RelayError> {
        let list = self.subscriptions.iter().flat_map(|all| &all.list);
        let open: usize = list.map(|s| s.listeners.len()).sum();
        let leg = (open < LISTENERS_MAX).then(|| self.next_number()).flatten();
        leg.ok_or(RelayError::TooManyListeners(LISTENERS_MAX))
    }

    /// The sides of third parties that end with a branch, or with the session.
    pub(super) fn end_subscriptions(&mut self, branch: Option<u32>) -> Vec<Side> {
        let Some(all) = &mut self.subscriptions else { return Vec::new() };
        let mut gone = Vec::new();
        for subscription in &mut all.list {
            let ends = |l: &mut Listener| branch.is_none() || l.source == branch;
            gone.extend(subscription.listeners.extract_if(.., ends).map(|l| l.side));
        }
        all.list.retain(|s| !s.listeners.is_empty());
        gone
    }
}

/// One stream of these codecs that we send. Address and keys are written later.
fn describe(payloads: &[PayloadType], label: Option<&str>, number: u64) -> Sdp {
    let formats: Vec<String> = payloads.iter().map(|p| p.number.to_string()).collect();
    let formats: Vec<&str> = formats.iter().map(String::as_str).collect();
    let mut media = MediaLine::new("audio", 9, "RTP/AVP", &formats);
    for PayloadType { number, encoding, clock_rate } in payloads {
        let kind = CodecKind::from_encoding_name(encoding);
        let channels = kind.map_or(1, CodecKind::rtpmap_channels);
        let channels = if channels > 1 { format!("/{channels}") } else { String::new() };
        let map = format!("{number} {encoding}/{clock_rate}{channels}");
        media.add_attribute("rtpmap", Some(&map));
    }
    media.set_direction(Way::SendOnly);
    if let Some(label) = label {
        media.add_attribute("label", Some(label));
    }
    // RFC 8866 §5.2: numeric, and shorter than what some readers hold in 63 bits.
    let mut sdp = Sdp::new(number >> 2, 1, std::net::Ipv4Addr::UNSPECIFIED.into());
    sdp.push_media(media);
    sdp
}

/// Appends the stream of another description. Each stream has a transport of its own.
fn join(offer: &mut Sdp, more: Sdp) {
    offer.remove_attributes("group");
    for media in more.media() {
        let mid = offer.media().len().to_string();
        let added = offer.push_media(media.clone());
        if added.mid().is_some() {
            added.set_attribute("mid", Some(&mid));
        }
    }
}
