//! One end of an agreement: both roles, contention, retransmission, what is remembered.
//!
//! ```text
//!            start           HelloACK and Hello          DHPart1           Confirm1          Conf2ACK
//!   Idle ──► Discovery ──┬──► Committed ───────────────► DhPart2Sent ────► Confirm2Sent ───► Secure
//!                │ T1    │        │ their Commit wins                                           ▲
//!                ▼       │        ▼                      DHPart2           Confirm2             │
//!              Alone     └──► DhPart1Sent ─────────────────────────────► Confirm1Sent ──────────┘
//!                  Commit
//! ```
//!
//! The initiator sends again by T2; the responder answers again what comes again (RFC 6189 §6).

mod exchange;
mod resend;

use std::collections::VecDeque;
use std::time::Instant;

use sansio::{Entropy, WallTime};

use super::algorithms::{Algorithm, Choice};
use super::chain::HashChain;
use super::keys::{Random, sha256};
use super::message::{ALGORITHMS_MAX, Message};
use super::write::{self, HelloParts};
use super::{
    Cache, Failure, Hello, HelloHash, KeyAgreement, Packet, PingAck, Retained, Sas, Zid, seal,
};
use crate::srtp::{KeyMaterial, Suite};
use exchange::{Agreed, Offered, Promised};
use resend::Resend;

/// Outputs that may wait; the oldest goes when nobody collects them.
const OUTPUTS_MAX: usize = 64;

/// How an endpoint is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The RTP stream it keys.
    pub ssrc: u32,
    /// Who we are.
    pub zid: Zid,
    /// The software, for the other end's eyes.
    pub client: [u8; 16],
    /// How secrets may be agreed on, most wanted first, beside DH3k, which everybody can.
    pub agreements: Vec<KeyAgreement>,
    /// We sit between two ends, and say so (RFC 6189 §7.3).
    pub mitm: bool,
    /// What is agreed on is not to be remembered: we are another each time.
    pub forgets: bool,
    /// What we remember.
    pub cache: Cache,
    /// The time of day, for what expires.
    pub wall: WallTime,
}

impl Setup {
    /// For a stream of `ssrc`: all that we can do, nothing remembered.
    pub fn new(ssrc: u32, zid: Zid) -> Self {
        Self {
            ssrc,
            zid,
            client: *b"Whimbrel        ",
            agreements: KeyAgreement::ALL.to_vec(),
            mitm: false,
            forgets: false,
            cache: Cache::default(),
            wall: WallTime::default(),
        }
    }
}

/// One end. See [`super`].
pub struct Endpoint {
    setup: Setup,
    chain: HashChain,
    hello: Vec<u8>,
    random: Random,
    sequence: u16,
    /// What SDP says of the other end's Hello.
    expected: Option<HelloHash>,
    /// A Hello came that is not the expected one.
    refused: bool,
    peer: Option<Peer>,
    phase: Phase,
    resend: Option<Resend>,
    outputs: VecDeque<Output>,
    secured: Option<Secured>,
    /// What is to be kept of this agreement, once it may.
    retained: Option<Retained>,
}

/// The other end, by its Hello.
#[derive(Clone)]
struct Peer {
    hello: Vec<u8>,
    zid: Zid,
    h3: [u8; 32],
    mitm: bool,
}

enum Phase {
    Idle,
    Discovery { acknowledged: bool },
    Committed(Box<Promised>),
    DhPart1Sent(Box<Offered>),
    DhPart2Sent(Box<Agreed>),
    Confirm1Sent(Box<Agreed>),
    Confirm2Sent(Box<Agreed>),
    Secure(Box<Agreed>),
    Alone,
    Failed(Failure),
}

