//! Phones behind anything borrow an address: coturn's clients at `whimbrel serve` and at
//! `whimbrel turn`.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::{DOMAIN, Process, Server, Story};

const PATIENCE: Duration = Duration::from_secs(60);

/// An echo of coturn's on a free port of loopback.
fn echo(story: &Story) -> (Process, String) {
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a port").port();
    let mut command = Command::new("turnutils_peer");
    command.args(["-L", "127.0.0.1", "-p", &port.to_string()]);
    let mut echo = Process::start(&story.scratch, "echo", command);
    echo.wait_for("the echo's port", PATIENCE, |_| {
        UdpSocket::bind(("127.0.0.1", port)).is_err().then_some(())
    });
    (echo, port.to_string())
}

/// What coturn's client says at its end.
fn client(story: &Story, who: (&str, &str), port: u16, flags: &[&str]) -> String {
    // Refused, it may try for ever.
    let mut command = Command::new("timeout");
    command.args([
        "30",
        "turnutils_uclient",
        "-u",
        who.0,
        "-w",
        who.1,
        "-p",
        &port.to_string(),
        "-c",
        "-n",
        "20",
        "-m",
        "2",
    ]);
    command.args(flags).args(["-L", "127.0.0.1", "127.0.0.1"]);
    let ended = Process::run(&story.scratch, "uclient", command, PATIENCE);
    ended.out + &ended.err
}

#[test]
fn r6_6_users_of_the_server_relay_by_it_and_nobody_reaches_what_is_inside() {
    let story = Story::on_loopback("turn");
    story.add_users(&["alice"]);
    let (port, tls_port) = story.place.turn();
    let (relay_min, relay_max) = story.place.relayed();
    let turn = |more: &str| {
        format!(
            "[turn]\nenabled = true\nport = {port}\ntls_port = {tls_port}\nrelay_min = {relay_min}\n\
             relay_max = {relay_max}\nrealm = \"{DOMAIN}\"\n{more}"
        )
    };
    let (_echo, peer) = echo(&story);
    let password = story.password("alice");
    let alice = ("alice", password.as_str());
    let server = Server::start_with(&story, &turn("allow_peers = [\"127.0.0.0/8\"]\n"));
    for (at, flags) in [(port, &[][..]), (port, &["-t"]), (tls_port, &["-t", "-S"])] {
        let flags = [flags, &["-e", "127.0.0.1", "-r", &peer]].concat();
        let said = client(&story, alice, at, &flags);
        assert!(said.contains("Total lost packets 0 "), "{flags:?}: {said}");
    }
    assert!(server.metric("whimbrel_turn_to_peers_total") >= 120);
    assert!(server.metric("whimbrel_turn_bytes_to_clients_total") > 0);
    let made = server.metric("whimbrel_turn_allocated_total");
    client(&story, ("alice", "wrong"), port, &["-e", "127.0.0.1", "-r", &peer]);
    assert_eq!(server.metric("whimbrel_turn_allocated_total"), made);
    assert!(server.metric("whimbrel_turn_refused_credentials_total") > 0);
    server.kill();
    // Without the exception loopback is inside.
    let server = Server::start_with(&story, &turn(""));
    client(&story, alice, port, &["-e", "127.0.0.1", "-r", &peer]);
    assert!(server.metric("whimbrel_turn_refused_peer_total") > 0);
    assert_eq!(server.metric("whimbrel_turn_to_peers_total"), 0);
}

/// Name and password as a web server makes them (with OpenSSL) from the secret in a file.
pub(crate) fn issue(secret: &Path, username: &str) -> String {
    let secret = std::fs::read_to_string(secret).expect("the secret");
    let script = format!(
        "printf %s '{username}' | openssl dgst -sha1 -hmac '{}' -binary | openssl base64",
        secret.trim()
    );
    let output = Command::new("sh").args(["-c", &script]).output().expect("openssl");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn r6_6_the_turn_server_alone_takes_credentials_until_their_time() {
    let story = Story::on_loopback("turn-alone");
    let (port, _) = story.place.turn();
    let (relay_min, relay_max) = story.place.relayed();
    let secret = story.scratch.write("secret", "north and south\n");
    let mut command = story.whimbrel();
    command.arg("turn").arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--relay-ports").arg(format!("{relay_min}-{relay_max}"));
    command.arg("--secret-file").arg(&secret).args(["--allow-peer", "127.0.0.0/8"]);
    let mut server = Process::start(&story.scratch, "turn", command);
    server.wait_for("the TURN server", PATIENCE, |p| p.out().contains("TURN on").then_some(()));
    let (_echo, peer) = echo(&story);
    let lost = |username: &str| {
        let password = issue(&secret, username);
        let who = (username, password.as_str());
        let said = client(&story, who, port, &["-e", "127.0.0.1", "-r", &peer]);
        !said.contains("Total lost packets 0 ")
    };
    assert!(!lost("4000000000:alice"));
    assert!(lost("1700000000:alice"), "its time is over");
    server.signal("TERM");
    assert!(server.wait(PATIENCE).success());
    let mut nobody = story.whimbrel();
    nobody.args(["turn", "--listen", "127.0.0.1:1"]);
    let ended = Process::run(&story.scratch, "nobody", nobody, PATIENCE);
    assert!(ended.err.contains("nobody could use it"), "{}", ended.err);
}
