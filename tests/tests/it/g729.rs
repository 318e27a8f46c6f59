//! R5.5: G.729, behind the feature `g729`: our coder against bcg729, which Debian's rtpengine is
//! linked with, and calls that are translated from and to it.

use audio::{CodecKind, Resampler, Wav};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::handset::{Handset, StopAtEnd, with_body};
use tests::ng::{self, Controller, Value};
use tests::sound::{self, RATE, Voice};
use tests::{Phone, Server, Story, story};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
const G729: u8 = 18;
const PCMU: u8 = 0;
const HEAD: usize = 12;
/// Two coders of the same standard: measured up to 0.06 apart.
const CODERS_APART_MAX: f64 = 0.2;
/// What wide-band PESQ gives a narrow coder at 8 kbit/s, with synthetic speech: measured 1.75 to 2.0.
const SCORE_MIN: f64 = 1.5;

fn description(at: SocketAddr, format: u8) -> String {
    let map = match format {
        G729 => "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n",
        _ => "a=rtpmap:0 PCMU/8000\r\n",
    };
    let (ip, port) = (at.ip(), at.port());
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {format}\r\n{map}a=ptime:20\r\n"
    )
}

fn media_at(sdp: &str) -> SocketAddr {
    let field = |name: &str, n: usize| {
        let line = sdp.lines().find(|line| line.starts_with(name)).expect("a line");
        line.split(' ').nth(n).expect("a field").trim().to_owned()
    };
    format!("{}:{}", field("c=", 2), field("m=audio ", 1)).parse().expect("an address")
}

fn kind(format: u8) -> CodecKind {
    if format == G729 { CodecKind::G729 } else { CodecKind::Pcmu }
}

/// Speech as payloads of 20 ms.
fn payloads(samples: &[i16], format: u8) -> Vec<Vec<u8>> {
    let at_rate = Resampler::convert(samples, RATE, 8000).expect("rates we have");
    let mut encoder = kind(format).encoder().expect("an encoder");
    let coded = at_rate.chunks_exact(160).map(|frame| {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).expect("a frame");
        payload
    });
    coded.collect()
}

