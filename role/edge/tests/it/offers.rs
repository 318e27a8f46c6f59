//! Offers and answers wherever SIP lets them stand, each by way of the relay.

use crate::lab::{EMPTY, Lab, respond, text};
use crate::talk::{BOB, OFFER, described, talk};
use edge::Note;
use sip::{HeaderName, Message};

const ANSWER: &str = "v=0\r\nm=audio 5000 RTP/AVP 0\r\n";

fn log(lab: &Lab) -> Vec<&str> {
    lab.relay_log.iter().map(String::as_str).collect()
}

fn is_relayed(message: &Message, what: &str) -> bool {
    text(Some(message.body())).contains(&format!("a=relayed:{what}"))
}

#[test]
fn early_media_and_the_answer_both_cross_the_relay() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 183, true));
    assert!(is_relayed(&lab.next(1), "answer-1"));
    lab.send(2, respond(2, &invite, 200, true));
    assert!(is_relayed(&lab.next(1), "answer-1"));
}

#[test]
fn an_answer_given_early_is_selected_again_when_another_phone_spoke_after_it() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2, 3]);
    lab.invite(1, "user1", BOB);
    let (one, two) = (lab.next(2), lab.next(3));
    lab.send(2, respond(2, &one, 183, true));
    lab.send(3, respond(3, &two, 183, true));
    lab.send(2, respond(2, &one, 200, false));
    let ok = lab.find(1, "200");
    assert!(ok.body().is_empty());
    assert_eq!(log(&lab).last(), Some(&"answer from callee branch 1"));
}

#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite_with(1, "user1", BOB, |auth| format!("{auth}{EMPTY}"));
    lab.find(1, "100");
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 180, false));
    lab.find(1, "180");
    let offer = respond(2, &invite, 200, true);
    lab.send(2, &offer);
    lab.send(2, &offer);
    let ok = lab.find(1, "200");
    assert!(is_relayed(&ok, "offer-1"));
    let route = text(ok.header(HeaderName::RECORD_ROUTE));
    let ack = described(
        &format!(
            "ACK sip:phone2@192.0.2.2:5060 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKack\r\nMax-Forwards: 70\r\n\
             From: <sip:user1@example.com>;tag=from1\r\nTo: <{BOB}>;tag=to2\r\n\
             Call-ID: call-1\r\nCSeq: 2 ACK\r\nRoute: {route}\r\n{EMPTY}"
        ),
        ANSWER,
    );
    lab.send(1, &ack);
    assert!(is_relayed(&lab.find(2, "ACK"), "answer-1"));
    lab.send(1, &ack);
    assert!(is_relayed(&lab.find(2, "ACK"), "answer-1"), "a repeated ACK is no new offer");
    let steps = ["offer from callee branch 1", "answer from caller branch 1"];
    assert_eq!(log(&lab), [steps[0], steps[1], steps[1]]);
}

#[test]
fn an_ack_whose_answer_nobody_can_use_ends_the_call() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite_with(1, "user1", BOB, |auth| format!("{auth}{EMPTY}"));
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 200, true));
    let ok = lab.find(1, "200");
    let route = text(ok.header(HeaderName::RECORD_ROUTE));
    lab.refuse_answers = true;
    let ack = format!(
        "ACK sip:phone2@192.0.2.2:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKack\r\nMax-Forwards: 70\r\n\
         From: <sip:user1@example.com>;tag=from1\r\nTo: <{BOB}>;tag=to2\r\n\
         Call-ID: call-1\r\nCSeq: 2 ACK\r\nRoute: {route}\r\n{EMPTY}"
    );
    lab.send(1, described(&ack, ANSWER));
    let ack = lab.find(2, "ACK");
    assert!(ack.body().is_empty(), "addresses of the phone must not leak past the relay");
    lab.find(2, "BYE");
    lab.find(1, "BYE");
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn hold_and_resume_cross_the_relay_both_ways() {
    let mut talk = talk(1);
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    let got = talk.lab.find(2, "INVITE");
    assert!(is_relayed(&got, "offer-1"));
    talk.lab.send(2, respond(2, &got, 200, true));
    assert!(is_relayed(&talk.lab.find(1, "200"), "answer-1"));
    let back = talk.by_callee("INVITE", 1);
    talk.lab.send(2, described(&back, OFFER));
    let got = talk.lab.find(1, "INVITE");
    assert!(is_relayed(&got, "offer-1"));
    talk.lab.send(1, respond(1, &got, 200, true).replace("tag=to1", ""));
    assert!(is_relayed(&talk.lab.find(2, "200"), "answer-1"));
    let rest = ["offer from caller branch 1", "answer from callee branch 1"];
    let more = ["offer from callee branch 1", "answer from caller branch 1"];
    assert_eq!(log(&talk.lab)[2..], [rest[0], rest[1], more[0], more[1]]);
}

