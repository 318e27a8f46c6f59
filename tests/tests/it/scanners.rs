//! R2.7: sipvicious, the tool most scanners on the Internet are made of, against the server as
//! it is by default. Loopback is not limited by default, so `limit_loopback` makes it any network.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::handset::StopAtEnd;
use tests::process::Process;
use tests::server::metric;
use tests::{DOMAIN, Probe, Server, Story};

const PATIENCE: Duration = Duration::from_secs(60);
/// As on any other network than loopback.
const DEFAULTS: &str = "[edge]\nlimit_loopback = true\n";
/// Nothing is limited: what the tool finds here it would have found.
const OPEN: &str = "[edge.admission]\nscanner_agents = []\nban_s = 0\n";
/// Where the scanner sits; the owner's phone is at 127.0.0.1.
const SCANNER: &str = "127.0.66.6";

/// A tool of sipvicious against `port`; all that it said.
fn scan(story: &Story, tool: &str, port: u16, arguments: &[&str]) -> String {
    scan_at(story, tool, SocketAddr::new(story.place.server_ip(), port), arguments)
}

fn scan_at(story: &Story, tool: &str, at: SocketAddr, arguments: &[&str]) -> String {
    // Where `make test` puts it, or the PATH.
    let tool = match std::env::var("WHIMBREL_SIPVICIOUS") {
        Ok(folder) => format!("{folder}/sipvicious_{tool}"),
        Err(_) => format!("sipvicious_{tool}"),
    };
    let mut command = story.place.command(&tool);
    command.args(["-p", &at.port().to_string(), "-b", SCANNER, "-P", "0", "-v"]);
    command.args(arguments).arg(at.ip().to_string());
    // Where it keeps its sessions.
    command.env("HOME", story.scratch.path());
    let ended = Process::run(&story.scratch, "sipvicious", command, PATIENCE);
    ended.out + &ended.err
}

/// Alice, and names that are no users. She is first: svwar may break off early.
fn names(story: &Story) -> String {
    let name = |n: usize| if n == 0 { "alice\n".into() } else { format!("user{n}\n") };
    list(story, "names", (0..80).map(name))
}

/// Wrong passwords, and alice's after them.
fn passwords(story: &Story, wrong: usize) -> String {
    let right = std::iter::once(format!("{}\n", story.password("alice")));
    list(story, "passwords", (0..wrong).map(|n| format!("guess{n}\n")).chain(right))
}

fn list(story: &Story, name: &str, lines: impl Iterator<Item = String>) -> String {
    let path: PathBuf = story.scratch.write(name, lines.collect::<String>());
    path.display().to_string()
}

fn war(story: &Story, port: u16, method: &str) -> String {
    let names = names(story);
    let domain = format!("--domain={DOMAIN}");
    scan(story, "svwar", port, &["--force", "-m", method, "-d", &names, &domain, "--maximumtime=3"])
}

fn crack(story: &Story, wrong: usize) -> String {
    crack_at(story, SocketAddr::new(story.place.server_ip(), story.place.sip()), wrong)
}

fn crack_at(story: &Story, at: SocketAddr, wrong: usize) -> String {
    let passwords = passwords(story, wrong);
    let domain = format!("--domain={DOMAIN}");
    let arguments = ["-u", "alice", "-d", &passwords, &domain, "--maximumtime=3"];
    scan_at(story, "svcrack", at, &arguments)
}

/// Makes a better scanner of sipvicious: a name nobody knows, and of the challenges only the one it
/// can answer. What comes from it goes on from the scanner's own address.
fn disguise(story: &Story, stop: &AtomicBool, listening: &UdpSocket) {
    let onward = UdpSocket::bind((SCANNER, 0)).expect("an address of loopback");
    onward.connect((story.place.server_ip(), story.place.sip())).expect("a way");
    for socket in [listening, &onward] {
        socket.set_read_timeout(Some(Duration::from_millis(2))).expect("a timeout");
    }
    let (mut buffer, mut tool) = ([0; 8_192], None);
    while !stop.load(Ordering::Relaxed) {
        if let Ok((n, from)) = listening.recv_from(&mut buffer) {
            tool = Some(from);
            let text = String::from_utf8_lossy(&buffer[..n]);
            // A server that listens to nobody any more is what is looked for.
            let _ = onward.send(text.replace("friendly-scanner", "Honest Phone 1.0").as_bytes());
        }
        if let (Ok(n), Some(tool)) = (onward.recv(&mut buffer), tool) {
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            let kept = text.split_inclusive("\r\n").filter(|line| !line.contains("algorithm=SHA"));
            let _ = listening.send_to(kept.collect::<String>().as_bytes(), tool);
        }
    }
}

