//! A very small phone: SIP over one UDP socket, as RFC 3261 has it and no more. It says and hears
//! nothing. Hundreds of them fit into one story, and each byte they send can be changed.
//!
//! ```text
//!   let mut bob = Handset::at(&story, "bob", addr);  bob.register();
//!   thread: bob.serve_until(&stop, answer)           what comes in, and what is said to it
//!   let outcome = alice.invite(&story.address("bob"), "");      challenge, ACKs, repetitions
//!   alice.hang_up(&mut outcome.talk)
//! ```

use crate::story::{DOMAIN, Story};
use sip::digest::{self, Challenge};
use sip::{HeaderName, Message};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// RFC 3261 §17.1.1.2.
const T1: Duration = Duration::from_millis(500);
/// How often a server's phone looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// A description of one PCMA stream. Nobody listens there.
pub const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n";

/// A phone.
#[derive(Debug)]
pub struct Handset<'t> {
    socket: UdpSocket,
    local: SocketAddr,
    user: String,
    password: String,
    name: String,
    number: u32,
    patience: Duration,
    /// The last request that was sent.
    sent: String,
    /// Where everything goes that it receives.
    tap: Option<&'t Mutex<Vec<u8>>>,
}

/// A dialog, as its caller sees it.
#[derive(Debug, Clone)]
pub struct Talk {
    call: String,
    from: String,
    to: String,
    target: String,
    routes: String,
    cseq: u32,
}

/// Stops phones that serve when it goes, also in a panic: their threads would be waited for.
#[derive(Debug)]
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How an INVITE ended.
#[derive(Debug)]
pub struct Outcome {
    /// Everything but 100 and challenges that came before.
    pub provisional: Vec<Message>,
    /// The final response; none in time.
    pub last: Option<Message>,
    /// The dialog, if it was answered.
    pub talk: Option<Talk>,
}

impl Talk {
    /// The dialog that a 200 makes (RFC 3261 §12.1.2).
    pub(crate) fn of(ok: &Message) -> Option<Self> {
        let text = |name: HeaderName<'_>| ok.header_str(name).map(String::from);
        let contact = text(HeaderName::CONTACT)?;
        let target = contact.split_once('<')?.1.split_once('>')?.0.to_string();
        let mut routes: Vec<&[u8]> = ok.values(HeaderName::RECORD_ROUTE).collect();
        routes.reverse();
        let line = |route: &&[u8]| format!("Route: {}\r\n", String::from_utf8_lossy(route));
        Some(Self {
            call: text(HeaderName::CALL_ID)?,
            from: text(HeaderName::FROM)?,
            to: text(HeaderName::TO)?,
            target,
            routes: routes.iter().map(line).collect(),
            cseq: text(HeaderName::CSEQ)?.split(' ').next()?.parse().ok()?,
        })
    }

    /// Its BYE comes right after the INVITE: the number is the next one.
    pub(crate) fn next(mut self) -> Self {
        self.cseq += 1;
        self
    }

    /// A request of it.
    pub(crate) fn request(&self, method: &str, via: &str, lines: &str) -> String {
        let Self { call, from, to, target, routes, cseq } = self;
        format!(
            "{method} {target} SIP/2.0\r\n{via}Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {call}\r\nCSeq: {cseq} {method}\r\n{routes}{lines}Content-Length: 0\r\n\r\n"
        )
    }
}

impl Outcome {
    /// The final status, 0 for silence.
    pub fn status(&self) -> u16 {
        self.last.as_ref().and_then(Message::status).unwrap_or(0)
    }
}

impl<'t> Handset<'t> {
    /// A phone of `user` at an address of its own.
    pub fn at(story: &Story, user: &str, local: SocketAddr) -> Self {
        let server = SocketAddr::new(story.place.server_ip(), story.place.sip());
        Self::between(story, user, local, server)
    }

    /// The same towards any server.
    pub fn between(story: &Story, user: &str, local: SocketAddr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(local).unwrap_or_else(|e| panic!("{user} at {local}: {e}"));
        socket.connect(server).expect("a way to the server");
        let local = socket.local_addr().expect("bound");
        Self {
            socket,
            local,
            user: user.into(),
            password: story.password(user),
            name: String::new(),
            number: 0,
            patience: Duration::from_secs(8),
            sent: String::new(),
            tap: None,
        }
    }

