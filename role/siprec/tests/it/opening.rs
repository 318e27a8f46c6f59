//! How a call comes to the SRS, or does not.

use sansio::Transport;
use sdp::Direction;
use sip::Method;
use siprec::{Event, Failure};

use crate::world::{CALL, Told, World, directions, read};

#[test]
fn r5_12_the_invite_is_what_rfc_7866_says() {
    let mut world = World::new("");
    world.start();
    let invite = world.one(Method::INVITE);
    assert_eq!(invite.request_uri(), b"sip:srs@rec.example");
    assert_eq!(invite.header_str("Require"), Some("siprec"));
    let contact = invite.header_str("Contact").unwrap();
    assert_eq!(contact, "<sip:whimbrel@192.0.2.1:5061;transport=tcp>;+sip.src");
    assert!(invite.header_str("Accept").unwrap().contains("application/rs-metadata-request"));
    assert_eq!(directions(&invite), [Direction::SendOnly; 2]);
}

#[test]
fn r5_12_metadata_are_of_rfc_7865s_structure_and_name_the_streams_of_the_description() {
    let mut world = World::new("");
    world.start();
    let (root, sdp) = read(&world.one(Method::INVITE));
    assert_eq!(root.name, "recording");
    assert_eq!(root.attribute("xmlns"), "urn:ietf:params:xml:ns:recording:1");
    // In the order of the schema's sequence.
    let order: Vec<&str> = root.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(
        order,
        [
            "datamode",
            "session",
            "participant",
            "participant",
            "stream",
            "stream",
            "sessionrecordingassoc",
            "participantsessionassoc",
            "participantsessionassoc",
            "participantstreamassoc",
            "participantstreamassoc",
        ]
    );
    assert_eq!(root.one("datamode").text, "complete");
    let session = root.one("session");
    let id = session.attribute("session_id");
    assert_eq!(id.len(), 24, "128 bits in base64");
    assert_eq!(session.one("start-time").text, "2026-01-01T00:00:00Z");
    assert!(
        session.one("sipSessionID").text.starts_with("ab30317f1a784dc48ff824d0d3715d86;remote=")
    );
    let streams = root.all("stream");
    for (at, stream) in streams.iter().enumerate() {
        assert_eq!(stream.attribute("session_id"), id);
        assert_eq!(Some(stream.one("label").text.as_str()), sdp.media()[at].attribute("label"));
    }
    let of = |at: usize| streams[at].attribute("stream_id");
    let assoc = root.all("participantstreamassoc");
    for (own, other) in [(0, 1), (1, 0)] {
        let who = root.all("participant")[own].attribute("participant_id");
        assert_eq!(assoc[own].attribute("participant_id"), who);
        assert_eq!(assoc[own].one("send").text, of(own));
        assert_eq!(assoc[own].one("recv").text, of(other));
        let joined = root.all("participantsessionassoc")[own];
        assert_eq!(joined.attribute("participant_id"), who);
        assert_eq!(joined.attribute("session_id"), id);
        assert_eq!(joined.one("associate-time").text, "2026-01-01T00:00:00Z");
    }
    assert_eq!(root.one("sessionrecordingassoc").attribute("session_id"), id);
}

#[test]
fn r5_12_a_hostile_name_is_a_name_and_nothing_else() {
    let mut world = World::new("");
    world.start();
    let (root, _) = read(&world.one(Method::INVITE));
    let caller = root.all("participant")[0].one("nameID");
    assert_eq!(caller.attribute("aor"), "sip:mal'lory@example.com");
    // The bell is in no XML document.
    assert_eq!(caller.one("name").text, "Mallory \"<script>&amp;</name>");
    assert!(root.all("participant")[1].one("nameID").all("name").is_empty());
}

#[test]
fn r5_12_a_refusal_is_told_and_the_call_is_not_offered_again() {
    let mut world = World::new("");
    world.start();
    let invite = world.one(Method::INVITE);
    world.answer(&invite, 403);
    world.one(Method::ACK);
    let refused =
        Event::Failed { call: CALL, why: Failure::Refused(403), again: false, is_news: true };
    assert_eq!(world.events, [refused]);
    assert_eq!(world.told(), [Told::Offer { srtp: false }, Told::End]);
    assert!(world.pass(120).is_empty() && world.client.is_empty());
}

