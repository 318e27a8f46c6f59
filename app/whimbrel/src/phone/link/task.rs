//! The task: carries messages, and does what [`Transports`] asks for.

use super::super::cost::Costs;
use super::super::memory::Memory;
use super::super::network::Network;
use super::super::probe::{answers, facts};
use super::super::transports::word;
use super::super::ways::Ways;
use super::{LinkEvent, Linked, QUEUE};
use ::phone::{Account, Transports, TransportsOutput};
use anyhow::Result;
use bytes::Bytes;
use net::client::{ClientTransport, Endpoint, Heard, LinkCost};
use sansio::Transport;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

/// How long one message may take to go out.
const SEND_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether the network is another one.
const NETWORK_EVERY: Duration = Duration::from_secs(2);

/// What the engine sends to keep a link alive, too.
const KEEP_ALIVE: &[u8] = b"\r\n\r\n";

type Future_<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Connected = Result<(Endpoint, ClientTransport)>;

struct Task {
    ways: Ways,
    transports: Transports,
    memory: Memory,
    network: Network,
    account: Account,
    tell: mpsc::Sender<LinkEvent>,
    open: Option<Open>,
    connecting: Option<Future_<Connected>>,
    probing: Option<(Transport, Future_<bool>)>,
    costs: Arc<Mutex<Costs>>,
}

/// The link that stands.
struct Open {
    link: ClientTransport,
    to_send: mpsc::Receiver<Bytes>,
}

enum Happened {
    Queued(Option<Bytes>),
    Received(Result<Option<Heard>, net::NetError>),
    Connected(Box<Connected>),
    Probed(bool),
    TimeOut,
    Look,
    Busy,
    /// The driver is gone, and nothing waits to be sent.
    Gone,
}

