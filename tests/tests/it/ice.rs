//! R6.1, R6.3, R6.4: our phones find a way by ICE and TURN where the network lets little through.

use crate::laboratory::NETLAB;
use serde_json::Value;
use std::time::Duration;
use tests::phone::PhoneEnded;
use tests::{DOMAIN, Lab, Phone, Server, Story, sound};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// From the caller's wish until both have heard the other.
const P95_MS: u64 = 800;
const OURS: f64 = 440.0;
const THEIRS: f64 = 700.0;
/// Peak 8,000 of `whimbrel phone --tone`, as dBov.
const TONE_DBOV: f64 = -15.25;

/// A server that lends addresses as well.
fn turn(story: &Story, more: &str) -> String {
    let (port, tls_port) = story.place.turn();
    let (relay_min, relay_max) = story.place.relayed();
    format!(
        "[turn]\nenabled = true\nport = {port}\ntls_port = {tls_port}\nrelay_min = {relay_min}\n\
         relay_max = {relay_max}\nrealm = \"{DOMAIN}\"\n{more}"
    )
}

fn at_ms(events: &[Value], name: &str) -> u64 {
    let found = events.iter().find(|e| e["event"] == name);
    found.and_then(|e| e["at_ms"].as_u64()).unwrap_or_else(|| panic!("no {name}: {events:#?}"))
}

fn way(ended: &PhoneEnded) -> &Value {
    let found = ended.events.iter().find(|e| e["event"] == "way");
    found.unwrap_or_else(|| panic!("no way: {:#?}", ended.events))
}

/// Of ten tenths of a second the middle level.
fn level(samples: &[i16], hertz: f64) -> f64 {
    let second = sound::second(samples, 1_500);
    let parts = second.chunks_exact(sound::RATE as usize / 10);
    let mut levels: Vec<f64> = parts.map(|part| sound::level_at(part, hertz)).collect();
    levels.sort_by(f64::total_cmp);
    levels.get(levels.len() / 2).copied().unwrap_or(-140.0)
}

/// Alice in room 0 calls bob in room 1, both hear; how long the set-up took, and how both ended.
fn call(story: &Story, transport: &str, more: [&[&str]; 2]) -> (u64, [PhoneEnded; 2]) {
    call_between(story, transport, [("alice", 0), ("bob", 1)], more)
}

/// The same between any two.
fn call_between(
    story: &Story,
    transport: &str,
    [caller, callee]: [(&str, usize); 2],
    more: [&[&str]; 2],
) -> (u64, [PhoneEnded; 2]) {
    let heard = |user: &str| story.scratch.file(&format!("heard-by-{user}.wav"));
    let phone = |(user, room): (&str, usize), hertz: f64, more: &[&str]| {
        let phone = Phone::in_room(story, user, transport, "pcmu", room).record(&heard(user));
        phone.with(&["--tone", &hertz.to_string()]).with(more).seconds(30)
    };
    let mut bob = phone(callee, THEIRS, more[1]).answer().start();
    bob.wait_event("registered", START);
    let mut alice = phone(caller, OURS, more[0]).call(&story.address(callee.0)).start();
    alice.wait_event("answered", START);
    std::thread::sleep(Duration::from_millis(3_500));
    alice.interrupt();
    let ended = [alice.finish(CALL).expect_answered(), bob.finish(CALL).expect_answered()];
    for (user, hertz, ended) in [(caller.0, THEIRS, &ended[0]), (callee.0, OURS, &ended[1])] {
        let level = level(&sound::mono(&heard(user)), hertz);
        let right = (level - TONE_DBOV).abs() < 3.0;
        assert!(right, "{user} hears {level:.1} dBov: {:#?}", ended.events);
    }
    let both = ended.iter().map(|ended| at_ms(&ended.events, "heard")).max().unwrap_or(0);
    (both - at_ms(&ended[0].events, "calling"), ended)
}

/// Two behind translators, with some delay.
fn two_homes<'s>(story: &'s Story, seed: u64) -> Lab<'s> {
    let mut lab = Lab::start(story, NETLAB, seed);
    for (n, (user, kind)) in [("alice", "port-restricted"), ("bob", "symmetric")].iter().enumerate()
    {
        lab.tell(&format!("nat nat-{user} 203.0.113.{} {kind}", n + 1));
        lab.host(user, "192.168.1.2", Some(&format!("nat-{user}")), n);
        lab.tell(&format!("link {user} delay_ms={}", [12, 25][n]));
    }
    lab
}

fn worst(mut took: Vec<u64>, what: &str) {
    took.sort_unstable();
    let p95 = took[(took.len() * 95).div_ceil(100) - 1];
    tests::story::tell(&format!("{what}: median {} ms, p95 {p95} ms", took[took.len() / 2]));
    assert!(p95 < P95_MS, "{what}: set-up to two-way sound p95 {p95} ms of {took:?}");
}

