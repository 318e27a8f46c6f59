//! The packet path of one session, without sockets: who sent this, may they, where does it go.
//!
//! ```text
//!   handle_packet(now, port, from, buf) ┬─ STUN  ─► ice::Lite        ─► outbox (response)
//!                                       ├─ DTLS  ─► DtlsEndpoint     ─► outbox, keys
//!                                       ├─ RTP   ─► open ─ latch ─ count ─► other leg: seal ─► Forward
//!                                       └─ RTCP  ─► open ─ latch ─────────► other leg: seal ─► Forward
//!                      a leg of UDPTL:  any bytes  ─► latch ─ count ───────► other leg ───────► Forward
//! ```
//!
//! The hot case returns a [`Forward`] that names socket, destination and length; the bytes were
//! changed in place. What the legs say of their own accord waits in [`Bridge::poll_transmit`].
//! A stream of the call is a pair of legs, the caller's and that of the branch it is joined with;
//! what other branches send is dropped.

mod aside;
mod datagrams;
mod fast_path;
mod feedback;
mod gate;
mod home;
mod injection;
mod latch;
mod leg;
mod player;
mod processing;
mod security;
mod stats;
mod tap;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtp::PacketKind;

use aside::Aside;
pub use fast_path::KernelStream;
use fast_path::OpenStream;
pub use feedback::{Bleached, Feedback};
pub use gate::{Gate, MediaSwitch};
pub use home::{BridgeGuard, Home, SharedBridge, Shelf};
pub use latch::Latch;
pub use leg::{Carries, Leg, LegSetup, PayloadType};
pub use player::{Player, Rounds, SOUND_MAX, playable};
use processing::Processing;
pub use security::{Security, ZrtpEnd};
pub use stats::{DropCounts, LegCounters};
pub use tap::PacketTap;
use tap::Tapped;

/// Packets that may wait to be sent by the legs themselves.
const OUTBOX_MAX: usize = 64;

/// A leg of a session: 0 is the caller's first, the others are its further streams' and branches'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u16);

impl LegId {
    /// The leg of the caller's first stream.
    pub const CALLER: Self = Self(0);
}

/// One of a leg's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// The even port; with rtcp-mux the only one in use.
    Rtp,
    /// The odd port.
    Rtcp,
}

/// A port of a leg: the socket a packet came by, or goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port {
    /// The leg.
    pub leg: LegId,
    /// Which of its ports.
    pub component: Component,
}

/// Send the first `len` bytes of the buffer to `to`, by the socket of `port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The socket.
    pub port: Port,
    /// The address it leaves by without a socket, if its leg's ports are led to one for all.
    pub source: Option<SocketAddr>,
    /// The type of service octet it leaves with then.
    pub tos: u8,
    /// The destination.
    pub to: SocketAddr,
    /// The packet's new length.
    pub len: usize,
}

/// A packet a leg sends of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The socket.
    pub port: Port,
    /// The destination.
    pub to: SocketAddr,
    /// The packet.
    pub bytes: Vec<u8>,
}

/// What happened on the media path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeEvent {
    /// A leg's first RTP packet, or its first after a reported silence.
    MediaStarted(LegId),
    /// No RTP from any leg for the configured time, and nobody holds the call.
    MediaSilent,
    /// A leg's DTLS handshake failed; its media cannot flow.
    HandshakeFailed(LegId),
    /// A leg's ICE consent expired (RFC 7675): nothing is sent to it until it checks again.
    ConsentLost(LegId),
    /// Marks of a leg's packets do not come through: a phone of ours says what it puts on them, and
    /// what it gets. Once for each way.
    MarksLost {
        /// The leg.
        leg: LegId,
        /// Of what comes from its peer.
        inbound: bool,
        /// Of what goes there.
        outbound: bool,
    },
    /// A key was pressed on a leg, for a side that wants INFO.
    Digit {
        /// Where it was pressed.
        from: LegId,
        /// `0-9*#A-D`.
        digit: char,
        /// How long it was down.
        duration_ms: u32,
    },
}

/// The legs of one session and the way between them.
#[derive(Debug)]
pub struct Bridge {
    legs: Vec<Option<Box<Leg>>>,
    /// What is done to packets between caller and branch, for each stream of sound that needs it:
    /// none on most calls.
    processing: Vec<Processing>,
    /// Who listens.
    tap: Option<Tapped>,
    /// What the kernel forwards meanwhile.
    streams: Vec<OpenStream>,
    /// Players and third parties; none on most calls.
    aside: Option<Box<Aside>>,
    /// The caller's leg of the stream that is listened to.
    sound: LegId,
    silence: Duration,
    /// Since when silence counts: the answer, the last RTP, or the end of a hold.
    heard: Option<Instant>,
    silent: bool,
    /// Somebody holds the call, and it was silent for long enough to look at that.
    bears: bool,
    /// Seconds that a hold without sound is borne; 0 for ever.
    held_s: u32,
    outbox: VecDeque<Transmit>,
    events: VecDeque<BridgeEvent>,
}

