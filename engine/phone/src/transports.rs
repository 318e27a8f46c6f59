//! Which transport the phone reaches its server by, on the network it is on (R1.2).
//!
//! ```text
//!   handle_network ──► Connecting ──connected──► Up, unproved ──heard──► Up, proved
//!                        ▲   │ refused, silent       │ silent               │ silent
//!                        │   ▼                       ▼                      ▼
//!                        ├── the next transport ◄────┴──────────────────────┘
//!                        └── Waiting (0.5 s, 1 s, .. 30 s) ◄── all were tried │ a proved one broke
//!
//!   Up by a later transport, no call: the earlier ones are probed now and then; one that answers
//!   is connected instead.
//! ```
//!
//! The order is the account's policy: what is not in it is never used. What worked is remembered for
//! each network. A phone with one transport waits for it and never judges a request's silence.
//!
//! A link that is idle is judged by its keep-alives, over every transport alike: once the server has
//! answered one, two in a row without an answer mean that the link is cut off.

use sansio::{Transport, WallTime};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a transport may take to connect, and then to carry the first answer. Three that are
/// blocked cost less than four seconds.
const PATIENCE: Duration = Duration::from_millis(1200);
/// The longest it grows to: it doubles with each round in which nothing worked, for slow networks.
/// Also how long the only transport may take to connect.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// How long a transport that worked may leave a request without any answer: UDP has sent a request
/// four times by then (RFC 3261 §17.1.2.1).
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// Keep-alives in a row that the server, which answered earlier ones, may leave without an answer.
const KEEP_ALIVES_MISSED: u32 = 2;
/// The first wait after a link that worked broke, or a whole round failed, and the longest.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// A link that stood this long is trusted again: its end does not lengthen the wait.
const STABLE: Duration = Duration::from_secs(10);
/// How long after an earlier transport failed it is probed again. Doubled each time, up to
/// [`STEP_BACK_DOUBLINGS`] times.
const STEP_BACK: Duration = Duration::from_secs(30 * 60);
const STEP_BACK_DOUBLINGS: u32 = 4;
/// The same where the memory of it is older than that, and after a call that was in the way.
const STEP_BACK_SOON: Duration = Duration::from_secs(10);
/// How long a probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(4);
/// Networks remembered; the oldest memory gives way.
const NETWORKS_MAX: usize = 64;

/// The driver's name of a network: the same whenever the phone is on it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(pub String);

/// What worked on a network whose first transport did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The network.
    pub network: NetworkId,
    /// The transport that worked.
    pub transport: Transport,
    /// When the earlier ones were last found not to.
    pub since: WallTime,
}

/// What the driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportsOutput {
    /// Close what stands or is being connected, and connect by this.
    Connect(Transport),
    /// Beside the link that stands: find out whether the server answers an OPTIONS by this
    /// ([`crate::probe_request`]); [`Transports::handle_probed`] takes the outcome.
    Probe(Transport),
    /// Send a keep-alive now, beside those the engine sends; [`Transports::handle_kept_alive`] takes
    /// its answer.
    KeepAlive,
    /// [`Transports::remembered`] has changed and should be kept.
    Remember,
    /// Nothing in the policy works for now; tried again by itself.
    Exhausted,
}

/// The machine. After any `handle_*` drain [`Self::poll_output`].
#[derive(Debug)]
pub struct Transports {
    /// The policy, most wanted first; never empty, nothing twice.
    order: Vec<Transport>,
    memory: Vec<Remembered>,
    network: Option<NetworkId>,
    state: State,
    /// The transport in use or being tried, by its place in the policy.
    at: usize,
    /// Where a round begins on this network.
    first: usize,
    /// Transports tried in this round.
    tried: usize,
    /// Links that broke and rounds that failed since one was stable: how long to wait.
    failures: u32,
    /// Rounds in a row in which nothing worked: how patient to be.
    exhausted: u32,
    /// How often the step back was tried here.
    steps_back: u32,
    step_back_at: Option<Instant>,
    probe: Option<(usize, Instant)>,
    busy: bool,
    keep_alives: KeepAlives,
    outputs: VecDeque<TransportsOutput>,
}

/// The keep-alives of the link that stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct KeepAlives {
    /// The server answers them: from then on silence says something.
    answered: bool,
    /// When the one went out after which nothing was heard yet.
    awaited: Option<Instant>,
    /// How many in a row were not answered.
    missed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No network yet.
    Off,
    Connecting {
        until: Instant,
    },
    Up {
        /// When the server was first heard on it.
        proved: Option<Instant>,
        /// The oldest request after which nothing was heard.
        unanswered: Option<Instant>,
    },
    Waiting {
        until: Instant,
        next: usize,
    },
}

