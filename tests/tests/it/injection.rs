//! R2.4: a corpus of what breaks terminals, databases, pages and careless parsers, in every field a
//! caller or callee may fill, through a running server. None of it comes out unescaped: not on the
//! other leg, not in the log, not in records by the command line.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tests::handset::{StopAtEnd, answer};
use tests::story::tell;
use tests::{Handset, Server, Story};

/// What must never be seen as it is: a header that was smuggled in, by whatever way.
const SMUGGLED: &str = "X-Smuggled";

/// The corpus. `{S}` is a header that must not come to be.
const CORPUS: [&str; 18] = [
    "a\rX-Line: yes",
    "a\nX-Line: yes",
    "a\r\n\t\r\nX-Line: yes",
    "a\u{0}b",
    "a\u{1b}[31mred\u{1b}[0m",
    "a\u{1b}]0;title\u{7}",
    "a\u{9b}31m",
    "a\u{202e}evil",
    "a\u{2066}b\u{2069}",
    "a\u{85}{S}: yes",
    "a\u{2028}{S}: yes",
    "a%0d%0a{S}:%20yes",
    "'; DROP TABLE users; --",
    "' OR '1'='1",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "${jndi:ldap://127.0.0.1/x} {{7*7}} `id` $(id)",
    "a\u{7f}b\u{8}\u{8}c",
];

