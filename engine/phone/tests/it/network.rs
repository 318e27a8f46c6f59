//! A phone, its server with an ICE-lite relay, and a TURN server, in virtual time.

use bytes::Bytes;
use ice::stun::{Builder, Class, Message as Stun};
use ice::turn::{Login, attribute, method};
use ice::{Lite, LiteEvent};
use media::traversal::{StreamEvent, TraversalConfig, TurnServer};
use phone::{
    Account, CallHandle, Config, Link, NetworkId, Phone, PhoneEvent, PhoneOutput, RememberedPair,
    WayOutput,
};
use sansio::{Redacted, SeededEntropy, Transport, WallTime};
use sip::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub const RTT: Duration = Duration::from_millis(80);
const LOCAL: &str = "192.168.1.2:4000";
const SIP: &str = "198.51.100.1:5060";
pub const TURN: &str = "198.51.100.1:3478";
const FAR: &str = "198.51.100.1:30000";
const MAPPED: &str = "203.0.113.1:50000";
const RELAYED: &str = "198.51.100.1:40000";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub enum Packet {
    Sip(Bytes),
    Datagram(SocketAddr, Vec<u8>),
    Stream(u8, StreamEvent),
}

/// What the network lets through.
#[derive(Clone, Copy)]
pub struct Lets {
    /// Datagrams to the far end.
    pub media: bool,
    /// The TURN server's answers to datagrams.
    pub turn: bool,
}

/// A phone, its server with an ICE-lite relay, and a TURN server: all 40 ms away.
pub struct World {
    pub phone: Phone,
    pub now: Instant,
    /// The second TURN server is one by a stream.
    pub streams: bool,
    pub lets: Lets,
    /// The far end hears nobody that it was not told of.
    pub picky: bool,
    pub count: u64,
    pub flight: BTreeMap<(Instant, u64), Packet>,
    pub lite: Lite,
    /// Where the lender's channel leads.
    pub channel: Option<SocketAddr>,
    pub heard: Option<Instant>,
    pub known: Option<bool>,
    pub kept: Vec<RememberedPair>,
    pub offer: String,
    /// From, To and Call-ID of the far end's requests.
    pub dialog: String,
    /// What the relay says of trickling, in its stream.
    pub says: &'static str,
    /// The last call that came in.
    pub incoming: Option<CallHandle>,
    /// Via and CSeq of the phone's last INVITE.
    pub via: String,
    pub cseq: String,
    /// Bodies of INFO, and when they left.
    pub infos: Vec<(Instant, String)>,
    /// Answers of the phone's: status line, Warning, body.
    pub answers: Vec<Message>,
    /// Checks that went to anywhere else.
    pub elsewhere: Vec<SocketAddr>,
}

