//! The relay with sockets and threads around its cores.
//!
//! ```text
//!   signalling ──► Relay::offer/answer/delete ──► Mutex<Control> ──► SocketPorts: bind, epoll_ctl
//!                                                      │ one lock per thread: its bridges
//!   packets ─► epoll (one per thread) ─► recvmmsg ─► Bridge::handle_packet ─► sendmmsg
//! ```
//!
//! A session lives on one thread; the lock of the thread's bridges is held for one batch of packets,
//! so that a command waits microseconds. Where the kernel leads ports to one socket (`hub.rs`) a batch
//! is of all calls, elsewhere of one port. Sockets are level-triggered: what is left in a queue is reported
//! again, so a flood or a pause delays a stream and never deafens it.

mod hub;
mod listening;
mod ng;
pub mod recording;
mod sockets;
mod told;
mod worker;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use media::keying::dtls::Certificate;
use net::OsEntropy;
use net::fast_path::FastPath;

use crate::api::{Command, Description, RelayEvent, SessionId, SessionStats};
use crate::control::Control;
use crate::{Config, Interface, RelayError};
use hub::Steered;
pub use ng::{NgConduct, NgServer};
use recording::Recordings;
use sockets::SocketPorts;
use told::Ended;
pub use told::LegTotals;
use worker::Worker;

/// The running relay. Clones share it; the threads end with the last one.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

impl Relay {
    /// Starts the packet threads. `on_event` is called from them, without any lock held: pass the
    /// event on and return.
    ///
    /// # Errors
    /// When a thread or epoll cannot be made, or the interfaces cannot serve.
    pub fn start(
        config: Config,
        on_event: impl Fn(RelayEvent) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        check(&config)?;
        raise_file_limit();
        let certificate = Certificate::generate().map_err(io::Error::other)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.threads == 0 { cores } else { config.threads };
        let steered: Vec<_> = config.interfaces.iter().map(|i| lead(i, &config, count)).collect();
        let fast_path = fast_path(&config);
        let worker = |n| {
            let hubs = steered.iter().flatten().map(|s: &Steered| Arc::clone(&s.hubs[n]));
            Worker::new(hubs.collect(), config.rest(), fast_path.clone()).map(Arc::new)
        };
        let workers: Vec<Arc<Worker>> = (0..count).map(worker).collect::<io::Result<_>>()?;
        let ports = SocketPorts::new(&config, workers.clone(), steered);
        let control = Control::new(config, ports, certificate, Box::new(OsEntropy));
        let control = Arc::new(Mutex::new(control));
        let on_event: Arc<dyn Fn(RelayEvent) + Send + Sync> = Arc::new(on_event);
        // From here on an early return ends the threads that were started.
        let recordings = OnceLock::new();
        let (threads, ended) = (Vec::new(), Ended::default());
        let mut inner = Inner { control, workers, threads, recordings, fast_path, ended };
        for (n, worker) in inner.workers.iter().enumerate() {
            let (worker, control) = (Arc::clone(worker), Arc::clone(&inner.control));
            let on_event = Arc::clone(&on_event);
            let body = move || worker.run(&control, &*on_event);
            let thread = std::thread::Builder::new().name(format!("relay-{n}")).spawn(body)?;
            inner.threads.push(thread);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes an offer from one side and writes the one for the other. Repeatable.
    ///
    /// # Errors
    /// See [`RelayError`]; its `status` is what to answer.
    pub fn offer(&self, description: &Description) -> Result<Bytes, RelayError> {
        self.control().offer(Instant::now(), description)
    }

    /// Takes the answer and writes the one for the side that offered; media flows from now on.
    /// Repeatable.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub fn answer(&self, description: &Description) -> Result<Bytes, RelayError> {
        self.control().answer(Instant::now(), description)
    }

    /// Ends a session, or one branch of it, and frees the ports; the last figures.
    pub fn delete(&self, session: SessionId, branch: Option<u32>) -> Option<SessionStats> {
        let stats = self.control().delete(Instant::now(), session, branch);
        // Figures are of the whole session: counted once, when all of it ends.
        stats.iter().filter(|_| branch.is_none()).for_each(|stats| self.inner.ended.add(stats));
        stats
    }

    /// Has one side (a branch, or `None` for the caller's) hear a key in its form of digits. False
    /// when there is no such side, or nothing is converted between the two.
    pub fn send_digit(
        &self,
        session: SessionId,
        toward: Option<u32>,
        digit: char,
        duration_ms: u32,
    ) -> bool {
        self.control().send_digit(Instant::now(), session, toward, (digit, duration_ms))
    }

    /// Takes candidates that signalling carries (RFC 8840), of the branch `from` or of the caller.
    /// False where we speak no ICE with that side, or did not say that we take them.
    ///
    /// # Errors
    /// A fragment that cannot be read, or of another stream or generation.
    pub fn trickle(
        &self,
        session: SessionId,
        from: Option<u32>,
        fragment: &[u8],
    ) -> Result<bool, RelayError> {
        self.control().trickle(session, from, fragment)
    }

    /// A session's figures so far.
    pub fn query(&self, session: SessionId) -> Option<SessionStats> {
        self.control().query(Instant::now(), session)
    }

    /// One command, as it came from another node.
    ///
    /// # Errors
    /// As for [`Relay::offer`] and [`Relay::answer`].
    pub fn command(&self, command: &Command) -> Result<Reply, RelayError> {
        Ok(match command {
            Command::Offer(d) => Reply::Sdp(self.offer(d)?),
            Command::Answer(d) => Reply::Sdp(self.answer(d)?),
            Command::Delete { session, branch } => Reply::Stats(self.delete(*session, *branch)),
            Command::Query { session } => Reply::Stats(self.query(*session)),
            Command::SendDigit { session, toward, digit, duration_ms } => {
                Reply::Done(self.send_digit(*session, *toward, *digit, *duration_ms))
            }
            Command::Trickle { session, from, fragment } => {
                Reply::Done(self.trickle(*session, *from, fragment)?)
            }
        })
    }

    /// Sessions open.
    pub fn sessions(&self) -> usize {
        self.control().len()
    }

    /// Port pairs open.
    pub fn ports_in_use(&self) -> usize {
        self.control().ports().in_use()
    }

    /// Whether the ports of every interface are led to one socket for each thread.
    pub fn leads_ports(&self) -> bool {
        self.control().ports().is_steered()
    }

    /// Streams the kernel forwards by itself now, and the packets it did so far.
    pub fn kernel_streams(&self) -> (usize, u64) {
        let path = self.inner.fast_path.as_deref();
        path.map_or((0, 0), |path| (path.open_flows(), path.forwarded()))
    }

    /// What legs of sessions that ended were like, by interface and by how they carried media.
    pub fn ended_legs(&self) -> Vec<(String, &'static str, LegTotals)> {
        self.inner.ended.totals()
    }

    fn control(&self) -> MutexGuard<'_, Control<SocketPorts>> {
        // Control's state is whole between its statements; a panicked command took no lock along.
        self.inner.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("threads", &self.inner.threads.len()).finish_non_exhaustive()
    }
}

