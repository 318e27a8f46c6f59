//! Phones, a forking server between them that holds no state, a registrar, and a clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audio::{PLAYOUT_FRAME, Tone};
use bytes::Bytes;
use phone::{Account, CallHandle, Cause, Config, Link, Phone, PhoneEvent, PhoneOutput};
use sansio::{Entropy, Redacted, SeededEntropy, Transport};
use sip::digest::{self, Algorithm, ChallengeBuilder, Credentials};
use sip::{HeaderName, Message, Method, SipUri, response_to};

const DELAY: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(20);
/// Longer than a call rings that nobody answers (120 s), and its transaction lives after that
/// (64*T1, Timer D): a mangled copy of an INVITE may ring after everybody has hung up.
pub const LINGER: Duration = Duration::from_secs(170);
/// Where the scripted peer of a test lives.
pub const SCRIPT: &str = "203.0.113.9:5060";

pub fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub type Lose = Box<dyn FnMut(usize, &Message) -> bool>;

pub struct World {
    pub now: Instant,
    pub phones: Vec<Phone>,
    pub links: Vec<Link>,
    pub events: Vec<Vec<PhoneEvent>>,
    pub registrar: Registrar,
    /// What came for the scripted peer.
    pub script: Vec<Message>,
    /// In percent, of datagrams: media, and SIP over UDP.
    pub loss: u64,
    /// In percent, of SIP messages that get a few bytes changed on their way.
    pub mangled: u64,
    /// Loses what a test wants lost: (sending phone, message).
    pub lose: Lose,
    /// What each phone says while `sound` is on, and what it heard.
    pub voices: Vec<Option<Tone>>,
    pub heard: Vec<Vec<i16>>,
    pub sound: bool,
    /// Whether the server asks for proxy credentials in calls.
    pub challenges_calls: bool,
    /// Whether the link of each phone works.
    pub connected: Vec<bool>,
    ports: BTreeMap<SocketAddr, (usize, Option<CallHandle>)>,
    in_flight: BTreeMap<(Instant, u64), Packet>,
    next_tick: Instant,
    sent: u64,
    dice: SeededEntropy,
}

enum Packet {
    Sip { to: usize, bytes: Bytes },
    Media { to: SocketAddr, from: SocketAddr, bytes: Bytes },
}

/// A registrar that can be strict.
#[derive(Default)]
pub struct Registrar {
    pub password: Option<&'static str>,
    pub refuse: Option<u16>,
    pub min_expires: u32,
    pub grant: Option<u32>,
    /// Each REGISTER that was granted: when, and for how long.
    pub granted: Vec<(Instant, u32)>,
    /// Every REGISTER.
    pub seen: usize,
    nonces: u32,
}

impl World {
    pub fn new(seed: u64, transport: Transport, users: &[&str]) -> Self {
        Self::with_config(seed, transport, users, &Config::default())
    }

    pub fn with_config(seed: u64, transport: Transport, users: &[&str], config: &Config) -> Self {
        let now = sansio::testing::epoch();
        let mut world = Self {
            now,
            phones: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            registrar: Registrar::default(),
            script: Vec::new(),
            loss: 0,
            mangled: 0,
            lose: Box::new(|_, _| false),
            voices: Vec::new(),
            heard: Vec::new(),
            sound: false,
            challenges_calls: false,
            connected: Vec::new(),
            ports: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_tick: now,
            sent: 0,
            dice: SeededEntropy::new(seed),
        };
        for user in users {
            world.add_phone(seed, transport, user, config.clone());
        }
        world
    }

    pub fn add_phone(&mut self, seed: u64, transport: Transport, user: &str, config: Config) {
        let n = self.phones.len() as u8;
        let account = Account {
            user: user.into(),
            domain: "example.com".into(),
            password: Redacted::new("secret".into()),
            display_name: String::new(),
            instance: format!("urn:uuid:00000000-0000-0000-0000-00000000000{n}"),
        };
        let entropy = Box::new(SeededEntropy::new(seed * 100 + u64::from(n)));
        let mut phone = Phone::new(account, config, entropy);
        let link = Link {
            transport,
            local: SocketAddr::from(([192, 0, 2, 10 + n], 5060)),
            server: SocketAddr::from(([198, 51, 100, 1], 5060)),
        };
        phone.handle_link_up(self.now, link);
        self.phones.push(phone);
        self.links.push(link);
        self.events.push(Vec::new());
        self.voices.push(None);
        self.heard.push(Vec::new());
        self.connected.push(true);
        self.collect();
    }