/// Who of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sent the Commit that counts.
    Initiator,
    /// Answered it.
    Responder,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Initiator => "Initiator",
            Self::Responder => "Responder",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What an endpoint wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this to the other end, by the way of RTP.
    Transmit(Vec<u8>),
    /// Something happened.
    Event(Event),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Keys are there: what comes may be encrypted with them from now on.
    Keys(Keys),
    /// Both ends have proved that they have them: encrypt.
    Secure(Secured),
    /// Keep this about the other end.
    Retain {
        /// The other end.
        zid: Zid,
        /// What replaces what was kept of it.
        retained: Retained,
    },
    /// Nobody speaks ZRTP there. Should somebody begin, the endpoint answers.
    Alone,
    /// No keys will come of it.
    Failed(Failure),
}

/// The keys of SRTP, for both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Its suite.
    pub suite: Suite,
    /// For what we send.
    pub local: KeyMaterial,
    /// For what we receive.
    pub remote: KeyMaterial,
}

/// What is known of an agreement that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secured {
    /// What the two users compare.
    pub sas: Sas,
    /// Who the other end is to us.
    pub trust: Trust,
    /// It says that its user has compared the string.
    pub peer_verified: bool,
    /// It says that it sits between us and somebody else (RFC 6189 §7.3).
    pub peer_is_mitm: bool,
    /// It says that it hands its keys to somebody (RFC 6189 §11).
    pub peer_discloses: bool,
    /// Its name.
    pub peer: Zid,
    /// What was chosen.
    pub choice: Choice,
    /// Who we were.
    pub role: Role,
}

/// What we know of the other end from earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nothing: compare the string.
    FirstContact,
    /// The same as before, whose string was never compared.
    Remembered,
    /// The same as the one whose string was compared.
    Verified,
    /// Not the one it says it is, or it has forgotten us: compare the string before a word is said.
    Changed,
}

impl Endpoint {
    /// An endpoint at rest. `entropy` gives all its secrets.
    pub fn new(setup: Setup, entropy: &mut dyn Entropy) -> Self {
        let (mut seed, mut h0) = ([0; 32], [0; 32]);
        entropy.fill(&mut seed);
        entropy.fill(&mut h0);
        let chain = HashChain::new(h0);
        let (client, h3, zid, mitm) = (setup.client, chain.h3, setup.zid, setup.mitm);
        let mut agreements = setup.agreements.clone();
        agreements.truncate(ALGORITHMS_MAX);
        let hello = write::hello(&HelloParts { client, h3, zid, mitm, agreements }, &chain.h2);
        Self {
            chain,
            hello,
            random: Random::new(seed),
            sequence: entropy.next_u64() as u16 & 0x7fff,
            expected: None,
            refused: false,
            peer: None,
            phase: Phase::Idle,
            resend: None,
            outputs: VecDeque::new(),
            secured: None,
            retained: None,
            setup,
        }
    }

    /// The same Hello for another end that answers the same offer. It agrees on keys of its own.
    pub fn fork(&self, ssrc: u32, entropy: &mut dyn Entropy) -> Self {
        let mut other = Self::new(Setup { ssrc, ..self.setup.clone() }, entropy);
        (other.chain, other.hello) = (self.chain.clone(), self.hello.clone());
        other
    }

    /// The same Hello once more, from the beginning: another end has taken the other's place.
    pub fn again(&mut self) {
        self.random = Random::new(self.random.draw());
        (self.expected, self.refused, self.peer, self.resend) = (None, false, None, None);
        (self.secured, self.retained) = (None, None);
        self.phase = Phase::Idle;
    }

    /// What goes into `a=zrtp-hash`.
    pub fn hello_hash(&self) -> HelloHash {
        HelloHash { version: write::VERSION, hash: sha256(&[&self.hello]) }
    }

    /// What the other end's SDP says of its Hello. Only that one is listened to from now on.
    pub fn expect(&mut self, now: Instant, hash: HelloHash) {
        self.expected = Some(hash);
        let other = self.peer.as_ref().is_some_and(|peer| !self.is_expected(&peer.hello));
        if !other {
            return;
        }
        self.refused = true;
        match self.phase {
            Phase::Idle | Phase::Discovery { .. } | Phase::Alone => self.peer = None,
            Phase::Failed(_) => {}
            _ => self.fail(now, Failure::HelloMismatch),
        }
    }

