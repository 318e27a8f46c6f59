//! A call whose phones have vanished ends by the relay's silence.

use std::time::{Duration, Instant};
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(20);

#[test]
fn a_call_whose_phones_vanish_is_ended_and_its_record_says_media_silence() {
    let story = Story::on_loopback("silence");
    story.add_users(&["alice", "bob"]);
    let _server = Server::start_with(&story, "[media]\nsilence_s = 3\n");
    let mut bob = Phone::of(&story, "bob", "udp", "pcmu").answer().seconds(60).start();
    bob.wait_event("registered", START);
    let alice = Phone::of(&story, "alice", "udp", "pcmu").call(&story.address("bob"));
    let mut alice = alice.with(&["--tone", "440"]).seconds(60).start();
    alice.wait_event("answered", START);
    bob.wait_event("answered", START);
    // Killed, not asked: no BYE, no unregister.
    drop(alice);
    drop(bob);
    let gone = Instant::now();
    loop {
        let records = tests::server::records(&story);
        // That it was answered reaches the record a moment later.
        if let Some(record) = records.iter().find(|r| r["answered"] == true) {
            if record["cause"] == "media-silence" {
                assert!(gone.elapsed() > Duration::from_secs(2), "not before the silence");
                return;
            }
            assert!(record["cause"].is_null(), "{record:#}");
        }
        assert!(gone.elapsed() < Duration::from_secs(20), "{records:#?}");
        std::thread::sleep(Duration::from_millis(250));
    }
}
