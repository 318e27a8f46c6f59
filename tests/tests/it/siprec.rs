//! R5.12: calls recorded by somebody else's recorder (SIPREC), paused and resumed, and what becomes
//! of calls when the recorder fails.

use serde_json::Value;
use sip::{Message, response_to};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;
use tests::handset::{Outcome, StopAtEnd, Talk, with_body};
use tests::sipp::{Run, Setup};
use tests::srs::{Conduct, Srs, TlsFront, metadata_of, sdp_of};
use tests::{DOMAIN, Handset, Process, Server, Story};

const PATIENCE: Duration = Duration::from_secs(20);
/// What each says, in every byte of its PCMA.
const SAYS: [u8; 2] = [0x11, 0x22];
/// RTP header.
const HEAD: usize = 12;

/// Two small phones in a call, speaking until they are told to stop.
struct Pair<'s> {
    alice: Handset<'s>,
    outcome: Outcome,
    voice: SocketAddr,
    _bob: ScopedJoinHandle<'s, ()>,
}

fn sdp(at: SocketAddr, more: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio {1} RTP/AVP 8\r\n\
         a=rtpmap:8 PCMA/8000\r\n{more}",
        at.ip(),
        at.port()
    )
}

/// Where an answer or offer wants media.
fn media_at(message: &Message) -> SocketAddr {
    let text = String::from_utf8_lossy(message.body()).into_owned();
    let field = |name: &str, n: usize| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split(' ').nth(n).expect("a field").to_owned()
    };
    format!("{}:{}", field("c=", 2), field("m=audio ", 1)).parse().expect("an address")
}

