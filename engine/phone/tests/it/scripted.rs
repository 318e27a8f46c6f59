//! Peers that do what our own phone does not.

use crate::world::{SCRIPT, World, millis, seconds};
use media::Session;
use phone::{Cause, PhoneEvent};
use sansio::{SeededEntropy, Transport};
use sip::{HeaderName, Message, Method, RequestBuilder, response_to};

const OURS: &str = "sip:alice@192.0.2.10:5060";

pub fn alone() -> World {
    World::new(21, Transport::Udp, &["alice"])
}

pub fn session(world: &World) -> Session {
    let config = media::Config::new("203.0.113.9:4000".parse().unwrap());
    Session::new(config, world.now, &mut SeededEntropy::new(5))
}

pub fn request(method: Method<'_>, cseq: u32, to_tag: Option<&str>) -> RequestBuilder {
    let to = to_tag.map_or(format!("<{OURS}>"), |tag| format!("<{OURS}>;tag={tag}"));
    RequestBuilder::new(method, OURS)
        .header(HeaderName::VIA, format!("SIP/2.0/UDP {SCRIPT};branch=z9hG4bK{cseq}{method};rport"))
        .header(HeaderName::MAX_FORWARDS, "70")
        .header(HeaderName::FROM, "<sip:eve@example.net>;tag=eve")
        .header(HeaderName::TO, to)
        .header(HeaderName::CALL_ID, "scripted")
        .header(HeaderName::CSEQ, format!("{cseq} {method}"))
        .header(HeaderName::CONTACT, format!("<sip:eve@{SCRIPT}>"))
}

pub fn last(world: &World, status: u16) -> Message {
    let found = world.script.iter().rev().find(|m| m.status() == Some(status));
    found.unwrap_or_else(|| panic!("no {status} in {:?}", statuses(world))).clone()
}

pub fn statuses(world: &World) -> Vec<u16> {
    world.script.iter().filter_map(Message::status).collect()
}

pub fn tag_of(response: &Message) -> String {
    String::from_utf8(response.to_tag().expect("a tag").to_vec()).unwrap()
}

/// Eve calls with this INVITE and alice answers; gives the 200.
pub fn answered(world: &mut World, invite: RequestBuilder) -> Message {
    world.inject(0, &invite.build());
    world.run(seconds(1));
    world.answer(0);
    world.run(millis(100));
    last(world, 200)
}

#[test]
fn an_invite_without_an_offer_is_answered_with_one() {
    let mut world = alone();
    let ok = answered(&mut world, request(Method::INVITE, 1, None));
    let answer = session(&world).handle_offer(world.now, ok.body()).expect("an answer");
    let ack = request(Method::ACK, 1, Some(&tag_of(&ok))).body("application/sdp", answer);
    world.inject(0, &ack.build());
    world.sound = true;
    world.run(seconds(2));
    let call = world.incoming(0).unwrap();
    assert!(world.phones[0].stats(call).unwrap().packets_sent > 90);
    world.inject(0, &request(Method::BYE, 2, Some(&tag_of(&ok))).build());
    world.run(seconds(1));
    assert_eq!(world.ended(0), [Cause::PeerHungUp]);
    world.assert_clean();
}

#[test]
fn an_ack_without_the_answer_it_owes_ends_the_call() {
    let mut world = alone();
    let ok = answered(&mut world, request(Method::INVITE, 1, None));
    world.inject(0, &request(Method::ACK, 1, Some(&tag_of(&ok))).build());
    world.run(seconds(1));
    assert_eq!(world.ended(0), [Cause::NoCommonMedia]);
    assert!(world.script.iter().any(|m| m.method() == Some(Method::BYE)));
}

#[test]
fn a_second_offer_before_the_first_is_answered_must_wait() {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let ok = answered(&mut world, request(Method::INVITE, 1, None));
    let tag = tag_of(&ok);
    let again = request(Method::INVITE, 2, Some(&tag)).body("application/sdp", &offer).build();
    world.inject(0, &again);
    world.run(millis(100));
    // Ours, in the 200, is still open (RFC 6337 §3.2).
    assert_eq!(last(&world, 491).cseq().unwrap().method, Method::INVITE);
}

#[test]
fn early_media_and_a_200_without_description_make_a_call() {
    let mut world = alone();
    let call = world.call(0, &format!("sip:eve@{SCRIPT}"));
    world.run(millis(100));
    let invite = world.script.remove(0);
    let answer = session(&world).handle_offer(world.now, invite.body()).expect("an answer");
    let contact = format!("<sip:eve@{SCRIPT}>");
    let respond =
        |status| response_to(&invite, status, "").to_tag("e").header(HeaderName::CONTACT, &contact);
    world.inject(0, &respond(180).build());
    let early = respond(183).body("application/sdp", &answer).build();
    world.inject(0, &early);
    world.inject(0, &early);
    world.run(millis(100));
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::EarlyMedia { .. })), 1);
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Ringing { .. })), 1);
    world.inject(0, &respond(200).build());
    world.run(millis(100));
    assert!(world.phones[0].is_talking(call));
    assert_eq!(world.script.iter().filter(|m| m.method() == Some(Method::ACK)).count(), 1);
}

