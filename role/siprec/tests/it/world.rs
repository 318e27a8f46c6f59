//! A client, an SRS that answers what the story says, and the time between them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sansio::{SeededEntropy, Transport, WallTime};
use sip::{Message, Method, RequestBuilder, response_to};
use siprec::metadata::Participant;
use siprec::{CallFacts, Client, Config, Event, Link, MediaPort, Offered, Output, Present};

use crate::xml::Element;

pub const CALL: u64 = 77;
const SDP: &str = "v=0\r\no=- 5 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 30000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendonly\r\na=label:1\r\n\
    m=audio 30002 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendonly\r\na=label:2\r\n";
pub const ANSWER: &str = "v=0\r\no=- 9 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0\r\na=recvonly\r\na=label:1\r\n\
    m=audio 40002 RTP/AVP 0\r\na=recvonly\r\na=label:2\r\n";

/// What the relay was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Offer { srtp: bool },
    Answer,
    Rest,
    End,
}

#[derive(Clone, Default)]
pub struct FakeRelay {
    pub told: Arc<Mutex<Vec<Told>>>,
    pub gone: Arc<Mutex<bool>>,
}

impl FakeRelay {
    fn note(&self, told: Told) {
        self.told.lock().unwrap().push(told);
    }
}

impl MediaPort for FakeRelay {
    fn offer(&mut self, _: &CallFacts, srtp: bool) -> Result<Offered, String> {
        self.note(Told::Offer { srtp });
        Ok(Offered { number: 3, sdp: Bytes::from_static(SDP.as_bytes()) })
    }

    fn answer(&mut self, _: u64, number: u32, _: &[u8]) -> Result<(), String> {
        assert_eq!(number, 3);
        self.note(Told::Answer);
        Ok(())
    }

    fn rest(&mut self, _: u64, _: u32) {
        self.note(Told::Rest);
    }

    fn end(&mut self, _: u64, _: u32) {
        self.note(Told::End);
    }

    fn is_open(&mut self, _: u64) -> bool {
        !*self.gone.lock().unwrap()
    }
}

/// The story's stage.
pub struct World {
    pub client: Client,
    pub relay: FakeRelay,
    pub now: Instant,
    pub events: Vec<Event>,
    /// The client gave its connection up.
    pub hung_up: bool,
    seq: u32,
}

impl World {
    /// With `[recording.siprec]` as given, and a connection by TCP.
    pub fn new(config: &str) -> Self {
        let mut world = Self::without_link(config);
        world.link_up(Transport::Tcp, 5061);
        world
    }

    pub fn without_link(config: &str) -> Self {
        let config: Config = toml_of(config);
        let relay = FakeRelay::default();
        let entropy = Box::new(SeededEntropy::new(7));
        let client = Client::new(config, Box::new(relay.clone()), entropy);
        Self {
            client,
            relay,
            now: sansio::testing::epoch(),
            events: Vec::new(),
            hung_up: false,
            seq: 100,
        }
    }

    pub fn link_up(&mut self, transport: Transport, port: u16) {
        let local = ([192, 0, 2, 1], port).into();
        let link = Link { transport, local, peer: ([192, 0, 2, 9], 5060).into() };
        self.client.handle_link_up(self.at(), link);
    }

    pub fn at(&self) -> Present {
        let since = self.now - sansio::testing::epoch();
        let millis = 1_767_225_600_000 + u64::try_from(since.as_millis()).unwrap();
        Present { now: self.now, wall: WallTime::from_millis(millis) }
    }

    /// A call is answered.
    pub fn start(&mut self) {
        let name = "Mallory \"<script>&amp;\u{7}</name>".to_owned();
        let caller = Participant { aor: "sip:mal'lory@example.com".into(), name };
        let callee = Participant { aor: "sip:bob@example.com".into(), name: String::new() };
        let facts = CallFacts {
            call: CALL,
            branch: 1,
            session_id: "ab30317f1a784dc48ff824d0d3715d86".into(),
            participants: [caller, callee],
            answered_at: self.at().wall,
        };
        self.client.start(self.at(), facts);
    }

