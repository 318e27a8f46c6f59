//! What a controller adds to a call: sound, digits, recordings and third parties; beside rtpengine
//! where that has it.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use audio::{Wav, g711, level};
use tests::Story;
use tests::ng::{Controller, Value, our_relay, rtpengine};

use super::meaning::Meaning;
use super::{Joined, OURS, THEIRS};

const CALL: &str = "studio";
/// A second of sound that is easily told from what the parties say.
const TONE_HZ: f64 = 440.0;

fn names(more: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    [&[("call-id", Value::from(CALL))], more].concat()
}

fn of_a(more: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    names(&[&[("from-tag", Value::from("a"))], more].concat())
}

/// A packet that a party heard.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    at: Duration,
    payload_type: u8,
    marker: bool,
    ssrc: [u8; 4],
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

/// Both speak, 20 ms at a time; what `ears` hear meanwhile.
fn talk<const N: usize>(
    call: &Joined,
    from: &mut u16,
    time: Duration,
    ears: [&UdpSocket; N],
) -> [Vec<Heard>; N] {
    for ear in ears {
        ear.set_nonblocking(true).expect("a socket");
    }
    let (start, mut heard, mut buffer) = (Instant::now(), [const { Vec::new() }; N], [0; 2_000]);
    let mut next = start;
    while start.elapsed() < time {
        if Instant::now() >= next {
            next += Duration::from_millis(20);
            *from = from.wrapping_add(1);
            call.send(0, 0, *from, &[0x11; 160]);
            call.send(1, 0, *from, &[0x22; 160]);
        }
        for (ear, heard) in ears.iter().zip(&mut heard) {
            while let Ok(len) = ear.recv(&mut buffer) {
                let packet = &buffer[..len];
                let word = |at: usize| packet[at..at + 4].try_into().expect("four bytes");
                heard.push(Heard {
                    at: start.elapsed(),
                    payload_type: packet[1] & 0x7f,
                    marker: packet[1] & 0x80 != 0,
                    ssrc: word(8),
                    sequence: u16::from_be_bytes([packet[2], packet[3]]),
                    timestamp: u32::from_be_bytes(word(4)),
                    payload: packet[12..].to_vec(),
                });
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    for ear in ears {
        ear.set_nonblocking(false).expect("a socket");
    }
    heard
}

/// A second of a tone.
pub fn tone_file(story: &Story) -> String {
    let samples: Vec<i16> = (0..8000)
        .map(|n| (8000.0 * (f64::from(n) * TONE_HZ * std::f64::consts::TAU / 8000.0).sin()) as i16)
        .collect();
    let path = story.scratch.file("tone.wav");
    std::fs::write(&path, Wav::mono(8000, samples).to_bytes()).expect("a file");
    path.display().to_string()
}

/// Played packets are those of a stream that neither party sends.
fn played(heard: &[Heard]) -> Vec<Heard> {
    let own =
        |h: &&Heard| h.payload_type == 0 && h.payload != [0x11; 160] && h.payload != [0x22; 160];
    heard.iter().filter(own).cloned().collect()
}

/// The same file through both relays: as many packets, as loud, evenly, in a stream of its own, and
/// the same words to the controller.
#[test]
fn ng_media_is_played_as_rtpengine_plays_it_and_in_place_of_the_other_side() {
    let story = Story::on_loopback("ng-play");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &[]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    let file = tone_file(&story);
    for (control, ip, is_ours) in [(our_control, OURS, true), (their_control, THEIRS, false)] {
        let mut controller = Controller::of(control);
        let call = Joined::new(&mut controller, ip.into(), CALL);
        let mut sequence = 0;
        talk(&call, &mut sequence, Duration::from_millis(200), [&call.sockets[0]]);
        let reply = controller.command("play media", &of_a(&[("file", file.as_str().into())]));
        assert_eq!((reply.text("result"), reply.number("duration")), ("ok", 1000), "{ip:?}");
        let ears = [&call.sockets[0], &call.sockets[1]];
        let [a, b] = talk(&call, &mut sequence, Duration::from_millis(1_500), ears);
        let tone = played(&a);
        assert_eq!(tone.len(), 50, "{ip:?}");
        assert!(tone[0].marker && tone.iter().all(|h| h.ssrc == tone[0].ssrc), "{ip:?}");
        let steps = tone.windows(2).all(|w| {
            w[1].sequence == w[0].sequence.wrapping_add(1)
                && w[1].timestamp == w[0].timestamp.wrapping_add(160)
        });
        assert!(steps, "{ip:?}: numbered one by one");
        let samples: Vec<i16> =
            tone.iter().flat_map(|h| &h.payload).map(|b| g711::decode_ulaw(*b)).collect();
        assert!((level::dbov(&samples) + 15.3).abs() < 0.5, "{ip:?}: {}", level::dbov(&samples));
        let took = tone[49].at - tone[0].at;
        let evenly = Duration::from_millis(820)..Duration::from_millis(1_120);
        assert!(evenly.contains(&took), "{ip:?}: {took:?}");
        assert!(played(&b).is_empty() && b.len() > 60, "{ip:?}: the other side hears on");
        if is_ours {
            // rtpengine 10.5 sends both streams at once, which a phone cannot make sense of.
            let while_playing = a.iter().filter(|h| h.at > tone[0].at && h.at < tone[49].at);
            let beside = while_playing.filter(|h| h.payload == [0x22; 160]).count();
            assert_eq!(beside, 0, "the callee's packets are left out meanwhile");
        }
        assert!(
            a.iter().any(|h| h.at > tone[49].at && h.payload == [0x22; 160]),
            "{ip:?}: and back"
        );

        // A round after the other, until it is stopped.
        let times = [("file", Value::from(file.as_str())), ("repeat-times", Value::Number(9))];
        assert_eq!(controller.command("play media", &of_a(&times)).text("result"), "ok");
        let [a] = talk(&call, &mut sequence, Duration::from_millis(1_500), [&call.sockets[0]]);
        assert!((70..=80).contains(&played(&a).len()), "{ip:?}: {}", played(&a).len());
        assert_eq!(controller.command("stop media", &of_a(&[])).text("result"), "ok");
        talk(&call, &mut sequence, Duration::from_millis(100), [&call.sockets[0]]);
        let [a] = talk(&call, &mut sequence, Duration::from_millis(200), [&call.sockets[0]]);
        assert!(played(&a).is_empty() && !a.is_empty(), "{ip:?}: it stopped");
        assert_eq!(controller.command("stop media", &of_a(&[])).text("result"), "ok", "{ip:?}");
    }
}

/// Both refuse the same, and say whose fault it is.
#[test]
fn ng_what_cannot_be_played_sent_or_subscribed_is_refused_as_rtpengine_does() {
    let story = Story::on_loopback("ng-refused");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &[]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    let file = tone_file(&story);
    let mut relays = [(our_control, OURS), (their_control, THEIRS)].map(|(control, ip)| {
        let mut controller = Controller::of(control);
        Joined::new(&mut controller, ip.into(), CALL);
        controller
    });
    let cases: [(&str, Vec<(&str, Value)>); 14] = [
        ("play media", of_a(&[])),
        ("play media", names(&[("file", file.as_str().into())])),
        ("play media", names(&[("from-tag", "z".into()), ("file", file.as_str().into())])),
        ("play media", of_a(&[("file", "/nowhere/at-all.wav".into())])),
        ("play media", of_a(&[("blob", "no sound".into())])),
        ("play DTMF", of_a(&[])),
        ("play DTMF", of_a(&[("code", "Z".into())])),
        ("subscribe request", names(&[])),
        ("subscribe request", names(&[("from-tag", "z".into())])),
        ("subscribe answer", names(&[("to-tag", "z".into()), ("sdp", "v=0\r\n".into())])),
        ("subscribe answer", names(&[("sdp", "v=0\r\n".into())])),
        ("unsubscribe", names(&[])),
        ("start recording", vec![("call-id", "nobody".into())]),
        ("stop media", vec![("call-id", "nobody".into()), ("from-tag", "a".into())]),
    ];
    for (command, entries) in cases {
        let [ours, theirs] = relays.each_mut().map(|controller| {
            let reply = controller.command(command, &entries);
            assert_eq!(reply.text("result"), "error", "{command} {entries:?}: {reply:?}");
            reply.text("error-reason").to_owned()
        });
        // We say more where there is more to say.
        let same = ours.to_lowercase().starts_with(&theirs.to_lowercase());
        assert!(same, "{command} {entries:?}: {ours:?}, rtpengine: {theirs:?}");
    }
    // A directory, a pipe: no sound, and nobody waits.
    for wrong in ["/dev/zero", "/tmp"] {
        let reply = relays[0].command("play media", &of_a(&[("file", wrong.into())]));
        assert!(reply.text("error-reason").contains("no plain file"), "{reply:?}");
    }
}

/// The same digit through both relays, rtpengine being told beforehand that there may be some.
#[test]
fn ng_a_digit_is_sent_as_rtpengine_sends_it() {
    let story = Story::on_loopback("ng-digit");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &[]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    for (control, ip) in [(our_control, OURS), (their_control, THEIRS)] {
        let mut controller = Controller::of(control);
        let flags = [("flags", Value::from(["inject-DTMF"]))];
        let call = Joined::with(&mut controller, ip.into(), CALL, &flags);
        let mut sequence = 0;
        let ears = [&call.sockets[1], &call.sockets[0]];
        let [before, _] = talk(&call, &mut sequence, Duration::from_millis(200), ears);
        let digit = [("code", Value::from("5")), ("duration", Value::Number(200))];
        assert_eq!(controller.command("play DTMF", &of_a(&digit)).text("result"), "ok", "{ip:?}");
        let [heard, back] = talk(&call, &mut sequence, Duration::from_millis(600), ears);
        let events: Vec<&Heard> = heard.iter().filter(|h| h.payload_type == 101).collect();
        assert!(events.len() >= 11, "{ip:?}: {events:?}");
        assert!(events[0].marker && events.iter().all(|h| h.payload[0] == 5), "{ip:?}: {events:?}");
        assert!(events.iter().all(|h| h.timestamp == events[0].timestamp), "{ip:?}: one event");
        let ends: Vec<u16> = events
            .iter()
            .filter(|h| h.payload[1] & 0x80 != 0)
            .map(|h| u16::from_be_bytes([h.payload[2], h.payload[3]]))
            .collect();
        assert_eq!(ends.len(), 3, "{ip:?}: its end is said three times");
        assert!(ends.iter().all(|d| (1_600..=1_920).contains(d)), "{ip:?}: {ends:?}");
        // In the stream that was there, without a hole.
        let all: Vec<&Heard> = before.iter().chain(&heard).collect();
        assert!(all.iter().all(|h| h.ssrc == all[0].ssrc), "{ip:?}");
        let step = |w: &[&Heard]| w[1].sequence == w[0].sequence.wrapping_add(1);
        assert!(all.windows(2).all(step), "{ip:?}");
        assert!(back.iter().all(|h| h.payload_type == 0), "{ip:?}: not to who pressed it");
    }
}

const CODECS: &str = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

fn answer_of_ear(ear: &UdpSocket, streams: usize) -> String {
    let at = ear.local_addr().expect("bound");
    let stream = format!("m=audio {} RTP/AVP 0 101\r\n{}a=recvonly\r\n", at.port(), CODECS);
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n{}",
        stream.repeat(streams),
        ip = at.ip()
    )
}

/// A third party hears one side, or both; what it is offered means what rtpengine's offer means.
#[test]
fn ng_a_third_party_subscribes_as_at_rtpengine() {
    let story = Story::on_loopback("ng-subscribe");
    let port = story.place.peer_port(0);
    let (_ours, our_control) = our_relay(&story, OURS.into(), port, &[]);
    let (_theirs, their_control) = rtpengine(&story, THEIRS.into(), port);
    let mut meanings = Vec::new();
    for (control, ip) in [(our_control, OURS), (their_control, THEIRS)] {
        let mut controller = Controller::of(control);
        let call = Joined::new(&mut controller, ip.into(), CALL);
        let mut sequence = 0;
        talk(&call, &mut sequence, Duration::from_millis(100), [&call.sockets[0]]);
        let ear = UdpSocket::bind((IpAddr::from(ip), 0)).expect("a socket");

        let reply = controller.command("subscribe request", &of_a(&[]));
        assert_eq!(reply.text("result"), "ok", "{reply:?}");
        assert_eq!((reply.text("from-tag"), reply.at("from-tags")), ("a", &["a"].into()));
        let tag = reply.text("to-tag").to_owned();
        assert!(tag.len() >= 20, "{tag}");
        // Its origin is A's at rtpengine, our own here.
        meanings.push(format!("{:?}", Meaning::of(reply.text("sdp"), ip.into())));
        let to = |more: &[(&'static str, Value)]| {
            names(&[&[("to-tag", Value::from(tag.as_str()))], more].concat())
        };
        let answer = answer_of_ear(&ear, 1);
        let answered =
            controller.command("subscribe answer", &to(&[("sdp", answer.as_str().into())]));
        assert_eq!(answered.text("result"), "ok", "{answered:?}");
        let [copied, b] =
            talk(&call, &mut sequence, Duration::from_millis(500), [&ear, &call.sockets[1]]);
        assert!((20..=27).contains(&copied.len()), "{ip:?}: {}", copied.len());
        assert!(copied.iter().all(|h| h.payload == [0x11; 160]), "{ip:?}: A alone");
        assert!(b.len() >= 20, "{ip:?}: B hears on");
        for _ in 0..2 {
            assert_eq!(controller.command("unsubscribe", &to(&[])).text("result"), "ok", "{ip:?}");
        }
        talk(&call, &mut sequence, Duration::from_millis(60), [&ear]);
        let [copied] = talk(&call, &mut sequence, Duration::from_millis(200), [&ear]);
        assert!(copied.is_empty(), "{ip:?}: no more");

        let reply = controller.command("subscribe request", &names(&[("flags", ["all"].into())]));
        let (sdp, tag) = (reply.text("sdp").to_owned(), reply.text("to-tag").to_owned());
        assert_eq!(sdp.matches("m=audio").count(), 2, "{ip:?}: {sdp}");
        assert_eq!(sdp.matches("a=sendonly").count(), 2, "{ip:?}: {sdp}");
        assert_eq!(reply.at("from-tags"), &["a", "b"].into(), "{ip:?}");
        let answer = answer_of_ear(&ear, 2);
        let both = [("to-tag", Value::from(tag.as_str())), ("sdp", answer.as_str().into())];
        assert_eq!(controller.command("subscribe answer", &names(&both)).text("result"), "ok");
        let [copied] = talk(&call, &mut sequence, Duration::from_millis(500), [&ear]);
        for mark in [0x11, 0x22] {
            let of_one = copied.iter().filter(|h| h.payload == [mark; 160]).count();
            assert!((20..=27).contains(&of_one), "{ip:?}: {of_one} of {mark:x}");
        }
    }
    assert_eq!(meanings[0], meanings[1]);
}

/// A call is recorded, paused, recorded again; the file opens with the key that the relay made, and
/// holds what was said, but not what was said in the pause. (rtpengine 10.5 writes packets instead.)
#[test]
fn ng_a_call_is_recorded_paused_and_the_recording_opens() {
    let story = Story::on_loopback("ng-record");
    let folder = story.scratch.file("calls");
    let (folder, port) = (folder.display().to_string(), story.place.peer_port(0));
    let keys = story.scratch.file("keys").display().to_string();
    let flags =
        ["--recording-dir", &folder, "--recording-keys", &keys, "--recording-format", "wav"];
    let (_relay, control) = our_relay(&story, OURS.into(), port, &flags);
    let mut controller = Controller::of(control);
    let call = Joined::new(&mut controller, OURS.into(), CALL);
    let mut sequence = 0;
    let mut command = |name: &str| {
        let reply = controller.command(name, &names(&[]));
        assert_eq!(reply.text("result"), "ok", "{name}: {reply:?}");
    };
    let mut say = |time: u64| {
        talk(&call, &mut sequence, Duration::from_millis(time), [&call.sockets[0]]);
    };
    say(100);
    command("start recording");
    say(1_000);
    command("pause recording");
    say(1_000);
    command("start recording");
    say(1_000);
    command("stop recording");
    say(500);
    let sealed = finished(&folder);
    assert!(sealed.display().to_string().contains(&format!("-{CALL}")), "{sealed:?}");
    let (sealed, out) = (sealed.display().to_string(), story.scratch.file("opened.wav"));
    let key = format!("{keys}/relay.key");
    let opened = out.display().to_string();
    story.cli(&["recording", "open", &sealed, "--out", &opened, "--key-file", &key]).expect_code(0);
    let wav = Wav::parse(&std::fs::read(&out).expect("a file")).expect("a WAV file");
    assert_eq!(wav.channels, 2);
    assert!((1_700..=2_400).contains(&wav.duration_ms()), "{} ms", wav.duration_ms());
    for (side, mark) in [(0, 0x11), (1, 0x22)] {
        let said = f64::from(g711::decode_ulaw(mark));
        let own: Vec<i16> = wav.samples.chunks_exact(2).map(|pair| pair[side]).collect();
        let like = own.iter().filter(|s| (f64::from(**s) - said).abs() < said.abs() * 0.2).count();
        assert!(like * 10 > own.len() * 7, "side {side}: {like} of {}", own.len());
    }
}

/// The sealed file of the one recording there, once it has an end and a pause.
fn finished(folder: &str) -> PathBuf {
    let look = || {
        let files = std::fs::read_dir(format!("{folder}/relay")).ok()?;
        let paths: Vec<_> = files.filter_map(|f| Some(f.ok()?.path())).collect();
        let of = |ending: &str| paths.iter().find(|p| p.extension().is_some_and(|e| e == ending));
        let text = std::fs::read_to_string(of("json")?).ok()?;
        let metadata: serde_json::Value = serde_json::from_str(&text).ok()?;
        let whole = metadata["ended_ms"].is_number() && metadata["pauses"][0]["to_ms"].is_number();
        of("sealed").filter(|_| whole).cloned()
    };
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no finished recording in {folder}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Without a place for recordings a controller is told what to do; a call with `record call` goes on.
#[test]
fn ng_a_relay_without_a_place_for_recordings_says_so() {
    let story = Story::on_loopback("ng-no-place");
    let (_relay, control) = our_relay(&story, OURS.into(), story.place.peer_port(0), &[]);
    let mut controller = Controller::of(control);
    let wish = [("record call", Value::from("yes"))];
    Joined::with(&mut controller, OURS.into(), CALL, &wish);
    let refused = controller.command("start recording", &names(&[]));
    assert!(refused.text("error-reason").contains("--recording-dir"), "{refused:?}");
    let nothing = controller.command("pause recording", &names(&[]));
    assert_eq!(nothing.text("error-reason"), "Nothing is recorded");
    let port = story.scratch.file("x").display().to_string();
    let usage = story.cli(&["relay", "--ng", "127.0.0.1:9", "--recording-keys", &port]);
    usage.expect_code(2);
}
