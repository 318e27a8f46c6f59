//! Control's view of one leg: its ports, its keys, and what was agreed with its peer.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ice::Lite;
use media::keying::KeyingError;
use media::keying::dtls::{Certificate, DtlsRole};
use media::keying::sdes::LocalKeys;
use sansio::Entropy;
use sdp::{Crypto, Setup};

use super::codecs::{Agreement, Offer};
use super::facts::Facts;
use super::writer::{DtlsFace, Face, Rejected, setup_for};
use crate::RelayError;
use crate::api::{LegProfile, LegStats, Protocol};
use crate::bridge::{Bridge, Component, Leg, LegId, PayloadType, Security};
use crate::dialect::{Dialect, DtlsWish, IceWish};

/// RFC 8839 §5.4 asks for 24 bits and 128 bits; a character of a token is worth five.
const UFRAG_LEN: usize = 8;
const PWD_LEN: usize = 28;

/// What a peer did last in offer/answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It offered, and waits for our answer (or has had it).
    Offerer,
    /// It was offered to.
    Answerer,
}

/// One leg.
#[derive(Debug)]
pub(super) struct Side {
    pub id: LegId,
    pub interface: usize,
    /// The advertised address and our even port.
    pub addr: SocketAddr,
    /// Where packets leave by without a socket.
    pub source: Option<SocketAddr>,
    pub tag: String,
    pub role: Option<Role>,
    /// How we talk with the peer; fixed once a description of its own was taken.
    protocol: Protocol,
    proto: String,
    /// The peer has described itself.
    described: bool,
    /// Made when they are first needed: a plain call has none.
    keys: Option<LocalKeys>,
    ufrag: String,
    pwd: String,
    remote_ufrag: Option<String>,
    /// The peer's offer, applied when it is answered: whoever refuses it leaves all as it was.
    pending: Option<Pending>,
    shape: Vec<Rejected>,
    chosen: Option<Crypto>,
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
    credentials: [String; 2],
}

/// What one side offered, as far as the other is offered it too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    pub ice: bool,
    pub mux: bool,
}

/// What a side needs from the session.
pub(super) struct Kit<'a> {
    pub now: Instant,
    pub certificate: &'a Certificate,
    pub bridge: &'a mut Bridge,
}