/// Says one byte, twenty milliseconds at a time.
fn speak(stop: &AtomicBool, socket: &UdpSocket, to: SocketAddr, says: u8) {
    let mut number = 0_u16;
    while !stop.load(Ordering::Relaxed) {
        let mut packet = vec![0x80, 8];
        packet.extend(number.to_be_bytes());
        packet.extend((u32::from(number) * 160).to_be_bytes());
        packet.extend([says; 4]);
        packet.extend([says; 160]);
        let _ = socket.send_to(&packet, to);
        number = number.wrapping_add(1);
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl<'s> Pair<'s> {
    /// Alice calls bob; both speak once it is answered.
    fn call<'e>(
        scope: &'s Scope<'s, 'e>,
        story: &'s Story,
        stop: &'s AtomicBool,
        number: u16,
    ) -> Self {
        let ip = story.place.peer_ip();
        let voices = [0, 1].map(|_| UdpSocket::bind((ip, 0)).expect("a port for RTP"));
        let at = [0, 1].map(|n: usize| voices[n].local_addr().expect("bound"));
        let [voice, bobs] = voices;
        let mut bob = Handset::at(story, "bob", (ip, 0).into()).named(&format!("b{number}"));
        assert_eq!(bob.register(), 200);
        let answering = scope.spawn(move || {
            let mut speaking = None;
            bob.serve_until(stop, |request| {
                let say = |status| response_to(request, status, "").to_tag("bob").record_route();
                if request.method().is_none_or(|m| m.as_str() != "INVITE") {
                    return vec![say(200).build()];
                }
                let to = media_at(request);
                let bobs = bobs.try_clone().expect("a socket");
                speaking.get_or_insert_with(|| {
                    scope.spawn(move || speak(stop, &bobs, to, SAYS[1]));
                });
                let held = String::from_utf8_lossy(request.body()).contains("a=sendonly");
                let way = if held { "a=recvonly\r\n" } else { "" };
                let ok = say(200).header("Contact", "<sip:bob@127.0.0.1:9>");
                vec![ok.body("application/sdp", sdp(at[1], way)).build()]
            });
        });
        let mut alice = Handset::at(story, "alice", (ip, 0).into()).named(&format!("a{number}"));
        let offer = sdp(at[0], "");
        let outcome = alice.invite_changed(&story.address("bob"), |text| {
            // A name that would end an element, were it not escaped.
            with_body(&text, &offer).replace("From: <", "From: \"Al & <b>\" <")
        });
        if outcome.status() == 200 {
            let to = media_at(outcome.last.as_ref().expect("an answer"));
            scope.spawn(move || speak(stop, &voice, to, SAYS[0]));
        }
        Self { alice, outcome, voice: at[0], _bob: answering }
    }

    fn talk(&mut self) -> &mut Talk {
        self.outcome.talk.as_mut().expect("a call")
    }

    fn hang_up(&mut self) -> u16 {
        let talk = self.outcome.talk.as_mut().expect("a call");
        self.alice.hang_up(talk)
    }
}

fn config(srs: &str, more: &str) -> String {
    format!(
        "[recording]\ncalls = \"all\"\nfiles = false\nphones_may_pause = true\n\
         [recording.siprec]\nserver = \"{srs}\"\nanswer_s = 2\n{more}"
    )
}

fn story(name: &str) -> Story {
    let story = Story::on_loopback(name);
    story.add_users(&["alice", "bob"]);
    story
}

/// The record of the only call, once it is over.
fn record(server: &mut Server<'_>, story: &Story) -> Value {
    let look = || {
        let records = tests::server::records(story);
        records.into_iter().find(|record| !record["ended"].is_null())
    };
    server.wait_for("a record", PATIENCE, look)
}

/// What the record says of the recording: recorder and state.
fn steps(record: &Value) -> Vec<String> {
    let steps = record["recording"].as_array().expect("steps");
    steps.iter().map(|s| format!("{} {}", s["recorder"], s["state"]).replace('"', "")).collect()
}

/// Whether no more than what was on its way reaches a stream.
fn is_still(srs: &Srs, stream: usize) -> bool {
    std::thread::sleep(Duration::from_millis(300));
    let before = srs.packets(stream);
    std::thread::sleep(Duration::from_millis(400));
    srs.packets(stream) == before
}

#[test]
fn r5_12_siprec_both_sides_reach_the_recorder_under_their_labels_and_rest_when_told() {
    let story = story("siprec");
    let srs = Srs::start(story.place.peer_ip(), Conduct::Record);
    let mut server = Server::start_with(&story, &config(&srs.uri(), ""));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        assert_eq!(pair.outcome.status(), 200);
        // RFC 7866 §6.1.2: who is aware of recording reads that it is recorded.
        let answer = pair.outcome.last.as_ref().expect("an answer");
        assert!(String::from_utf8_lossy(answer.body()).contains("a=record:on\r\n"));
        let invite = srs.wait("INVITE", 1, PATIENCE);
        assert_eq!(invite.header_str("Require"), Some("siprec"));
        assert!(invite.header_str("Contact").expect("Contact").ends_with(";+sip.src"));
        // Who is heard where: metadata, description and sound agree.
        let (root, offer) = (metadata_of(&invite), sdp_of(&invite));
        let ways: Vec<&str> = offer.lines().filter(|l| *l == "a=sendonly").collect();
        assert_eq!((root.name.as_str(), ways.len()), ("recording", 2), "{offer}");
        let people = root.all("participant");
        let name_ids: Vec<_> = people.iter().map(|p| p.all("nameID")[0]).collect();
        let aors: Vec<&str> = name_ids.iter().map(|id| id.attribute("aor")).collect();
        assert_eq!(aors, ["alice", "bob"].map(|user| format!("sip:{user}@{DOMAIN}")));
        assert_eq!(name_ids[0].all("name").len(), 1, "the caller's name is an element's text");
        for (own, says) in SAYS.into_iter().enumerate() {
            let who = people[own].attribute("participant_id");
            let assoc = root.all("participantstreamassoc");
            let mut assoc = assoc.into_iter().filter(|a| a.attribute("participant_id") == who);
            let sends = &assoc.next().expect("its streams").all("send")[0].text;
            let mut streams = root.all("stream").into_iter();
            let stream = streams.find(|s| s.attribute("stream_id") == sends).expect("a stream");
            let label = format!("a=label:{}", stream.all("label")[0].text);
            let media: Vec<&str> = offer.split("m=audio ").skip(1).collect();
            let at = media.iter().position(|m| m.contains(&label)).expect("the label");
            let packet = srs.wait_packets(at, 20, PATIENCE);
            assert!(packet[HEAD..].iter().all(|b| *b == says), "{says:#x} in stream {at}");
        }
        assert_eq!(server.metric("whimbrel_siprec_calls"), 1);
        let call = server.calls()[0].clone();
        assert_eq!(call["recording"], "recording", "{call}");
        let session_id = call["session_id"].as_str().expect("an id").to_owned();
        // By the command line.
        story.cli(&["recording", "pause", &session_id]).expect_code(0);
        let pause = srs.wait("INVITE", 2, PATIENCE);
        assert_eq!(sdp_of(&pause).matches("a=inactive").count(), 2);
        assert!(is_still(&srs, 0) && is_still(&srs, 1), "it rests");
        assert_eq!(server.calls()[0]["recording"], "paused");
        story.cli(&["recording", "resume", &session_id]).expect_code(0);
        let resume = srs.wait("INVITE", 3, PATIENCE);
        assert_eq!(sdp_of(&resume).matches("a=sendonly").count(), 2);
        assert_eq!(metadata_of(&resume).all("datamode")[0].text, "complete");
        srs.wait_packets(0, 20, PATIENCE);
        // By a phone's recording key.
        let talk = pair.outcome.talk.as_mut().expect("a call");
        let done = pair.alice.inside(talk, "INFO", "Record: off\r\n").expect("an answer");
        assert_eq!(done.status(), Some(200));
        srs.wait("INVITE", 4, PATIENCE);
        assert!(is_still(&srs, 1), "it rests");
        let done = pair.alice.inside(
            pair.outcome.talk.as_mut().expect("a call"),
            "INFO",
            "Record: on\r\n",
        );
        assert_eq!(done.and_then(|m| m.status()), Some(200));
        srs.wait_packets(1, 20, PATIENCE);
        // Hold: the held one sends nothing, and the metadata say so.
        let hold = sdp(pair.voice, "a=sendonly\r\n");
        let talk = pair.outcome.talk.as_mut().expect("a call");
        assert_eq!(pair.alice.reinvite(talk, &hold).and_then(|m| m.status()), Some(200));
        let held = srs.wait("INVITE", 6, PATIENCE);
        let root = metadata_of(&held);
        let sends: Vec<usize> =
            root.all("participantstreamassoc").iter().map(|a| a.all("send").len()).collect();
        assert_eq!(sends, [1, 0], "{held:?}");
        assert_eq!(pair.hang_up(), 200);
        srs.wait("BYE", 1, PATIENCE);
    });
    let record = record(&mut server, &story);
    let expected = ["started", "paused", "resumed", "paused", "resumed"];
    assert_eq!(steps(&record), expected.map(|state| format!("siprec {state}")));
    assert_eq!(record["recording"][1]["why"], "command line");
    assert_eq!(record["recording"][3]["why"], "caller");
    assert_eq!(server.metric("whimbrel_siprec_calls"), 0);
    // Nobody to have rest any more.
    let id = record["session_id"].as_str().expect("an id");
    story.cli(&["recording", "pause", id]).expect_code(1);
}

