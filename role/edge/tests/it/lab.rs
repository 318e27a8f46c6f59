//! Shards, phones and the answers of the other roles, all in one place and one clock.

use bytes::Bytes;
use edge::{
    Answer, CallFacts, Config, ContactLine, Dialler, Directory, EdgeCore, EdgeEvent, Inbound, Keys,
    Listener, Locations, MediaProfile, Note, OutboundTo, Place, Plan, Present, Question, Reach,
    Router, Snapshots, Taken, Target,
};
use net::Datagram;
use sansio::{FlowId, Redacted, SeededEntropy, Transport, WallTime};
use sip::digest::{self, Algorithm, Challenge};
use sip::locate::{Ask, NextHop};
use sip::{HeaderName, Message, Plain};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const DOMAIN: &str = "example.com";

/// Phone number `n` sits at 192.0.2.n:5060 on its own UDP flow of shard `n % shards`.
pub struct Lab {
    pub shards: Vec<EdgeCore>,
    pub events: Vec<EdgeEvent>,
    /// All the bytes each phone ever got.
    pub capture: BTreeMap<u8, Vec<u8>>,
    /// What each phone got, in order.
    pub inbox: BTreeMap<u8, VecDeque<Message>>,
    pub handed: usize,
    pub relay_log: Vec<String>,
    pub refuse_relay: bool,
    pub hold_relay: Vec<(usize, edge::AskId, Question)>,
    pub hold: bool,
    /// Records are not opened until [`Lab::release`].
    pub hold_open: bool,
    /// Questions are lost: nobody ever answers.
    pub lose: bool,
    /// The relay takes offers and refuses answers.
    pub refuse_answers: bool,
    /// What was asked to be written of them.
    pub openings: Vec<edge::CallOpening>,
    /// Calls whose record was asked for.
    pub opened: Vec<u64>,
    world: Arc<Mutex<World>>,
    now: Instant,
    wall: WallTime,
}

#[derive(Default)]
pub struct World {
    /// AoR user -> devices that fork.
    pub devices: BTreeMap<String, Vec<u8>>,
    pub media: BTreeMap<u8, MediaProfile>,
    /// A device that moved: its flow is that of another phone.
    pub moved: BTreeMap<u8, u8>,
    pub shards: u16,
    /// Phones that are not on UDP.
    pub transports: BTreeMap<u8, Transport>,
    /// Devices whose connection broke.
    pub gone: Vec<u8>,
    /// Phones that registered through an edge: their Path.
    pub paths: BTreeMap<u8, String>,
    /// Phones without a binding.
    pub unbound: Vec<u8>,
    /// Users elsewhere: where to look for them, and what the name servers say.
    pub elsewhere: BTreeMap<String, (String, Vec<NextHop>)>,
    /// Whether there is a listener for UDP, TCP, TLS.
    pub cannot_open: Vec<Transport>,
    /// Users and numbers behind peers, in the order to be tried.
    pub behind_peers: BTreeMap<String, Vec<u16>>,
    /// Granted numbers and whose they are.
    pub numbers: BTreeMap<String, String>,
    /// What phones and peers proved by certificate.
    pub proved: BTreeMap<u8, &'static str>,
    /// Connections that stand for next hops.
    pub aliases: Vec<(NextHop, FlowId)>,
}

#[derive(Clone)]
struct Port(Arc<Mutex<World>>);

impl Directory for Port {
    fn is_local(&self, domain: &str) -> bool {
        domain == DOMAIN || domain == "198.51.100.1"
    }
    fn realm(&self, domain: &str) -> Option<std::sync::Arc<str>> {
        self.is_local(domain).then(|| DOMAIN.into())
    }
    fn ha1(&self, realm: &str, user: &str, algorithm: Algorithm) -> Option<Redacted<String>> {
        let known = user.starts_with("user");
        let password = format!("pw-{user}");
        known.then(|| {
            let ha1 =
                digest::ha1(algorithm, user.as_bytes(), realm.as_bytes(), password.as_bytes());
            Redacted::new(ha1)
        })
    }
    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        let owner = self.0.lock().unwrap().numbers.get(number).cloned();
        owner.map(|user| (user, DOMAIN.to_string()))
    }
    fn bearer(&self, token: &str, _: WallTime) -> Option<String> {
        token.strip_prefix("token-of-").map(|user| format!("sip:{user}@{DOMAIN}"))
    }
}

