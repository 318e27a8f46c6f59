//! The TURN server with sockets and threads around its core.
//!
//! ```text
//!   Turn::start ─┬─ Worker 0..n: listener (SO_REUSEPORT), steered socket, raw socket, Server
//!                └─ streams: TCP, TLS ──► inbox of a worker ◄── by the connection's number
//! ```
//!
//! The kernel gives each UDP client to one worker for good, so that its allocation, its packets and
//! its relayed port are of one thread.

mod lent;
mod streams;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use net::framed::{FramedLimits, FramedListeners, FramedThread};
use net::{NetError, OsEntropy, ServerTls};

use super::accounts::{Accounts, SharedSecret};
use super::config::TurnConfig;
use super::counters::TurnStats;
use super::server::Shared;
use lent::Lent;
use streams::StreamSink;
use worker::{Parts, Worker};

/// Datagrams that may wait at a socket, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The running server; dropping it ends it.
pub struct Turn {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    steered: bool,
    workers: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<()>>,
    // Before the workers end, so that nobody talks to them any more.
    streams: Option<FramedThread>,
}

/// Who may use the server, and its certificate.
pub struct TurnAccess {
    /// Users with passwords.
    pub accounts: Arc<dyn Accounts>,
    /// The secret that time-limited credentials are made from.
    pub secret: Option<SharedSecret>,
    /// For `listen_tls`.
    pub tls: Option<ServerTls>,
}

impl Turn {
    /// Binds everything and starts the threads: all of it or nothing.
    ///
    /// # Errors
    /// A port is in use or forbidden, an address is not ours, or the system has no more threads.
    pub fn start(config: TurnConfig, access: TurnAccess) -> Result<Self, NetError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // More threads than this have no use for one port.
        let count = (if config.threads == 0 { cores } else { config.threads }).clamp(1, 64);
        let (listen, listen_tls) = (config.listen.clone(), config.listen_tls.clone());
        let limits = FramedLimits {
            connections: config.limits.connections_max,
            per_source: config.limits.connections_per_source,
        };
        let secret = access.secret;
        let shared = Arc::new(Shared::new(config, secret, access.accounts, &mut OsEntropy));
        let mut addresses = Vec::new();
        let mut listeners: Vec<_> = (0..count).map(|_| Vec::new()).collect();
        let mut framed = FramedListeners::new(limits);
        for addr in listen {
            // At most 64.
            let sockets = net::udp_listeners(addr, count as u16, RECEIVE_BUFFER, 0)?;
            // The same port by TCP, also when the system chose it.
            let bound = sockets[0].local_addr().map_err(|e| at("turn", addr, e))?;
            framed.bind(bound, None)?;
            addresses.push(bound);
            listeners.iter_mut().zip(sockets).for_each(|(of, socket)| of.push(socket));
        }
        for addr in listen_tls {
            let Some(tls) = &access.tls else { break };
            addresses.push(framed.bind(addr, Some(tls.turn_config()))?);
        }
        let failed = |source| NetError::Thread { what: "the TURN server", source };
        let lent = Lent::for_threads(&shared, count).map_err(failed)?;
        let steered = lent.iter().all(Lent::is_steered);
        let mut turn = Self {
            shared: Arc::clone(&shared),
            addresses,
            steered,
            workers: Vec::new(),
            threads: Vec::new(),
            streams: None,
        };
        for (n, (listeners, lent)) in listeners.into_iter().zip(lent).enumerate() {
            let parts = Parts { shared: Arc::clone(&shared), listeners, lent };
            turn.spawn(n, parts).map_err(failed)?;
        }
        let sink = StreamSink::new(turn.workers.clone());
        turn.streams = Some(framed.spawn(Arc::new(sink))?);
        Ok(turn)
    }

    fn spawn(&mut self, n: usize, parts: Parts) -> io::Result<()> {
        let worker = Arc::new(Worker::new()?);
        let mut packets = worker.prepare(parts)?;
        let body = {
            let worker = Arc::clone(&worker);
            move || worker.run(&mut packets)
        };
        self.threads.push(std::thread::Builder::new().name(format!("turn-{n}")).spawn(body)?);
        self.workers.push(worker);
        Ok(())
    }

    /// Where it listens: each `listen` address (UDP and TCP), then each of `listen_tls`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether relayed ports are led to one socket by the kernel; if not, each has a socket of its
    /// own, which costs about three times as much for each packet.
    pub fn is_steered(&self) -> bool {
        self.steered
    }

    /// What happened so far.
    pub fn stats(&self) -> TurnStats {
        self.shared.stats()
    }

    /// The same, for whoever watches while the server is somewhere else.
    pub fn watch(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.streams.take());
        self.workers.iter().for_each(|worker| worker.stop());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn at(what: &'static str, addr: SocketAddr, source: io::Error) -> NetError {
    NetError::Listen { what, addr, source }
}
