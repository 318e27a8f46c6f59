//! The laboratory itself: each NAT is what it is called, each impairment does what it says.

use serde_json::Value;
use std::time::{Duration, Instant};
use tests::lab::Seen;
use tests::{Lab, Phone, Server, Story};

pub const NETLAB: &str = env!("CARGO_BIN_EXE_netlab");

/// Two interfaces with two ports each: what RFC 5780 asks of a server.
fn two_addresses(story: &Story) -> String {
    let [first, second] = [story.place.server_ip(), story.place.peer_ip()];
    format!(
        "[[interface]]\nname = \"first\"\nbind = \"{first}\"\n\n\
         [[interface]]\nname = \"second\"\nbind = \"{second}\"\n"
    )
}

#[test]
fn lab_each_nat_is_recognised_by_a_probe_at_the_servers_stun() {
    let story = Story::on_lab("nats", 7);
    story.add_users(&["alice"]);
    let more =
        format!("sip_alternate = {}\n\n{}", story.place.sip_alternate(), two_addresses(&story));
    // The server needs its addresses.
    let mut lab = Lab::start(&story, NETLAB, 1);
    let _server = Server::start_with(&story, &more);
    let nat = |lab: &mut Lab<'_>, n: usize, kind: &str| {
        lab.tell(&format!("nat {kind} 203.0.113.{n} {kind}"));
        lab.host(&format!("host{n}"), "192.168.1.2", Some(kind), n);
    };
    for (n, kind) in ["full-cone", "restricted", "port-restricted", "symmetric"].iter().enumerate()
    {
        nat(&mut lab, n, kind);
    }
    // A home of its own behind a carrier's.
    lab.tell("nat carrier 203.0.113.4 symmetric");
    lab.tell("nat home 100.64.0.7 full-cone behind carrier");
    lab.host("double", "192.168.1.2", Some("home"), 4);
    lab.host("open", "203.0.113.5", None, 5);
    lab.host("mute", "203.0.113.6", None, 6);
    lab.tell("block mute udp");
    let server = format!("{}:{}", story.place.server_ip(), story.place.sip());
    let probe = |lab: &Lab<'_>, room: usize| -> Value {
        let out = lab.run_in(room, &["behaviour", &server]);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("room {room}: {e}: {out}"))
    };
    let [any, by_address, by_port] =
        ["endpoint-independent", "address-dependent", "address-and-port-dependent"];
    for (room, mapping, filtering) in [
        (0, any, any),
        (1, any, by_address),
        (2, any, by_port),
        (3, by_port, by_port),
        // The carrier's is the narrower, and what the home lets in never gets there.
        (4, by_port, by_port),
        (5, any, any),
    ] {
        let found = probe(&lab, room);
        assert_eq!(
            (&found["mapping"], &found["filtering"]),
            (&mapping.into(), &filtering.into()),
            "room {room}: {found:#}"
        );
        let mapped = found["mapped"].as_str().unwrap_or_default();
        assert!(mapped.starts_with(&format!("203.0.113.{room}:")), "room {room}: {found:#}");
    }
    assert_eq!(probe(&lab, 6), Value::Null, "no datagram comes out of there");
}

/// What `count` datagrams, one each `every_us`, became on alice's way: how many were received, in
/// which order, with which delays.
struct Measured {
    numbers: Vec<u64>,
    delays_us: Vec<u64>,
    sent: u64,
}

impl Measured {
    fn lost(&self) -> f64 {
        let mut there = self.numbers.clone();
        there.sort_unstable();
        there.dedup();
        1.0 - there.len() as f64 / self.sent as f64
    }

    /// The delay that so many of a hundred do not exceed, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.delays_us.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100] as f64 / 1_000.0
    }

    /// Numbers that came after a higher one.
    fn overtaken(&self) -> usize {
        let mut highest = 0;
        let late = |number: &&u64| {
            let late = **number < highest;
            highest = highest.max(**number);
            late
        };
        self.numbers.iter().filter(late).count()
    }

    /// How many losses come right after another one.
    fn together(&self) -> f64 {
        let mut there = vec![false; usize::try_from(self.sent).expect("few")];
        for number in &self.numbers {
            there[usize::try_from(*number).expect("few")] = true;
        }
        let losses = there.iter().filter(|there| !**there).count();
        let pairs = there.windows(2).filter(|two| !two[0] && !two[1]).count();
        pairs as f64 / losses.max(1) as f64
    }
}

fn measure(lab: &mut Lab<'_>, link: &str, (count, every_us, size): (u64, u64, u64)) -> Measured {
    lab.tell(&format!("link alice {link}"));
    let mut receiver = lab.start_in(1, &["receive", "7000", "1500"]);
    receiver
        .wait_for("ready", Duration::from_secs(10), |p| p.out().contains("ready").then_some(()));
    let [count_text, every, size] = [count, every_us, size].map(|n| n.to_string());
    lab.run_in(0, &["send", "203.0.113.2:7000", &count_text, &every, &size]);
    let out = receiver.finish(Duration::from_secs(60)).expect_code(0).out;
    let pair = |line: &str| -> Option<(u64, u64)> {
        let (number, delay) = line.split_once(' ')?;
        Some((number.parse().ok()?, delay.parse().ok()?))
    };
    let (numbers, delays_us) = out.lines().filter_map(pair).unzip();
    let measured = Measured { numbers, delays_us, sent: count };
    if !measured.delays_us.is_empty() {
        tests::story::tell(&format!(
            "{link}: {:.1} % lost ({:.2} together), {} overtaken, p10 {:.1} p50 {:.1} p90 {:.1} ms",
            measured.lost() * 100.0,
            measured.together(),
            measured.overtaken(),
            measured.percentile(10),
            measured.percentile(50),
            measured.percentile(90),
        ));
    }
    measured
}

