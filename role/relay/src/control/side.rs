//! Control's view of one leg, a stream of one party: its ports, its keys, and what was agreed with its
//! peer.

mod figures;
mod generation;
mod keyed;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ice::Lite;
use media::keying::KeyingError;
use media::keying::dtls::{Certificate, DtlsRole};
use media::keying::sdes::LocalKeys;
use rtp::zrtp::HelloHash;
use sansio::Entropy;
use sdp::{Crypto, Setup};

use keyed::OtherSide;

use super::codecs::{Agreement, Offer};
use super::facts::Facts;
use super::writer::{DtlsFace, Face, setup_for};
use crate::RelayError;
use crate::api::{LegProfile, Protocol};
use crate::bridge::{Bridge, Carries, Leg, LegId, PayloadType, Security, ZrtpEnd};
use crate::dialect::{Dialect, DtlsWish, IceWish};

/// RFC 8839 §5.4 asks for 24 bits and 128 bits; a character of a token is worth five.
const UFRAG_LEN: usize = 8;
const PWD_LEN: usize = 28;

/// One leg.
#[derive(Debug)]
pub(super) struct Side {
    pub id: LegId,
    /// The place of its m-line.
    stream: usize,
    media: &'static str,
    /// What its packets are, and what they are in the offer that is under way.
    carries: Carries,
    pub offers: Carries,
    pub interface: usize,
    /// The advertised address and our even port.
    pub addr: SocketAddr,
    /// Where packets leave by without a socket.
    pub source: Option<SocketAddr>,
    /// The type of service octet of what leaves by them.
    pub tos: u8,
    /// How we talk with the peer; fixed once a description of its own was taken.
    protocol: Protocol,
    proto: String,
    /// The peer has described itself, and how it is keyed with it.
    described: bool,
    /// Made when they are first needed: a plain call has none.
    keys: Option<LocalKeys>,
    ice: Option<Box<Credentials>>,
    remote_ufrag: Option<String>,
    /// The peer's offer, applied when it is answered: whoever refuses it leaves all as it was.
    pending: Option<Pending>,
    chosen: Option<Box<Crypto>>,
    /// Our end of ZRTP, until its leg is made.
    spare: Option<Box<ZrtpEnd>>,
    /// What we say of our Hello, where we agree on keys with the peer by ZRTP.
    zrtp: Option<Box<HelloHash>>,
    dtls_role: DtlsRole,
    speaks_ice: bool,
    rtcp_mux: bool,
    /// The peer offered to share a port, whatever became of it.
    mux_offered: bool,
    dialect: Dialect,
    mid: Option<String>,
    bundled: bool,
    /// The codecs of our last offer to the peer, where a policy had something to say.
    pub codecs: Option<Box<Offer>>,
}

/// An offer that waits for its answer, and what of ours changes with it.
#[derive(Debug, Clone)]
struct Pending {
    facts: Facts,
    signalled_from: Option<IpAddr>,
    dtls_role: DtlsRole,
    /// Our next ICE credentials, should it be a restart.
    credentials: Option<Box<Credentials>>,
}

/// What a leg is checked with (RFC 8839 §5.4).
#[derive(Debug, Clone)]
struct Credentials {
    ufrag: String,
    pwd: String,
}

impl Credentials {
    fn new(entropy: &mut dyn Entropy) -> Box<Self> {
        Box::new(Self { ufrag: entropy.token(UFRAG_LEN), pwd: entropy.token(PWD_LEN) })
    }

    fn agent(&self) -> Lite {
        Lite::new(&self.ufrag, &self.pwd)
    }
}

/// What one side offered, as far as the other is offered it too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    pub ice: bool,
    pub mux: bool,
    /// With feedback (RFC 4585), and no handshake.
    pub feedback: bool,
    pub carries: Carries,
    pub media: &'static str,
}

/// What a side needs from the session.
pub(super) struct Kit<'a> {
    pub now: Instant,
    pub certificate: &'a Certificate,
    pub bridge: &'a mut Bridge,
}

impl Side {
    pub(super) fn new((id, stream): (LegId, usize), interface: usize, addr: SocketAddr) -> Self {
        Self {
            id,
            stream,
            media: "audio",
            carries: Carries::default(),
            offers: Carries::default(),
            interface,
            addr,
            source: None,
            tos: 0,
            protocol: Protocol::Rtp,
            proto: String::new(),
            described: false,
            keys: None,
            ice: None,
            remote_ufrag: None,
            pending: None,
            chosen: None,
            spare: None,
            zrtp: None,
            dtls_role: DtlsRole::Server,
            speaks_ice: false,
            rtcp_mux: false,
            mux_offered: false,
            dialect: Dialect::default(),
            mid: None,
            bundled: false,
            codecs: None,
        }
    }

