//! The full agent for one stream of one component (RFC 8445, RFC 7675): a phone's, whose RTP and RTCP
//! share a port.
//!
//! ```text
//!   add_local, add_remote, set_remote ─► pairs ─► checks every 50 ms, best pair first
//!        answered ─► valid ─► nominated ─► selected ─► media;  RFC 7675: consent every 5 s
//!        silence where there was sound ─► probes every 100 ms ─► lost ─► all pairs again, the last
//!        good ones first ─► another one selected, or (3 s) RestartWanted, or (30 s) ConsentEnded
//!   loss ─► the ways are compared ─► a better one selected
//! ```
//!
//! The contract: sans-IO. After any call drain [`Agent::poll_transmit`] and [`Agent::poll_event`],
//! then sleep until [`Agent::poll_timeout`]. A [`Via`] says by what a packet leaves: the socket, or one
//! of the addresses that were borrowed from TURN servers.
//!
//! What it does not do: more than one component, candidates over TCP, frozen pairs (with one stream
//! and one component every pair would be thawed at once, RFC 8445 §6.1.2.6).

mod backup;
mod checks;
mod incoming;
mod liveness;
mod moving;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::TransactionIds;
pub use checks::{CHECKS_MAX, PACE};
use checks::{Check, Pair};
use liveness::Liveness;
pub use liveness::{CONSENT_ENDS, LOST_AFTER, PROBE_AFTER, RESTART_AFTER};
use moving::Moving;
pub use moving::{BAD_PERCENT, REST, RETURN_FIRST, ROUNDS};

/// Candidates of the other side that are taken.
pub const REMOTES_MAX: usize = 24;
/// Pairs at once; RFC 8445 §6.1.2.5 says 100.
pub const PAIRS_MAX: usize = 64;
/// Checks that come before the description they belong to.
const EARLY_MAX: usize = 8;
/// Good pairs that are remembered, latest first.
const GOOD_MAX: usize = 4;
/// Ways that were good in earlier calls.
pub const HINTS_MAX: usize = 8;

/// By what packets leave: 0 is the socket, the others the addresses borrowed from TURN servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Via(pub u8);

/// The kind of a candidate, most wanted first (RFC 8445 §5.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An address of this machine.
    Host,
    /// One that a check revealed.
    PeerReflexive,
    /// One that a server saw us at.
    ServerReflexive,
    /// One borrowed from a TURN server.
    Relayed,
}

impl Kind {
    /// As in `a=candidate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::PeerReflexive => "prflx",
            Self::ServerReflexive => "srflx",
            Self::Relayed => "relay",
        }
    }

    fn preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }
}

/// The priority of a candidate of component 1 (RFC 8445 §5.1.2.1); `local` is larger for what is
/// wanted more among those of one kind.
pub fn priority(kind: Kind, local: u16) -> u32 {
    (kind.preference() << 24) + (u32::from(local) << 8) + 255
}

/// Ufrag and password of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// At least 4 characters (RFC 8839 §5.4).
    pub ufrag: String,
    /// At least 22 characters.
    pub pwd: String,
}

/// A pair of ways: by what, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// By what.
    pub via: Via,
    /// Where to.
    pub remote: SocketAddr,
}

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// How.
    pub path: Path,
    /// What.
    pub bytes: Vec<u8>,
}