#[test]
fn load_lab_each_impairment_is_measured_between_two_hosts() {
    let story = Story::on_lab("impairments", 2).alone();
    let mut lab = Lab::start(&story, NETLAB, 7);
    lab.host("alice", "203.0.113.1", None, 0);
    lab.host("bob", "203.0.113.2", None, 1);
    let usual = (1_000, 2_000, 200);

    // Bob's own link takes half a millisecond, the programs what they are given.
    let bare = measure(&mut lab, "delay_ms=0", usual);
    assert!(bare.lost() == 0.0 && bare.overtaken() == 0);
    let base = bare.percentile(50);
    let delayed = measure(&mut lab, "delay_ms=40", usual);
    assert!((delayed.percentile(50) - base - 40.0).abs() < 3.0);
    assert!(delayed.percentile(10) - base > 38.5, "nothing comes early");
    assert!(delayed.percentile(90) - delayed.percentile(10) < 5.0, "and all alike");

    let jittery = measure(&mut lab, "delay_ms=20 jitter_ms=30", usual);
    let spread = jittery.percentile(90) - jittery.percentile(10);
    // In order, so that who is fast waits for who is slow.
    assert!(spread > 8.0 && jittery.percentile(50) > base + 30.0 && jittery.overtaken() == 0);
    assert!(jittery.percentile(100) < base + 50.0 + 15.0);

    let lossy = measure(&mut lab, "loss=0.1", (3_000, 1_000, 200));
    assert!((lossy.lost() - 0.1).abs() < 0.02);
    assert!((lossy.together() - 0.1).abs() < 0.06, "each by itself");
    // In a burst four of five are lost, and three of four times it goes on.
    let bursts = measure(&mut lab, "burst=0.02,0.25,0.8", (4_000, 1_000, 200));
    assert!((bursts.lost() - 0.059).abs() < 0.025);
    assert!((bursts.together() - 0.6).abs() < 0.12, "together");

    let reordered = measure(&mut lab, "delay_ms=5 reorder=0.05", (2_000, 1_000, 200));
    let share = reordered.overtaken() as f64 / 2_000.0;
    assert!((share - 0.05).abs() < 0.02 && reordered.lost() == 0.0);

    // 250 bytes with their headers are 2 kbit: 4 ms each at 500 kbit/s, and twice as many come.
    let narrow = measure(&mut lab, "rate_kbps=500 queue_ms=100", (1_000, 2_000, 222));
    assert!((narrow.lost() - 0.5).abs() < 0.05);
    let waited = narrow.percentile(90) - base;
    assert!((95.0..115.0).contains(&waited), "the queue is full: {waited:.1} ms");

    assert_eq!(measure(&mut lab, "mtu=1400", (100, 1_000, 1_372)).lost(), 0.0);
    assert_eq!(measure(&mut lab, "mtu=1400", (100, 1_000, 1_373)).numbers.len(), 0);
}

#[test]
fn lab_tcp_crosses_nats_and_loss_and_a_blocked_network_is_passed_by_port_443_alone() {
    let story = Story::on_lab("streams", 1);
    story.add_users(&["alice"]);
    // The server needs its addresses.
    let mut lab = Lab::start(&story, NETLAB, 3);
    let _server = Server::start(&story);
    lab.tell("nat home 203.0.113.1 port-restricted");
    lab.host("alice", "192.168.1.2", Some("home"), 0);
    lab.tell("link alice delay_ms=20 loss=0.05");
    let register = |transport: &str| {
        let phone = Phone::in_room(&story, "alice", transport, "opus", 0).answer().start();
        let registered = |phone: &Phone| phone.events().iter().any(|e| e["event"] == "registered");
        let begun = Instant::now();
        while !registered(&phone) && begun.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_millis(50));
        }
        registered(&phone)
    };
    assert!(register("tls"), "TCP repeats what is lost");
    // As where only web pages are to be had: here the port of SIP over WebSocket.
    lab.tell(&format!("block alice all-but-tcp:{}", story.place.https()));
    assert!(!register("udp"), "UDP is blocked");
    assert!(!register("tls"), "and so is the port of SIP over TLS");
    assert!(register("wss"));
    let seen = lab.seen();
    let got = |kind: &str| {
        let of = |seen: &&Seen| seen.host == "alice" && !seen.sent && seen.kind.starts_with(kind);
        seen.iter().filter(of).count()
    };
    assert!(got("segment") > 20 && got("SIP") == 0, "{} segments", got("segment"));
}