impl World {
    pub fn new(turn: &[Transport], lets: Lets) -> Self {
        let account = Account {
            user: "alice".into(),
            domain: "example.com".into(),
            password: Redacted::new("secret".into()),
            display_name: String::new(),
            instance: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into(),
        };
        let now = sansio::testing::epoch();
        let codecs = vec![audio::CodecKind::Pcmu];
        let wall = Some((now, WallTime::from_secs(1_000_000)));
        let config = Config { codecs, wall, ..Config::default() };
        let mut phone = Phone::new(account, config, Box::new(SeededEntropy::new(1)));
        let link = Link { transport: Transport::Udp, local: addr(LOCAL), server: addr(SIP) };
        phone.handle_link_up(now, link);
        phone.set_network(now, NetworkId("home".into()));
        let login = Login { user: "alice".into(), password: "secret".into() };
        let server = |t: &Transport| TurnServer {
            addr: addr(TURN),
            transport: *t,
            login: login.clone(),
            cost_ms: 0,
        };
        let streams = turn.len() > 1;
        let turn = turn.iter().map(server).collect();
        phone.set_ice(
            now,
            Some(TraversalConfig { turn, trickle: true, ..TraversalConfig::default() }),
        );
        let lite = Lite::new("ffff", "far-password-of-22-characters");
        let (flight, kept) = (BTreeMap::new(), Vec::new());
        let (count, channel, heard, known) = (0, None, None, None);
        let offer = String::new();
        Self {
            phone,
            now,
            streams,
            lets,
            picky: false,
            count,
            flight,
            lite,
            channel,
            heard,
            known,
            kept,
            offer,
            dialog: String::new(),
            says: "",
            incoming: None,
            via: String::new(),
            cseq: String::new(),
            infos: Vec::new(),
            answers: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    pub fn later(&mut self, after: Duration, packet: Packet) {
        self.count += 1;
        self.flight.insert((self.now + after, self.count), packet);
    }

    pub fn collect(&mut self) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) => self.sip(bytes),
                PhoneOutput::SendMedia { to, bytes, .. } => self.datagram(to, &bytes),
                PhoneOutput::Way { output, .. } => match output {
                    WayOutput::Send { to, bytes } => self.datagram(to, &bytes),
                    WayOutput::OpenStream { server, .. } => {
                        self.later(RTT, Packet::Stream(server, StreamEvent::Up));
                    }
                    WayOutput::Stream { server, bytes } => {
                        for answer in self.lender(&bytes, true) {
                            let event = StreamEvent::Bytes(answer.into());
                            self.later(RTT, Packet::Stream(server, event));
                        }
                    }
                    WayOutput::CloseStream { .. } => {}
                },
                PhoneOutput::Event(PhoneEvent::Heard { .. }) => {
                    self.heard.get_or_insert(self.now);
                }
                PhoneOutput::Event(PhoneEvent::WaySelected { known, .. }) => {
                    self.known = Some(known);
                }
                PhoneOutput::Event(PhoneEvent::PairsLearned) => {
                    self.kept = self.phone.remembered_pairs(self.now);
                }
                PhoneOutput::Event(PhoneEvent::Incoming { call, .. }) => self.incoming = Some(call),
                PhoneOutput::Event(_) => {}
            }
        }
    }

    pub fn sip(&mut self, bytes: Bytes) {
        let Ok(request) = Message::parse(bytes) else { return };
        if !request.is_request() {
            return self.answers.push(request);
        }
        let ok = sip::response_to(&request, 200, "OK").to_tag("far");
        let ok = ok.header(sip::HeaderName::CONTACT, "<sip:far@198.51.100.1>");
        let answer = match request.method() {
            Some(sip::Method::INVITE) => {
                self.offer = String::from_utf8_lossy(request.body()).into_owned();
                let header = |name| request.header_str(name).unwrap_or_default().to_owned();
                (self.via, self.cseq) =
                    (header(sip::HeaderName::VIA), header(sip::HeaderName::CSEQ));
                self.dialog = format!(
                    "From: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\n",
                    header(sip::HeaderName::TO),
                    header(sip::HeaderName::FROM),
                    header(sip::HeaderName::CALL_ID)
                );
                let ufrag = self.offer.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:"));
                self.lite = Lite::new("ffff", "far-password-of-22-characters");
                self.lite.set_remote(ufrag.expect("ICE is offered"), "");
                let sdp = "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\n\
                     t=0 0\r\na=ice-lite\r\nm=audio 30000 RTP/AVP 0\r\na=rtcp-mux\r\n\
                     a=ice-ufrag:ffff\r\na=ice-pwd:far-password-of-22-characters\r\n\
                     a=candidate:1 1 UDP 2130706431 198.51.100.1 30000 typ host\r\n\
                     a=end-of-candidates\r\n";
                ok.body("application/sdp", format!("{sdp}{}", self.says)).build()
            }
            Some(sip::Method::INFO) => {
                let body = String::from_utf8_lossy(request.body()).into_owned();
                self.infos.push((self.now, body));
                ok.build()
            }
            Some(sip::Method::BYE) => ok.build(),
            _ => return,
        };
        self.later(RTT, Packet::Sip(Bytes::copy_from_slice(answer.bytes())));
    }

    pub fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        if to == addr(TURN) && self.lets.turn {
            for answer in self.lender(bytes, false) {
                self.later(RTT, Packet::Datagram(to, answer));
            }
        } else if to == addr(FAR) && self.lets.media {
            for answer in self.far(addr(MAPPED), bytes) {
                self.later(RTT, Packet::Datagram(to, answer));
            }
        } else if to != addr(TURN) && to != addr(FAR) {
            self.elsewhere.push(to);
        }
    }

    /// The same of its answers.
    pub fn dialog_of_answers(&self) -> String {
        let mut lines = self.dialog.lines();
        let of = |line: Option<&str>, name| {
            line.and_then(|l| l.strip_prefix(name)).unwrap_or("").to_owned()
        };
        let (to, from) = (of(lines.next(), "From: "), of(lines.next(), "To: "));
        format!("From: {from}\r\nTo: {to}\r\n{}\r\n", lines.next().unwrap_or_default())
    }

    /// A request of the far end's inside the call that began last.
    pub fn inside(&mut self, method: &str, headers: &str, body: &str) {
        let text = format!(
            "{method} sip:alice@{LOCAL} SIP/2.0\r\nVia: SIP/2.0/UDP {SIP};branch=z9hG4bK{}\r\n\
             Max-Forwards: 70\r\n{}CSeq: {} {method}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.count,
            self.dialog,
            100 + self.count,
            body.len()
        );
        self.later(Duration::ZERO, Packet::Sip(text.into()));
    }

    /// The relay: answers checks, and sends sound as soon as one was good.
    pub fn far(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        let told = |at: SocketAddr| self.offer.contains(&format!(" {} {} typ", at.ip(), at.port()));
        if self.picky && from == addr(RELAYED) && !told(from) {
            return Vec::new();
        }
        let mut answer = Vec::new();
        if self.lite.handle(self.now, from, bytes, &mut answer) == LiteEvent::Ignored {
            return Vec::new();
        }
        let mut sound =
            vec![0x80, 0, (self.count >> 8) as u8, self.count as u8, 0, 0, 0, 0, 1, 2, 3, 4];
        sound.extend([0xff; 160]);
        vec![answer, sound]
    }

    pub fn lender(&mut self, bytes: &[u8], stream: bool) -> Vec<Vec<u8>> {
        if let Some((number, data)) = ice::turn::channel_data(bytes) {
            if self.channel != Some(addr(FAR)) {
                return Vec::new();
            }
            let inner = bytes[data].to_vec();
            let wrap = |data: Vec<u8>| {
                let mut out = ice::turn::channel_header(number, data.len() as u16).to_vec();
                out.extend(&data);
                if stream {
                    out.resize(out.len().next_multiple_of(4), 0);
                }
                out
            };
            return self.far(addr(RELAYED), &inner).into_iter().map(wrap).collect();
        }
        let message = Stun::parse(bytes).unwrap();
        let begin = |class| {
            Builder::answer(Vec::new(), (message.method(), class), message.transaction_id())
        };
        if !message.has_integrity() {
            let error =
                begin(Class::Error).error(401, "").attribute(attribute::REALM, b"example.org");
            return vec![error.attribute(attribute::NONCE, b"nonce").finish_bare()];
        }
        let good = begin(Class::Success).attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
        let good = match message.method() {
            method::ALLOCATE => good
                .xor_address(attribute::XOR_RELAYED_ADDRESS, addr(RELAYED))
                .xor_mapped_address(addr(MAPPED)),
            method::CHANNEL_BIND => {
                self.channel = message.xor_address(attribute::XOR_PEER_ADDRESS);
                good
            }
            _ => good,
        };
        vec![good.finish(&KEY)]
    }

    pub fn run(&mut self, duration: Duration, call: Option<CallHandle>) {
        let end = self.now + duration;
        loop {
            self.collect();
            let arrival = self.flight.keys().next().map(|(at, _)| *at);
            let next = [self.phone.poll_timeout(), arrival].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.flight.first_entry().filter(|e| e.key().0 <= self.now) {
                match (entry.remove(), call) {
                    (Packet::Sip(bytes), _) => self.phone.handle_sip(self.now, bytes),
                    (Packet::Datagram(from, bytes), Some(call)) => {
                        self.phone.handle_media(self.now, call, from, &bytes);
                    }
                    (Packet::Datagram(from, bytes), None) => {
                        self.phone.handle_prepared(self.now, from, &bytes);
                    }
                    (Packet::Stream(server, event), _) => {
                        self.phone.handle_stream(self.now, addr(LOCAL), server, event);
                    }
                }
            }
            self.phone.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// From the wish to call until the far end is heard.
    pub fn call(&mut self) -> Duration {
        (self.heard, self.known) = (None, None);
        let began = self.now;
        let local = self.phone.prepared(self.now).unwrap_or_else(|| addr(LOCAL));
        let call = self.phone.call(self.now, "bob", local).unwrap();
        self.run(Duration::from_secs(10), Some(call));
        let took = self.heard.expect("it is heard") - began;
        self.phone.hang_up(self.now, call).unwrap();
        self.run(Duration::from_secs(1), Some(call));
        took
    }

    /// Five seconds in which nothing passes, or as many as have what was prepared `gone` with them.
    pub fn outage(&mut self, gone: bool) {
        let lets = std::mem::replace(&mut self.lets, Lets { media: false, turn: false });
        self.phone.handle_link_down(self.now);
        if self.streams {
            self.phone.handle_stream(self.now, addr(LOCAL), 1, StreamEvent::Down);
        }
        self.run(Duration::from_secs(5), None);
        if gone {
            // .. and so long that no translator knows the socket any more.
            self.run(Duration::from_secs(600), None);
        }
        self.lets = lets;
        let link = Link { transport: Transport::Udp, local: addr(LOCAL), server: addr(SIP) };
        self.phone.handle_link_up(self.now, link);
        self.phone.set_network(self.now, NetworkId("home".into()));
        assert_eq!(self.phone.prepared(self.now).is_none(), gone);
    }
}

/// MD5 of `alice:example.org:secret`.
const KEY: [u8; 16] = [
    0x54, 0x3e, 0x1a, 0xec, 0x5d, 0x36, 0x14, 0xf0, 0x31, 0x41, 0x65, 0x2d, 0x6a, 0xda, 0x51, 0xb2,
];
