//! R6.2: TURN servers in three regions, with real delays: the nearest lends, and the next one takes
//! over when it dies.

use crate::laboratory::NETLAB;
use std::time::Duration;
use tests::{DOMAIN, Lab, Phone, Process, Server, Story};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// Name, address, and one way to it.
const REGIONS: [(&str, &str, u32); 3] =
    [("far", "203.0.113.61", 60), ("near", "203.0.113.62", 5), ("middle", "203.0.113.63", 25)];

/// A TURN server of ours in a room of its own.
fn turn(story: &Story, lab: &mut Lab<'_>, n: usize) -> Process {
    let (name, address, delay) = REGIONS[n];
    lab.host(name, address, None, 2 + n);
    lab.tell(&format!("link {name} delay_ms={delay}"));
    let mut command = story.whimbrel_in(2 + n);
    command.args(["turn", "--listen", &format!("{address}:3478"), "--realm", DOMAIN]);
    command.args(["--allow-peer", "203.0.113.0/24", "--allow-peer", "198.51.100.0/24"]);
    for user in ["alice", "bob"] {
        command.args(["--user", &format!("{user}:{}", story.password(user))]);
    }
    Process::start(&story.scratch, name, command)
}

#[test]
fn audio_r6_2_the_nearest_of_three_regions_lends_and_when_it_dies_sound_is_back_within_a_second() {
    let story = Story::on_lab("regions", 5).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = Lab::start(&story, NETLAB, 11);
    let _server = Server::start_with(&story, "[edge]\nmedia_anchor = \"when-needed\"\n");
    let mut regions: Vec<Process> = (0..3).map(|n| turn(&story, &mut lab, n)).collect();
    let servers: Vec<String> =
        REGIONS.iter().flat_map(|(_, at, _)| ["--turn".into(), format!("turn:{at}")]).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    // Two symmetric translators: there is no way between them but a borrowed address.
    for (n, user) in ["alice", "bob"].iter().enumerate() {
        lab.tell(&format!("nat nat-{user} 203.0.113.{} symmetric", n + 1));
        lab.host(user, ["192.168.1.2", "10.7.0.2"][n], Some(&format!("nat-{user}")), n);
        lab.tell(&format!("link {user} delay_ms={}", [10, 15][n]));
    }
    std::thread::sleep(Duration::from_secs(1));
    let phone = |user: &str, room| Phone::in_room(&story, user, "tls", "pcmu", room).seconds(40);
    let mut bob = phone("bob", 1).answer().with(&["--tone", "700"]).with(&servers).start();
    bob.wait_event("registered", START);
    let alice = phone("alice", 0).call(&story.address("bob"));
    let mut alice = alice.with(&["--tone", "440"]).with(&servers).start();
    alice.wait_event("answered", START);
    std::thread::sleep(Duration::from_secs(3));
    let ways = |phone: &Phone| {
        let events = phone.events();
        let ways = events.iter().filter(|e| e["event"] == "way");
        ways.map(|e| e["by"].as_str().unwrap_or_default().to_string()).collect::<Vec<_>>()
    };
    for phone in [&alice, &bob] {
        assert!(
            ways(phone).iter().all(|by| by.is_empty() || by == "203.0.113.62:3478"),
            "{:?}",
            ways(phone)
        );
    }
    assert!(ways(&alice).iter().chain(&ways(&bob)).any(|by| !by.is_empty()), "it is relayed");
    let before = lab.seen().len();
    regions[1].kill();
    std::thread::sleep(Duration::from_secs(3));
    let seen = lab.seen();
    let died = seen[before].at_us;
    for user in ["alice", "bob"] {
        let sound = |s: &&tests::lab::Seen| s.host == user && !s.sent && s.kind.ends_with("RTP");
        let times: Vec<u64> =
            seen[before..].iter().filter(sound).map(|s| s.at_us.saturating_sub(died)).collect();
        let gap = times.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(u64::MAX) / 1_000;
        tests::story::tell(&format!("{user}: sound was away for {gap} ms"));
        assert!(times.len() > 75 && gap < 1_000, "{user}: {gap} ms of {} packets", times.len());
    }
    let after: Vec<String> = [ways(&alice), ways(&bob)].concat();
    assert!(after.iter().any(|by| by == "203.0.113.63:3478"), "the next nearest: {after:?}");
    assert!(after.iter().all(|by| by != "203.0.113.61:3478"), "not the farthest: {after:?}");
    for phone in [alice, bob] {
        phone.interrupt();
        phone.finish(CALL).expect_answered();
    }
}
