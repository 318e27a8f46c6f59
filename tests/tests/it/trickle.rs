//! R6.1: candidates one after the other (RFC 8838, RFC 8840), at the server.

use std::time::Duration;
use tests::sipp::{self, Run, Setup};
use tests::{Server, Story};

/// The server ends the ICE of a phone whose media it relays: candidates of the call are answered 200,
/// others refused. The scenario has the statuses.
#[test]
fn r6_1_candidates_by_info_are_taken_by_the_server_that_relays_the_media() {
    let story = Story::on_loopback("trickle");
    story.add_users(&["alice"]);
    let _server = Server::start(&story);
    let users = sipp::users_file(&story, "alice.csv", &[("alice".into(), "echo".into())]);
    let (port, media_port) = (story.place.peer_port(1), story.place.peer_port(20));
    let setup =
        Setup { scenario: "trickle", port, media_port, calls: 1, rate: 1, more: Vec::new() };
    Run::start(&story, "trickle", &setup, Some(&users)).expect_none_failed(Duration::from_secs(30));
}
