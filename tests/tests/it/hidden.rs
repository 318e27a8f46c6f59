//! R2.2: what a carrier outside gets to see of calls that come from and go to inside, read at its
//! end of the wire, byte for byte: no inner address, no name of a host, no software.

use sip::Message;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use tests::handset::{SDP, StopAtEnd, answer};
use tests::{Handset, Server, Story};

/// Where the phones are: inside.
const INSIDE: [u8; 4] = [127, 77, 0, 1];
/// What they tell about themselves in every field they have.
const MARKS: [&str; 4] = ["127.77.0.", "inner-host", "SecretPhone", "9.9.7"];
/// What is nobody's business at all.
const OURS: [&str; 4] = ["whimbrel", "pw-alice", "pw-bob", "rust"];

/// A phone's message as a talkative one writes it.
fn talkative(text: &str) -> String {
    let lines = "User-Agent: SecretPhone/9.9.7\r\nOrganization: inner-host\r\n\
        Call-Info: <http://inner-host/x.png>;purpose=icon\r\nSubject: hello\r\n\
        X-Build: SecretPhone-9.9.7\r\nHistory-Info: <sip:x@inner-host>;index=1\r\n\
        Warning: 399 inner-host \"SecretPhone\"\r\nReason: SIP;cause=200;text=\"inner-host\"\r\n\
        Server: SecretPhone/9.9.7\r\nError-Info: <http://inner-host/err>\r\n";
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let body = body
        .replace("o=- 1 1 IN IP4 127.0.0.1", "o=SecretPhone 1 1 IN IP4 127.77.0.1")
        .replace("s=-", "s=SecretPhone")
        .replace("c=IN", "i=inner-host\r\nc=IN")
        .replace("127.0.0.1", "127.77.0.1");
    let keep = |line: &&str| !line.starts_with("Content-Length");
    let head: Vec<&str> = head.split("\r\n").filter(keep).collect();
    let head = head.join("\r\n");
    format!("{head}\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The same of an answer, whose Call-ID is the caller's.
fn talkative_answer(message: &Message) -> Message {
    let text = String::from_utf8_lossy(message.bytes()).into_owned();
    let text = talkative(&text).replace("127.0.0.1:9>", "127.77.0.1:9>");
    Message::parse(text.into_bytes().into()).expect("still a message")
}

/// Everything a carrier received in a run of calls with `peer` as its lines in the configuration.
fn seen(name: &str, peer: &str) -> String {
    let story = Story::on_loopback(name);
    story.add_users(&["alice", "bob"]);
    let carrier_at = SocketAddr::from(([127, 80, 0, 1], story.place.peer_port(0)));
    let config = format!(
        "[[peer]]\nname = \"carrier\"\naddress = \"{carrier_at}\"\n\
         prefixes = [{{ prefix = \"+\" }}]\n{peer}\n"
    );
    let server = Server::start_with(&story, &config);
    let (stop, tap) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let inside = SocketAddr::from((INSIDE, 0));
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let stop = &stop;
        let mut carrier = Handset::at(&story, "carrier", carrier_at).tapped(&tap);
        let mut bob = Handset::at(&story, "bob", inside);
        assert_eq!(bob.register(), 200);
        scope.spawn(move || {
            bob.serve_until(stop, |request| {
                let refuses = request.header_str("Subject").is_some_and(|s| s.contains("refuse"));
                let answers = match refuses {
                    true => vec![sip::response_to(request, 486, "SecretPhone").to_tag("b").build()],
                    false => answer(request),
                };
                answers.iter().map(talkative_answer).collect()
            });
        });
        // From outside to inside: answered, refused, and to nobody.
        for (callee, subject, status) in
            [("bob", "hello", 200), ("bob", "refuse", 486), ("nobody", "hello", 404)]
        {
            let subject = format!("Subject: {subject}\r\n");
            let outcome = carrier.invite_changed(&story.address(callee), |t| {
                t.replace("<sip:carrier@call.example>", "<sip:+4930@carrier.example>")
                    .replace("Contact:", &format!("{subject}Contact:"))
            });
            assert_eq!(outcome.status(), status, "{callee} {subject}: {:?}", outcome.last);
            if let Some(mut talk) = outcome.talk {
                carrier.inside(&mut talk, "INFO", "");
                assert_eq!(carrier.hang_up(&mut talk), 200);
            }
        }
        // From inside to outside: answered and refused, with requests inside of the call.
        scope.spawn(move || {
            carrier.serve_until(stop, |request| {
                let uri = String::from_utf8_lossy(request.request_uri()).into_owned();
                let is_invite = request.method().is_some_and(|m| m.as_str() == "INVITE");
                match is_invite && uri.contains("486") {
                    true => vec![sip::response_to(request, 486, "").to_tag("c").build()],
                    false => answer(request),
                }
            });
        });
        for (number, status) in [("+4940123", 200), ("+4940486", 486)] {
            let mut alice = Handset::at(&story, "alice", inside);
            let outcome = alice.invite_changed(&story.address(number), talkative_text);
            assert_eq!(outcome.status(), status, "{:?}", outcome.last);
            if let Some(mut talk) = outcome.talk {
                for method in ["INFO", "UPDATE", "OPTIONS"] {
                    let lines = "User-Agent: SecretPhone/9.9.7\r\nX-Build: inner-host\r\n";
                    alice.inside(&mut talk, method, lines);
                }
                assert_eq!(alice.hang_up(&mut talk), 200);
            }
        }
    });
    assert!(!server.complaints().contains("panicked"));
    let bytes: Vec<u8> = tap.into_inner().expect("no panic");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn talkative_text(text: String) -> String {
    talkative(&text).replace("\r\nCSeq:", "@inner-host\r\nCSeq:")
}

#[test]
fn r2_2_a_carrier_reads_no_inner_address_name_or_software_in_a_run_of_calls() {
    assert!(SDP.contains("o=- 1 1 IN IP4 127.0.0.1"), "what is replaced");
    let open = seen("shown", "hide_topology = false");
    for mark in MARKS {
        assert!(open.contains(mark), "the positive control: {mark} shows where nothing is hidden");
    }
    let hidden = seen("hidden", "");
    for what in ["INVITE sip:+4940123", "SIP/2.0 200", "SIP/2.0 486", "SIP/2.0 404", "BYE "] {
        assert!(hidden.contains(what), "the calls went by here: {what}");
    }
    let lower = hidden.to_ascii_lowercase();
    let marks = MARKS.iter().chain(&OURS).map(|m| m.to_ascii_lowercase());
    let found: Vec<String> = marks
        .flat_map(|mark| {
            let lines = lower.lines().filter(move |line| line.contains(&mark));
            lines.map(String::from).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
