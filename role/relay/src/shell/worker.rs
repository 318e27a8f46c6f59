//! One packet thread: epoll, batches, timers.
//!
//! ```text
//!   epoll ─┬─ a hub's socket    ─► recvmmsg, all calls ─► bridges under one lock ─► raw sendmmsg
//!          ├─ one port's socket ─► recvmmsg, one call  ─► its bridge             ─► sendmmsg
//!          └─ the bell          ─► a thread without work is woken
//! ```

mod output;
mod table;

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use net::batch::{BATCH_MAX, RecvBatch};
use net::fast_path::FastPath;
use net::poll::{Poller, READY_MAX};
use rtp::srtp::MAX_TRAILER;

use super::hub::{Hub, RawSockets};
use super::sockets::{SessionIo, SocketPorts};
use crate::api::{RelayEvent, SessionId};
use crate::bridge::{Home, Port};
use crate::control::Control;
use output::{Outcome, report};
use table::{Table, Watched};

/// Datagrams taken from one port's socket before the next has its turn.
const BATCH: usize = 16;
/// Batches taken from a hub before others have their turn.
const HUB_ROUNDS: usize = 8;
/// The largest datagram relayed, and room to seal it.
const SLOT_BYTES: usize = 2048 + MAX_TRAILER;
/// Above this rate a thread rests before it looks for packets again, so that one wake-up finds
/// several: below a millisecond of delay for about a third of the cost.
const NAP_ABOVE_PER_S: u32 = 4000;
/// Sessions' timers (handshakes, consent, silence) are looked at this often, or when one is due, as
/// where something is played.
const TICK: Duration = Duration::from_millis(50);
const TICKS_PER_S: u32 = 20;
/// But not more often than this.
const TICK_MIN: Duration = Duration::from_millis(2);
/// How often streams are looked through for those the kernel may forward.
const OPEN_STREAMS_EVERY: Duration = Duration::from_millis(500);
/// The first hub's token; the others' are below it. A table has fewer places.
const HUBS: u64 = u64::MAX - 1;

/// The part of a packet thread that others reach.
pub(super) struct Worker {
    /// The bridges of its sessions.
    pub home: Arc<Home>,
    hubs: Vec<Arc<Hub>>,
    poller: Poller,
    /// The thread had no session for a while and waits for the poller's bell.
    asleep: AtomicBool,
    table: Mutex<Table>,
    /// By whose sockets a bridge's own packets leave when its timers make some.
    sessions: Mutex<HashMap<SessionId, Arc<SessionIo>>>,
    stop: AtomicBool,
    send_errors: AtomicU64,
    /// How long it rests above that rate.
    rest: Duration,
    /// By which the kernel forwards what needs nothing of us.
    fast_path: Option<Arc<FastPath>>,
}

/// What a thread keeps between its rounds.
struct Round {
    batch: RecvBatch,
    hub_batch: RecvBatch,
    raw: RawSockets,
    out: Outcome,
    /// The tokens of sockets with something.
    told: Vec<u64>,
    ready: Vec<Arc<Watched>>,
    /// Places in the thread's list of hubs.
    ready_hubs: Vec<usize>,
    /// Packets and sockets taken since the last tick.
    taken: u32,
}

impl Worker {
    /// A thread that reads from these hubs, one for each interface that has any.
    pub(super) fn new(
        hubs: Vec<Arc<Hub>>,
        rest: Duration,
        fast_path: Option<Arc<FastPath>>,
    ) -> io::Result<Self> {
        let worker = Self {
            home: Home::new(),
            hubs,
            poller: Poller::new()?,
            asleep: AtomicBool::new(false),
            table: Mutex::default(),
            sessions: Mutex::default(),
            stop: AtomicBool::new(false),
            send_errors: AtomicU64::new(0),
            rest,
            fast_path,
        };
        for (n, hub) in (0..).zip(&worker.hubs) {
            worker.poller.add(&hub.socket, HUBS - n)?;
        }
        Ok(worker)
    }

    /// Watches a socket; its token. `None` when the kernel refuses.
    pub(super) fn watch(
        &self,
        port: Port,
        socket: Arc<UdpSocket>,
        io: Arc<SessionIo>,
    ) -> Option<u64> {
        let watched = Arc::new(Watched { port, socket: Arc::clone(&socket), io });
        let token = hold(&self.table).insert(watched);
        if self.poller.add(&*socket, token).is_err() {
            hold(&self.table).remove(token);
            return None;
        }
        self.wake();
        Some(token)
    }

    /// Forgets a socket. It closes, and leaves epoll, when the last packet of a running batch is done.
    pub(super) fn unwatch(&self, token: u64) {
        let watched = hold(&self.table).remove(token);
        // Outside the lock: it may be the last to know its session.
        drop(watched);
    }

    /// A session has its first sockets.
    pub(super) fn add_session(&self, io: Arc<SessionIo>) {
        let replaced = hold(&self.sessions).insert(io.session, io);
        drop(replaced);
        self.wake();
    }

    /// A session has no sockets any more.
    pub(super) fn remove_session(&self, id: SessionId) {
        let removed = hold(&self.sessions).remove(&id);
        // Outside the lock: it may be the last to know its bridge.
        drop(removed);
    }

    /// There is something to look after.
    pub(super) fn wake(&self) {
        if self.asleep.swap(false, Ordering::AcqRel) {
            self.poller.ring();
        }
    }

