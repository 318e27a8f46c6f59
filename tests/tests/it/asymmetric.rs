//! R1.5: a SIPp that answers with payload types of its own (RFC 3264 §5.1, §6.1). It sends with our
//! phone's numbers, our phone with those of SIPp, and both are heard.

use audio::CodecKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::flow::Callee;
use tests::sipp::{self, Run, Setup};
use tests::{Capture, Phone, Server, Story, capture, sound};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// Our phone's number for PCMA, and those of SIPp for PCMA and telephone events.
const OURS: u8 = 8;
const PCMA: u8 = 97;
const EVENTS: u8 = 98;
const SAID: f64 = 700.0;
const ALICE: f64 = 440.0;
const DIGITS: &str = "159#";
/// Peak 8,000, as dBov.
const TONE_DBOV: f64 = -15.25;
/// Packets of SIPp, 20 ms each.
const PACKETS: u16 = 300;

/// A capture to play: a tone in PCMA under this payload type. SIPp puts its own addresses in.
fn tone(story: &Story, payload_type: u8) -> PathBuf {
    let mut samples = vec![0; usize::from(PACKETS) * 160];
    audio::Tone::new(SAID, 8_000, 8_000.0).fill(&mut samples);
    let mut encoder = CodecKind::Pcma.encoder().expect("an encoder");
    let mut file = Vec::new();
    // Version 2.4, no zone, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (n, frame) in (0_u32..).zip(samples.chunks_exact(160)) {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload).expect("a frame of 20 ms");
        let at_us = n * 20_000;
        let length = u32::try_from(14 + 20 + 8 + 12 + payload.len()).expect("short");
        for word in [at_us / 1_000_000, at_us % 1_000_000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0; 12]);
        file.extend([0x08, 0x00]);
        let udp = u16::try_from(8 + 12 + payload.len()).expect("short");
        file.extend([0x45, 0]);
        file.extend((20 + udp).to_be_bytes());
        file.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        for half in [4_000, 4_002, udp, 0] {
            file.extend(half.to_be_bytes());
        }
        let sequence = u16::try_from(n).expect("few packets");
        file.extend([0x80, payload_type]);
        file.extend(sequence.to_be_bytes());
        file.extend((n * 160).to_be_bytes());
        file.extend(0x0510_0510_u32.to_be_bytes());
        file.extend(payload);
    }
    story.scratch.write("tone.pcap", file)
}

fn answer(story: &Story, port: u16, played: &Path) -> Run {
    let sdp = format!(
        "v=0\no=- 1 1 IN IP4 [media_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n\
         m=audio [media_port] RTP/AVP {PCMA} {EVENTS}\na=rtpmap:{PCMA} PCMA/8000\n\
         a=rtpmap:{EVENTS} telephone-event/8000\na=fmtp:{EVENTS} 0-15\n"
    );
    // PCMA is offered under its static number.
    let callee = Callee::new().invited_with("RTP/AVP 8 ").respond(180, "a", "", "");
    let callee = callee.respond(200, "a", "", &sdp).expect("ACK").play(played).serve("BYE");
    let file = story.scratch.write("callee.xml", callee.xml());
    let server = std::net::SocketAddr::new(story.place.server_ip(), story.place.sip());
    let more = vec!["-timeout".into(), "50s".into()];
    let media_port = story.place.peer_port(20);
    let setup = Setup { scenario: "", port, media_port, calls: 1, rate: 1, more };
    Run::start_xml(story, "callee", (&file, server), &setup, None)
}

#[test]
fn audio_r1_5_sipp_with_payload_types_of_its_own_hears_our_phone_and_is_heard() {
    let story = Story::on_network("asymmetric").alone();
    story.add_users(&["alice", "bob"]);
    // SIPp knows no other digest.
    let _server = Server::start_with(&story, "[edge]\ndigest_algorithms = [\"MD5\"]\n");
    let (port, media) = (story.place.peer_port(1), story.place.peer_port(20));
    let users = sipp::users_file(&story, "bob.csv", &[("bob".into(), "bob".into())]);
    let setup =
        Setup { scenario: "register", port, media_port: 0, calls: 1, rate: 1, more: Vec::new() };
    Run::start(&story, "register", &setup, Some(&users)).expect_none_failed(START);
    let filter = format!("udp dst port {media}");
    let mark = format!("{}/{media}", story.place.peer_ip());
    let listening = Capture::start(&story, "lo", &filter, &mark);
    let callee = answer(&story, port, &tone(&story, OURS));
    let heard = story.scratch.file("heard.wav");
    let alice = Phone::of(&story, "alice", "udp", "pcma").call(&story.address("bob"));
    let hertz = ALICE.to_string();
    let alice = alice.with(&["--tone", &hertz, "--dtmf", DIGITS]).record(&heard).seconds(9);
    let ended = alice.start().finish(CALL).expect_answered();
    assert_eq!(ended.result["codec"], "PCMA", "{:#}", ended.result);
    callee.expect_none_failed(START);
    let samples = sound::mono(&heard);
    let theirs = sound::level_at(sound::second(&samples, 3_000), SAID);
    assert!((theirs - TONE_DBOV).abs() < 3.0, "our phone hears {SAID} Hz at {theirs:.1} dBov");
    check_what_sipp_got(&listening.end().fields("udp", &["udp.payload"]));
}

/// Sound and digits, under SIPp's numbers and no others.
fn check_what_sipp_got(packets: &[Vec<String>]) {
    let mut decoder = CodecKind::Pcma.decoder().expect("a decoder");
    let (mut said, mut digits, mut last) = (Vec::new(), String::new(), None);
    for packet in packets.iter().flatten() {
        let bytes = capture::bytes(packet);
        // The capture's own mark is no RTP.
        let Some((header, payload)) = bytes.split_at_checked(12).filter(|(h, _)| h[0] == 0x80)
        else {
            continue;
        };
        match header[1] & 0x7f {
            PCMA => decoder.decode(payload, &mut said).expect("PCMA"),
            EVENTS => {
                let timestamp = header[4..8].to_vec();
                if last.replace(timestamp.clone()) != Some(timestamp) {
                    digits.extend("0123456789*#".chars().nth(usize::from(payload[0])));
                }
            }
            other => panic!("payload type {other}, which SIPp did not name"),
        }
    }
    assert_eq!(digits, DIGITS);
    assert!(said.len() > 5 * 8_000, "{} samples", said.len());
    let said = audio::Resampler::convert(&said, 8_000, sound::RATE).expect("rates we have");
    let level = sound::level_at(sound::second(&said, 4_000), ALICE);
    assert!((level - TONE_DBOV).abs() < 3.0, "SIPp hears {ALICE} Hz at {level:.1} dBov");
}