#[test]
fn r5_12_an_srs_that_is_full_is_asked_again_for_the_rest_of_the_call() {
    let mut world = World::new("retry_s = 20");
    world.start();
    let invite = world.one(Method::INVITE);
    world.answer(&invite, 503);
    world.sent();
    let failed =
        Event::Failed { call: CALL, why: Failure::Refused(503), again: true, is_news: true };
    assert_eq!(std::mem::take(&mut world.events), [failed]);
    assert!(world.pass(19).is_empty());
    let again = world.pass(1);
    world.answer(&again[0], 503);
    world.sent();
    let still =
        Event::Failed { call: CALL, why: Failure::Refused(503), again: true, is_news: false };
    assert_eq!(std::mem::take(&mut world.events), [still]);
    let again = world.pass(20);
    assert_eq!(again.len(), 1);
    world.answer(&again[0], 200);
    world.one(Method::ACK);
    assert_eq!(world.events, [Event::Started { call: CALL }]);
}

#[test]
fn r5_12_where_recording_is_required_a_failure_is_final_and_holds_for_a_while() {
    let mut world = World::new("required = true\nretry_s = 20");
    world.start();
    let invite = world.one(Method::INVITE);
    world.answer(&invite, 503);
    world.sent();
    assert!(world.events[0].is_final() && world.client.is_empty());
    assert!(world.client.is_failing(world.now));
    world.pass(20);
    assert!(!world.client.is_failing(world.now), "the next call may try");
}

#[test]
fn r5_12_who_never_answers_is_cancelled_and_a_late_answer_is_ended() {
    let mut world = World::new("answer_s = 3\nretry_s = 600");
    world.start();
    let invite = world.one(Method::INVITE);
    world.answer(&invite, 100);
    world.pass(2);
    // The connection is not deaf.
    world.answer(&invite, 180);
    let sent = world.pass(1);
    assert_eq!(sent.iter().filter(|m| m.method() == Some(Method::CANCEL)).count(), 1);
    let failed = Event::Failed { call: CALL, why: Failure::NoAnswer, again: true, is_news: true };
    assert_eq!(world.events, [failed]);
    world.answer(&invite, 200);
    let methods: Vec<_> =
        world.sent().iter().map(|m| m.method().unwrap().as_str().to_owned()).collect();
    assert_eq!(methods, ["ACK", "BYE"]);
}

#[test]
fn r5_12_without_a_connection_the_call_waits_no_longer_than_it_may() {
    let mut world = World::without_link("answer_s = 3");
    world.start();
    assert!(world.client.wants_link());
    assert!(world.pass(3).is_empty());
    assert!(matches!(
        world.events[..],
        [Event::Failed { why: Failure::Unreachable(_), again: true, .. }]
    ));
}

#[test]
fn r5_12_an_srs_that_takes_no_stream_records_nothing_and_is_told_so() {
    let mut world = World::new("");
    world.start();
    let invite = world.one(Method::INVITE);
    let none = "v=0\r\no=- 9 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=audio 0 RTP/AVP 0\r\nm=audio 0 RTP/AVP 0\r\n";
    world.answer_with(&invite, 200, none);
    let sent = world.sent();
    assert_eq!(sent[1].method(), Some(Method::BYE));
    assert!(matches!(world.events[..], [Event::Failed { why: Failure::Media(_), .. }]));
}

#[test]
fn r5_12_over_tls_the_streams_are_offered_as_srtp() {
    let mut world = World::without_link("");
    world.link_up(Transport::Tls, 5062);
    world.start();
    assert_eq!(world.told(), [Told::Offer { srtp: true }]);
}

#[test]
fn r5_12_no_more_calls_are_recorded_than_may_be() {
    let mut world = World::new("sessions_max = 0");
    world.start();
    assert!(world.sent().is_empty());
    let full = Event::Failed { call: CALL, why: Failure::TooMany, again: false, is_news: true };
    assert_eq!(world.events, [full]);
}