/// The answer to a [`Command`].
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The description for the other side.
    Sdp(Bytes),
    /// The figures; `None` when there is no such session.
    Stats(Option<SessionStats>),
    /// Whether it was done.
    Done(bool),
}

/// Leads an interface's ports to a socket for each thread, where that can be.
fn lead(interface: &Interface, config: &Config, threads: usize) -> Option<Steered> {
    if config.socket_per_port {
        return None;
    }
    match Steered::attach(interface, threads) {
        Ok(steered) => Some(steered),
        Err(why) => {
            tracing::info!(interface = interface.name, %why, "the relay reads each port's socket");
            None
        }
    }
}

/// The kernel's own way for established streams, where it is wanted and can be.
fn fast_path(config: &Config) -> Option<Arc<FastPath>> {
    if config.fast_path.is_empty() {
        return None;
    }
    match FastPath::attach(&config.fast_path, config.port_min..=config.port_max) {
        Ok(path) => {
            let (interfaces, native) = (&config.fast_path, path.is_native());
            tracing::info!(?interfaces, native, "the kernel forwards established streams");
            Some(path)
        }
        Err(why) => {
            let interfaces = &config.fast_path;
            tracing::warn!(?interfaces, %why, "no fast path: all media goes through sockets");
            None
        }
    }
}

/// What SDP would carry must be an address.
fn check(config: &Config) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if config.interfaces.is_empty() {
        return refuse("the relay has no interface".to_owned());
    }
    match config.interfaces.iter().find(|i| i.advertised().is_unspecified()) {
        Some(i) => refuse(format!("relay interface {} must advertise an address", i.name)),
        None => Ok(()),
    }
}

/// A call takes four descriptors, and the usual soft limit is 1,024: as many as we may.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live `rlimit`; refusal leaves things as they were.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

struct Inner {
    control: Arc<Mutex<Control<SocketPorts>>>,
    workers: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<()>>,
    recordings: OnceLock<Recordings>,
    fast_path: Option<Arc<FastPath>>,
    ended: Ended,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.workers.iter().for_each(|worker| worker.stop());
        for thread in self.threads.drain(..) {
            // The last handle may be dropped by an event callback, on a packet thread itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