/// What the better scanner finds with so many wrong passwords before the right one.
fn crack_in_disguise(story: &Story, wrong: usize) -> String {
    let at = SocketAddr::from(([127, 0, 66, 7], story.place.peer_port(0)));
    let listening = UdpSocket::bind(at).expect("an address of loopback");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        scope.spawn(|| disguise(story, &stop, &listening));
        crack_at(story, at, wrong)
    })
}

/// Whether svwar believes in alice: "extension 'alice' exists", or "probably exists".
fn enumerates(found: &str) -> bool {
    found.contains("extension 'alice'")
}

fn owner_registers(story: &Story) {
    let (_, answer) = Probe::new(story).register("alice", &story.password("alice"));
    assert_eq!(answer.and_then(|m| m.status()), Some(200), "the owner registers");
}

fn bans(story: &Story) -> Vec<(String, String)> {
    let rows = tests::server::rows(story.cli_json(&["bans", "list", "--json"]));
    let text = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap_or("").to_string();
    rows.iter().map(|row| (text(row, "source"), text(row, "sign"))).collect()
}

/// A server as svwar likes it: 404 for who is missing, 401 for alice. The positive control.
fn talkative(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = [0; 4_096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(request) = sip::Message::parse(buffer[..n].to_vec().into()) else { continue };
        let alice = request.header_str("To").is_some_and(|to| to.contains("alice"));
        let (status, reason) = if alice { (401, "Unauthorized") } else { (404, "Not Found") };
        let answer = sip::response_to(&request, status, reason).to_tag("t");
        let challenge = format!("Digest realm=\"{DOMAIN}\", nonce=\"n\"");
        let answer = answer.header("WWW-Authenticate", challenge);
        // A scanner that is gone needs no answer.
        let _ = socket.send_to(answer.build().bytes(), from);
    }
}

#[test]
fn r2_7_sipvicious_is_banned_by_its_name_and_learns_nothing() {
    let story = Story::on_loopback("sipvicious-name");
    story.add_users(&["alice"]);
    let _server = Server::start_with(&story, DEFAULTS);
    owner_registers(&story);
    let found = scan(&story, "svmap", story.place.sip(), &[]);
    assert!(!found.contains("Whimbrel") && !found.contains("whimbrel"), "{found}");
    assert_eq!(bans(&story), [(SCANNER.to_string(), "scanner".to_string())]);
    assert!(metric(&story, "whimbrel_net_shed_scanner_total") >= 1);
    let found =
        war(&story, story.place.sip(), "REGISTER") + &war(&story, story.place.sip(), "INVITE");
    assert!(!enumerates(&found), "{found}");
    let found = crack(&story, 10);
    assert!(!found.contains(&story.password("alice")), "{found}");
    let shed = ["scanner", "banned"].map(|why| format!("whimbrel_net_shed_{why}_total"));
    let shed: u64 = shed.iter().map(|name| metric(&story, name)).sum();
    assert!(shed >= 4, "each of its tools knocked in vain, not {shed} messages");
    owner_registers(&story);
}

#[test]
fn r2_7_sipvicious_enumerates_nobody_even_where_nothing_is_limited() {
    let story = Story::on_loopback("sipvicious-open");
    story.add_users(&["alice"]);
    let _server = Server::start_with(&story, OPEN);
    for method in ["REGISTER", "INVITE", "OPTIONS"] {
        let before = metric(&story, "whimbrel_sip_requests_total");
        let found = war(&story, story.place.sip(), method);
        assert!(!enumerates(&found), "{method}: {found}");
        let asked = metric(&story, "whimbrel_sip_requests_total") - before;
        // It gives up where a name it made up and the first of its list are answered alike.
        assert!(asked >= 2, "{method}: it asked {asked} times\n{found}");
    }
    // The same tool finds alice where the answers differ.
    let socket =
        UdpSocket::bind(SocketAddr::new(story.place.server_ip(), story.place.peer_port(0)));
    let (socket, stop) = (socket.expect("a port"), AtomicBool::new(false));
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    std::thread::scope(|scope| {
        scope.spawn(|| talkative(&socket, &stop));
        let found = war(&story, story.place.peer_port(0), "REGISTER");
        stop.store(true, Ordering::Relaxed);
        assert!(enumerates(&found), "the positive control: {found}");
    });
}

