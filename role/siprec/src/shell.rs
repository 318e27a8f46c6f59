//! Runs the client: one thread, one connection to the SRS.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use net::client::{ClientTransport, Endpoint};
use net::{Locator, OsEntropy};
use sansio::WallTime;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::client::{Client, Link, Output, Present};
use crate::config::{Config, ConfigError};
use crate::event::Event;
use crate::session::{CallFacts, Flowing, MediaPort};

/// Commands that wait for the thread. A start that finds no room is a call that is not recorded.
const COMMANDS_MAX: usize = 16_384;
/// Servers of one name that are tried in a row.
const HOPS_MAX: usize = 4;
/// Between two tries to connect.
const DIAL_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection stays open without a call: firewalls forget idle ones, and the next call
/// would find out too late.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How long the last BYEs may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the recorder works with.
pub struct Setup {
    /// `[recording.siprec]`, checked.
    pub config: Config,
    /// The relay.
    pub media: Box<dyn MediaPort>,
    /// Looks the SRS up.
    pub locator: Locator,
    /// Whom to trust over TLS.
    pub tls: Arc<rustls::ClientConfig>,
    /// What happened; called on the recorder's thread, must not block.
    pub on_event: Box<dyn Fn(Event) + Send>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No thread, or no runtime on it.
    #[error("the SIPREC client cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

/// Figures, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Calls the SRS records now.
    pub recording: AtomicU64,
    /// Recording sessions the SRS took.
    pub started: AtomicU64,
    /// Offers it did not take.
    pub failed: AtomicU64,
    /// Recording sessions that ended before their calls.
    pub lost: AtomicU64,
    failing: AtomicBool,
}

impl Figures {
    /// Whether the SRS did not take the last call it was offered.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

enum Command {
    Start(Box<CallFacts>),
    SetFlowing(u64, Flowing),
    SetPaused(u64, bool),
    End(u64),
}

/// The running client. Recording sessions end with it.
#[derive(Debug)]
pub struct Recorder {
    commands: Option<mpsc::Sender<Command>>,
    figures: Arc<Figures>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Starts the thread. The SRS is connected to when the first call is to be recorded.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(setup: Setup) -> Result<Self, StartError> {
        setup.config.check()?;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let figures = Arc::new(Figures::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shown = Arc::clone(&figures);
        let thread = std::thread::Builder::new()
            .name("siprec".to_owned())
            .spawn(move || runtime.block_on(Driver::new(setup, shown).run(inbox)))?;
        Ok(Self { commands: Some(commands), figures, thread: Some(thread) })
    }

    /// A call was answered and is to be recorded. False when it will not be: too much waits.
    pub fn begin(&self, facts: CallFacts) -> bool {
        self.send(Command::Start(Box::new(facts)))
    }

    /// Who sends sound has changed.
    pub fn set_flowing(&self, call: u64, flowing: Flowing) {
        self.send(Command::SetFlowing(call, flowing));
    }

    /// Pauses or takes up again. False when it will not be done: too much waits.
    pub fn set_paused(&self, call: u64, paused: bool) -> bool {
        self.send(Command::SetPaused(call, paused))
    }

    /// The call is over. Should it not be heard, the next check finds it out.
    pub fn end(&self, call: u64) {
        self.send(Command::End(call));
    }

    /// Figures, for metrics.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    fn send(&self, command: Command) -> bool {
        let sent = self.commands.as_ref().is_some_and(|to| to.try_send(command).is_ok());
        if !sent {
            tracing::error!("the SIPREC client does not keep up: a command is lost");
        }
        sent
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the SIPREC client ended by a panic");
        }
    }
}

type Dialling = Pin<Box<dyn Future<Output = Result<ClientTransport, String>>>>;

struct Driver {
    client: Client,
    config: Config,
    locator: Locator,
    tls: Arc<rustls::ClientConfig>,
    on_event: Box<dyn Fn(Event) + Send>,
    figures: Arc<Figures>,
    link: Option<ClientTransport>,
    dialling: Option<Dialling>,
    /// Not before this time.
    dial_at: Instant,
    /// When there was a call last.
    busy_at: Instant,
}

