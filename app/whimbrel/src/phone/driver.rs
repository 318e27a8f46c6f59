//! Runs the phone engine on tokio: its link, its media sockets, its clock, its sound.

use super::sound::{FRAME, Sink, Source};
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use net::{ClientTransport, Endpoint};
use phone::{CallHandle, Link, Phone, PhoneEvent, PhoneOutput};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

/// How long after a broken link the first attempt is made, and the longest wait.
const RECONNECT_MIN: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// Media packets that may wait for the engine.
const MEDIA_QUEUE: usize = 256;
const PORT_ATTEMPTS: usize = 50;

/// A phone with everything it needs to work.
pub struct Driver {
    pub phone: Phone,
    endpoint: Endpoint,
    link: Option<ClientTransport>,
    reconnect: Option<Instant>,
    failures: u32,
    sockets: HashMap<CallHandle, Sockets>,
    media: (mpsc::Sender<Packet>, mpsc::Receiver<Packet>),
    source: Source,
    sink: Sink,
    tick: Interval,
    /// The call that has the microphone and the loudspeaker.
    pub talking: Option<CallHandle>,
    events: VecDeque<PhoneEvent>,
}

struct Sockets {
    rtp: Arc<UdpSocket>,
    rtcp: Arc<UdpSocket>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Packet {
    call: CallHandle,
    from: SocketAddr,
    bytes: Bytes,
}

/// Something the driver's owner should know.
pub enum Happened {
    /// The engine says.
    Event(PhoneEvent),
    /// The link is down; tried again by itself.
    LinkDown(String),
    /// Twenty milliseconds passed.
    Tick,
}

impl Driver {
    /// Connects once; a first failure is an error to show, later ones are retried.
    pub async fn connect(
        phone: Phone,
        endpoint: Endpoint,
        source: Source,
        sink: Sink,
    ) -> Result<Self> {
        let link = ClientTransport::connect(endpoint.clone()).await?;
        let mut tick = interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut driver = Self {
            phone,
            endpoint,
            link: None,
            reconnect: None,
            failures: 0,
            sockets: HashMap::new(),
            media: mpsc::channel(MEDIA_QUEUE),
            source,
            sink,
            tick,
            talking: None,
            events: VecDeque::new(),
        };
        driver.link_up(link).await;
        Ok(driver)
    }

    /// Calls somebody.
    pub async fn call(&mut self, target: &str) -> Result<CallHandle> {
        let sockets = self.bind().await?;
        let local = sockets.0.local_addr()?;
        let call = self.phone.call(Instant::now(), target, local)?;
        self.adopt(call, sockets);
        self.talking = Some(call);
        self.flush().await;
        Ok(call)
    }

    /// Answers a ringing call.
    pub async fn answer(&mut self, call: CallHandle) -> Result<()> {
        let sockets = self.bind().await?;
        let local = sockets.0.local_addr()?;
        let answered = self.phone.answer(Instant::now(), call, local);
        if answered.is_ok() {
            self.adopt(call, sockets);
            self.talking = Some(call);
        }
        self.flush().await;
        Ok(answered?)
    }

    /// Runs until something happens that the owner should know.
    pub async fn next(&mut self) -> Result<Happened> {
        loop {
            self.flush().await;
            if let Some(event) = self.events.pop_front() {
                self.note(&event);
                return Ok(Happened::Event(event));
            }
            let timeout = self.phone.poll_timeout();
            tokio::select! {
                received = receive(&mut self.link) => {
                    if let Some(down) = self.received(received) {
                        return Ok(Happened::LinkDown(down));
                    }
                }
                Some(packet) = self.media.1.recv() => {
                    let now = Instant::now();
                    self.phone.handle_media(now, packet.call, packet.from, &packet.bytes);
                }
                _ = self.tick.tick() => {
                    self.sound()?;
                    return Ok(Happened::Tick);
                }
                () = until(timeout) => self.phone.handle_timeout(Instant::now()),
                () = until(self.reconnect) => self.try_again().await,
            }
        }
    }

    /// The last words: what the engine still wants sent, and the recording's end.
    pub async fn finish(mut self) -> Result<()> {
        self.flush().await;
        self.sink.finish()?;
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        Ok(())
    }

