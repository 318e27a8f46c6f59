//! The NG protocol on sockets: UDP, and on the same port of TCP either bare messages or WebSocket.
//!
//! ```text
//!   ng-udp   recv_from ─► Controlled::handle ─► send_to     (and calls whose deletion is due)
//!   ng-tcp   accept ─► a thread each: "GET " ─► WebSocket messages, else messages one after another
//! ```
//!
//! What needs the disk ([`files`]) is done with nothing held. A controller is trusted with everything here: bind this port where only controllers reach it.

mod files;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

use super::Relay;
use super::recording::RecordingSetup;
use crate::Config;
use crate::ng::{Controlled, Handled, Outcome, Task};

/// The longest message.
const MESSAGE_MAX: usize = 65_535;
/// Connections at once.
const CONNECTIONS_MAX: usize = 256;
/// How long the loops sleep at most before they look whether to stop.
const NAP: Duration = Duration::from_millis(500);
/// A connection that says nothing for this long is closed; controllers ping every minute.
const IDLE: Duration = Duration::from_secs(600);
/// What a WebSocket controller may ask for.
const SUBPROTOCOL: &str = "ng.rtpengine.com";

/// A relay that NG controllers direct.
#[derive(Debug)]
pub struct NgServer {
    shared: Arc<Shared>,
    local: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

/// How the relay behaves towards its controllers.
#[derive(Debug)]
pub struct NgConduct {
    /// How long a deleted call lives on unless its deletion says otherwise.
    pub delete_delay: Duration,
    /// Where recordings go; `None` refuses them.
    pub recording: Option<RecordingSetup>,
    /// Recordings are WAV instead of Ogg Opus.
    pub records_wav: bool,
}

impl NgConduct {
    /// Without recordings.
    pub fn new(delete_delay: Duration) -> Self {
        Self { delete_delay, recording: None, records_wav: false }
    }
}

#[derive(Debug)]
struct Shared {
    controlled: Mutex<Controlled>,
    relay: OnceLock<Relay>,
    stop: AtomicBool,
    connections: AtomicUsize,
    records_wav: bool,
}

impl NgServer {
    /// Starts a relay and listens for controllers at `listen`.
    ///
    /// # Errors
    /// The address cannot be listened on, or the relay cannot start.
    pub fn start(config: Config, listen: SocketAddr, conduct: NgConduct) -> io::Result<Self> {
        let udp = UdpSocket::bind(listen)?;
        let local = udp.local_addr()?;
        let tcp = TcpListener::bind(local)?;
        tcp.set_nonblocking(false)?;
        let mut controlled = Controlled::new(Instant::now());
        controlled.set_delete_delay(conduct.delete_delay);
        let shared = Arc::new(Shared {
            controlled: Mutex::new(controlled),
            relay: OnceLock::new(),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            records_wav: conduct.records_wav,
        });
        // Not a handle of its own: the relay, which keeps this, would keep itself.
        let told = Arc::downgrade(&shared);
        let relay = Relay::start(config, move |event| {
            let Some(told) = told.upgrade() else { return };
            if let Some(relay) = told.relay.get() {
                told.hold().handle_event(Instant::now(), &mut relay.control(), &event);
            }
        })?;
        if let Some(setup) = conduct.recording {
            relay.enable_recording(setup)?;
        }
        // Nothing was set before: this is the only place that does.
        let _ = shared.relay.set(relay);
        let (a, b) = (Arc::clone(&shared), Arc::clone(&shared));
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body)
        };
        let mut server = Self { shared, local, threads: Vec::new() };
        server.threads.push(spawn("ng-udp", Box::new(move || a.serve_udp(&udp)))?);
        server.threads.push(spawn("ng-tcp", Box::new(move || b.serve_tcp(&tcp)))?);
        Ok(server)
    }

    /// Where controllers reach it.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The relay behind it.
    pub fn relay(&self) -> Option<&Relay> {
        self.shared.relay.get()
    }
}

