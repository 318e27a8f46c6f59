//! Raw SIP over UDP: what a scanner, a fuzzer or a very small phone sends.

use crate::story::{DOMAIN, Story};
use bytes::Bytes;
use sip::Message;
use sip::digest::{self, Challenge};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

/// A UDP socket that speaks to the story's server.
#[derive(Debug)]
pub struct Probe {
    socket: UdpSocket,
    number: u32,
    sent: String,
}

impl Probe {
    /// On loopback only: a test is not inside of its story's namespace.
    pub fn new(story: &Story) -> Self {
        let place = &story.place;
        let socket = UdpSocket::bind((place.peer_ip(), 0)).expect("a port for the probe");
        socket.connect((place.server_ip(), place.sip())).expect("loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, number: 0, sent: String::new() }
    }

    /// From a port of the story's peers, so that what comes later comes there too.
    pub fn at(story: &Story, port: u16) -> Self {
        let place = &story.place;
        let server = SocketAddr::new(place.server_ip(), place.sip());
        Self::between(SocketAddr::new(place.peer_ip(), port), server)
    }

    /// From one address to another.
    pub fn between(ours: SocketAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(ours).expect("a port for the probe");
        socket.connect(server).expect("loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { socket, number: 0, sent: String::new() }
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).expect("loopback takes a datagram");
    }

    /// The next message, if one comes in time.
    pub fn receive(&self) -> Option<Message> {
        Message::parse(self.receive_bytes()?).ok()
    }

    /// The next datagram, if one comes in time.
    pub fn receive_bytes(&self) -> Option<Bytes> {
        let mut buffer = vec![0; 65_536];
        let n = self.socket.recv(&mut buffer).ok()?;
        buffer.truncate(n);
        Some(buffer.into())
    }

    /// Whether the server still answers OPTIONS.
    pub fn is_answered(&mut self) -> bool {
        let request = self.request("OPTIONS", "probe", "", 1, "");
        self.send(request.as_bytes());
        self.receive().is_some_and(|m| m.status().is_some())
    }

    /// REGISTER of `user` with `password`: both responses. The second one is none when the first
    /// one was no challenge.
    pub fn register(&mut self, user: &str, password: &str) -> (Message, Option<Message>) {
        let local = self.socket.local_addr().expect("bound");
        let contact = format!("Contact: <sip:{user}@{local}>\r\nExpires: 300\r\n");
        self.ask("REGISTER", (user, password), &contact)
    }

    /// A request of `user` to the server itself, once more with credentials when it is challenged:
    /// both responses.
    pub fn ask(
        &mut self,
        method: &str,
        (user, password): (&str, &str),
        lines: &str,
    ) -> (Message, Option<Message>) {
        let call = format!("{}-{}", std::process::id(), self.number);
        let first = self.request(method, user, lines, 1, &call);
        self.send(first.as_bytes());
        let challenged = self.receive().expect("an answer");
        let headers = ["WWW-Authenticate", "Proxy-Authenticate"];
        let value = headers.iter().find_map(|name| challenged.header(*name)).map(<[u8]>::to_vec);
        let Some(value) = value else { return (challenged, None) };
        let challenge = Challenge::choose(digest::challenges(&value)).expect("a challenge we know");
        let algorithm = challenge.algorithm().expect("an algorithm we know");
        let realm = challenge.realm().into_owned();
        let ha1 = digest::ha1(algorithm, user.as_bytes(), &realm, password.as_bytes());
        let uri = format!("sip:{DOMAIN}");
        let answer = digest::Answer {
            username: user,
            ha1: &ha1,
            method: method.as_bytes(),
            uri: uri.as_bytes(),
            cnonce: "0a4f113b",
            nc: 1,
        };
        let credentials = digest::answer(&challenge, &answer).expect("credentials");
        let proxy = if challenged.status() == Some(407) { "Proxy-" } else { "" };
        let lines = format!("{lines}{proxy}Authorization: {credentials}\r\n");
        let second = self.request(method, user, &lines, 2, &call);
        self.send(second.as_bytes());
        (challenged, self.receive())
    }

    /// The last request of [`Probe::ask`], as it was sent.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    fn request(&mut self, method: &str, user: &str, lines: &str, cseq: u32, call: &str) -> String {
        self.number += 1;
        let local = self.socket.local_addr().expect("bound");
        self.sent = format!(
            "{method} sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bKprobe{number};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=p{number}\r\n\
             To: <sip:{user}@{DOMAIN}>\r\nCall-ID: probe-{call}\r\nCSeq: {cseq} {method}\r\n\
             {lines}Content-Length: 0\r\n\r\n",
            number = self.number,
        );
        self.sent.clone()
    }
}

/// A TCP listener that answers nobody: its queue is full with the streams returned beside it.
pub fn deaf_listener(at: SocketAddr) -> (socket2::Socket, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.bind(&at.into()).expect("a free address of loopback");
    listener.listen(0).expect("it listens");
    let knock = || {
        let stream = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        stream.set_nonblocking(true).expect("it does not block");
        // In progress, for ever from the second on.
        let _ = stream.connect(&at.into());
        stream
    };
    let queue = (0..4).map(|_| knock()).collect();
    (listener, queue)
}