#[test]
fn audio_r6_1_where_udp_is_blocked_two_phones_talk_through_turn_over_tcp() {
    let story = Story::on_lab("udp-blocked", 2).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = two_homes(&story, 3);
    // The laboratory's Internet has addresses that no server lends to without being told.
    let allow = format!("allow_peers = [\"{}/32\"]\n", story.place.server_ip());
    let _server = Server::start_with(&story, &turn(&story, &allow));
    for user in ["alice", "bob"] {
        lab.tell(&format!("block {user} udp"));
    }
    let (ip, (port, tls_port)) = (story.place.server_ip(), story.place.turn());
    let by_udp = format!("turn:{ip}:{port}");
    for by_stream in [format!("turn:{ip}:{port}?transport=tcp"), format!("turns:{ip}:{tls_port}")] {
        let servers = ["--turn", &by_udp, "--turn", &by_stream];
        let mut took = Vec::new();
        for n in 0..4 {
            let (ms, ended) = call(&story, "tls", [&servers, &servers]);
            for ended in &ended {
                assert_eq!(way(ended)["relayed"], true, "{:#?}", ended.events);
                // R6.5: each call is another process, and knows what was good in the one before.
                assert_eq!(way(ended)["known"], n > 0, "call {n}: {:#?}", ended.events);
            }
            took.push(ms);
        }
        worst(took, &by_stream);
    }
}

/// What a hotel leaves: one port of TCP, by which everything goes.
#[test]
fn audio_r6_1_where_only_tcp_443_is_open_two_phones_talk_through_turn_over_tls() {
    let story = Story::on_lab("only-443", 2).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = two_homes(&story, 4);
    let allow = format!("tls_port = 443\nallow_peers = [\"{}/32\"]\n", story.place.server_ip());
    let tls_port = format!("tls_port = {}\n", story.place.turn().1);
    let own = turn(&story, &allow).replacen(&tls_port, "", 1);
    let _server = Server::start_with(&story, &own);
    // The web's port of the story's server stands for 443 of another machine.
    for user in ["alice", "bob"] {
        lab.tell(&format!("block {user} all-but-tcp:443,{}", story.place.https()));
    }
    let server = format!("turns:{}:443", story.place.server_ip());
    let servers = ["--turn", &server];
    let mut took = Vec::new();
    for _ in 0..4 {
        let (ms, ended) = call(&story, "wss", [&servers, &servers]);
        for ended in &ended {
            assert_eq!(way(ended)["relayed"], true, "{:#?}", ended.events);
        }
        took.push(ms);
    }
    worst(took, "TURN over TLS on 443");
}

/// Sound is back soon where a translator forgets what it knew, also where the way is one of ICE's.
#[test]
fn audio_r6_3_sound_is_back_within_a_second_when_a_mapping_is_forgotten_under_ice() {
    let story = Story::on_lab("forgotten-ice", 2).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = two_homes(&story, 5);
    let _server = Server::start(&story);
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
        let heard = |s: &&tests::lab::Seen| s.host == user && !s.sent && s.kind == "RTP";
        let sound: Vec<u64> =
            seen[before..].iter().filter(heard).map(|s| s.at_us - forgotten).collect();
        let apart = sound.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
        let gap = apart.max(sound.first().copied().unwrap_or(u64::MAX)) / 1_000;
        tests::story::tell(&format!("{user}: sound was away for {gap} ms"));
        assert!(gap <= 1_000, "{user}: {gap} ms without sound");
        assert!(sound.len() > 50, "{user}: {} packets in 2.5 s", sound.len());
    }
    for phone in [alice, bob] {
        phone.interrupt();
        let ended = phone.finish(CALL).expect_answered();
        assert_eq!(way(&ended)["relayed"], false, "{:#?}", ended.events);
    }
}

/// R6.5: five seconds without network, and the translator has forgotten everything meanwhile.
#[test]
fn audio_r6_5_after_an_outage_of_five_seconds_sound_is_back_within_300_ms() {
    let story = Story::on_lab("outage", 2).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = two_homes(&story, 6);
    let _server = Server::start(&story);
    let phone = |user: &str, room| Phone::in_room(&story, user, "udp", "pcmu", room).seconds(40);
    let mut bob = phone("bob", 1).answer().with(&["--tone", "700"]).start();
    bob.wait_event("registered", START);
    let mut alice = phone("alice", 0).call(&story.address("bob")).with(&["--tone", "440"]).start();
    alice.wait_event("answered", START);
    std::thread::sleep(Duration::from_secs(2));
    lab.tell("link alice delay_ms=12 loss=1.0");
    std::thread::sleep(Duration::from_secs(5));
    lab.tell("forget nat-alice");
    let before = lab.seen().len();
    lab.tell("link alice delay_ms=12");
    std::thread::sleep(Duration::from_secs(2));
    let seen = lab.seen();
    let since = seen[before].at_us;
    let heard = |s: &&tests::lab::Seen| s.host == "alice" && !s.sent && s.kind == "RTP";
    let first = seen[before..].iter().find(heard).map(|s| (s.at_us - since) / 1_000);
    tests::story::tell(&format!("sound is back after {first:?} ms"));
    assert!(first.is_some_and(|ms| ms < 300), "back after {first:?} ms");
    for phone in [alice, bob] {
        phone.interrupt();
        phone.finish(CALL).expect_answered();
    }
}

