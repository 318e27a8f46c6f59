//! Keys of the two ends alone (R5.4): our phone and linphonec (libbzrtp), and two phones of ours,
//! through the server.

use serde_json::Value;
use std::time::Duration;
use tests::{Linphone, Phone, PhoneEnded, Server, Story, sound};

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

/// What linphonec says.
fn tone(story: &Story) -> std::path::PathBuf {
    let mut samples = vec![0; 16_000 * 20];
    audio::Tone::new(THEIRS, 16_000, 8_000.0).fill(&mut samples);
    story.scratch.write("tone.wav", audio::Wav::mono(16_000, samples).to_bytes())
}

/// One call with linphonec: the string is the same on both, both hear each other, and what our phone
/// knows of the other is as expected. `compare` types linphonec's string.
fn linphonec_call(
    (story, transport): (&Story, &str),
    bob: &mut Linphone,
    (n, we_call, compare): (usize, bool, bool),
) -> Value {
    let said = tone(story);
    let heard = |by: &str| format!("{by}-{n}.wav");
    let hertz = OURS.to_string();
    let alice = Phone::of(story, "alice", transport, "opus");
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
    assert_eq!(secured["intermediary"], false, "{secured:#}");
    let trust = ["first-contact", "remembered", "verified"][n];
    assert_eq!(secured["trust"], trust, "{secured:#}");
    assert_eq!(secured["verified"], trust == "verified");
    if compare {
        bob.verify();
        alice.say("wrong");
        let differs = alice.wait_event("sas-differs", START);
        assert_eq!((&differs["theirs"], &differs["ours"]), (&"wrong".into(), &secured["sas"]));
        let claims = |e: &Value| e["verified"] == true;
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
    secured
}

#[test]
fn audio_r5_4_our_phone_and_linphonec_agree_on_keys_and_show_the_same_string() {
    let story = Story::on_network("zrtp-linphone").alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let mut bob = Linphone::start_zrtp(&story, "bob", "udp", "X255");
    let secured = linphonec_call((&story, "udp"), &mut bob, (0, true, false));
    assert_eq!(secured["key_agreement"], "X255");
    linphonec_call((&story, "udp"), &mut bob, (1, false, true));
    linphonec_call((&story, "udp"), &mut bob, (2, true, false));
    bob.quit();
}

/// The one key agreement that everybody must know (RFC 6189 §5.1.5), over encrypted signalling: the
/// server lets keys of the two ends pass where it asks for encryption.
#[test]
fn audio_r5_4_linphonec_agrees_by_the_group_of_3072_bits_over_tls() {
    let story = Story::on_network("zrtp-dh3k").alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let mut bob = Linphone::start_zrtp(&story, "bob", "tls", "DH3K");
    let secured = linphonec_call((&story, "tls"), &mut bob, (0, true, false));
    assert_eq!(secured["key_agreement"], "DH3k");
    bob.quit();
}

/// Two phones of ours; how each encrypts. What each was told of keys, and its result.
fn our_call(story: &Story, transports: [&str; 2], encryption: [&str; 2]) -> [PhoneEnded; 2] {
    let phone = |n: usize, user: &str, hertz: f64| {
        let hertz = hertz.to_string();
        let heard = story.scratch.file(&format!("{user}.wav"));
        let phone = Phone::of(story, user, transports[n], "opus");
        phone.with(&["--tone", &hertz, "--encryption", encryption[n]]).record(&heard)
    };
    let mut bob = phone(1, "bob", THEIRS).answer().seconds(14).start();
    bob.wait_event("registered", START);
    let alice = phone(0, "alice", OURS).call(&story.address("bob")).seconds(9).start();
    [alice.finish(CALL), bob.finish(CALL)]
}

fn secured(ended: &PhoneEnded) -> &Value {
    let found = ended.events.iter().find(|e| e["event"] == "secured");
    found.unwrap_or_else(|| panic!("no keys: {:#?}", ended.events))
}

/// R5.4 over TLS, where the server asks for encryption: it passes keys of the two ends, has none, and
/// both show one string.
#[test]
fn audio_r5_4_two_phones_of_ours_agree_through_the_server_and_remember_each_other() {
    let story = Story::on_loopback("zrtp-own").alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    for trust in ["first-contact", "remembered"] {
        let [alice, bob] = our_call(&story, ["tls", "tls"], ["zrtp", "zrtp"]);
        let (a, b) = (secured(&alice), secured(&bob));
        assert_eq!((&a["sas"], &a["words"]), (&b["sas"], &b["words"]));
        for (secured, ended) in [(a, &alice), (b, &bob)] {
            assert_eq!(secured["trust"], trust, "{secured:#}");
            assert_eq!(secured["intermediary"], false, "{secured:#}");
            assert_eq!(ended.result["encrypted"], true);
        }
        expect_heard(&story, "alice.wav", THEIRS, OURS);
        expect_heard(&story, "bob.wav", OURS, THEIRS);
    }
}

/// R5.3: one phone insists on ZRTP, the other has SDES or nothing: the server sits between, says so,
/// and both hear each other. Where nobody keys the other leg (UDP), who insists hangs up.
#[test]
fn audio_r5_3_a_phone_with_zrtp_and_one_with_sdes_talk_through_a_server_that_says_it_is_between() {
    let story = Story::on_loopback("zrtp-sdes").alone();
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let [alice, bob] = our_call(&story, ["tls", "tls"], ["zrtp", "auto"]);
    assert_eq!(secured(&alice)["intermediary"], true, "{:#?}", alice.events);
    assert_eq!(bob.result["encrypted"], true, "{:#}", bob.result);
    expect_heard(&story, "alice.wav", THEIRS, OURS);
    expect_heard(&story, "bob.wav", OURS, THEIRS);

    // The other way round: who is called insists, and refuses before it rings what has no ZRTP.
    let [alice, bob] = our_call(&story, ["tls", "tls"], ["auto", "zrtp"]);
    assert_eq!(secured(&bob)["intermediary"], true, "{:#?}", bob.events);
    assert_eq!(alice.result["encrypted"], true, "{:#}", alice.result);
    expect_heard(&story, "alice.wav", THEIRS, OURS);
    expect_heard(&story, "bob.wav", OURS, THEIRS);

    let [alice, _] = our_call(&story, ["udp", "udp"], ["zrtp", "auto"]);
    assert_eq!(alice.result["cause"], "not-secured", "{:#}", alice.result);
    assert!(alice.events.iter().any(|e| e["event"] == "not-secured"), "{:#?}", alice.events);
}
