//! R1.1: the torture messages of RFC 4475 and RFC 5118, sent to a running server and to a running
//! phone, and what each is to answer by the RFC's text.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;
use tests::{DOMAIN, Phone, Server, Story};

/// How long a reply may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// A response with this status.
    Status(u16),
    /// Nothing: it is a response, and no transaction waits for it.
    Nothing,
    /// Over TCP nothing, as the message is not complete yet; the connection swallows what follows.
    Incomplete,
    /// Over TCP nothing, and the connection is closed.
    Closed,
}

use Reply::{Closed, Incomplete, Nothing};

const fn status(code: u16) -> Reply {
    Reply::Status(code)
}

/// Challenged: the message was read, and what it asks for needs credentials.
const READ: Reply = status(407);
/// The same for a REGISTER.
const REGISTER: Reply = status(401);
const BAD: Reply = status(400);

/// Name, answer over UDP, answer over TCP where it differs. The server serves the domains of the
/// messages, so that none of them is refused for its addresses alone.
const AT_SERVER: [(&str, Reply, Option<Reply>); 60] = [
    // Inside a dialog that nobody has.
    ("rfc4475/wsinv", status(481), None),
    // Its method is one nobody knows: phones may not send it out of the blue (R2.6).
    ("rfc4475/intmeth", status(405), None),
    ("rfc4475/esc01", READ, None),
    ("rfc4475/escnull", REGISTER, None),
    // Not a REGISTER, whatever its escapes say: a method nobody knows, at the server itself.
    ("rfc4475/esc02", status(405), None),
    ("rfc4475/lwsdisp", READ, None),
    ("rfc4475/longreq", READ, None),
    // One message in a datagram, two on a stream; the second is RFC 2543's kind without Contact.
    ("rfc4475/dblreq", REGISTER, None),
    ("rfc4475/semiuri", READ, None),
    ("rfc4475/transports", READ, None),
    ("rfc4475/mpart01", READ, None),
    ("rfc4475/unreason", Nothing, None),
    ("rfc4475/noreason", Nothing, None),
    ("rfc4475/badinv01", BAD, None),
    ("rfc4475/clerr", BAD, Some(Incomplete)),
    // What cannot be framed ends a stream.
    ("rfc4475/ncl", BAD, Some(Closed)),
    ("rfc4475/scalar02", BAD, None),
    ("rfc4475/scalarlg", Nothing, None),
    ("rfc4475/quotbal", BAD, None),
    ("rfc4475/ltgtruri", BAD, None),
    ("rfc4475/lwsruri", BAD, None),
    ("rfc4475/lwsstart", BAD, None),
    ("rfc4475/trws", BAD, None),
    ("rfc4475/escruri", BAD, None),
    // Only who needs the date may refuse it.
    ("rfc4475/baddate", READ, None),
    ("rfc4475/regbadct", BAD, None),
    ("rfc4475/badaspec", BAD, None),
    ("rfc4475/baddn", BAD, None),
    ("rfc4475/badvers", status(505), None),
    ("rfc4475/mismatch01", BAD, None),
    // A method nobody knows, and another in CSeq: 501 holds up better than 400, says §3.1.2.18.
    ("rfc4475/mismatch02", status(501), None),
    ("rfc4475/bigcode", Nothing, None),
    ("rfc4475/badbranch", READ, None),
    ("rfc4475/insuf", BAD, None),
    ("rfc4475/unkscm", status(416), None),
    ("rfc4475/novelsc", status(416), None),
    // "A registrar would reject this request with a 400 Bad Request response" (§3.3.4).
    ("rfc4475/unksm2", BAD, None),
    ("rfc4475/bext01", status(420), None),
    // 415, 401 of the user agent: a proxy passes what it need not understand.
    ("rfc4475/invut", READ, None),
    ("rfc4475/regaut01", REGISTER, None),
    ("rfc4475/multi01", BAD, None),
    ("rfc4475/mcl01", BAD, Some(Closed)),
    ("rfc4475/bcast", Nothing, None),
    ("rfc4475/zeromf", status(483), None),
    ("rfc4475/cparam01", REGISTER, None),
    ("rfc4475/cparam02", REGISTER, None),
    ("rfc4475/regescrt", REGISTER, None),
    ("rfc4475/sdp01", READ, None),
    // Without Content-Length only a datagram tells where it ends.
    ("rfc4475/inv2543", READ, Some(Closed)),
    ("rfc5118/ipv6-good", REGISTER, None),
    ("rfc5118/ipv6-bad", BAD, None),
    ("rfc5118/port-ambiguous", REGISTER, None),
    ("rfc5118/port-unambiguous", REGISTER, None),
    ("rfc5118/via-received-param-with-delim", status(481), None),
    ("rfc5118/via-received-param-no-delim", status(200), None),
    ("rfc5118/ipv6-in-sdp", READ, None),
    ("rfc5118/mult-ip-in-header", READ, None),
    ("rfc5118/mult-ip-in-sdp", READ, None),
    ("rfc5118/ipv4-mapped-ipv6", READ, None),
    ("rfc5118/ipv6-bug-abnf-3-colons", READ, None),
];