    /// Waits so long for a final response.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A part of its Call-IDs: phones of one user on one port must not have the same.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// Writes down every byte it receives.
    pub fn tapped(mut self, tap: &'t Mutex<Vec<u8>>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Where it is.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Its socket: others go on with what it registered.
    pub fn into_socket(self) -> UdpSocket {
        self.socket
    }

    /// The last request it sent, as it was sent.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// REGISTER, with the challenge: the final status, 0 for silence.
    pub fn register(&mut self) -> u16 {
        self.register_changed(|text| text)
    }

    /// The same, each REGISTER changed before it is sent.
    pub fn register_changed(&mut self, change: impl Fn(String) -> String) -> u16 {
        let own = format!("{}@{DOMAIN}", self.user);
        let lines = format!("Contact: <sip:{}@{}>\r\nExpires: 300\r\n", self.user, self.local);
        let uri = format!("sip:{DOMAIN}");
        let (last, _) = self.ask_with("REGISTER", (&uri, &own), (&lines, ""), change);
        last.and_then(|m| m.status()).unwrap_or(0)
    }

    /// A request outside of a dialog, with the challenge.
    pub fn message(&mut self, method: &str, callee: &str, lines: &str) -> Option<Message> {
        let uri = format!("sip:{callee}");
        self.ask_with(method, (&uri, callee), (lines, ""), |text| text).0
    }

    /// INVITE, with the challenge and the ACK.
    pub fn invite(&mut self, callee: &str, lines: &str) -> Outcome {
        let contact = format!("Contact: <sip:{}@{}>\r\n{lines}", self.user, self.local);
        self.invite_with(callee, &contact, |text| text)
    }

    /// The same, each INVITE changed before it is sent.
    pub fn invite_changed(&mut self, callee: &str, change: impl Fn(String) -> String) -> Outcome {
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.user, self.local);
        self.invite_with(callee, &contact, change)
    }

    fn invite_with(
        &mut self,
        callee: &str,
        contact: &str,
        change: impl Fn(String) -> String,
    ) -> Outcome {
        let uri = format!("sip:{callee}");
        let (last, provisional) = self.ask_with("INVITE", (&uri, callee), (contact, SDP), change);
        let mut talk = last.as_ref().filter(|m| m.status() == Some(200)).and_then(Talk::of);
        if let Some(talk) = &mut talk {
            self.acknowledge(talk);
        }
        Outcome { provisional, last, talk }
    }

    /// BYE: the final status, 0 for silence.
    pub fn hang_up(&mut self, talk: &mut Talk) -> u16 {
        self.inside(talk, "BYE", "").and_then(|m| m.status()).unwrap_or(0)
    }

    /// INVITE in a dialog with a description, and its ACK.
    pub fn reinvite(&mut self, talk: &mut Talk, sdp: &str) -> Option<Message> {
        talk.cseq += 1;
        let contact = format!("Contact: <sip:{}@{}>\r\n", self.user, self.local);
        let text = with_body(&self.in_dialog(talk, "INVITE", &contact), sdp);
        let (last, _) = self.transact(&text);
        if last.as_ref().is_some_and(|m| m.status() == Some(200)) {
            self.acknowledge(talk);
        }
        last
    }

    /// A request in a dialog.
    pub fn inside(&mut self, talk: &mut Talk, method: &str, lines: &str) -> Option<Message> {
        talk.cseq += 1;
        let text = self.in_dialog(talk, method, lines);
        self.transact(&text).0
    }

