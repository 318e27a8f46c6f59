//! Bad input: each is refused by name and with a remedy, and nothing that was there is lost.

use std::net::UdpSocket;
use std::time::Duration;
use tests::process::{Ended, Process};
use tests::{Probe, Server, Story};

const PATIENCE: Duration = Duration::from_secs(20);
/// The remedy for every certificate.
const NAME_FILES: &str = "name PEM files with the certificate chain and its private key";

#[test]
fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let story = Story::on_loopback("scanner");
    story.add_users(&["alice"]);
    let server = Server::start(&story);
    let mut probe = Probe::new(&story);
    let (challenged, refused) = probe.register("alice", "wrong");
    let (challenged_stranger, refused_stranger) = probe.register("nobody", "wrong");
    assert_eq!(challenged.status(), Some(401));
    let (refused, refused_stranger) = (refused.expect("one"), refused_stranger.expect("two"));
    assert_eq!(shape(&challenged), shape(&challenged_stranger));
    assert_eq!(shape(&refused), shape(&refused_stranger));
    assert!(matches!(refused.status(), Some(401 | 403)), "{refused:?}");
    assert_eq!(server.registrations().len(), 0);

    let (_, accepted) = probe.register("alice", &story.password("alice"));
    assert_eq!(accepted.and_then(|m| m.status()), Some(200));
    assert_eq!(server.registrations().len(), 1);
}

#[test]
fn a_phone_with_a_wrong_password_says_so_and_exits_1() {
    let story = Story::on_loopback("wrong-password");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    let wrong = story.scratch.write("wrong.password", "wrong\n");
    let mut command = story.whimbrel();
    command.args(["phone", "--account", &story.address("alice"), "--password-file"]).arg(wrong);
    command.args(["--server", &format!("127.0.0.1:{}", story.place.sip()), "--transport", "udp"]);
    command.args(["--answer", "--json", "--seconds", "10"]);
    let ended = Process::run(&story.scratch, "phone", command, PATIENCE).expect_code(1);
    assert!(ended.out.contains("registration-failed"), "{}", ended.out);
}

