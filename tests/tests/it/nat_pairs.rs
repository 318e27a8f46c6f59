//! R6.1: calls between every pair of NATs. Our phone has no ICE yet: its media goes through the
//! relay, whatever lies before it, and so every pair must connect.

use crate::laboratory::NETLAB;
use std::time::Duration;
use tests::lab::Seen;
use tests::{Lab, Phone, Server, Story, sound};

const KINDS: [&str; 4] = ["full-cone", "restricted", "port-restricted", "symmetric"];
const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// From the first INVITE until both have received the other's sound.
const P95_MS: f64 = 800.0;
const OURS: f64 = 440.0;
const THEIRS: f64 = 700.0;
/// Peak 8,000 of `whimbrel phone --tone`, as dBov.
const TONE_DBOV: f64 = -15.25;

/// From when the caller first said INVITE until sound had reached both, in milliseconds. What was
/// seen before `since_us` belongs to earlier calls.
fn set_up_ms(seen: &[Seen], since_us: u64, [caller, callee]: [&str; 2]) -> f64 {
    let first = |host: &str, sent: bool, kind: &str| {
        let is_it =
            |s: &&Seen| s.at_us >= since_us && s.host == host && s.sent == sent && s.kind == kind;
        let found = seen.iter().find(is_it).map(|s| s.at_us);
        found.unwrap_or_else(|| panic!("{host}: no {kind} in the log"))
    };
    let heard = first(caller, false, "RTP").max(first(callee, false, "RTP"));
    (heard - first(caller, true, "SIP INVITE")) as f64 / 1_000.0
}

/// Of ten tenths of a second the middle level: where a jitter buffer makes room or catches up a tone
/// jumps, and over a whole second it would cancel itself.
fn level(samples: &[i16], from_ms: usize, hertz: f64) -> f64 {
    let second = sound::second(samples, from_ms);
    let tenth = sound::RATE as usize / 10;
    let mut levels: Vec<f64> =
        second.chunks_exact(tenth).map(|part| sound::level_at(part, hertz)).collect();
    levels.sort_by(f64::total_cmp);
    levels.get(levels.len() / 2).copied().unwrap_or(-140.0)
}

/// A call from room to room that both hear; how long its set-up took.
fn call(story: &Story, lab: &mut Lab<'_>, [caller, callee]: [(&str, usize); 2]) -> f64 {
    let since_us = lab.seen().last().map_or(0, |seen| seen.at_us);
    let recording = |user: &str| story.scratch.file(&format!("heard-{since_us}-by-{user}.wav"));
    let phone = |(user, room), hertz: f64| {
        let phone = Phone::in_room(story, user, "udp", "pcmu", room).record(&recording(user));
        phone.with(&["--tone", &hertz.to_string()]).seconds(30)
    };
    let mut answering = phone(callee, THEIRS).answer().start();
    answering.wait_event("registered", START);
    let mut calling = phone(caller, OURS).call(&story.address(callee.0)).start();
    calling.wait_event("answered", START);
    std::thread::sleep(Duration::from_millis(2_500));
    calling.interrupt();
    let ended = [calling.finish(CALL).expect_answered(), answering.finish(CALL).expect_answered()];
    for (ended, (user, hertz)) in ended.iter().zip([(caller.0, THEIRS), (callee.0, OURS)]) {
        let samples = sound::mono(&recording(user));
        let level = level(&samples, 1_000, hertz);
        assert!(
            (level - TONE_DBOV).abs() < 3.0,
            "{user} hears {level:.1} dBov: {:#}",
            ended.result
        );
    }
    set_up_ms(&lab.seen(), since_us, [caller.0, callee.0])
}

#[test]
fn audio_r6_1_calls_between_all_sixteen_pairs_of_nats_connect_at_the_relay() {
    let story = Story::on_lab("pairs", 10).alone();
    let users: Vec<[String; 2]> =
        KINDS.map(|kind| ["a", "b"].map(|who| format!("{who}-{kind}"))).to_vec();
    let names: Vec<&str> = users.iter().flatten().map(String::as_str).collect();
    story.add_users(&[&names[..], &["a-double", "b-double"]].concat());
    // The server needs its addresses.
    let mut lab = Lab::start(&story, NETLAB, 11);
    let _server = Server::start(&story);
    // Callers at home, callees on mobile networks, each side behind a translator of each kind.
    for (n, kind) in KINDS.iter().enumerate() {
        for (side, who) in ["a", "b"].iter().enumerate() {
            let (nat, user) = (format!("nat-{who}-{kind}"), format!("{who}-{kind}"));
            lab.tell(&format!("nat {nat} 203.0.113.{} {kind}", 10 + 2 * n + side));
            lab.host(&user, "192.168.1.2", Some(&nat), 2 * n + side);
            lab.tell(&format!(
                "link {user} {}",
                ["delay_ms=12 jitter_ms=8", "delay_ms=35 jitter_ms=25"][side]
            ));
        }
    }
    // Both behind homes of their own, and those behind one carrier.
    lab.tell("nat carrier 203.0.113.30 symmetric");
    for (side, who) in ["a", "b"].iter().enumerate() {
        lab.tell(&format!("nat home-{who} 100.64.0.{} port-restricted behind carrier", 7 + side));
        lab.host(&format!("{who}-double"), "192.168.1.2", Some(&format!("home-{who}")), 8 + side);
    }
    let mut took = Vec::new();
    for (n, row) in users.iter().enumerate() {
        for (m, column) in users.iter().enumerate() {
            let ms = call(&story, &mut lab, [(&row[0], 2 * n), (&column[1], 2 * m + 1)]);
            tests::story::tell(&format!("{} calls {}: {ms:.0} ms", row[0], column[1]));
            took.push(ms);
        }
    }
    let double = call(&story, &mut lab, [("a-double", 8), ("b-double", 9)]);
    tests::story::tell(&format!("two behind two translators each: {double:.0} ms"));
    took.push(double);
    assert_eq!(took.len(), 17, "all connected");
    took.sort_by(f64::total_cmp);
    let p95 = took[(took.len() * 95).div_ceil(100) - 1];
    tests::story::tell(&format!("median {:.0} ms, p95 {p95:.0} ms", took[took.len() / 2]));
    assert!(p95 < P95_MS, "set-up to two-way sound: p95 {p95:.0} ms of {took:.0?}");
}