/// Two full agents, and a server that sees nothing of the media: each pair of translators, directly
/// where they let it, by an address borrowed from the server where they do not.
#[test]
fn audio_r6_1_phones_reach_each_other_through_all_sixteen_pairs_of_nats_by_themselves() {
    const KINDS: [&str; 4] = ["full-cone", "restricted", "port-restricted", "symmetric"];
    let story = Story::on_lab("direct", 8).alone();
    let users: Vec<[String; 2]> =
        KINDS.map(|kind| ["a", "b"].map(|who| format!("{who}-{kind}"))).to_vec();
    story.add_users(&users.iter().flatten().map(String::as_str).collect::<Vec<_>>());
    let mut lab = Lab::start(&story, NETLAB, 7);
    let allow = "allow_peers = [\"198.51.100.0/24\", \"203.0.113.0/24\"]\n";
    let more = format!("[edge]\nmedia_anchor = \"when-needed\"\n\n{}", turn(&story, allow));
    let server = Server::start_with(&story, &more);
    for (n, kind) in KINDS.iter().enumerate() {
        for (side, who) in ["a", "b"].iter().enumerate() {
            let (nat, user) = (format!("nat-{who}-{kind}"), format!("{who}-{kind}"));
            lab.tell(&format!("nat {nat} 203.0.113.{} {kind}", 10 + 2 * n + side));
            // Another inner network for each side, as homes and carriers have.
            lab.host(&user, ["192.168.1.2", "10.7.0.2"][side], Some(&nat), 2 * n + side);
            lab.tell(&format!("link {user} delay_ms={}", [12, 25][side]));
        }
    }
    let lends = format!("turn:{}:{}", story.place.server_ip(), story.place.turn().0);
    let (mut took, mut relayed) = (Vec::new(), Vec::new());
    for (n, row) in users.iter().enumerate() {
        for (m, column) in users.iter().enumerate() {
            let pair = [(row[0].as_str(), 2 * n), (column[1].as_str(), 2 * m + 1)];
            let (ms, ended) = call_between(&story, "udp", pair, [&["--turn", &lends]; 2]);
            took.push(ms);
            if ended.iter().any(|ended| way(ended)["relayed"] == true) {
                relayed.push(format!("{} to {}", KINDS[n], KINDS[m]));
            }
        }
    }
    tests::story::tell(&format!("by a borrowed address: {relayed:?}"));
    // Only where neither side can know where the other's packets will come from.
    assert!(relayed.iter().all(|pair| pair.contains("symmetric")), "{relayed:?}");
    assert!(relayed.iter().any(|pair| pair == "symmetric to symmetric"), "{relayed:?}");
    assert_eq!(took.len(), 16, "all connected");
    worst(took, "sixteen pairs by themselves");
    let sessions = server.calls();
    assert!(sessions.is_empty(), "{sessions:?}");
}

/// R5.4 with R6.1: keys of the two ends by a way that is relayed over TCP on both sides, where UDP is
/// blocked: packets of ZRTP go wherever sound goes.
#[test]
fn audio_r5_4_two_phones_agree_on_keys_through_ice_and_turn() {
    let story = Story::on_lab("zrtp-turn", 2).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = two_homes(&story, 8);
    let allow = format!("allow_peers = [\"{}/32\"]\n", story.place.server_ip());
    let _server = Server::start_with(&story, &turn(&story, &allow));
    for user in ["alice", "bob"] {
        lab.tell(&format!("block {user} udp"));
    }
    let by_tcp = format!("turn:{}:{}?transport=tcp", story.place.server_ip(), story.place.turn().0);
    let more = ["--turn", &by_tcp, "--encryption", "zrtp"];
    let (_, ended) = call(&story, "tls", [&more, &more]);
    let secured = ended.each_ref().map(|ended| {
        assert_eq!(way(ended)["relayed"], true, "{:#?}", ended.events);
        let found = ended.events.iter().find(|e| e["event"] == "secured");
        found.unwrap_or_else(|| panic!("no keys: {:#?}", ended.events))
    });
    assert_eq!(secured[0]["sas"], secured[1]["sas"]);
    assert!(secured.iter().all(|s| s["intermediary"] == false), "{secured:?}");
}
