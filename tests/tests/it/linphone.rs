//! linphonec and our phone call each other over UDP, TCP and TLS, and either hangs up.

use std::time::Duration;
use tests::{Linphone, Phone, Server, Story, sound};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// How long they talk.
const TALK: Duration = Duration::from_secs(4);
const OURS: f64 = 440.0;
const THEIRS: f64 = 700.0;

/// Who calls, and who hangs up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    We,
    They,
}

/// All four calls there are.
const CALLS: [(Who, Who); 4] =
    [(Who::We, Who::We), (Who::We, Who::They), (Who::They, Who::We), (Who::They, Who::They)];

fn linphonec_and_our_phone(transport: &str, codec: &str) {
    let story = Story::on_network(&format!("linphone-{transport}")).alone();
    story.add_users(&["alice", "bob"]);
    let server = Server::start(&story);
    let mut bob = Linphone::start(&story, "bob", transport);
    let bindings = server.registrations();
    assert_eq!(bindings.len(), 1, "{bindings:#?}");
    let by = bindings[0]["transport"].as_str().unwrap_or_default().to_ascii_lowercase();
    assert_eq!(by, transport, "{bindings:#?}");
    for (n, (calls, hangs_up)) in CALLS.into_iter().enumerate() {
        call(&story, &mut bob, (transport, codec), (n, calls, hangs_up));
    }
    bob.quit();
    assert_eq!(server.registrations().len(), 0, "a phone that ends unregisters");
    let records = server.records();
    assert_eq!(records.len(), CALLS.len(), "{records:#?}");
    assert!(records.iter().all(|r| r["answered"] == true && r["cause"] == "bye"), "{records:#?}");
}

fn call(
    story: &Story,
    bob: &mut Linphone,
    (transport, codec): (&str, &str),
    (n, calls, hangs_up): (usize, Who, Who),
) {
    let heard = |by: &str| story.scratch.file(&format!("heard-by-{by}-{n}.wav"));
    let mut samples = vec![0; 16_000 * 20];
    audio::Tone::new(THEIRS, 16_000, 8_000.0).fill(&mut samples);
    let said = story.scratch.write("tone.wav", audio::Wav::mono(16_000, samples).to_bytes());
    let hertz = OURS.to_string();
    let alice = Phone::of(story, "alice", transport, codec).with(&["--tone", &hertz]);
    let alice = alice.record(&heard("alice")).seconds(60);
    let mut alice = match calls {
        Who::We => alice.call(&story.address("bob")).start(),
        Who::They => {
            let mut alice = alice.answer().start();
            alice.wait_event("registered", START);
            bob.call(&story.address("alice"));
            alice
        }
    };
    alice.wait_event("answered", START);
    bob.talk(&said, &heard("bob"));
    std::thread::sleep(TALK);
    match hangs_up {
        Who::We => alice.interrupt(),
        Who::They => bob.hang_up(),
    }
    bob.wait_ended();
    let ended = alice.finish(CALL).expect_answered();
    let case = format!("{calls:?} call, {hangs_up:?} hang up: {:#}", ended.result);
    let cause = if hangs_up == Who::We { "hung-up" } else { "peer-hung-up" };
    assert_eq!(ended.result["cause"], cause, "{case}");
    assert_eq!(ended.result["encrypted"], transport == "tls", "{case}");
    for (by, hears, says) in [("alice", THEIRS, OURS), ("bob", OURS, THEIRS)] {
        let samples = sound::mono(&heard(by));
        let second = sound::second(&samples, 2_000);
        let (theirs, own) = (sound::level_at(second, hears), sound::level_at(second, says));
        tests::story::tell(&format!("{by} hears {theirs:.1} dBov, themselves {own:.1}"));
        assert!(theirs > -25.0, "{by} hears {theirs:.1} dBov at {hears} Hz; {case}");
        assert!(own < theirs - 20.0, "{by} hears themselves at {own:.1} dBov; {case}");
    }
}

#[test]
fn audio_r1_6_linphonec_and_our_phone_call_each_other_over_udp() {
    linphonec_and_our_phone("udp", "opus");
}

#[test]
fn audio_r1_6_linphonec_and_our_phone_call_each_other_over_tcp() {
    linphonec_and_our_phone("tcp", "pcma");
}

#[test]
fn audio_r1_6_linphonec_and_our_phone_call_each_other_over_tls_with_srtp() {
    linphonec_and_our_phone("tls", "opus");
}