    /// Answers what comes in with what `say` makes of it, until it is to stop. Requests that come
    /// again get the same answers.
    pub fn serve_until(
        &mut self,
        stop: &AtomicBool,
        mut say: impl FnMut(&Message) -> Vec<Message>,
    ) {
        self.socket.set_read_timeout(Some(LOOK)).expect("a timeout");
        let mut open: Vec<Pending> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let got = self.receive();
            self.repeat(&mut open);
            let Some(request) = got.filter(Message::is_request) else { continue };
            let key = key(&request);
            if request.method().is_some_and(|m| m.as_str() == "ACK") {
                open.retain(|p| p.key.0 != key.0);
                continue;
            }
            if let Some(known) = open.iter().find(|p| p.key == key) {
                self.send(&known.answer);
                continue;
            }
            for answer in say(&request) {
                self.send(answer.bytes());
                let is_invite = request.method().is_some_and(|m| m.as_str() == "INVITE");
                if is_invite && answer.status().is_some_and(|s| s >= 200) {
                    let answer = answer.bytes().to_vec();
                    open.push(Pending { key: key.clone(), answer, at: Instant::now(), left: 8 });
                }
            }
        }
    }

    fn repeat(&self, open: &mut Vec<Pending>) {
        open.retain(|p| p.left > 0);
        for pending in open.iter_mut().filter(|p| p.at.elapsed() > T1) {
            (pending.at, pending.left) = (Instant::now(), pending.left - 1);
            self.send(&pending.answer);
        }
    }

    /// A request, once more with credentials where it is challenged; the final response and the
    /// provisional ones.
    fn ask_with(
        &mut self,
        method: &str,
        (uri, to): (&str, &str),
        (lines, body): (&str, &str),
        change: impl Fn(String) -> String,
    ) -> (Option<Message>, Vec<Message>) {
        self.number += 1;
        let (user, port) = (&self.user, self.local.port());
        let call = format!("{user}-{port}-{}-{}", self.name, self.number);
        let first = change(self.request(method, (uri, to), (&call, 1), (lines, body)));
        let (challenged, provisional) = self.transact(&first);
        let headers = ["WWW-Authenticate", "Proxy-Authenticate"];
        let value = challenged.as_ref().and_then(|challenged| {
            headers.iter().find_map(|name| challenged.header(*name)).map(<[u8]>::to_vec)
        });
        let Some(value) = value else { return (challenged, provisional) };
        let proxy = challenged.is_some_and(|m| m.status() == Some(407));
        let lines = format!("{}{lines}", self.credentials(&value, proxy, method, uri));
        let again = change(self.request(method, (uri, to), (&call, 2), (&lines, body)));
        self.transact(&again)
    }

    fn credentials(&self, value: &[u8], proxy: bool, method: &str, uri: &str) -> String {
        let credentials = credentials(value, (&self.user, &self.password), method, uri);
        let credentials = credentials.expect("a challenge we know");
        format!("{}Authorization: {credentials}\r\n", if proxy { "Proxy-" } else { "" })
    }

    fn request(
        &self,
        method: &str,
        (uri, to): (&str, &str),
        (call, cseq): (&str, u32),
        (lines, body): (&str, &str),
    ) -> String {
        let (user, via) = (&self.user, self.via(&format!("{call}-{cseq}")));
        format!(
            "{method} {uri} SIP/2.0\r\n{via}Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag={call}\
             \r\nTo: <sip:{to}>\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n{lines}{}",
            end(body)
        )
    }

    fn in_dialog(&mut self, talk: &Talk, method: &str, lines: &str) -> String {
        self.number += 1;
        let branch = format!("{}-{}-{}", talk.call, talk.cseq, self.number);
        talk.request(method, &self.via(&branch), lines)
    }

    fn via(&self, branch: &str) -> String {
        // Call-IDs may have more letters than a branch.
        let keep = |c: &char| c.is_ascii_alphanumeric() || "-._%".contains(*c);
        let branch: String = branch.chars().filter(keep).collect();
        format!("Via: SIP/2.0/UDP {};branch=z9hG4bK{branch};rport\r\n", self.local)
    }

    /// ACK of a 2xx.
    fn acknowledge(&mut self, talk: &Talk) {
        let ack = self.in_dialog(talk, "ACK", "");
        self.send(ack.as_bytes());
    }

    /// Sends a request until its final response comes; acknowledges failures of INVITE.
    fn transact(&mut self, text: &str) -> (Option<Message>, Vec<Message>) {
        self.sent = text.to_string();
        let own = read(text.as_bytes()).as_ref().map(key);
        let (end, mut again) = (Instant::now() + self.patience, T1);
        let (mut provisional, mut repeat) = (Vec::new(), Instant::now());
        let is_invite = text.starts_with("INVITE");
        while Instant::now() < end {
            if repeat <= Instant::now() && (provisional.is_empty() || !is_invite) {
                self.send(text.as_bytes());
                repeat = Instant::now() + again;
                again = (again * 2).min(8 * T1);
            }
            let left = repeat.max(Instant::now() + Duration::from_millis(1)).min(end);
            let left = left.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            let Some(message) = self.receive() else { continue };
            if message.is_request() || Some(key(&message)) != own {
                continue;
            }
            match message.status() {
                Some(100..200) => provisional.push(message),
                status => {
                    if is_invite && status.is_some_and(|s| s >= 300) {
                        self.send(failure_ack(text, &message).as_bytes());
                    }
                    provisional.retain(|m| m.status() != Some(100));
                    return (Some(message), provisional);
                }
            }
        }
        (None, provisional)
    }

    fn receive(&self) -> Option<Message> {
        let mut buffer = [0; 8_192];
        let n = self.socket.recv(&mut buffer).ok()?;
        if let Some(tap) = self.tap {
            tap.lock().expect("no panic").extend_from_slice(&buffer[..n]);
        }
        read(&buffer[..n])
    }

    fn send(&self, bytes: &[u8]) {
        // A full buffer of the kernel is a lost datagram; both are repeated.
        let _ = self.socket.send(bytes);
    }
}

