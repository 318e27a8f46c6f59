//! A session recording server (RFC 7866), small and by TCP: written for these stories alone, so that
//! a mistake of the client's is not shared. Metadata are read by a whole XML parser.

use crate::story::Story;
use sip::{HeaderName, Message, response_to};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(50);
/// A key for what it would send, which is nothing.
const CRYPTO: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 \
    inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n";

/// How it behaves; may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Takes every call.
    Record,
    /// Refuses every new one with this.
    Refuse(u16),
    /// Says nothing to anything.
    Silent,
}

/// A running one.
#[derive(Debug)]
pub struct Srs {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    conduct: Mutex<Conduct>,
    requests: Mutex<Vec<Message>>,
    /// RTP by stream, in the order of the description.
    heard: [Mutex<Vec<Vec<u8>>>; 2],
    ports: [u16; 2],
    ip: IpAddr,
}

impl Srs {
    /// Starts one on a free port.
    pub fn start(ip: IpAddr, conduct: Conduct) -> Self {
        Self::start_at(SocketAddr::new(ip, 0), conduct)
    }

    /// The same at an address.
    pub fn start_at(at: SocketAddr, conduct: Conduct) -> Self {
        let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("an SRS at {at}: {e}"));
        listener.set_nonblocking(true).expect("a listener");
        let addr = listener.local_addr().expect("bound");
        let sockets = [0, 1].map(|_| UdpSocket::bind((at.ip(), 0)).expect("a port for RTP"));
        let ports = [0, 1].map(|n: usize| sockets[n].local_addr().expect("bound").port());
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            conduct: Mutex::new(conduct),
            requests: Mutex::default(),
            heard: Default::default(),
            ports,
            ip: at.ip(),
        });
        let mut threads = Vec::new();
        for (n, socket) in sockets.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || listen(&shared, n, &socket)));
        }
        let serving = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || accept(&serving, &listener)));
        Self { addr, shared, threads }
    }

    /// Its URI.
    pub fn uri(&self) -> String {
        format!("sip:srs@{};transport=tcp", self.addr)
    }

    /// From now on it behaves so.
    pub fn set(&self, conduct: Conduct) {
        *self.shared.conduct.lock().expect("no panic") = conduct;
    }

    /// The requests so far with this method.
    pub fn requests(&self, method: &str) -> Vec<Message> {
        let all = self.shared.requests.lock().expect("no panic");
        let is = |m: &&Message| m.method().is_some_and(|have| have.as_str() == method);
        all.iter().filter(is).cloned().collect()
    }

    /// Waits until there were so many requests of a method; the last of them.
    pub fn wait(&self, method: &str, count: usize, patience: Duration) -> Message {
        let end = Instant::now() + patience;
        loop {
            let mut found = self.requests(method);
            if found.len() >= count {
                return found.swap_remove(count - 1);
            }
            assert!(Instant::now() < end, "{} of {count} {method} at the SRS", found.len());
            std::thread::sleep(LOOK);
        }
    }

    /// RTP packets of a stream so far.
    pub fn packets(&self, stream: usize) -> usize {
        self.shared.heard[stream].lock().expect("no panic").len()
    }

    /// Waits until a stream brought so many more packets; the last of them.
    pub fn wait_packets(&self, stream: usize, more: usize, patience: Duration) -> Vec<u8> {
        let (end, wanted) = (Instant::now() + patience, self.packets(stream) + more);
        loop {
            if self.packets(stream) >= wanted {
                let heard = self.shared.heard[stream].lock().expect("no panic");
                return heard.last().expect("some").clone();
            }
            let have = self.packets(stream);
            assert!(Instant::now() < end, "stream {stream}: {have} of {wanted} packets");
            std::thread::sleep(LOOK);
        }
    }

    /// It dies: connections and ports are gone.
    pub fn die(self) {}
}

impl Drop for Srs {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// What it answers, if it does.
    fn answer(&self, request: &Message) -> Option<Message> {
        let method = request.method()?.as_str().to_owned();
        let conduct = *self.conduct.lock().ok()?;
        if method == "ACK" || conduct == Conduct::Silent {
            return None;
        }
        let contact = format!("<sip:srs@{};transport=tcp>;+sip.srs", self.ip);
        let say = |status| response_to(request, status, "").to_tag("srs").record_route();
        Some(match (method.as_str(), conduct, request.to_tag()) {
            ("INVITE", Conduct::Refuse(status), None) => say(status).build(),
            ("INVITE", ..) => say(200)
                .header(HeaderName::REQUIRE, "siprec")
                .header(HeaderName::CONTACT, contact)
                .body("application/sdp", self.describe(request))
                .build(),
            _ => say(200).header(HeaderName::CONTACT, contact).build(),
        })
    }

    /// Its description: it hears what is offered.
    fn describe(&self, invite: &Message) -> String {
        let offer = sdp_of(invite);
        let mut sdp =
            format!("v=0\r\no=srs 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n", self.ip);
        for (port, media) in self.ports.iter().zip(offer.split("m=audio ").skip(1)) {
            let mut line = media.lines().next().unwrap_or_default().split(' ').skip(1);
            let proto = line.next().unwrap_or_default();
            let formats = line.collect::<Vec<_>>().join(" ");
            let way = if media.contains("a=inactive") { "inactive" } else { "recvonly" };
            let label = media.lines().find(|line| line.starts_with("a=label:")).unwrap_or("a=x");
            let keys = if proto == "RTP/SAVP" { CRYPTO } else { "" };
            sdp += &format!("m=audio {port} {proto} {formats}\r\n{keys}a={way}\r\n{label}\r\n");
        }
        sdp
    }
}

