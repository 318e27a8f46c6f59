//! `[[edge.encryption]]` from outside: who must, should and must not encrypt (R5.2).

use std::time::Duration;
use tests::{Phone, Server, Story};

const START: Duration = Duration::from_secs(20);
const CALL: Duration = Duration::from_secs(60);

/// Calls `tone`; whether it was answered encrypted, or what the server said instead.
fn call(story: &Story, transport: &str) -> Result<bool, String> {
    let phone = Phone::of(story, "alice", transport, "pcmu").call(&story.address("tone"));
    let ended = phone.seconds(2).start().finish(CALL);
    match ended.result["answered"].as_bool() {
        Some(true) => Ok(ended.result["encrypted"].as_bool().expect("it says so")),
        _ => Err(format!("{:?} {:?}", ended.result, ended.events)),
    }
}

fn refused(result: &Result<bool, String>, reason: &str) {
    let told = result.as_ref().expect_err("refused");
    assert!(told.contains("488") && told.contains(reason), "{told}");
}

#[test]
fn r5_2_a_server_requires_forbids_and_prefers_as_its_rules_say() {
    let story = Story::on_loopback("encryption");
    story.add_users(&["alice", "bob"]);
    let rule = |text: &str| format!("[[edge.encryption]]\n{text}\n");
    {
        let _server = Server::start_with(&story, &rule("media = \"require\""));
        refused(&call(&story, "udp"), "Encrypted Media Required");
        assert_eq!(call(&story, "tls"), Ok(true));
    }
    {
        let _server = Server::start_with(&story, &rule("media = \"forbid\""));
        refused(&call(&story, "tls"), "Encrypted Media Forbidden");
        assert_eq!(call(&story, "udp"), Ok(false));
    }
    // Our phone has no DTLS: offered that, it refuses, and is asked again in clear.
    let domain = story.address("bob");
    let domain = domain.rsplit('@').next().expect("a domain");
    for (media, answered) in [("prefer", true), ("require", false)] {
        let text = format!("tenant = \"{domain}\"\nuser = \"bob\"\nmedia = \"{media}\"");
        let _server = Server::start_with(&story, &rule(&text));
        let mut bob = Phone::of(&story, "bob", "udp", "pcmu").answer().seconds(8).start();
        bob.wait_event("registered", START);
        let alice = Phone::of(&story, "alice", "tls", "pcmu").call(&story.address("bob"));
        let ended = alice.seconds(2).start().finish(CALL);
        assert_eq!(
            ended.result["answered"].as_bool(),
            Some(answered),
            "{media}: {:#?}",
            ended.result
        );
        let heard = bob.finish(CALL);
        assert_eq!(
            heard.result["answered"].as_bool(),
            Some(answered),
            "{media}: {:#?}",
            heard.result
        );
    }
}
