//! Configuration and certificates are read again under open connections (R1.3).

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::{Phone, Process, Server, Story};

const PATIENCE: Duration = Duration::from_secs(20);

/// `openssl s_client` with an open connection.
struct Client {
    child: Child,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Client {
    fn connect(story: &Story, port: u16) -> Self {
        let mut command = story.place.command("openssl");
        let addr = format!("{}:{port}", story.place.server_ip());
        command.args(["s_client", "-quiet", "-connect", &addr]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (mut out, into) = (child.stdout.take().unwrap(), Arc::clone(&heard));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = out.read(&mut buffer) {
                if n == 0 {
                    return;
                }
                into.lock().unwrap().extend(&buffer[..n]);
            }
        });
        Self { child, heard }
    }

    fn say(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("the connection is open");
    }

    /// Waits until `what` was heard `times` times in all.
    fn hears(&self, what: &str, times: usize) {
        let begun = Instant::now();
        loop {
            let heard = String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned();
            if heard.matches(what).count() >= times {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no {what} number {times} in: {heard}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn options(transport: &str, n: u32) -> String {
    format!(
        "OPTIONS sip:call.example SIP/2.0\r\nVia: SIP/2.0/{transport} h.invalid;branch=z9hG4bKo{n}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@call.example>;tag=f{n}\r\nTo: <sip:call.example>\r\n\
         Call-ID: options-{n}\r\nCSeq: {n} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A text frame as clients send it, masked with zeros (RFC 6455 §5.2).
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0xfe];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

const UPGRADE: &str = "GET /sip HTTP/1.1\r\nHost: call.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

/// A self-signed certificate for `name`, where the configuration looks for it.
fn certify(story: &Story, name: &str) {
    let (cert, key) = (story.scratch.file("cert.pem"), story.scratch.file("key.pem"));
    let mut command = story.place.command("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    command.args(["-nodes", "-days", "30", "-subj", &format!("/CN={name}")]);
    command.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
    command.arg("-keyout").arg(key).arg("-out").arg(cert);
    Process::run(&story.scratch, &format!("certify-{name}"), command, PATIENCE).expect_code(0);
}

/// The subject of the certificate a new handshake shows.
fn shown(story: &Story, port: u16, n: u32) -> String {
    let mut command = story.place.command("openssl");
    let addr = format!("{}:{port}", story.place.server_ip());
    command.args(["s_client", "-connect", &addr]).stdin(Stdio::null());
    let seen = Process::run(&story.scratch, &format!("shown-{n}"), command, PATIENCE);
    seen.out.lines().find(|l| l.starts_with("subject=")).unwrap_or("no certificate").to_owned()
}

fn tls_tables(story: &Story, more: &str) -> String {
    let file = |name| story.scratch.file(name).display().to_string();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    format!("[tls]\ncertificate = \"{cert}\"\nkey = \"{key}\"\n{more}")
}

#[test]
fn r1_3_a_reload_drops_no_connection_and_new_handshakes_see_the_new_certificate() {
    let story = Story::on_loopback("reload-certificate");
    story.add_users(&[]);
    certify(&story, "old.example");
    let _server = Server::start_with(&story, &tls_tables(&story, ""));
    let (sips, https) = (story.place.sips(), story.place.https());
    let mut tls = Client::connect(&story, sips);
    tls.say(options("TLS", 1).as_bytes());
    tls.hears("SIP/2.0 200", 1);
    let mut wss = Client::connect(&story, https);
    wss.say(UPGRADE.as_bytes());
    wss.hears("101 Switching", 1);
    wss.say(&frame(&options("WSS", 2)));
    wss.hears("SIP/2.0 200", 1);
    assert!(shown(&story, sips, 1).contains("old.example"));

    certify(&story, "new.example");
    let done = story.cli_json(&["reload", "--json"]);
    assert_eq!(done["reloaded"], serde_json::json!(["certificate"]));
    for (n, port) in [(2, sips), (3, https)] {
        let seen = shown(&story, port, n);
        assert!(seen.contains("new.example"), "port {port}: {seen}");
    }
    tls.say(options("TLS", 3).as_bytes());
    tls.hears("SIP/2.0 200", 2);
    wss.say(&frame(&options("WSS", 4)));
    wss.hears("SIP/2.0 200", 2);

    // A certificate that cannot be used changes nothing, and is named.
    story.scratch.write("cert.pem", "not a certificate");
    let refused = story.cli(&["reload"]).expect_code(1);
    assert!(refused.err.contains("cert.pem"), "{}", refused.err);
    assert!(shown(&story, sips, 4).contains("new.example"));
    tls.say(options("TLS", 5).as_bytes());
    tls.hears("SIP/2.0 200", 3);
}

#[test]
fn a_bad_reload_changes_nothing_and_says_why_and_a_good_one_holds_at_once() {
    let story = Story::on_loopback("reload-config");
    story.add_users(&["alice"]);
    let mut server = Server::start_with(&story, "");
    let mut probe = tests::Probe::new(&story);
    let challenged = |probe: &mut tests::Probe| -> String {
        let (first, _) = probe.register("alice", "wrong");
        let all = first.headers(sip::HeaderName::WWW_AUTHENTICATE);
        all.map(|v| String::from_utf8_lossy(v).into_owned()).collect::<Vec<_>>().join("\n")
    };
    assert!(challenged(&mut probe).contains("SHA-256"));

    Server::config(&story, "[edge]\ndigest_algorithms = [\"MD5\"]\ncalls_maxx = 3\n");
    let refused = story.cli(&["reload"]).expect_code(1);
    let what = "unknown field `calls_maxx`";
    assert!(refused.err.contains(what) && refused.err.contains("calls_max`?"), "{}", refused.err);
    server.process().wait_for("the reason in the log", PATIENCE, |p| {
        (p.err().contains("nothing was reloaded") && p.err().contains(what)).then_some(())
    });
    assert!(challenged(&mut probe).contains("SHA-256"), "nothing has changed");

    Server::config(&story, "[edge]\ndigest_algorithms = [\"MD5\"]\n\n[media]\nsilence_s = 77\n");
    let done = story.cli_json(&["reload", "--json"]);
    assert_eq!(done["reloaded"], serde_json::json!(["edge"]));
    assert_eq!(done["needs_restart"], serde_json::json!(["media"]));
    // A shard takes the change with its next note, which may be after our next datagram.
    let becomes = |probe: &mut tests::Probe, wanted: bool| {
        let begun = Instant::now();
        while challenged(probe).contains("SHA-256") != wanted {
            assert!(begun.elapsed() < PATIENCE, "SHA-256 offered: not {wanted}");
        }
    };
    becomes(&mut probe, false);

    Server::config(&story, "[edge]\ndigest_algorithms = [\"SHA-256\"]\n");
    server.process().signal("HUP");
    server.process().wait_for("the reload", PATIENCE, |p| {
        (p.err().matches("configuration read again").count() >= 2).then_some(())
    });
    becomes(&mut probe, true);
    assert!(probe.is_answered());
}

#[test]
fn r1_3_changed_peers_hold_without_a_restart_and_a_bad_one_changes_nothing() {
    let story = Story::on_loopback("reload-peers");
    story.add_users(&["alice"]);
    let ip = story.place.peer_ip();
    let carrier = UdpSocket::bind((ip, 0)).expect("a port for the carrier");
    carrier.set_read_timeout(Some(PATIENCE)).unwrap();
    let at = carrier.local_addr().unwrap();
    let peer = |profile: &str| {
        // Calls come from the carrier by an address that no phone of this story has.
        format!(
            "[[peer]]\nname = \"carrier\"\naddress = \"{at}\"\nsources = [\"127.0.0.9\"]\n\
             profile = \"{profile}\"\nprefixes = [{{ prefix = \"+4940\" }}]\n"
        )
    };
    let _server = Server::start_with(&story, "");
    let mut tls = Client::connect(&story, story.place.sips());
    tls.say(options("TLS", 1).as_bytes());
    tls.hears("SIP/2.0 200", 1);
    let call = || {
        let phone = Phone::of(&story, "alice", "udp", "pcma").call(&story.address("+4940555"));
        phone.seconds(5).start()
    };
    assert_eq!(call().finish(PATIENCE).result["status"], 404, "nobody takes the number yet");

    Server::config(&story, &peer("nonsense"));
    let refused = story.cli(&["reload"]).expect_code(1);
    assert!(refused.err.contains("nonsense"), "{}", refused.err);
    assert_eq!(call().finish(PATIENCE).result["status"], 404, "nothing has changed");

    Server::config(&story, &peer("plain"));
    let done = story.cli_json(&["reload", "--json"]);
    assert_eq!(done, serde_json::json!({ "reloaded": ["peer"], "needs_restart": [] }));
    let calling = call();
    let mut datagram = [0; 4096];
    let (n, _) = carrier.recv_from(&mut datagram).expect("the call reaches the carrier");
    assert!(
        datagram[..n].starts_with(b"INVITE sip:+4940555@"),
        "{}",
        String::from_utf8_lossy(&datagram[..n])
    );
    calling.finish(PATIENCE);

    Server::config(&story, "");
    let done = story.cli_json(&["reload", "--json"]);
    assert_eq!(done["reloaded"], serde_json::json!(["peer"]));
    assert_eq!(call().finish(PATIENCE).result["status"], 404, "the carrier is gone again");
    tls.say(options("TLS", 2).as_bytes());
    tls.hears("SIP/2.0 200", 2);
}
