//! RFC 3261 §13.2.2.4: one INVITE that two answer. SIPp calls, SIPp answers twice, and the sound of
//! all three is looked at while one dialog after the other ends.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tests::flow::{Callee, Caller, SDP};
use tests::sipp::{self, Run, Setup};
use tests::{Probe, Server, Story};

const PATIENCE: Duration = Duration::from_secs(40);
/// How long each of the two stretches of talking is.
const TALK_MS: u32 = 2_500;

/// Who answers a call, and in what order its dialogs end.
struct Forked {
    name: &'static str,
    caller: Caller,
    /// Scenarios of the phones; with one, that answers twice, as a proxy does that forked.
    phones: Vec<Callee>,
    /// Who is heard while both dialogs stand, and who after the first of them ended.
    heard: [&'static str; 2],
}

/// The caller is answered by both, talks, and then does the rest.
fn answered_twice() -> Caller {
    let caller = Caller::new().invite("", &SDP.replace("40000", "[caller_port]"));
    let caller = caller.may(180).may(180).expect_dialog(200, "one").then_in("one", "ACK");
    caller.expect_dialog(200, "two").then_in("two", "ACK").pause(TALK_MS)
}

fn hangs_up(caller: Caller, name: &str) -> Caller {
    caller.then_in(name, "BYE").expect(200)
}

/// The first to answer.
fn first() -> Callee {
    let sdp = SDP.replace("40000", "[one_port]");
    Callee::new().invited().respond(180, "a", "", "").respond(200, "a", "", &sdp).expect("ACK")
}

/// It answers as the CANCEL for it is on its way.
fn second() -> Callee {
    let sdp = SDP.replace("40000", "[two_port]");
    let ringing = Callee::new().invited().respond(180, "b", "", "").expect("CANCEL");
    ringing.respond_plainly(200, "", "").respond(200, "b", "", &sdp).expect("ACK")
}

fn flows() -> Vec<Forked> {
    let twice = || {
        let again = SDP.replace("40000", "[two_port]");
        first().respond(200, "b", "", &again).expect("ACK").serve("BYE").serve("BYE")
    };
    let in_turn =
        |one: &str, two: &str| hangs_up(hangs_up(answered_twice(), one).pause(TALK_MS), two);
    vec![
        Forked {
            name: "first-then-second",
            caller: in_turn("one", "two"),
            phones: vec![first().serve("BYE"), second().serve("BYE")],
            heard: ["one", "two"],
        },
        Forked {
            name: "second-then-first",
            caller: in_turn("two", "one"),
            phones: vec![first().serve("BYE"), second().serve("BYE")],
            heard: ["one", "one"],
        },
        Forked {
            name: "first-and-the-second-itself",
            caller: hangs_up(answered_twice(), "one").serve("BYE"),
            phones: vec![first().serve("BYE"), second().pause(2 * TALK_MS).ask("BYE", "b", "", "")],
            heard: ["one", "two"],
        },
        Forked {
            name: "one-phone-first-then-second",
            caller: in_turn("one", "two"),
            phones: vec![twice()],
            heard: ["one", "two"],
        },
        Forked {
            name: "one-phone-second-then-first",
            caller: in_turn("two", "one"),
            phones: vec![twice()],
            heard: ["one", "one"],
        },
    ]
}

/// The sound of one party.
struct Sound {
    name: &'static str,
    socket: UdpSocket,
    /// Where the server told it to send.
    to: Option<SocketAddr>,
    sequence: u16,
    /// Whom it heard, one entry for each packet.
    heard: Vec<&'static str>,
}

const PARTIES: [&str; 3] = ["caller", "one", "two"];

impl Sound {
    fn at(name: &'static str, local: SocketAddr) -> Self {
        let socket = UdpSocket::bind(local).expect("a port of the story's own");
        socket.set_nonblocking(true).expect("a socket");
        Self { name, socket, to: None, sequence: 0, heard: Vec::new() }
    }