#[test]
fn r5_12_siprec_a_recorder_that_fails_does_not_disturb_calls_that_need_none() {
    let story = story("siprec-free");
    let srs = Srs::start(story.place.peer_ip(), Conduct::Refuse(480));
    let more = "retry_s = 1\ncheck_s = 1\n";
    let mut server = Server::start_with(&story, &config(&srs.uri(), more));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        assert_eq!(pair.outcome.status(), 200);
        srs.wait("INVITE", 2, PATIENCE);
        // It comes to itself: the rest of the call is recorded.
        srs.set(Conduct::Record);
        srs.wait_packets(0, 20, PATIENCE);
        srs.wait("OPTIONS", 2, PATIENCE);
        // It says nothing any more.
        srs.set(Conduct::Silent);
        let lost =
            || (tests::server::metric(&story, "whimbrel_siprec_lost_total") == 1).then_some(());
        server.wait_for("a loss", PATIENCE, lost);
        // It dies, and another takes its place.
        let at = srs.addr;
        srs.die();
        std::thread::sleep(Duration::from_millis(500));
        let other = Srs::start_at(at, Conduct::Record);
        other.wait_packets(1, 20, PATIENCE);
        assert_eq!(pair.hang_up(), 200, "the call knew nothing of it");
        other.wait("BYE", 1, PATIENCE);
    });
    let record = record(&mut server, &story);
    let steps = steps(&record);
    assert_eq!(steps[0], "siprec failed");
    assert!(steps.contains(&"siprec lost".to_owned()), "{steps:?}");
    assert_eq!(steps.last().map(String::as_str), Some("siprec started"));
    assert_eq!(record["cause"], "bye");
}

