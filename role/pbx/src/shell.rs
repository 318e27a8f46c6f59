//! Runs the services: one thread, one link, one clock for the sound of all calls.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use audio::PLAYOUT_FRAME;
use bytes::Bytes;
use net::client::{ClientTransport, Endpoint};
use net::{MediaSockets, NetError, OsEntropy};
use phone::{CallHandle, Link, Phone, PhoneEvent, PhoneOutput};
use sansio::{Redacted, Transport};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle as Task;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::service::{Player, Service};

/// Calls at once, unless told otherwise.
const CALLS_MAX: usize = 200;
/// A caller who sends nothing for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The length of a frame of sound.
const TICK: Duration = Duration::from_millis(20);
/// Packets that may wait for the engine; more wait in the sockets.
const PACKETS_MAX: usize = 1024;
/// After an error of the link's socket that is not the peer's.
const LINK_PAUSE: Duration = Duration::from_millis(100);

/// Where the services live.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's own UDP listener: where calls come from.
    pub server: SocketAddr,
    /// The address of our SIP and media sockets.
    pub bind_ip: IpAddr,
    /// Calls at once; more are answered 486.
    pub calls_max: usize,
}

impl Config {
    /// Up to 200 calls.
    pub fn new(server: SocketAddr, bind_ip: IpAddr) -> Self {
        Self { server, bind_ip, calls_max: CALLS_MAX }
    }
}

/// Why the services did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PbxError {
    /// No SIP socket.
    #[error("echo and tone cannot start on {bind_ip}: {source}")]
    Link {
        /// Our address.
        bind_ip: IpAddr,
        /// Why.
        source: Box<NetError>,
    },
    /// No thread, or no runtime on it.
    #[error("echo and tone cannot start: {0}")]
    Thread(#[from] std::io::Error),
    /// The thread ended before it was ready.
    #[error("echo and tone ended while they started")]
    Died,
}

/// The running services. Dropping them hangs up their calls.
#[derive(Debug)]
pub struct Services {
    /// Where to send INVITEs, by UDP.
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    /// Starts the thread and waits until calls can come.
    ///
    /// # Errors
    /// No socket on the address, no thread.
    pub fn start(config: Config) -> Result<Self, PbxError> {
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("pbx".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(live(config, ready, stopped)),
                // Who started us has gone when nobody takes it.
                Err(error) => drop(ready.send(Err(error.into()))),
            }
        })?;
        let addr = is_ready.recv().map_err(|_| PbxError::Died)??;
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("echo and tone ended by a panic");
        }
    }
}

type Ready = std_mpsc::SyncSender<Result<SocketAddr, PbxError>>;

async fn live(config: Config, ready: Ready, mut stop: oneshot::Receiver<()>) {
    let mut switch = match Switch::connect(&config).await {
        Ok(switch) => switch,
        Err(source) => {
            let bind_ip = config.bind_ip;
            return drop(ready.send(Err(PbxError::Link { bind_ip, source: source.into() })));
        }
    };
    if ready.send(Ok(switch.link.local_addr())).is_ok() {
        switch.run(&mut stop).await;
    }
}

/// The phone with its sockets and what it plays.
struct Switch {
    phone: Phone,
    link: ClientTransport,
    bind_ip: IpAddr,
    calls: BTreeMap<CallHandle, Line>,
    packets: (mpsc::Sender<Packet>, mpsc::Receiver<Packet>),
}

/// One call.
struct Line {
    player: Player,
    sockets: Arc<MediaSockets>,
    pump: Task<()>,
}

