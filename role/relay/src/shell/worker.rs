//! One packet thread: epoll, batches, timers.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use net::batch::{BATCH_MAX, RecvBatch, send_batch};
use rtp::srtp::MAX_TRAILER;

use super::sockets::{SessionIo, SocketPorts};
use crate::api::{RelayEvent, SessionId};
use crate::bridge::{BridgeEvent, Forward, Port, Transmit};
use crate::control::{Control, lock};

/// Datagrams taken from one socket before the next has its turn.
const BATCH: usize = 16;
/// The largest datagram relayed, and room to seal it.
const SLOT_BYTES: usize = 2048 + MAX_TRAILER;
/// Sockets reported by one `epoll_wait`.
const READY_MAX: usize = 256;
/// Above this rate a thread rests before it looks for packets again, so that one wake-up finds
/// several: below a millisecond of delay for about a third of the cost.
const NAP_ABOVE_PER_S: u32 = 4000;
/// How long it rests.
const NAP: Duration = Duration::from_micros(400);
/// Sessions' timers (handshakes, consent, silence) are looked at this often.
const TICK: Duration = Duration::from_millis(50);
const TICKS_PER_S: u32 = 20;
/// The bell's token: no socket's, whose place would be out of any table.
const BELL: u64 = u64::MAX;

/// The part of a packet thread that others reach.
pub(super) struct Worker {
    epoll: OwnedFd,
    /// Wakes the thread, which falls asleep when it had no session for a while.
    bell: OwnedFd,
    asleep: AtomicBool,
    table: Mutex<Table>,
    sessions: Mutex<Vec<WorkerSession>>,
    stop: AtomicBool,
    send_errors: AtomicU64,
}

/// A session of this thread.
pub(super) struct WorkerSession {
    pub io: Arc<SessionIo>,
}

