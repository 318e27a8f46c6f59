//! Strict routers of RFC 2543 between us and a party (RFC 3261 §16.4, §16.6 step 6).

use crate::lab::{EMPTY, Lab, respond, text};
use crate::talk::{BOB, Talk, talk};
use sansio::FlowId;
use sip::{HeaderName, Message, Method};
use std::time::Duration;

/// What a strict router makes of a request: our Route in the Request-URI, the target in the last
/// Route.
fn by_strict_router(request: &str, target: &str) -> String {
    let at = request.find("Route: <").unwrap();
    let route = request[at..].lines().next().unwrap().to_string();
    let ours = route.trim_start_matches("Route: <").trim_end_matches('>');
    let method = request.split(' ').next().unwrap();
    request
        .replacen(&format!("{method} {target} "), &format!("{method} {ours} "), 1)
        .replace(&route, &format!("Route: <{target}>"))
}

#[test]
fn r1_1_a_bye_by_a_strict_router_reaches_the_other_side() {
    let mut talk = talk(1);
    let target = "sip:phone2@192.0.2.2:5060";
    let bye = by_strict_router(&talk.by_caller("BYE", 3), target);
    assert!(!bye.starts_with(&format!("BYE {target}")));
    talk.lab.send(1, &bye);
    let got = talk.lab.next(2);
    assert_eq!((got.method(), got.request_uri()), (Some(Method::BYE), target.as_bytes()));
    assert!(got.header(HeaderName::ROUTE).is_none());
    talk.lab.send(2, respond(2, &got, 200, false));
    assert_eq!(talk.lab.next(1).status(), Some(200));
    talk.lab.advance(Duration::from_secs(64));
    assert_eq!(talk.lab.ended(), ["bye"]);
    assert_eq!(talk.lab.shards[0].counters().forged_tokens, 0);
}

#[test]
fn a_strict_router_on_another_shard_finds_the_dialog() {
    let mut talk = talk(4);
    let bye = by_strict_router(&talk.by_caller("BYE", 3), "sip:phone2@192.0.2.2:5060");
    let before = talk.lab.handed;
    talk.lab.send_by(1, FlowId { node: 0, shard: 3, id: 1 }, &bye);
    assert!(talk.lab.handed > before);
    assert_eq!(talk.lab.next(2).method(), Some(Method::BYE));
}

#[test]
fn a_token_that_does_not_open_is_no_strict_route() {
    let mut talk = talk(1);
    let bye = by_strict_router(&talk.by_caller("BYE", 3), "sip:phone2@192.0.2.2:5060");
    let mut forged = bye.into_bytes();
    forged[4 + 4 + 40] ^= 1;
    talk.lab.send(1, forged);
    assert_eq!(talk.lab.next(1).status(), Some(481));
    assert!(talk.lab.is_empty(2));
}

/// A call whose callee sits behind a strict router.
fn behind_strict() -> Talk {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    let ours = text(invite.header(HeaderName::RECORD_ROUTE));
    let ok = respond(2, &invite, 200, true);
    // The router adds itself above us, without `lr`.
    let ok = ok.replacen(&ours, &format!("<sip:192.0.2.2:5070>, {ours}"), 1);
    lab.send(2, ok);
    let ok = lab.next(1);
    Talk { lab, ok, invite }
}

fn last_route(message: &Message) -> String {
    message.values(HeaderName::ROUTE).last().map(|r| text(Some(r))).unwrap_or_default()
}

#[test]
fn a_request_for_a_strict_router_names_it_in_the_request_uri() {
    let mut talk = behind_strict();
    // The route set of the caller is the Record-Route set turned round: us, then the router.
    let ours: Vec<String> =
        talk.ok.values(HeaderName::RECORD_ROUTE).map(|v| text(Some(v))).collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    let head = talk.by_caller("ACK", 2);
    let head = head.split("Route:").next().unwrap();
    let ack = format!("{head}Route: {}, {}\r\n{EMPTY}", ours[1], ours[0]);
    talk.lab.send(1, ack);
    let got = talk.lab.next(2);
    assert_eq!(
        (got.method(), got.request_uri()),
        (Some(Method::ACK), b"sip:192.0.2.2:5070".as_slice())
    );
    assert_eq!(last_route(&got), "<sip:phone2@192.0.2.2:5060>");
}

#[test]
fn our_own_bye_for_a_strict_router_names_it_in_the_request_uri() {
    let mut talk = behind_strict();
    let call = talk.call();
    talk.lab.note(0, edge::Note::HangUp(call));
    let bye = talk.lab.find(2, "BYE");
    assert_eq!(bye.request_uri(), b"sip:192.0.2.2:5070");
    assert_eq!(last_route(&bye), "<sip:phone2@192.0.2.2:5060>");
}