/// Runs until the driver lets go.
pub(super) async fn run(
    linked: Linked,
    tell: mpsc::Sender<LinkEvent>,
    (mut busy, costs): (watch::Receiver<bool>, Arc<Mutex<Costs>>),
) {
    let Linked { ways, transports, memory, network, account, first } = linked;
    let (open, connecting, probing) = (None, None, None);
    let mut task =
        Task { ways, transports, memory, network, account, tell, open, connecting, probing, costs };
    let mut look = interval(NETWORK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    if task.opened(first).await.is_none() {
        return;
    }
    loop {
        if task.obey().await.is_none() {
            return;
        }
        let happened = task.wait(&mut busy, &mut look).await;
        if let Happened::Busy = happened {
            task.transports.set_busy(*busy.borrow_and_update());
            continue;
        }
        if task.handle(happened).await.is_none() {
            return;
        }
    }
}

impl Task {
    async fn wait(
        &mut self,
        busy: &mut watch::Receiver<bool>,
        look: &mut tokio::time::Interval,
    ) -> Happened {
        let timeout = self.transports.poll_timeout();
        let closed = self.tell.clone();
        let idle = self.open.is_none();
        let (link, to_send) = match &mut self.open {
            Some(open) => (Some(&mut open.link), Some(&mut open.to_send)),
            None => (None, None),
        };
        tokio::select! {
            queued = async { match to_send { Some(to_send) => to_send.recv().await, None => never().await } }
                => Happened::Queued(queued),
            received = async { match link { Some(link) => link.hear().await, None => never().await } }
                => Happened::Received(received),
            connected = async { match &mut self.connecting { Some(c) => c.await, None => never().await } }
                => Happened::Connected(Box::new(connected)),
            answered = async { match &mut self.probing { Some((_, p)) => p.await, None => never().await } }
                => Happened::Probed(answered),
            () = async { match timeout { Some(at) => sleep_until(at.into()).await, None => never().await } }
                => Happened::TimeOut,
            _ = look.tick() => Happened::Look,
            Ok(()) = busy.changed() => Happened::Busy,
            () = closed.closed(), if idle => Happened::Gone,
        }
    }

    /// `None` at the end.
    async fn handle(&mut self, happened: Happened) -> Option<()> {
        let now = Instant::now();
        match happened {
            Happened::Queued(Some(bytes)) => self.send(bytes).await,
            Happened::Queued(None) => {
                if let Some(open) = self.open.take() {
                    open.link.close().await;
                }
                if self.tell.is_closed() {
                    return None;
                }
                self.broke("the link did not keep up".into()).await
            }
            Happened::Received(Ok(Some(Heard::KeptAlive))) => {
                self.transports.handle_kept_alive();
                Some(())
            }
            Happened::Received(Ok(Some(Heard::Message(bytes)))) => {
                self.account(|costs, link| costs.heard(&bytes, link));
                self.transports.handle_heard(now, crate::present::wall());
                // After the driver let go, what is still queued goes out: no early return here.
                drop(self.tell.send(LinkEvent::Message(bytes)).await);
                Some(())
            }
            Happened::Received(Ok(None)) => {
                self.broke("the server closed the connection".into()).await
            }
            Happened::Received(Err(error)) => self.broke(error.to_string()).await,
            Happened::Connected(connected) => {
                self.connecting = None;
                match *connected {
                    Ok((_, link)) => {
                        self.transports.handle_connected();
                        self.opened(link).await
                    }
                    Err(error) => self.broke(error.to_string()).await,
                }
            }
            Happened::Probed(answered) => {
                if let Some((transport, _)) = self.probing.take() {
                    let wall = crate::present::wall();
                    self.transports.handle_probed(now, wall, transport, answered);
                }
                Some(())
            }
            Happened::TimeOut => {
                self.transports.handle_timeout(now, crate::present::wall());
                Some(())
            }
            Happened::Look => {
                let current = Network::current();
                if self.network.differs(&current) {
                    tracing::info!("another network");
                    self.transports.handle_network(now, current.id());
                    self.network = current;
                }
                Some(())
            }
            Happened::Busy => Some(()),
            Happened::Gone => None,
        }
    }

    /// What the machine wants.
    async fn obey(&mut self) -> Option<()> {
        while let Some(output) = self.transports.poll_output() {
            match output {
                TransportsOutput::Connect(transport) => {
                    self.drop_link(&format!("trying {} now", word(transport))).await?;
                    let servers = self.ways.by(transport);
                    self.connecting = Some(Box::pin(async move { servers.connect().await }));
                }
                TransportsOutput::Probe(transport) => {
                    let (servers, account) = (self.ways.by(transport), self.account.clone());
                    self.probing = Some((transport, Box::pin(answers(servers, account))));
                }
                TransportsOutput::KeepAlive => self.send(Bytes::from_static(KEEP_ALIVE)).await?,
                TransportsOutput::Remember => self.memory.save(self.transports.remembered()),
                TransportsOutput::Exhausted => {
                    self.drop_link("nothing works at present").await?;
                    self.tell.send(LinkEvent::Exhausted).await.ok()?;
                }
            }
        }
        Some(())
    }

    /// Gives up what stands or is being connected, and says so.
    async fn drop_link(&mut self, what_next: &str) -> Option<()> {
        self.probing = None;
        let unfinished = self.connecting.take().is_some();
        let open = self.open.take();
        let silent = match &open {
            Some(open) => Some(open.link.transport()),
            None if unfinished => None,
            None => return Some(()),
        };
        if let Some(open) = open {
            // What is blocked takes no goodbye: nobody waits for it.
            tokio::spawn(open.link.close());
        }
        let why = match silent {
            Some(transport) => format!("{} was left: {what_next}", word(transport)),
            None => format!("no connection: {what_next}"),
        };
        self.down(why).await
    }

    async fn opened(&mut self, link: ClientTransport) -> Option<()> {
        let facts = facts(&link);
        let (send, to_send) = mpsc::channel(QUEUE);
        self.open = Some(Open { link, to_send });
        self.account(Costs::opened);
        self.tell.send(LinkEvent::Up { facts, send }).await.ok()
    }

    async fn send(&mut self, bytes: Bytes) -> Option<()> {
        self.account(|costs, link| costs.sends(&bytes, link));
        let Some(open) = &mut self.open else { return Some(()) };
        self.transports.handle_sent(Instant::now(), &bytes);
        match tokio::time::timeout(SEND_MAX, open.link.send(bytes)).await {
            Ok(Ok(())) => Some(()),
            Ok(Err(error)) => self.broke(error.to_string()).await,
            Err(_) => self.broke("the server takes nothing any more".into()).await,
        }
    }

    /// Has the account note what the link that stands has cost.
    fn account(&self, note: impl FnOnce(&mut Costs, LinkCost)) {
        if let Some(open) = &self.open {
            note(&mut self.costs.lock().unwrap_or_else(PoisonError::into_inner), open.link.cost());
        }
    }

    async fn broke(&mut self, why: String) -> Option<()> {
        self.open = None;
        self.down(why).await?;
        self.transports.handle_failed(Instant::now());
        Some(())
    }

    async fn down(&mut self, why: String) -> Option<()> {
        tracing::info!(why, "link down");
        self.tell.send(LinkEvent::Down(why)).await.ok()
    }
}

async fn never<T>() -> T {
    std::future::pending().await
}
