//! One leg: the peer's path, protection and counters.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ice::{Lite, LiteEvent};
use rtp::{Error, Receiver, RtpPacket};

use super::feedback::Feedback;
use super::gate::Gate;
use super::latch::{Judgement, Latch, Position};
use super::security::Security;
use super::stats::LegCounters;
use super::{Component, LegId};

/// What packets a leg takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Carries {
    /// RTP with sound: it may be translated, silenced, recorded, and has keys pressed in it.
    #[default]
    Sound,
    /// Other RTP: video, text.
    Rtp,
    /// Datagrams that are no RTP, as they come: UDPTL of T.38, BFCP.
    Datagrams,
}

/// One side of a stream.
#[derive(Debug)]
pub struct Leg {
    /// What it takes.
    pub carries: Carries,
    /// The leg it is joined with.
    pub(super) peer: Option<LegId>,
    /// It is the caller's of the two.
    pub(super) of_caller: bool,
    /// How packets are protected.
    pub security: Security,
    /// The ICE-lite agent, when the peer uses ICE.
    pub ice: Option<Lite>,
    /// The agent of the RTCP component, where it has a port of its own (RFC 8445 §2.2).
    pub ice_rtcp: Option<Lite>,
    /// RTP and RTCP share the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// The peer's or our side's direction is not `sendrecv`.
    pub held: bool,
    /// The address and port RTP leaves by, if that needs no socket of its own.
    pub source: Option<SocketAddr>,
    /// The type of service octet of what leaves to the peer.
    pub tos: u8,
    /// What of the peer's media is turned off.
    pub gate: Gate,
    /// What came and went.
    pub counters: LegCounters,
    /// What the peer tells, from its first report on.
    pub(super) feedback: Option<Box<Feedback>>,
    pub(super) rtp: Latch,
    rtcp: Latch,
    /// The peer's SDP is known: its packets may be learned from.
    pub(super) described: bool,
    payloads: Arc<[PayloadType]>,
    /// Bit `n`: payload type `n` is known and no codec.
    no_codec: u128,
    receiver: Receiver,
    /// The number of the last datagram that is no RTP.
    pub(super) last_datagram: u16,
    consent_lost: bool,
    handshake_failed: bool,
    /// Where DTLS or ZRTP came from, on a leg without ICE.
    dtls_from: Option<SocketAddr>,
}

/// What the peer's SDP says of its media.
#[derive(Debug, Clone, Default)]
pub struct LegSetup {
    /// Where it wants RTP; `None` when it gave no address (or 0.0.0.0).
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP.
    pub rtcp: Option<SocketAddr>,
    /// The address its signalling came from.
    pub signalled_from: Option<IpAddr>,
    /// Whether RTCP shares the RTP port.
    pub rtcp_mux: bool,
    /// Whether its direction is other than `sendrecv`.
    pub held: bool,
}

/// A payload type and its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadType {
    /// 0..=127.
    pub number: u8,
    /// The encoding's name, as in SDP.
    pub encoding: String,
    /// In Hz.
    pub clock_rate: u32,
}

impl PayloadType {
    fn is_codec(&self) -> bool {
        !self.is_events() && !self.is_noise() && !self.is_repair()
    }

    /// Whether it is of telephone events (RFC 4733).
    pub fn is_events(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("telephone-event")
    }

    /// Whether it is comfort noise (RFC 3389).
    pub fn is_noise(&self) -> bool {
        self.encoding.eq_ignore_ascii_case("CN")
    }

    /// Retransmissions (RFC 4588) and forward error correction (RFC 5109, RFC 8627) of a stream of
    /// their own.
    fn is_repair(&self) -> bool {
        ["rtx", "ulpfec", "flexfec", "flexfec-03", "parityfec"]
            .iter()
            .any(|name| self.encoding.eq_ignore_ascii_case(name))
    }
}