    /// What was sent since the last time. Events are kept.
    pub fn sent(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(bytes) => sent.push(Message::parse(bytes).unwrap()),
                Output::Event(event) => self.events.push(event),
                Output::HangUp => {
                    self.hung_up = true;
                    self.client.handle_link_down(self.at());
                }
            }
        }
        sent
    }

    /// The one message that was sent.
    pub fn one(&mut self, method: Method<'_>) -> Message {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0].method(), Some(method));
        sent.into_iter().next().unwrap()
    }

    pub fn answer(&mut self, request: &Message, status: u16) {
        self.answer_with(request, status, ANSWER);
    }

    pub fn answer_with(&mut self, request: &Message, status: u16, sdp: &str) {
        let response = response_to(request, status, "")
            .to_tag("srs")
            .header("Contact", "<sip:srs@192.0.2.9:5060;transport=tcp>;+sip.srs");
        let is_invite = request.method() == Some(Method::INVITE);
        let response = match is_invite && (200..300).contains(&status) {
            true => response.body("application/sdp", sdp).build(),
            false => response.build(),
        };
        self.client.handle_message(self.at(), response.bytes().clone());
    }

    /// A request of the SRS in the dialog that `invite` made.
    pub fn ask(
        &mut self,
        invite: &Message,
        method: Method<'_>,
        body: Option<(&str, &str)>,
    ) -> Message {
        self.seq += 1;
        let text = |name: &str| invite.header_str(name).unwrap().to_owned();
        let mut request = RequestBuilder::new(method, "sip:whimbrel@192.0.2.1:5061")
            .header("Via", format!("SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKsrs{}", self.seq))
            .header("Max-Forwards", "70")
            .header("From", format!("{};tag=srs", text("To").split(";tag").next().unwrap()))
            .header("To", text("From"))
            .header("Call-ID", text("Call-ID"))
            .header("CSeq", format!("{} {}", self.seq, method.as_str()))
            .header("Contact", "<sip:srs@192.0.2.9:5060;transport=tcp>");
        if let Some((kind, body)) = body {
            request = request.body(kind, body);
        }
        let request = request.build();
        self.client.handle_message(self.at(), request.bytes().clone());
        request
    }

    /// Lets time pass, step by step.
    pub fn pass(&mut self, seconds: u64) -> Vec<Message> {
        let end = self.now + Duration::from_secs(seconds);
        let mut sent = self.sent();
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.client.handle_timeout(self.at());
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }

    /// A call that the SRS records; its INVITE.
    pub fn recorded(&mut self) -> Message {
        self.start();
        let invite = self.one(Method::INVITE);
        self.answer(&invite, 200);
        self.one(Method::ACK);
        assert_eq!(self.events, [Event::Started { call: CALL }]);
        invite
    }

    pub fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.relay.told.lock().unwrap())
    }
}

/// The metadata of a request, and its description.
pub fn read(request: &Message) -> (Element, sdp::Session) {
    let parts = sip::body::parts(request).expect("two parts");
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[1].header("Content-Type"), Some(b"application/rs-metadata+xml".as_slice()));
    assert_eq!(parts[1].header("Content-Disposition"), Some(b"recording-session".as_slice()));
    let xml = std::str::from_utf8(parts[1].content()).unwrap();
    (Element::parse(xml), sdp::Session::parse(parts[0].content()).unwrap())
}

pub fn directions(request: &Message) -> [sdp::Direction; 2] {
    let (_, sdp) = read(request);
    [sdp.direction_of(0), sdp.direction_of(1)]
}

fn toml_of(text: &str) -> Config {
    let config: Config =
        toml::from_str(&format!("server = 'sip:srs@rec.example'\n{text}")).unwrap();
    config.check().unwrap();
    config
}