    /// Reads the codecs of this side's answer, and writes those that the offerer is
    /// told. `None` where packets pass as they come.
    pub(super) fn agree(
        &self,
        media: &mut sdp::MediaLine,
    ) -> Result<Option<Agreement>, RelayError> {
        self.codecs.as_ref().map(|offer| offer.agree(media)).transpose()
    }

    /// The peer offers: keep what it says until it is answered.
    pub(super) fn take_offer(
        &mut self,
        facts: Facts,
        (signalled_from, dialect): (Option<IpAddr>, &Dialect),
        kit: Kit<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), RelayError> {
        self.dialect.clone_from(dialect);
        self.offers = facts.carries;
        // Keys that cannot be used refuse the offer, not its answer.
        self.chosen = match facts.protocol {
            Protocol::Srtp => {
                let keys = self.keys.get_or_insert_with(|| LocalKeys::new(entropy));
                Some(Box::new(keys.answer(facts.cryptos.iter().cloned())?.1))
            }
            Protocol::WebRtc if facts.fingerprint.is_none() => {
                return Err(KeyingError::FingerprintMismatch.into());
            }
            _ => None,
        };
        let dtls_role = match (facts.dtls_setup, dialect.dtls) {
            (Some(Setup::Passive), _) => DtlsRole::Client,
            // RFC 8842 §5.5: whoever offers both again, with the certificate it had, wants no other
            // association: the roles stay.
            (Some(Setup::ActPass), _) if self.knows(&facts, kit.bridge) => self.dtls_role,
            (Some(Setup::ActPass), DtlsWish::Active) => DtlsRole::Client,
            _ => DtlsRole::Server,
        };
        let credentials = facts.ice.as_ref().map(|_| Credentials::new(entropy));
        if credentials.is_some() {
            self.ice.get_or_insert_with(|| Credentials::new(entropy));
        }
        if facts.zrtp.is_some() && self.zrtp.is_none() {
            // Should the other side turn out to be keyed by us.
            self.spare.get_or_insert_with(|| Box::new(ZrtpEnd::new(entropy)));
        }
        let pending = Pending { facts, signalled_from, dtls_role, credentials };
        if !self.described {
            self.adopt(&pending, kit)?;
        }
        self.pending = Some(pending);
        Ok(())
    }

    /// Speaks with the peer as its offer does. The same offer again changes nothing.
    fn adopt(&mut self, pending: &Pending, kit: Kit<'_>) -> Result<(), RelayError> {
        let facts = &pending.facts;
        self.media = facts.media;
        if facts.carries == Carries::Datagrams {
            return self.ensure_leg((Protocol::Rtp, facts.carries), kit);
        }
        self.proto.clone_from(&facts.proto);
        self.note_dialect(facts);
        self.dtls_role = pending.dtls_role;
        let restarted = self.note_ufrag(facts);
        let Kit { now, certificate, bridge } = kit;
        let kit = Kit { now, certificate, bridge: &mut *bridge };
        let protocol = match facts.protocol {
            // It was found out that we are to agree on keys with it.
            Protocol::Rtp if self.protocol == Protocol::Zrtp => Protocol::Zrtp,
            offered => offered,
        };
        self.ensure_leg((protocol, facts.carries), kit)?;
        if let Some(fresh) = pending.credentials.clone().filter(|_| restarted) {
            if let Some(leg) = bridge.leg_mut(self.id) {
                for agent in leg.ice.iter_mut().chain(&mut leg.ice_rtcp) {
                    agent.restart(&fresh.ufrag, &fresh.pwd);
                }
            }
            self.ice = Some(fresh);
        }
        Ok(())
    }

