//! Gathering: what servers say of us, and what they lend.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ice::stun::{Builder, Class, Message};

use super::lent::Stream;
use super::{Traversal, TraversalEvent, TraversalOutput};

/// Datagrams are given so long before streams to TURN servers are opened beside them (as RFC 8305 §5
/// does between addresses): most networks never need one.
pub const HEAD_START: Duration = Duration::from_millis(250);
/// A call waits no longer for candidates.
pub const GATHER_MAX: Duration = Duration::from_millis(2_500);
/// .. and for a mapped address alone, which a server with a public address finds out by itself.
const MAPPED_MAX: Duration = Duration::from_millis(300);
/// From a query to the next one, at the next server.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Queries at most.
const ASKS_MAX: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gathering {
    NotBegun,
    Since {
        began: Instant,
    },
    /// `goes_on`: before all was asked, since what is known was enough.
    Done {
        at: Instant,
        goes_on: Option<Instant>,
    },
}

/// A Binding request to a STUN server.
#[derive(Debug)]
pub(super) struct Query {
    id: [u8; 12],
    asked: u32,
    next: Option<Instant>,
}

impl Traversal {
    /// Begins to gather, unless it did.
    pub fn begin(&mut self, now: Instant) {
        if self.gathering != Gathering::NotBegun {
            return;
        }
        self.now = now;
        self.gathering = Gathering::Since { began: now };
        let mut asks_lender = false;
        for at in 0..self.lent.len() {
            if !self.lent[at].server.is_stream() {
                self.ask_lender(now, at);
                asks_lender = true;
            }
        }
        // A TURN server says what it sees as well.
        if !asks_lender && !self.config.relay_only && !self.config.stun.is_empty() {
            let id = self.ids.next_id();
            self.query = Some(Query { id, asked: 0, next: Some(now) });
        }
        self.gather(now);
        self.work(now);
    }

    /// Whether a description can be written that says all there is.
    pub fn is_gathered(&self) -> bool {
        matches!(self.gathering, Gathering::Done { .. })
    }

    /// Does what is due.
    pub(super) fn gather(&mut self, now: Instant) {
        if self.gathers_since().is_none() {
            return;
        }
        if self.streams_at().is_some_and(|at| now >= at) {
            for (at, lent) in self.lent.iter_mut().enumerate() {
                if lent.server.is_stream() && lent.stream == Stream::NotOpened {
                    lent.stream = Stream::Opening;
                    self.out.push_back(TraversalOutput::OpenStream { server: at as u8 });
                }
            }
        }
        let Some(query) = self.query.as_mut().filter(|q| q.next.is_some_and(|at| now >= at)) else {
            return;
        };
        let servers = &self.config.stun;
        let to = servers[query.asked as usize % servers.len()];
        let bytes = Bytes::from(Builder::request(query.id).finish_unsigned());
        query.asked += 1;
        query.next = (query.asked < ASKS_MAX).then(|| now + ASK_AGAIN);
        self.queries += 1;
        self.out.push_back(TraversalOutput::Transmit { to, bytes });
    }

    /// When there is something to do for it.
    pub(super) fn gather_at(&self) -> Option<Instant> {
        let began = self.gathers_since()?;
        let query = self.query.as_ref().and_then(|q| q.next);
        let ends = (!self.is_gathered()).then(|| began + self.patience());
        [ends, query, self.streams_at()].into_iter().flatten().min()
    }

    /// When streams are opened: at once where nothing is asked by datagrams or they came to nothing
    /// before.
    fn streams_at(&self) -> Option<Instant> {
        let began = self.gathers_since()?;
        let waits = |l: &super::Lent| l.server.is_stream() && l.stream == Stream::NotOpened;
        let has_datagrams = self.lent.iter().any(|l| l.client.relayed().is_some());
        if has_datagrams || !self.lent.iter().any(waits) {
            return None;
        }
        let asks = self.query.is_some() || self.lent.iter().any(|l| !l.server.is_stream());
        let at_once = !asks || self.config.udp_silent || self.last_by_stream();
        Some(if at_once { began } else { began + HEAD_START })
    }

    /// Whether nothing more is to be expected.
    pub(super) fn has_all(&self) -> bool {
        let asks = self.query.as_ref().is_some_and(|q| q.next.is_some());
        let ends = |l: &super::Lent| l.client.relayed().is_some() || l.is_hopeless();
        match self.gathering {
            Gathering::NotBegun | Gathering::Since { .. } => false,
            // What was not waited for may come yet, but for the streams that are not opened.
            Gathering::Done { goes_on: None, .. } => true,
            Gathering::Done { .. } => !asks && self.lent.iter().all(ends),
        }
    }

    /// Since when something is asked that may still be answered.
    fn gathers_since(&self) -> Option<Instant> {
        match self.gathering {
            Gathering::NotBegun => None,
            Gathering::Since { began } => Some(began),
            Gathering::Done { goes_on, .. } => goes_on,
        }
    }

    fn patience(&self) -> Duration {
        if self.lent.iter().any(|l| !l.is_hopeless()) { GATHER_MAX } else { MAPPED_MAX }
    }

    /// A message that may answer our query.
    pub(super) fn handle_answer_of_query(&mut self, datagram: &[u8]) -> bool {
        let Some(query) = &self.query else { return false };
        let Ok(message) = Message::parse(datagram) else { return false };
        if message.transaction_id() != query.id || message.class() != Class::Success {
            return false;
        }
        self.query = None;
        self.udp_works = true;
        if let Some(mapped) = message.xor_mapped_address() {
            self.note_mapped(mapped);
        }
        true
    }

    pub(super) fn note_mapped(&mut self, mapped: SocketAddr) {
        self.trickling.changed |= self.mapped != Some(mapped);
        self.mapped = Some(mapped);
        self.agent.note_mapped(mapped);
    }

    /// Says so when there is nothing left that is worth waiting for.
    pub(super) fn finish_gathering(&mut self, now: Instant) {
        let Gathering::Since { began } = self.gathering else { return };
        let asked = self.query.as_ref().is_some_and(|q| q.next.is_some());
        let lends = |stream: bool| {
            let ready = |l: &super::Lent| l.client.relayed().is_some();
            let lends = self.lent.iter().any(|l| l.server.is_stream() == stream && ready(l));
            lends && (stream || !self.awaits_nearest())
        };
        let may_lend = |stream: bool| {
            self.lent.iter().any(|l| l.server.is_stream() == stream && !l.is_hopeless())
        };
        // Datagrams had their head start when a stream is there.
        let enough = match (lends(false), lends(true)) {
            (true, _) => true,
            (false, true) => {
                now >= began + HEAD_START || self.config.udp_silent || !may_lend(false)
            }
            (false, false) => !may_lend(false) && !may_lend(true) && !asked,
        };
        let known = self.has_last_way();
        if enough || known || now >= began + self.patience() {
            let goes_on = (known && !enough).then_some(began);
            self.gathering = Gathering::Done { at: now, goes_on };
            self.trickling.changed = true;
            self.out.push_back(TraversalOutput::Event(TraversalEvent::Gathered));
        }
    }
}