/// A field and how a value is put into it.
type Field = (&'static str, fn(&str, &str) -> String);

fn before(text: &str, mark: &str, line: &str) -> String {
    text.replacen(mark, &format!("{line}\r\n{mark}"), 1)
}

/// Where callers can write.
const FIELDS: [Field; 9] = [
    ("display name", |t, v| t.replacen("From: <", &format!("From: \"{}\" <", quoted(v)), 1)),
    ("To", |t, v| t.replacen("To: <", &format!("To: \"{}\" <", quoted(v)), 1)),
    ("Subject", |t, v| before(t, "Contact:", &format!("Subject: {v}"))),
    ("User-Agent", |t, v| before(t, "Contact:", &format!("User-Agent: {v}"))),
    ("a header nobody knows", |t, v| before(t, "Contact:", &format!("X-Own: {v}"))),
    ("Reason", |t, v| {
        before(t, "Contact:", &format!("Reason: SIP;cause=200;text=\"{}\"", quoted(v)))
    }),
    ("Contact", |t, v| {
        t.replacen("Contact: <sip:", &format!("Contact: \"{}\" <sip:", quoted(v)), 1)
    }),
    ("Call-ID", |t, v| t.replacen("Call-ID: ", &format!("Call-ID: {v}"), 1)),
    ("From tag", |t, v| t.replacen(";tag=", &format!(";x=\"{}\";tag=", quoted(v)), 1)),
];

/// Which of them is the Call-ID.
const CALL_ID: usize = 7;

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

fn hostile() -> Vec<String> {
    CORPUS.iter().map(|text| text.replace("{S}", SMUGGLED)).collect()
}

/// Controls other than the line ends of the text itself.
fn is_control(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

/// These, and marks that turn the direction of text: names in right-to-left scripts may have them
/// on a leg, logs and lists may not.
fn is_raw(c: char) -> bool {
    is_control(c)
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn r2_4_nothing_a_stranger_writes_comes_out_unescaped_anywhere() {
    let story = Story::on_loopback("injection");
    story.add_users(&["alice", "bob"]);
    let server = Server::start_with(&story, "[log]\nlevel = \"debug\"\n");
    let own: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let (stop, heard) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (reason, corpus) = (Mutex::new(String::new()), hostile());
    let (mut sent, mut silent) = (0_usize, 0_usize);
    let answers = std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut bob = Handset::at(&story, "bob", own);
        assert_eq!(bob.register(), 200);
        let (stop, heard, reason) = (&stop, &heard, &reason);
        scope.spawn(move || {
            bob.serve_until(stop, |request| {
                heard.lock().expect("no panic").push(request.bytes().to_vec());
                let reason = reason.lock().expect("no panic").clone();
                match request.method().is_some_and(|m| m.as_str() == "INVITE") {
                    true if !reason.is_empty() => vec![hostile_answer(request, &reason)],
                    _ => answer(request),
                }
            });
        });
        let mut answers = Vec::new();
        for value in &corpus {
            for (n, (_, put)) in FIELDS.iter().enumerate() {
                // A header value ends at the first line end: it is another message then, and may
                // be answered or not. Nobody waits long for that.
                // A Call-ID that is none comes back in the 400, which our own parser refuses.
                let may_be_silent = n == CALL_ID || value.contains(['\r', '\n', '\u{0}']);
                let patience = Duration::from_millis(if may_be_silent { 300 } else { 5_000 });
                let alice = Handset::at(&story, "alice", own).named(&format!("{sent}"));
                let mut alice = alice.patient(patience);
                let outcome = alice.invite_changed(&story.address("bob"), |t| put(&t, value));
                sent += 1;
                silent += usize::from(outcome.status() == 0);
                assert!(outcome.status() != 0 || may_be_silent, "{value:?} in {}", FIELDS[n].0);
                if let Some(mut talk) = outcome.talk {
                    alice.hang_up(&mut talk);
                }
            }
            // What the callee says is the caller's other leg; a refusal of our own repeats to its
            // sender what that wrote, as RFC 3261 §8.2.6.2 has it.
            *reason.lock().expect("no panic") = value.clone();
            let mut alice = Handset::at(&story, "alice", own).named(&format!("{sent}"));
            let outcome = alice.invite(&story.address("bob"), "");
            answers.extend(outcome.last.iter().map(|m| m.bytes().to_vec()));
            reason.lock().expect("no panic").clear();
        }
        answers
    });
    let heard = heard.into_inner().expect("no panic");
    tell(&format!(
        "{sent} hostile calls, {} messages at the callee, {} answers",
        heard.len(),
        answers.len()
    ));
    // What is harmless as text came through: the corpus was not simply refused.
    let all: Vec<u8> = heard.concat();
    for harmless in ["DROP TABLE users", "<script>alert(1)</script>", "${jndi:"] {
        assert!(contains(&all, harmless), "{harmless} is text like any other");
    }
    for message in heard.iter().chain(&answers) {
        assert_clean("a leg", message);
    }
    assert_clean("the log", server.complaints().as_bytes());
    assert!(!server.complaints().contains("panicked"));
    let records = server.records();
    assert!(records.len() > 50, "{} records", records.len());
    let strings = records.iter().flat_map(|r| r.as_object().expect("a record").values());
    for text in strings.filter_map(|v| v.as_str()) {
        assert!(!text.chars().any(|c| is_raw(c) || c == '\n'), "a record: {text:?}");
    }
    for verb in ["records", "registrations", "calls"] {
        let listed = story.cli(&[verb, "list"]).expect_code(0).out;
        assert_clean(verb, listed.as_bytes());
    }
    // Nothing was run as SQL: both are still there, and a call goes through.
    let users = story.cli(&["user", "list"]).expect_code(0).out;
    assert!(users.contains("alice") && users.contains("bob"), "{users}");
}

fn hostile_answer(request: &sip::Message, value: &str) -> sip::Message {
    let text = String::from_utf8_lossy(
        sip::response_to(request, 480, "REASON")
            .to_tag("b")
            .header("X-Own", "VALUE")
            .build()
            .bytes(),
    )
    .replace("REASON", value)
    .replace("VALUE", value);
    sip::Message::parse(text.clone().into_bytes().into())
        .unwrap_or_else(|_| sip::response_to(request, 486, "").to_tag("b").build())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

fn assert_clean(place: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|e| {
        panic!(
            "{place}: bytes that are no UTF-8 at {}: {:?}",
            e.valid_up_to(),
            String::from_utf8_lossy(bytes)
        )
    });
    // On a leg each line ends with both; readers that differ about one alone see other headers.
    let lone = place == "a leg" && text.replace("\r\n", "").contains('\n');
    assert!(!lone, "{place}: a line end that only some see in {text:?}");
    let bad = text.replace("\r\n", "\n").chars().position(if place == "a leg" {
        is_control
    } else {
        is_raw
    });
    assert!(bad.is_none(), "{place}: a control at {bad:?} of {text:?}");
    let smuggled = text.lines().any(|line| line.trim_start().starts_with(SMUGGLED));
    assert!(!smuggled, "{place}: a smuggled line in {text:?}");
}