/// svcrack knows MD5 alone: it crashes on SHA-256. Nothing is limited but guessing itself.
const OPEN_MD5: &str =
    "[edge]\ndigest_algorithms = [\"MD5\"]\n[edge.admission]\nscanner_agents = []\nban_s = 0\n";

#[test]
fn r2_8_svcrack_finds_a_password_it_may_guess_at_and_none_behind_the_limits() {
    let story = Story::on_loopback("svcrack");
    story.add_users(&["alice"]);
    let _server = Server::start_with(&story, OPEN_MD5);
    let cracked = format!("The password for alice is {}", story.password("alice"));
    // The right one is its second guess, which everybody has: the positive control.
    let found = crack(&story, 1);
    assert!(found.contains(&cracked), "the positive control: {found}");
    // It is the thirty-first: the limits answer 503 long before, at which svcrack gives up.
    let found = crack(&story, 30);
    assert!(!found.contains(&cracked), "{found}");
    assert!(metric(&story, "whimbrel_guesses_refused_total") >= 1, "{found}");
    owner_registers(&story);
}

#[test]
fn r2_8_svcrack_in_disguise_cracks_nobody_by_default() {
    let name = |wrong: usize| format!("svcrack-default-{wrong}");
    let run = |wrong: usize| {
        let story = Story::on_loopback(&name(wrong));
        story.add_users(&["alice"]);
        let _server = Server::start_with(&story, DEFAULTS);
        let found = crack_in_disguise(&story, wrong);
        let cracked = format!("The password for alice is {}", story.password("alice"));
        owner_registers(&story);
        let refused = metric(&story, "whimbrel_guesses_refused_total");
        (found.contains(&cracked), refused, bans(&story), found)
    };
    // Everybody has a few guesses: the tool works against this server.
    let (cracked, _, _, found) = run(1);
    assert!(cracked, "the positive control: {found}");
    let (cracked, refused, bans, found) = run(30);
    assert!(!cracked, "{found}");
    assert!(refused >= 1 || !bans.is_empty(), "what stopped it: {refused} {bans:?} {found}");
}

/// A sweep that does not say what it is: as many users as it takes, by raw SIP.
#[test]
fn r2_7_a_sweep_over_missing_users_is_banned_whatever_it_calls_itself() {
    let story = Story::on_loopback("sweep");
    story.add_users(&["alice"]);
    let _server = Server::start_with(&story, DEFAULTS);
    let server = SocketAddr::new(story.place.server_ip(), story.place.sip());
    let socket = UdpSocket::bind((SCANNER, 0)).expect("an address of loopback");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let local = socket.local_addr().expect("bound");
    let mut buffer = [0; 4_096];
    let mut ask = |user: &str, n: usize| {
        let text = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKs{n};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag={n}\r\nTo: <sip:{user}@{DOMAIN}>\r\n\
             Call-ID: sweep-{n}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{user}@{local}>\r\n\
             User-Agent: Honest Phone 1.0\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(text.as_bytes(), server).expect("loopback");
        socket
            .recv_from(&mut buffer)
            .ok()
            .map(|(n, _)| String::from_utf8_lossy(&buffer[..n]).into())
    };
    let shape = |answer: String| answer.lines().next().map(String::from);
    let exists = ask("alice", 0).and_then(shape);
    let silent = (1..100).find(|n| {
        let answer: Option<String> = ask(&format!("missing{n}"), *n).and_then(shape);
        assert!(answer.is_none() || answer == exists, "missing users look like alice: {answer:?}");
        answer.is_none()
    });
    assert!(
        silent.is_some_and(|n| (10..=60).contains(&n)),
        "not listened to after {silent:?} names"
    );
    assert_eq!(bans(&story), [(SCANNER.to_string(), "missing-user".to_string())]);
    owner_registers(&story);
}