    /// A command to a phone, and what it wants sent for it.
    pub fn tell<T>(&mut self, phone: usize, command: impl FnOnce(&mut Phone, Instant) -> T) -> T {
        let told = command(&mut self.phones[phone], self.now);
        self.collect();
        told
    }

    pub fn call(&mut self, phone: usize, target: &str) -> CallHandle {
        let local = self.new_port(phone);
        let call = self.tell(phone, |p, now| p.call(now, target, local)).expect("a call");
        self.ports.insert(local, (phone, Some(call)));
        call
    }

    pub fn answer(&mut self, phone: usize) -> CallHandle {
        let call = self.incoming(phone).expect("a call came");
        let local = self.new_port(phone);
        self.ports.insert(local, (phone, Some(call)));
        self.tell(phone, |p, now| p.answer(now, call, local)).expect("answered");
        call
    }

    /// Media before the answer.
    pub fn progress(&mut self, phone: usize) -> CallHandle {
        let call = self.incoming(phone).expect("a call came");
        let local = self.new_port(phone);
        self.ports.insert(local, (phone, Some(call)));
        self.tell(phone, |p, now| p.progress_with_media(now, call, local)).expect("early media");
        call
    }

    /// Goes where the other side of a call sends the phone.
    pub fn follow(&mut self, phone: usize) -> CallHandle {
        let asked = self.events[phone].iter().rev().find_map(|e| match e {
            PhoneEvent::TransferRequested { call, .. } => Some(*call),
            _ => None,
        });
        let (call, local) = (asked.expect("a transfer"), self.new_port(phone));
        let next = self.tell(phone, |p, now| p.follow_transfer(now, call, local)).expect("a call");
        self.ports.insert(local, (phone, Some(next)));
        next
    }

    /// Phone 0 calls phone 1, which answers after a second. Gives both handles.
    pub fn connect(&mut self) -> [CallHandle; 2] {
        let caller = self.call(0, "bob");
        self.run(seconds(1));
        let callee = self.answer(1);
        self.run(seconds(1));
        assert!(self.phones[0].is_talking(caller) && self.phones[1].is_talking(callee));
        [caller, callee]
    }

    fn new_port(&mut self, phone: usize) -> SocketAddr {
        let port = 4000 + 2 * self.ports.len() as u16;
        let addr = SocketAddr::new(self.links[phone].local.ip(), port);
        self.ports.insert(addr, (phone, None));
        addr
    }

    /// The last call that came in.
    pub fn incoming(&self, phone: usize) -> Option<CallHandle> {
        self.events[phone].iter().rev().find_map(|e| match e {
            PhoneEvent::Incoming { call, .. } => Some(*call),
            _ => None,
        })
    }

    /// Why a phone's calls ended.
    pub fn ended(&self, phone: usize) -> Vec<Cause> {
        let cause = |e: &PhoneEvent| match e {
            PhoneEvent::Ended { cause, .. } => Some(*cause),
            _ => None,
        };
        self.events[phone].iter().filter_map(cause).collect()
    }

    pub fn count(&self, phone: usize, is_it: impl Fn(&PhoneEvent) -> bool) -> usize {
        self.events[phone].iter().filter(|e| is_it(e)).count()
    }

    /// Lets everything die out and asserts that nothing is left (no leaks).
    pub fn assert_clean(&mut self) {
        self.sound = false;
        self.run(LINGER);
        for (n, phone) in self.phones.iter().enumerate() {
            assert!(phone.is_idle(), "phone {n} still has something: {:?}", self.events[n]);
        }
    }

    /// Gives a phone a message of the scripted peer.
    pub fn inject(&mut self, to: usize, message: &Message) {
        let bytes = message.bytes().clone();
        self.put(Packet::Sip { to, bytes });
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.phones.iter_mut().filter_map(Phone::poll_timeout).min();
            let packet = self.in_flight.keys().next().map(|(at, _)| *at);
            let tick = self.sound.then_some(self.next_tick);
            let next = [timers, packet, tick].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
        self.next_tick = self.next_tick.max(end);
    }

