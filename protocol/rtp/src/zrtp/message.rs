//! The messages (RFC 6189 §5.2 to §5.16), read in place.

use super::Zid;
use super::algorithms::Algorithm;
use crate::Error;
use crate::packet::be32;

/// What every message begins with.
const PREAMBLE: [u8; 2] = [0x50, 0x5a];
/// Algorithms of one kind in a Hello (RFC 6189 §5.2).
pub(super) const ALGORITHMS_MAX: usize = 7;
/// A hash image, and most that is hashed.
const IMAGE: usize = 32;
const MAC: usize = 8;

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// What an end can do.
    Hello(Hello<'a>),
    /// A Hello came.
    HelloAck,
    /// Whoever sends it becomes the initiator.
    Commit(Commit<'a>),
    /// The responder's key.
    DhPart1(DhPart<'a>),
    /// The initiator's key.
    DhPart2(DhPart<'a>),
    /// The responder proves that it has the keys.
    Confirm1(Confirm<'a>),
    /// The initiator proves it.
    Confirm2(Confirm<'a>),
    /// Confirm2 came.
    Conf2Ack,
    /// The other end gives up; a code of RFC 6189 §5.9.
    Error(u32),
    /// An Error came.
    ErrorAck,
    /// The other end wants to go on without encryption.
    GoClear([u8; MAC]),
    /// A GoClear came.
    ClearAck,
    /// The string that a trusted intermediary has with its other end.
    SasRelay(SasRelay<'a>),
    /// A SASrelay came.
    RelayAck,
    /// Is somebody there?
    Ping(Ping),
    /// Somebody is.
    PingAck(PingAck),
}

/// What an end can do (RFC 6189 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a>(&'a [u8]);

/// The initiator's choice, and what it is bound to (RFC 6189 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit<'a>(&'a [u8]);

/// A public value and the names of what is remembered (RFC 6189 §5.5, §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DhPart<'a>(&'a [u8]);

/// A sealed message of either end (RFC 6189 §5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirm<'a>(&'a [u8]);

/// The same with the string of another leg (RFC 6189 §5.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SasRelay<'a>(&'a [u8]);

/// RFC 6189 §5.15: who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// A hash that names the sender.
    pub endpoint: [u8; MAC],
}

/// RFC 6189 §5.16: who answers, whom, about which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PingAck {
    /// A hash that names the sender.
    pub endpoint: [u8; MAC],
    /// That of the Ping.
    pub pinger: [u8; MAC],
    /// The source of the packet that brought the Ping.
    pub ssrc: u32,
}

/// The names under which an end says what it remembers (RFC 6189 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secrets {
    /// Of the secret retained last.
    pub rs1: [u8; MAC],
    /// Of the one before.
    pub rs2: [u8; MAC],
    /// Of one agreed on outside.
    pub aux: [u8; MAC],
    /// Of one shared with an intermediary.
    pub pbx: [u8; MAC],
}

/// The sealed part of a Confirm, opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The hash image that all others come from.
    pub h0: [u8; IMAGE],
    /// The sender's user has compared the string, now or earlier.
    pub verified: bool,
    /// The sender hands its keys to somebody.
    pub discloses: bool,
    /// For how many seconds what is agreed may be remembered; all ones: for good.
    pub expires_s: u32,
}

impl<'a> Message<'a> {
    /// Reads a message without its packet.
    ///
    /// # Errors
    /// [`Error::Zrtp`] for a length that is none of its type's, or a type that is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (Some(head), Some(kind)) = (bytes.get(..4), bytes.get(4..12)) else {
            return Err(Error::Truncated { needed: 12, actual: bytes.len() });
        };
        let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head[..2] != PREAMBLE || 4 * words != bytes.len() {
            return Err(Error::Zrtp);
        }
        let mac = |at| field(bytes, at);
        let message = match (kind, words) {
            (b"Hello   ", 22..) => Self::Hello(Hello::parse(bytes)?),
            (b"HelloACK", 3) => Self::HelloAck,
            (b"Commit  ", 25 | 27 | 29) => Self::Commit(Commit(bytes)),
            (b"DHPart1 ", 22..) => Self::DhPart1(DhPart(bytes)),
            (b"DHPart2 ", 22..) => Self::DhPart2(DhPart(bytes)),
            (b"Confirm1", 19..) => Self::Confirm1(Confirm(bytes)),
            (b"Confirm2", 19..) => Self::Confirm2(Confirm(bytes)),
            (b"Conf2ACK", 3) => Self::Conf2Ack,
            (b"Error   ", 4) => Self::Error(be32(bytes, 12)),
            (b"ErrorACK", 3) => Self::ErrorAck,
            (b"GoClear ", 5) => Self::GoClear(mac(12)),
            (b"ClearACK", 3) => Self::ClearAck,
            (b"SASrelay", 19..) => Self::SasRelay(SasRelay(bytes)),
            (b"RelayACK", 3) => Self::RelayAck,
            (b"Ping    ", 6) => Self::Ping(Ping { endpoint: mac(16) }),
            (b"PingACK ", 9) => {
                Self::PingAck(PingAck { endpoint: mac(16), pinger: mac(24), ssrc: be32(bytes, 32) })
            }
            _ => return Err(Error::Zrtp),
        };
        Ok(message)
    }
}