impl Transports {
    /// A machine for a policy, most wanted first, and what was remembered earlier. An empty policy
    /// means TLS.
    pub fn new(order: &[Transport], memory: Vec<Remembered>) -> Self {
        let mut unique: Vec<Transport> = Vec::new();
        for transport in order {
            if !unique.contains(transport) {
                unique.push(*transport);
            }
        }
        if unique.is_empty() {
            unique.push(Transport::Tls);
        }
        Self {
            order: unique,
            memory,
            network: None,
            state: State::Off,
            at: 0,
            first: 0,
            tried: 0,
            failures: 0,
            exhausted: 0,
            steps_back: 0,
            step_back_at: None,
            probe: None,
            busy: false,
            keep_alives: KeepAlives::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The phone is on this network. Starts with what worked there; the same one again changes
    /// nothing.
    pub fn handle_network(&mut self, now: Instant, network: NetworkId) {
        if self.network.as_ref() == Some(&network) {
            return;
        }
        let known = self.memory.iter().find(|known| known.network == network);
        let place = known.and_then(|known| self.order.iter().position(|t| *t == known.transport));
        self.first = place.unwrap_or(0);
        self.network = Some(network);
        (self.tried, self.failures, self.exhausted, self.steps_back) = (0, 0, 0, 0);
        self.connect(now, self.first);
    }

    /// The transport asked for is connected.
    pub fn handle_connected(&mut self) {
        if matches!(self.state, State::Connecting { .. }) {
            self.state = State::Up { proved: None, unanswered: None };
        }
    }

    /// It could not be connected, or broke.
    pub fn handle_failed(&mut self, now: Instant) {
        match self.state {
            State::Connecting { .. } | State::Up { proved: None, .. } => self.step(now),
            State::Up { proved: Some(since), .. } => {
                // It worked: the server restarts, or the network comes and goes.
                if now.saturating_duration_since(since) >= STABLE {
                    self.failures = 0;
                }
                self.tried = 0;
                self.wait(now, self.at);
            }
            State::Off | State::Waiting { .. } => {}
        }
    }

    /// A message or a keep-alive went out. What must be answered and is not tells of a blocked
    /// transport.
    pub fn handle_sent(&mut self, now: Instant, message: &[u8]) {
        if message.iter().all(|byte| b"\r\n".contains(byte)) {
            self.keep_alives.awaited.get_or_insert(now);
        }
        let asks = !message.starts_with(b"SIP/2.0")
            && !message.starts_with(b"ACK ")
            && message.first().is_some_and(u8::is_ascii_alphabetic);
        if let State::Up { unanswered: unanswered @ None, .. } = &mut self.state
            && asks
        {
            *unanswered = Some(now);
        }
    }

    /// A message came.
    pub fn handle_heard(&mut self, now: Instant, wall: WallTime) {
        let State::Up { proved, unanswered } = &mut self.state else { return };
        *unanswered = None;
        (self.keep_alives.awaited, self.keep_alives.missed) = (None, 0);
        if proved.replace(proved.unwrap_or(now)).is_none() {
            self.proved(now, wall);
        }
    }

    /// The server answered a keep-alive on the link that stands.
    pub fn handle_kept_alive(&mut self) {
        self.keep_alives = KeepAlives { answered: true, ..KeepAlives::default() };
    }

    /// A probe's outcome: whether the server answered.
    pub fn handle_probed(
        &mut self,
        now: Instant,
        wall: WallTime,
        transport: Transport,
        answered: bool,
    ) {
        let Some((at, _)) = self.probe.filter(|(at, _)| self.order[*at] == transport) else {
            return;
        };
        self.probe = None;
        if answered && self.busy {
            self.step_back_at = Some(now + STEP_BACK_SOON);
        } else if answered {
            self.steps_back += 1;
            self.tried = 0;
            self.first = at;
            self.connect(now, at);
        } else if at + 1 < self.at {
            self.probe(now, at + 1);
        } else {
            self.steps_back += 1;
            self.step_back_at = Some(now + self.step_back());
            self.remember(wall);
        }
    }

    /// Whether a call is under way: no link is changed for a better one then.
    pub fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant, wall: WallTime) {
        self.keep_alive_timeout(now);
        if self.deadline().is_some_and(|at| at <= now) {
            match self.state {
                State::Waiting { next, .. } => self.connect(now, next),
                State::Connecting { .. } | State::Up { proved: None, .. } => self.step(now),
                // It worked until now, and is cut off: the others first.
                State::Up { .. } => {
                    self.tried = 0;
                    self.step(now);
                }
                State::Off => {}
            }
        }
        if let Some((at, _)) = self.probe.filter(|(_, until)| *until <= now) {
            self.handle_probed(now, wall, self.order[at], false);
        }
        if self.step_back_at.take_if(|at| *at <= now).is_some() {
            match self.busy {
                true => self.step_back_at = Some(now + STEP_BACK_SOON),
                false => self.probe(now, 0),
            }
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probe = self.probe.map(|(_, until)| until);
        let keep_alive = self.keep_alives.awaited.map(|sent| sent + SILENCE_MAX);
        [self.deadline(), keep_alive, self.step_back_at, probe].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<TransportsOutput> {
        self.outputs.pop_front()
    }

    /// The transport in use, or being tried.
    pub fn current(&self) -> Transport {
        self.order[self.at]
    }

    /// The policy.
    pub fn order(&self) -> &[Transport] {
        &self.order
    }

    /// What is known of networks; at most 64.
    pub fn remembered(&self) -> &[Remembered] {
        &self.memory
    }

    fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { until } | State::Waiting { until, .. } => Some(until),
            // The only transport is what there is: its transactions tell of silence.
            State::Up { .. } if self.order.len() == 1 => None,
            State::Up { proved: None, unanswered } => unanswered.map(|at| at + self.patience()),
            State::Up { proved: Some(_), unanswered } => unanswered.map(|at| at + SILENCE_MAX),
            State::Off => None,
        }
    }

    /// A keep-alive stayed without an answer for too long.
    fn keep_alive_timeout(&mut self, now: Instant) {
        let keeps = &mut self.keep_alives;
        if keeps.awaited.take_if(|sent| *sent + SILENCE_MAX <= now).is_none() || !keeps.answered {
            return;
        }
        keeps.missed += 1;
        if keeps.missed < KEEP_ALIVES_MISSED {
            self.outputs.push_back(TransportsOutput::KeepAlive);
        } else if self.order.len() > 1 {
            self.tried = 0;
            self.step(now);
        } else {
            // The only one: on a new connection, which an address translator does not know yet.
            self.handle_failed(now);
        }
    }

    fn patience(&self) -> Duration {
        match self.order.len() {
            1 => PATIENCE_MAX,
            _ => (PATIENCE * 2_u32.pow(self.exhausted.min(4))).min(PATIENCE_MAX),
        }
    }

    fn step_back(&self) -> Duration {
        STEP_BACK * 2_u32.pow(self.steps_back.min(STEP_BACK_DOUBLINGS))
    }

    /// The next of the round, or a wait before the next round.
    fn step(&mut self, now: Instant) {
        self.tried += 1;
        if self.tried < self.order.len() {
            return self.connect(now, (self.at + 1) % self.order.len());
        }
        self.tried = 0;
        self.exhausted += 1;
        self.outputs.push_back(TransportsOutput::Exhausted);
        self.wait(now, self.first);
    }

    fn wait(&mut self, now: Instant, next: usize) {
        let until = now + (WAIT_MIN * 2_u32.pow(self.failures.min(6))).min(WAIT_MAX);
        self.failures += 1;
        self.leave();
        self.state = State::Waiting { until, next };
    }

    fn connect(&mut self, now: Instant, at: usize) {
        self.leave();
        self.at = at;
        self.state = State::Connecting { until: now + self.patience() };
        self.outputs.push_back(TransportsOutput::Connect(self.order[at]));
    }

    fn leave(&mut self) {
        self.step_back_at = None;
        self.probe = None;
        self.keep_alives = KeepAlives::default();
    }

    fn probe(&mut self, now: Instant, at: usize) {
        self.probe = Some((at, now + PROBE_PATIENCE));
        self.outputs.push_back(TransportsOutput::Probe(self.order[at]));
    }

    /// The server was heard on a new link.
    fn proved(&mut self, now: Instant, wall: WallTime) {
        (self.tried, self.exhausted) = (0, 0);
        self.first = self.at;
        // Whether this server answers them is known before the first is due.
        self.outputs.push_back(TransportsOutput::KeepAlive);
        let known = self.memory.iter().find(|known| Some(&known.network) == self.network.as_ref());
        let transport = known.map(|known| known.transport);
        let old = known.is_some_and(|known| wall.since(known.since) >= STEP_BACK);
        if self.at == 0 {
            return if transport.is_some() {
                self.forget()
            };
        }
        if transport != Some(self.current()) {
            self.remember(wall);
        }
        let later = if old { STEP_BACK_SOON } else { self.step_back() };
        self.step_back_at = Some(now + later);
    }

    fn remember(&mut self, since: WallTime) {
        let Some(network) = self.network.clone() else { return };
        self.memory.retain(|known| known.network != network);
        if self.memory.len() >= NETWORKS_MAX
            && let Some(oldest) = (0..self.memory.len()).min_by_key(|i| self.memory[*i].since)
        {
            self.memory.remove(oldest);
        }
        self.memory.push(Remembered { network, transport: self.current(), since });
        self.outputs.push_back(TransportsOutput::Remember);
    }

    /// The first transport works here: nothing to remember.
    fn forget(&mut self) {
        self.memory.retain(|known| Some(&known.network) != self.network.as_ref());
        self.outputs.push_back(TransportsOutput::Remember);
    }
}

#[cfg(test)]
mod tests;
