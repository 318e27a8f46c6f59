//! R1.6: call shapes of older and odder phones, each played by two SIPp through a running server.
//! Every flow has a name, a caller, a callee, and the end its record must tell.

mod bodies;
mod early_media;
mod endings;
mod inside;
mod shapes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tests::flow::{Callee, Caller, SDP};
use tests::sipp::{self, Run, Setup};
use tests::{Probe, Server, Story};

const PATIENCE: Duration = Duration::from_secs(40);
/// Flows at a time.
const WORKERS: usize = 4;

/// One flow: name, caller, callee, whether the call is answered, cause in the record.
type Flow = (&'static str, Caller, Callee, bool, &'static str);

const BYE: (bool, &str) = (true, "bye");

fn flow(
    name: &'static str,
    caller: Caller,
    callee: Callee,
    (answered, cause): (bool, &'static str),
) -> Flow {
    (name, caller, callee, answered, cause)
}

/// A caller whose call is answered and who is about to speak.
fn talking(lines: &str) -> Caller {
    Caller::new().invite(lines, SDP).may(180).expect(200).ack("")
}

/// A callee who answered.
fn answering() -> Callee {
    Callee::new().invited().respond(180, "a", "", "").respond(200, "a", "", SDP).expect("ACK")
}

#[test]
fn r1_6_calls_of_every_legacy_shape_end_as_they_should() {
    let story = Story::on_loopback("legacy");
    let flows: Vec<Flow> =
        [early_media::flows(), bodies::flows(), endings::flows(), inside::flows(), shapes::flows()]
            .into_iter()
            .flatten()
            .collect();
    assert!(flows.len() >= 40, "{} flows", flows.len());
    let users = |kind: char| (0..flows.len()).map(move |n| format!("{kind}{n}"));
    story.import_users(&users('l').chain(users('r')).collect::<Vec<_>>());
    let mut server = Server::start(&story);
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((n, flow)) = flows.get(next.load(Ordering::Relaxed)).and_then(|_| {
            let n = next.fetch_add(1, Ordering::Relaxed);
            flows.get(n).map(|flow| (n, flow))
        }) {
            if let Err(why) = play(&story, n, flow) {
                wrong.lock().expect("no worker panics with it").push(format!("{}: {why}", flow.0));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut wrong = wrong.into_inner().expect("no worker panicked");
    let records = server.wait_for("a closed record of each", Duration::from_secs(40), || {
        let records = tests::server::records(&story);
        let closed = records.iter().filter(|r| !r["ended"].is_null()).count();
        (closed >= flows.len() || !wrong.is_empty()).then_some(records)
    });
    for (n, (name, _, _, answered, cause)) in flows.iter().enumerate() {
        let from = format!("sip:{}", story.address(&format!("l{n}")));
        let mine: Vec<_> = records.iter().filter(|r| r["from"] == *from).collect();
        let [record] = mine[..] else {
            wrong.push(format!("{name}: {} records", mine.len()));
            continue;
        };
        if record["answered"] != *answered || record["cause"] != *cause {
            wrong.push(format!("{name}: {} {}", record["answered"], record["cause"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), flows.len(), wrong.join("\n"));
    assert!(!server.complaints().contains("panicked"));
}

/// Registers the callee, then plays both sides.
fn play(story: &Story, n: usize, (name, caller, callee, _, _): &Flow) -> Result<(), String> {
    let (left, right) = (format!("l{n}"), format!("r{n}"));
    let at = |side: usize| story.place.peer_port(u16::try_from(2 * n + side).expect("few flows"));
    let mut probe = Probe::at(story, at(1));
    let (_, registered) = probe.register(&right, &story.password(&right));
    if registered.and_then(|m| m.status()) != Some(200) {
        return Err("the callee is not registered".into());
    }
    drop(probe);
    let file = |side: &str, xml: String| -> PathBuf {
        story.scratch.write(&format!("{name}-{side}.xml"), xml)
    };
    let users = sipp::users_file(story, &format!("{name}.csv"), &[(left, right)]);
    let setup = |side: usize| Setup {
        scenario: "",
        port: at(side),
        media_port: 0,
        calls: 1,
        rate: 1,
        more: ["-timeout", "15s", "-timeout_error", "-recv_timeout", "9000"]
            .map(String::from)
            .to_vec(),
    };
    let start = |side: &str, number, xml, users| {
        let (name, server) = (format!("{name}-{side}"), story.place.server_ip());
        let server = SocketAddr::new(server, story.place.sip());
        Run::start_xml(story, &name, (&file(side, xml), server), &setup(number), users)
    };
    let callee = start("callee", 1, callee.xml(), None);
    let caller = start("caller", 0, caller.xml(), Some(users.as_path()));
    let (caller, callee) = (caller.outcome(PATIENCE), callee.outcome(PATIENCE));
    caller.map_err(|e| format!("caller {e}"))?;
    callee.map_err(|e| format!("callee {e}"))
}