    fn step(&mut self) {
        while let Some(((at, n), packet)) = self.in_flight.pop_first() {
            if at > self.now {
                self.in_flight.insert((at, n), packet);
                break;
            }
            self.deliver(packet);
        }
        if self.sound && self.next_tick <= self.now {
            self.next_tick += TICK;
            self.hear_and_say();
        }
        for phone in &mut self.phones {
            if phone.poll_timeout().is_some_and(|at| at <= self.now) {
                phone.handle_timeout(self.now);
            }
        }
        self.collect();
    }

    fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Sip { to, bytes } if self.connected[to] => {
                self.phones[to].handle_sip(self.now, bytes);
            }
            Packet::Media { to, from, bytes } => {
                let rtp = SocketAddr::new(to.ip(), to.port() & !1);
                if let Some((phone, Some(call))) = self.ports.get(&rtp).copied() {
                    self.phones[phone].handle_media(self.now, call, from, &bytes);
                }
            }
            Packet::Sip { .. } => {}
        }
        self.collect();
    }

    fn hear_and_say(&mut self) {
        let calls: Vec<(usize, CallHandle)> =
            self.ports.values().filter_map(|(phone, call)| Some((*phone, (*call)?))).collect();
        for (n, call) in calls {
            let mut frame = [0; PLAYOUT_FRAME];
            if let Some(voice) = &mut self.voices[n] {
                voice.fill(&mut frame);
            }
            if self.phones[n].is_talking(call) {
                self.phones[n].capture(self.now, call, &frame);
            }
            self.phones[n].play(self.now, call, &mut frame);
            if self.phones[n].is_talking(call) {
                self.heard[n].extend_from_slice(&frame);
            }
        }
    }

    fn collect(&mut self) {
        for n in 0..self.phones.len() {
            while let Some(output) = self.phones[n].poll_output() {
                match output {
                    PhoneOutput::Event(event) => self.events[n].push(event),
                    PhoneOutput::SendSip(bytes) if self.connected[n] => self.route(n, bytes),
                    PhoneOutput::SendSip(_) | PhoneOutput::Way { .. } => {}
                    PhoneOutput::SendMedia { call, to, bytes, .. } => {
                        let ours = self.ports.iter().find(|(_, v)| **v == (n, Some(call)));
                        let from = ours.map_or(self.links[n].local, |(addr, _)| *addr);
                        if !self.is_lost() {
                            self.put(Packet::Media { to, from, bytes });
                        }
                    }
                }
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.dice.next_u64() % 100 < self.loss
    }

    fn put(&mut self, mut packet: Packet) {
        if let Packet::Sip { bytes, .. } = &mut packet
            && self.dice.next_u64() % 100 < self.mangled
        {
            *bytes = self.mangle(bytes);
        }
        self.sent += 1;
        self.in_flight.insert((self.now + DELAY, self.sent), packet);
    }

    /// Changes, doubles or cuts a few bytes.
    fn mangle(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = bytes.to_vec();
        for _ in 0..=self.dice.next_u64() % 3 {
            let at = (self.dice.next_u64() % out.len() as u64) as usize;
            match self.dice.next_u64() % 4 {
                0 => out[at] = self.dice.next_u64() as u8,
                1 => out[at] = b"0;=<>\r\n:,\" "[at % 11],
                2 => out.insert(at, out[at]),
                _ => drop(out.remove(at)),
            }
        }
        out.into()
    }

    /// The server: sends a message to every phone it is for.
    fn route(&mut self, from: usize, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes) else { return };
        if (self.lose)(from, &message) {
            return;
        }
        if !self.links[from].transport.is_reliable() && self.is_lost() {
            return;
        }
        if message.method() == Some(Method::REGISTER) {
            let answer = self.registrar.answer(self.now, &message);
            return self.reply(from, &answer);
        }
        if self.challenges_calls && is_challenged(&message) {
            let algorithm = Algorithm::Sha256;
            let (realm, nonce) = ("example.com", "calls");
            let challenge =
                ChallengeBuilder { realm, nonce, opaque: None, algorithm, stale: false };
            let answer = response_to(&message, 407, "")
                .to_tag("server")
                .header(HeaderName::PROXY_AUTHENTICATE, challenge.build());
            return self.reply(from, &answer.build());
        }
        let Some((host, user)) = address(&message) else { return };
        if host == SCRIPT {
            self.script.push(message);
            return;
        }
        let ours = |n: &usize| {
            let by_address = self.links[*n].local.to_string() == host;
            by_address || (host == "example.com" && self.phones[*n].account().user == user)
        };
        let targets: Vec<usize> = (0..self.phones.len()).filter(ours).collect();
        if targets.is_empty() && message.is_request() && message.method() != Some(Method::ACK) {
            let answer = response_to(&message, 404, "").to_tag("server").build();
            return self.reply(from, &answer);
        }
        for to in targets {
            if self.links[to].transport.is_reliable() || !self.is_lost() {
                self.put(Packet::Sip { to, bytes: message.bytes().clone() });
            }
        }
    }

    fn reply(&mut self, to: usize, answer: &Message) {
        if self.links[to].transport.is_reliable() || !self.is_lost() {
            self.put(Packet::Sip { to, bytes: answer.bytes().clone() });
        }
    }
}

