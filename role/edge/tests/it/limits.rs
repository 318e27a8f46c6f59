//! Limits with a name, questions nobody answers, and nothing left behind.

use crate::lab::{EMPTY, Lab, request, respond, with_sdp};
use crate::talk::{BOB, OFFER, described, talk, talk_in};
use edge::{Config, EdgeEvent};
use sip::Method;
use std::time::Duration;

#[test]
fn a_call_and_its_end_leave_nothing_behind() {
    for shards in [1, 4] {
        let mut talk = talk(shards);
        let bye = talk.by_caller("BYE", 3);
        talk.lab.send(1, &bye);
        let got = talk.lab.find(2, "BYE");
        talk.lab.send(2, respond(2, &got, 200, false));
        talk.lab.find(1, "200");
        talk.lab.assert_nothing_left();
    }
}

#[test]
fn a_record_nobody_opens_refuses_the_call_by_name() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.hold_open = true;
    lab.invite(1, "user1", BOB);
    lab.advance(Duration::from_secs(11));
    assert_eq!(lab.find(1, "503").reason(), b"Call Records Do Not Answer");
    lab.release_relay();
    assert!(lab.is_empty(2), "too late");
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn a_relay_that_never_answers_an_offer_refuses_the_call_by_name() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2, 3]);
    lab.hold = true;
    lab.invite(1, "user1", BOB);
    lab.advance(Duration::from_secs(6));
    assert_eq!(lab.find(1, "503").reason(), b"Media Relay Does Not Answer");
    assert_eq!(lab.ended(), ["failed"]);
    lab.release_relay();
    assert!(lab.is_empty(2) && lab.is_empty(3));
    lab.assert_nothing_left();
}

#[test]
fn a_relay_that_never_answers_an_answer_ends_the_call() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.lose = true;
    lab.send(2, respond(2, &invite, 200, true));
    lab.advance(Duration::from_secs(6));
    lab.find(2, "ACK");
    lab.find(2, "BYE");
    lab.find(1, "488");
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn a_lost_question_in_a_dialog_is_a_503_and_the_call_goes_on() {
    let mut talk = talk(1);
    talk.lab.lose = true;
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    talk.lab.advance(Duration::from_secs(6));
    talk.lab.find(1, "503");
    assert!(talk.lab.ended().is_empty());
    talk.lab.lose = false;
    let bye = talk.by_caller("BYE", 4);
    talk.lab.send(1, bye);
    talk.lab.find(2, "BYE");
    talk.lab.assert_nothing_left();
}

#[test]
fn a_plan_without_a_device_is_a_480() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[]);
    lab.invite_with(1, "user1", BOB, with_sdp);
    lab.find(1, "480");
    assert_eq!(lab.ended(), ["no-answer"]);
    lab.assert_nothing_left();
}

#[test]
fn more_devices_than_branches_max_ring_up_to_the_limit() {
    let mut lab = Lab::with(1, Config { branches_max: 2, ..Config::default() });
    lab.user("user2", &[2, 3, 4]);
    lab.invite(1, "user1", BOB);
    assert!(!lab.is_empty(2) && !lab.is_empty(3) && lab.is_empty(4));
}

#[test]
fn more_calls_than_calls_max_are_refused_by_name() {
    let mut lab = Lab::with(1, Config { calls_max: 1, ..Config::default() });
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    lab.send(3, request("INVITE", 3, "user3", BOB, &with_sdp("")));
    assert_eq!(lab.find(3, "503").reason(), b"Too Many Calls");
}

#[test]
fn a_bye_to_a_device_whose_connection_is_gone_ends_the_call() {
    let lab = Lab::new(1);
    lab.world().transports.insert(2, sansio::Transport::Tcp);
    let mut talk = talk_in(lab);
    talk.lab.close(2);
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, bye);
    assert!(talk.lab.next(1).status().is_some());
    assert_eq!(talk.lab.ended(), ["bye"]);
    talk.lab.assert_nothing_left();
}

#[test]
fn byes_that_cross_are_both_answered_and_end_the_call_once() {
    let mut talk = talk(1);
    let (one, two) = (talk.by_caller("BYE", 3), talk.by_callee("BYE", 1));
    talk.lab.send(1, one);
    talk.lab.send(2, two);
    let (to_callee, to_caller) = (talk.lab.find(2, "BYE"), talk.lab.find(1, "BYE"));
    talk.lab.send(2, respond(2, &to_callee, 200, false));
    talk.lab.send(1, respond(1, &to_caller, 200, false));
    talk.lab.find(1, "200");
    talk.lab.find(2, "200");
    assert_eq!(talk.lab.ended(), ["bye"]);
    talk.lab.assert_nothing_left();
}

#[test]
fn a_reinvite_that_crosses_a_bye_is_481_and_asks_no_relay() {
    let mut talk = talk(1);
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, bye);
    let before = talk.lab.relay_log.len();
    let hold = talk.by_callee("INVITE", 1);
    talk.lab.send(2, described(&hold, OFFER));
    talk.lab.find(2, "481");
    assert_eq!(talk.lab.relay_log.len(), before, "the session would be opened again");
    talk.lab.assert_nothing_left();
}