    /// We offer to the peer what the other side offered, keyed as the profile says unless the peer
    /// has described itself before.
    pub(super) fn make_offer(
        &mut self,
        profile: &LegProfile,
        offered: Offered,
        kit: Kit<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), RelayError> {
        self.dialect.clone_from(&profile.dialect);
        self.offers = offered.carries;
        let has_leg = kit.bridge.leg(self.id).is_some();
        if self.described && has_leg {
            return Ok(());
        }
        self.media = offered.media;
        if offered.carries == Carries::Datagrams {
            // A leg that carries something goes on with it until it is answered.
            let new = (Protocol::Rtp, offered.carries);
            return if has_leg { Ok(()) } else { self.ensure_leg(new, kit) };
        }
        let (protocol, dialect) = (profile.protocol, &profile.dialect);
        if protocol == Protocol::Srtp {
            self.keys.get_or_insert_with(|| LocalKeys::new(entropy));
        }
        let is_webrtc = protocol == Protocol::WebRtc;
        self.speaks_ice = match dialect.ice {
            IceWish::WithWebRtc => is_webrtc,
            IceWish::AsOffered => offered.ice,
            IceWish::Force => true,
            IceWish::Remove => false,
        };
        if self.speaks_ice {
            self.ice.get_or_insert_with(|| Credentials::new(entropy));
        }
        self.rtcp_mux = (is_webrtc && !dialect.mux.demux) || dialect.mux.offers(offered.mux);
        let named = is_webrtc || (self.speaks_ice && dialect.trickle);
        self.mid = named.then(|| self.stream.to_string());
        self.bundled = is_webrtc;
        // Pictures hang on feedback more than sound does; what a browser has of it is too new for
        // many a phone to be offered by its profile.
        let feedback = offered.feedback && offered.carries == Carries::Rtp;
        let usual = match (protocol, feedback) {
            (Protocol::Rtp | Protocol::Zrtp, false) => "RTP/AVP",
            (Protocol::Rtp | Protocol::Zrtp, true) => "RTP/AVPF",
            (Protocol::Srtp, false) => "RTP/SAVP",
            (Protocol::Srtp, true) => "RTP/SAVPF",
            (Protocol::WebRtc, _) => "UDP/TLS/RTP/SAVPF",
        };
        self.proto = dialect.transport.as_deref().unwrap_or(usual).to_owned();
        if protocol == Protocol::Zrtp && self.zrtp.is_none() {
            self.spare.get_or_insert_with(|| Box::new(ZrtpEnd::new(entropy)));
        }
        self.ensure_leg((protocol, offered.carries), kit)
    }

    /// How the peer is keyed with, once it has described itself.
    pub(super) fn spoken(&self) -> Option<Protocol> {
        self.described.then_some(self.protocol)
    }

    /// The kind of its m-line.
    pub(super) fn carries(&self) -> Carries {
        self.carries
    }

    /// What the peer offered, as far as it is passed on.
    pub(super) fn offered(&self) -> Offered {
        let offer = self.pending.as_ref().map(|pending| &pending.facts);
        let is = |of: fn(&Facts) -> bool| offer.is_some_and(of);
        Offered {
            ice: is(|facts| facts.ice.is_some()),
            mux: is(|facts| facts.mux_offered),
            feedback: is(|facts| facts.protocol != Protocol::WebRtc && facts.proto.ends_with('F')),
            carries: self.offers,
            media: offer.map_or("other", |facts| facts.media),
        }
    }

    /// The other side has answered: whether the one who offered to share a port may.
    fn settle(&mut self, dialect: &Dialect, other_muxes: bool) {
        if dialect.ice == IceWish::Remove {
            self.speaks_ice = false;
        }
        let granted = self.dialect.mux.grants(other_muxes) || dialect.mux.accept;
        self.rtcp_mux |= self.mux_offered && granted && !dialect.mux.reject;
        self.dialect.rtcp_attribute = dialect.rtcp_attribute;
    }

    /// How its media is keyed.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The peer answered our offer.
    pub(super) fn apply_answer(
        &mut self,
        kit: Kit<'_>,
        facts: &Facts,
        signalled_from: Option<IpAddr>,
    ) -> Result<(), RelayError> {
        let Kit { now, certificate, bridge } = kit;
        if facts.carries == Carries::Datagrams {
            self.media = facts.media;
            let kit = Kit { now, certificate, bridge: &mut *bridge };
            self.ensure_leg((Protocol::Rtp, facts.carries), kit)?;
            return self.describe(now, facts, signalled_from, bridge);
        }
        let by_zrtp = self.protocol == Protocol::Zrtp && facts.protocol == Protocol::Rtp;
        if facts.protocol != self.protocol && !by_zrtp {
            return Err(RelayError::ProtocolMismatch(facts.proto.clone()));
        }
        if by_zrtp && facts.zrtp.is_none() {
            // It would wait for keys that never come.
            return Err(KeyingError::NoZrtp.into());
        }
        if self.protocol == Protocol::Srtp {
            // `Facts::read` found at least one.
            let line = facts.cryptos.first().ok_or(KeyingError::NoCommonSuite)?;
            let keys = self.keys.as_mut().ok_or(KeyingError::NoCommonSuite)?.accept(line)?;
            let leg = bridge.leg_mut(self.id).ok_or(RelayError::NoOffer)?;
            leg.security.set_sdes(&keys).map_err(|_| KeyingError::NoCommonSuite)?;
        }
        if self.protocol == Protocol::WebRtc && facts.fingerprint.is_none() {
            // Its handshake could never be verified: nobody would be heard.
            return Err(KeyingError::FingerprintMismatch.into());
        }
        match facts.dtls_setup {
            Some(Setup::Passive) => self.dtls_role = DtlsRole::Client,
            Some(Setup::Active) => self.dtls_role = DtlsRole::Server,
            _ => {}
        }
        let muxes = self.rtcp_mux && facts.mux_offered;
        self.note_dialect(facts);
        self.rtcp_mux |= muxes;
        self.note_ufrag(facts);
        self.media = facts.media;
        let kit = Kit { now, certificate, bridge: &mut *bridge };
        self.ensure_leg((self.protocol, facts.carries), kit)?;
        self.describe(now, facts, signalled_from, bridge)
    }

