//! The phone's connection to its server, in a task of its own: a slow send or a new handshake must
//! not hold up the sound of a call.
//!
//! ```text
//!   driver ◄── Up{send, ..} │ Message │ Down │ Exhausted ── task ── ClientTransport
//!      └────── send ───────────────────────────────────►┘   └── Transports: by which, and when
//! ```
//!
//! Which transport is tried when, and what is remembered of it, is [`Transports`]'s.

mod task;

use super::cost::Costs;
use super::memory::Memory;
use super::network::Network;
use super::probe::facts;
use super::ways::{Ways, explained};
use ::phone::{Account, Link, Transports, TransportsOutput};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use net::NetError;
use net::client::ClientTransport;
use sansio::Transport;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Messages that may wait for the link, or from it.
const QUEUE: usize = 64;
/// How long what is queued may take to go out at the end.
const FLUSH: Duration = Duration::from_millis(1500);
/// Rounds through all transports before a start is given up.
const ROUNDS: u32 = 3;

/// What the link's task says.
pub enum LinkEvent {
    /// Connected. What goes into `send` goes out; dropping it closes this connection.
    Up { facts: Link, send: mpsc::Sender<Bytes> },
    /// One message.
    Message(Bytes),
    /// Not connected, and why; the task tries again by itself.
    Down(String),
    /// None of the account's transports works at present.
    Exhausted,
}

/// A first connection, and all that is needed for the next.
pub struct Linked {
    ways: Ways,
    transports: Transports,
    memory: Memory,
    network: Network,
    account: Account,
    first: ClientTransport,
}

/// The task's handle.
pub struct LinkTask {
    events: mpsc::Receiver<LinkEvent>,
    busy: watch::Sender<bool>,
    task: JoinHandle<()>,
    costs: Arc<Mutex<Costs>>,
}

impl Linked {
    /// Connects to the server by the first transport that can be.
    ///
    /// # Errors
    /// None can be, with the cause that tells most and what to do.
    pub async fn first(ways: Ways, memory: Memory, account: Account) -> Result<Self> {
        let mut transports = Transports::new(&ways.order(), memory.load());
        let network = Network::current();
        transports.handle_network(Instant::now(), network.id());
        let (mut rounds, mut failures) = (0, Failures::default());
        loop {
            while let Some(output) = transports.poll_output() {
                match output {
                    TransportsOutput::Connect(transport) => {
                        // While connecting there is always a limit.
                        let until = transports.poll_timeout().unwrap_or_else(Instant::now);
                        let servers = ways.by(transport);
                        let connected =
                            tokio::time::timeout_at(until.into(), servers.connect()).await;
                        if let Ok(Ok((_, first))) = connected {
                            transports.handle_connected();
                            return Ok(Self { ways, transports, memory, network, account, first });
                        }
                        failures.note(transport, connected.ok().and_then(Result::err));
                        transports.handle_failed(Instant::now());
                    }
                    TransportsOutput::Exhausted => rounds += 1,
                    // Nothing worked yet: there is nothing to remember or to do better.
                    TransportsOutput::Probe(_)
                    | TransportsOutput::Remember
                    | TransportsOutput::KeepAlive => {}
                }
            }
            // What refuses does so again; what is slow may come with more patience.
            if rounds >= ROUNDS || rounds > 0 && !failures.slow {
                return Err(failures.told(&ways.order()));
            }
            if let Some(at) = transports.poll_timeout() {
                tokio::time::sleep_until(at.into()).await;
            }
            transports.handle_timeout(Instant::now(), crate::present::wall());
        }
    }

    /// How the server is reached, as `TLS 192.0.2.1:5061`.
    pub fn server(&self) -> String {
        named(&facts(&self.first))
    }
}

/// How the server is reached, as `TLS 192.0.2.1:5061`.
pub fn named(link: &Link) -> String {
    format!("{} {}", link.transport, link.server)
}

impl LinkTask {
    /// Runs on from a first connection.
    pub fn start(linked: Linked) -> Self {
        let (tell, events) = mpsc::channel(QUEUE);
        let (busy, is_busy) = watch::channel(false);
        let costs = Arc::new(Mutex::new(Costs::new()));
        let task = tokio::spawn(task::run(linked, tell, (is_busy, Arc::clone(&costs))));
        Self { events, busy, task, costs }
    }

    /// What staying reachable has cost so far.
    pub fn costs(&self) -> Arc<Mutex<Costs>> {
        Arc::clone(&self.costs)
    }

    /// What happens next. Safe to cancel.
    pub async fn next(&mut self) -> LinkEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task ends only after we let go of it.
            None => std::future::pending().await,
        }
    }

    /// Whether there is a call: the link is then not changed for a better one.
    pub fn set_busy(&self, busy: bool) {
        self.busy.send_if_modified(|now| std::mem::replace(now, busy) != busy);
    }

    /// Lets what is queued go out, and closes. The sender must have been dropped.
    pub async fn finish(self) {
        drop(self.events);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FLUSH, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Why each transport failed, the last time it was tried.
#[derive(Default)]
struct Failures {
    by: BTreeMap<Transport, anyhow::Error>,
    /// One at least said nothing, rather than no.
    slow: bool,
}

impl Failures {
    /// `None` is silence.
    fn note(&mut self, transport: Transport, error: Option<anyhow::Error>) {
        self.slow |= error.is_none();
        let silent = || anyhow!("the server does not answer in time");
        self.by.insert(transport, error.unwrap_or_else(silent));
    }

    /// The one of the most wanted transport with its remedy, and the others' after it.
    fn told(mut self, order: &[Transport]) -> anyhow::Error {
        let mut failed = order.iter().filter_map(|one| Some((*one, self.by.remove(one)?)));
        let Some((first, error)) = failed.next() else {
            return anyhow!("no transport to reach the server by");
        };
        let error = error.downcast::<NetError>().map_or_else(
            |other| anyhow!("{other} by {first}: check that it runs, --server and --transport"),
            explained,
        );
        failed.fold(error, |all, (transport, error)| anyhow!("{all}; by {transport}: {error}"))
    }
}

#[cfg(test)]
mod tests;