#[test]
fn r5_12_siprec_where_it_is_required_a_call_without_a_recorder_ends_and_new_ones_are_refused() {
    let story = story("siprec-required");
    let srs = Srs::start(story.place.peer_ip(), Conduct::Silent);
    let more = "required = true\nretry_s = 8\ncheck_s = 1\n";
    let mut server = Server::start_with(&story, &config(&srs.uri(), more));
    let ended = |n: usize| {
        let story = &story;
        move || {
            let records = tests::server::records(story);
            let is = |r: &&Value| r["cause"] == "not-recorded" && r["ended_by"] == "server";
            (records.iter().filter(is).count() == n).then_some(())
        }
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        assert_eq!(pair.outcome.status(), 200);
        // It is answered nothing: the call ends.
        server.wait_for("the end of the call", PATIENCE, ended(1));
        let mut second = Pair::call(scope, &story, &stop, 2);
        assert_eq!(second.outcome.status(), 503, "no new one meanwhile");
        assert_eq!(server.metric("whimbrel_siprec_calls_refused_total"), 1);
        srs.set(Conduct::Record);
        std::thread::sleep(Duration::from_secs(9));
        let third = Pair::call(scope, &story, &stop, 3);
        assert_eq!(third.outcome.status(), 200);
        srs.wait_packets(0, 20, PATIENCE);
        // It dies in the middle of a call.
        srs.die();
        server.wait_for("the end of the call", PATIENCE, ended(2));
        let _ = (&mut pair, &mut second);
    });
}

/// An authority and a certificate for the recorder's address, made by OpenSSL.
fn certify(story: &Story, ip: std::net::IpAddr) -> String {
    let make = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key \
         -out ca.pem -subj /CN=ca -days 9 -addext basicConstraints=critical,CA:TRUE\n\
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout srs.key \
         -out srs.csr -subj /CN=srs\nprintf 'subjectAltName=IP:{ip}\\n' > srs.ext\n\
         openssl x509 -req -in srs.csr -CA ca.pem -CAkey ca.key -days 9 -set_serial 7 \
         -extfile srs.ext -out srs.pem\n"
    );
    let mut command = story.place.command("sh");
    command.args(["-e", "-c", &make]).current_dir(story.scratch.path());
    Process::run(&story.scratch, "certify", command, PATIENCE).expect_code(0);
    story.scratch.file("ca.pem").display().to_string()
}

#[test]
fn r5_12_siprec_over_tls_the_sound_goes_as_srtp() {
    let story = story("siprec-tls");
    let ip = story.place.peer_ip();
    let ca = certify(&story, ip);
    let srs = Srs::start(ip, Conduct::Record);
    let port = UdpSocket::bind((ip, 0)).and_then(|s| s.local_addr()).expect("a port").port();
    let front = TlsFront::start(&story, &srs, port, "srs");
    let more = format!("[transport]\nca = [\"{ca}\"]\n");
    let uri = format!("sips:srs@{}", front.addr);
    let mut server = Server::start_with(&story, &config(&uri, &more));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        let invite = srs.wait("INVITE", 1, PATIENCE);
        assert!(invite.header_str("Contact").expect("Contact").starts_with("<sips:"));
        let offer = sdp_of(&invite);
        assert_eq!(offer.matches(" RTP/SAVP ").count(), 2, "{offer}");
        assert!(offer.contains("a=crypto:1 "), "{offer}");
        let packet = srs.wait_packets(0, 20, PATIENCE);
        // Sealed: the tag of 80 bits more, and no byte as alice said it.
        assert_eq!(packet.len(), HEAD + 160 + 10);
        assert!(packet[HEAD..].iter().filter(|b| **b == SAYS[0]).count() < 20);
        assert_eq!(pair.hang_up(), 200);
        srs.wait("BYE", 1, PATIENCE);
    });
    assert_eq!(steps(&record(&mut server, &story)), ["siprec started"]);
}

