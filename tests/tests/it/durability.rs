//! `kill -9` in the middle of the work: what was acknowledged is there after the restart.

use std::collections::BTreeSet;
use std::time::Duration;
use tests::sipp::{self, Run, Setup};
use tests::{Server, Story};

const PATIENCE: Duration = Duration::from_secs(90);
const REGISTERED: usize = 1_000;
/// More of them register at the moment of the kill.
const LATE: usize = 500;
const CALLS: usize = 50;

#[test]
fn kill_9_during_50_calls_and_1000_registrations_loses_nothing_acknowledged() {
    let story = Story::on_loopback("kill");
    let users: Vec<String> = (0..REGISTERED + LATE).map(|n| format!("u{n:04}")).collect();
    story.import_users(&users);
    let mut server = Server::start(&story);

    // Callees register from the port they will answer at.
    let pairs: Vec<(String, String)> =
        (0..users.len()).map(|n| (users[n].clone(), users[(n + CALLS) % 1_000].clone())).collect();
    let (early, late) = pairs.split_at(REGISTERED);
    let (early, late) =
        (sipp::users_file(&story, "early.csv", early), sipp::users_file(&story, "late.csv", late));
    let setup = |scenario, port, calls, rate, more: &[&str]| Setup {
        scenario,
        port: story.place.peer_port(port),
        media_port: story.place.peer_port(20 + 20 * port),
        calls,
        rate,
        more: more.iter().map(|s| (*s).to_string()).collect(),
    };
    let mut registering =
        Run::start(&story, "register", &setup("register", 1, REGISTERED, 150, &[]), Some(&early));
    registering.wait_logged(REGISTERED, PATIENCE);
    registering.expect_none_failed(PATIENCE);

    let callees = Run::start(&story, "callees", &setup("callee", 1, CALLS, 50, &[]), None);
    let talk = setup("caller", 0, CALLS, 25, &["-d", "60000", "-l", "100"]);
    let mut callers = Run::start(&story, "callers", &talk, Some(&early));
    callers.wait_logged(CALLS, PATIENCE);
    server.wait_for("50 calls", PATIENCE, || (server_calls(&story) == CALLS).then_some(()));
    let mut registering =
        Run::start(&story, "late", &setup("register", 2, LATE, 200, &[]), Some(&late));
    registering.wait_logged(LATE / 5, PATIENCE);
    server.kill();
    let mut acknowledged: BTreeSet<String> = registering
        .logged()
        .iter()
        .filter_map(|line| line.split("registered ").nth(1))
        .map(|user| user.trim().to_string())
        .collect();
    registering.kill();
    callers.kill();
    callees.kill();
    assert!((LATE / 5..LATE).contains(&acknowledged.len()), "{} late ones", acknowledged.len());
    acknowledged.extend(users[..REGISTERED].iter().cloned());

    let mut server = Server::start(&story);
    let subscribers = tests::server::rows(story.cli_json(&["user", "list", "--json"]));
    assert_eq!(subscribers.len(), users.len(), "no subscriber is lost");

    let bound: BTreeSet<String> = server
        .registrations()
        .iter()
        .filter_map(|r| r["aor"].as_str())
        .filter_map(|aor| aor.strip_prefix("sip:")?.split('@').next().map(String::from))
        .collect();
    let lost: Vec<&String> = acknowledged.difference(&bound).collect();
    assert!(lost.is_empty(), "acknowledged bindings lost: {lost:?}");

    let records = server.wait_for("every record closed", PATIENCE, || {
        let records = tests::server::records(&story);
        records.iter().all(|r| !r["ended"].is_null()).then_some(records)
    });
    assert_eq!(records.len(), CALLS, "one record per call");
    for record in records {
        assert_eq!(record["cause"], "server-restart", "{record:#}");
        assert_eq!(record["answered"], true, "{record:#}");
    }
}

fn server_calls(story: &Story) -> usize {
    tests::server::rows(story.cli_json(&["calls", "list", "--json"])).len()
}