impl Side {
    pub(super) fn new(
        id: LegId,
        interface: usize,
        addr: SocketAddr,
        entropy: &mut dyn Entropy,
    ) -> Self {
        Self {
            id,
            interface,
            addr,
            source: None,
            tag: String::new(),
            role: None,
            protocol: Protocol::Rtp,
            proto: String::new(),
            described: false,
            keys: None,
            ufrag: entropy.token(UFRAG_LEN),
            pwd: entropy.token(PWD_LEN),
            remote_ufrag: None,
            pending: None,
            shape: Vec::new(),
            chosen: None,
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
        shape: Vec<Rejected>,
        (signalled_from, dialect): (Option<IpAddr>, &Dialect),
        kit: Kit<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), RelayError> {
        self.dialect.clone_from(dialect);
        // Keys that cannot be used refuse the offer, not its answer.
        self.chosen = match facts.protocol {
            Protocol::Srtp => {
                let keys = self.keys.get_or_insert_with(|| LocalKeys::new(entropy));
                Some(keys.answer(facts.cryptos.iter().cloned())?.1)
            }
            Protocol::WebRtc if facts.fingerprint.is_none() => {
                return Err(KeyingError::FingerprintMismatch.into());
            }
            _ => None,
        };
        self.role = Some(Role::Offerer);
        self.shape = shape;
        let dtls_role = match (facts.dtls_setup, dialect.dtls) {
            (Some(Setup::Passive), _) => DtlsRole::Client,
            // RFC 8842 §5.5: whoever offers both again, with the certificate it had, wants no other
            // association: the roles stay.
            (Some(Setup::ActPass), _) if self.knows(&facts, kit.bridge) => self.dtls_role,
            (Some(Setup::ActPass), DtlsWish::Active) => DtlsRole::Client,
            _ => DtlsRole::Server,
        };
        let credentials = [entropy.token(UFRAG_LEN), entropy.token(PWD_LEN)];
        let pending = Pending { facts, signalled_from, dtls_role, credentials };
        if !self.described {
            self.adopt(&pending, kit)?;
        }
        self.pending = Some(pending);
        Ok(())
    }

    /// Whether the peer has this certificate already.
    fn knows(&self, facts: &Facts, bridge: &mut Bridge) -> bool {
        let leg = bridge.leg_mut(self.id);
        let handshake = leg.and_then(|leg| leg.security.handshake_mut());
        let known = handshake.and_then(|handshake| handshake.remote_fingerprint());
        known.is_some() && known == facts.fingerprint.as_ref()
    }

    /// Speaks with the peer as its offer does. The same offer again changes nothing.
    fn adopt(&mut self, pending: &Pending, kit: Kit<'_>) -> Result<(), RelayError> {
        let facts = &pending.facts;
        self.proto.clone_from(&facts.proto);
        self.note_dialect(facts);
        self.dtls_role = pending.dtls_role;
        let restarted = self.note_ufrag(facts);
        self.ensure_leg(facts.protocol, kit.now, kit.certificate, kit.bridge)?;
        if restarted {
            [self.ufrag, self.pwd] = pending.credentials.clone();
            if let Some(leg) = kit.bridge.leg_mut(self.id) {
                for agent in leg.ice.iter_mut().chain(&mut leg.ice_rtcp) {
                    agent.restart(&self.ufrag, &self.pwd);
                }
            }
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
        self.role = Some(Role::Answerer);
        self.dialect.clone_from(&profile.dialect);
        if self.described {
            return Ok(());
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
        self.rtcp_mux = (is_webrtc && !dialect.mux.demux) || dialect.mux.offers(offered.mux);
        self.mid = is_webrtc.then(|| "0".to_owned());
        self.bundled = is_webrtc;
        let usual = match protocol {
            Protocol::Rtp => "RTP/AVP",
            Protocol::Srtp => "RTP/SAVP",
            Protocol::WebRtc => "UDP/TLS/RTP/SAVPF",
        };
        self.proto = dialect.transport.as_deref().unwrap_or(usual).to_owned();
        self.ensure_leg(protocol, kit.now, kit.certificate, kit.bridge)
    }

    /// What the peer offered, as far as it is passed on.
    pub(super) fn offered(&self) -> Offered {
        let offer = self.pending.as_ref().map(|pending| &pending.facts);
        let ice = offer.is_some_and(|facts| facts.ice.is_some());
        Offered { ice, mux: offer.is_some_and(|facts| facts.mux_offered) }
    }

    /// The other side has answered: whether the one who offered to share a port may.
    fn settle(&mut self, dialect: &Dialect, other_muxes: bool) {
        if dialect.ice == IceWish::Remove {
            self.speaks_ice = false;
        }
        let granted = self.dialect.mux.grants(other_muxes) || dialect.mux.accept;
        self.rtcp_mux |= self.mux_offered && granted && !dialect.mux.reject;
        self.dialect.rtcp_attribute = dialect.rtcp_attribute;
        self.dialect.keep_origin = dialect.keep_origin;
    }

    /// How its media is keyed.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether RTP and RTCP share a port.
    pub(super) fn muxes(&self) -> bool {
        self.rtcp_mux
    }

    /// The peer answered our offer.
    pub(super) fn apply_answer(
        &mut self,
        now: Instant,
        facts: &Facts,
        signalled_from: Option<IpAddr>,
        bridge: &mut Bridge,
    ) -> Result<(), RelayError> {
        if facts.protocol != self.protocol {
            return Err(RelayError::ProtocolMismatch(facts.proto.clone()));
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
        self.describe(now, facts, signalled_from, bridge)
    }

    /// The peer's offer is answered: what it said holds now.
    pub(super) fn apply_offer(
        &mut self,
        kit: Kit<'_>,
        dialect: &Dialect,
        other_muxes: bool,
    ) -> Result<(), RelayError> {
        let Some(pending) = self.pending.clone() else { return Err(RelayError::NoOffer) };
        let Kit { now, certificate, bridge } = kit;
        self.adopt(&pending, Kit { now, certificate, bridge })?;
        self.settle(dialect, other_muxes);
        let Pending { facts, signalled_from, .. } = pending;
        if self.protocol == Protocol::Srtp {
            let keys = self.keys.as_mut().ok_or(KeyingError::NoCommonSuite)?;
            let (keys, line) = keys.answer(facts.cryptos.iter().cloned())?;
            self.chosen = Some(line);
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
        Face { cryptos, shape: &[], rtcp_fallback, ..self.face(certificate, setup) }
    }

    /// What our answer to the peer's offer says of us.
    pub(super) fn answer_face<'a>(&'a self, certificate: &'a Certificate) -> Face<'a> {
        let cryptos = self.chosen.iter().filter(|_| self.protocol == Protocol::Srtp);
        let face = self.face(certificate, setup_for(self.dtls_role));
        Face { cryptos: cryptos.cloned().collect(), ..face }
    }

    /// The leg's figures.
    pub(super) fn stats(
        &self,
        now: Instant,
        branch: Option<u32>,
        bridge: &mut Bridge,
    ) -> Option<LegStats> {
        let leg = bridge.leg_mut(self.id)?;
        let remote = leg.destination(now, Component::Rtp);
        let reception = leg.reception();
        let codec = leg.codec();
        let counters = &leg.counters;
        let since = |at: Instant| now.saturating_duration_since(at).as_millis() as u64;
        let dropped = counters.dropped;
        Some(LegStats {
            branch,
            tag: self.tag.clone(),
            protocol: self.protocol,
            port: self.addr.port(),
            remote,
            codec: codec.map(|c| c.encoding.clone()),
            payload_type: codec.map(|c| c.number),
            held: leg.held,
            packets_received: counters.packets_received,
            bytes_received: counters.bytes_received,
            packets_sent: counters.packets_sent,
            bytes_sent: counters.bytes_sent,
            rtcp_received: counters.rtcp_received,
            lost: reception.lost,
            jitter_ms: reception.jitter.as_secs_f64() * 1e3,
            last_packet_ms: counters.last_received.map(since),
            moves: counters.moves,
            dropped_injected: dropped.injected,
            dropped_unauthenticated: dropped.unauthenticated + dropped.replayed,
            dropped_other: dropped.malformed + dropped.early + dropped.unsent,
        })
    }

    fn face<'a>(&'a self, certificate: &'a Certificate, setup: Setup) -> Face<'a> {
        let is_dtls = self.protocol == Protocol::WebRtc;
        Face {
            addr: self.addr,
            protocol: self.protocol,
            proto: &self.proto,
            cryptos: Vec::new(),
            dtls: is_dtls.then_some(DtlsFace { certificate, setup }),
            ice: self.speaks_ice.then_some((self.ufrag.as_str(), self.pwd.as_str())),
            rtcp_mux: self.rtcp_mux,
            mid: self.mid.as_deref().filter(|_| is_dtls),
            bundled: self.bundled,
            shape: &self.shape,
            rtcp_attribute: self.dialect.rtcp_attribute,
            rtcp_fallback: false,
            keep_origin: self.dialect.keep_origin,
        }
    }

    /// Makes the leg, or makes it anew when the protocol changed before the peer was heard.
    fn ensure_leg(
        &mut self,
        protocol: Protocol,
        now: Instant,
        certificate: &Certificate,
        bridge: &mut Bridge,
    ) -> Result<(), RelayError> {
        if protocol == self.protocol && bridge.leg(self.id).is_some() {
            return Ok(());
        }
        self.protocol = protocol;
        let security = match protocol {
            Protocol::Rtp => Security::Plain,
            Protocol::Srtp => Security::Sdes(None),
            Protocol::WebRtc => Security::dtls(now, certificate, self.dtls_role)?,
        };
        let agent = self.speaks_ice.then(|| Lite::new(&self.ufrag, &self.pwd));
        let mut leg = Leg::new(security, agent);
        leg.source = self.source;
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
        self.described = true;
        let leg = bridge.leg_mut(self.id).ok_or(RelayError::NoOffer)?;
        let mut setup = facts.setup.clone();
        setup.signalled_from = signalled_from;
        setup.rtcp_mux = self.rtcp_mux;
        leg.describe(setup);
        match facts.ice.as_ref().filter(|_| self.speaks_ice) {
            Some((ufrag, pwd)) => {
                let two = if self.rtcp_mux { None } else { Some(&mut leg.ice_rtcp) };
                for agent in [Some(&mut leg.ice), two].into_iter().flatten() {
                    let agent = agent.get_or_insert_with(|| Lite::new(&self.ufrag, &self.pwd));
                    agent.set_remote(ufrag, pwd);
                }
            }
            None => (leg.ice, leg.ice_rtcp) = (None, None),
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
        self.speaks_ice = may_speak && facts.ice.is_some();
        self.rtcp_mux = facts.setup.rtcp_mux;
        self.mux_offered = facts.mux_offered;
        self.bundled = facts.bundled && facts.mid.is_some();
        self.mid.clone_from(&facts.mid);
    }

    /// Remembers the peer's ufrag; true when it is another than before: an ICE restart.
    fn note_ufrag(&mut self, facts: &Facts) -> bool {
        let new = facts.ice.as_ref().map(|(ufrag, _)| ufrag.clone());
        let restarted = self.remote_ufrag.is_some() && new.is_some() && self.remote_ufrag != new;
        self.remote_ufrag = new.or(self.remote_ufrag.take());
        restarted
    }
}
