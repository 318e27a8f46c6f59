//! A SIP client's connection to its server: UDP, TCP, TLS, WS or WSS behind one face.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use sansio::Transport;
use sip::{Frame, StreamFramer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

mod byte_stream;
mod connect;
mod cost;
mod keep_alive;

use crate::connecting::Io;
use crate::core::begins_message;
use crate::error::NetError;
use crate::ws;
pub use byte_stream::ByteStream;
use cost::Meter;
pub use cost::{HandshakeCost, LinkCost, process_cpu};
use keep_alive::UdpKeepAlive;

/// The largest UDP datagram.
const DATAGRAM_MAX: usize = 65_535;

/// Whom to connect to, and how.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Any of the five.
    pub transport: Transport,
    /// The server's address.
    pub addr: SocketAddr,
    /// The name (or address) its certificate must prove; also the HTTP `Host`.
    pub name: String,
    /// The address to connect from; any port if 0.
    pub local: Option<SocketAddr>,
    /// For TLS and WSS ([`crate::client_config`]).
    pub tls: Option<Arc<ClientConfig>>,
    /// For WS and WSS.
    pub path: String,
    /// For connecting, handshakes included.
    pub timeout: Duration,
}

impl Endpoint {
    /// An endpoint named by its address, path `/sip`, ten seconds' patience.
    pub fn new(transport: Transport, addr: SocketAddr) -> Self {
        Self {
            transport,
            addr,
            name: addr.ip().to_string(),
            local: None,
            tls: None,
            path: "/sip".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    fn broken(&self, reason: impl ToString) -> NetError {
        NetError::Broken { transport: self.transport, addr: self.addr, reason: reason.to_string() }
    }
}

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// One whole SIP message.
    Message(Bytes),
    /// The answer to a keep-alive of ours: the way there and back is open.
    KeptAlive,
}

/// A connection that sends and receives whole SIP messages.
#[derive(Debug)]
pub struct ClientTransport {
    endpoint: Endpoint,
    local: SocketAddr,
    inner: Inner,
    meter: Meter,
    handshake: Option<HandshakeCost>,
}

#[derive(Debug)]
enum Inner {
    Udp {
        socket: UdpSocket,
        buffer: Box<[u8]>,
        keep_alive: UdpKeepAlive,
    },
    /// `asked`: a keep-alive of ours waits for its answer.
    Stream {
        io: Box<dyn Io>,
        framer: StreamFramer,
        buffer: BytesMut,
        asked: bool,
    },
    WebSocket(Box<WebSocketStream<Box<dyn Io>>>),
}

impl ClientTransport {
    /// Connects, with TLS and WebSocket handshakes where the transport has them.
    ///
    /// # Errors
    /// Unreachable, not trusted, or the WebSocket refused.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, NetError> {
        let connect::Made { inner, local, meter, handshake } = connect::connect(&endpoint).await?;
        Ok(Self { endpoint, local, inner, meter, handshake })
    }

    /// What it has cost so far.
    pub fn cost(&self) -> LinkCost {
        let (sent, received) = (self.meter.sent(), self.meter.received());
        LinkCost { sent, received, handshake: self.handshake }
    }