#[test]
fn an_answer_that_makes_no_sense_is_acknowledged_and_hung_up() {
    let mut world = alone();
    world.call(0, &format!("sip:eve@{SCRIPT}"));
    world.run(millis(100));
    let invite = world.script.remove(0);
    let ok = response_to(&invite, 200, "")
        .to_tag("e")
        .header(HeaderName::CONTACT, format!("<sip:eve@{SCRIPT}>"))
        .body("application/sdp", "rubbish")
        .build();
    world.inject(0, &ok);
    world.run(seconds(1));
    assert_eq!(world.ended(0), [Cause::NoCommonMedia]);
    for method in [Method::ACK, Method::BYE] {
        assert!(world.script.iter().any(|m| m.method() == Some(method)), "{method}");
    }
}

#[test]
fn a_call_whose_answer_makes_no_dialog_does_not_hang_for_ever() {
    let mut world = alone();
    world.call(0, &format!("sip:eve@{SCRIPT}"));
    world.run(millis(100));
    let invite = world.script.remove(0);
    world.inject(0, &response_to(&invite, 200, "").to_tag("no-contact").build());
    world.run(seconds(40));
    assert_eq!(world.ended(0), [Cause::Network]);
    world.assert_clean();
}

#[test]
fn a_bye_before_the_answer_ends_the_ringing() {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    world.inject(0, &request(Method::INVITE, 1, None).body("application/sdp", offer).build());
    world.run(millis(100));
    let tag = tag_of(&last(&world, 180));
    world.inject(0, &request(Method::BYE, 2, Some(&tag)).build());
    world.run(millis(100));
    assert_eq!(tag_of(&last(&world, 487)), tag);
    assert_eq!(world.ended(0), [Cause::PeerHungUp]);
}

#[test]
fn an_update_without_a_description_refreshes_and_nothing_else() {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let ok = answered(&mut world, request(Method::INVITE, 1, None).body("application/sdp", offer));
    let tag = tag_of(&ok);
    world.inject(0, &request(Method::ACK, 1, Some(&tag)).build());
    world.inject(0, &request(Method::UPDATE, 2, Some(&tag)).build());
    world.run(millis(100));
    let updated = last(&world, 200);
    assert_eq!(updated.cseq().unwrap().method, Method::UPDATE);
    assert!(updated.body().is_empty());
}

#[test]
fn strangers_requests_are_refused_by_the_book() {
    let mut world = alone();
    let required = request(Method::INVITE, 1, None).header(HeaderName::REQUIRE, "precondition");
    let cases = [
        (required, 420),
        (request(Method::BYE, 2, Some("nobody")), 481),
        (request(Method::PUBLISH, 3, None), 405),
        (request(Method::OPTIONS, 4, None), 200),
    ];
    for (request, status) in cases {
        world.inject(0, &request.build());
        world.run(seconds(1));
        assert!(statuses(&world).contains(&status), "{status}: {:?}", statuses(&world));
    }
    assert_eq!(world.events[0], []);
    world.assert_clean();
}

fn by_another_way(request: &Message) -> Message {
    let way = format!("SIP/2.0/UDP {SCRIPT};branch=z9hG4bKother;rport");
    sip::Edit::new(request).set(HeaderName::VIA, way).finish()
}

/// The answers to what came by the other way.
fn answers_to_the_copy(world: &World) -> Vec<u16> {
    let copy = |m: &&Message| {
        m.top_via().is_ok_and(|via| via.branch() == Some(b"z9hG4bKother".as_slice()))
    };
    world.script.iter().filter(copy).filter_map(Message::status).collect()
}

#[test]
fn a_call_that_forks_to_us_twice_rings_once_and_the_copy_is_482() {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let invite = request(Method::INVITE, 1, None).body("application/sdp", offer).build();
    world.inject(0, &invite);
    world.run(millis(100));
    world.inject(0, &by_another_way(&invite));
    world.run(millis(100));
    assert_eq!(answers_to_the_copy(&world), [482]);
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Incoming { .. })), 1);
    // The first one is none the worse for it.
    world.answer(0);
    world.run(millis(100));
    assert_eq!(last(&world, 200).cseq().unwrap().method, Method::INVITE);
}

#[test]
fn a_text_that_comes_by_two_ways_is_shown_once() {
    let mut world = alone();
    let text = request(Method::MESSAGE, 1, None).body("text/plain", "hello").build();
    world.inject(0, &text);
    world.inject(0, &by_another_way(&text));
    world.run(millis(100));
    assert_eq!(answers_to_the_copy(&world), [482]);
    assert_eq!(world.events[0].len(), 1, "{:?}", world.events[0]);
}

#[test]
fn a_call_refused_for_its_media_may_be_tried_again_by_the_same_proxy() {
    let mut world = alone();
    let invite = request(Method::INVITE, 1, None);
    let offer = session(&world).create_offer(world.now);
    // As to a browser.
    let browsers = String::from_utf8_lossy(&offer).replace("RTP/AVP", "UDP/TLS/RTP/SAVPF");
    world.inject(0, &invite.body("application/sdp", browsers).build());
    world.run(millis(100));
    last(&world, 488);
    assert_eq!(world.events[0], [], "it did not ring");
    let again = request(Method::INVITE, 1, None).body("application/sdp", offer).build();
    world.inject(0, &by_another_way(&again));
    world.run(millis(100));
    assert_eq!(answers_to_the_copy(&world), [180]);
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Incoming { .. })), 1);
}