    /// The peer's offer is answered: what it said holds now.
    pub(super) fn apply_offer(
        &mut self,
        kit: Kit<'_>,
        dialect: &Dialect,
        other: OtherSide,
    ) -> Result<(), RelayError> {
        let Some(pending) = self.pending.clone() else { return Err(RelayError::NoOffer) };
        let Kit { now, certificate, bridge } = kit;
        self.adopt(&pending, Kit { now, certificate, bridge: &mut *bridge })?;
        if pending.facts.zrtp.is_some() && other.is_keyed && self.protocol == Protocol::Rtp {
            let kit = Kit { now, certificate, bridge: &mut *bridge };
            self.ensure_leg((Protocol::Zrtp, pending.facts.carries), kit)?;
        }
        self.settle(dialect, other.muxes);
        let Pending { facts, signalled_from, .. } = pending;
        if self.protocol == Protocol::Srtp && facts.carries != Carries::Datagrams {
            let keys = self.keys.as_mut().ok_or(KeyingError::NoCommonSuite)?;
            let (keys, line) = keys.answer(facts.cryptos.iter().cloned())?;
            self.chosen = Some(Box::new(line));
            let leg = bridge.leg_mut(self.id).ok_or(RelayError::NoOffer)?;
            leg.security.set_sdes(&keys).map_err(|_| KeyingError::NoCommonSuite)?;
        }
        self.describe(now, &facts, signalled_from, bridge)
    }

    /// The answer's payload types, then those of this side's offer that it did not repeat.
    pub(super) fn agreed_payloads(&self, answer: &Facts) -> Vec<PayloadType> {
        let mut payloads = answer.payloads.clone();
        let offered = self.pending.iter().flat_map(|pending| &pending.facts.payloads);
        for payload in offered {
            if payloads.iter().all(|p| p.number != payload.number) {
                payloads.push(payload.clone());
            }
        }
        payloads
    }

    /// What our offer to the peer says of us.
    pub(super) fn offer_face<'a>(&'a self, certificate: &'a Certificate) -> Face<'a> {
        if self.offers == Carries::Datagrams {
            return Face::in_clear(self.addr);
        }
        let cryptos = match self.protocol {
            Protocol::Srtp => self.keys.iter().flat_map(LocalKeys::offer).collect(),
            _ => Vec::new(),
        };
        // After the first handshake the role is kept; actpass would let the peer start another.
        let setup = match (self.described, self.dialect.dtls) {
            (true, _) => setup_for(self.dtls_role),
            (false, DtlsWish::Passive) => Setup::Passive,
            (false, DtlsWish::Active) => Setup::Active,
            (false, DtlsWish::Any | DtlsWish::Off) => Setup::ActPass,
        };
        let rtcp_fallback = self.dialect.rtcp_attribute;
        Face { cryptos, rtcp_fallback, ..self.face(certificate, setup) }
    }

    /// What our answer to the peer's offer says of us.
    pub(super) fn answer_face<'a>(&'a self, certificate: &'a Certificate) -> Face<'a> {
        if self.offers == Carries::Datagrams {
            return Face::in_clear(self.addr);
        }
        let cryptos = self.chosen.as_deref().filter(|_| self.protocol == Protocol::Srtp);
        let face = self.face(certificate, setup_for(self.dtls_role));
        Face { cryptos: cryptos.cloned().into_iter().collect(), ..face }
    }