/// SIPp is another's SIP: it takes the call only if it is asked as RFC 7866 wants.
#[test]
fn r5_12_siprec_sipp_takes_a_call_as_recorder() {
    let story = story("siprec-sipp");
    let scenario = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp/srs.xml");
    let port = story.place.sip() + 20;
    let ip = story.place.peer_ip();
    let (_low, high) = ([0; 2], UdpSocket::bind((ip, 0)).expect("a port for RTP"));
    let media = high.local_addr().expect("bound").port();
    high.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let more = ["-t", "t1", "-key", "rtp", &media.to_string(), "-timeout", "60"];
    let setup = Setup {
        scenario: "srs",
        port,
        media_port: 0,
        calls: 1,
        rate: 1,
        more: more.iter().map(|s| (*s).to_owned()).collect(),
    };
    let server_at = SocketAddr::new(story.place.server_ip(), story.place.sip());
    let sipp = Run::start_xml(&story, "srs", (&scenario, server_at), &setup, None);
    let uri = format!("sip:srs@{ip}:{port};transport=tcp");
    let _server = Server::start_with(&story, &config(&uri, ""));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        assert_eq!(pair.outcome.status(), 200);
        let mut packet = [0; 2048];
        for _ in 0..20 {
            let len = high.recv(&mut packet).expect("RTP at the recorder");
            assert!(packet[HEAD..len].iter().all(|b| *b == SAYS[0]));
        }
        pair.talk();
        assert_eq!(pair.hang_up(), 200);
    });
    sipp.expect_none_failed(PATIENCE);
}

/// Configuration of files alone.
const FILES: &str = "[recording]\ncalls = \"all\"\nwav = true\n";

/// What stands beside the only recording.
fn file_metadata(story: &Story) -> Value {
    let folder = story.data().join("recordings").join(DOMAIN);
    let entries = std::fs::read_dir(&folder).expect("the tenant's folder");
    let mut paths = entries.map(|entry| entry.expect("readable").path());
    let path = paths.find(|path| path.extension().is_some_and(|e| e == "json"));
    let text = std::fs::read_to_string(path.expect("metadata")).expect("readable");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn r5_12_a_file_has_nothing_of_a_pause_and_says_when_it_was() {
    let story = story("recording-pause");
    let mut server = Server::start_with(&story, FILES);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        assert_eq!(pair.outcome.status(), 200);
        // Real time: what is measured is the length of a file.
        std::thread::sleep(Duration::from_secs(1));
        let number = server.calls()[0]["call"].to_string();
        story.cli(&["recording", "pause", &number]).expect_code(0);
        std::thread::sleep(Duration::from_secs(2));
        story.cli(&["recording", "resume", &number]).expect_code(0);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(pair.hang_up(), 200);
    });
    let record = record(&mut server, &story);
    assert_eq!(steps(&record), ["file started", "file paused", "file resumed"]);
    let ended = || file_metadata(&story)["ended_ms"].as_u64();
    server.wait_for("the end of the file", PATIENCE, ended);
    let beside = file_metadata(&story);
    let at = |value: &Value| value.as_u64().expect("milliseconds");
    let pause = &beside["pauses"][0];
    let paused = at(&pause["to_ms"]) - at(&pause["from_ms"]);
    let whole = at(&beside["ended_ms"]) - at(&beside["started_ms"]);
    let recorded = at(&beside["duration_ms"]);
    assert!(paused >= 2_000, "{beside}");
    assert!((recorded + paused).abs_diff(whole) < 400, "{beside}");
}

#[test]
fn r5_12_a_recording_key_does_nothing_where_it_may_not() {
    let story = story("recording-key");
    let mut server = Server::start_with(&story, FILES);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let mut pair = Pair::call(scope, &story, &stop, 1);
        let talk = pair.outcome.talk.as_mut().expect("a call");
        // It goes on to bob, as any INFO, who says yes to everything.
        let passed = pair.alice.inside(talk, "INFO", "Record: off\r\n");
        assert_eq!(passed.and_then(|m| m.status()), Some(200));
        assert_eq!(server.calls()[0]["recording"], "recording");
        assert_eq!(pair.hang_up(), 200);
    });
    assert_eq!(steps(&record(&mut server, &story)), ["file started"]);
}
