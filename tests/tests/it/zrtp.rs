//! Keys of the two ends alone (R5.4): our phone and linphonec (libbzrtp), and two phones of ours,
//! through the server.

use std::time::Duration;
use tests::{Linphone, Phone, Server, Story, sound};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// How long they talk.
const TALK: Duration = Duration::from_secs(4);
const OURS: f64 = 440.0;
const THEIRS: f64 = 700.0;

/// Somebody who hears the other, and not themselves.
fn expect_heard(story: &Story, file: &str, hears: f64, says: f64) {
    let samples = sound::mono(&story.scratch.file(file));
    let second = sound::second(&samples, 2_500);
    let (theirs, own) = (sound::level_at(second, hears), sound::level_at(second, says));
    tests::story::tell(&format!("{file}: {theirs:.1} dBov of the other, {own:.1} of themselves"));
    assert!(theirs > -25.0, "{file}: {theirs:.1} dBov at {hears} Hz");
    assert!(own < theirs - 20.0, "{file}: hears themselves at {own:.1} dBov");
}

/// One call with linphonec: the string is the same on both, both hear each other, and what our phone
/// knows of the other is as expected. `compare` types linphonec's string.
fn linphonec_call(story: &Story, bob: &mut Linphone, (n, we_call, compare): (usize, bool, bool)) {
    let mut samples = vec![0; 16_000 * 20];
    audio::Tone::new(THEIRS, 16_000, 8_000.0).fill(&mut samples);
    let said = story.scratch.write("tone.wav", audio::Wav::mono(16_000, samples).to_bytes());
    let heard = |by: &str| format!("{by}-{n}.wav");
    let hertz = OURS.to_string();
    let alice = Phone::of(story, "alice", "udp", "opus");
    let alice = alice.with(&["--tone", &hertz, "--encryption", "zrtp", "--compare"]);
    let alice = alice.record(&story.scratch.file(&heard("alice"))).seconds(60);
    let mut alice = if we_call {
        alice.call(&story.address("bob")).start_told()
    } else {
        let mut alice = alice.answer().start_told();
        alice.wait_event("registered", START);
        bob.call(&story.address("alice"));
        alice
    };
    let secured = alice.wait_event("secured", START);
    bob.talk(&said, &story.scratch.file(&heard("bob")));
    let string = bob.wait_string();
    assert_eq!(secured["sas"], string.as_str(), "{secured:#}");
    let trust = ["first-contact", "remembered", "verified"][n];
    assert_eq!(secured["trust"], trust, "{secured:#}");
    assert_eq!(secured["verified"], trust == "verified");
    if compare {
        bob.verify();
        alice.say("wrong");
        let differs = alice.wait_event("sas-differs", START);
        assert_eq!((&differs["theirs"], &differs["ours"]), (&"wrong".into(), &secured["sas"]));
        let claims = |e: &serde_json::Value| e["verified"] == true;
        assert!(!alice.events().iter().any(claims), "a wrong string is never shown as verified");
        alice.say(&string);
        alice.wait_for("secured", START, claims);
    }
    std::thread::sleep(TALK);
    bob.hang_up();
    bob.wait_ended();
    let ended = alice.finish(CALL).expect_answered();
    assert_eq!(ended.result["encrypted"], true, "{:#}", ended.result);
    expect_heard(story, &heard("alice"), THEIRS, OURS);
    expect_heard(story, &heard("bob"), OURS, THEIRS);
}

#[test]
fn audio_r5_4_our_phone_and_linphonec_agree_on_keys_and_show_the_same_string() {
    let story = Story::on_network("zrtp-linphone").alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let mut bob = Linphone::start_zrtp(&story, "bob", "udp");
    linphonec_call(&story, &mut bob, (0, true, false));
    linphonec_call(&story, &mut bob, (1, false, true));
    linphonec_call(&story, &mut bob, (2, true, false));
    bob.quit();
}
