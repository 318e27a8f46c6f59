//! What happens once a call is answered: requests in the dialog, on any shard, from any side.

use crate::lab::{Lab, respond, text};
use crate::talk::talk;
use edge::Note;
use sansio::FlowId;
use sip::HeaderName;
use std::time::Duration;

#[test]
fn each_side_gets_a_route_of_its_own() {
    let talk = talk(1);
    let caller = text(talk.ok.header(HeaderName::RECORD_ROUTE));
    let callee = text(talk.invite.header(HeaderName::RECORD_ROUTE));
    assert_ne!(caller, callee);
    assert_eq!(talk.ok.record_routes().count(), 1);
}

#[test]
fn the_caller_hangs_up_and_the_record_ends_once() {
    let mut talk = talk(1);
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, &bye);
    let got = talk.lab.next(2);
    assert!(got.header(HeaderName::ROUTE).is_none(), "our Route is taken off");
    assert_eq!(got.vias().count(), 2);
    talk.lab.send(2, respond(2, &got, 200, false));
    let ok = talk.lab.next(1);
    assert_eq!((ok.status(), ok.vias().count()), (Some(200), 1));
    talk.lab.advance(Duration::from_secs(64));
    assert_eq!(talk.lab.ended(), ["bye"]);
    assert_eq!(talk.lab.shards[0].calls_tracked(), 0);
}

#[test]
fn the_callee_hangs_up() {
    let mut talk = talk(1);
    let bye = talk.by_callee("BYE", 1);
    talk.lab.send(2, &bye);
    let got = talk.lab.next(1);
    assert_eq!(got.method(), Some(sip::Method::BYE));
    talk.lab.send(1, respond(1, &got, 200, false));
    assert_eq!(talk.lab.next(2).status(), Some(200));
    assert_eq!(talk.lab.ended(), ["bye"]);
}

#[test]
fn a_bye_whose_peer_is_gone_is_still_a_bye() {
    let mut talk = talk(1);
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, &bye);
    talk.lab.next(2);
    talk.lab.advance(Duration::from_secs(64));
    assert_eq!(talk.lab.ended(), ["bye"]);
    assert_eq!(talk.lab.shards[0].calls_tracked(), 0);
    assert!(talk.lab.is_empty(1), "RFC 4320: its sender has timed out by itself");
}

#[test]
fn a_route_changed_in_one_character_reaches_nobody() {
    let mut talk = talk(1);
    let bye = talk.by_caller("BYE", 3);
    let at = bye.find("Route: <sip:").unwrap() + "Route: <sip:".len() + 40;
    let mut forged = bye.into_bytes();
    forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
    talk.lab.send(1, forged);
    assert_eq!(talk.lab.next(1).status(), Some(481));
    assert!(talk.lab.is_empty(2) && talk.lab.ended().is_empty());
    assert_eq!(talk.lab.shards[0].counters().forged_tokens, 1);
}

#[test]
fn four_shards_carry_a_dialog_whose_sides_live_on_different_ones() {
    // Phone 1 is on shard 1, phone 2 on shard 2; shard 1 owns the call.
    let mut talk = talk(4);
    let before = talk.lab.handed;
    let info = talk.by_callee("INFO", 1);
    talk.lab.send(2, &info);
    assert!(talk.lab.handed > before, "shard 2 hands the request to shard 1");
    let got = talk.lab.next(1);
    assert_eq!(got.method(), Some(sip::Method::INFO));
    talk.lab.send(1, respond(1, &got, 200, false));
    assert_eq!(talk.lab.next(2).status(), Some(200));
    // The caller's next request comes by a third shard's socket.
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send_by(1, FlowId { node: 0, shard: 3, id: 1 }, &bye);
    let got = talk.lab.next(2);
    talk.lab.send(2, respond(2, &got, 200, false));
    assert_eq!(talk.lab.next(1).status(), Some(200));
    assert_eq!(talk.lab.ended(), ["bye"]);
}

#[test]
fn a_phone_that_moved_is_reached_by_its_new_flow() {
    let mut talk = talk(1);
    talk.lab.world().moved.insert(2, 9);
    let info = talk.by_caller("INFO", 3);
    talk.lab.send(1, &info);
    assert_eq!(talk.lab.next(9).method(), Some(sip::Method::INFO));
    assert!(talk.lab.is_empty(2));
}

#[test]
fn after_a_restart_the_token_alone_carries_the_bye() {
    let talk = talk(1);
    let bye = talk.by_caller("BYE", 3);
    let back = talk.by_callee("BYE", 1);
    let mut fresh = Lab::new(1);
    fresh.send(1, &bye);
    assert_eq!(fresh.next(2).method(), Some(sip::Method::BYE));
    fresh.send(2, &back);
    assert_eq!(fresh.next(1).method(), Some(sip::Method::BYE));
    assert!(fresh.ended().is_empty(), "records end it as server-restart, not the edge");
}

#[test]
fn a_forced_hang_up_says_bye_both_ways_in_the_right_cseq() {
    let mut talk = talk(1);
    let call = talk
        .lab
        .events
        .iter()
        .find_map(|e| match e {
            edge::EdgeEvent::CallAnswered { call, .. } => Some(*call),
            _ => None,
        })
        .unwrap();
    talk.lab.note(0, Note::MediaSilent(call));
    let (to_caller, to_callee) = (talk.lab.next(1), talk.lab.next(2));
    assert_eq!(to_caller.request_uri(), b"sip:user1@192.0.2.1:5060");
    assert_eq!(to_callee.request_uri(), b"sip:phone2@192.0.2.2:5060");
    assert_eq!(to_callee.cseq().unwrap().number, 3, "the INVITE was 2");
    assert_eq!(text(to_callee.from_tag()), "from1");
    assert_eq!(text(to_caller.from_tag()), "to2");
    assert!(text(to_caller.header(HeaderName::REASON)).contains("media-silence"));
    assert_eq!(talk.lab.ended(), ["media-silence"]);
}
