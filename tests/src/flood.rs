//! The hostile: threads that send what scanners, guessers and flooders send, from many addresses
//! of loopback, at a steady rate, and read nothing.

use crate::story::{DOMAIN, Story};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a batch is sent.
const TICK: Duration = Duration::from_millis(1);
/// Behind the schedule by more than this, the sender gives up what it missed.
const BEHIND_MAX: u64 = 20_000;

/// What a source sends.
#[derive(Debug, Clone, Copy)]
pub enum Malice {
    /// Bytes that are no SIP, and SIP that is broken.
    Malformed,
    /// OPTIONS by a scanner of that name.
    Scanner,
    /// REGISTER of random users with made-up credentials.
    Guess,
    /// INVITE to a user that exists, each a call of its own, without credentials.
    Invite,
}

/// All of them.
pub const MALICE: [Malice; 4] = [Malice::Malformed, Malice::Scanner, Malice::Guess, Malice::Invite];

/// A flood under way.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    began: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Starts `rate` messages a second from `sources`, each with a malice of its own.
    pub fn start(story: &Story, rate: u64, sources: &[(Ipv4Addr, Malice)]) -> Self {
        let to = SocketAddr::new(story.place.server_ip(), story.place.sip());
        let socket = |ip: Ipv4Addr| {
            let socket = UdpSocket::bind((IpAddr::V4(ip), 0)).expect("an address of loopback");
            socket.connect(to).expect("loopback");
            // What does not fit is lost, as it would be on the way.
            socket.set_nonblocking(true).expect("a socket");
            socket
        };
        let sources: Vec<_> = sources.iter().map(|(ip, malice)| (socket(*ip), *malice)).collect();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || send(&sources, rate, &stopped, &count));
        Self { stop, sent, began: Instant::now(), threads: vec![thread] }
    }

    /// Messages handed to the kernel so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; messages, and messages a second, that were really sent.
    pub fn end(mut self) -> (u64, f64) {
        let lasted = self.began.elapsed().as_secs_f64();
        let sent = self.sent();
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("the sender does not panic");
        }
        (sent, sent as f64 / lasted)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(sources: &[(UdpSocket, Malice)], rate: u64, stop: &AtomicBool, count: &AtomicU64) {
    let (began, mut due_from, mut n) = (Instant::now(), 0_u64, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_micros() as u64 * rate / 1_000_000;
        due_from = due_from.max(due.saturating_sub(BEHIND_MAX));
        while due_from < due {
            let (socket, malice) = &sources[(n % sources.len() as u64) as usize];
            let local = socket.local_addr().expect("bound");
            if socket.send(&message(*malice, n, local)).is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
            (n, due_from) = (n + 1, due_from + 1);
        }
        std::thread::sleep(TICK);
    }
}

fn message(malice: Malice, n: u64, local: SocketAddr) -> Vec<u8> {
    let (method, agent, more) = match malice {
        Malice::Malformed if n.is_multiple_of(3) => return vec![b'A' + (n % 26) as u8; 300],
        Malice::Malformed => return b"INVITE sip:\x01@ SIP/2.0\r\nVia: ???\r\n\r\n".to_vec(),
        Malice::Scanner => ("OPTIONS", "friendly-scanner", String::new()),
        Malice::Guess => {
            let made_up = format!(
                "Authorization: Digest username=\"u{n}\", realm=\"{DOMAIN}\", nonce=\"{n:032x}\", \
                 uri=\"sip:{DOMAIN}\", response=\"{n:032x}\", algorithm=MD5\r\n\
                 Contact: <sip:u{n}@{local}>\r\n"
            );
            ("REGISTER", "Phone/1.0", made_up)
        }
        Malice::Invite => ("INVITE", "Phone/1.0", format!("Contact: <sip:x@{local}>\r\n")),
    };
    let (uri, user) = match malice {
        Malice::Guess => (format!("sip:{DOMAIN}"), format!("u{n}")),
        _ => (format!("sip:g000@{DOMAIN}"), format!("g{:03}", n % 200)),
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKh{n};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag={n}\r\nTo: <{uri}>\r\n\
         Call-ID: hostile-{n}@{local}\r\nCSeq: 1 {method}\r\nUser-Agent: {agent}\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}
