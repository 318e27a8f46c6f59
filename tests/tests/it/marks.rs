//! R5.8: marks of packets on their way. What the network or the system takes off is told, and the
//! call goes on.

use serde_json::Value;
use std::time::Duration;
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(60);

/// A router on the way to the room of phones: it takes marks off, both ways.
const BLEACH: &str = r#"table ip bleach {
    chain in { type filter hook prerouting priority mangle; iifname "outer" ip dscp set cs0; }
    chain out { type filter hook postrouting priority mangle; oifname "outer" ip dscp set cs0; }
}
"#;

fn bleach(story: &Story) {
    let rules = story.scratch.write("bleach.nft", BLEACH);
    let mut nft = story.place.command("nft");
    let ended = nft.arg("-f").arg(rules).output().expect("nft");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// The record of the one call there was.
fn record(server: &mut Server<'_>, story: &Story) -> Value {
    let ended = || {
        let records = tests::server::records(story);
        records.into_iter().find(|r| r["cause"].as_str() == Some("bye"))
    };
    server.wait_for("the call's record", START, ended)
}

fn heard(result: &Value) -> u64 {
    result["quality"]["packets_received"].as_u64().unwrap_or(0)
}

#[test]
fn r5_8_a_network_that_takes_marks_off_is_told_and_the_call_goes_on() {
    let story = Story::on_edge_network("bleached");
    story.add_users(&["alice", "bob"]);
    bleach(&story);
    let mut server = Server::start(&story);
    let mut bob = Phone::of(&story, "bob", "udp", "pcmu").answer().seconds(20).start();
    bob.wait_event("registered", START);
    let alice = Phone::in_room(&story, "alice", "udp", "pcmu", 0).call(&story.address("bob"));
    let alice = alice.seconds(14).start().finish(CALL).expect_answered();
    let bob = bob.finish(CALL).expect_answered();

    for (who, ended, arrived) in [("alice", &alice, "CS0"), ("bob", &bob, "EF")] {
        assert!(heard(&ended.result) > 200, "{who}: {:#?}", ended.result);
        let quality = &ended.result["quality"];
        assert_eq!(quality["dscp_sent"], "EF", "{who}: {quality:#}");
        assert_eq!(quality["dscp_arrived"], arrived, "{who}: {quality:#}");
        let told: Vec<&Value> = ended.events.iter().filter(|e| e["event"] == "marks").collect();
        assert_eq!(told.len(), 1, "{who}: {told:?}");
        assert_eq!(told[0]["arrived"], arrived, "{who}");
    }

    let record = record(&mut server, &story);
    let (caller, callee) = (&record["caller"]["way"], &record["callee"]["way"]);
    assert_eq!(
        (&caller["dscp"], &caller["dscp_seen"]),
        (&"CS0".into(), &"CS0".into()),
        "{record:#}"
    );
    assert_eq!(caller["bleached"], "both", "{record:#}");
    assert_eq!((&callee["dscp"], &callee["dscp_seen"]), (&"EF".into(), &"EF".into()), "{record:#}");
    assert_eq!(callee["bleached"], Value::Null, "{record:#}");
    // R5.9: the reports of both are in it too.
    for side in [caller, callee] {
        assert!(side["reports"].as_u64() > Some(0), "{record:#}");
        assert!(side["rtt_ms"].as_f64().is_some_and(|ms| ms < 1000.0), "{record:#}");
    }

    let legs = |name: &str, last: &str| {
        let name = format!("whimbrel_relay_legs_{name}_total");
        server.metric(&format!("{name}{{interface=\"default\",kind=\"rtp\",{last}}}"))
    };
    assert_eq!((legs("bleached", "way=\"from\""), legs("bleached", "way=\"toward\"")), (1, 1));
    assert_eq!((legs("marked", "mark=\"ef\""), legs("marked", "mark=\"cs0\"")), (1, 1));
    assert!(server.complaints().contains("changes the marks"), "{}", server.complaints());
}

#[test]
fn r5_8_a_system_that_refuses_marks_is_told_and_the_call_goes_on() {
    let story = Story::on_loopback("refused-marks");
    story.add_users(&["alice", "bob"]);
    story.refuse_marks(true);
    let mut server = Server::start_with(&story, "[media]\nsocket_per_port = true\n");
    let alice = Phone::of(&story, "alice", "udp", "pcmu").call(&story.address("bob")).seconds(14);
    story.refuse_marks(false);
    let mut bob = Phone::of(&story, "bob", "udp", "pcmu").answer().seconds(20).start();
    bob.wait_event("registered", START);
    let alice = alice.start().finish(CALL).expect_answered();
    let bob = bob.finish(CALL).expect_answered();

    for (who, ended, sent) in [("alice", &alice, Value::Null), ("bob", &bob, "EF".into())] {
        assert!(heard(&ended.result) > 200, "{who}: {:#?}", ended.result);
        let quality = &ended.result["quality"];
        assert_eq!(
            (&quality["dscp_sent"], &quality["dscp_arrived"]),
            (&sent, &"CS0".into()),
            "{who}"
        );
    }
    let record = record(&mut server, &story);
    for (side, arrived) in [("caller", "CS0"), ("callee", "EF")] {
        let way = &record[side]["way"];
        assert_eq!((&way["dscp"], &way["bleached"]), (&arrived.into(), &Value::Null), "{record:#}");
    }
    assert!(server.metric("whimbrel_marks_refused_total") > 0);
    let complaints = server.complaints();
    let told = complaints.matches("lets no packet be marked").count();
    assert_eq!(told, 1, "once, not for each socket: {complaints}");
}
