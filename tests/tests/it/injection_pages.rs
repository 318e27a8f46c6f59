//! R2.4: what strangers write into calls and registrations, as Chromium shows it in the console and
//! the web phone, and as the API gives it: text, whatever it says.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tests::handset::{StopAtEnd, answer};
use tests::{Handset, Server, Story, browser};

const PATIENCE: Duration = Duration::from_secs(60);

/// What would do something in a page, a spreadsheet, a template or a database.
const TEXTS: [&str; 8] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>",
    "'\"--></style></script><iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "=HYPERLINK(\"http://evil.example\",\"x\")",
    "'; DROP TABLE records; --",
];
/// What a Call-ID may be, by RFC 3261 §25.1.
const CALL_ID: &str = "\"><script>alert(1)</script>";

/// RFC 7989: what the caller of the call that goes on calls it.
const SESSION: &str = "0123456789abcdef0123456789abcdef;remote=00000000000000000000000000000000";

/// Puts headers before the Contact.
fn with(text: &str, lines: &str) -> String {
    text.replacen("Contact:", &format!("{lines}\r\nContact:"), 1)
}

/// A user part as it stands in a URI.
fn escaped(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

#[test]
fn r2_4_what_strangers_write_is_text_in_the_console_the_web_phone_and_the_api() {
    let story = Story::on_loopback("injection-pages");
    story.add_users(&["alice", "bob", "carol"]);
    let carrier_at = SocketAddr::from(([127, 80, 0, 1], story.place.peer_port(0)));
    let peer = format!("[[peer]]\nname = \"carrier\"\naddress = \"{carrier_at}\"\n");
    let server = Server::start_with(&story, &peer);
    let own = SocketAddr::from(([127, 0, 0, 1], 0));
    let stop = AtomicBool::new(false);
    let steps = std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let stop = &stop;
        let mut bob = Handset::at(&story, "bob", own);
        let agent = format!("User-Agent: {}", TEXTS[1]);
        assert_eq!(bob.register_changed(|text| with(&text, &agent)), 200);
        scope.spawn(move || bob.serve_until(stop, answer));
        for text in TEXTS {
            // Whom they call is shown too: nobody of that name.
            let callee = story.address(&escaped(text));
            let mut alice = Handset::at(&story, "alice", own).named(&escaped(text));
            let agent = format!("User-Agent: {text}\r\nSession-ID: {text}");
            let outcome = alice.invite_changed(&callee, |request| with(&request, &agent));
            assert_eq!(outcome.status(), 404, "{text}: {:?}", outcome.last);
        }
        // One that goes on while the pages are looked at.
        let mut alice = Handset::at(&story, "alice", own);
        let mut live = alice.invite_changed(&story.address("bob"), |request| {
            let marked = request.replacen("Call-ID: ", &format!("Call-ID: {CALL_ID}"), 1);
            with(&marked, &format!("User-Agent: {}\r\nSession-ID: {SESSION}", TEXTS[0]))
        });
        assert_eq!(live.status(), 200, "{:?}", live.last);
        let link = story.cli(&["admin", "link"]).expect_code(0).out;
        let arguments = [link.trim(), &story.address("carol"), &story.password("carol")];
        let mut page = browser::Run::start(&story, "hostile.mjs", Path::new(""), &arguments);
        page.wait_step("ready", PATIENCE);
        let mut carrier = Handset::at(&story, "carrier", carrier_at).patient(PATIENCE);
        let outcome = carrier.invite_changed(&story.address("carol"), |request| {
            let name = TEXTS[1];
            let from = format!("From: \"{name}\" <sip:+4930@carrier.example>");
            let request = request.replace("From: <sip:carrier@call.example>", &from);
            with(&request, &format!("Subject: {name}"))
        });
        assert_eq!(outcome.status(), 603, "{:?}", outcome.last);
        let steps = page.finish(PATIENCE);
        assert_eq!(alice.hang_up(live.talk.as_mut().expect("a call")), 200);
        steps
    });
    let step = |name: &str| {
        steps.iter().find(|s| s["step"] == name).unwrap_or_else(|| panic!("{name} in {steps:#?}"))
    };
    let control = step("control");
    assert_eq!(control["ran"], 1, "the control: this browser runs it where it is no text");
    assert!(!control["planted"].as_array().expect("a list").is_empty(), "{control:#}");
    for name in ["live", "history", "incoming", "recent"] {
        let step = step(name);
        assert_eq!(step["ran"], 0, "{name}: a stranger's script ran");
        assert_eq!(step["planted"], serde_json::json!([]), "{name}");
    }
    let shows = |name: &str, text: &str| {
        assert!(
            step(name)["text"].as_str().expect("text").contains(text),
            "{name}: {text} is shown"
        );
    };
    shows("live", TEXTS[1]);
    TEXTS.iter().for_each(|text| shows("history", text));
    shows("history", CALL_ID);
    shows("incoming", TEXTS[1]);
    assert!(step("live")["calls"].to_string().contains("script"), "{:#}", step("live"));
    for (path, field) in [
        ("/api/records", "user_agent"),
        ("/api/registrations", "user_agent"),
        ("/api/calls", "call_id"),
    ] {
        let step = step(path);
        assert_eq!(step["type"], "application/json", "{path}");
        assert_eq!(step["sniff"], "nosniff", "{path}: no browser takes it for a page");
        let raw = step["raw"].as_str().expect("text");
        let whole: serde_json::Value = serde_json::from_str(raw).expect("JSON");
        let items = whole.get("items").unwrap_or(&whole).as_array().expect("a list");
        let has = |item: &serde_json::Value| {
            item[field].as_str().is_some_and(|text| text.contains("alert(1)"))
        };
        assert!(items.iter().any(has), "{path}: {whole:#}");
    }
    assert!(!server.complaints().contains("panicked"));
    // Nothing was run as SQL.
    let records = server.records();
    assert!(records.len() > TEXTS.len(), "{records:?}");
    // A call has one name in records, console and log: what its caller gave it, if that was one.
    let id = SESSION.split(';').next().expect("the caller's half");
    assert!(records.iter().any(|r| r["session_id"] == id), "{records:?}");
    // The carrier called after the page was looked at.
    for record in records.iter().filter(|r| r["from"].to_string().contains("alice")) {
        let id = record["session_id"].as_str().expect("text");
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        shows("history", id);
        assert!(server.complaints().contains(&format!("session_id={id}")), "{id} in the log");
    }
}