/// Says it in real time, or until it is to stop.
fn say(socket: &UdpSocket, to: SocketAddr, format: u8, said: &[Vec<u8>], stop: &AtomicBool) {
    let begin = Instant::now();
    for (n, payload) in said.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let number = u16::try_from(n % 65_536).expect("16 bits");
        let mut packet = vec![0x80, format];
        packet.extend(number.to_be_bytes());
        packet.extend((n as u32 * 160).to_be_bytes());
        packet.extend([format; 4]);
        packet.extend(payload);
        let _ = socket.send_to(&packet, to);
        let due = begin + Duration::from_millis(20 * (n as u64 + 1));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Hears until it is quiet: a WAV file.
fn hear(story: &Story, socket: &UdpSocket, format: u8, name: &str) -> PathBuf {
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let mut decoder = kind(format).decoder().expect("a decoder");
    let (mut samples, mut buffer) = (Vec::new(), [0; 2048]);
    while let Ok(len) = socket.recv(&mut buffer) {
        if buffer[1] & 0x7f == format {
            decoder.decode(&buffer[HEAD..len], &mut samples).expect("a payload");
        }
    }
    let samples = Resampler::convert(&samples, 8000, RATE).expect("rates we have");
    story.scratch.write(name, Wav::mono(RATE, samples).to_bytes())
}

/// A call through a relay that translates; what each end heard of `low` and `high`.
fn translated(
    story: &Story,
    controller: &mut Controller,
    (name, ip): (&str, IpAddr),
) -> [(PathBuf, PathBuf); 2] {
    let ends = [0, 1].map(|_| UdpSocket::bind((ip, 0)).expect("a port for RTP"));
    let at = [0, 1].map(|n: usize| ends[n].local_addr().expect("bound"));
    let codec = Value::Map(
        [("transcode".to_owned(), ["G729"].into()), ("mask".to_owned(), ["PCMU"].into())].into(),
    );
    let call = [("call-id", name.into()), ("from-tag", "a".into())];
    let mut offer = call.to_vec();
    offer.extend([("sdp", description(at[0], PCMU).as_str().into()), ("codec", codec)]);
    let offered = controller.sdp("offer", &offer);
    assert!(offered.contains("RTP/AVP 18"), "{offered}");
    let mut answer = call.to_vec();
    answer.extend([("to-tag", "b".into()), ("sdp", description(at[1], G729).as_str().into())]);
    let answered = controller.sdp("answer", &answer);
    let to = [media_at(&answered), media_at(&offered)];
    let files = [sound::speech(story, Voice::Low), sound::speech(story, Voice::High)];
    let heard = std::thread::scope(|scope| {
        let formats = [PCMU, G729];
        let hears = [0, 1].map(|n: usize| {
            let (socket, story) = (&ends[n], &*story);
            scope.spawn(move || hear(story, socket, formats[n], &format!("{name}-{n}.wav")))
        });
        for n in [0, 1] {
            let (socket, said) = (&ends[n], payloads(&sound::mono(&files[n]), formats[n]));
            scope.spawn(move || say(socket, to[n], formats[n], &said, &AtomicBool::new(false)));
        }
        hears.map(|heard| heard.join().expect("no panic"))
    });
    let [low, high] = files;
    let [by_a, by_b] = heard;
    [(low, by_b), (high, by_a)]
}

#[test]
fn audio_r5_5_g729_of_ours_and_of_bcg729_are_one_codec() {
    let story = Story::on_loopback("g729-peer").alone();
    let ip = story.place.peer_ip();
    let (_theirs, at) = ng::rtpengine(&story, ip, story.place.sip() + 30);
    let heard = translated(&story, &mut Controller::of(at), ("theirs", ip));
    let (_ours, at) = ng::our_relay(&story, ip, story.place.sip() + 31, &[]);
    let same = translated(&story, &mut Controller::of(at), ("ours", ip));
    let ways = ["coded by bcg729, decoded by ours", "coded by ours, decoded by bcg729"];
    for ((way, (said, heard)), (_, ours)) in ways.into_iter().zip(heard).zip(same) {
        let (theirs, ours) = (sound::pesq(&said, &heard), sound::pesq(&said, &ours));
        story::tell(&format!("G.729 {way}: {theirs:.3}, ours alone {ours:.3}"));
        assert!(ours - theirs <= CODERS_APART_MAX, "{way}: {theirs}, ours alone {ours}");
        assert!(theirs > SCORE_MIN && ours > SCORE_MIN, "{way}: {theirs}, ours alone {ours}");
    }
}

#[test]
fn audio_r5_5_a_phone_with_g729_alone_talks_to_one_with_opus() {
    let story = Story::on_loopback("g729-opus").alone();
    story.add_users(&["alice", "bob"]);
    let more = "[media.phones]\ntranscode = [\"opus\"]\n";
    let _server = Server::start_with(&story, more);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let heard = story.scratch.file("heard-by-bob.wav");
    let bob = Phone::of(&story, "bob", "udp", "opus").answer().play(&high).record(&heard);
    let mut bob = bob.seconds(25).start();
    bob.wait_event("registered", START);
    let ip = story.place.peer_ip();
    let voice = UdpSocket::bind((ip, 0)).expect("a port for RTP");
    let offer = description(voice.local_addr().expect("bound"), G729);
    let mut alice = Handset::at(&story, "alice", (ip, 0).into());
    let outcome = alice.invite_changed(&story.address("bob"), |text| with_body(&text, &offer));
    assert_eq!(outcome.status(), 200);
    let answer = String::from_utf8_lossy(outcome.last.expect("an answer").body()).into_owned();
    assert!(answer.contains("RTP/AVP 18"), "{answer}");
    let (to, stop) = (media_at(&answer), AtomicBool::new(false));
    let said = payloads(&sound::mono(&low), G729);
    let by_alice = std::thread::scope(|scope| {
        let _end = StopAtEnd(&stop);
        let hears = scope.spawn(|| hear(&story, &voice, G729, "heard-by-alice.wav"));
        say(&voice, to, G729, &said, &stop);
        let mut talk = outcome.talk.expect("a call");
        assert_eq!(alice.hang_up(&mut talk), 200);
        hears.join().expect("no panic")
    });
    bob.finish(CALL).expect_answered();
    for (said, heard) in [(&low, &heard), (&high, &by_alice)] {
        let coded = sound::offline(&sound::mono(said), CodecKind::G729);
        let alone = story.scratch.write("alone.wav", Wav::mono(RATE, coded).to_bytes());
        let (heard, alone) = (sound::pesq(said, heard), sound::pesq(said, &alone));
        story::tell(&format!("G.729 and Opus: heard {heard:.3}, G.729 alone {alone:.3}"));
        assert!(alone - heard <= 0.45, "heard {heard}, G.729 alone {alone}");
    }
}