impl Worker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        let bell = unsafe { OwnedFd::from_raw_fd(fd) };
        // Edge-triggered: each ring is told once, and nobody need read it.
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: BELL };
        // SAFETY: both descriptors are open and `event` lives through the call.
        let done = unsafe {
            let add = libc::EPOLL_CTL_ADD;
            libc::epoll_ctl(epoll.as_raw_fd(), add, bell.as_raw_fd(), &raw mut event)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            epoll,
            bell,
            asleep: AtomicBool::new(false),
            table: Mutex::default(),
            sessions: Mutex::default(),
            stop: AtomicBool::new(false),
            send_errors: AtomicU64::new(0),
        })
    }

    /// Watches a socket; its token. `None` when the kernel refuses.
    pub(super) fn watch(
        &self,
        port: Port,
        socket: Arc<UdpSocket>,
        io: Arc<SessionIo>,
    ) -> Option<u64> {
        let fd = socket.as_raw_fd();
        let token = hold(&self.table).insert(Arc::new(Watched { port, socket, io }));
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: both descriptors are open and `event` lives through the call.
        let done = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        if done != 0 {
            hold(&self.table).remove(token);
            return None;
        }
        Some(token)
    }

    /// Forgets a socket. It closes, and leaves epoll, when the last packet of a running batch is done.
    pub(super) fn unwatch(&self, token: u64) {
        hold(&self.table).remove(token);
    }

    pub(super) fn add_session(&self, session: WorkerSession) {
        let mut sessions = hold(&self.sessions);
        sessions.push(session);
        // Looked at and set under the lock of the sessions.
        if self.asleep.swap(false, Ordering::Relaxed) {
            self.ring();
        }
    }

    fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open and `one` has eight bytes. It fails only when the counter is
        // full, after 2^64 rings that were all told.
        let _ = unsafe { libc::write(self.bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub(super) fn remove_session(&self, id: SessionId) {
        hold(&self.sessions).retain(|s| s.io.session != id);
    }

    /// Asks the thread to end; it does at once.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// The thread's body.
    pub(super) fn run(&self, control: &Mutex<Control<SocketPorts>>, on_event: &dyn Fn(RelayEvent)) {
        let mut batch = RecvBatch::new(BATCH, SLOT_BYTES);
        let mut out = Outcome::default();
        let mut ready: Vec<Arc<Watched>> = Vec::with_capacity(READY_MAX);
        let mut next_tick = Instant::now() + TICK;
        let (mut taken, mut naps, mut quiet_ticks) = (0, false, 0_u32);
        while !self.stop.load(Ordering::Acquire) {
            if naps {
                std::thread::sleep(NAP);
            }
            let tick = next_tick.saturating_duration_since(Instant::now());
            let asleep = self.falls_asleep(quiet_ticks);
            self.wait((!asleep).then_some(tick), &mut ready);
            taken += ready.len() as u32;
            for watched in ready.drain(..) {
                // One call's bug must not end the calls of a whole thread.
                let step = AssertUnwindSafe(|| self.drain(&watched, &mut batch, &mut out));
                if catch_unwind(step).is_err() {
                    tracing::error!(session = watched.io.session.0, "packet handling panicked");
                }
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                naps = std::mem::take(&mut taken) > NAP_ABOVE_PER_S / TICKS_PER_S;
                quiet_ticks = if self.tick(now, &mut out) { 0 } else { quiet_ticks + 1 };
            }
            report(&mut out, control, on_event);
        }
    }

    /// Waits for packets, the bell, or the timeout.
    fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Arc<Watched>>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY_MAX];
        // Rounded up, so that the last millisecond before a tick is not spent spinning.
        let timeout_ms = timeout.map_or(-1, |timeout| timeout.as_micros().div_ceil(1000) as i32);
        // SAFETY: `events` has room for READY_MAX entries and lives through the call.
        let n = unsafe {
            let max = READY_MAX as i32;
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), max, timeout_ms)
        };
        let table = hold(&self.table);
        // A negative count is EINTR: as if nothing was ready.
        let tokens = events.iter().take(usize::try_from(n).unwrap_or(0)).map(|e| e.u64);
        ready.extend(tokens.filter_map(|token| table.find(token)));
    }

    /// Takes one batch from a socket, forwards it, sends what the legs have to say.
    fn drain(&self, watched: &Watched, batch: &mut RecvBatch, out: &mut Outcome) {
        // Errors are ICMP reports of earlier sends (a peer that went away): reading clears them.
        if batch.recv(&*watched.socket).is_err() {
            return;
        }
        let now = Instant::now();
        out.forwards.clear();
        {
            let mut bridge = lock(&watched.io.bridge);
            for (from, buf, len) in batch.slots_mut() {
                out.forwards.push(bridge.handle_packet(now, watched.port, from, buf, len));
            }
            out.collect(&watched.io, &mut bridge);
        }
        self.send_forwards(&watched.io, batch, &out.forwards);
        self.send_transmits(out);
    }

    /// Sends a batch's packets, as many per call as go by one socket.
    fn send_forwards(&self, io: &SessionIo, batch: &mut RecvBatch, forwards: &[Option<Forward>]) {
        let slots = batch.slots_mut().zip(forwards);
        let mut packets = slots.filter_map(|((_, buf, _), f)| f.map(|f| (f, &buf[..f.len])));
        if forwards.len() == 1 {
            // The usual case: one packet, no batch to build.
            if let Some((forward, bytes)) = packets.next()
                && let Some(socket) = io.socket(forward.port)
            {
                self.send_one(&socket, forward.to, bytes);
            }
            return;
        }
        let mut run: Vec<(Option<SocketAddr>, &[u8])> = Vec::with_capacity(forwards.len());
        let mut run_port = None;
        for (forward, bytes) in packets {
            if run_port.is_some_and(|port| port != forward.port) {
                self.send_run(io, run_port.take(), &run);
                run.clear();
            }
            run_port = Some(forward.port);
            run.push((Some(forward.to), bytes));
        }
        self.send_run(io, run_port, &run);
    }

    fn send_run(
        &self,
        io: &SessionIo,
        port: Option<Port>,
        mut run: &[(Option<SocketAddr>, &[u8])],
    ) {
        let Some(socket) = port.and_then(|port| io.socket(port)) else { return };
        while !run.is_empty() {
            let sent = match send_batch(&*socket, &run[..run.len().min(BATCH_MAX)]) {
                Ok(sent) => sent.max(1),
                // The first packet cannot go (unreachable, buffer full): it is lost, as on any path.
                Err(_) => {
                    self.send_errors.fetch_add(1, Ordering::Relaxed);
                    1
                }
            };
            run = &run[sent.min(run.len())..];
        }
    }

    fn send_one(&self, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
        if socket.send_to(bytes, to).is_err() {
            self.send_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send_transmits(&self, out: &mut Outcome) {
        for (io, transmit) in out.transmits.drain(..) {
            if let Some(socket) = io.socket(transmit.port) {
                self.send_one(&socket, transmit.to, &transmit.bytes);
            }
        }
    }

    /// Whether there is nothing to look after, and was not for a second: sessions come and go, and
    /// waking costs more than a few ticks.
    fn falls_asleep(&self, quiet_ticks: u32) -> bool {
        let sessions = hold(&self.sessions);
        let asleep = sessions.is_empty() && quiet_ticks >= TICKS_PER_S;
        self.asleep.store(asleep, Ordering::Relaxed);
        asleep
    }

    /// Looks after the timers; false if there is no session.
    fn tick(&self, now: Instant, out: &mut Outcome) -> bool {
        let sessions: Vec<Arc<SessionIo>> =
            hold(&self.sessions).iter().map(|s| Arc::clone(&s.io)).collect();
        let any = !sessions.is_empty();
        for io in sessions {
            let mut bridge = lock(&io.bridge);
            if bridge.poll_timeout().is_some_and(|at| at <= now) {
                bridge.handle_timeout(now);
                out.collect(&io, &mut bridge);
            }
        }
        self.send_transmits(out);
        any
    }
}

/// A watched socket.
struct Watched {
    port: Port,
    socket: Arc<UdpSocket>,
    io: Arc<SessionIo>,
}

/// What a batch or tick left to do once the bridge is unlocked.
#[derive(Default)]
struct Outcome {
    forwards: Vec<Option<Forward>>,
    transmits: Vec<(Arc<SessionIo>, Transmit)>,
    events: Vec<(SessionId, BridgeEvent)>,
}

impl Outcome {
    fn collect(&mut self, io: &Arc<SessionIo>, bridge: &mut crate::bridge::Bridge) {
        while let Some(transmit) = bridge.poll_transmit() {
            self.transmits.push((Arc::clone(io), transmit));
        }
        while let Some(event) = bridge.poll_event() {
            self.events.push((io.session, event));
        }
    }
}

/// Sockets by token: place in the list, and how often the place was used before.
#[derive(Default)]
struct Table {
    places: Vec<(u32, Option<Arc<Watched>>)>,
    free: Vec<u32>,
}

impl Table {
    fn insert(&mut self, watched: Arc<Watched>) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let (generation, slot) = &mut self.places[place as usize];
        *slot = Some(watched);
        u64::from(*generation) << 32 | u64::from(place)
    }

    fn find(&self, token: u64) -> Option<Arc<Watched>> {
        let (generation, slot) = self.places.get((token & 0xffff_ffff) as usize)?;
        slot.clone().filter(|_| u64::from(*generation) == token >> 32)
    }

    fn remove(&mut self, token: u64) {
        let place = (token & 0xffff_ffff) as u32;
        let Some((generation, slot)) = self.places.get_mut(place as usize) else { return };
        if u64::from(*generation) == token >> 32 && slot.take().is_some() {
            *generation = generation.wrapping_add(1);
            self.free.push(place);
        }
    }
}

/// Tells what happened; no lock of a bridge is held here.
fn report(out: &mut Outcome, control: &Mutex<Control<SocketPorts>>, on_event: &dyn Fn(RelayEvent)) {
    for (session, event) in out.events.drain(..) {
        let branch = |leg| hold(control).branch_of(session, leg);
        // A leg that is gone by now has nothing to report.
        let told = match event {
            BridgeEvent::MediaSilent => Some(RelayEvent::MediaSilent { session }),
            BridgeEvent::MediaStarted(leg) => {
                branch(leg).map(|branch| RelayEvent::MediaStarted { session, branch })
            }
            BridgeEvent::HandshakeFailed(leg) => {
                branch(leg).map(|branch| RelayEvent::HandshakeFailed { session, branch })
            }
            BridgeEvent::ConsentLost(leg) => {
                branch(leg).map(|branch| RelayEvent::ConsentLost { session, branch })
            }
            BridgeEvent::Digit { from, digit, duration_ms } => {
                branch(from).map(|branch| RelayEvent::Digit { session, branch, digit, duration_ms })
            }
        };
        if let Some(told) = told {
            tracing::debug!(event = ?told, "relay");
            on_event(told);
        }
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