impl Locations for Port {
    fn reach(&self, binding: u64, _: WallTime) -> Option<Reach> {
        let world = self.0.lock().unwrap();
        let device = u8::try_from(binding).ok()?;
        Some(world.reach(world.moved.get(&device).copied().unwrap_or(device)))
    }
    fn binding_on(&self, _: &str, _: FlowId, source: SocketAddr) -> Option<u64> {
        match source {
            SocketAddr::V4(v4) => {
                let n = v4.ip().octets()[3];
                (!self.0.lock().unwrap().unbound.contains(&n)).then_some(u64::from(n))
            }
            SocketAddr::V6(_) => None,
        }
    }
}

impl Router for Port {
    fn plan(&self, facts: &CallFacts<'_>, _: WallTime) -> Plan {
        let world = self.0.lock().unwrap();
        if let Some((uri, _)) = world.elsewhere.get(facts.user) {
            let ask = Ask::of_uri(uri.as_bytes()).unwrap();
            return Plan::Fork(vec![Target {
                uri: uri.clone(),
                reach: world.reach(0),
                binding: 0,
                path: Vec::new(),
                media: MediaProfile::Plain,
                locate: Some(Box::new(ask)),
                peer: None,
            }]);
        }
        if let Some(peers) = world.behind_peers.get(facts.user) {
            let target = |n: &u16| Target {
                uri: format!("sip:{}@{}", facts.user, facts.domain),
                reach: world.reach(0),
                binding: 0,
                path: Vec::new(),
                media: MediaProfile::Plain,
                locate: None,
                peer: Some(*n),
            };
            return Plan::Fork(peers.iter().map(target).collect());
        }
        let Some(devices) = world.devices.get(facts.user) else {
            return Plan::Refuse { status: 404, reason: "Not Found".into() };
        };
        let target = |n: &u8| Target {
            uri: format!("sip:{}@192.0.2.{n}:5060", facts.user),
            reach: world.reach(*n),
            binding: u64::from(*n),
            path: world.paths.get(n).cloned().into_iter().collect(),
            media: world.media.get(n).copied().unwrap_or(MediaProfile::Plain),
            locate: None,
            peer: None,
        };
        Plan::Fork(devices.iter().map(target).collect())
    }
}

impl Dialler for Port {
    fn open(&self, hop: &NextHop) -> Option<Reach> {
        let world = self.0.lock().unwrap();
        if world.cannot_open.contains(&hop.transport) {
            return None;
        }
        let SocketAddr::V4(v4) = hop.addr() else { return None };
        let (n, transport) = (v4.ip().octets()[3], hop.transport);
        Some(Reach { transport, flow: Some(flow(n, 1)), local: local(), peer: hop.addr() })
    }

    fn proved(&self, flow: FlowId) -> Option<Arc<[String]>> {
        let n = u8::try_from(flow.id).ok()?;
        let name = self.0.lock().unwrap().proved.get(&n).copied()?;
        Some([name.to_string()].into())
    }

    fn alias(&self, hop: &NextHop, flow: FlowId) -> bool {
        self.0.lock().unwrap().aliases.push((hop.clone(), flow));
        true
    }
}

pub fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 5060))
}

fn local() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 5060))
}

fn flow(n: u8, shards: u16) -> FlowId {
    FlowId { node: 0, shard: u16::from(n) % shards, id: u64::from(n) }
}

impl World {
    fn reach(&self, n: u8) -> Reach {
        Reach {
            transport: self.transports.get(&n).copied().unwrap_or(Transport::Udp),
            flow: (!self.gone.contains(&n)).then(|| flow(n, self.shards)),
            local: local(),
            peer: address(n),
        }
    }
}

impl Lab {
    pub fn new(shards: u16) -> Self {
        Self::with(shards, Config::default())
    }

    pub fn with(shards: u16, config: Config) -> Self {
        Self::build(shards, config, "198.51.100.1:5060")
    }

    /// One shard, known by another address.
    pub fn advertised(address: &str) -> Self {
        Self::build(1, Config::default(), address)
    }