/// A server that takes connections and says nothing does not hold a phone longer than it was given.
#[test]
fn a_phone_ends_in_its_seconds_while_its_first_connection_hangs() {
    let story = Story::on_loopback("hanging");
    story.add_users(&["alice"]);
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = story.whimbrel();
    command.args(["phone", "--account", &story.address("alice"), "--password-file"]);
    command.arg(story.scratch.write("alice.password", story.password("alice")));
    command.args(["--server", &mute.local_addr().unwrap().to_string(), "--transport", "tls"]);
    command.args(["--answer", "--seconds", "2"]);
    let begun = std::time::Instant::now();
    let ended = Process::run(&story.scratch, "phone", command, PATIENCE).expect_code(1);
    assert!(ended.err.contains("--seconds 2: no connection"), "{}", ended.err);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn malformed_sip_is_answered_or_dropped_and_the_server_goes_on() {
    let story = Story::on_loopback("malformed");
    story.add_users(&["alice"]);
    let mut server = Server::start(&story);
    let mut probe = Probe::new(&story);
    let (_, accepted) = probe.register("alice", &story.password("alice"));
    assert_eq!(accepted.and_then(|m| m.status()), Some(200));
    for bytes in malformed() {
        Probe::new(&story).send(&bytes);
    }
    // RFC 3261 §8.1.1: a request without its mandatory headers is a bad request, where a Via says
    // whom to tell.
    let hurt = Probe::new(&story);
    hurt.send(
        b"OPTIONS sip:call.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKhurt;rport\r\n\
          From: <sip:a@call.example>;tag=1\r\nTo: <sip:a@call.example>\r\nCall-ID: hurt\r\n\
          CSeq: many OPTIONS\r\nContent-Length: 0\r\n\r\n",
    );
    // The answer copies what was broken, so it is read as bytes.
    let answer = hurt.receive_bytes().expect("an answer to a broken request");
    assert!(answer.starts_with(b"SIP/2.0 400 "), "{}", String::from_utf8_lossy(&answer));
    assert!(Probe::new(&story).is_answered(), "still answers OPTIONS");
    assert!(server.process().is_running());
    assert_eq!(server.registrations().len(), 1, "the registration stays");
    assert!(!server.process().err().contains("panicked"), "{}", server.process().err());
}

#[test]
fn an_occupied_port_is_named_and_serve_exits_1() {
    let story = Story::on_loopback("occupied");
    story.add_users(&["alice"]);
    let taken = UdpSocket::bind((story.place.server_ip(), story.place.sip())).expect("free so far");
    let ended = refuse(&story, "");
    told(&ended, &[&story.place.sip().to_string(), "in use", "stop the other server"]);
    drop(taken);
    let http = std::net::TcpListener::bind((story.place.server_ip(), story.place.https()));
    let ended = refuse(&story, "");
    told(&ended, &[&story.place.https().to_string(), "in use", "stop the other server"]);
    drop(http);
    Server::start(&story);
}

#[test]
fn a_missing_or_garbled_certificate_is_named_and_serve_exits_1() {
    let story = Story::on_loopback("certificate");
    story.add_users(&["alice"]);
    let table = |cert: &str, key: &str| {
        let path = |name: &str| story.scratch.file(name).display().to_string();
        format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", path(cert), path(key))
    };
    let ended = refuse(&story, &table("missing.pem", "missing.key"));
    told(&ended, &["missing.pem", "is missing", NAME_FILES]);
    story.scratch.write("garbled.pem", "-----BEGIN CERTIFICATE-----\nno\n");
    story.scratch.write("garbled.key", "nothing like a key");
    let ended = refuse(&story, &table("garbled.pem", "garbled.key"));
    told(&ended, &["garbled.pem", "not a usable certificate", NAME_FILES]);

    // The server's own good certificate with a garbled key.
    drop(Server::start(&story));
    let found = std::fs::read_dir(story.data().join("tls")).expect("its authority");
    let own: Vec<_> = found.filter_map(|e| e.ok().map(|e| e.path())).collect();
    let good = own.iter().find(|p| p.to_string_lossy().ends_with(".pem")).expect("a certificate");
    std::fs::copy(good, story.scratch.file("good.pem")).expect("a copy");
    let ended = refuse(&story, &table("good.pem", "garbled.key"));
    told(&ended, &["garbled.key", "not a usable private key", NAME_FILES]);
    Server::start(&story);
}

#[test]
fn a_broken_configuration_is_refused_with_line_column_and_the_nearest_name() {
    let story = Story::on_loopback("config");
    let ended = refuse(&story, "[edge]\nbranches_mx = 3\n");
    told(
        &ended,
        &["whimbrel.toml:", ":1: unknown field `branches_mx`", "did you mean `branches_max`?"],
    );
    let ended = refuse(&story, "[media]\nsilence_s = \"long\"\n");
    told(&ended, &["whimbrel.toml:12:13", "silence_s", "invalid type"]);
    let ended = refuse(&story, "[media\n");
    told(&ended, &["whimbrel.toml:"]);
    assert!(!story.data().join("whimbrel.sock").exists());
}

#[test]
fn a_full_disk_is_named_and_loses_nothing_acknowledged() {
    let story = Story::on_small_disk("disk", 16);
    let users: Vec<String> = (0..400).map(|n| format!("u{n:03}")).collect();
    story.import_users(&users);
    let disk = story.data().display().to_string();
    let inside = |script: &str| {
        let mut command = story.place.command("sh");
        command.args(["-c", script]);
        Process::run(&story.scratch, "shell", command, PATIENCE)
    };
    let server = Server::start(&story);
    let mut probe = Probe::new(&story);
    let mut register = |user: &String| {
        let (_, answer) = probe.register(user, &story.password(user));
        answer.and_then(|m| m.status())
    };
    let mut acknowledged = Vec::new();
    for user in &users[..10] {
        assert_eq!(register(user), Some(200));
        acknowledged.push(user.clone());
    }
    let fill = format!("cat /dev/zero >{disk}/ballast 2>/dev/null; df {disk} | tail -n 1");
    let full = inside(&fill);
    assert!(full.out.contains("100%"), "{}", full.out);
    // The last block of the journal may have room yet; then what cannot be kept is refused.
    let mut refused = None;
    for user in &users[10..] {
        match register(user) {
            Some(200) => acknowledged.push(user.clone()),
            other => {
                refused = other;
                break;
            }
        }
    }
    assert!(
        matches!(refused, Some(500 | 503)),
        "{refused:?} after {} were accepted",
        acknowledged.len()
    );
    let complaint = server.complaints();
    assert!(complaint.contains("no space left"), "{complaint}");
    server.kill();

    // No start on a full disk, and the reason.
    let mut process = Server::spawn(&story, "");
    let status = process.wait(PATIENCE);
    let ended = Ended { code: status.code(), out: process.out(), err: process.err() };
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    told(&ended, &["no space left", "free some space"]);

    inside(&format!("rm {disk}/ballast")).expect_code(0);
    let server = Server::start(&story);
    let bound = server.registrations();
    for user in &acknowledged {
        let aor = format!("sip:{}", story.address(user));
        assert!(bound.iter().any(|r| r["aor"] == *aor), "{user} is lost: {}", bound.len());
    }
    let subscribers = tests::server::rows(story.cli_json(&["user", "list", "--json"]));
    assert_eq!(subscribers.len(), users.len());
}

/// Starts a server that must refuse to run.
fn refuse(story: &Story, more: &str) -> Ended {
    let mut process = Server::spawn(story, more);
    let status = process.wait(PATIENCE);
    let ended = Ended { code: status.code(), out: process.out(), err: process.err() };
    assert_eq!(ended.code, Some(1), "out: {}\nerr: {}", ended.out, ended.err);
    let names = [story.place.sip(), story.place.https(), story.place.metrics()];
    for port in names {
        let answered = std::net::TcpStream::connect((story.place.server_ip(), port));
        assert!(answered.is_err() || ended.err.contains("in use"), "{port} is half open");
    }
    ended
}

/// Its complaint has these words: what is wrong, where, and what to do.
fn told(ended: &Ended, words: &[&str]) {
    let complaint = ended.err.to_lowercase();
    for word in words {
        assert!(complaint.contains(&word.to_lowercase()), "`{word}` is missing in: {}", ended.err);
    }
    assert!(!complaint.contains("panicked"), "{}", ended.err);
}

/// Header names and those values that may tell one user from another.
fn shape(message: &sip::Message) -> String {
    let text = String::from_utf8_lossy(message.bytes()).replace("nobody", "alice");
    let lines = text.lines().map(|line| match line.split_once(':') {
        Some((name, _)) if ["Via", "To", "From", "Call-ID"].contains(&name) => name.to_string(),
        // The nonce differs; all that stands beside it does not.
        Some((name, value)) if name.ends_with("uthenticate") => {
            let parts =
                value.split(',').filter(|p| !p.contains("nonce=") && !p.contains("opaque="));
            format!("{name}:{}", parts.collect::<Vec<_>>().join(","))
        }
        _ => line.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn malformed() -> Vec<Vec<u8>> {
    let long = format!("INVITE sip:{} SIP/2.0\r\n\r\n", "a".repeat(40_000));
    let many = format!("OPTIONS sip:x SIP/2.0\r\n{}\r\n", "X: y\r\n".repeat(9_000));
    vec![
        b"".to_vec(),
        b"\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"INVITE".to_vec(),
        b"INVITE sip:x SIP/2.0\r\n\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"SIP/2.0 99999999999 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK\r\n\r\n".to_vec(),
        b"INVITE sip:x SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"INVITE sip:x SIP/2.0\r\nVia: \r\nFrom: <\r\nTo: \"\r\nCSeq: -1 INVITE\r\n\r\n".to_vec(),
        [0xff; 1_400].to_vec(),
        long.into_bytes(),
        many.into_bytes(),
    ]
}