impl Bridge {
    /// An empty bridge that reports silence after `silence`.
    pub fn new(silence: Duration) -> Self {
        Self {
            legs: Vec::new(),
            processing: Vec::new(),
            tap: None,
            streams: Vec::new(),
            aside: None,
            sound: LegId::CALLER,
            silence,
            heard: None,
            silent: false,
            bears: false,
            held_s: 0,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Puts a leg in its place.
    pub fn insert_leg(&mut self, id: LegId, leg: Leg) {
        let at = usize::from(id.0);
        if self.legs.len() <= at {
            self.legs.resize_with(at + 1, || None);
        }
        self.legs[at] = Some(Box::new(leg));
    }

    /// Takes a leg out.
    pub fn remove_leg(&mut self, id: LegId) -> Option<Box<Leg>> {
        let leg = self.legs.get_mut(usize::from(id.0))?.take()?;
        if let Some(other) = leg.peer.and_then(|peer| self.leg_mut(peer)) {
            other.peer = None;
        }
        self.processing.retain(|p| !p.is_of(id));
        self.leave_aside(id);
        Some(leg)
    }

    /// A leg.
    pub fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.get(usize::from(id.0))?.as_deref()
    }

    /// A leg, to change.
    pub fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.get_mut(usize::from(id.0))?.as_deref_mut()
    }

    /// Joins a leg of the caller's with one of a branch's, instead of whom they talked with before.
    /// From the first time on silence counts.
    pub fn join(&mut self, now: Instant, caller: LegId, branch: LegId) {
        for (id, other) in [(caller, branch), (branch, caller)] {
            let Some(leg) = self.leg_mut(id) else { continue };
            leg.of_caller = id == caller;
            let before = leg.peer.replace(other).filter(|before| *before != other);
            if let Some(left) = before.and_then(|before| self.leg_mut(before)) {
                left.peer = None;
            }
        }
        self.heard.get_or_insert(now);
    }

    /// Whether a branch has answered.
    pub fn is_answered(&self) -> bool {
        self.heard.is_some()
    }