#[test]
fn audio_r6_3_sound_is_back_when_a_translator_forgets_its_mappings_in_a_call() {
    let story = Story::on_lab("forgotten", 2).alone();
    story.add_users(&["alice", "bob"]);
    // The server needs its addresses.
    let mut lab = Lab::start(&story, NETLAB, 5);
    let _server = Server::start(&story);
    for (n, (user, kind)) in [("alice", "port-restricted"), ("bob", "symmetric")].iter().enumerate()
    {
        lab.tell(&format!("nat nat-{user} 203.0.113.{} {kind}", n + 1));
        lab.host(user, "192.168.1.2", Some(&format!("nat-{user}")), n);
        lab.tell(&format!("link {user} delay_ms=15 jitter_ms=5"));
    }
    let phone = |user: &str, room| Phone::in_room(&story, user, "udp", "pcmu", room).seconds(40);
    let mut bob = phone("bob", 1).answer().with(&["--tone", "700"]).start();
    bob.wait_event("registered", START);
    let mut alice = phone("alice", 0).call(&story.address("bob")).with(&["--tone", "440"]).start();
    alice.wait_event("answered", START);
    std::thread::sleep(Duration::from_secs(2));
    for user in ["alice", "bob"] {
        let before = lab.seen().len();
        lab.tell(&format!("forget nat-{user}"));
        std::thread::sleep(Duration::from_millis(2_500));
        let seen = lab.seen();
        let forgotten = seen[before].at_us;
        let sound: Vec<u64> = seen[before..]
            .iter()
            .filter(|s| s.host == user && !s.sent && s.kind == "RTP")
            .map(|s| s.at_us - forgotten)
            .collect();
        let apart = sound.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
        let gap = apart.max(sound.first().copied().unwrap_or(u64::MAX)) / 1_000;
        tests::story::tell(&format!("{user}: sound was away for {gap} ms"));
        assert!(gap <= 1_000, "{user}: {gap} ms without sound");
        assert!(sound.len() > 50, "{user}: {} packets in 2.5 s", sound.len());
    }
    for phone in [alice, bob] {
        phone.interrupt();
        phone.finish(CALL).expect_answered();
    }
}

/// A phone with IPv6 alone behind a NAT64 and one behind a NAT of IPv4, called by either.
#[test]
fn audio_r6_1_a_phone_of_ipv6_alone_talks_through_a_nat64() {
    let story = Story::on_lab("nat64", 2).alone();
    story.add_users(&["alice", "bob"]);
    // The server needs its addresses.
    let mut lab = Lab::start(&story, NETLAB, 9);
    let _server = Server::start(&story);
    lab.tell("nat nat64 203.0.113.1 port-restricted");
    lab.host_via64("alice", "2001:db8:1::2", "nat64", 0);
    lab.tell("nat home 203.0.113.2 port-restricted");
    lab.host("bob", "192.168.1.2", Some("home"), 1);
    lab.tell("link alice delay_ms=35 jitter_ms=25");
    lab.tell("link bob delay_ms=12 jitter_ms=8");
    let through = "64:ff9b::c633:6401".parse().expect("198.51.100.1 in the well-known prefix");
    for (transport, alice_calls) in [("udp", true), ("udp", false), ("tls", true), ("tls", false)] {
        let heard =
            |user: &str| story.scratch.file(&format!("{user}-{transport}-{alice_calls}.wav"));
        let alice = Phone::in_room_at(&story, "alice", (transport, "pcmu"), 0, through);
        let alice = alice.with(&["--tone", "440"]).record(&heard("alice")).seconds(30);
        let bob = Phone::in_room(&story, "bob", transport, "pcmu", 1);
        let bob = bob.with(&["--tone", "700"]).record(&heard("bob")).seconds(30);
        let (calls, called, target) = match alice_calls {
            true => (alice, bob, "bob"),
            false => (bob, alice, "alice"),
        };
        let mut called = called.answer().start();
        called.wait_event("registered", START);
        let mut calls = calls.call(&story.address(target)).start();
        calls.wait_event("answered", START);
        std::thread::sleep(Duration::from_millis(3_000));
        calls.interrupt();
        for phone in [calls, called] {
            phone.finish(CALL).expect_answered();
        }
        for (user, hertz) in [("alice", THEIRS), ("bob", OURS)] {
            let samples = sound::mono(&heard(user));
            let level = level(&samples, 1_500, hertz);
            let right = (level - TONE_DBOV).abs() < 3.0;
            assert!(right, "{transport}, alice calls: {alice_calls}: {user} hears {level:.1} dBov");
        }
    }
}