#[test]
fn a_reinvite_the_relay_refuses_changes_nothing() {
    let mut talk = talk(1);
    talk.lab.refuse_relay = true;
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    assert_eq!(talk.lab.find(1, "503").reason(), b"No Media Ports Left");
    assert!(talk.lab.is_empty(2) && talk.lab.ended().is_empty());
}

#[test]
fn a_reinvite_the_peer_refuses_passes_its_refusal() {
    for status in [488, 491] {
        let mut talk = talk(1);
        let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
        talk.lab.send(1, described(&hold, OFFER));
        let got = talk.lab.find(2, "INVITE");
        talk.lab.send(2, respond(2, &got, status, false));
        talk.lab.find(1, &status.to_string());
        assert!(talk.lab.ended().is_empty());
        assert_eq!(log(&talk.lab).last(), Some(&"offer from caller branch 1"));
    }
}

#[test]
fn an_answer_to_a_reinvite_the_relay_refuses_ends_the_call_rather_than_leak() {
    let mut talk = talk(1);
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    let got = talk.lab.find(2, "INVITE");
    talk.lab.refuse_answers = true;
    talk.lab.send(2, respond(2, &got, 200, true));
    talk.lab.find(1, "503");
    talk.lab.find(2, "ACK");
    talk.lab.find(2, "BYE");
    assert_eq!(talk.lab.ended(), ["failed"]);
    talk.lab.assert_nothing_left();
}

#[test]
fn a_reinvite_without_an_offer_gets_it_in_the_answer_and_answers_in_the_ack() {
    let mut talk = talk(1);
    let bare = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKbare");
    talk.lab.send(1, &bare);
    let got = talk.lab.find(2, "INVITE");
    talk.lab.send(2, respond(2, &got, 200, true));
    assert!(is_relayed(&talk.lab.find(1, "200"), "offer-1"));
    let ack = talk.by_caller("ACK", 3).replace("z9hG4bKACK11", "z9hG4bKack3");
    talk.lab.send(1, described(&ack, ANSWER));
    assert!(is_relayed(&talk.lab.find(2, "ACK"), "answer-1"));
}

#[test]
fn an_offer_in_prack_or_update_is_answered_in_its_response() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 183, true));
    let ok = lab.find(1, "183");
    let mut early = crate::talk::Talk { lab, ok, invite };
    for (n, method) in ["PRACK", "UPDATE"].into_iter().enumerate() {
        let offer = early.by_caller(method, 3 + n as u32);
        early.lab.send(1, described(&offer, OFFER));
        let got = early.lab.find(2, method);
        assert!(is_relayed(&got, "offer-1"));
        early.lab.send(2, respond(2, &got, 200, true));
        assert!(is_relayed(&early.lab.find(1, "200"), "answer-1"));
    }
}

#[test]
fn capabilities_in_an_options_response_are_no_offer() {
    let mut talk = talk(1);
    let before = talk.lab.relay_log.len();
    let options = talk.by_caller("OPTIONS", 3);
    talk.lab.send(1, &options);
    let got = talk.lab.find(2, "OPTIONS");
    talk.lab.send(2, respond(2, &got, 200, true));
    talk.lab.find(1, "200");
    assert_eq!(talk.lab.relay_log.len(), before);
}

#[test]
fn a_cancelled_reinvite_is_cancelled_at_the_peer_too() {
    let mut talk = talk(1);
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    let got = talk.lab.find(2, "INVITE");
    talk.lab.send(2, respond(2, &got, 180, false));
    let cancel = hold.replace("INVITE sip", "CANCEL sip").replace("3 INVITE", "3 CANCEL");
    talk.lab.send(1, cancel);
    talk.lab.find(2, "CANCEL");
    talk.lab.send(2, respond(2, &got, 487, false));
    talk.lab.find(1, "487");
    assert!(talk.lab.ended().is_empty());
}

#[test]
fn a_reinvite_cancelled_while_it_is_at_the_relay_never_leaves() {
    let mut talk = talk(1);
    talk.lab.hold = true;
    let hold = talk.by_caller("INVITE", 3).replace("z9hG4bKINVITE11", "z9hG4bKhold");
    talk.lab.send(1, described(&hold, OFFER));
    let cancel = hold.replace("INVITE sip", "CANCEL sip").replace("3 INVITE", "3 CANCEL");
    talk.lab.send(1, cancel);
    talk.lab.release_relay();
    talk.lab.find(1, "487");
    assert!(talk.lab.is_empty(2));
    let call = talk.call();
    talk.lab.note(0, Note::HangUp(call));
    talk.lab.assert_nothing_left();
}

#[test]
fn an_answer_the_relay_refuses_is_acknowledged_ended_and_488_for_the_caller() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.refuse_answers = true;
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 200, true));
    lab.find(2, "ACK");
    lab.find(2, "BYE");
    lab.find(1, "488");
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn after_a_restart_no_description_crosses_untouched() {
    let talk = talk(1);
    let hold = described(&talk.by_caller("INVITE", 3), OFFER);
    let mut fresh = Lab::new(1);
    fresh.send(1, hold);
    fresh.find(1, "481");
    assert!(fresh.is_empty(2));
}