struct Packet {
    call: CallHandle,
    from: SocketAddr,
    bytes: Bytes,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Switch {
    async fn connect(config: &Config) -> Result<Self, NetError> {
        let endpoint = Endpoint {
            local: Some(SocketAddr::new(config.bind_ip, 0)),
            ..Endpoint::new(Transport::Udp, config.server)
        };
        let link = ClientTransport::connect(endpoint).await?;
        let mut phone = Phone::new(account(config), settings(config), Box::new(OsEntropy));
        let facts = Link {
            transport: link.transport(),
            local: link.local_addr(),
            server: link.peer_addr(),
        };
        phone.handle_link_up(Instant::now(), facts);
        Ok(Self {
            phone,
            link,
            bind_ip: config.bind_ip,
            calls: BTreeMap::new(),
            packets: mpsc::channel(PACKETS_MAX),
        })
    }

    async fn run(&mut self, stop: &mut oneshot::Receiver<()>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            self.flush().await;
            let timeout = self.phone.poll_timeout();
            let talks = !self.calls.is_empty();
            if !talks {
                // The first call's sound begins a tick from now, not with all the ticks missed.
                tick.reset();
            }
            tokio::select! {
                received = self.link.recv() => match received {
                    Ok(Some(bytes)) => self.phone.handle_sip(Instant::now(), bytes),
                    Ok(None) => sleep(LINK_PAUSE).await,
                    Err(error) => {
                        tracing::warn!(%error, "echo and tone: link");
                        sleep(LINK_PAUSE).await;
                    }
                },
                Some(packet) = self.packets.1.recv() => {
                    let Packet { call, from, bytes } = packet;
                    self.phone.handle_media(Instant::now(), call, from, &bytes);
                }
                _ = tick.tick(), if talks => self.sound(),
                () = until(timeout) => self.phone.handle_timeout(Instant::now()),
                _ = &mut *stop => break,
            }
        }
        self.hang_up_all().await;
    }

    /// Sends what the phone wants sent, and acts on what it tells.
    async fn flush(&mut self) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) => {
                    // The transaction sends it again; a server that is away comes back.
                    if let Err(error) = self.link.send(bytes).await {
                        tracing::debug!(%error, "echo and tone: not sent");
                    }
                }
                PhoneOutput::SendMedia { call, to, bytes, rtcp } => {
                    if let Some(line) = self.calls.get(&call) {
                        line.sockets.try_send(to, &bytes, rtcp);
                    }
                }
                // It speaks no ICE.
                PhoneOutput::Way { .. } => {}
                PhoneOutput::Event(event) => self.handle_event(event),
            }
        }
    }

    fn handle_event(&mut self, event: PhoneEvent) {
        match event {
            PhoneEvent::Incoming { call, target, .. } => match Service::of_target(&target) {
                Some(service) => self.answer(call, service),
                None => self.refuse(call, 404),
            },
            PhoneEvent::Ended { call, cause, .. } => {
                self.calls.remove(&call);
                tracing::debug!(call = call.0, %cause, "service call ended");
            }
            _ => {}
        }
    }

    fn answer(&mut self, call: CallHandle, service: Service) {
        let sockets = match MediaSockets::bind(self.bind_ip) {
            Ok(sockets) => Arc::new(sockets),
            Err(error) => {
                tracing::warn!(%error, "echo and tone: no media sockets");
                return self.refuse(call, 503);
            }
        };
        let local = sockets.local_addr();
        if let Err(error) = self.phone.answer(Instant::now(), call, local) {
            tracing::info!(%error, service = service.as_str(), "service call not answered");
            return;
        }
        let pump = tokio::spawn(pump(Arc::clone(&sockets), call, self.packets.0.clone()));
        self.calls.insert(call, Line { player: Player::new(service), sockets, pump });
    }

    fn refuse(&mut self, call: CallHandle, status: u16) {
        // The caller may have given up in the meantime.
        let _ = self.phone.reject_with(Instant::now(), call, status);
    }

    /// Twenty milliseconds of every call.
    fn sound(&mut self) {
        let now = Instant::now();
        let mut heard = [0; PLAYOUT_FRAME];
        for (call, line) in &mut self.calls {
            self.phone.play(now, *call, &mut heard);
            let said = line.player.next(&heard);
            self.phone.capture(now, *call, &said);
        }
    }

    async fn hang_up_all(&mut self) {
        let calls: Vec<CallHandle> = self.calls.keys().copied().collect();
        for call in calls {
            // It may have ended just now.
            let _ = self.phone.hang_up(Instant::now(), call);
        }
        self.flush().await;
    }
}

async fn pump(sockets: Arc<MediaSockets>, call: CallHandle, to: mpsc::Sender<Packet>) {
    loop {
        let (bytes, from) = sockets.recv().await;
        if to.send(Packet { call, from, bytes }).await.is_err() {
            return;
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn account(config: &Config) -> phone::Account {
    phone::Account {
        user: "services".into(),
        domain: config.server.ip().to_string(),
        password: Redacted::new(String::new()),
        display_name: String::new(),
        // Never registered, so nobody needs to tell two of them apart.
        instance: "urn:uuid:00000000-0000-0000-0000-000000000000".into(),
    }
}

fn settings(config: &Config) -> phone::Config {
    phone::Config {
        calls_max: config.calls_max,
        silence_max: Some(SILENCE_MAX),
        security: Some(media::Security::Plain),
        ..phone::Config::default()
    }
}