    /// Our address on this connection, for Via and Contact.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The server's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.endpoint.addr
    }

    /// The transport.
    pub fn transport(&self) -> Transport {
        self.endpoint.transport
    }

    /// Sends one message. A keep-alive of CRLFs (RFC 5626 §4.4.1) goes as it is, over WebSocket as
    /// a ping, over UDP as a STUN request where the server answers those (§4.4.2). Not safe to cancel: a message half written ends the connection.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self, message: Bytes) -> Result<(), NetError> {
        use futures_util::SinkExt;
        let sent = match &mut self.inner {
            Inner::Udp { socket, keep_alive, .. } => {
                let datagram = if is_keep_alive(&message) { keep_alive.next() } else { message };
                self.meter.add_sent(datagram.len());
                socket.send(&datagram).await.map(drop).map_err(|e| e.to_string())
            }
            Inner::Stream { io, asked, .. } => {
                *asked |= is_keep_alive(&message);
                write(io, &message).await.map_err(|e| e.to_string())
            }
            Inner::WebSocket(socket) => {
                let frame = if is_keep_alive(&message) {
                    Message::Ping(Bytes::new())
                } else {
                    ws::frame(message)
                };
                socket.send(frame).await.map_err(|e| e.to_string())
            }
        };
        sent.map_err(|reason| self.endpoint.broken(reason))
    }

    /// The next message; `None` when the server closed the connection. Keep-alives of the server
    /// are answered and swallowed, answers to ours too. Safe to cancel, as a branch of `select!`.
    ///
    /// # Errors
    /// The connection broke, or what came is no SIP.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, NetError> {
        loop {
            match self.hear().await? {
                Some(Heard::Message(message)) => return Ok(Some(message)),
                Some(Heard::KeptAlive) => {}
                None => return Ok(None),
            }
        }
    }

    /// As [`Self::recv`], and tells when a keep-alive of ours was answered.
    ///
    /// # Errors
    /// The connection broke, or what came is no SIP.
    pub async fn hear(&mut self) -> Result<Option<Heard>, NetError> {
        let received = match &mut self.inner {
            Inner::Udp { socket, buffer, keep_alive } => {
                receive_datagram(socket, buffer, (keep_alive, &self.meter)).await
            }
            Inner::Stream { io, framer, buffer, asked } => {
                receive_framed(io, (framer, asked), buffer).await
            }
            Inner::WebSocket(socket) => receive_frame(socket).await,
        };
        received.map_err(|reason| self.endpoint.broken(reason))
    }

    /// Closes in order, waiting at most a second for it.
    pub async fn close(mut self) {
        let close = async {
            match &mut self.inner {
                Inner::Udp { .. } => {}
                Inner::Stream { io, .. } => drop(io.shutdown().await),
                Inner::WebSocket(socket) => drop(socket.close(None).await),
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), close).await;
    }
}

fn is_keep_alive(message: &[u8]) -> bool {
    message.iter().all(|b| matches!(b, b'\r' | b'\n'))
}

async fn receive_datagram(
    socket: &UdpSocket,
    buffer: &mut [u8],
    (keep_alive, meter): (&mut UdpKeepAlive, &Meter),
) -> Result<Option<Heard>, String> {
    loop {
        let n = match socket.recv(buffer).await {
            Ok(n) => n,
            // An ICMP "port unreachable" for something sent: the server may come back.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => continue,
            Err(e) => return Err(e.to_string()),
        };
        meter.add_received(n);
        if begins_message(&buffer[..n]) {
            return Ok(Some(Heard::Message(Bytes::copy_from_slice(&buffer[..n]))));
        }
        if keep_alive.is_answered_by(&buffer[..n]) {
            return Ok(Some(Heard::KeptAlive));
        }
    }
}

async fn receive_framed(
    io: &mut Box<dyn Io>,
    (framer, asked): (&mut StreamFramer, &mut bool),
    buffer: &mut BytesMut,
) -> Result<Option<Heard>, String> {
    loop {
        match framer.next_frame().map_err(|e| e.to_string())? {
            Some(Frame::Message(message)) => return Ok(Some(Heard::Message(message))),
            // Answers to two of ours in a row read as one keep-alive of the server's.
            Some(Frame::Ping | Frame::Pong) if std::mem::take(asked) => {
                return Ok(Some(Heard::KeptAlive));
            }
            Some(Frame::Ping) => write(io, b"\r\n").await.map_err(|e| e.to_string())?,
            Some(Frame::Pong) => {}
            None => {
                buffer.clear();
                buffer.reserve(4096);
                if io.read_buf(buffer).await.map_err(|e| e.to_string())? == 0 {
                    return Ok(None);
                }
                framer.push(buffer);
            }
        }
    }
}

async fn receive_frame(socket: &mut WebSocketStream<Box<dyn Io>>) -> Result<Option<Heard>, String> {
    use futures_util::StreamExt;
    loop {
        let bytes: Bytes = match socket.next().await {
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Pong(_))) => return Ok(Some(Heard::KeptAlive)),
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(error.to_string()),
        };
        if begins_message(&bytes) {
            return Ok(Some(Heard::Message(bytes)));
        }
    }
}

async fn write(io: &mut Box<dyn Io>, bytes: &[u8]) -> std::io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}
