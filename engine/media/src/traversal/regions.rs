//! TURN servers in several places (R6.2): the nearest lends, the next nearest stands by.
//!
//! ```text
//!   each is asked for an allocation without credentials: its 401 costs it nothing, and measures it
//!   nearest ──► allocation, the way of the call        next ──► allocation, stands by
//!   the others rest, and are asked when one of these dies
//! ```
//!
//! Near is the delay and what the server costs, in milliseconds; who cannot be nearer than the best
//! that has answered is not waited for. Servers over TCP and TLS are connected where datagrams come
//! to nothing, all of them, and rank as they come.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ice::agent::{Path, Via};
use ice::stun::{Builder, Message};
use sansio::Transport;

use super::gather::Gathering;
use super::{Lent, SERVERS_MAX, Traversal, TraversalOutput, TurnServer};

/// Servers that lend at once: the way and the one that stands by.
const LENDING: usize = 2;
/// A chosen server that takes longer than three round trips, and longer than this, is passed over.
const PATIENCE_MIN: Duration = Duration::from_millis(150);
/// Nothing came by a borrowed address for this long, though sound should: is its server alive?
const SUSPECT_AFTER: Duration = Duration::from_millis(200);
/// From that question to the next.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// A server that answers though nothing comes is asked again after this.
const SUSPECT_AGAIN: Duration = Duration::from_secs(2);

/// How near a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDelay {
    /// Where it is.
    pub server: SocketAddr,
    /// How it is reached.
    pub transport: Transport,
    /// From a question to its answer.
    pub delay: Duration,
}

/// A server among others.
#[derive(Debug, Default)]
pub(super) struct Region {
    pub asked: Option<Instant>,
    pub delay: Option<Duration>,
    /// Its place among those that were chosen.
    pub rank: Option<u8>,
    /// Not needed.
    pub rests: bool,
    /// It lends.
    pub ready: bool,
    chosen_at: Option<Instant>,
    /// It was chosen and took too long.
    passed: bool,
}

impl Region {
    fn is_chosen(&self) -> bool {
        self.chosen_at.is_some() && !self.passed
    }

    fn late_at(&self) -> Option<Instant> {
        let patience = PATIENCE_MIN.max(self.delay.unwrap_or_default() * 3);
        self.chosen_at.filter(|_| !self.ready && !self.passed).map(|at| at + patience)
    }
}

/// What concerns all of them.
#[derive(Debug)]
pub(super) struct Regions {
    /// Servers asked by datagrams, or those over streams, are in several places.
    several: bool,
    several_streams: bool,
    /// Sound is expected.
    pub expects: bool,
    known: Vec<KnownDelay>,
    next_rank: u8,
    /// By which borrowed address sound came last, and when.
    heard: Option<(Via, Instant)>,
    question: Option<Question>,
    quiet_until: Option<Instant>,
}

/// Is the server alive?
#[derive(Debug)]
struct Question {
    via: Via,
    id: [u8; 12],
    since: Instant,
    next: Instant,
}

impl Regions {
    pub fn of(servers: &[TurnServer]) -> Self {
        let several = |stream: bool| {
            let here = servers.iter().take(SERVERS_MAX).filter(|s| s.is_stream() == stream);
            let mut places: Vec<IpAddr> = here.map(|s| s.addr.ip()).collect();
            places.sort_unstable();
            places.dedup();
            places.len() > 1
        };
        Self {
            several: several(false),
            several_streams: several(true),
            expects: false,
            known: Vec::new(),
            next_rank: 0,
            heard: None,
            question: None,
            quiet_until: None,
        }
    }

    pub fn are_several(&self) -> bool {
        self.several
    }

    pub fn end_call(&mut self) {
        (self.heard, self.question, self.quiet_until) = (None, None, None);
    }

    pub fn heard(&mut self, now: Instant, path: Path) {
        self.heard = (path.via != Via(0)).then_some((path.via, now));
        (self.question, self.quiet_until) = (None, None);
    }
}

impl Traversal {
    /// How near servers were on this network a while ago: with all of them known, none is measured.
    /// Before [`Traversal::begin`].
    pub fn recall_delays(&mut self, known: &[KnownDelay]) {
        self.regions.known = known.iter().take(SERVERS_MAX).copied().collect();
    }

