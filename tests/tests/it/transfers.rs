//! R1.7: transfers between real phones through the server, judged by what those who are left hear.

use std::time::Duration;

use tests::{Phone, Server, Story, sound};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// Peak 8,000 of `whimbrel phone --tone`, as dBov.
const TONE_DBOV: f64 = -15.25;

/// Alice calls bob and sends him to carol; bob and carol then hear each other and nobody else.
fn transferred(transport: &str, flags: &[&str]) {
    let story = Story::on_loopback(&format!("transfer-{transport}")).alone();
    story.add_users(&["alice", "bob", "carol"]);
    let _server = Server::start(&story);
    let heard = |user: &str| story.scratch.file(&format!("heard-by-{user}.wav"));
    let answering = |user: &str, tone: &str| {
        let phone = Phone::of(&story, user, transport, "pcmu").answer().with(&["--tone", tone]);
        let mut phone = phone.record(&heard(user)).seconds(24).start();
        phone.wait_event("registered", START);
        phone
    };
    let (mut bob, carol) = (answering("bob", "500"), answering("carol", "900"));
    let carols = story.address("carol");
    let alice = Phone::of(&story, "alice", transport, "pcmu").call(&story.address("bob"));
    let alice = alice.with(&["--tone", "300", "--transfer", &carols]).with(flags);
    let mut alice = alice.seconds(40).start();
    let asked = bob.wait_event("transfer-requested", START);
    assert_eq!(asked["attended"], flags.contains(&"--attended"), "{asked:#}");
    let ended = alice.wait_event("transfer-ended", START);
    assert_eq!(ended["status"], 200, "{ended:#}");
    let alice = alice.finish(CALL).expect_answered();
    assert_eq!(alice.result["cause"], "transferred", "{:#?}", alice.result);
    for (phone, user, other) in [(bob, "bob", 900.0), (carol, "carol", 500.0)] {
        phone.finish(CALL).expect_answered();
        let samples = sound::mono(&heard(user));
        let last = sound::second(&samples, samples.len() / 48 - 2_000);
        let (theirs, alices) = (sound::level_at(last, other), sound::level_at(last, 300.0));
        assert!((theirs - TONE_DBOV).abs() < 3.0, "{user} hears {other} Hz at {theirs:.1} dBov");
        assert!(alices < TONE_DBOV - 20.0, "{user} still hears alice at {alices:.1} dBov");
    }
}

#[test]
fn audio_r1_7_a_blind_transfer_leaves_the_other_two_hearing_each_other() {
    transferred("udp", &[]);
}

#[test]
fn audio_r1_7_an_attended_transfer_does_so_with_encrypted_media() {
    transferred("tls", &["--attended"]);
}

/// Alice calls bob, asks carol, and has bob brought in: carol's phone lays the voices over each
/// other, and all three hear both others.
#[test]
fn audio_r1_7_a_conference_referral_leaves_three_hearing_each_other() {
    let story = Story::on_loopback("conference").alone();
    story.add_users(&["alice", "bob", "carol"]);
    let _server = Server::start(&story);
    let heard = |user: &str| story.scratch.file(&format!("heard-by-{user}.wav"));
    let answering = |user: &str, tone: &str| {
        let phone = Phone::of(&story, user, "tls", "pcmu").answer().with(&["--tone", tone]);
        let mut phone = phone.record(&heard(user)).seconds(40).start();
        phone.wait_event("registered", START);
        phone
    };
    let (mut bob, carol) = (answering("bob", "500"), answering("carol", "900"));
    let carols = story.address("carol");
    let alice = Phone::of(&story, "alice", "tls", "pcmu").call(&story.address("bob"));
    let alice = alice.with(&["--tone", "300", "--transfer", &carols, "--join"]);
    let mut alice = alice.record(&heard("alice")).seconds(40).start();
    let asked = bob.wait_event("transfer-requested", START);
    assert_eq!((&asked["joins"], &asked["attended"]), (&true.into(), &false.into()), "{asked:#}");
    let ended = alice.wait_event("transfer-ended", START);
    assert_eq!(ended["status"], 200, "{ended:#}");
    // They talk on: that is what is measured.
    std::thread::sleep(Duration::from_secs(5));
    for phone in [&alice, &bob, &carol] {
        phone.interrupt();
    }
    for (phone, user, others) in [
        (alice, "alice", [500.0, 900.0]),
        (bob, "bob", [300.0, 900.0]),
        (carol, "carol", [300.0, 500.0]),
    ] {
        phone.finish(CALL).expect_answered();
        let samples = sound::mono(&heard(user));
        let last = sound::second(&samples, samples.len() / 48 - 2_500);
        for hertz in others {
            let level = sound::level_at(last, hertz);
            assert!((level - TONE_DBOV).abs() < 3.0, "{user} hears {hertz} Hz at {level:.1} dBov");
        }
    }
}

#[test]
fn r1_6_a_caller_hears_early_media_before_the_answer() {
    let story = Story::on_loopback("early");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let bob = Phone::of(&story, "bob", "udp", "pcmu").answer().seconds(20);
    let mut bob = bob.with(&["--tone", "700", "--early-media", "4"]).start();
    bob.wait_event("registered", START);
    let alice = Phone::of(&story, "alice", "udp", "pcmu").call(&story.address("bob")).seconds(12);
    let mut alice = alice.start();
    alice.wait_event("early-media", START);
    alice.wait_event("answered", START);
    alice.finish(CALL).expect_answered();
    bob.interrupt();
    bob.finish(CALL);
}

#[test]
fn a_text_is_delivered_from_the_command_line() {
    let story = Story::on_loopback("text");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start(&story);
    let mut bob = Phone::of(&story, "bob", "tls", "opus").answer().seconds(30).start();
    bob.wait_event("registered", START);
    let to = story.address("bob");
    let mut alice = Phone::of(&story, "alice", "tls", "opus")
        .with(&["--message", "hello", "--to", &to])
        .start();
    let sent = alice.wait_event("message-sent", START);
    assert_eq!(sent["status"], 200, "{sent:#}");
    assert_eq!(bob.wait_event("message", START)["text"], "hello");
    bob.interrupt();
    bob.finish(CALL);
}