impl Leg {
    /// A leg whose peer has not described itself yet.
    pub fn new(security: Security, ice: Option<Lite>) -> Self {
        Self {
            carries: Carries::Sound,
            peer: None,
            of_caller: false,
            security,
            ice,
            ice_rtcp: None,
            rtcp_mux: false,
            held: false,
            source: None,
            tos: 0,
            gate: Gate::default(),
            counters: LegCounters::default(),
            feedback: None,
            rtp: Latch::default(),
            rtcp: Latch::default(),
            described: false,
            payloads: Arc::default(),
            no_codec: 0,
            receiver: Receiver::new(8000),
            last_datagram: 0,
            consent_lost: false,
            handshake_failed: false,
            dtls_from: None,
        }
    }

    /// Takes packets of this kind from now on. Keys stay: sound that comes back goes on with them.
    pub fn carry(&mut self, what: Carries) {
        if self.carries != what {
            self.last_datagram = 0;
        }
        self.carries = what;
    }

    /// Takes what the peer's SDP says. Learned paths stay unless the SDP names another address.
    pub fn describe(&mut self, setup: LegSetup) {
        self.rtp.set_hint(setup.rtp, setup.signalled_from);
        self.rtcp.set_hint(setup.rtcp, setup.signalled_from);
        self.rtcp_mux = setup.rtcp_mux;
        self.held = setup.held;
        self.described = true;
    }

    /// The payload types of offer and answer, the answer's first. A sender uses the numbers of the
    /// side it sends to (RFC 3264 §5.1), so both sides' count for each leg.
    pub fn set_payloads(&mut self, payloads: Arc<[PayloadType]>) {
        let clock = |p: &[PayloadType]| p.iter().find(|p| p.is_codec()).map(|p| p.clock_rate);
        if clock(&payloads) != clock(&self.payloads) {
            self.receiver = Receiver::new(clock(&payloads).unwrap_or(8000));
        }
        let others = payloads.iter().filter(|p| !p.is_codec() && p.number < 128);
        self.no_codec = others.fold(0, |mask, p| mask | 1 << p.number);
        self.payloads = payloads;
    }