/// TLS in front of one, by OpenSSL: for one connection.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
}

impl TlsFront {
    /// Shows the certificate in `name.pem`, with its key in `name.key`.
    pub fn start(story: &Story, srs: &Srs, port: u16, name: &str) -> Self {
        let addr = SocketAddr::new(srs.addr.ip(), port);
        let mut command = story.place.command("openssl");
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        command.args(["s_server", "-quiet", "-accept", &addr.to_string(), "-cert", &cert]);
        command.args(["-key", &key]).current_dir(story.scratch.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl");
        let (mut say, mut hear) =
            (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let plain = TcpStream::connect(srs.addr).expect("the SRS listens");
        let (mut to, mut from) = (plain.try_clone().expect("a second handle"), plain);
        // Both end with their pipe.
        std::thread::spawn(move || pump(&mut hear, &mut to));
        std::thread::spawn(move || pump(&mut from, &mut say));
        Self { addr, child }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pump(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 8192];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// The description in a request.
pub fn sdp_of(request: &Message) -> String {
    part(request, "application/sdp")
}

/// The metadata in a request, parsed.
pub fn metadata_of(request: &Message) -> Element {
    Element::parse(&part(request, "application/rs-metadata+xml"))
}

fn part(request: &Message, kind: &str) -> String {
    let text = String::from_utf8_lossy(request.body()).into_owned();
    let wanted = format!("Content-Type: {kind}\r\n");
    let content_type = request.header_str(HeaderName::CONTENT_TYPE).unwrap_or_default();
    let boundary = content_type.split("boundary=").nth(1).expect("a boundary").trim_matches('"');
    let found = text.split(&format!("--{boundary}")).find(|part| part.contains(&wanted));
    let found = found.unwrap_or_else(|| panic!("no {kind} in {text}"));
    found.split_once("\r\n\r\n").expect("a head").1.trim_end().to_owned() + "\r\n"
}

fn listen(shared: &Shared, n: usize, socket: &UdpSocket) {
    socket.set_read_timeout(Some(LOOK)).expect("a timeout");
    let mut buffer = [0; 2048];
    while !shared.is_over() {
        if let Ok(len) = socket.recv(&mut buffer) {
            shared.heard[n].lock().expect("no panic").push(buffer[..len].to_vec());
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut connections = Vec::new();
    while !shared.is_over() {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                connections.push(std::thread::spawn(move || converse(&shared, stream)));
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    for connection in connections {
        let _ = connection.join();
    }
}

fn converse(shared: &Shared, mut stream: TcpStream) {
    stream.set_nonblocking(false).expect("a stream");
    stream.set_read_timeout(Some(LOOK)).expect("a timeout");
    let (mut text, mut buffer) = (Vec::new(), [0; 8192]);
    while !shared.is_over() {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => text.extend_from_slice(&buffer[..n]),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return,
        }
        while let Some(message) = next(&mut text) {
            if !message.is_request() {
                continue;
            }
            shared.requests.lock().expect("no panic").push(message.clone());
            if let Some(answer) = shared.answer(&message)
                && stream.write_all(answer.bytes()).is_err()
            {
                return;
            }
        }
    }
}

/// The first whole message of a stream.
fn next(text: &mut Vec<u8>) -> Option<Message> {
    let end = text.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let whole = end + length.unwrap_or(0);
    if text.len() < whole {
        return None;
    }
    let bytes: Vec<u8> = text.drain(..whole).collect();
    Message::parse(bytes.into()).ok()
}

/// An element of XML.
#[derive(Debug, Default, Clone)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Vec<(String, String)>,
    /// Its text.
    pub text: String,
    /// What is in it.
    pub children: Vec<Element>,
}

impl Element {
    /// Parses a document; its root.
    pub fn parse(xml: &str) -> Self {
        use quick_xml::events::{BytesStart, Event};
        let begin = |start: &BytesStart<'_>| {
            let attributes = start.attributes().map(|attribute| {
                let attribute = attribute.expect("an attribute");
                let value = quick_xml::escape::unescape(&attribute.value).expect("entities");
                (attribute.key.as_ref().to_owned(), value.into_owned())
            });
            let name = start.name().as_ref().to_owned();
            Self { name, attributes: attributes.collect(), ..Self::default() }
        };
        let mut reader = quick_xml::Reader::from_str(xml);
        let mut open = vec![Self::default()];
        loop {
            let (done, here) = match reader.read_event().expect("well-formed") {
                Event::Start(start) => {
                    open.push(begin(&start));
                    continue;
                }
                Event::Empty(start) => (Some(begin(&start)), open.last_mut()),
                Event::End(_) => (open.pop(), open.last_mut()),
                Event::Text(text) => {
                    open.last_mut().expect("a root").text.push_str(text.trim());
                    continue;
                }
                Event::Eof => break,
                _ => continue,
            };
            here.expect("a root").children.extend(done);
        }
        open.pop().and_then(|mut top| top.children.pop()).expect("a root")
    }

    /// Its children of this name.
    pub fn all(&self, name: &str) -> Vec<&Self> {
        self.children.iter().filter(|child| child.name == name).collect()
    }

    /// An attribute.
    pub fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("{name} of {self:?}")).1
    }
}
