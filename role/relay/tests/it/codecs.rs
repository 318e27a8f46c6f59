//! R5.5, R5.6, R5.7: codecs in descriptions, and packets between sides that share none.

use std::time::Duration;

use audio::{CodecKind, Tone, level};
use relay::bridge::{BridgeEvent, LegId};
use relay::{CodecPolicy, Description, Direction, DtmfMode, Protocol, RelayError};
use rtp::dtmf::EventPayload;
use rtp::{Header, RtpPacket};
use sdp::Session;

use crate::peers::Peer;
use crate::virtual_net::{SESSION, Sent, World, config, description};

const CALLER: &str = "192.0.2.1:4000";
const CALLEE: &str = "192.0.2.5:5000";

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn sdp(addr: &str, formats: &str, lines: &[&str]) -> String {
    let (ip, port) = addr.split_once(':').unwrap();
    let lines: String = lines.iter().map(|line| format!("a={line}\r\n")).collect();
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\n{lines}"
    )
}

/// What a softphone offers.
fn rich() -> String {
    let lines = [
        "rtpmap:111 opus/48000/2",
        "fmtp:111 minptime=10;useinbandfec=1",
        "rtcp-fb:111 transport-cc",
        "rtpmap:9 G722/8000",
        "rtpmap:8 PCMA/8000",
        "rtpmap:110 telephone-event/48000",
        "rtpmap:101 telephone-event/8000",
        "fmtp:101 0-16",
        "ptime:20",
        "sendrecv",
    ];
    sdp(CALLER, "111 9 8 0 18 13 110 101", &lines)
}

fn only_opus() -> String {
    let lines = ["rtpmap:111 opus/48000/2", "rtpmap:110 telephone-event/48000"];
    sdp(CALLER, "111 110", &lines)
}

fn offer_of(sdp: &str, from: CodecPolicy, toward: CodecPolicy) -> Description {
    let mut d = description(Direction::FromCaller, 1, sdp.as_bytes(), Protocol::Rtp);
    (d.from.codecs, d.toward.codecs) = (from, toward);
    d
}

fn answer_of(sdp: &str) -> Description {
    description(Direction::FromCallee, 1, sdp.as_bytes(), Protocol::Rtp)
}

/// The m-line's formats and its lines about codecs, as the side with this policy is offered them.
fn offered(sdp: &str, toward: CodecPolicy) -> (String, Vec<String>) {
    let mut world = World::new(config());
    let out = world.offer(&offer_of(sdp, CodecPolicy::default(), toward)).unwrap();
    codec_lines(&out)
}

fn codec_lines(sdp: &[u8]) -> (String, Vec<String>) {
    let session = Session::parse(sdp).unwrap();
    let media = &session.media()[0];
    let lines = media
        .all_attributes()
        .filter(|(name, _)| matches!(*name, "rtpmap" | "fmtp" | "rtcp-fb" | "ptime" | "maxptime"));
    let lines = lines.map(|(name, value)| format!("{name}:{}", value.unwrap_or_default()));
    (media.formats().join(" "), lines.collect())
}

fn formats(sdp: &[u8]) -> String {
    codec_lines(sdp).0
}

#[test]
fn r5_6_without_a_policy_codecs_pass_as_they_came() {
    let (formats, lines) = offered(&rich(), CodecPolicy::default());
    assert_eq!(formats, "111 9 8 0 18 13 110 101");
    assert_eq!(
        lines,
        [
            "rtpmap:111 opus/48000/2",
            "fmtp:111 minptime=10;useinbandfec=1",
            "rtpmap:9 G722/8000",
            "rtpmap:8 PCMA/8000",
            "rtpmap:110 telephone-event/48000",
            "rtpmap:101 telephone-event/8000",
            "fmtp:101 0-16",
            "ptime:20",
        ]
    );
}