    /// Takes one datagram in `buf[..len]` that came by `port`. The buffer needs
    /// [`rtp::srtp::MAX_TRAILER`] bytes of room behind it.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        port: Port,
        from: SocketAddr,
        buf: &mut [u8],
        len: usize,
    ) -> Option<Forward> {
        let kind = rtp::kind(buf.get(..len)?);
        let leg = self.leg_mut(port.leg)?;
        if leg.carries == Carries::Datagrams {
            return self.pass_datagram(now, port, from, &buf[..len]);
        }
        match kind {
            PacketKind::Rtp => {
                let moves = leg.counters.moves;
                let (len, starts) = leg.receive_rtp(now, from, buf, len)?;
                let moved = leg.counters.moves != moves;
                if !leg.gate.is_open() && !leg.passes_gate(buf, len) {
                    return None;
                }
                if self.aside.is_some() && self.only_hears(port.leg) {
                    return None;
                }
                self.note_rtp(now, port.leg, starts);
                self.note_stray(port.leg, moved);
                self.tap_packet(now, port.leg, &buf[..len]);
                if self.aside.is_some() && !self.copy_rtp(now, port.leg, &buf[..len]) {
                    return None;
                }
                if !self.processing.is_empty() && self.processes(port.leg) {
                    return self.process_rtp(now, port.leg, buf, len);
                }
                let (target, leg) = self.target(port.leg)?;
                let (to, len) = leg.send_rtp(now, buf, len)?;
                let port = Port { leg: target, component: Component::Rtp };
                Some(Forward { port, source: leg.source, tos: leg.tos, to, len })
            }
            PacketKind::Rtcp => {
                let len = leg.receive_rtcp(now, from, port.component, buf, len)?;
                self.pass_rtcp(now, port.leg, buf, len)
            }
            PacketKind::Stun => {
                let answer = leg.handle_stun(now, (port.component, from), &buf[..len]);
                if let Some(bytes) = answer {
                    self.push(Transmit { port, to: from, bytes });
                }
                self.flush_dtls(now, port.leg);
                None
            }
            PacketKind::Dtls => {
                leg.handle_dtls(now, from, &buf[..len]);
                self.flush_dtls(now, port.leg);
                None
            }
            PacketKind::Other if rtp::is_zrtp(&buf[..len]) => {
                self.handle_zrtp(now, (port.leg, from), &buf[..len])
            }
            PacketKind::Other => {
                leg.counters.dropped.malformed += 1;
                None
            }
        }
    }

    /// Takes a packet of ZRTP: ours, where we agree on keys with that side, or the other side's.
    fn handle_zrtp(
        &mut self,
        now: Instant,
        (id, from): (LegId, SocketAddr),
        packet: &[u8],
    ) -> Option<Forward> {
        let leg = self.leg_mut(id)?;
        if leg.security.agrees() {
            leg.handle_zrtp(now, from, packet);
            self.flush_dtls(now, id);
            return None;
        }
        if !leg.passes_zrtp(from) {
            leg.counters.dropped.malformed += 1;
            return None;
        }
        self.pass_zrtp(now, id, packet.len())
    }

    /// Drives handshakes, consent and silence. Call it when [`Bridge::poll_timeout`] is due; any
    /// other time does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.legs.len() {
            let id = LegId(at as u16);
            let Some(leg) = &mut self.legs[at] else { continue };
            leg.handle_timeout(now);
            if leg.notice_consent_loss(now) {
                self.events.push_back(BridgeEvent::ConsentLost(id));
            }
            self.flush_dtls(now, id);
        }
        if !self.processing.is_empty() {
            self.process_timeout(now);
        }
        if self.aside.is_some() {
            self.play_timeout(now);
        }
        self.look_at_hold(now);
        if !self.silent && self.silence_deadline().is_some_and(|at| now >= at) {
            self.silent = true;
            self.events.push_back(BridgeEvent::MediaSilent);
        }
    }

    /// When [`Bridge::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let legs = self.legs.iter().flatten().filter_map(|leg| leg.poll_timeout());
        let silence = self.silence_deadline().filter(|_| !self.silent);
        let processing = self.processing.iter().filter_map(|p| p.poll_timeout());
        let aside = self.aside.as_ref().and_then(|aside| aside.poll_timeout());
        legs.chain(silence).chain(processing).chain(aside).min()
    }

    /// A packet that was accepted came to this address of ours: its leg answers from there.
    pub fn talked_to_at(&mut self, port: Port, mut to: SocketAddr) {
        if port.component == Component::Rtcp {
            to.set_port(to.port() - 1);
        }
        if let Some(leg) = self.leg_mut(port.leg) {
            leg.source = Some(to);
        }
    }

    /// A packet that was accepted came by this port with this type of service octet. Reports may have
    /// another mark than media.
    pub fn note_tos(&mut self, port: Port, tos: u8) {
        if let Some(leg) = self.leg_mut(port.leg).filter(|_| port.component == Component::Rtp) {
            leg.counters.tos = Some(tos);
        }
    }

    /// Whether there is something to poll.
    pub fn has_news(&self) -> bool {
        !self.outbox.is_empty() || !self.events.is_empty()
    }

    /// The next packet that a leg sends of its own accord.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }

    /// Silence is reported of a held call too, after this long.
    pub fn bear_hold_for(&mut self, max: Option<Duration>) {
        self.held_s = max.map_or(0, |max| max.as_secs().clamp(1, u64::from(u32::MAX)) as u32);
    }

    /// Silence is another's while somebody holds, and counts anew from the end of that.
    fn look_at_hold(&mut self, now: Instant) {
        let is_due = self.silence_deadline().is_some_and(|at| now >= at);
        match (self.is_held(), self.bears) {
            (true, false) if is_due => self.bears = true,
            (false, true) => {
                self.bears = false;
                self.heard = self.heard.map(|_| now);
            }
            _ => {}
        }
    }

    /// Whether someone holds the call, every stream of it: silence is wanted then.
    pub fn is_held(&self) -> bool {
        let held =
            |leg: &Leg| leg.held || leg.peer.and_then(|p| self.leg(p)).is_some_and(|l| l.held);
        let mut joined = self.legs.iter().flatten().filter(|leg| leg.peer.is_some()).peekable();
        joined.peek().is_some() && joined.all(|leg| held(leg))
    }

    /// The other leg of a packet's way.
    fn target(&mut self, from: LegId) -> Option<(LegId, &mut Leg)> {
        let target = self.target_id(from)?;
        Some((target, self.leg_mut(target)?))
    }

    fn pass_zrtp(&mut self, now: Instant, from: LegId, len: usize) -> Option<Forward> {
        let (target, leg) = self.target(from)?;
        let to = leg.zrtp_destination(now)?;
        let port = Port { leg: target, component: Component::Rtp };
        Some(Forward { port, source: leg.source, tos: leg.tos, to, len })
    }

    fn target_id(&self, from: LegId) -> Option<LegId> {
        self.leg(from)?.peer
    }

    fn note_rtp(&mut self, now: Instant, leg: LegId, starts: bool) {
        if self.heard.is_some() {
            self.heard = Some(now);
        }
        if starts || std::mem::take(&mut self.silent) {
            self.events.push_back(BridgeEvent::MediaStarted(leg));
        }
    }

    fn silence_deadline(&self) -> Option<Instant> {
        let borne = match (self.bears && self.is_held(), self.held_s) {
            (false, _) => self.silence,
            (true, 0) => return None,
            (true, seconds) => self.silence.max(Duration::from_secs(u64::from(seconds))),
        };
        self.heard.map(|at| at + borne)
    }

    fn flush_dtls(&mut self, now: Instant, id: LegId) {
        let Some(leg) = self.leg_mut(id) else { return };
        let port = Port { leg: id, component: Component::Rtp };
        let (datagrams, failed) = leg.take_dtls_output(now);
        if failed {
            self.events.push_back(BridgeEvent::HandshakeFailed(id));
        }
        for (to, bytes) in datagrams {
            self.push(Transmit { port, to, bytes });
        }
    }

    fn push(&mut self, transmit: Transmit) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(transmit);
        }
    }
}