    fn face<'a>(&'a self, certificate: &'a Certificate, setup: Setup) -> Face<'a> {
        let is_dtls = self.protocol == Protocol::WebRtc;
        Face {
            addr: self.addr,
            carries: self.offers,
            protocol: self.protocol,
            proto: Some(&self.proto),
            cryptos: Vec::new(),
            zrtp: self.zrtp.as_deref().copied().filter(|_| self.protocol == Protocol::Zrtp),
            dtls: is_dtls.then_some(DtlsFace { certificate, setup }),
            ice: self.credentials().map(|own| (own.ufrag.as_str(), own.pwd.as_str())),
            rtcp_mux: self.rtcp_mux,
            ice_options: (self.speaks_ice && self.dialect.trickle).then_some("trickle"),
            mid: self.mid().filter(|_| is_dtls || (self.speaks_ice && self.dialect.trickle)),
            bundled: self.bundled,
            rtcp_attribute: self.dialect.rtcp_attribute,
            rtcp_fallback: false,
        }
    }

    /// Our ICE credentials, where ICE is spoken.
    fn credentials(&self) -> Option<&Credentials> {
        self.ice.as_deref().filter(|_| self.speaks_ice)
    }

    /// Makes the leg, or makes it anew when the protocol changed before the peer was heard. A leg
    /// whose sound becomes a fax stays the leg it was.
    fn ensure_leg(
        &mut self,
        (protocol, carries): (Protocol, Carries),
        Kit { now, certificate, bridge }: Kit<'_>,
    ) -> Result<(), RelayError> {
        self.carries = carries;
        let fits = protocol == self.protocol || carries == Carries::Datagrams;
        if let Some(leg) = bridge.leg_mut(self.id).filter(|_| fits) {
            leg.carry(carries);
            return Ok(());
        }
        self.protocol = protocol;
        let security = match protocol {
            Protocol::Rtp => Security::Plain,
            Protocol::Srtp => Security::Sdes(None),
            Protocol::WebRtc => Security::dtls(now, certificate, self.dtls_role)?,
            Protocol::Zrtp => {
                let end = self.spare.take().ok_or(RelayError::NoOffer)?;
                self.zrtp = Some(Box::new(end.hello_hash()));
                Security::Zrtp(end)
            }
        };
        let own = self.credentials().filter(|_| carries != Carries::Datagrams);
        let agent = own.map(Credentials::agent);
        let mut leg = Leg::new(security, agent);
        leg.carry(carries);
        (leg.source, leg.tos) = (self.source, self.tos);
        bridge.insert_leg(self.id, leg);
        Ok(())
    }

    fn describe(
        &mut self,
        now: Instant,
        facts: &Facts,
        signalled_from: Option<IpAddr>,
        bridge: &mut Bridge,
    ) -> Result<(), RelayError> {
        let is_rtp = facts.carries != Carries::Datagrams;
        self.described |= is_rtp;
        let leg = bridge.leg_mut(self.id).ok_or(RelayError::NoOffer)?;
        let mut setup = facts.setup.clone();
        setup.signalled_from = signalled_from;
        setup.rtcp_mux = self.rtcp_mux && is_rtp;
        leg.describe(setup);
        let own = self.ice.as_deref().filter(|_| self.speaks_ice);
        match facts.ice.as_ref().zip(own) {
            Some(((ufrag, pwd), own)) => {
                let two = if self.rtcp_mux { None } else { Some(&mut leg.ice_rtcp) };
                for agent in [Some(&mut leg.ice), two].into_iter().flatten() {
                    let agent = agent.get_or_insert_with(|| own.agent());
                    agent.set_remote(ufrag, pwd);
                }
            }
            None => (leg.ice, leg.ice_rtcp) = (None, None),
        }
        if let Security::Zrtp(end) = &mut leg.security {
            end.begin(now, facts.zrtp.as_deref().copied());
        }
        if let (Some(handshake), Some(print)) = (leg.security.handshake_mut(), &facts.fingerprint) {
            handshake.set_remote(now, print.clone(), self.dtls_role);
        }
        Ok(())
    }

    fn note_dialect(&mut self, facts: &Facts) {
        let may_speak = match self.dialect.ice {
            IceWish::WithWebRtc => facts.protocol == Protocol::WebRtc,
            IceWish::AsOffered | IceWish::Force => true,
            IceWish::Remove => false,
        };
        self.speaks_ice = may_speak && facts.ice.is_some() && self.ice.is_some();
        self.rtcp_mux = facts.setup.rtcp_mux;
        self.mux_offered = facts.mux_offered;
        self.bundled = facts.bundled && facts.mid.is_some();
        self.mid.clone_from(&facts.mid);
    }
}