#[test]
fn r1_1_the_server_answers_each_torture_message_as_the_rfc_says() {
    let story = Story::on_loopback("torture");
    for domain in [DOMAIN, "example.com", "example.net", "example.org", "ift.client.example.net"] {
        story.cli(&["tenant", "add", domain]).expect_code(0);
    }
    let to = SocketAddr::new(story.place.server_ip(), story.place.sip());
    let mut wrong = Vec::new();
    // A server for each transport: the same message by another one would be a retransmission.
    for over_tcp in [false, true] {
        let mut server = Server::start(&story);
        for (n, (name, udp, tcp)) in (0..).zip(AT_SERVER) {
            let (got, expected) = match over_tcp {
                false => (by_udp(n, to, &alone(name)), udp),
                true => (by_tcp(to, &alone(name)), tcp.unwrap_or(udp)),
            };
            if got != expected {
                wrong.push(format!("{name}, tcp {over_tcp}: {got:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(server.process().is_running());
        let complaints = server.complaints();
        assert!(!complaints.contains("panicked"), "{complaints}");
    }
}

#[test]
fn r1_1_a_phone_answers_each_torture_message_as_the_rfc_says() {
    let story = Story::on_loopback("torture-phone");
    let server = UdpSocket::bind((story.place.server_ip(), story.place.sip())).expect("free");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut phone = Phone::of(&story, "alice", "udp", "pcmu").with(&["--seconds", "60"]).start();
    let (register, at) = receive(&server);
    server.send_to(&ok_to(&register), at).expect("loopback");
    phone.wait_event("registered", PATIENCE);
    let mut wrong = Vec::new();
    for (n, (name, _, _)) in AT_SERVER.into_iter().enumerate() {
        server.send_to(&alone(name), at).expect("loopback");
        let barrier = format!("barrier{n}");
        server.send_to(options(at, &barrier).as_bytes(), at).expect("loopback");
        let mut got = Vec::new();
        loop {
            let (bytes, _) = receive(&server);
            if contains(&bytes, barrier.as_bytes()) {
                break;
            }
            // Only final answers to this message count; others may be sent again meanwhile.
            if names(&bytes, name) {
                got.extend(code(&bytes).filter(|c| *c >= 200));
            }
        }
        got.dedup();
        let expected: Vec<u16> = at_phone(name).into_iter().collect();
        if got != expected {
            wrong.push(format!("{name}: {got:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    phone.interrupt();
    let ended = phone.finish(PATIENCE);
    let told = |what: &str| ended.events.iter().filter(|e| e["event"] == what).count();
    let valid = AT_SERVER.iter().filter(|(name, _, _)| at_phone(name) == Some(603)).count();
    assert_eq!((told("incoming"), told("answered")), (valid, 0), "{:#?}", ended.events);
}

/// What a phone answers that takes no calls: a valid INVITE is declined.
fn at_phone(name: &str) -> Option<u16> {
    let known = AT_SERVER.iter().find(|(n, _, _)| *n == name).map(|(_, udp, _)| *udp);
    match (name.rsplit('/').next().unwrap_or(name), known) {
        ("unksm2", _) => Some(405),
        (_, Some(Nothing)) => None,
        (_, Some(Reply::Status(code @ (400 | 416 | 420 | 481 | 501 | 505)))) => Some(code),
        // Not a phone's business.
        (_, Some(Reply::Status(401))) => Some(405),
        ("intmeth" | "esc02", _) => Some(405),
        // A MESSAGE of parts: our phone takes plain text.
        ("mpart01", _) => Some(415),
        ("lwsdisp" | "semiuri" | "transports" | "badbranch" | "zeromf", _) => Some(200),
        ("via-received-param-no-delim" | "mult-ip-in-header", _) => Some(200),
        ("ipv6-bug-abnf-3-colons", _) => Some(200),
        ("invut", _) => Some(415),
        ("sdp01", _) => Some(406),
        // Without Contact there is nowhere to send a request of ours to; the server adds one.
        ("inv2543", _) => Some(400),
        _ => Some(603),
    }
}

/// Sends a message from the port its Via names (RFC 3261 §18.2.2 answers there), each from an
/// address of its own, and gives the final answer that comes before one to an OPTIONS behind it.
fn by_udp(n: u8, to: SocketAddr, bytes: &[u8]) -> Reply {
    let port = sent_by_port(bytes);
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, 1, n + 1)), port);
    let socket = UdpSocket::bind(from).unwrap_or_else(|e| panic!("{from}: {e}"));
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.send_to(bytes, to).expect("loopback");
    socket.send_to(options(from, "barrier").as_bytes(), to).expect("loopback");
    let mut got = Nothing;
    loop {
        let (answer, _) = receive(&socket);
        if contains(&answer, BARRIER) {
            return got;
        }
        if let Some(code) = code(&answer).filter(|c| *c >= 200) {
            got = Reply::Status(code);
        }
    }
}

const BARRIER: &[u8] = b"Call-ID: barrier";

fn by_tcp(to: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(to).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let from = stream.local_addr().expect("connected");
    let barrier = options(from, "barrier").replace("/UDP", "/TCP");
    stream.write_all(&[bytes, b"\r\n\r\n", barrier.as_bytes()].concat()).expect("loopback");
    let (mut all, mut buffer) = (Vec::new(), [0; 65_536]);
    let mut silence = Incomplete;
    while !contains(&all, BARRIER) {
        match stream.read(&mut buffer) {
            Ok(0) => silence = Closed,
            Ok(n) => {
                all.extend_from_slice(&buffer[..n]);
                continue;
            }
            // Bytes that nobody read make a reset of a close.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => silence = Closed,
            Err(_) => {}
        }
        break;
    }
    let parts = messages(&all);
    let answer = parts.iter().find(|m| !contains(m, BARRIER)).and_then(|m| code(m));
    let answered = !parts.is_empty();
    answer.map_or(if answered { Nothing } else { silence }, Reply::Status)
}

/// Splits answers at their start lines; the answers of this test have no bodies.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(b"SIP/2.0 ") && (*at == 0 || bytes[at - 1] == b'\n'))
        .collect();
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| bytes[*start..end].to_vec()).collect()
}

/// The next message of SIP. A phone asks its server over STUN too, for where it is seen at.
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    loop {
        let mut buffer = vec![0; 65_536];
        let (n, from) = socket.recv_from(&mut buffer).expect("an answer in time");
        buffer.truncate(n);
        if !ice::is_stun(&buffer) {
            return (buffer, from);
        }
    }
}

fn code(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// Whether an answer is to this message: by the branch that [`alone`] gave it, or its Call-ID.
fn names(answer: &[u8], name: &str) -> bool {
    let short = name.rsplit('/').next().unwrap_or(name);
    contains(answer, short.as_bytes())
}

fn sent_by_port(bytes: &[u8]) -> u16 {
    let message = sip::Message::parse_lenient(bytes.to_vec().into());
    let port = message.and_then(|m| m.top_via().ok().and_then(|via| via.port()));
    port.unwrap_or(5060)
}

fn options(from: SocketAddr, call: &str) -> String {
    format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@{DOMAIN}>;tag=b\r\nTo: <sip:{DOMAIN}>\r\n\
         Call-ID: {call}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

fn ok_to(register: &[u8]) -> Vec<u8> {
    let request = sip::Message::parse(register.to_vec().into()).expect("a REGISTER");
    let contact = request.header("Contact").expect("its contact").to_vec();
    let ok = sip::response_to(&request, 200, "OK").to_tag("registrar");
    ok.header("Contact", contact).header("Expires", "600").build().bytes().to_vec()
}

/// A message with a branch of its own, and of RFC 5118 with a Call-ID of its own: several of the
/// RFCs' examples share them, and would be taken for retransmissions of each other, or for one
/// request that came by two ways (482, RFC 3261 §8.2.2.2).
fn alone(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../protocol/sip/tests/vectors/{name}.dat"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let short = name.rsplit('/').next().unwrap_or(name);
    let bytes = match name.starts_with("rfc5118/") {
        true => with_after(&bytes, b"\nCall-ID: ", short, |_| true),
        false => bytes,
    };
    // Nothing behind the cookie is the point of one of them.
    with_after(&bytes, b"z9hG4bK", short, |next| next.is_ascii_alphanumeric() || next == b'-')
}

/// `bytes` with `own` behind the first `mark`, if what comes next is `fit`.
fn with_after(bytes: &[u8], mark: &[u8], own: &str, fit: impl Fn(u8) -> bool) -> Vec<u8> {
    let found = bytes.windows(mark.len()).position(|w| w == mark).map(|at| at + mark.len());
    match found {
        Some(at) if fit(bytes[at]) => [&bytes[..at], own.as_bytes(), &bytes[at..]].concat(),
        _ => bytes.to_vec(),
    }
}

/// Every file of the corpus is in the table.
#[test]
fn r1_1_the_table_has_every_message_of_both_rfcs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/sip/tests/vectors");
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _, _) in AT_SERVER {
        *known.entry(name.to_string()).or_default() += 1;
    }
    for folder in ["rfc4475", "rfc5118"] {
        for file in std::fs::read_dir(root.join(folder)).expect("the corpus").flatten() {
            let file = file.file_name().to_string_lossy().into_owned();
            let Some(name) = file.strip_suffix(".dat") else { continue };
            assert_eq!(known.remove(&format!("{folder}/{name}")), Some(1), "{folder}/{name}");
        }
    }
    assert!(known.is_empty(), "{known:?}");
}