    fn build(shards: u16, config: Config, address: &str) -> Self {
        let world = Arc::new(Mutex::new(World { shards, ..World::default() }));
        let listener = |transport| Listener { transport, bind: local(), advertise: address.into() };
        let cores = (0..shards).map(|shard| {
            let place = Place {
                node: 0,
                shard,
                shards,
                listeners: vec![listener(Transport::Udp), listener(Transport::Tls)],
            };
            let keys = Keys { nonce: Redacted::new([1; 32]), token: (1, Redacted::new([2; 16])) };
            let port = || Port(Arc::clone(&world));
            let snapshots = Snapshots {
                directory: Box::new(port()),
                locations: Box::new(port()),
                router: Box::new(port()),
            };
            let entropy = Box::new(SeededEntropy::new(u64::from(shard) + 1));
            let core = EdgeCore::new(place, config.clone(), &keys, snapshots, entropy).unwrap();
            core.dialling(Box::new(port()))
        });
        Self {
            shards: cores.collect(),
            events: Vec::new(),
            capture: BTreeMap::new(),
            inbox: BTreeMap::new(),
            handed: 0,
            relay_log: Vec::new(),
            refuse_relay: false,
            hold_relay: Vec::new(),
            hold: false,
            hold_open: false,
            lose: false,
            refuse_answers: false,
            openings: Vec::new(),
            opened: Vec::new(),
            world,
            now: Instant::now(),
            wall: WallTime::from_secs(1_800_000_000),
        }
    }

    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A user with devices.
    pub fn user(&mut self, user: &str, devices: &[u8]) {
        self.world().devices.insert(user.into(), devices.to_vec());
    }

    /// Phone `n` sends; everything that follows at this instant happens.
    pub fn send(&mut self, n: u8, message: impl AsRef<[u8]>) {
        let shards = self.shards.len() as u16;
        self.send_by(n, flow(n, shards), message);
    }

    /// A stranger at `peer` sends to shard 0; what is answered comes into the inbox of `n`.
    pub fn send_from(&mut self, n: u8, peer: SocketAddr, message: impl AsRef<[u8]>) {
        let message = Bytes::copy_from_slice(message.as_ref());
        let (flow, transport) = (flow(n, 1), Transport::Udp);
        let at = self.present();
        let inbound = Inbound { flow, transport, local: local(), peer, message };
        self.shards[0].handle_received(at, inbound);
        self.settle();
    }

    /// Phone `n` sends by the short way if its message can go there, and by the long one otherwise.
    pub fn send_plain(&mut self, n: u8, message: &str) -> Taken {
        let taken = self.hold_plain(n, message);
        match taken {
            Taken::No => self.send(n, message),
            Taken::Answered | Taken::Bind => {
                self.shards[0].release_held();
                self.settle();
            }
        }
        taken
    }

    /// As far as the answer, which is held.
    pub fn hold_plain(&mut self, n: u8, message: &str) -> Taken {
        let bytes = message.as_bytes();
        let Some(plain) = Plain::read(bytes) else { return Taken::No };
        let flow = flow(n, self.shards.len() as u16);
        let datagram = Datagram { flow, local: local(), peer: address(n), message: bytes };
        let at = self.present();
        let taken = self.shards[0].handle_plain(at, &datagram, &plain);
        if taken == Taken::Bind {
            // As `answer` does.
            let parsed = Message::parse(Bytes::copy_from_slice(bytes)).unwrap();
            let contact = text(parsed.header(HeaderName::CONTACT));
            let lines = format!("Contact: {contact}\r\n");
            self.shards[0].hold_ok(at, &datagram, &plain, &lines);
        }
        taken
    }

    pub fn send_by(&mut self, n: u8, flow: FlowId, message: impl AsRef<[u8]>) {
        let inbound = Inbound {
            flow,
            transport: self.world().transports.get(&n).copied().unwrap_or(Transport::Udp),
            local: local(),
            peer: address(n),
            message: Bytes::copy_from_slice(message.as_ref()),
        };
        let shard = match net::branch_owner(top_branch(message.as_ref())) {
            Some((_, owner)) if message.as_ref().starts_with(b"SIP/2.0") => owner,
            _ => flow.shard,
        };
        let at = self.present();
        self.shards[usize::from(shard)].handle_received(at, inbound);
        self.settle();
    }