#[test]
fn r5_6_codecs_are_removed_restricted_and_ordered() {
    let strip = CodecPolicy { strip: names(&["g722", "OPUS", "CN"]), ..Default::default() };
    let (formats, lines) = offered(&rich(), strip);
    assert_eq!(formats, "8 0 18 110 101");
    assert!(!lines.iter().any(|l| l.contains(":111") || l.contains(":9 ")), "{lines:?}");

    let only = CodecPolicy { only: names(&["PCMU", "PCMA"]), ..Default::default() };
    assert_eq!(offered(&rich(), only).0, "0 8 13 110 101", "in the order of the list");

    let prefer = CodecPolicy { prefer: names(&["PCMU", "G729"]), ..Default::default() };
    assert_eq!(offered(&rich(), prefer).0, "0 18 111 9 8 13 110 101", "the rest keeps its order");

    let all = CodecPolicy {
        strip: names(&["all", "telephone-event/48000"]),
        except: names(&["PCMA"]),
        ..Default::default()
    };
    assert_eq!(offered(&rich(), all).0, "8 13 101");

    let radio = CodecPolicy { ptime_ms: Some(60), ..Default::default() };
    assert!(offered(&rich(), radio).1.contains(&"ptime:60".to_owned()));
}

#[test]
fn r5_6_the_policy_of_who_offers_counts_as_well() {
    let mut world = World::new(config());
    let from = CodecPolicy { strip: names(&["opus"]), ..Default::default() };
    let out = world.offer(&offer_of(&rich(), from, CodecPolicy::default())).unwrap();
    assert_eq!(formats(&out), "9 8 0 18 13 110 101");
}

#[test]
fn r5_6_an_offer_without_codecs_is_refused_and_leaves_no_ports() {
    let mut world = World::new(config());
    let toward = CodecPolicy { only: names(&["AMR"]), ..Default::default() };
    let refused = world.offer(&offer_of(&rich(), CodecPolicy::default(), toward));
    assert_eq!(refused, Err(RelayError::NoCodec));
    assert_eq!(refused.unwrap_err().status(), 488);
    assert_eq!(world.control.ports().in_use(), 0);
}

#[test]
fn r5_5_codecs_are_offered_in_addition_with_events_at_their_clock() {
    let toward = CodecPolicy { transcode: names(&["PCMU", "G722", "opus"]), ..Default::default() };
    let (formats, lines) = offered(&only_opus(), toward.clone());
    assert_eq!(formats, "111 0 9 110 96", "opus is there already");
    assert!(lines.contains(&"rtpmap:0 PCMU/8000".to_owned()));
    assert!(lines.contains(&"rtpmap:96 telephone-event/8000".to_owned()), "{lines:?}");
    assert!(lines.contains(&"fmtp:96 0-15".to_owned()));

    // Nothing can be made of a codec that we do not have.
    let amr = sdp(CALLER, "96", &["rtpmap:96 AMR/8000"]);
    assert_eq!(offered(&amr, toward).0, "96");

    let mask =
        CodecPolicy { mask: names(&["all"]), transcode: names(&["PCMA"]), ..Default::default() };
    assert_eq!(offered(&only_opus(), mask).0, "8 110 96");
}

/// An offer with `toward`, answered with `answer`; what the offerer is told.
fn answered(world: &mut World, offer: &str, toward: CodecPolicy, answer: &str) -> Vec<u8> {
    world.offer(&offer_of(offer, CodecPolicy::default(), toward)).unwrap();
    world.answer(&answer_of(answer)).unwrap()
}

fn processing(world: &World) -> (bool, bool) {
    world.control.bridge(SESSION).unwrap().lock().is_processing()
}

#[test]
fn r5_5_nothing_is_transcoded_where_there_is_a_common_codec() {
    let toward = || CodecPolicy { transcode: names(&["PCMU", "PCMA"]), ..Default::default() };
    let opus = ["rtpmap:111 opus/48000/2", "rtpmap:110 telephone-event/48000"];
    for (answer, told) in [("111 110", "111 110"), ("111 0 110", "111 110")] {
        let mut world = World::new(config());
        let out = answered(&mut world, &only_opus(), toward(), &sdp(CALLEE, answer, &opus));
        assert_eq!(formats(&out), told);
        if answer == told {
            assert_eq!(processing(&world), (false, false));
        }
    }
}