    /// Sends what the engine wants sent; keeps its events.
    pub async fn flush(&mut self) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) => self.send_sip(bytes).await,
                PhoneOutput::SendMedia { call, to, bytes, rtcp } => {
                    if let Some(sockets) = self.sockets.get(&call) {
                        let socket = if rtcp { &sockets.rtcp } else { &sockets.rtp };
                        // A full socket buffer loses a packet, as the network would.
                        let _ = socket.try_send_to(&bytes, to);
                    }
                }
                PhoneOutput::Event(event) => self.events.push_back(event),
            }
        }
    }

    fn note(&mut self, event: &PhoneEvent) {
        if let PhoneEvent::Ended { call, .. } = event {
            if let Some(sockets) = self.sockets.remove(call) {
                sockets.tasks.iter().for_each(tokio::task::JoinHandle::abort);
            }
            if self.talking == Some(*call) {
                self.talking = None;
            }
        }
    }

    async fn send_sip(&mut self, bytes: Bytes) {
        let Some(link) = self.link.as_mut() else { return };
        if let Err(error) = link.send(bytes).await {
            tracing::info!(%error, "link lost");
            self.link_down();
        }
    }

    fn received(&mut self, received: Result<Option<Bytes>, net::NetError>) -> Option<String> {
        match received {
            Ok(Some(bytes)) => {
                self.phone.handle_sip(Instant::now(), bytes);
                None
            }
            Ok(None) => {
                self.link_down();
                Some("the server closed the connection".into())
            }
            Err(error) => {
                self.link_down();
                Some(error.to_string())
            }
        }
    }

    async fn link_up(&mut self, link: ClientTransport) {
        let facts = Link {
            transport: link.transport(),
            local: link.local_addr(),
            server: link.peer_addr(),
        };
        self.failures = 0;
        self.reconnect = None;
        self.link = Some(link);
        self.phone.handle_link_up(Instant::now(), facts);
        self.flush().await;
    }

    fn link_down(&mut self) {
        self.link = None;
        let wait = (RECONNECT_MIN * 2_u32.pow(self.failures.min(6))).min(RECONNECT_MAX);
        self.failures += 1;
        self.reconnect = Some(Instant::now() + wait);
        self.phone.handle_link_down(Instant::now());
    }

    async fn try_again(&mut self) {
        self.reconnect = None;
        match ClientTransport::connect(self.endpoint.clone()).await {
            Ok(link) => self.link_up(link).await,
            Err(error) => {
                tracing::info!(%error, "not connected yet");
                self.link_down();
            }
        }
    }

    /// Twenty milliseconds of sound each way.
    fn sound(&mut self) -> Result<()> {
        let Some(call) = self.talking else { return Ok(()) };
        let now = Instant::now();
        let mut frame = [0; FRAME];
        if self.phone.is_talking(call) {
            self.source.read(&mut frame);
            self.phone.capture(now, call, &frame);
        }
        self.phone.play(now, call, &mut frame);
        if self.phone.is_talking(call) {
            self.sink.write(&frame)?;
        }
        Ok(())
    }

    /// An even port for RTP and the next for RTCP, on the link's address.
    async fn bind(&self) -> Result<(UdpSocket, UdpSocket)> {
        let ip = self.link.as_ref().map(|l| l.local_addr().ip());
        let ip: IpAddr = ip.ok_or_else(|| anyhow!("not connected to the server"))?;
        for _ in 0..PORT_ATTEMPTS {
            let rtp = UdpSocket::bind((ip, 0)).await.context("no media port")?;
            let port = rtp.local_addr()?.port();
            if port % 2 == 0
                && let Ok(rtcp) = UdpSocket::bind((ip, port + 1)).await
            {
                return Ok((rtp, rtcp));
            }
        }
        Err(anyhow!("no pair of free media ports on {ip}"))
    }

    fn adopt(&mut self, call: CallHandle, (rtp, rtcp): (UdpSocket, UdpSocket)) {
        let (rtp, rtcp) = (Arc::new(rtp), Arc::new(rtcp));
        let tasks = [&rtp, &rtcp].map(|socket| {
            tokio::spawn(pump(Arc::clone(socket), call, self.media.0.clone()))
        });
        self.sockets.insert(call, Sockets { rtp, rtcp, tasks: tasks.into() });
    }
}

async fn pump(socket: Arc<UdpSocket>, call: CallHandle, to: mpsc::Sender<Packet>) {
    let mut buffer = vec![0; 2048];
    loop {
        // An ICMP error shows up here once; the socket goes on.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let bytes = Bytes::copy_from_slice(&buffer[..len]);
        if to.send(Packet { call, from, bytes }).await.is_err() {
            return;
        }
    }
}

async fn receive(link: &mut Option<ClientTransport>) -> Result<Option<Bytes>, net::NetError> {
    match link {
        Some(link) => link.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
