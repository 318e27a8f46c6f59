//! R5.1, R5.9: media leaves a relay whose path turned bad, and a call that began by a relay.

use crate::laboratory::NETLAB;
use crate::turn::issue;
use std::time::Duration;
use tests::lab::Seen;
use tests::{Lab, Phone, Process, Server, Story};

const START: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(60);
/// From when the path turned bad until both phones send by another one.
const LEFT_IN: Duration = Duration::from_secs(3);
/// Another name would be refused: it says until when it holds.
const LOGIN: &str = "4000000000:lab";

/// A TURN server alone in a room of its own, with a public address.
fn relay(story: &Story, lab: &mut Lab<'_>, (name, address): (&str, &str), room: usize) -> Process {
    lab.host(name, address, None, room);
    let secret = story.scratch.write("secret", "north and south\n");
    let mut command = story.whimbrel_in(room);
    command.arg("turn");
    command.args(["--listen", &format!("{address}:3478"), "--relay-ports", "40000-40099"]);
    command.arg("--secret-file").arg(secret).args(["--allow-peer", "203.0.113.0/24"]);
    let mut relay = Process::start(&story.scratch, name, command);
    relay.wait_for("the TURN server", START, |p| p.out().contains("TURN on").then_some(()));
    relay
}

/// Whether a packet carries media as a relay forwards it: RTP, or RTP in ChannelData.
fn is_media(seen: &Seen) -> bool {
    seen.kind == "RTP" || seen.kind == "channel RTP"
}

/// When media last crossed a host: in a tenth of a second at least eight packets, which are more than
/// the checks that go on trying a way.
fn last_media_us(seen: &[Seen], host: &str) -> u64 {
    let at: Vec<u64> =
        seen.iter().filter(|s| s.host == host && is_media(s)).map(|s| s.at_us).collect();
    let dense = at.windows(8).filter(|w| w[7] - w[0] < 100_000);
    dense.map(|w| w[7]).max().unwrap_or(0)
}

/// Two phones that show nobody where they are talk by one of two relays. Its path loses an eighth of what
/// crosses it; within three seconds they talk by the other.
#[test]
fn audio_r5_9_media_leaves_a_relay_whose_path_turned_bad_in_three_seconds() {
    let story = Story::on_lab("moving", 4).alone();
    story.add_users(&["alice", "bob"]);
    let mut lab = Lab::start(&story, NETLAB, 5);
    let _server = Server::start_with(&story, "[edge]\nmedia_anchor = \"when-needed\"\n");
    let relays = [("near", "203.0.113.60"), ("far", "203.0.113.70")];
    let running = [2, 3].map(|room| relay(&story, &mut lab, relays[room - 2], room));
    for (n, user) in ["alice", "bob"].iter().enumerate() {
        lab.tell(&format!("nat nat-{user} 203.0.113.{} symmetric", n + 1));
        lab.host(user, "192.168.1.2", Some(&format!("nat-{user}")), n);
        lab.tell(&format!("link {user} delay_ms=15"));
    }
    let secret = story.scratch.file("secret");
    let password = story.scratch.write("turn-password", issue(&secret, LOGIN));
    let password = password.display().to_string();
    let uris = relays.map(|(_, address)| format!("turn:{address}:3478"));
    let more = ["--ice", "relay", "--turn", &uris[0], "--turn", &uris[1], "--turn-user", LOGIN];
    let phone = |user: &str, room, tone: &str| {
        let phone = Phone::in_room(&story, user, "udp", "pcmu", room).with(&["--tone", tone]);
        phone.with(&more).with(&["--turn-password-file", &password]).seconds(30)
    };
    let mut bob = phone("bob", 1, "700").answer().start();
    bob.wait_event("registered", START);
    let mut alice = phone("alice", 0, "440").call(&story.address("bob")).start();
    alice.wait_event("answered", START);
    std::thread::sleep(Duration::from_secs(3));
    let seen = lab.seen();
    let [near, far] = relays.map(|(name, _)| last_media_us(&seen, name));
    let busy = relays[usize::from(far > near)].0;
    lab.tell(&format!("link {busy} delay_ms=15 loss=0.12"));
    let bad_since = seen.last().map_or(0, |seen| seen.at_us);
    std::thread::sleep(LEFT_IN + Duration::from_secs(1));
    let last = last_media_us(&lab.seen(), busy);
    alice.interrupt();
    let ended = [alice, bob].map(|phone| phone.finish(CALL).expect_answered());
    let ways: Vec<_> = ended[0].events.iter().filter(|e| e["event"] == "way").collect();
    tests::story::tell(&format!(
        "{busy} was left {} ms after: {ways:?}",
        (last - bad_since) / 1_000
    ));
    let all = [&ended[0].events, &ended[1].events];
    assert!(last - bad_since < LEFT_IN.as_micros() as u64, "{all:#?}");
    drop(running);
}
