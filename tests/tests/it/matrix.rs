//! R1.2: the same thirty calls by callers on five transports: same results.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tests::bridge::Bridge;
use tests::flow::{Callee, Caller, SDP};
use tests::sipp::{self, Run, Setup};
use tests::{Probe, Server, Story};

const PATIENCE: Duration = Duration::from_secs(40);
const TRANSPORTS: [&str; 5] = ["udp", "tcp", "tls", "ws", "wss"];
/// Calls of each of the five shapes.
const CALLS: usize = 6;
/// Pairs of SIPp at a time.
const WORKERS: usize = 4;

/// Name, caller, callee, and what the record must say: answered, cause.
type Shape = (&'static str, Caller, Callee, bool, &'static str);

fn shapes() -> Vec<Shape> {
    let rings = || Callee::new().invited().respond(180, "a", "", "");
    let answers = || rings().respond(200, "a", "", SDP).expect("ACK");
    let talks = || Caller::new().invite("", SDP).may(180).expect(200).ack("");
    let hold = SDP.to_string() + "a=sendonly\n";
    vec![
        ("caller-ends", talks().hang_up(), answers().serve("BYE"), true, "bye"),
        ("callee-ends", talks().serve("BYE"), answers().ask("BYE", "a", "", ""), true, "bye"),
        (
            "held",
            talks().then("INVITE", "", &hold).expect(200).ack("").hang_up(),
            answers().serve_with("INVITE", SDP).expect("ACK").serve("BYE"),
            true,
            "bye",
        ),
        (
            "busy",
            Caller::new().invite("", SDP).expect(486).ack_failure(),
            Callee::new().invited().respond(486, "a", "", "").expect("ACK"),
            false,
            "busy",
        ),
        (
            "cancelled",
            Caller::new()
                .invite("", SDP)
                .expect(180)
                .cancel()
                .expect(200)
                .expect(487)
                .ack_failure(),
            rings().serve("CANCEL").respond(487, "a", "", "").expect("ACK"),
            false,
            "cancelled",
        ),
    ]
}

#[test]
fn r1_2_thirty_calls_over_five_transports_and_ipv4() {
    matrix(&Story::on_loopback("matrix4"));
}

#[test]
fn r1_2_thirty_calls_over_five_transports_and_ipv6() {
    matrix(&Story::on_loopback6("matrix6"));
}

fn matrix(story: &Story) {
    let shapes = shapes();
    let units: Vec<(&str, &Shape)> =
        TRANSPORTS.iter().flat_map(|t| shapes.iter().map(move |s| (*t, s))).collect();
    let users = |kind: char| (0..units.len()).map(move |n| format!("{kind}{n}"));
    story.import_users(&users('l').chain(users('r')).collect::<Vec<_>>());
    let mut server = Server::start_with(
        story,
        &format!("ws = {}\n\n[edge]\nmedia_encryption = \"preferred\"\n", story.place.ws()),
    );
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((n, (transport, shape))) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            units.get(n).map(|unit| (n, *unit))
        } {
            if let Err(why) = play(story, n, transport, shape) {
                let why = format!("{transport} {}: {why}", shape.0);
                wrong.lock().expect("no worker panics with it").push(why);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut wrong = wrong.into_inner().expect("no worker panicked");
    let all = units.len() * CALLS;
    let records = server.wait_for("a closed record of each", Duration::from_secs(40), || {
        let records = tests::server::records(story);
        let closed = records.iter().filter(|r| !r["ended"].is_null()).count();
        (closed >= all || !wrong.is_empty()).then_some(records)
    });
    let mut table: BTreeMap<String, usize> = BTreeMap::new();
    for record in &records {
        let from = record["from"].as_str().unwrap_or_default();
        let unit = from.strip_prefix("sip:l").and_then(|t| t.split('@').next()?.parse().ok());
        let Some((transport, shape)) = unit.and_then(|n: usize| units.get(n)) else { continue };
        let (answered, cause) = (&record["answered"], record["cause"].as_str().unwrap_or_default());
        let source = record["source"].as_str().unwrap_or_default().to_lowercase();
        if *answered != shape.3 || cause != shape.4 || !source.starts_with(&format!("{transport}:"))
        {
            wrong.push(format!("{transport} {}: {answered} {cause} by {source}", shape.0));
        }
        *table.entry((*transport).to_string()).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{} of {all}\n{}", wrong.len(), wrong.join("\n"));
    let each = shapes.len() * CALLS;
    assert!(each == 30 && TRANSPORTS.iter().all(|t| table.get(*t) == Some(&each)), "{table:?}");
}

fn play(
    story: &Story,
    n: usize,
    transport: &str,
    (name, caller, callee, _, _): &Shape,
) -> Result<(), String> {
    let place = &story.place;
    let (left, right) = (format!("l{n}"), format!("r{n}"));
    let port = |side: usize| place.peer_port(u16::try_from(4 * n + side).expect("few units"));
    let sipp = |side| SocketAddr::new(place.peer_ip(), port(side));
    let bridge = |side: usize| {
        (transport != "udp").then(|| Bridge::start(story, transport, (port(side + 2), sipp(side))))
    };
    // SIPp's media is in clear, which a callee on TLS or WebSocket would not be offered: the callee
    // stays on UDP.
    let near = bridge(0);
    let to = |bridge: &Option<Bridge>| {
        let server = SocketAddr::new(place.server_ip(), place.sip());
        bridge.as_ref().map_or(server, Bridge::at)
    };
    let mut probe = Probe::at(story, port(1));
    let (_, registered) = probe.register(&right, &story.password(&right));
    if registered.and_then(|m| m.status()) != Some(200) {
        return Err("the callee is not registered".into());
    }
    drop(probe);
    let users = sipp::users_file(story, &format!("{n}.csv"), &vec![(left, right); CALLS]);
    let start = |side: usize, what: &str, xml: String, remote, users| {
        let file = story.scratch.write(&format!("{transport}-{name}-{what}.xml"), xml);
        let more = ["-timeout", "20s", "-timeout_error", "-recv_timeout", "15000"];
        let setup = Setup {
            scenario: "",
            port: port(side),
            media_port: 0,
            calls: CALLS,
            rate: 20,
            more: more.map(String::from).to_vec(),
        };
        Run::start_xml(story, &format!("{transport}-{name}-{what}"), (&file, remote), &setup, users)
    };
    let callee = start(1, "callee", callee.xml(), to(&None), None);
    let caller = start(0, "caller", caller.xml(), to(&near), Some(users.as_path()));
    let (caller, callee) = (caller.outcome(PATIENCE), callee.outcome(PATIENCE));
    caller.map_err(|e| format!("caller {e}"))?;
    callee.map_err(|e| format!("callee {e}"))
}