    /// A user behind the domain of `uri`, which the name servers place at these hops.
    pub fn elsewhere(&mut self, user: &str, uri: &str, hops: &[(Transport, u8)]) {
        let hop = |(transport, n): &(Transport, u8)| NextHop::literal(*transport, address(*n));
        let hops = hops.iter().map(hop).collect();
        self.world().elsewhere.insert(user.into(), (uri.into(), hops));
    }

    pub fn note(&mut self, shard: usize, note: Note) {
        let at = self.present();
        self.shards[shard].handle_note(at, note);
        self.settle();
    }

    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let due = self.shards.iter_mut().filter_map(EdgeCore::poll_timeout).min();
            let Some(due) = due.filter(|d| *d <= end) else { break };
            let step = due.saturating_duration_since(self.now);
            self.now += step;
            self.wall = self.wall + step;
            let at = self.present();
            for shard in &mut self.shards {
                shard.handle_timeout(at);
            }
            self.settle();
        }
        self.wall = self.wall + (end - self.now);
        self.now = end;
    }

    /// The next message phone `n` got.
    pub fn next(&mut self, n: u8) -> Message {
        self.inbox
            .entry(n)
            .or_default()
            .pop_front()
            .unwrap_or_else(|| panic!("phone {n} got nothing"))
    }

    pub fn is_empty(&self, n: u8) -> bool {
        self.inbox.get(&n).is_none_or(VecDeque::is_empty)
    }

    /// How many times an end of a call was told, and the last cause.
    pub fn ended(&self) -> Vec<&'static str> {
        let cause = |e: &EdgeEvent| match e {
            EdgeEvent::CallEnded { cause, .. } => Some(cause.as_str()),
            _ => None,
        };
        self.events.iter().filter_map(cause).collect()
    }

    pub fn release_relay(&mut self) {
        self.hold = false;
        self.hold_open = false;
        for (shard, id, question) in std::mem::take(&mut self.hold_relay) {
            self.answer(shard, id, question);
        }
        self.settle();
    }

    /// A connection breaks.
    pub fn close(&mut self, n: u8) {
        self.world().gone.push(n);
        let at = self.present();
        let flow = flow(n, self.shards.len() as u16);
        self.shards[usize::from(flow.shard)].handle_flow_closed(at, flow);
        self.settle();
    }

    /// Requests, questions and deadlines the shards hold now.
    pub fn under_way(&self) -> usize {
        self.shards.iter().map(|shard| shard.under_way()).sum()
    }

    /// Long after the last call ended nothing may be left of it, in any map.
    pub fn assert_nothing_left(&mut self) {
        self.advance(Duration::from_secs(700));
        for shard in &self.shards {
            assert_eq!((shard.calls_open(), shard.calls_tracked()), (0, 0));
            assert_eq!(shard.under_way(), 0, "something leaks");
        }
    }

    /// The next message phone `n` got that has this status or method.
    pub fn find(&mut self, n: u8, what: &str) -> Message {
        loop {
            let message = self.next(n);
            let status = message.status().map(|s| s.to_string());
            let method = message.method().map(|m| m.as_str().to_string());
            if status.or(method).as_deref() == Some(what) {
                return message;
            }
        }
    }

    fn present(&self) -> Present {
        Present { now: self.now, wall: self.wall }
    }

    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for shard in 0..self.shards.len() {
                while let Some((to, note)) = self.shards[shard].poll_note() {
                    idle = false;
                    self.handed += 1;
                    let at = self.present();
                    self.shards[usize::from(to)].handle_note(at, note);
                }
                while let Some((id, question)) = self.shards[shard].poll_ask() {
                    idle = false;
                    let held = match question {
                        Question::Relay(_) => self.hold,
                        Question::OpenCall(_) => self.hold_open,
                        Question::Register(_) | Question::Locate(_) => false,
                    };
                    if let Question::OpenCall(opening) = &question {
                        self.opened.push(opening.call);
                        self.openings.push(opening.clone());
                    }
                    if self.lose {
                        continue;
                    }
                    if held {
                        self.hold_relay.push((shard, id, question));
                    } else {
                        self.answer(shard, id, question);
                    }
                }
                while let Some(event) = self.shards[shard].poll_event() {
                    self.events.push(event);
                }
                while let Some(out) = self.shards[shard].poll_transmit() {
                    idle = false;
                    let n = match out.to {
                        OutboundTo::Flow(flow) => flow.id as u8,
                        OutboundTo::Udp { peer: SocketAddr::V4(v4), .. } => v4.ip().octets()[3],
                        OutboundTo::Udp { .. } => unreachable!("the lab is IPv4"),
                    };
                    let sent = out.message.clone();
                    self.capture.entry(n).or_default().extend_from_slice(&sent);
                    let parsed = Message::parse(out.message.clone())
                        .ok()
                        .or_else(|| Message::parse_lenient(out.message));
                    let Some(message) = parsed else {
                        // An answer to what could not be read repeats what could not be read.
                        let text = String::from_utf8_lossy(&sent);
                        assert!(text.starts_with("SIP/2.0 400"), "what we send is SIP: {text}");
                        continue;
                    };
                    self.inbox.entry(n).or_default().push_back(message);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn answer(&mut self, shard: usize, id: edge::AskId, question: Question) {
        let at = self.present();
        let answer = match question {
            Question::Register(ask) => {
                let contact = ask.message.header(HeaderName::CONTACT).unwrap_or_default();
                let line = String::from_utf8_lossy(contact).into_owned();
                Answer::Registered(Ok(vec![ContactLine(line)]))
            }
            Question::OpenCall(_) => Answer::Opened(Ok(())),
            Question::Locate(ask) => {
                let world = self.world();
                let asked = |(uri, _): &&(String, Vec<NextHop>)| uri.contains(&ask.host);
                let known = world.elsewhere.values().find(asked).map(|(_, hops)| hops.clone());
                let none = || edge::Refusal::new(404, "No Such Domain");
                Answer::Located(known.filter(|hops| !hops.is_empty()).ok_or_else(none))
            }
            Question::Relay(ask) => {
                let (kind, d) = match ask {
                    edge::RelayAsk::Offer(d) => ("offer", d),
                    edge::RelayAsk::Answer(d) => ("answer", d),
                    passing @ (edge::RelayAsk::Digit(_) | edge::RelayAsk::Record(_)) => {
                        self.relay_log.push(match passing {
                            edge::RelayAsk::Record(wish) => format!("{wish:?}"),
                            edge::RelayAsk::Digit(digit) => format!("{digit:?}"),
                            _ => unreachable!("one of the two"),
                        });
                        let refusal = edge::Refusal::new(501, "Digits Pass");
                        let done = if self.refuse_relay { Err(refusal) } else { Ok(Bytes::new()) };
                        return self.shards[shard].handle_answer(at, id, Answer::Relayed(done));
                    }
                    edge::RelayAsk::Trickle(trickle) => {
                        self.relay_log.push(format!("{trickle:?}"));
                        let taken = match &trickle.fragment[..] {
                            fragment if fragment.starts_with(b"a=ice-ufrag:lost") => {
                                Err(edge::Refusal::new(488, "Not Acceptable Here"))
                            }
                            _ if self.refuse_relay => Err(edge::Refusal::new(501, "Passes")),
                            _ => Ok(Bytes::new()),
                        };
                        return self.shards[shard].handle_answer(at, id, Answer::Relayed(taken));
                    }
                };
                let side = if d.from_caller { "caller" } else { "callee" };
                self.relay_log.push(format!("{kind} from {side} branch {}", d.branch));
                if self.refuse_relay || (self.refuse_answers && kind == "answer") {
                    Answer::Relayed(Err(edge::Refusal {
                        status: 503,
                        reason: "No Media Ports Left".into(),
                        headers: vec![],
                    }))
                } else {
                    let via = format!("a=relayed:{kind}-{}-{:?}\r\n", d.branch, d.toward);
                    Answer::Relayed(Ok([&d.sdp[..], via.as_bytes()].concat().into()))
                }
            }
        };
        self.shards[shard].handle_answer(at, id, answer);
    }
}

fn top_branch(message: &[u8]) -> &[u8] {
    let text = std::str::from_utf8(message).unwrap_or_default();
    let at = text.find("branch=").map_or(text.len(), |at| at + 7);
    let rest = &text.as_bytes()[at..];
    rest.split(|b| matches!(b, b';' | b'\r' | b',')).next().unwrap_or_default()
}

/// A request of phone `n` as `user`, with extra header lines.
pub fn request(method: &str, n: u8, user: &str, to: &str, extra: &str) -> String {
    let attempt = if extra.contains("uthorization") { 2 } else { 1 };
    let via = format!("z9hG4bK{method}{n}{attempt}");
    format!(
        "{method} {to} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{n}:5060;branch={via};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=from{n}\r\nTo: <{to}>\r\n\
         Call-ID: call-{n}\r\nCSeq: {} {method}\r\nContact: <sip:{user}@192.0.2.{n}:5060>\r\n\
         User-Agent: Lab/1\r\n{extra}",
        attempt,
    )
}

/// Header lines and body of an offer.
pub fn with_sdp(headers: &str) -> String {
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
               m=audio 4000 RTP/AVP 0\r\n";
    format!("{headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

pub const EMPTY: &str = "Content-Length: 0\r\n\r\n";

/// The credentials line that answers a 401 or 407.
pub fn credentials(challenge: &Message, method: &str, uri: &str, user: &str, pass: &str) -> String {
    let (header, name) = match challenge.status() {
        Some(401) => (HeaderName::WWW_AUTHENTICATE, "Authorization"),
        Some(407) => (HeaderName::PROXY_AUTHENTICATE, "Proxy-Authorization"),
        other => panic!("not a challenge: {other:?}"),
    };
    let offered = challenge.headers(header).flat_map(digest::challenges);
    let chosen = Challenge::choose(offered).expect("a challenge we can answer");
    let realm = chosen.realm().into_owned();
    let ha1 = digest::ha1(chosen.algorithm().unwrap(), user.as_bytes(), &realm, pass.as_bytes());
    let answer = digest::Answer {
        username: user,
        ha1: &ha1,
        method: method.as_bytes(),
        uri: uri.as_bytes(),
        cnonce: "abc",
        nc: 1,
    };
    format!("{name}: {}\r\n", digest::answer(&chosen, &answer).unwrap())
}

impl Lab {
    /// Phone `n` invites with good credentials; its 100 is taken off.
    pub fn invite(&mut self, n: u8, user: &str, to: &str) {
        self.invite_with(n, user, to, with_sdp);
        let trying = self.next(n);
        assert_eq!(trying.status(), Some(100), "{trying:?}");
        assert_eq!(trying.to_tag(), None, "the tag is for the final");
    }

    /// Phone `n` invites with good credentials, and header lines and body from `rest`.
    pub fn invite_with(&mut self, n: u8, user: &str, to: &str, rest: impl Fn(&str) -> String) {
        self.send(n, request("INVITE", n, user, to, &rest("")));
        let challenge = self.next(n);
        let ack = format!(
            "ACK {to} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=from{n}\r\n\
             To: {}\r\nCall-ID: call-{n}\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
            text(challenge.header(HeaderName::VIA)),
            text(challenge.header(HeaderName::TO)),
        );
        self.send(n, ack);
        let auth = credentials(&challenge, "INVITE", to, user, &format!("pw-{user}"));
        self.send(n, request("INVITE", n, user, to, &rest(&auth)));
    }

    /// Phone `n` registers `user` by its connection.
    pub fn register(&mut self, n: u8, user: &str) {
        let build = |extra: &str| {
            request("REGISTER", n, user, "sip:example.com", extra)
                .replace("To: <sip:example.com>", &format!("To: <sip:{user}@{DOMAIN}>"))
        };
        self.send(n, build(EMPTY));
        let challenge = self.find(n, "401");
        let password = format!("pw-{user}");
        let auth = credentials(&challenge, "REGISTER", "sip:example.com", user, &password);
        self.send(n, build(&format!("{auth}{EMPTY}")));
        self.find(n, "200");
    }
}

pub fn text(value: Option<&[u8]>) -> String {
    String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
}

/// A response of phone `n` to a request it got, with its Contact and maybe an answer.
pub fn respond(n: u8, request: &Message, status: u16, sdp: bool) -> String {
    let response = sip::response_to(request, status, sip::reason_phrase(status))
        .to_tag(&format!("to{n}"))
        .record_route()
        .header(HeaderName::CONTACT, format!("<sip:phone{n}@192.0.2.{n}:5060>"));
    let built = match sdp {
        true => response.body("application/sdp", "v=0\r\nm=audio 5000 RTP/AVP 0\r\n").build(),
        false => response.build(),
    };
    String::from_utf8(built.bytes().to_vec()).unwrap()
}