/// A final response to an INVITE whose ACK has not come yet.
struct Pending {
    key: (Vec<u8>, Vec<u8>),
    answer: Vec<u8>,
    at: Instant,
    left: u32,
}

/// What most phones say: they ring and answer calls, and agree to everything else. For those that
/// are reached by the flow of their registration, whatever their Contact says.
pub fn answer(request: &Message) -> Vec<Message> {
    answer_at(request, SocketAddr::from(([127, 0, 0, 1], 9)))
}

/// The same with a Contact that others can reach.
pub fn answer_at(request: &Message, contact: SocketAddr) -> Vec<Message> {
    let say = |status| sip::response_to(request, status, "").to_tag("handset").record_route();
    let contact = &format!("<sip:handset@{contact}>");
    match request.method().map(|m| m.as_str().to_string()).as_deref() {
        Some("INVITE") => {
            let ok = say(200).header("Contact", contact).body("application/sdp", SDP);
            vec![say(180).header("Contact", contact).build(), ok.build()]
        }
        _ => vec![say(200).build()],
    }
}

/// A message, also one that is broken: stories send and provoke those.
fn read(bytes: &[u8]) -> Option<Message> {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    Message::parse(bytes.clone()).ok().or_else(|| Message::parse_lenient(bytes))
}

/// What answers the best challenge of a header's value.
pub(crate) fn credentials(
    value: &[u8],
    (user, password): (&str, &str),
    method: &str,
    uri: &str,
) -> Option<String> {
    let challenge = Challenge::choose(digest::challenges(value))?;
    let realm = challenge.realm().into_owned();
    let ha1 = digest::ha1(challenge.algorithm()?, user.as_bytes(), &realm, password.as_bytes());
    let (method, uri) = (method.as_bytes(), uri.as_bytes());
    let answer =
        digest::Answer { username: user, ha1: &ha1, method, uri, cnonce: "0a4f113b", nc: 1 };
    digest::answer(&challenge, &answer)
}

/// Call-ID and CSeq: what tells the transactions of one small phone apart.
fn key(message: &Message) -> (Vec<u8>, Vec<u8>) {
    let of = |name: HeaderName<'_>| message.header(name).unwrap_or_default().to_vec();
    (of(HeaderName::CALL_ID), of(HeaderName::CSEQ))
}

/// ACK of a failure: in the transaction of its INVITE (RFC 3261 §17.1.1.3).
pub(crate) fn failure_ack(invite: &str, failure: &Message) -> String {
    let to = failure.header(HeaderName::TO).unwrap_or_default();
    let keep = |line: &&str| {
        ["Via:", "From:", "Call-ID:", "Max-Forwards:", "Route:"].iter().any(|n| line.starts_with(n))
    };
    let kept: String = invite.lines().filter(keep).map(|line| format!("{line}\r\n")).collect();
    let uri = invite.split(' ').nth(1).unwrap_or_default();
    let cseq = invite.lines().find(|line| line.starts_with("CSeq:")).unwrap_or_default();
    format!(
        "ACK {uri} SIP/2.0\r\n{kept}To: {}\r\n{}\r\nContent-Length: 0\r\n\r\n",
        String::from_utf8_lossy(to),
        cseq.replace("INVITE", "ACK"),
    )
}

/// A request with another description, for [`Handset::invite_changed`].
pub fn with_body(request: &str, sdp: &str) -> String {
    let (head, _) = request.split_once("\r\n\r\n").expect("a head");
    let keep = |line: &&str| !line.starts_with("Content-");
    let kept: String = head.lines().filter(keep).map(|line| format!("{line}\r\n")).collect();
    kept + &end(sdp)
}

fn end(body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}