impl Drop for NgServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes `accept`.
        let _ = TcpStream::connect_timeout(&self.local, NAP);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn hold(&self) -> MutexGuard<'_, Controlled> {
        // Its state is whole between its statements.
        self.controlled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn handle(&self, message: &Bytes) -> (Handled, usize) {
        let Some(relay) = self.relay.get() else { return (Handled::Foreign, 0) };
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = (Instant::now(), unix);
        let (handled, used) = self.hold().handle_stream(at, &mut relay.control(), message);
        let Handled::Errand(errand) = handled else { return (handled, used) };
        // Nothing is held while the disk is waited for.
        let outcome = self.run(relay, &errand.task);
        let (mut controlled, mut control) = (self.hold(), relay.control());
        let reply = controlled.finish(Instant::now(), &mut control, *errand, outcome);
        (Handled::Reply(reply), used)
    }

    /// Does what the core leaves to us.
    fn run(&self, relay: &Relay, task: &Task) -> Outcome {
        match task {
            Task::Record { session, name } => {
                let wav = self.records_wav;
                Outcome::Done(files::record(relay, *session, name.clone(), wav))
            }
            Task::PauseRecording(session) => {
                let paused = relay.pause_recording(*session, true);
                Outcome::Done(paused.then_some(()).ok_or_else(|| "Nothing is recorded".to_owned()))
            }
            Task::StopRecording(session) => {
                relay.stop_recording(*session);
                Outcome::Done(Ok(()))
            }
            Task::Fetch { path, rate_max } => Outcome::Sound(files::fetch(path, *rate_max)),
        }
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = vec![0; MESSAGE_MAX];
        while !self.stopped() {
            let wait = self.sweep().clamp(Duration::from_millis(1), NAP);
            // Failing leaves the wait as it was, at most half a second.
            let _ = socket.set_read_timeout(Some(wait));
            // Errors are the timeout, or ICMP reports of earlier replies.
            let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
            let (handled, _) = self.handle(&Bytes::copy_from_slice(&buffer[..len]));
            if let Handled::Reply(reply) = handled
                && let Err(error) = socket.send_to(&reply, from)
            {
                tracing::warn!(%error, controller = %from, "NG reply not sent");
            }
        }
    }

    /// Ends what is due; how long until the next.
    fn sweep(&self) -> Duration {
        let Some(relay) = self.relay.get() else { return NAP };
        let (now, mut controlled) = (Instant::now(), self.hold());
        if controlled.poll_timeout().is_some_and(|at| at <= now) {
            controlled.handle_timeout(now, &mut relay.control());
        }
        controlled.poll_timeout().map_or(NAP, |at| at.saturating_duration_since(now))
    }

    fn serve_tcp(self: &Arc<Self>, listener: &TcpListener) {
        while !self.stopped() {
            let Ok((stream, from)) = listener.accept() else {
                // Out of descriptors: as the other threads close some, accepting goes on.
                std::thread::sleep(NAP);
                continue;
            };
            if self.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX || self.stopped()
            {
                self.connections.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let shared = Arc::clone(self);
            let body = move || {
                if let Err(error) = shared.serve_connection(stream) {
                    tracing::debug!(%error, controller = %from, "NG connection ended");
                }
                shared.connections.fetch_sub(1, Ordering::Relaxed);
            };
            if std::thread::Builder::new().name("ng-conn".to_owned()).spawn(body).is_err() {
                self.connections.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn serve_connection(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(NAP))?;
        let mut first = [0; 4];
        let patience = Instant::now() + IDLE;
        loop {
            match stream.peek(&mut first) {
                Ok(0) => return Ok(()),
                Ok(n) if n < first.len() && b"GET "[..n] == first[..n] => {}
                Ok(_) => break,
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
            if self.stopped() || Instant::now() > patience {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if &first == b"GET " { self.serve_websocket(stream) } else { self.serve_stream(stream) }
    }

    fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        let (mut buffered, mut chunk) = (BytesMut::new(), vec![0; 16_384]);
        let mut heard = Instant::now();
        while !self.stopped() && heard.elapsed() < IDLE {
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(n) => buffered.extend_from_slice(&chunk[..n]),
                Err(error) if is_timeout(&error) => continue,
                Err(error) => return Err(error),
            }
            heard = Instant::now();
            let mut rest = std::mem::take(&mut buffered).freeze();
            loop {
                // Line ends between messages are nobody's.
                let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
                rest = rest.slice(blank..);
                match self.handle(&rest) {
                    (Handled::Reply(reply), used) => {
                        stream.write_all(&reply)?;
                        rest = rest.slice(used..);
                    }
                    (Handled::Incomplete, _) if rest.len() <= MESSAGE_MAX => break,
                    _ if rest.is_empty() => break,
                    _ => return Err(io::Error::other("not an NG message, or one too long")),
                }
            }
            buffered.extend_from_slice(&rest);
        }
        Ok(())
    }

    fn serve_websocket(&self, stream: TcpStream) -> io::Result<()> {
        // The handshake is read whole or not at all.
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let accepted = tungstenite::accept_hdr_with_config(stream, agree, Some(limits));
        let mut socket: WebSocket<TcpStream> = accepted.map_err(io::Error::other)?;
        socket.get_ref().set_read_timeout(Some(NAP))?;
        let mut heard = Instant::now();
        while !self.stopped() && heard.elapsed() < IDLE {
            let message = match socket.read() {
                Ok(Message::Text(text)) => Bytes::from(text),
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Close(_)) => return Ok(()),
                Ok(_) => continue,
                Err(tungstenite::Error::Io(error)) if is_timeout(&error) => continue,
                Err(error) => return Err(io::Error::other(error)),
            };
            heard = Instant::now();
            if let (Handled::Reply(reply), _) = self.handle(&message) {
                let reply = match String::from_utf8(reply.to_vec()) {
                    Ok(text) => Message::Text(text.into()),
                    Err(_) => Message::Binary(reply),
                };
                socket.send(reply).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

/// Agrees to the NG subprotocol where it is asked for.
#[expect(clippy::result_large_err, reason = "the library's signature")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let asked = request.headers().get_all("Sec-WebSocket-Protocol").iter();
    let mut words = asked.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim);
    if words.any(|word| word == SUBPROTOCOL) {
        let value = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert("Sec-WebSocket-Protocol", value);
    }
    Ok(response)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
