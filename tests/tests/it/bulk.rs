//! SIPp: many registrations and calls, none failed.

use std::time::Duration;
use tests::sipp::{self, Run, Setup};
use tests::{Server, Story};

#[test]
fn sipp_registers_200_users_and_places_100_calls_and_none_fails() {
    let story = Story::on_loopback("bulk");
    let users: Vec<String> = (0..200).map(|n| format!("u{n:03}")).collect();
    story.import_users(&users);
    let mut server = Server::start(&story);

    // The first hundred call the second hundred.
    let pairs: Vec<(String, String)> =
        (0..200).map(|n| (users[n].clone(), users[(n + 100) % 200].clone())).collect();
    let callers = sipp::users_file(&story, "callers.csv", &pairs[..100]);
    let callees = sipp::users_file(&story, "callees.csv", &pairs[100..]);
    let (caller_port, callee_port) = (story.place.peer_port(0), story.place.peer_port(1));
    let setup = |scenario, port, media, more: &[&str]| Setup {
        scenario,
        port,
        media_port: story.place.peer_port(media),
        calls: 100,
        rate: 50,
        more: more.iter().map(|s| (*s).to_string()).collect(),
    };
    let patience = Duration::from_secs(60);
    let register = |name: &str, port, users| {
        Run::start(&story, name, &setup("register", port, 10, &[]), Some(users))
            .expect_none_failed(patience);
    };
    register("register-callers", caller_port, &callers);
    register("register-callees", callee_port, &callees);
    assert_eq!(server.registrations().len(), 200);

    let callee = Run::start(&story, "callee", &setup("callee", callee_port, 20, &[]), None);
    let talk = ["-d", "1000", "-l", "100"];
    let caller = setup("caller", caller_port, 30, &talk);
    Run::start(&story, "caller", &caller, Some(&callers)).expect_none_failed(patience);
    callee.expect_none_failed(patience);

    let records = server.wait_for("100 closed records", Duration::from_secs(10), || {
        let records = tests::server::records(&story);
        (records.iter().filter(|r| !r["ended"].is_null()).count() == 100).then_some(records)
    });
    assert!(records.iter().all(|r| r["answered"] == true && r["cause"] == "bye"), "{records:?}");
}