#[test]
fn r5_5_an_answer_without_a_common_codec_is_told_in_the_offerers() {
    let mut world = World::new(config());
    let toward = CodecPolicy { transcode: names(&["PCMU"]), ..Default::default() };
    let answer = sdp(CALLEE, "0 96", &["rtpmap:96 telephone-event/8000", "ptime:30"]);
    let out = answered(&mut world, &only_opus(), toward.clone(), &answer);
    let (formats, lines) = codec_lines(&out);
    assert_eq!(formats, "111 110");
    assert_eq!(lines, ["rtpmap:111 opus/48000/2", "rtpmap:110 telephone-event/48000"]);
    assert_eq!(processing(&world), (true, true));
    // Repeated, as commands may be.
    assert_eq!(world.answer(&answer_of(&answer)).unwrap(), out);
    // A re-offer that finds a common codec ends it.
    let d = offer_of(&rich(), CodecPolicy::default(), toward);
    world.offer(&d).unwrap();
    world.answer(&answer_of(&answer)).unwrap();
    assert_eq!(processing(&world), (true, false), "only the events' numbers differ, one way");
}

#[test]
fn r5_5_an_answer_that_nobody_can_translate_is_refused() {
    let mut world = World::new(config());
    let toward = CodecPolicy { transcode: names(&["PCMU"]), ..Default::default() };
    world.offer(&offer_of(&only_opus(), CodecPolicy::default(), toward)).unwrap();
    let refused = world.answer(&answer_of(&sdp(CALLEE, "3", &[])));
    assert_eq!(refused, Err(RelayError::NoCodec));
}

/// A phone's stream: packets of the test tone.
struct Stream {
    kind: CodecKind,
    payload_type: u8,
    encoder: Box<dyn audio::Encoder>,
    tone: Tone,
    n: u16,
}

impl Stream {
    fn new(kind: CodecKind, payload_type: u8) -> Self {
        let tone = Tone::test(kind.sample_rate());
        Self { kind, payload_type, encoder: kind.encoder().unwrap(), tone, n: 0 }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut frame = vec![0; self.kind.sample_rate() as usize / 50];
        self.tone.fill(&mut frame);
        let mut payload = Vec::new();
        self.encoder.encode(&frame, &mut payload).unwrap();
        self.n += 1;
        let ticks = self.kind.clock_rate() / 50;
        packet(self.payload_type, self.n, u32::from(self.n) * ticks, &payload)
    }
}

fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header { payload_type, sequence, timestamp, ssrc: 5, marker: false };
    let mut bytes = vec![0; 12 + payload.len()];
    rtp::write_packet(&mut bytes, &header, payload).unwrap();
    bytes
}

fn heard(kind: CodecKind, packets: &[Sent], payload_type: u8) -> f32 {
    let mut decoder = kind.decoder().unwrap();
    let mut sound = Vec::new();
    for sent in packets {
        let packet = RtpPacket::parse(&sent.bytes).unwrap();
        assert_eq!(packet.payload_type(), payload_type);
        decoder.decode(packet.payload(), &mut sound).unwrap();
    }
    level::dbov(&sound[sound.len() / 2..])
}

fn port_in(sdp: &[u8]) -> u16 {
    Session::parse(sdp).unwrap().media()[0].port()
}

