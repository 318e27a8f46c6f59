//! Access edge and core as two processes on hosts of their own (R2.1): the edge is the only one that
//! phones can reach, and the core knows no way to them.

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tests::story::DOMAIN;
use tests::{Process, Server, Story};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// Rooms of the place.
const PHONES: usize = 0;
const CORE: usize = 1;

struct Core<'a> {
    story: &'a Story,
    data: PathBuf,
    process: Process,
}

impl<'a> Core<'a> {
    fn start(story: &'a Story, users: &[&str]) -> Self {
        let data = story.scratch.file("core");
        let cli = |arguments: &[&str]| {
            let mut command = story.whimbrel_in(CORE);
            command.arg("--data").arg(&data).args(arguments);
            Process::run(&story.scratch, "core-cli", command, START).expect_code(0);
        };
        cli(&["tenant", "add", DOMAIN]);
        for user in users {
            let file = story.password_file(user);
            let file = file.to_string_lossy();
            cli(&["user", "add", &story.address(user), "--password-file", &file]);
        }
        let place = &story.place;
        let (low, high) = place.rtp();
        let config = format!(
            "shards = 2\n[ports]\nsip = {}\nsips = {}\nhttps = {}\nrtp_min = {low}\nrtp_max = {high}\n\
             metrics = \"127.0.0.1:{}\"\n[[peer]]\nname = \"edge\"\naddress = \"10.0.0.1\"\n\
             zone = \"phone\"\n",
            place.sip(),
            place.sips(),
            place.https(),
            place.metrics(),
        );
        let config = story.scratch.write("core.toml", config);
        let mut command = story.whimbrel_in(CORE);
        command.arg("serve").arg("--data").arg(&data).arg("--config").arg(config);
        command.args(["--listen-ip", "10.0.0.2"]);
        let mut process = Process::start(&story.scratch, "core", command);
        process.wait_for("the core", START, |p| p.out().contains("is running").then_some(()));
        Self { story, data, process }
    }

    fn list(&self, what: &str) -> Vec<Value> {
        let mut command = self.story.whimbrel_in(CORE);
        command.arg("--data").arg(&self.data).args([what, "list", "--json"]);
        let ended = Process::run(&self.story.scratch, "core-list", command, START).expect_code(0);
        tests::server::rows(serde_json::from_str(&ended.out).expect("JSON"))
    }
}

/// A phone of ours in the room of phones, which knows the edge's address and nothing else.
fn phone(story: &Story, user: &str, transport: &str, more: &[&str]) -> Process {
    let place = &story.place;
    let port = match transport {
        "tls" => place.sips(),
        "wss" => place.https(),
        _ => place.sip(),
    };
    let mut command = story.whimbrel_in(PHONES);
    command.arg("phone").arg("--account").arg(story.address(user));
    command.arg("--password-file").arg(story.password_file(user));
    command.arg("--server").arg(format!("{}:{port}", place.server_ip()));
    command.arg("--ca").arg(story.data().join("tls/ca.pem"));
    command.args(["--transport", transport, "--json", "--tone", "440"]).args(more);
    Process::start(&story.scratch, &format!("phone-{user}"), command)
}

fn events(process: &Process) -> Vec<Value> {
    process.out().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn wait_event(process: &mut Process, name: &str) -> Value {
    process.wait_for(name, START, |p| events(p).into_iter().find(|e| e["event"] == name))
}

#[test]
fn r2_1_phones_reach_each_other_by_an_edge_alone_and_their_users_are_the_cores() {
    let story = Story::on_edge_network("access-edge");
    let core = Core::start(&story, &["alice", "bob"]);
    let config = format!(
        "[[interface]]\nname = \"public\"\nbind = \"198.51.100.1\"\n\
         [[interface]]\nname = \"inner\"\nbind = \"10.0.0.1\"\n\
         [edge]\ncore = \"core\"\n\
         [[peer]]\nname = \"core\"\naddress = \"10.0.0.2:{}\"\nzone = \"internal\"\n",
        story.place.sip(),
    );
    let edge = Server::start_with(&story, &config);
    assert!(!edge.complaints().contains("Two people to try it with"), "its users are the core's");

    // The core knows no way to the phones.
    let mut ping = story.place.command("env");
    ping.args(story.place.room(CORE)).args(["ip", "route", "get", "198.51.100.2"]);
    let way = Process::run(&story.scratch, "route", ping, START);
    assert_ne!(way.code, Some(0), "{}", way.out);

    for (from, to) in [("udp", "tls"), ("tls", "udp"), ("wss", "tcp"), ("tcp", "wss")] {
        let mut bob = phone(&story, "bob", to, &["--answer", "--seconds", "20"]);
        wait_event(&mut bob, "registered");
        let seen = core.list("registrations");
        let contact = |row: &Value| row["aor"].to_string().contains("bob");
        assert!(seen.iter().any(contact), "{seen:#?}");
        let target = story.address("bob");
        let alice = phone(&story, "alice", from, &["--call", &target, "--seconds", "8"]);
        for (who, process) in [("alice", alice), ("bob", bob)] {
            let ended = process.finish(CALL).expect_code(0);
            let last = ended.out.lines().last().expect("a result");
            let result: Value = serde_json::from_str(last).expect("JSON");
            assert_eq!(result["answered"], true, "{from} to {to}, {who}: {}", ended.out);
            let heard = result["quality"]["packets_received"].as_u64();
            assert!(heard > Some(50), "{from} to {to}, {who}: {result:#}");
            let by = if who == "alice" { from } else { to };
            assert_eq!(result["encrypted"], matches!(by, "tls" | "wss"), "{from} to {to}, {who}");
        }
    }

    // The core alone says who may come in, and challenges leave no records at the edge.
    let mut stranger = story.whimbrel_in(PHONES);
    stranger.arg("phone").arg("--account").arg(story.address("alice"));
    stranger.arg("--password-file").arg(story.scratch.write("wrong", "wrong\n"));
    stranger.arg("--server").arg(format!("198.51.100.1:{}", story.place.sip()));
    stranger.args(["--transport", "udp", "--json", "--call", "bob", "--seconds", "5"]);
    let refused = Process::run(&story.scratch, "stranger", stranger, CALL);
    assert_ne!(refused.code, Some(0), "{}", refused.out);
    assert!(refused.out.contains("\"not-registered\""), "{}", refused.out);
    let at_the_core = core.list("records");
    assert_eq!(at_the_core.len(), 4, "{at_the_core:#?}");
    let at_the_edge = edge.records();
    // Each call comes through twice: from its caller to the core, and from the core to its callee.
    assert_eq!(at_the_edge.len(), 8, "{at_the_edge:#?}");
    assert!(at_the_edge.iter().all(|record| record["answered"] == true), "{at_the_edge:#?}");
    drop(core.process);
}