/// What the agent tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEvent {
    /// Media goes this way from now on.
    Selected(Path),
    /// The other side sees the socket at this address, which nobody had told before: a translator's
    /// mapping is new.
    Mapped(SocketAddr),
    /// The way is dead, and others are tried.
    Lost,
    /// It stays dead: an ICE restart is wanted (RFC 8445 §2.4).
    RestartWanted,
    /// The other side has not agreed to be sent to for 30 s (RFC 7675): nothing is sent.
    ConsentEnded,
    /// No pair works.
    Failed,
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    ids: TransactionIds,
    controlling: bool,
    tie_breaker: u64,
    local: Credentials,
    /// Good until the new ones were used (RFC 8445 §2.4).
    previous: Option<Credentials>,
    /// Those of a restart that the other side has not answered yet.
    next: Option<Credentials>,
    remote: Option<Credentials>,
    remote_lite: bool,
    locals: Vec<Local>,
    remotes: Vec<(SocketAddr, u32)>,
    remotes_ended: bool,
    /// IPv4 addresses are reached from an IPv6 socket (RFC 6146).
    translated: bool,
    pairs: Vec<Pair>,
    triggered: VecDeque<Path>,
    checks: Vec<Check>,
    next_check: Option<Instant>,
    early: Vec<Early>,
    selected: Option<Path>,
    /// The way of before a restart, until there is a new one.
    former: Option<Path>,
    good: VecDeque<Path>,
    /// What was good in earlier calls, latest first: by what, and to which machine.
    hints: Vec<(Via, IpAddr)>,
    first_valid: Option<Instant>,
    failed: bool,
    sent: u32,
    liveness: Liveness,
    backup: backup::Backup,
    moving: Moving,
    mapped: Option<SocketAddr>,
    out: VecDeque<Transmit>,
    events: VecDeque<AgentEvent>,
}

/// A way out of ours: the best candidate of its base (RFC 8445 §6.1.2.4 has the others pruned).
#[derive(Debug, Clone, Copy)]
struct Local {
    via: Via,
    addr: SocketAddr,
    priority: u32,
}

/// A check that came before we knew whose it is.
#[derive(Debug)]
struct Early {
    path: Path,
    priority: u32,
    nominates: bool,
}

