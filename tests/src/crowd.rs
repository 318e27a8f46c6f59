//! Very many whole calls (INVITE, challenge, INVITE, 180, 200, ACK, BYE, 200), callers and callees
//! both: so many under way at a time, or so many begun each second whatever becomes of the others.

use crate::handset::{Handset, SDP, Talk, answer, credentials, failure_ack};
use crate::story::{DOMAIN, Story};
use sip::{HeaderName, Message};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Addresses that callers come from.
const SOCKETS: usize = 16;
/// Phones that are called.
const CALLEES: usize = 16;
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Calls begun in one go at most: answers must be heard in between.
const BATCH: u64 = 50;

/// How they come.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many are under way.
    Window(usize),
    /// So many begin each second.
    Rate(f64),
}

/// What became of them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counted {
    /// Begun.
    pub offered: u64,
    /// Ended by a BYE and its 200, in time.
    pub good: u64,
    /// Answered 503.
    pub refused: u64,
    /// Ended with any other status.
    pub failed: u64,
    /// For how long this was counted.
    pub seconds: f64,
}

impl Counted {
    /// Good calls a second.
    pub fn goodput(&self) -> f64 {
        self.good as f64 / self.seconds
    }
}

/// The phones.
#[derive(Debug)]
pub struct Crowd {
    callers: Vec<UdpSocket>,
    callees: Vec<UdpSocket>,
    /// Names and passwords.
    users: Vec<(String, String)>,
    next: u64,
    open: HashMap<u64, Open>,
}

/// A call under way: since when, and its last INVITE.
#[derive(Debug)]
struct Open {
    begun: Instant,
    invite: String,
}