impl<'a> Hello<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let this = Self(bytes);
        let counts = this.counts();
        let total: usize = counts.iter().sum();
        let fits = bytes.len() == 88 + 4 * total && counts.iter().all(|n| *n <= ALGORITHMS_MAX);
        if fits { Ok(this) } else { Err(Error::Zrtp) }
    }

    /// The message as it came: it is hashed.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// As `1.10`.
    pub fn version(&self) -> [u8; 4] {
        field(self.0, 12)
    }

    /// The software.
    pub fn client(&self) -> [u8; 16] {
        field(self.0, 16)
    }

    /// The end of the hash chain.
    pub fn h3(&self) -> [u8; IMAGE] {
        field(self.0, 32)
    }

    /// Who it is.
    pub fn zid(&self) -> Zid {
        Zid(field(self.0, 64))
    }

    /// Whether it says itself that it sits between two ends (RFC 6189 §7.3).
    pub fn is_mitm(&self) -> bool {
        self.0[76] & 0x20 != 0
    }

    /// Whether it never sends a Commit.
    pub fn is_passive(&self) -> bool {
        self.0[76] & 0x10 != 0
    }

    /// Whether it could sign.
    pub fn signs(&self) -> bool {
        self.0[76] & 0x40 != 0
    }

    /// The names of the algorithms of one kind, most wanted first.
    pub fn algorithms<A: Algorithm>(&self) -> impl Iterator<Item = [u8; 4]> + use<'a, A> {
        let counts = self.counts();
        let from = 80 + 4 * counts[..A::KIND].iter().sum::<usize>();
        let names = self.0.get(from..from + 4 * counts[A::KIND]).unwrap_or_default();
        names.as_chunks::<4>().0.iter().copied()
    }

    /// What is in front of the code, and the code.
    pub(super) fn authenticated(&self) -> (&'a [u8], [u8; MAC]) {
        authenticated(self.0)
    }

    fn counts(&self) -> [usize; 5] {
        let [_, a, b, c]: [u8; 4] = field(self.0, 76);
        [a & 15, b >> 4, b & 15, c >> 4, c & 15].map(usize::from)
    }
}

impl<'a> Commit<'a> {
    /// The message as it came: it is hashed.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The hash image before H3.
    pub fn h2(&self) -> [u8; IMAGE] {
        field(self.0, 12)
    }

    /// Who it is.
    pub fn zid(&self) -> Zid {
        Zid(field(self.0, 44))
    }

    /// Hash, cipher, tag, key agreement, string.
    pub fn names(&self) -> [[u8; 4]; 5] {
        [56, 60, 64, 68, 72].map(|at| field(self.0, at))
    }

    /// The hash of the DHPart2 to come; nothing in the modes that have none.
    pub fn hvi(&self) -> Option<[u8; IMAGE]> {
        (self.0.len() == 116).then(|| field(self.0, 76))
    }

    pub(super) fn authenticated(&self) -> (&'a [u8], [u8; MAC]) {
        authenticated(self.0)
    }
}

impl<'a> DhPart<'a> {
    /// The message as it came: it is hashed.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The hash image before H2.
    pub fn h1(&self) -> [u8; IMAGE] {
        field(self.0, 12)
    }

    /// What the sender remembers.
    pub fn secrets(&self) -> Secrets {
        let [rs1, rs2, aux, pbx] = [44, 52, 60, 68].map(|at| field(self.0, at));
        Secrets { rs1, rs2, aux, pbx }
    }

    /// The public value.
    pub fn public_value(&self) -> &'a [u8] {
        &self.0[76..self.0.len() - MAC]
    }

    pub(super) fn authenticated(&self) -> (&'a [u8], [u8; MAC]) {
        authenticated(self.0)
    }
}

impl<'a> Confirm<'a> {
    /// The code over the sealed part.
    pub fn mac(&self) -> [u8; MAC] {
        field(self.0, 12)
    }

    /// What the cipher starts from.
    pub fn iv(&self) -> [u8; 16] {
        field(self.0, 20)
    }

    /// The sealed part.
    pub fn sealed(&self) -> &'a [u8] {
        &self.0[36..]
    }
}

impl<'a> SasRelay<'a> {
    /// The code over the sealed part.
    pub fn mac(&self) -> [u8; MAC] {
        field(self.0, 12)
    }

    /// What the cipher starts from.
    pub fn iv(&self) -> [u8; 16] {
        field(self.0, 20)
    }

    /// The sealed part.
    pub fn sealed(&self) -> &'a [u8] {
        &self.0[36..]
    }
}

impl Sealed {
    /// Reads an opened part. A signature behind it is not looked at.
    pub(super) fn parse(opened: &[u8]) -> Option<Self> {
        if opened.len() < IMAGE + 8 {
            return None;
        }
        let flags = opened[IMAGE + 3];
        Some(Self {
            h0: field(opened, 0),
            verified: flags & 4 != 0,
            discloses: flags & 1 != 0,
            expires_s: be32(opened, IMAGE + 4),
        })
    }

    pub(super) fn to_bytes(self) -> [u8; IMAGE + 8] {
        let mut out = [0; IMAGE + 8];
        out[..IMAGE].copy_from_slice(&self.h0);
        out[IMAGE + 3] = u8::from(self.verified) << 2 | u8::from(self.discloses);
        out[IMAGE + 4..].copy_from_slice(&self.expires_s.to_be_bytes());
        out
    }
}

/// `N` bytes at `at`. The length of the message was checked when it was read.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(from) = bytes.get(at..at + N) {
        out.copy_from_slice(from);
    }
    out
}

fn authenticated(bytes: &[u8]) -> (&[u8], [u8; MAC]) {
    let (covered, code) = bytes.split_at(bytes.len() - MAC);
    (covered, field(code, 0))
}