#[test]
fn a_request_whose_tags_do_not_fit_the_call_is_481() {
    let mut talk = talk(1);
    let info = talk.by_caller("INFO", 3).replace("tag=to2", "tag=other");
    talk.lab.send(1, info);
    talk.lab.find(1, "481");
    assert!(talk.lab.is_empty(2));
}

#[test]
fn a_retransmitted_bye_on_another_shard_is_the_same_bye() {
    let mut talk = talk(4);
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, &bye);
    talk.lab.find(2, "BYE");
    talk.lab.send_by(1, sansio::FlowId { node: 0, shard: 3, id: 1 }, &bye);
    assert!(talk.lab.is_empty(2));
}

#[test]
fn a_response_that_lands_on_a_stranger_is_dropped() {
    let mut lab = Lab::new(2);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    let stray = respond(2, &invite, 180, false).replace("z9hG4bKw00000001", "z9hG4bKw00000000");
    lab.send(2, stray);
    assert!(lab.is_empty(1));
}

#[test]
fn a_caller_without_a_binding_is_reached_by_the_flow_of_its_last_request() {
    let lab = Lab::new(1);
    lab.world().unbound.push(1);
    let mut talk = talk_in(lab);
    let info = talk.by_caller("INFO", 3);
    // It moved: the same phone by another flow.
    talk.lab.send_by(1, sansio::FlowId { node: 0, shard: 0, id: 7 }, &info);
    let back = talk.by_callee("INFO", 1);
    talk.lab.send(2, back);
    talk.lab.find(7, "INFO");
}

#[test]
fn a_new_target_is_where_a_forced_bye_goes() {
    let mut talk = talk(1);
    let update = talk.by_caller("UPDATE", 3).replace("user1@192.0.2.1:5060>", "moved@192.0.2.1>");
    talk.lab.send(1, update);
    let got = talk.lab.find(2, "UPDATE");
    talk.lab.send(2, respond(2, &got, 200, false));
    talk.lab.find(1, "200");
    let call = talk.call();
    talk.lab.note(0, edge::Note::HangUp(call));
    assert_eq!(talk.lab.find(1, "BYE").request_uri(), b"sip:moved@192.0.2.1");
}

#[test]
fn a_closed_connection_tells_of_every_account_it_carried() {
    let mut lab = Lab::new(1);
    lab.world().transports.insert(1, sansio::Transport::Tls);
    lab.register(1, "user1");
    lab.close(1);
    let closed = |e: &EdgeEvent| matches!(e, EdgeEvent::FlowClosed { aor, .. } if aor == "sip:user1@example.com");
    assert_eq!(lab.events.iter().filter(|e| closed(e)).count(), 1);
}

#[test]
fn a_text_reaches_all_phones_of_the_user_and_one_answer_goes_back() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2, 3]);
    lab.send(1, request("MESSAGE", 1, "user1", BOB, EMPTY));
    let challenge = lab.find(1, "407");
    let auth = crate::lab::credentials(&challenge, "MESSAGE", BOB, "user1", "pw-user1");
    lab.send(1, request("MESSAGE", 1, "user1", BOB, &format!("{auth}{EMPTY}")));
    let (second, third) = (lab.find(2, "MESSAGE"), lab.find(3, "MESSAGE"));
    lab.send(2, respond(2, &second, 200, false));
    lab.find(1, "200");
    lab.send(3, respond(3, &third, 200, false));
    assert!(lab.is_empty(1), "the second answer ends here");
    lab.assert_nothing_left();
}

#[test]
fn a_non_invite_reaches_the_user_and_is_answered() {
    for method in ["MESSAGE", "OPTIONS", "SUBSCRIBE"] {
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.send(1, request(method, 1, "user1", BOB, EMPTY));
        let challenge = lab.find(1, "407");
        let auth = crate::lab::credentials(&challenge, method, BOB, "user1", "pw-user1");
        lab.send(1, request(method, 1, "user1", BOB, &format!("{auth}{EMPTY}")));
        let got = lab.next(2);
        assert_eq!(got.method().map(|m| m.as_str().to_string()), Some(method.into()));
        let recorded = got.record_routes().next().is_some();
        assert_eq!(recorded, got.method().is_some_and(Method::is_dialog_forming));
        lab.send(2, respond(2, &got, 200, false));
        lab.find(1, "200");
        assert!(lab.opened.is_empty() && lab.ended().is_empty(), "no record for what is no call");
        lab.assert_nothing_left();
    }
}

#[test]
fn a_reinvite_that_rings_for_ever_is_cancelled() {
    let mut talk = talk(1);
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    let got = talk.lab.find(2, "INVITE");
    talk.lab.send(2, respond(2, &got, 180, false));
    talk.lab.advance(Duration::from_secs(300));
    talk.lab.find(2, "CANCEL");
    talk.lab.find(1, "408");
    assert!(talk.lab.ended().is_empty());
}