#[test]
fn r5_5_an_opus_phone_and_a_pcmu_phone_hear_each_other() {
    let mut world = World::new(config());
    let toward = CodecPolicy { transcode: names(&["PCMU"]), ..Default::default() };
    let offer = world.offer(&offer_of(&only_opus(), CodecPolicy::default(), toward)).unwrap();
    let answer = world.answer(&answer_of(&sdp(CALLEE, "0", &[]))).unwrap();
    let (caller, callee) = (CALLER.parse().unwrap(), CALLEE.parse().unwrap());
    let mut opus = Stream::new(CodecKind::Opus, 111);
    let mut pcmu = Stream::new(CodecKind::Pcmu, 0);
    let (mut to_callee, mut to_caller) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let packet = opus.next();
        to_callee.extend(world.send(caller, port_in(&answer), &packet));
        let packet = pcmu.next();
        to_caller.extend(world.send(callee, port_in(&offer), &packet));
        world.advance(Duration::from_millis(20));
    }
    assert_eq!((to_callee.len(), to_caller.len()), (100, 100));
    assert!(to_callee.iter().all(|s| s.to == callee) && to_caller.iter().all(|s| s.to == caller));
    assert!((heard(CodecKind::Pcmu, &to_callee, 0) + 13.2).abs() < 0.6);
    assert!((heard(CodecKind::Opus, &to_caller, 111) + 13.2).abs() < 0.6);
    let stats = world.control.query(world.now, SESSION).unwrap();
    let codecs: Vec<_> = stats.legs.iter().map(|leg| leg.codec.clone().unwrap()).collect();
    assert_eq!(codecs, ["opus", "PCMU"]);
}

#[test]
fn r5_5_sound_is_transcoded_between_encrypted_and_plain_legs() {
    let mut world = World::new(config());
    let toward = CodecPolicy { transcode: names(&["PCMU"]), ..Default::default() };
    let mut d = offer_of(&only_opus(), CodecPolicy::default(), toward);
    d.toward.protocol = Protocol::Srtp;
    let offer = world.offer(&d).unwrap();
    let mut phone = Peer::sdes(CALLEE, 0x77);
    phone.take(&offer, false);
    let answer =
        world.answer(&answer_of(&String::from_utf8(phone.describe(Some(&offer))).unwrap()));
    let answer = answer.unwrap();
    let mut opus = Stream::new(CodecKind::Opus, 111);
    for _ in 0..10 {
        let packet = opus.next();
        let sent = world.send(CALLER.parse().unwrap(), port_in(&answer), &packet);
        assert_eq!(sent.len(), 1);
        assert_ne!(sent[0].bytes.len(), 172, "sealed");
        // It opens; its payload is not the constant that the helper looks for.
        assert_eq!(phone.open_rtp(&sent[0].bytes), None);
    }
    let heard = phone.rtp();
    let sent = world.send(phone.addr, port_in(&offer), &heard);
    assert_eq!(sent.len(), 1);
    assert_eq!(RtpPacket::parse(&sent[0].bytes).unwrap().payload_type(), 111);
}

/// A carrier wants 60 ms, a phone sends 20: one packet of three, and three of one.
#[test]
fn r5_5_a_packet_time_is_converted_both_ways() {
    let mut world = World::new(config());
    let toward = CodecPolicy {
        mask: names(&["opus"]),
        transcode: names(&["PCMA"]),
        ptime_ms: Some(60),
        ..Default::default()
    };
    let offer = world.offer(&offer_of(&only_opus(), CodecPolicy::default(), toward)).unwrap();
    assert!(codec_lines(&offer).1.contains(&"ptime:60".to_owned()));
    let answer = world.answer(&answer_of(&sdp(CALLEE, "8", &["ptime:60"]))).unwrap();
    let mut opus = Stream::new(CodecKind::Opus, 111);
    let mut sent = Vec::new();
    for _ in 0..30 {
        let packet = opus.next();
        sent.extend(world.send(CALLER.parse().unwrap(), port_in(&answer), &packet));
    }
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|s| s.bytes.len() == 12 + 480));
    let long = packet(8, 1, 0, &[0xd5; 480]);
    let back = world.send(CALLEE.parse().unwrap(), port_in(&offer), &long);
    let sequences: Vec<u16> =
        back.iter().map(|s| RtpPacket::parse(&s.bytes).unwrap().sequence()).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