    /// Begins to speak.
    pub fn start(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Idle | Phase::Alone) {
            self.phase = Phase::Discovery { acknowledged: false };
            let hello = self.hello.clone();
            self.transmit(&hello);
            self.resend = Some(Resend::t1(now, hello));
        }
    }

    /// Takes a datagram. What is no packet of ZRTP, or was damaged, is ignored.
    pub fn handle_packet(&mut self, now: Instant, datagram: &[u8]) {
        let Ok(packet) = Packet::parse(datagram) else { return };
        match packet.message {
            Message::Hello(hello) => self.handle_hello(now, &hello),
            Message::HelloAck => self.handle_hello_ack(now),
            Message::Commit(commit) => self.handle_commit(now, &commit),
            Message::DhPart1(part) => self.handle_dh_part1(now, &part),
            Message::DhPart2(part) => self.handle_dh_part2(now, &part),
            Message::Confirm1(confirm) => self.handle_confirm1(now, &confirm),
            Message::Confirm2(confirm) => self.handle_confirm2(now, &confirm),
            Message::Conf2Ack => self.note_srtp(),
            Message::Error(code) => self.handle_error(code),
            Message::ErrorAck => self.resend = self.resend.take().filter(|_| !self.is_failed()),
            // Nobody turns encryption off from outside (RFC 6189 §4.7.2): we never allowed it.
            Message::GoClear(_) => self.transmit(&write::error(Failure::GoClear.code())),
            Message::Ping(ping) => {
                let endpoint = self.name();
                let (pinger, ssrc) = (ping.endpoint, packet.ssrc);
                self.transmit(&write::ping_ack(&PingAck { endpoint, pinger, ssrc }));
            }
            // A string relayed by whom we share no secret with is nobody's (RFC 6189 §7.3).
            Message::SasRelay(_) | Message::ClearAck | Message::RelayAck | Message::PingAck(_) => {}
        }
    }

    /// Sends again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(resend) = &mut self.resend else { return };
        if now < resend.due {
            return;
        }
        if let Some(message) = resend.next(now) {
            if !message.is_empty() {
                self.transmit(&message);
            }
            return;
        }
        self.resend = None;
        match self.phase {
            Phase::Discovery { .. } if self.refused => self.fail(now, Failure::HelloMismatch),
            Phase::Discovery { .. } => {
                self.phase = Phase::Alone;
                self.tell(Event::Alone);
            }
            Phase::Failed(_) => {}
            _ => self.fail(now, Failure::Timeout),
        }
    }

    /// A packet came that the keys opened: the other end has them (RFC 6189 §4.6).
    pub fn note_srtp(&mut self) {
        if matches!(self.phase, Phase::Confirm2Sent(_))
            && let Phase::Confirm2Sent(agreed) = std::mem::replace(&mut self.phase, Phase::Idle)
        {
            self.secure(agreed);
        }
    }

    /// Our user compared the string: alike, or not. What is remembered of the other end says so from
    /// then on.
    pub fn set_verified(&mut self, verified: bool) {
        let (Some(secured), Some(retained)) = (&mut self.secured, &mut self.retained) else {
            return;
        };
        secured.trust = match (secured.trust, verified) {
            (_, true) => Trust::Verified,
            // Still not the one it was.
            (Trust::Changed, false) => return,
            (_, false) => Trust::Remembered,
        };
        retained.verified = verified;
        let (zid, retained) = (secured.peer, retained.clone());
        self.tell(Event::Retain { zid, retained });
    }

    /// The next thing to do or to tell.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resend.as_ref().map(|resend| resend.due)
    }

    /// The agreement, once it stands.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    /// Why there will be none, if so.
    pub fn failure(&self) -> Option<Failure> {
        if let Phase::Failed(failure) = self.phase { Some(failure) } else { None }
    }

    fn is_failed(&self) -> bool {
        self.failure().is_some()
    }

    fn is_expected(&self, hello: &[u8]) -> bool {
        let Ok(Message::Hello(hello)) = Message::parse(hello) else { return false };
        self.expected.is_none_or(|expected| expected.fits(&hello))
    }

    fn handle_hello(&mut self, now: Instant, hello: &Hello<'_>) {
        if matches!(self.phase, Phase::Idle | Phase::Failed(_)) {
            return;
        }
        if !self.is_expected(hello.bytes()) {
            self.refused = true;
            return;
        }
        // An older version is none of ours; a newer one will come down to it (RFC 6189 §4.1.1).
        if hello.version()[..3] < write::VERSION[..3] {
            return self.fail(now, Failure::Version);
        }
        if hello.zid() == self.setup.zid {
            return self.fail(now, Failure::SameZid);
        }
        // While nothing rests on it, the last one counts: the other end may have been replaced.
        let early = matches!(self.phase, Phase::Discovery { .. } | Phase::Alone);
        if early {
            self.peer = Some(Peer {
                hello: hello.bytes().to_vec(),
                zid: hello.zid(),
                h3: hello.h3(),
                mitm: hello.is_mitm(),
            });
            self.start(now);
        }
        if self.peer.as_ref().is_some_and(|peer| peer.hello == hello.bytes()) {
            self.transmit(&write::bare(b"HelloACK"));
            self.commit_if_ready(now);
        }
    }

    fn handle_hello_ack(&mut self, now: Instant) {
        if let Phase::Discovery { acknowledged } = &mut self.phase {
            *acknowledged = true;
            self.resend.iter_mut().for_each(Resend::heard);
            self.commit_if_ready(now);
        }
    }

    /// Until both have the keys anybody may say so; afterwards nobody is believed.
    fn handle_error(&mut self, code: u32) {
        self.transmit(&write::bare(b"ErrorACK"));
        if !matches!(self.phase, Phase::Idle | Phase::Secure(_) | Phase::Failed(_)) {
            self.resend = None;
            self.phase = Phase::Failed(Failure::Peer(code));
            self.tell(Event::Failed(Failure::Peer(code)));
        }
    }

    fn fail(&mut self, now: Instant, failure: Failure) {
        let error = write::error(failure.code());
        self.transmit(&error);
        self.resend = Some(Resend::t2(now, error));
        self.phase = Phase::Failed(failure);
        self.tell(Event::Failed(failure));
    }

    /// RFC 6189 §5.15: names us, and nobody by whom we could be found.
    fn name(&self) -> [u8; 8] {
        let hash = sha256(&[b"endpoint", &self.setup.zid.0]);
        let mut name = [0; 8];
        name.copy_from_slice(&hash[..8]);
        name
    }

    fn transmit(&mut self, message: &[u8]) {
        let packet = seal(self.sequence, self.setup.ssrc, message);
        self.sequence = self.sequence.wrapping_add(1);
        self.push(Output::Transmit(packet));
    }

    fn tell(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    fn push(&mut self, output: Output) {
        if self.outputs.len() == OUTPUTS_MAX {
            self.outputs.pop_front();
        }
        self.outputs.push_back(output);
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match &self.phase {
            Phase::Idle => "idle",
            Phase::Discovery { .. } => "discovery",
            Phase::Committed(_) => "committed",
            Phase::DhPart1Sent(_) => "DHPart1 sent",
            Phase::DhPart2Sent(_) => "DHPart2 sent",
            Phase::Confirm1Sent(_) => "Confirm1 sent",
            Phase::Confirm2Sent(_) => "Confirm2 sent",
            Phase::Secure(_) => "secure",
            Phase::Alone => "alone",
            Phase::Failed(_) => "failed",
        };
        f.debug_struct("Endpoint")
            .field("zid", &self.setup.zid)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}
