//! A phone on networks that block what it wants most (R1.2).

use serde_json::Value;
use std::time::{Duration, Instant};
use tests::{Phone, Place, Process, Server, Story};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// What the requirement gives a phone, with one transport after another blocked.
const REGISTERED: Duration = Duration::from_secs(5);

/// The whole policy, with the story's ports.
fn policy(place: &Place) -> String {
    let (sip, sips, https) = (place.sip(), place.sips(), place.https());
    format!("udp:{sip},tcp:{sip},tls:{sips},wss:{https}")
}

/// Has the network drop what goes to these ports of the server, without a word; what was dropped
/// before passes again. The server's own services live there too, so nobody calls them here.
fn block(story: &Story, rules: &[String]) {
    let mut text =
        String::from("table inet guest {}\ndelete table inet guest\ntable inet guest {\n");
    text += "chain in { type filter hook input priority 0; policy accept;\n";
    let server = story.place.server_ip();
    rules.iter().for_each(|rule| text += &format!("ip daddr {server} {rule} drop\n"));
    text += "}\n}\n";
    let file = story.scratch.write("guest.nft", text);
    let mut nft = story.place.command("/usr/sbin/nft");
    nft.arg("-f").arg(file);
    Process::run(&story.scratch, "nft", nft, START).expect_code(0);
}

fn link_ups(events: &[Value]) -> Vec<&str> {
    let ups = events.iter().filter(|e| e["event"] == "link-up");
    ups.filter_map(|e| e["transport"].as_str()).collect()
}

#[test]
fn r1_2_our_phone_registers_within_five_seconds_whatever_the_network_blocks() {
    let story = Story::on_network("stepping");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let (sip, sips) = (story.place.sip(), story.place.sips());
    let udp = format!("udp dport {sip}");
    let (tcp, tls) = (format!("tcp dport {sip}"), format!("tcp dport {sips}"));
    let all = policy(&story.place);
    for (blocked, want) in [
        (vec![], "udp"),
        (vec![udp.clone()], "tcp"),
        (vec![udp.clone(), tcp.clone()], "tls"),
        (vec![udp, tcp, tls], "wss"),
    ] {
        block(&story, &blocked);
        // Each time as on a network where the phone never was.
        let _ = std::fs::remove_dir_all(story.state());
        let tone = ["--tone", "440"];
        let bob = Phone::of(&story, "bob", "wss", "opus").answer().with(&tone);
        let mut bob = bob.seconds(30).start();
        bob.wait_event("registered", START);
        let begun = Instant::now();
        let alice = Phone::of(&story, "alice", &all, "opus").call(&story.address("bob"));
        let mut phone = alice.with(&tone).seconds(9).start();
        phone.wait_event("registered", START);
        let took = begun.elapsed();
        assert!(took < REGISTERED, "{took:?} until registered by {want}");
        let ended = phone.finish(CALL).expect_answered();
        assert_eq!(link_ups(&ended.events).last(), Some(&want), "{:#?}", ended.events);
        let heard = ended.result["quality"]["packets_received"].as_u64();
        assert!(heard > Some(50), "{want}: {:#?}", ended.result);
        let encrypted = matches!(want, "tls" | "wss");
        assert_eq!(ended.result["encrypted"], encrypted, "{want}");
        bob.finish(CALL).expect_answered();
    }

    // The same network again: what worked comes first.
    let mut phone = Phone::of(&story, "alice", &all, "opus").answer().seconds(4).start();
    phone.wait_event("registered", START);
    assert_eq!(link_ups(&phone.events()), ["wss"]);
    phone.finish(CALL);

    // A day later nothing is blocked: it starts with what worked, looks, and steps back.
    block(&story, &[]);
    let mut kept = std::fs::read_dir(story.state().join("whimbrel")).expect("the state folder");
    let kept = kept.find_map(|file| {
        let path = file.ok()?.path();
        path.file_name()?.to_str()?.starts_with("transports-").then_some(path)
    });
    let kept = kept.expect("a memory of networks");
    let text = std::fs::read_to_string(&kept).expect("it is readable");
    let mut rows: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(rows[0]["transport"], "wss");
    rows[0]["since_s"] = 1.into();
    std::fs::write(&kept, rows.to_string()).expect("it is ours");
    let phone = Phone::of(&story, "alice", &all, "opus").answer().seconds(16).start();
    let ended = phone.finish(CALL);
    assert_eq!(link_ups(&ended.events), ["wss", "udp"], "{:#?}", ended.events);
    let last = ended.events.iter().rposition(|e| e["event"] == "registered");
    let up = ended.events.iter().rposition(|e| e["event"] == "link-up");
    assert!(last > up, "registered by UDP too: {:#?}", ended.events);
}

#[test]
fn r1_2_a_closed_tls_port_is_passed_by_without_falling_back_to_clear() {
    let story = Story::on_loopback("closed-tls");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    let (closed, https) = (story.place.peer_port(0), story.place.https());
    let list = format!("tls:{closed},wss:{https}");
    let phone = Phone::of(&story, "alice", &list, "opus").call(&story.address("tone"));
    let ended = phone.seconds(5).start().finish(CALL).expect_answered();
    assert_eq!(link_ups(&ended.events), ["wss"]);
    assert_eq!(ended.result["encrypted"], true);

    let mut command = story.whimbrel();
    command.arg("phone").arg("--account").arg(story.address("alice"));
    command.arg("--password-file").arg(story.password_file("alice"));
    command.args(["--server", "127.0.0.1", "--transport", "tls,udp", "--answer"]);
    let ended = Process::run(&story.scratch, "clear", command, START).expect_code(2);
    assert!(ended.err.contains("udp after tls would give the call in clear"), "{}", ended.err);
}