/// Where a message goes: `host:port` and user. `None` when it was mangled beyond that.
fn address(message: &Message) -> Option<(String, String)> {
    if !message.is_request() {
        let via = message.top_via().ok()?;
        return Some((format!("{}:{}", via.host(), via.port().unwrap_or(5060)), String::new()));
    }
    let uri = SipUri::parse(message.request_uri()).ok()?;
    let user = String::from_utf8_lossy(uri.user().unwrap_or_default()).into_owned();
    let host = match uri.port() {
        Some(port) => format!("{}:{port}", uri.host()),
        None => uri.host().to_string(),
    };
    Some((host, user))
}

impl Registrar {
    fn answer(&mut self, now: Instant, request: &Message) -> Message {
        self.seen += 1;
        let expires = request.expires().expect("Expires");
        let builder = |status| response_to(request, status, "").to_tag("registrar");
        if let Some(status) = self.refuse {
            return builder(status).build();
        }
        if self.password.is_some_and(|password| !is_authentic(request, password)) {
            self.nonces += 1;
            let nonce = format!("nonce{}", self.nonces);
            let algorithm = Algorithm::Sha256;
            let realm = "example.com";
            let challenge =
                ChallengeBuilder { realm, nonce: &nonce, opaque: None, algorithm, stale: false };
            return builder(401).header(HeaderName::WWW_AUTHENTICATE, challenge.build()).build();
        }
        if expires > 0 && expires < self.min_expires {
            let min = self.min_expires.to_string();
            return builder(423).header(HeaderName::MIN_EXPIRES, min).build();
        }
        let granted = self.grant.filter(|_| expires > 0).unwrap_or(expires);
        self.granted.push((now, granted));
        let contact = request.contacts().next().expect("a Contact").expect("readable");
        let uri = String::from_utf8_lossy(contact.uri()).into_owned();
        builder(200).header(HeaderName::CONTACT, format!("<{uri}>;expires={granted}")).build()
    }
}

/// A request of a call that lacks good credentials. CANCEL and ACK cannot be challenged.
fn is_challenged(message: &Message) -> bool {
    let method = message.method();
    let can_be = method.is_some_and(|m| m != Method::ACK && m != Method::CANCEL);
    let value = message.header(HeaderName::PROXY_AUTHORIZATION);
    can_be && !value.is_some_and(|value| is_made_with(message, value, "secret"))
}

fn is_authentic(request: &Message, password: &str) -> bool {
    let value = request.header(HeaderName::AUTHORIZATION);
    value.is_some_and(|value| is_made_with(request, value, password))
}

fn is_made_with(request: &Message, value: &[u8], password: &str) -> bool {
    let Some(credentials) = Credentials::parse(value) else { return false };
    let user = credentials.username();
    let ha1 = digest::ha1(Algorithm::Sha256, &user, b"example.com", password.as_bytes());
    let method = request.method().expect("a request");
    digest::verify(&credentials, method.as_bytes(), &ha1)
}

/// The frequency by zero crossings, in Hz.
pub fn frequency(samples: &[i16]) -> f64 {
    let up: Vec<usize> =
        (1..samples.len()).filter(|i| samples[i - 1] < 0 && samples[*i] >= 0).collect();
    let (Some(first), Some(last)) = (up.first(), up.last()) else { return 0.0 };
    (up.len() - 1) as f64 * 48_000.0 / (last - first).max(1) as f64
}

/// The last second a phone heard.
pub fn last_second(heard: &[i16]) -> &[i16] {
    &heard[heard.len().saturating_sub(48_000)..]
}