impl Crowd {
    /// Phones of these users; the first few are called, the others call.
    pub fn new(story: &Story, users: &[String]) -> Self {
        let server = SocketAddr::new(story.place.server_ip(), story.place.sip());
        let at = |net: u8, n: usize| {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, net, 0, 1 + n as u8)), 0)
        };
        let ready = |socket: UdpSocket| {
            socket.connect(server).expect("loopback");
            socket.set_nonblocking(true).expect("a socket");
            socket
        };
        let bind = |n| UdpSocket::bind(at(72, n)).expect("an address of loopback");
        let callee = |n: usize| {
            let mut phone = Handset::at(story, &users[n], at(73, n));
            assert_eq!(phone.register(), 200, "a phone that is to be called");
            phone.into_socket()
        };
        Self {
            callers: (0..SOCKETS).map(bind).map(ready).collect(),
            callees: (0..CALLEES).map(callee).map(ready).collect(),
            users: users.iter().map(|user| (user.clone(), story.password(user))).collect(),
            next: 0,
            open: HashMap::new(),
        }
    }

    /// Lets them come for so long; counts what ends after `settle`.
    pub fn run(&mut self, pace: Pace, settle: Duration, lasts: Duration) -> Counted {
        let (began, first) = (Instant::now(), self.next);
        let (mut counted, mut looked) = (Counted::default(), began);
        while began.elapsed() < settle + lasts {
            let mut now = Counted::default();
            let due = match pace {
                Pace::Window(most) => most.saturating_sub(self.open.len()) as u64,
                Pace::Rate(rate) => {
                    let due = (began.elapsed().as_secs_f64() * rate) as u64;
                    due.saturating_sub(self.next - first)
                }
            };
            for _ in 0..due.min(BATCH) {
                self.begin();
                now.offered += 1;
            }
            let heard = self.hear(&mut now) + self.pick_up();
            if looked.elapsed() > Duration::from_millis(50) {
                self.open.retain(|_, call| call.begun.elapsed() < PATIENCE);
                looked = Instant::now();
            }
            if due == 0 && heard == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
            if began.elapsed() >= settle {
                counted.offered += now.offered;
                counted.good += now.good;
                counted.refused += now.refused;
                counted.failed += now.failed;
            }
        }
        counted.seconds = lasts.as_secs_f64();
        counted
    }

    fn begin(&mut self) {
        let n = self.next;
        self.next += 1;
        let invite = self.invite(n, 1, "");
        self.open.insert(n, Open { begun: Instant::now(), invite });
    }

    fn caller(&self, n: u64) -> &UdpSocket {
        &self.callers[(n % SOCKETS as u64) as usize]
    }

    fn invite(&self, n: u64, cseq: u32, lines: &str) -> String {
        let (callee, _) = &self.users[(n % CALLEES as u64) as usize];
        let (user, _) = self.owner(n);
        let local = self.caller(n).local_addr().expect("bound");
        let text = format!(
            "INVITE sip:{callee}@{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch=z9hG4bK{n}-{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{DOMAIN}>;tag={n}\r\nTo: <sip:{callee}@{DOMAIN}>\r\n\
             Call-ID: crowd-{n}\r\nCSeq: {cseq} INVITE\r\nContact: <sip:{user}@{local}>\r\n{lines}\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        );
        self.send(n, &text);
        text
    }

    /// Whose call it is.
    fn owner(&self, n: u64) -> &(String, String) {
        let callers = &self.users[CALLEES..];
        &callers[(n % callers.len() as u64) as usize]
    }

    fn send(&self, n: u64, text: &str) {
        // What the kernel does not take is lost, as it would be on the way.
        let _ = self.caller(n).send(text.as_bytes());
    }

    /// Everything that has come to callers; how much it was.
    fn hear(&mut self, counted: &mut Counted) -> usize {
        let (mut buffer, mut heard) = ([0; 4_096], 0);
        for at in 0..SOCKETS {
            while let Ok(n) = self.callers[at].recv(&mut buffer) {
                heard += 1;
                if buffer[..n].starts_with(b"SIP/2.0 1") {
                    continue;
                }
                let message = Message::parse(bytes::Bytes::copy_from_slice(&buffer[..n]));
                let Ok(message) = message else { continue };
                let id = message.header_str(HeaderName::CALL_ID).and_then(|call| {
                    call.strip_prefix("crowd-")?.parse().ok().filter(|n| self.open.contains_key(n))
                });
                if let Some(id) = id {
                    self.step(id, &message, counted);
                }
            }
        }
        heard
    }

    fn step(&mut self, n: u64, message: &Message, counted: &mut Counted) {
        let is_bye = message.header_str(HeaderName::CSEQ).is_some_and(|c| c.ends_with("BYE"));
        match message.status().unwrap_or(0) {
            200 if is_bye => {
                counted.good += 1;
                self.open.remove(&n);
            }
            200 => {
                let Some(talk) = Talk::of(message) else { return };
                let local = self.caller(n).local_addr().expect("bound");
                let via =
                    |b: &str| format!("Via: SIP/2.0/UDP {local};branch=z9hG4bK{n}{b};rport\r\n");
                self.send(n, &talk.request("ACK", &via("a"), ""));
                self.send(n, &talk.next().request("BYE", &via("b"), ""));
            }
            status => {
                if is_bye {
                    counted.failed += 1;
                    self.open.remove(&n);
                    return;
                }
                self.failed(n, status, message, counted);
            }
        }
    }

    fn failed(&mut self, n: u64, status: u16, message: &Message, counted: &mut Counted) {
        let Some(open) = self.open.get(&n) else { return };
        self.send(n, &failure_ack(&open.invite, message));
        let value = message.header("Proxy-Authenticate").filter(|_| status == 407);
        let (user, password) = self.owner(n);
        let uri = open.invite.split(' ').nth(1).unwrap_or_default();
        let proof = value.and_then(|v| credentials(v, (user, password), "INVITE", uri));
        if let Some(proof) = proof.filter(|_| open.invite.contains("CSeq: 1 ")) {
            let invite = self.invite(n, 2, &format!("Proxy-Authorization: {proof}\r\n"));
            let begun = open.begun;
            self.open.insert(n, Open { begun, invite });
            return;
        }
        match status {
            503 => counted.refused += 1,
            _ => counted.failed += 1,
        }
        self.open.remove(&n);
    }

    /// Everything that has come to those who are called.
    fn pick_up(&self) -> usize {
        let (mut buffer, mut heard) = ([0; 4_096], 0);
        for callee in &self.callees {
            while let Ok(n) = callee.recv(&mut buffer) {
                heard += 1;
                if buffer[..n].starts_with(b"ACK ") {
                    continue;
                }
                let message = Message::parse(bytes::Bytes::copy_from_slice(&buffer[..n]));
                let Some(request) = message.ok().filter(Message::is_request) else { continue };
                for answer in answer(&request) {
                    let _ = callee.send(answer.bytes());
                }
            }
        }
        heard
    }
}