#[test]
fn r5_7_digits_become_info_and_info_becomes_events() {
    let mut world = World::new(config());
    let from = CodecPolicy { dtmf: DtmfMode::Info, ..Default::default() };
    let lines = ["rtpmap:101 telephone-event/8000"];
    let plain = sdp(CALLER, "0", &[]);
    let toward = CodecPolicy { dtmf: DtmfMode::Events, ..Default::default() };
    let offer = world.offer(&offer_of(&plain, from, toward)).unwrap();
    assert_eq!(formats(&offer), "0 96", "events are offered in the caller's name");
    let answer = sdp(CALLEE, "0 96", &["rtpmap:96 telephone-event/8000", lines[0]]);
    let told = world.answer(&answer_of(&answer)).unwrap();
    assert_eq!(formats(&told), "0", "who uses INFO is told of no events");

    // The callee presses 4: the caller's side is to be sent INFO, and no packet.
    for n in 1..=6_u16 {
        let end = n > 3;
        let payload = EventPayload { event: 4, end, volume: 10, duration: 160 * n.min(4) };
        let bytes = packet(96, n, 160, &payload.to_bytes());
        assert!(world.send(CALLEE.parse().unwrap(), port_in(&offer), &bytes).is_empty());
    }
    let digits: Vec<_> =
        world.events.iter().filter(|e| matches!(e, BridgeEvent::Digit { .. })).collect();
    assert_eq!(digits, [&BridgeEvent::Digit { from: LegId(1), digit: '4', duration_ms: 80 }]);

    // The caller's INFO says 9: the callee hears events, in the place of sound.
    assert!(world.control.send_digit(world.now, SESSION, Some(1), ('9', 100)));
    let mut pcmu = Stream::new(CodecKind::Pcmu, 0);
    let mut receiver = rtp::dtmf::Receiver::new();
    let mut heard = Vec::new();
    for _ in 0..20 {
        let bytes = pcmu.next();
        for sent in world.send(CALLER.parse().unwrap(), port_in(&told), &bytes) {
            let packet = RtpPacket::parse(&sent.bytes).unwrap();
            if packet.payload_type() == 96 {
                let events = receiver.handle_payload(packet.timestamp(), packet.payload());
                heard.extend(events.into_iter().flatten());
            }
        }
    }
    use rtp::dtmf::DtmfEvent::{Ended, Started};
    assert_eq!(heard, [Started('9'), Ended { digit: '9', duration: 800 }]);
    assert!(!world.control.send_digit(world.now, SESSION, Some(9), ('9', 100)), "no such branch");
}

#[test]
fn r5_9_what_is_coded_for_a_side_follows_its_reports_and_its_longest_packet() {
    for (line, ptime_ms) in [("maxptime:120", 60), ("maxptime:40", 40), ("ptime:20", 60)] {
        let mut world = World::new(config());
        let lines = ["rtpmap:111 opus/48000/2", "rtpmap:110 telephone-event/48000", line];
        let toward = CodecPolicy { transcode: names(&["PCMU"]), ..Default::default() };
        let answer = sdp(CALLEE, "0", &[]);
        let told = answered(&mut world, &sdp(CALLER, "111 110", &lines), toward, &answer);
        let port = port_in(&told);
        let block = rtp::rtcp::ReportBlock { fraction_lost: 100, ..Default::default() };
        let report =
            rtp::rtcp::Report { ssrc: 9, blocks: &[block], cname: "c", ..Default::default() };
        let mut bytes = [0; 200];
        let len = report.write(&mut bytes).unwrap();
        let rtcp = "192.0.2.1:4001".parse().unwrap();
        for _ in 0..3 {
            world.send(rtcp, port + 1, &bytes[..len]);
            world.advance(Duration::from_secs(1));
        }
        let legs = world.control.query(world.now, SESSION).unwrap().legs;
        let caller = legs[0].told.as_ref().unwrap();
        assert_eq!((caller.coded, caller.adapted), (Some((12_000, ptime_ms)), 1), "{line}");
        assert!(legs[1].told.is_none(), "PCMU has no choice, and nobody reported");
    }
}
