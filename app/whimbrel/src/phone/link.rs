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

use super::memory::Memory;
use super::network::Network;
use super::probe::facts;
use super::servers::is_telling;
use super::ways::{Ways, explained};
use ::phone::{Account, Link, Transports, TransportsOutput};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use net::NetError;
use net::client::ClientTransport;
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
        let (mut rounds, mut slow) = (0, false);
        let mut worst: Option<anyhow::Error> = None;
        loop {
            while let Some(output) = transports.poll_output() {
                match output {
                    TransportsOutput::Connect(transport) => {
                        let servers = ways.by(transport);
                        // While connecting there is always a limit.
                        let until = transports.poll_timeout().unwrap_or_else(Instant::now);
                        match tokio::time::timeout_at(until.into(), servers.connect()).await {
                            Ok(Ok((_, first))) => {
                                transports.handle_connected();
                                let (ways, account) = (ways.clone(), account.clone());
                                return Ok(Self {
                                    ways,
                                    transports,
                                    memory,
                                    network,
                                    account,
                                    first,
                                });
                            }
                            Ok(Err(error)) => worst = Some(more_telling(worst, error)),
                            Err(_) => {
                                slow = true;
                                let silent = anyhow!(
                                    "the server does not answer by {transport}: check that it \
                                     runs, and --server and --transport"
                                );
                                worst = worst.or(Some(silent));
                            }
                        }
                        transports.handle_failed(Instant::now());
                    }
                    TransportsOutput::Exhausted => rounds += 1,
                    // Nothing worked yet: there is nothing to remember or to do better.
                    TransportsOutput::Probe(_) | TransportsOutput::Remember => {}
                }
            }
            // What refuses does so again; what is slow may come with more patience.
            if rounds >= ROUNDS || rounds > 0 && !slow {
                let none = || anyhow!("no transport to reach the server by");
                return Err(worst.map_or_else(none, told));
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
        Self { events, busy, task: tokio::spawn(task::run(linked, tell, is_busy)) }
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

/// Of two failures the one that says more.
fn more_telling(one: Option<anyhow::Error>, other: anyhow::Error) -> anyhow::Error {
    let telling = |e: &anyhow::Error| e.downcast_ref::<NetError>().is_some_and(is_telling);
    match one {
        Some(one) if telling(&one) || !telling(&other) => one,
        _ => other,
    }
}

fn told(error: anyhow::Error) -> anyhow::Error {
    error.downcast::<NetError>().map_or_else(|other| other, explained)
}

#[cfg(test)]
mod tests;