    /// How near those are that answered, where there are several.
    pub fn delays(&self) -> Vec<KnownDelay> {
        let known = |l: &Lent| {
            let delay = l.region.delay?;
            Some(KnownDelay { server: l.server.addr, transport: l.server.transport, delay })
        };
        self.lent.iter().filter_map(known).collect()
    }

    /// The server by whose address media goes.
    pub fn lender(&self) -> Option<SocketAddr> {
        let at = Lent::place(self.path()?.via)?;
        self.lent.get(at).map(|lent| lent.server.addr)
    }

    fn is_asked_by_datagrams(&self, at: usize) -> bool {
        !self.lent[at].server.is_stream()
    }

    fn datagram_lenders(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lent.len()).filter(|at| self.is_asked_by_datagrams(*at))
    }

    fn cost(&self, at: usize) -> Duration {
        Duration::from_millis(self.lent[at].server.cost_ms.into())
    }

    fn known_delay(&self, at: usize) -> Option<Duration> {
        let server = &self.lent[at].server;
        let is_it = |k: &&KnownDelay| k.server == server.addr && k.transport == server.transport;
        self.regions.known.iter().find(is_it).map(|k| k.delay)
    }

    /// Begins with a server that is asked by datagrams.
    pub(super) fn ask_lender(&mut self, now: Instant, at: usize) {
        if !self.regions.several {
            return self.lent[at].client.start(now);
        }
        self.lent[at].region.asked = Some(now);
        let all_known = self.datagram_lenders().all(|at| self.known_delay(at).is_some());
        match self.known_delay(at).filter(|_| all_known) {
            Some(delay) => self.lent[at].region.delay = Some(delay),
            None => self.lent[at].client.sound_out(now),
        }
    }

    /// Chooses as many as may lend, and has the others rest.
    pub(super) fn decide(&mut self, now: Instant) {
        if !self.regions.several || self.gathering == Gathering::NotBegun {
            return;
        }
        for at in 0..self.lent.len() {
            if self.lent[at].region.late_at().is_some_and(|late| now >= late) {
                self.lent[at].region.passed = true;
                self.lent[at].region.delay = None;
                self.wake_others(now);
            }
        }
        while self.lending() < LENDING {
            let Some(at) = self.nearest().filter(|at| now >= self.decided_at(*at)) else { return };
            let lent = &mut self.lent[at];
            lent.region.chosen_at = Some(now);
            lent.region.rank = Some(self.regions.next_rank);
            lent.region.rests = false;
            self.regions.next_rank = self.regions.next_rank.saturating_add(1);
            lent.client.proceed(now);
            self.drain_lent(at);
        }
        for at in 0..self.lent.len() {
            let free = !self.lent[at].region.is_chosen() && !self.lent[at].region.passed;
            if free && self.is_asked_by_datagrams(at) && !self.lent[at].region.rests {
                self.lent[at].region.rests = true;
                self.lent[at].client.rest();
            }
        }
    }

    /// Those that were chosen and are not dead.
    fn lending(&self) -> usize {
        let lends =
            |at: &usize| self.lent[*at].region.is_chosen() && !self.lent[*at].client.is_over();
        self.datagram_lenders().filter(lends).count()
    }

    /// Whether the nearest is about to lend, though another one does already.
    pub(super) fn awaits_nearest(&self) -> bool {
        let chosen = self.lent.iter().filter(|l| l.region.is_chosen() && !l.client.is_over());
        chosen.min_by_key(|l| l.region.rank).is_some_and(|l| !l.region.ready)
    }

    fn score(&self, at: usize) -> Option<Duration> {
        let lent = &self.lent[at];
        let free = lent.region.chosen_at.is_none() && !lent.client.is_over();
        lent.region.delay.filter(|_| free).map(|delay| delay + self.cost(at))
    }

    /// The nearest that answered and was not chosen.
    fn nearest(&self) -> Option<usize> {
        let scores = self.datagram_lenders().filter_map(|at| Some((self.score(at)?, at)));
        scores.min().map(|(_, at)| at)
    }

    /// When it is certain that none that has not answered yet is nearer.
    fn decided_at(&self, best: usize) -> Instant {
        let score = self.score(best).unwrap_or_default();
        let open = |at: &usize| {
            let lent = &self.lent[*at];
            lent.region.delay.is_none() && !lent.is_hopeless() && !lent.region.passed
        };
        let at_least = |at: usize| {
            let asked = self.lent[at].region.asked?;
            Some(asked + score.saturating_sub(self.cost(at)))
        };
        let last = self.datagram_lenders().filter(open).filter_map(at_least).max();
        last.unwrap_or(self.now)
    }

    /// One of those that lend is dead: the others are asked.
    fn wake_others(&mut self, now: Instant) {
        for lent in self.lent.iter_mut().filter(|l| !l.server.is_stream()) {
            if std::mem::take(&mut lent.region.rests) && lent.region.delay.is_none() {
                lent.region.asked = Some(now);
                lent.client.sound_out(now);
            }
        }
    }

    /// When something of this is due.
    pub(super) fn regions_at(&self) -> Option<Instant> {
        if !self.regions.several || self.gathering == Gathering::NotBegun {
            return None;
        }
        let late = self.datagram_lenders().filter_map(|at| self.lent[at].region.late_at()).min();
        let nearest = self.nearest().filter(|_| self.lending() < LENDING);
        let decided = nearest.map(|at| self.decided_at(at));
        let question = self.regions.question.as_ref().map(|q| q.next);
        [late, decided, question.or(self.suspect_at())].into_iter().flatten().min()
    }

    /// When the server of the way is asked whether it is alive: it lends by datagrams, and there is
    /// another one.
    fn suspect_at(&self) -> Option<Instant> {
        let (via, heard) = self.regions.heard.filter(|_| self.speaks && self.regions.expects)?;
        let at = Lent::place(via).filter(|at| *at < self.lent.len())?;
        let watched = self.is_asked_by_datagrams(at) && !self.lent[at].client.is_over();
        let in_use = self.agent.send_path().is_some_and(|path| path.via == via);
        let suspect = heard + SUSPECT_AFTER;
        (watched && in_use).then(|| self.regions.quiet_until.map_or(suspect, |q| q.max(suspect)))
    }

    /// Asks the server of a way that fell silent, and gives it up where it does not answer.
    pub(super) fn watch_lender(&mut self, now: Instant) {
        if !self.regions.several {
            return;
        }
        if self.regions.question.is_none() && self.suspect_at().is_some_and(|at| now >= at) {
            let via = self.regions.heard.map_or(Via(0), |(via, _)| via);
            let id = self.ids.next_id();
            self.regions.question = Some(Question { via, id, since: now, next: now });
        }
        let Some(question) = self.regions.question.as_mut().filter(|q| now >= q.next) else {
            return;
        };
        let Some(at) = Lent::place(question.via).filter(|at| *at < self.lent.len()) else { return };
        let patience = PATIENCE_MIN.max(self.lent[at].region.delay.unwrap_or_default() * 3);
        let ends = question.since + patience;
        if now < ends {
            question.next = (now + ASK_EVERY).min(ends);
            let bytes = Bytes::from(Builder::request(question.id).finish_unsigned());
            self.queries += 1;
            let to = self.lent[at].server.addr;
            return self.out.push_back(TraversalOutput::Transmit { to, bytes });
        }
        self.regions.end_call();
        self.lent[at].region.delay = None;
        self.lent[at].client.give_up();
        self.drain_lent(at);
        self.wake_others(now);
        self.decide(now);
    }

    /// Whether a message of a server's answers that question. Whatever else comes from it says as
    /// much: it is alive.
    pub(super) fn is_alive_answer(&mut self, now: Instant, at: usize, message: &[u8]) -> bool {
        let Some(question) = self.regions.question.as_ref().filter(|q| q.via == Lent::via(at))
        else {
            return false;
        };
        let answers = Message::parse(message).is_ok_and(|m| m.transaction_id() == question.id);
        self.regions.question = None;
        self.regions.quiet_until = Some(now + SUSPECT_AGAIN);
        answers
    }

    /// Those over streams rank as they come.
    pub(super) fn rank_stream(&mut self, at: usize) {
        if self.regions.several_streams && self.lent[at].region.rank.is_none() {
            self.lent[at].region.rank = Some(self.regions.next_rank);
            self.regions.next_rank = self.regions.next_rank.saturating_add(1);
        }
    }
}
