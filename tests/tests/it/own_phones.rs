//! Two phones of ours, and one phone with the house's own services.

use audio::CodecKind;
use std::path::Path;
use std::time::Duration;
use tests::sound::{self, Voice};
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(60);
/// Peak 8,000 of `whimbrel phone --tone`, as dBov.
const TONE_DBOV: f64 = -15.25;

#[test]
fn audio_two_phones_talk_over_tls_with_srtp_and_opus() {
    talk("tls", "opus", CodecKind::Opus, true);
}

#[test]
fn audio_two_phones_talk_over_udp_with_pcma() {
    talk("udp", "pcma", CodecKind::Pcma, false);
}

#[test]
fn audio_two_phones_talk_over_tls_with_srtp_and_g722() {
    talk("tls", "g722", CodecKind::G722, true);
}

#[test]
fn our_phone_calls_over_every_transport() {
    let story = Story::on_loopback("transports");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    for transport in ["udp", "tcp", "tls", "wss"] {
        let phone = Phone::of(&story, "alice", transport, "opus").call(&story.address("tone"));
        let ended = phone.seconds(3).start().finish(CALL).expect_answered();
        let encrypted = matches!(transport, "tls" | "wss");
        assert_eq!(ended.result["encrypted"], encrypted, "{transport}: {:#?}", ended.result);
        let heard = ended.result["quality"]["packets_received"].as_u64();
        assert!(heard > Some(50), "{transport}: {:#?}", ended.result);
    }
}

/// The server takes a phone on WebSocket for a browser, until it says otherwise.
#[test]
fn r1_2_our_phone_is_called_over_every_transport() {
    let story = Story::on_loopback("called");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    for transport in ["udp", "tcp", "tls", "wss"] {
        let mut bob = Phone::of(&story, "bob", transport, "opus").answer().seconds(8).start();
        bob.wait_event("registered", START);
        let alice = Phone::of(&story, "alice", "tls", "opus").call(&story.address("bob"));
        alice.seconds(4).start().finish(CALL).expect_answered();
        let ended = bob.finish(CALL).expect_answered();
        let encrypted = matches!(transport, "tls" | "wss");
        assert_eq!(ended.result["encrypted"], encrypted, "{transport}: {:#?}", ended.result);
        let heard = ended.result["quality"]["packets_received"].as_u64();
        assert!(heard > Some(50), "{transport}: {:#?}", ended.result);
    }
}

#[test]
fn audio_the_tone_is_1_khz_at_its_level_for_a_lone_phone() {
    let story = Story::on_loopback("tone").alone();
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    let heard = story.scratch.file("heard.wav");
    let phone = Phone::of(&story, "alice", "tls", "opus").call(&story.address("tone"));
    phone.record(&heard).seconds(7).start().finish(CALL).expect_answered();
    let samples = sound::mono(&heard);
    let second = sound::second(&samples, 2_000);
    let (at, all) = (sound::level_at(second, 1_000.0), f64::from(audio::level::dbov(second)));
    assert!((at + 13.2).abs() < 1.0, "1 kHz at {at:.1} dBov, expected -13.2");
    assert!((at - all).abs() < 0.5, "1 kHz is {at:.1} dBov of {all:.1} in all: not a clean tone");
}

#[test]
fn audio_the_echo_plays_back_what_was_said() {
    let story = Story::on_loopback("echo").alone();
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    for (target, transport, codec) in [("echo", "tls", "opus"), ("*43", "udp", "pcmu")] {
        let heard = story.scratch.file(&format!("heard-{transport}.wav"));
        let phone = Phone::of(&story, "alice", transport, codec).call(&story.address(target));
        let phone = phone.with(&["--tone", "440"]).record(&heard).seconds(12).start();
        phone.finish(CALL).expect_answered();
        let samples = sound::mono(&heard);
        let levels: Vec<f64> = (0..samples.len() / 48_000)
            .map(|s| sound::level_at(sound::second(&samples, 1000 * s), 440.0))
            .collect();
        let best = levels.iter().copied().fold(f64::MIN, f64::max);
        assert!((best - TONE_DBOV).abs() < 2.0, "{target}: 440 Hz by second: {levels:.1?}");
    }
}

#[test]
fn audio_digits_reach_the_other_phone_in_order() {
    let story = Story::on_loopback("dtmf").alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    for (transport, codec) in [("tls", "opus"), ("udp", "pcmu")] {
        let mut bob = Phone::of(&story, "bob", transport, codec).answer().seconds(20).start();
        bob.wait_event("registered", START);
        let alice = Phone::of(&story, "alice", transport, codec).call(&story.address("bob"));
        alice.with(&["--dtmf", "1234#*"]).seconds(8).start().finish(CALL).expect_answered();
        assert_eq!(bob.finish(CALL).digits(), "1234#*", "{transport}");
    }
}

fn talk(transport: &str, codec: &str, kind: CodecKind, encrypted: bool) {
    let story = Story::on_loopback(&format!("talk-{transport}")).alone();
    story.add_users(&["alice", "bob"]);
    let mut server = Server::start(&story);
    let (low, high) = (sound::speech(&story, Voice::Low), sound::speech(&story, Voice::High));
    let heard = |user: &str| story.scratch.file(&format!("heard-by-{user}.wav"));

    let bob = Phone::of(&story, "bob", transport, codec).answer().play(&high);
    let mut bob = bob.record(&heard("bob")).seconds(40).start();
    bob.wait_event("registered", START);
    let alice = Phone::of(&story, "alice", transport, codec).call(&story.address("bob"));
    let mut alice = alice.play(&low).record(&heard("alice")).seconds(18).start();
    alice.wait_event("answered", START);
    assert_eq!(server.calls().len(), 1);

    for (phone, said) in [(alice, &high), (bob, &low)] {
        let ended = phone.finish(CALL).expect_answered();
        assert_eq!(ended.result["encrypted"], encrypted, "{:#?}", ended.result);
        assert_eq!(ended.result["quality"]["lost"], 0, "{:#?}", ended.result);
        let user = if said == &high { "alice" } else { "bob" };
        sound::expect_fidelity(&story, said, kind, Path::new(&heard(user)));
    }
    let records = server.wait_for("the record", START, || {
        let records = tests::server::records(&story);
        records.first().is_some_and(|r| !r["ended"].is_null()).then_some(records)
    });
    let record = &records[0];
    assert_eq!(records.len(), 1);
    assert_eq!(record["cause"], "bye", "{record:#}");
    assert_eq!(record["answered"], true, "{record:#}");
    for field in ["session_id", "call_id", "from", "to", "source", "user_agent"] {
        assert!(record[field].as_str().is_some_and(|s| !s.is_empty()), "{field}: {record:#}");
    }
    for side in ["caller", "callee"] {
        assert!(record[side]["packets"].as_u64() > Some(400), "{side}: {record:#}");
    }
}