impl Agent {
    /// An agent with its credentials. `secret` makes its transaction ids and its tie-breaker.
    pub fn new(controlling: bool, local: Credentials, secret: &[u8; 32]) -> Self {
        let mut ids = TransactionIds::new(secret);
        let [a, b, c, d, e, f, g, h, ..] = ids.next_id();
        Self {
            ids,
            controlling,
            tie_breaker: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            local,
            previous: None,
            next: None,
            remote: None,
            remote_lite: false,
            locals: Vec::new(),
            remotes: Vec::new(),
            remotes_ended: false,
            translated: false,
            pairs: Vec::new(),
            triggered: VecDeque::new(),
            checks: Vec::new(),
            next_check: None,
            early: Vec::new(),
            selected: None,
            former: None,
            good: VecDeque::new(),
            hints: Vec::new(),
            first_valid: None,
            failed: false,
            sent: 0,
            liveness: Liveness::default(),
            backup: backup::Backup::default(),
            moving: Moving::default(),
            mapped: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The socket has IPv6 alone, and a translator takes it to IPv4: such pairs are made too.
    pub fn set_translated(&mut self, translated: bool) {
        self.translated = translated;
    }

    /// A way out: the socket's own address, or a borrowed one.
    pub fn add_local(&mut self, now: Instant, via: Via, addr: SocketAddr, priority: u32) {
        if self.locals.iter().all(|l| l.via != via) {
            self.locals.push(Local { via, addr, priority });
            self.form_pairs(now);
        }
    }

    /// Ways that were good in earlier calls, latest first: they are checked before all others, and a
    /// direct one of them is chosen as soon as it answers (R6.5).
    pub fn prefer(&mut self, hints: &[(Via, IpAddr)]) {
        self.hints.clear();
        self.hints.extend(hints.iter().take(HINTS_MAX));
    }

    /// Whether a pair is one of those that were good in earlier calls.
    pub fn is_preferred(&self, path: Path) -> bool {
        self.hints.contains(&(path.via, path.remote.ip()))
    }

    /// A way out is gone: if it was the chosen one, the others are tried at once.
    pub fn remove_local(&mut self, now: Instant, via: Via) {
        let was_chosen = self.selected.filter(|path| path.via == via).map(|path| self.fate(path));
        self.locals.retain(|l| l.via != via);
        self.pairs.retain(|p| p.path.via != via);
        self.checks.retain(|c| c.path.via != via);
        self.selected = self.selected.filter(|path| path.via != via);
        self.former = self.former.filter(|path| path.via != via);
        if let Some(fate) = was_chosen {
            self.look_again(now, fate);
        }
    }

    /// Has the server's or the other side's way of seeing us: it is no news then.
    pub fn note_mapped(&mut self, mapped: SocketAddr) {
        self.mapped = Some(mapped);
    }

    /// The other side's description: whether it is another than before, which restarts.
    pub fn set_remote(&mut self, now: Instant, remote: Credentials, lite: bool) {
        let next = self.next.take();
        if self.remote.as_ref() == Some(&remote) && next.is_none() {
            return;
        }
        if let Some(next) = next {
            self.previous = Some(std::mem::replace(&mut self.local, next));
        }
        if self.remote.is_some() {
            // Another one than before: a phone of a fork, or the restart that ours asked for.
            self.forget_remote();
        }
        self.remote = Some(remote);
        self.remote_lite = lite;
        // RFC 8445 §6.1.1.
        self.controlling |= lite;
        for early in std::mem::take(&mut self.early) {
            self.take_check(now, early.path, early.priority, early.nominates);
        }
        self.form_pairs(now);
    }

    /// A candidate of the other side's.
    pub fn add_remote(&mut self, now: Instant, addr: SocketAddr, priority: u32) {
        let known = self.remotes.iter().any(|(other, _)| *other == addr);
        if !known && self.remotes.len() < REMOTES_MAX {
            self.remotes.push((addr, priority));
            self.form_pairs(now);
        }
    }

    /// No more of them will come.
    pub fn end_remotes(&mut self) {
        self.remotes_ended = true;
    }

    /// An ICE restart with new credentials, for our next description. Until the other side's comes
    /// all goes on as before: where there is no way, signalling may have none either, and the way of
    /// before may come back first. Then what it said is forgotten, and media goes on the former way
    /// until there is a new one.
    pub fn restart(&mut self, local: Credentials) {
        self.next = Some(local);
    }

    fn forget_remote(&mut self) {
        self.former = self.send_path();
        self.remote = None;
        self.remotes.clear();
        self.remotes_ended = false;
        self.pairs.clear();
        self.triggered.clear();
        self.checks.clear();
        self.selected = None;
        self.first_valid = None;
        self.failed = false;
        self.sent = 0;
        self.liveness = Liveness::default();
        self.moving = Moving::default();
    }

    /// Our ufrag and password, as our next description says them.
    pub fn credentials(&self) -> &Credentials {
        self.next.as_ref().unwrap_or(&self.local)
    }

    /// Those of the other side.
    pub fn remote(&self) -> Option<&Credentials> {
        self.remote.as_ref()
    }

    /// Whether the other side is an ICE-lite agent.
    pub fn remote_is_lite(&self) -> bool {
        self.remote_lite
    }

    /// Whether we are to be the one that nominates; a role conflict may say otherwise.
    pub fn set_controlling(&mut self, controlling: bool) {
        self.controlling = controlling;
    }

    /// Whether we are the one that nominates.
    pub fn is_controlling(&self) -> bool {
        self.controlling
    }

    /// Where media goes: the selected pair, else the best valid one (RFC 8445 §12.1), else that of
    /// before a restart. None once consent ended.
    pub fn send_path(&self) -> Option<Path> {
        if self.liveness.consent_ended() {
            return None;
        }
        let valid = self.pairs.iter().filter(|p| p.is_valid()).max_by_key(|p| p.priority);
        self.selected.or(valid.map(|p| p.path)).or(self.former)
    }

    /// The pair that was nominated.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether a packet that came this way comes from whom we talk to.
    pub fn is_valid(&self, path: Path) -> bool {
        self.former == Some(path) || self.pairs.iter().any(|p| p.path == path && p.heard)
    }

    /// Checks sent since the start or the last restart, repetitions and probes included.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    fn select(&mut self, now: Instant, path: Path) {
        self.good.retain(|p| *p != path);
        self.good.push_front(path);
        self.good.truncate(GOOD_MAX);
        self.former = None;
        let same_and_well = self.selected == Some(path) && !self.liveness.is_lost();
        self.selected = Some(path);
        self.liveness.selected(now, self.ids.fraction());
        if !same_and_well {
            self.moving.selected(now);
            self.events.push_back(AgentEvent::Selected(path));
        }
        // RFC 8445 §8.1.2: what else was to be checked need not be.
        self.triggered.retain(|p| *p == path);
        self.checks.retain(|c| c.path == path || c.nominates);
        for pair in self.pairs.iter_mut().filter(|p| p.path != path) {
            pair.nominated = false;
            pair.rest();
        }
    }
}