    /// One packet of PCMA that says who speaks, and what came meanwhile.
    fn turn(&mut self) {
        let own = PARTIES.iter().position(|p| *p == self.name).expect("one of them") as u8;
        if let Some(to) = self.to {
            self.sequence += 1;
            let mut packet = vec![0x80, 8];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend((u32::from(self.sequence) * 160).to_be_bytes());
            packet.extend([0, 0, 9, own]);
            packet.extend([own; 160]);
            // A port that is closed already is no matter.
            let _ = self.socket.send_to(&packet, to);
        }
        let mut buffer = [0; 2_000];
        while let Ok(n) = self.socket.recv(&mut buffer) {
            if n == 172 && buffer[1] & 0x7f == 8 {
                self.heard.push(PARTIES[usize::from(buffer[171])]);
            }
        }
    }
}

/// The number at the end of the first line that begins so.
fn logged(run: &Run, beginning: &str) -> Option<u16> {
    run.logged().iter().find_map(|line| line.strip_prefix(beginning)?.trim().parse().ok())
}

/// Plays one, and what was wrong with it.
fn play(story: &Story, server: &Server<'_>, n: usize, flow: &Forked) -> Result<(), String> {
    let (caller, callee) = (format!("l{n}"), format!("r{n}"));
    let at = |k: usize| story.place.peer_port(u16::try_from(10 * n + k).expect("few flows"));
    let rtp = |k: usize| SocketAddr::new(story.place.peer_ip(), at(k));
    let mut sounds: Vec<Sound> =
        PARTIES.iter().zip(3..).map(|(name, k)| Sound::at(name, rtp(k))).collect();
    for k in 0..flow.phones.len() {
        let (_, registered) =
            Probe::at(story, at(1 + k)).register(&callee, &story.password(&callee));
        if registered.and_then(|m| m.status()) != Some(200) {
            return Err("a phone is not registered".into());
        }
    }
    let users = sipp::users_file(story, &format!("{}.csv", flow.name), &[(caller.clone(), callee)]);
    let keys = [3, 4, 5].map(|k| at(k).to_string());
    let ports = PARTIES.iter().zip(&keys);
    let ports = ports.flat_map(|(who, port)| ["-key".into(), format!("{who}_port"), port.clone()]);
    let more = ["-timeout", "40s", "-timeout_error", "-recv_timeout", "15000"].map(String::from);
    let more: Vec<String> = more.into_iter().chain(ports).collect();
    let start = |k: usize, xml: String, users| {
        let name = format!("{}-{k}", flow.name);
        let file = story.scratch.write(&format!("{name}.xml"), xml);
        let more = more.clone();
        let setup = Setup { scenario: "", port: at(k), media_port: 0, calls: 1, rate: 1, more };
        let server = SocketAddr::new(story.place.server_ip(), story.place.sip());
        Run::start_xml(story, &name, (&file, server), &setup, users)
    };
    let phones: Vec<Run> =
        flow.phones.iter().zip(1..).map(|(phone, k)| start(k, phone.xml(), None)).collect();
    let mut left = start(0, flow.caller.xml(), Some(users.as_path()));
    let from = format!("sip:{}", story.address(&caller));
    let looked = converse(story, server, (&mut left, &phones), &mut sounds, &from);
    left.outcome(PATIENCE).map_err(|e| format!("caller {e}"))?;
    for phone in phones {
        phone.outcome(PATIENCE).map_err(|e| format!("phone {e}"))?;
    }
    check(flow, &sounds, looked)
}

/// Lets all three speak until the caller is done; the calls of the caller that the server knows of
/// while the second of the dialogs stands alone.
fn converse(
    story: &Story,
    server: &Server<'_>,
    (left, phones): (&mut Run, &[Run]),
    sounds: &mut [Sound],
    from: &str,
) -> Option<usize> {
    let (begin, mut answered, mut looked) = (Instant::now(), None, None);
    let relay = |port: Option<u16>| port.map(|p| SocketAddr::new(story.place.server_ip(), p));
    while left.is_running() && begin.elapsed() < PATIENCE {
        for (k, sound) in sounds.iter_mut().enumerate() {
            if sound.to.is_none() {
                sound.to = relay(match k {
                    0 => logged(left, "heard one "),
                    _ => logged(&phones[(k - 1).min(phones.len() - 1)], "invited "),
                });
            }
            sound.turn();
        }
        if answered.is_none() && sounds[0].to.is_some() {
            answered = Some(Instant::now());
        }
        let alone = Duration::from_millis(u64::from(TALK_MS) * 3 / 2);
        if looked.is_none() && answered.is_some_and(|at: Instant| at.elapsed() > alone) {
            let calls = server.calls();
            looked = Some(calls.iter().filter(|call| call["from"] == *from).count());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    looked
}

/// Whether everybody heard whom they should, in that order.
fn check(flow: &Forked, sounds: &[Sound], looked: Option<usize>) -> Result<(), String> {
    /// Of more than a hundred packets in a stretch.
    const ENOUGH: usize = 20;
    let [caller, one, two] = sounds else { return Err("three parties".into()) };
    if looked != Some(1) {
        return Err(format!("{looked:?} calls while one dialog stands"));
    }
    let mut order = caller.heard.clone();
    order.dedup();
    let mut expected = flow.heard.to_vec();
    expected.dedup();
    let enough = |who: &str| caller.heard.iter().filter(|h| **h == who).count() >= ENOUGH;
    if order != expected || !expected.iter().all(|who| enough(who)) {
        return Err(format!("the caller heard {order:?}, {} packets", caller.heard.len()));
    }
    for phone in [one, two] {
        let heard = phone.heard.len();
        if (heard >= ENOUGH) != expected.contains(&phone.name) || (heard > 0) != (heard >= ENOUGH) {
            return Err(format!("{} heard {heard} packets", phone.name));
        }
    }
    Ok(())
}

#[test]
fn r1_6_a_call_that_two_answer_lasts_as_long_as_either_dialog_and_its_sound_goes_along() {
    let story = Story::on_loopback("forked");
    let flows = flows();
    let users = |kind: char| (0..flows.len()).map(move |n| format!("{kind}{n}"));
    story.import_users(&users('l').chain(users('r')).collect::<Vec<_>>());
    let mut server = Server::start(&story);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (n, flow) in flows.iter().enumerate() {
            let (story, server, wrong) = (&story, &server, &wrong);
            scope.spawn(move || {
                if let Err(why) = play(story, server, n, flow) {
                    wrong.lock().expect("no panic").push(format!("{}: {why}", flow.name));
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), flows.len(), wrong.join("\n"));
    let records = server.wait_for("a closed record of each", PATIENCE, || {
        let records = tests::server::records(&story);
        records.iter().all(|r| !r["ended"].is_null()).then_some(records)
    });
    assert_eq!(records.len(), flows.len(), "one INVITE is one call");
    for record in &records {
        assert!(record["answered"] == true && record["cause"] == "bye", "{record}");
    }
    server.wait_for("nothing to be left", PATIENCE, || {
        let gone = ["calls", "relay_sessions", "relay_ports_in_use"];
        let left = |name: &str| tests::server::metric(&story, &format!("whimbrel_{name}"));
        (gone.iter().map(|name| left(name)).sum::<u64>() == 0).then_some(())
    });
    assert!(!server.complaints().contains("panicked"));
}