    /// Opens, checks and counts an RTP packet; its clear length, and whether it is the first.
    pub(super) fn receive_rtp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        buf: &mut [u8],
        len: usize,
    ) -> Option<(usize, bool)> {
        let Ok(header) = RtpPacket::parse(&buf[..len]).map(|p| p.header()) else {
            self.counters.dropped.malformed += 1;
            return None;
        };
        if !self.described {
            self.counters.dropped.early += 1;
            return None;
        }
        let at = Position { ssrc: header.ssrc, sequence: header.sequence };
        let (len, judgement) = self.open_rtp(now, from, at, buf, len)?;
        match judgement {
            Judgement::Foreign => {
                self.counters.dropped.injected += 1;
                return None;
            }
            Judgement::Moved => {
                self.counters.moves += 1;
                self.rtcp.reopen();
            }
            Judgement::Learned | Judgement::Known => {}
        }
        let starts = self.counters.packets_received == 0;
        self.counters.packets_received += 1;
        self.counters.bytes_received += len as u64;
        self.counters.last_received = Some(now);
        self.note_payload_type(header.payload_type);
        // What repairs a stream has sequence numbers of its own.
        if !self.is_repair(header.payload_type) {
            self.receiver.handle_packet(now, header.sequence, header.timestamp);
        }
        Some((len, starts))
    }

    fn open_rtp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: Position,
        buf: &mut [u8],
        len: usize,
    ) -> Option<(usize, Judgement)> {
        let contexts = match self.security.contexts() {
            Ok(Some(contexts)) => contexts,
            Ok(None) => return Some((len, self.rtp.judge_plain(now, from, at))),
            Err(_) => {
                self.counters.dropped.early += 1;
                return None;
            }
        };
        let opened = contexts.inbound.unprotect_rtp(buf, len);
        if let (Security::Zrtp(agreement), Ok(_)) = (&mut self.security, &opened) {
            agreement.note_srtp();
        }
        match opened {
            // With ICE the path is the agent's business: authenticated packets come from where
            // they like, what we send goes to the nominated pair.
            Ok(len) if self.ice.is_some() => Some((len, Judgement::Known)),
            Ok(len) => {
                let newest = self.receiver.is_newest(at.sequence);
                Some((len, self.rtp.judge_authenticated(now, from, at, newest)))
            }
            Err(error) => {
                self.count_refusal(error);
                None
            }
        }
    }

    /// Whether what is turned off lets a clear packet pass; sound may be silenced in place.
    pub(super) fn passes_gate(&mut self, buf: &mut [u8], len: usize) -> bool {
        let (Ok(packet), gate) = (RtpPacket::parse(&buf[..len]), self.gate) else { return false };
        let (number, header) = (packet.header().payload_type, len - packet.payload().len());
        let passes = gate.admit(self.payload(number), &mut buf[header..len]);
        self.counters.dropped.gated += u64::from(!passes);
        passes
    }

    /// Opens and checks an RTCP packet; its clear length.
    pub(super) fn receive_rtcp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        component: Component,
        buf: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        if len < 8 || !self.described {
            self.counters.dropped.early += 1;
            return None;
        }
        let muxed = component == Component::Rtp;
        let len = match self.security.contexts() {
            Ok(Some(contexts)) => match contexts.inbound.unprotect_rtcp(buf, len) {
                Ok(len) => {
                    if !muxed && self.ice.is_none() {
                        self.rtcp.judge_authenticated(now, from, Position::default(), true);
                    }
                    len
                }
                Err(error) => {
                    self.count_refusal(error);
                    return None;
                }
            },
            Ok(None) => {
                let beside = self.rtp.locked();
                let foreign = if muxed {
                    beside.is_some_and(|rtp| rtp != from)
                } else {
                    self.rtcp.judge_rtcp(now, from, beside) == Judgement::Foreign
                };
                if foreign {
                    self.counters.dropped.injected += 1;
                    return None;
                }
                len
            }
            Err(_) => {
                self.counters.dropped.early += 1;
                return None;
            }
        };
        self.counters.rtcp_received += 1;
        Some(len)
    }

    /// Seals an RTP packet for this leg's peer: where to, and its length.
    pub(super) fn send_rtp(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        len: usize,
    ) -> Option<(SocketAddr, usize)> {
        let to = self.destination(now, Component::Rtp)?;
        let sealed = match self.security.contexts() {
            Ok(Some(contexts)) => contexts.seal_rtp(buf, len).ok(),
            Ok(None) => Some(len),
            Err(_) => None,
        };
        let Some(len) = sealed else {
            self.counters.dropped.unsent += 1;
            return None;
        };
        self.counters.packets_sent += 1;
        self.counters.bytes_sent += len as u64;
        Some((to, len))
    }

    /// Seals an RTCP packet for this leg's peer: where to, its length, and by which port.
    pub(super) fn send_rtcp(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        len: usize,
    ) -> Option<(SocketAddr, usize, Component)> {
        let component = if self.rtcp_mux { Component::Rtp } else { Component::Rtcp };
        let to = self.destination(now, component)?;
        let sealed = match self.security.contexts() {
            Ok(Some(contexts)) => contexts.outbound.protect_rtcp(buf, len).ok(),
            Ok(None) => Some(len),
            Err(_) => None,
        };
        let Some(len) = sealed else {
            self.counters.dropped.unsent += 1;
            return None;
        };
        self.counters.rtcp_sent += 1;
        Some((to, len, component))
    }

    /// Answers a connectivity check; the bytes to send back.
    pub(super) fn handle_stun(
        &mut self,
        now: Instant,
        (component, from): (Component, SocketAddr),
        datagram: &[u8],
    ) -> Option<Vec<u8>> {
        // Phones without ICE keep their NAT open with bare Binding requests: nothing to say.
        let agent = match component {
            Component::Rtp => self.ice.as_mut()?,
            Component::Rtcp => self.ice_rtcp.as_mut()?,
        };
        let before = agent.selected();
        let mut out = Vec::new();
        match agent.handle(now, from, datagram, &mut out) {
            LiteEvent::Ignored => {
                self.counters.dropped.malformed += 1;
                None
            }
            LiteEvent::Nominated(addr) if before.is_some_and(|b| b != addr) => {
                self.counters.moves += 1;
                Some(out)
            }
            _ => Some(out),
        }
    }

    /// Takes a DTLS datagram. With ICE it must come by a checked path.
    pub(super) fn handle_dtls(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let trusted = self.ice.as_ref().is_none_or(|agent| agent.is_checked(from));
        let Some(handshake) = self.security.handshake_mut().filter(|_| trusted) else {
            self.counters.dropped.injected += 1;
            return;
        };
        self.dtls_from = Some(from);
        self.handshake_failed |= handshake.handle_packet(now, datagram);
    }

    /// Takes a packet of ZRTP from a peer that agrees on keys with us.
    pub(super) fn handle_zrtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Security::Zrtp(agreement) = &mut self.security else { return };
        if !self.described || rtp::zrtp::Packet::parse(datagram).is_err() {
            self.counters.dropped.malformed += 1;
            return;
        }
        // With keys, only who has them moves the path.
        if !agreement.is_secure() {
            self.dtls_from = Some(from);
        }
        self.handshake_failed |= agreement.handle_packet(now, datagram);
    }

    /// Whether a packet of ZRTP goes on to the other side as it is: the two ends agree on keys of
    /// their own (RFC 6189), which only a leg in clear leaves room for. It moves no latch.
    pub(super) fn passes_zrtp(&self, from: SocketAddr) -> bool {
        // With ICE it must come by a checked path, as DTLS.
        let known = match &self.ice {
            Some(agent) => agent.is_checked(from),
            None => self.rtp.destination() == Some(from),
        };
        !self.security.is_secure() && known
    }

    /// Where the other side's packet of ZRTP goes, if the peer can be meant by it.
    pub(super) fn zrtp_destination(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.security.is_secure() { None } else { self.destination(now, Component::Rtp) }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let ready = self.dtls_destination(now).is_some();
        if let Some(handshake) = self.security.handshake_mut().filter(|_| ready) {
            self.handshake_failed |= handshake.handle_timeout(now);
        }
        if let (Security::Zrtp(agreement), true) = (&mut self.security, ready) {
            self.handshake_failed |= agreement.handle_timeout(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let handshake = match &self.security {
            Security::Dtls(handshake) => handshake,
            Security::Zrtp(agreement) => return agreement.poll_timeout(),
            Security::Plain | Security::Sdes(_) => return None,
        };
        let consent = self.ice.as_ref().and_then(Lite::consent_deadline);
        let consent = consent.filter(|_| !self.consent_lost);
        handshake.poll_timeout().into_iter().chain(consent).min()
    }

    /// Handshake datagrams to send and whether the handshake just failed.
    pub(super) fn take_dtls_output(&mut self, now: Instant) -> (Vec<(SocketAddr, Vec<u8>)>, bool) {
        let failed = std::mem::take(&mut self.handshake_failed);
        let to = self.dtls_destination(now);
        let Some(to) = to else { return (Vec::new(), failed) };
        let datagrams = std::iter::from_fn(|| self.security.poll_datagram()).map(|d| (to, d));
        (datagrams.collect(), failed)
    }

    /// True once when the peer's consent has expired.
    pub(super) fn notice_consent_loss(&mut self, now: Instant) -> bool {
        let Some(agent) = &self.ice else { return false };
        let lost = agent.consent_deadline().is_some() && !agent.has_consent(now);
        lost && !std::mem::replace(&mut self.consent_lost, lost)
    }

    /// Where packets for the peer go now.
    pub fn destination(&mut self, now: Instant, component: Component) -> Option<SocketAddr> {
        if let Some(agent) = &self.ice {
            self.consent_lost &= !agent.has_consent(now);
            let agent = match component {
                Component::Rtp => agent,
                Component::Rtcp => self.ice_rtcp.as_ref().unwrap_or(agent),
            };
            return agent.selected().filter(|_| agent.has_consent(now));
        }
        let path = match component {
            Component::Rtp => &self.rtp,
            Component::Rtcp => &self.rtcp,
        };
        path.destination()
    }

    /// As [`Leg::source`], for one of the leg's ports.
    pub(super) fn source_of(&self, component: Component) -> Option<SocketAddr> {
        let mut source = self.source?;
        source.set_port(source.port() + u16::from(component == Component::Rtcp));
        Some(source)
    }

    /// The address the peer's RTP comes from, once it came, and its place in the stream.
    pub(super) fn latched(&self) -> Option<(SocketAddr, Position)> {
        self.rtp.position()
    }

    /// The clock of what comes, and its jitter in sixteenths of that.
    pub(crate) fn clock_and_jitter(&self) -> (u32, u32) {
        self.receiver.clock_and_jitter()
    }

    pub(super) fn note_payload_type(&mut self, number: u8) {
        if self.no_codec >> number & 1 == 0 {
            self.counters.payload_type = Some(number);
        }
    }

    fn is_repair(&self, number: u8) -> bool {
        let is_codec = self.no_codec >> number & 1 == 0;
        !is_codec && self.payload(number).is_some_and(PayloadType::is_repair)
    }

    /// Whether all that comes is of one source: what repairs a stream has one of its own.
    pub(super) fn has_one_source(&self) -> bool {
        match self.carries {
            Carries::Sound => true,
            Carries::Rtp => self.no_codec == 0,
            Carries::Datagrams => false,
        }
    }

    /// Packets of the peer's went by elsewhere, the last of them this one.
    pub(super) fn note_position(&mut self, last: Instant, at: Position) {
        self.rtp.note(last, at);
    }

    /// As counted elsewhere: packets, the newest number, jitter.
    pub(super) fn note_received(&mut self, packets: u64, newest: u16, jitter_x16: u32) {
        self.receiver.take_count(packets, newest, jitter_x16);
    }

    /// Loss and jitter of what came from the peer.
    pub fn reception(&self) -> rtp::ReceiverStats {
        self.receiver.stats()
    }

    /// All payload types that were agreed; the answer's first.
    pub fn payloads(&self) -> &[PayloadType] {
        &self.payloads
    }

    /// The meaning of a payload type.
    pub fn payload(&self, number: u8) -> Option<&PayloadType> {
        self.payloads.iter().find(|p| p.number == number)
    }

    /// The codec the peer sends; before that, its first choice.
    pub fn codec(&self) -> Option<&PayloadType> {
        let sent = self.counters.payload_type.and_then(|n| self.payload(n));
        sent.or_else(|| self.payloads.iter().find(|p| p.is_codec()))
    }

    fn dtls_destination(&mut self, now: Instant) -> Option<SocketAddr> {
        if self.ice.is_some() {
            return self.ice.as_ref().and_then(Lite::selected);
        }
        self.dtls_from.or_else(|| self.destination(now, Component::Rtp))
    }

    fn count_refusal(&mut self, error: Error) {
        let dropped = &mut self.counters.dropped;
        match error {
            Error::Replayed | Error::TooOld => dropped.replayed += 1,
            Error::Authentication | Error::TooManyStreams => dropped.unauthenticated += 1,
            _ => dropped.malformed += 1,
        }
    }
}