impl Driver {
    fn new(setup: Setup, figures: Arc<Figures>) -> Self {
        let Setup { config, media, locator, tls, on_event } = setup;
        let client = Client::new(config.clone(), media, Box::new(OsEntropy));
        Self {
            client,
            config,
            locator,
            tls,
            on_event,
            figures,
            link: None,
            dialling: None,
            dial_at: Instant::now(),
            busy_at: Instant::now(),
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            self.flush().await;
            self.dial();
            let due = self.client.poll_timeout();
            // The end of a rest between two tries, or of what is taken for a failure.
            let dial_at = self.client.wants_link().then_some(self.dial_at);
            let recheck = self.figures.is_failing().then(|| Instant::now() + DIAL_PAUSE);
            let idle = self.idle_until();
            let wake = [due, dial_at.filter(|_| self.dialling.is_none()), recheck, idle];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                made = dialled(&mut self.dialling) => {
                    self.dialling = None;
                    self.connected(made);
                }
                heard = heard(&mut self.link) => match heard {
                    Some(bytes) => self.client.handle_message(present(), bytes),
                    None => self.hang_up(),
                },
                () = until(wake) => self.client.handle_timeout(present()),
            }
        }
        self.say_farewell().await;
    }

    /// When the connection is to be closed for want of calls; closes it when that has come.
    fn idle_until(&mut self) -> Option<Instant> {
        if !self.client.is_empty() || self.client.has_open_requests() {
            self.busy_at = Instant::now();
        }
        let until = self.link.as_ref().map(|_| self.busy_at + IDLE_MAX)?;
        if Instant::now() < until {
            return Some(until);
        }
        self.hang_up();
        self.dial_at = Instant::now();
        None
    }

    fn obey(&mut self, command: Command) {
        let at = present();
        match command {
            Command::Start(facts) => self.client.start(at, *facts),
            Command::SetFlowing(call, flowing) => self.client.set_flowing(at, call, flowing),
            Command::SetPaused(call, paused) => self.client.set_paused(at, call, paused),
            Command::End(call) => self.client.end(at, call),
        }
    }

    /// Sends and tells what there is.
    async fn flush(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Event(event) => self.tell(event),
                Output::HangUp => self.hang_up(),
                Output::Transmit(bytes) => {
                    let Some(link) = &mut self.link else { continue };
                    let patience = Duration::from_secs(self.config.answer_s);
                    match timeout(patience, link.send(bytes)).await {
                        Ok(Ok(())) => {}
                        failed => {
                            tracing::warn!(?failed, "siprec: the connection to the SRS broke");
                            self.hang_up();
                        }
                    }
                }
            }
        }
        let failing = self.client.is_failing(Instant::now());
        self.figures.failing.store(failing, Ordering::Relaxed);
    }

    fn tell(&self, event: Event) {
        let figures = &self.figures;
        match &event {
            Event::Started { .. } => {
                figures.started.fetch_add(1, Ordering::Relaxed);
                figures.recording.fetch_add(1, Ordering::Relaxed);
            }
            Event::Failed { .. } => {
                figures.failed.fetch_add(1, Ordering::Relaxed);
            }
            Event::Lost { .. } => {
                figures.lost.fetch_add(1, Ordering::Relaxed);
                figures.recording.fetch_sub(1, Ordering::Relaxed);
            }
            Event::Ended { .. } => {
                figures.recording.fetch_sub(1, Ordering::Relaxed);
            }
        }
        (self.on_event)(event);
    }

    fn dial(&mut self) {
        let idle = self.link.is_none() && self.dialling.is_none();
        if idle && self.client.wants_link() && Instant::now() >= self.dial_at {
            let (config, tls) = (self.config.clone(), Arc::clone(&self.tls));
            self.dialling = Some(Box::pin(connect(config, self.locator.clone(), tls)));
        }
    }

    fn connected(&mut self, made: Result<ClientTransport, String>) {
        match made {
            Ok(link) => {
                let facts = Link {
                    transport: link.transport(),
                    local: link.local_addr(),
                    peer: link.peer_addr(),
                };
                self.link = Some(link);
                self.client.handle_link_up(present(), facts);
            }
            Err(why) => {
                tracing::warn!(why, server = self.config.server, "siprec: no connection");
                self.dial_at = Instant::now() + DIAL_PAUSE;
                self.client.handle_link_failed(present(), &why);
            }
        }
    }

    fn hang_up(&mut self) {
        self.link = None;
        // Whoever accepts connections and closes them is not to be dialled in a loop.
        self.dial_at = Instant::now() + DIAL_PAUSE;
        self.client.handle_link_down(present());
    }

    /// Ends every recording session and waits a moment for it to be heard.
    async fn say_farewell(&mut self) {
        for call in self.client.calls() {
            self.client.end(present(), call);
        }
        self.flush().await;
        let last = Instant::now() + FAREWELL;
        while self.client.has_open_requests() && Instant::now() < last {
            match tokio::time::timeout_at(last.into(), heard(&mut self.link)).await {
                Ok(Some(bytes)) => self.client.handle_message(present(), bytes),
                _ => break,
            }
            self.flush().await;
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }
}

async fn connect(
    config: Config,
    locator: Locator,
    tls: Arc<rustls::ClientConfig>,
) -> Result<ClientTransport, String> {
    let ask = config.ask().map_err(|error| error.to_string())?;
    let hops = locator.find(ask).await.map_err(|error| error.to_string())?;
    let mut why = "its name leads to no address".to_owned();
    for hop in hops.into_iter().take(HOPS_MAX) {
        for addr in hop.addrs.iter().take(HOPS_MAX) {
            let endpoint = Endpoint {
                name: hop.server_name.clone(),
                tls: Some(Arc::clone(&tls)),
                timeout: Duration::from_secs(config.answer_s),
                ..Endpoint::new(hop.transport, *addr)
            };
            match ClientTransport::connect(endpoint).await {
                Ok(link) => {
                    locator.worked(hop);
                    return Ok(link);
                }
                Err(error) => why = error.to_string(),
            }
        }
        locator.failed(hop, None);
    }
    Err(why)
}

async fn dialled(dialling: &mut Option<Dialling>) -> Result<ClientTransport, String> {
    match dialling {
        Some(dialling) => dialling.await,
        None => std::future::pending().await,
    }
}

/// The next message; `None` when the connection is gone.
async fn heard(link: &mut Option<ClientTransport>) -> Option<bytes::Bytes> {
    match link {
        Some(link) => link.recv().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "siprec: link");
            None
        }),
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn present() -> Present {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = WallTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    Present { now: Instant::now(), wall }
}