    /// Asks the thread to end; it does at once.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.poller.ring();
    }

    /// The thread's body.
    pub(super) fn run(&self, control: &Mutex<Control<SocketPorts>>, on_event: &dyn Fn(RelayEvent)) {
        wake_precisely();
        let mut round = Round::new(!self.hubs.is_empty());
        let mut next_tick = Instant::now() + TICK;
        let mut next_streams = next_tick;
        let (mut naps, mut quiet_ticks, mut due) = (false, 0_u32, None);
        while !self.stop.load(Ordering::Acquire) {
            if naps && !self.rest.is_zero() {
                std::thread::sleep(self.rest);
            }
            let tick = next_tick.min(due.unwrap_or(next_tick));
            let tick = tick.saturating_duration_since(Instant::now());
            let asleep = self.falls_asleep(quiet_ticks);
            self.wait((!asleep).then_some(tick), &mut round);
            self.take(&mut round);
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                naps = std::mem::take(&mut round.taken) > NAP_ABOVE_PER_S / TICKS_PER_S;
                let any;
                (any, due) = self.tick(now, &mut next_streams, &mut round.out);
                quiet_ticks = if any { 0 } else { quiet_ticks + 1 };
            } else if due.is_some_and(|due| due <= now) {
                (_, due) = self.tick(now, &mut next_streams, &mut round.out);
            }
            report(&mut round.out, control, on_event);
        }
    }

    /// Waits for packets, the bell, or the timeout.
    fn wait(&self, timeout: Option<Duration>, round: &mut Round) {
        // Until the bell, or the poller's own patience: looking once a minute costs nothing.
        self.poller.wait(timeout.unwrap_or(Duration::MAX), &mut round.told);
        let table = hold(&self.table);
        for token in round.told.drain(..) {
            let hub = HUBS.checked_sub(token).and_then(|n| usize::try_from(n).ok());
            match hub.filter(|n| *n < self.hubs.len()) {
                Some(n) => round.ready_hubs.push(n),
                None => round.ready.extend(table.find(token)),
            }
        }
    }

    /// Takes what is there.
    fn take(&self, round: &mut Round) {
        for n in 0..round.ready_hubs.len() {
            let hub = &self.hubs[round.ready_hubs[n]];
            for _ in 0..HUB_ROUNDS {
                // One call's bug must not end the calls of a whole thread.
                let from = (&**hub, &mut round.raw);
                let step = || self.drain_hub(from, &mut round.hub_batch, &mut round.out);
                let taken = catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
                    tracing::error!("packet handling panicked; a batch of packets is lost");
                    0
                });
                round.taken += taken as u32;
                if !round.hub_batch.is_full() {
                    break;
                }
            }
        }
        round.ready_hubs.clear();
        round.taken += round.ready.len() as u32;
        for watched in round.ready.drain(..) {
            let step = AssertUnwindSafe(|| self.drain(&watched, &mut round.batch, &mut round.out));
            if catch_unwind(step).is_err() {
                tracing::error!(session = watched.io.session.0, "packet handling panicked");
            }
        }
    }

    /// Looks after the timers; whether there is a session, and when the next timer is due.
    fn tick(
        &self,
        now: Instant,
        next_streams: &mut Instant,
        out: &mut Outcome,
    ) -> (bool, Option<Instant>) {
        let opens = now >= *next_streams;
        if let Some(fast_path) = self.fast_path.as_ref().filter(|_| opens) {
            *next_streams = now + OPEN_STREAMS_EVERY;
            // It asks the system: not while the bridges are held. What it finds broken is not
            // current any more, and taken back below.
            fast_path.is_working();
        }
        let (any, due) = {
            let mut home = self.home.lock();
            if let Some(fast_path) = &self.fast_path {
                // Before silence is looked at: what the kernel forwarded was heard.
                home.count_streams();
                if opens {
                    home.open_streams(&mut |path| Some(Box::new(fast_path.open(path)?)));
                }
            }
            let due = home.handle_timeouts(now, |session, bridge| {
                if let Some(io) = hold(&self.sessions).get(&session) {
                    out.collect(io, bridge);
                }
            });
            (!home.is_empty(), due)
        };
        self.send_transmits(out);
        (any, due.map(|due| due.max(now + TICK_MIN)))
    }

    /// Whether there is nothing to look after, and was not for a second: sessions come and go, and
    /// waking costs more than a few ticks.
    fn falls_asleep(&self, quiet_ticks: u32) -> bool {
        if quiet_ticks < TICKS_PER_S {
            return false;
        }
        self.asleep.store(true, Ordering::Release);
        // A session that came before that was heard of; one that comes later rings.
        let asleep = self.home.lock().is_empty();
        if !asleep {
            self.asleep.store(false, Ordering::Release);
        }
        asleep
    }
}

impl Round {
    fn new(has_hubs: bool) -> Self {
        // The hub's batch is the larger part of what a thread needs.
        let hub_slots = if has_hubs { BATCH_MAX } else { 1 };
        Self {
            // Of marks, not of destinations: a port has one.
            batch: RecvBatch::with_destinations(BATCH, SLOT_BYTES),
            raw: RawSockets::new(),
            hub_batch: RecvBatch::with_destinations(hub_slots, SLOT_BYTES),
            out: Outcome::default(),
            told: Vec::with_capacity(READY_MAX),
            ready: Vec::with_capacity(READY_MAX),
            ready_hubs: Vec::new(),
            taken: 0,
        }
    }
}

/// The kernel may wake a thread 50 microseconds late to save power: a quarter of what it rests.
fn wake_precisely() {
    const SLACK_NS: libc::c_ulong = 1_000;
    // SAFETY: the call takes a number. Refused, the thread wakes later.
    let _ = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
