//! SIGTERM drains.

use std::time::{Duration, Instant};
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(20);

#[test]
fn sigterm_keeps_a_call_until_it_ends_and_exits_0() {
    let story = Story::on_loopback("drain");
    story.add_users(&["alice", "bob", "carol"]);
    let mut server = Server::start(&story);
    let mut bob = Phone::of(&story, "bob", "udp", "pcmu").answer().seconds(40).start();
    bob.wait_event("registered", START);
    let alice = Phone::of(&story, "alice", "udp", "pcmu").call(&story.address("bob"));
    let mut alice = alice.with(&["--tone", "440"]).seconds(12).start();
    alice.wait_event("answered", START);

    server.terminate();
    let asked = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    assert!(server.process().is_running(), "it waits for the call");
    assert!(alice.events().iter().all(|e| e["event"] != "ended"), "{:#?}", alice.events());
    // A newcomer finds the door closed.
    let carol = Phone::of(&story, "carol", "udp", "pcmu").call(&story.address("alice")).seconds(3);
    let carol = carol.start().finish(Duration::from_secs(15));
    assert_eq!(carol.result["answered"], false, "{:#?}", carol.events);

    let alice = alice.finish(Duration::from_secs(30)).expect_answered();
    let bob = bob.finish(Duration::from_secs(30)).expect_answered();
    assert_eq!(bob.result["cause"], "peer-hung-up", "{:#?}\n{:#?}", bob.events, alice.events);
    let status = server.process().wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{}", server.process().err());
    assert!(asked.elapsed() < Duration::from_secs(29), "it did not wait for the deadline");

    let records = tests::server::records(&story);
    let record = records.iter().find(|r| r["answered"] == true).expect("the call's record");
    assert_eq!(record["cause"], "bye", "{record:#}");
}

#[test]
fn sigterm_without_calls_exits_0_at_once() {
    let story = Story::on_loopback("drain-idle");
    story.add_users(&["alice"]);
    let mut server = Server::start(&story);
    let mut alice = Phone::of(&story, "alice", "tls", "opus").answer().seconds(30).start();
    alice.wait_event("registered", START);
    server.terminate();
    let status = server.process().wait(Duration::from_secs(8));
    assert_eq!(status.code(), Some(0), "{}", server.process().err());
}

#[test]
fn sigterm_cuts_a_call_at_the_deadline_closes_its_record_and_exits_0() {
    let story = Story::on_loopback("drain-deadline");
    story.add_users(&["alice"]);
    let mut server = Server::start(&story);
    let alice = Phone::of(&story, "alice", "udp", "pcmu").call(&story.address("tone"));
    let mut alice = alice.seconds(90).start();
    alice.wait_event("answered", START);
    server.terminate();
    let status = server.process().wait(Duration::from_secs(45));
    assert_eq!(status.code(), Some(0), "{}", server.process().err());
    let ended = alice.wait_event("ended", Duration::from_secs(5));
    assert_eq!(ended["cause"], "peer-hung-up", "told by a BYE: {ended:#}");
    let records = tests::server::records(&story);
    assert_eq!(records.len(), 1);
    assert!(!records[0]["ended"].is_null() && !records[0]["cause"].is_null(), "{records:#?}");
}
