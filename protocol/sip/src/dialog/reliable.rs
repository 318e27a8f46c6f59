//! Reliable provisional responses (RFC 3262): [`ReliableSender`] for the UAS, [`ReliableReceiver`]
//! for the UAC, and the [`RAck`] of the PRACK between them.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use sansio::Entropy;

use crate::{CSeq, HeaderName, Message, Method};

/// Provisionals that may wait for the PRACK of an earlier one; more are not sent.
const WAITING_MAX: usize = 16;

/// The RAck of a PRACK (§7.2): which response it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The response's RSeq.
    pub rseq: u32,
    /// The CSeq of its request.
    pub cseq: CSeq<'a>,
}

impl<'a> RAck<'a> {
    /// Parses a value.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let space = value.iter().position(u8::is_ascii_whitespace)?;
        let rseq = crate::text::number32(&value[..space]).filter(|n| *n > 0)?;
        Some(Self { rseq, cseq: CSeq::parse(&value[space..]).ok()? })
    }

    /// That of a PRACK.
    pub fn of(prack: &'a Message) -> Option<Self> {
        Self::parse(prack.header(HeaderName::RACK)?)
    }

    /// The one that acknowledges a response.
    pub fn acknowledging(response: &'a Message) -> Option<Self> {
        Some(Self { rseq: rseq_of(response)?, cseq: response.cseq().ok()? })
    }
}

impl fmt::Display for RAck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.rseq, self.cseq.number, self.cseq.method)
    }
}

/// The RSeq of a response that wants a PRACK: a 101-199 that requires 100rel.
pub fn rseq_of(response: &Message) -> Option<u32> {
    let provisional = matches!(response.status(), Some(101..200));
    let wanted = provisional && response.lists(HeaderName::REQUIRE, "100rel");
    crate::text::number32(response.header(HeaderName::RSEQ).filter(|_| wanted)?)
}

/// The UAS's reliable provisionals to one INVITE (§3). One is under way at a time; the others wait.
///
/// ```text
///   push ──► sent ── PRACK ──► (the next that waits)
///            │  ▲ T1, 2*T1, 4*T1 ..: poll_transmit
///            └──┘
///            └─ 64*T1 ──► given up: refuse the INVITE with a 5xx
/// ```
#[derive(Debug)]
pub struct ReliableSender {
    invite_seq: u32,
    t1: Duration,
    next_rseq: u32,
    /// The first is under way.
    queue: VecDeque<Pending>,
    interval: Duration,
    next: Instant,
    end: Instant,
    due: bool,
    /// A final was sent: nothing is sent again, but PRACKs still match.
    stopped: bool,
}

#[derive(Debug)]
struct Pending {
    rseq: u32,
    response: Message,
}

/// What a PRACK acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// The response under way. True when it had a description.
    Described(bool),
    /// No response of ours: 481.
    Unknown,
}

impl ReliableSender {
    /// For the INVITE with this CSeq number.
    pub fn new(now: Instant, invite_seq: u32, t1: Duration, entropy: &mut dyn Entropy) -> Self {
        // Within 1 to 2^31 - 1 (§3), and far from the wrap.
        let next_rseq = 1 + (entropy.next_u64() % 0x3fff_ffff) as u32;
        let (interval, due, stopped) = (t1, false, false);
        let (next, end) = (now, now);
        let queue = VecDeque::new();
        Self { invite_seq, t1, next_rseq, queue, interval, next, end, due, stopped }
    }

    /// The RSeq the next response must carry.
    pub fn next_rseq(&self) -> u32 {
        self.next_rseq
    }

    /// Takes a provisional with [`Self::next_rseq`] in it; [`Self::poll_transmit`] gives it when it
    /// may be sent. False when too many wait: it is not sent.
    pub fn push(&mut self, now: Instant, response: Message) -> bool {
        if self.queue.len() >= WAITING_MAX || self.stopped {
            return false;
        }
        self.queue.push_back(Pending { rseq: self.next_rseq, response });
        self.next_rseq += 1;
        if self.queue.len() == 1 {
            self.begin(now);
        }
        true
    }

    /// A PRACK came in the dialog.
    pub fn handle_prack(&mut self, now: Instant, rack: RAck<'_>) -> Acknowledged {
        let fits = rack.cseq.number == self.invite_seq && rack.cseq.method == Method::INVITE;
        let first = self.queue.front().filter(|p| fits && p.rseq == rack.rseq);
        let Some(described) = first.map(|p| !p.response.body().is_empty()) else {
            return Acknowledged::Unknown;
        };
        self.queue.pop_front();
        if !self.queue.is_empty() {
            self.begin(now);
        }
        Acknowledged::Described(described)
    }

    /// A final is sent: nothing is repeated any more, though PRACKs under way still match (§3).
    pub fn stop(&mut self) {
        self.stopped = true;
        self.due = false;
        self.queue.truncate(1);
    }

    /// Fires what is due at `now`. True when the one under way is given up.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.stopped || self.queue.is_empty() {
            return false;
        }
        if now >= self.end {
            self.stop();
            return true;
        }
        if now >= self.next {
            self.interval *= 2;
            self.next = now + self.interval;
            self.due = true;
        }
        false
    }

    /// The response under way, when it is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Message> {
        let due = std::mem::take(&mut self.due);
        self.queue.front().filter(|_| due).map(|p| p.response.clone())
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let live = !self.stopped && !self.queue.is_empty();
        live.then(|| self.next.min(self.end))
    }

    /// Whether a 2xx must wait: a response with a description is not acknowledged (§3).
    pub fn holds_back_2xx(&self) -> bool {
        !self.stopped && self.queue.iter().any(|p| !p.response.body().is_empty())
    }

    fn begin(&mut self, now: Instant) {
        self.interval = self.t1;
        (self.next, self.end) = (now + self.t1, now + self.t1 * 64);
        self.due = !self.stopped;
    }
}

/// The reliable provisionals that came in one early dialog (§4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReliableReceiver {
    last: Option<u32>,
}

/// What to do with a reliable provisional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Process it and acknowledge it with PRACK.
    InOrder,
    /// It came before: its PRACK is on its way.
    Again,
    /// An earlier one is missing: neither processed nor acknowledged.
    Ahead,
}

impl ReliableReceiver {
    /// A response with this RSeq came.
    pub fn handle(&mut self, rseq: u32) -> Received {
        match self.last {
            Some(last) if rseq <= last => Received::Again,
            Some(last) if rseq != last.wrapping_add(1) => Received::Ahead,
            _ => {
                self.last = Some(rseq);
                Received::InOrder
            }
        }
    }
}
