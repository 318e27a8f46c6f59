//! Several devices: two answers, late answers, refusals of all kinds.

use crate::lab::{EMPTY, Lab, respond, text};
use crate::talk::BOB;
use edge::{EdgeEvent, Note};
use sip::{HeaderName, Message};
use std::time::Duration;

fn ringing(devices: &[u8]) -> (Lab, Vec<Message>) {
    let mut lab = Lab::new(1);
    lab.user("user2", devices);
    lab.invite(1, "user1", BOB);
    let invites: Vec<_> = devices.iter().map(|n| lab.next(*n)).collect();
    (lab, invites)
}

fn cancel() -> String {
    crate::lab::request("INVITE", 1, "user1", BOB, "uthorization")
        .replace("uthorization", EMPTY)
        .replace("INVITE sip", "CANCEL sip")
        .replace("CSeq: 2 INVITE", "CSeq: 2 CANCEL")
}

/// A request of the caller in the dialog of `ok`.
fn in_dialog(method: &str, cseq: u32, ok: &Message) -> String {
    let route = text(ok.header(HeaderName::RECORD_ROUTE));
    let to = text(ok.header(HeaderName::TO));
    let target = text(ok.contacts().next().map(|c| c.unwrap().uri()));
    let tag = text(ok.to_tag());
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{method}{tag}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:user1@example.com>;tag=from1\r\nTo: {to}\r\n\
         Call-ID: call-1\r\nCSeq: {cseq} {method}\r\nRoute: {route}\r\n{EMPTY}"
    )
}

#[test]
fn two_answers_both_reach_the_caller_and_the_second_ones_bye_leaves_the_first_alone() {
    let (mut lab, invites) = ringing(&[2, 3]);
    lab.send(2, respond(2, &invites[0], 180, false));
    lab.send(3, respond(3, &invites[1], 180, false));
    lab.send(2, respond(2, &invites[0], 200, true));
    lab.send(3, respond(3, &invites[1], 200, true));
    let (first, second) = (lab.find(1, "200"), lab.find(1, "200"));
    assert_eq!((text(first.to_tag()), text(second.to_tag())), ("to2".into(), "to3".into()));
    assert_eq!(first.body(), second.body(), "the media stays with the first");
    assert_eq!(lab.relay_log.iter().filter(|l| l.starts_with("answer")).count(), 1);
    for ok in [&first, &second] {
        lab.send(1, in_dialog("ACK", 2, ok));
    }
    lab.find(2, "ACK");
    lab.find(3, "ACK");
    lab.send(1, in_dialog("BYE", 3, &second));
    let bye = lab.find(3, "BYE");
    lab.send(3, respond(3, &bye, 200, false));
    lab.find(1, "200");
    assert!(lab.ended().is_empty(), "the first call goes on");
    let gone = |e: &EdgeEvent| matches!(e, EdgeEvent::BranchEnded { branch: 2, .. });
    assert_eq!(lab.events.iter().filter(|e| gone(e)).count(), 1, "the loser's leg closes");
    lab.send(1, in_dialog("BYE", 3, &first));
    let bye = lab.find(2, "BYE");
    lab.send(2, respond(2, &bye, 200, false));
    assert_eq!(lab.ended(), ["bye"]);
    lab.assert_nothing_left();
}

#[test]
fn a_caller_that_keeps_the_second_answer_gets_its_media() {
    let (mut lab, invites) = ringing(&[2, 3]);
    lab.send(2, respond(2, &invites[0], 200, true));
    lab.send(3, respond(3, &invites[1], 200, true));
    let first = lab.find(1, "200");
    lab.send(1, in_dialog("BYE", 3, &first));
    assert_eq!(lab.relay_log.last().unwrap(), "answer from callee branch 2");
    assert!(lab.ended().is_empty());
}

/// Says BYE in the dialog of `ok`, which reaches device `n`.
fn bye(lab: &mut Lab, cseq: u32, ok: &Message, n: u8) {
    lab.send(1, in_dialog("BYE", cseq, ok));
    let bye = lab.find(n, "BYE");
    lab.send(n, respond(n, &bye, 200, false));
    lab.find(1, "200");
}

#[test]
fn a_loser_that_rang_first_gets_no_media_when_another_loser_goes() {
    let (mut lab, invites) = ringing(&[2, 3, 4]);
    for n in [2, 3, 4] {
        lab.send(n, respond(n, &invites[usize::from(n) - 2], 180, false));
        lab.find(1, "180");
    }
    // The second wins; the others crossed its answer.
    let oks = [3, 2, 4].map(|n| {
        lab.send(n, respond(n, &invites[usize::from(n) - 2], 200, true));
        lab.find(1, "200")
    });
    let relayed = lab.relay_log.len();
    bye(&mut lab, 3, &oks[2], 4);
    assert_eq!(lab.relay_log.len(), relayed, "the media stays with who answered first");
    bye(&mut lab, 4, &oks[0], 3);
    assert_eq!(lab.relay_log.last().unwrap(), "answer from callee branch 1");
    bye(&mut lab, 5, &oks[1], 2);
    assert_eq!(lab.ended(), ["bye"]);
}

#[test]
fn a_device_behind_which_two_answered_by_one_branch_keeps_a_call_with_media() {
    let (mut lab, invites) = ringing(&[2]);
    let first = respond(2, &invites[0], 200, true);
    lab.send(2, &first);
    lab.send(2, first.replace("to2", "other").replace("5000", "5002"));
    let oks = [lab.find(1, "200"), lab.find(1, "200")];
    assert_eq!(oks[0].body(), oks[1].body(), "the media stays with the first");
    bye(&mut lab, 3, &oks[0], 2);
    assert!(lab.ended().is_empty(), "RFC 3261 \u{a7}13.2.2.4: the other dialog stands");
    let answers = lab.relay_log.iter().filter(|l| *l == "answer from callee branch 1").count();
    assert_eq!(answers, 2, "its media is the other's now: {:?}", lab.relay_log);
    let gone = |e: &EdgeEvent| matches!(e, EdgeEvent::BranchEnded { .. });
    assert!(!lab.events.iter().any(gone), "the leg is in use");
    bye(&mut lab, 4, &oks[1], 2);
    assert_eq!(lab.ended(), ["bye"]);
}

#[test]
fn a_repeated_answer_crosses_the_relay_once_and_reaches_the_caller_unchanged() {
    let (mut lab, invites) = ringing(&[2]);
    let answer = respond(2, &invites[0], 200, true);
    lab.send(2, &answer);
    lab.send(2, &answer);
    let (first, again) = (lab.next(1), lab.next(1));
    assert_eq!(first.bytes(), again.bytes());
    assert_eq!(lab.relay_log.iter().filter(|l| l.starts_with("answer")).count(), 1);
}

#[test]
fn a_cancel_that_crosses_the_answer_lets_the_answer_win() {
    let (mut lab, invites) = ringing(&[2]);
    lab.send(2, respond(2, &invites[0], 180, false));
    lab.next(1);
    lab.send(1, cancel());
    lab.send(2, respond(2, &invites[0], 200, true));
    lab.find(2, "CANCEL");
    assert_eq!(text(lab.next(1).header(HeaderName::CSEQ)), "2 CANCEL");
    let ok = lab.find(1, "200");
    lab.send(1, in_dialog("ACK", 2, &ok));
    lab.send(1, in_dialog("BYE", 3, &ok));
    lab.find(2, "BYE");
    assert_eq!(lab.ended(), ["bye"]);
    lab.assert_nothing_left();
}

#[test]
fn a_cancel_before_the_record_is_open_ends_the_call_without_an_invite() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.hold_open = true;
    lab.invite(1, "user1", BOB);
    lab.send(1, cancel());
    lab.find(1, "487");
    lab.release_relay();
    assert!(lab.is_empty(2));
    assert_eq!(lab.ended(), ["cancelled"]);
    lab.assert_nothing_left();
}

#[test]
fn a_cancel_before_a_provisional_waits_for_one() {
    let (mut lab, invites) = ringing(&[2]);
    lab.send(1, cancel());
    assert!(lab.is_empty(2), "RFC 3261 §9.1");
    lab.send(2, respond(2, &invites[0], 180, false));
    lab.find(2, "CANCEL");
    lab.send(2, respond(2, &invites[0], 487, false));
    lab.find(1, "487");
    lab.assert_nothing_left();
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let (mut lab, invites) = ringing(&[2]);
    lab.send(2, respond(2, &invites[0], 200, true));
    lab.find(1, "200");
    lab.send(1, cancel());
    assert_eq!(text(lab.next(1).header(HeaderName::CSEQ)), "2 CANCEL");
    assert!(lab.is_empty(2) && lab.ended().is_empty());
}

#[test]
fn an_answer_after_a_forced_hang_up_is_acknowledged_and_ended() {
    let (mut lab, invites) = ringing(&[2]);
    lab.send(2, respond(2, &invites[0], 180, false));
    let call = lab.events.iter().find_map(|e| match e {
        EdgeEvent::CallRinging { call, .. } => Some(*call),
        _ => None,
    });
    lab.note(0, Note::HangUp(call.unwrap()));
    lab.find(1, "480");
    lab.find(2, "CANCEL");
    let answer = respond(2, &invites[0], 200, true);
    lab.send(2, &answer);
    let (ack, bye) = (lab.find(2, "ACK"), lab.find(2, "BYE"));
    assert_eq!(ack.cseq().unwrap().number, 2);
    assert_eq!(bye.cseq().unwrap().number, 3);
    assert_eq!(text(bye.to_tag()), "to2");
    lab.send(2, &answer);
    lab.find(2, "ACK");
    assert!(lab.is_empty(2), "one BYE is enough");
    assert!(lab.is_empty(1));
    let answered = lab.events.iter().any(|e| matches!(e, EdgeEvent::CallAnswered { .. }));
    assert!(!answered);
    assert_eq!(lab.ended(), ["hung-up"]);
    lab.assert_nothing_left();
}

#[test]
fn silence_of_early_media_ends_no_call() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2, 3]);
    lab.invite(1, "user1", BOB);
    let first = lab.next(2);
    lab.send(2, respond(2, &first, 180, false));
    let ringing = lab.events.iter().find_map(|e| match e {
        EdgeEvent::CallRinging { call, .. } => Some(*call),
        _ => None,
    });
    lab.note(0, Note::MediaSilent(ringing.unwrap()));
    assert!(lab.ended().is_empty(), "silence before the answer ends nothing");
    lab.note(0, Note::HangUp(ringing.unwrap()));
    assert_eq!(lab.ended(), ["hung-up"]);
    lab.assert_nothing_left();
}

#[test]
fn an_answer_later_than_every_transaction_is_acknowledged_and_ended() {
    let (mut lab, invites) = ringing(&[2]);
    let answer = respond(2, &invites[0], 200, true);
    lab.advance(Duration::from_secs(100));
    lab.find(1, "408");
    while !lab.is_empty(2) {
        lab.next(2);
    }
    lab.send(2, &answer);
    lab.find(2, "ACK");
    lab.find(2, "BYE");
    assert!((0..64).all(|_| lab.is_empty(1) || lab.next(1).status() == Some(408)));
    lab.assert_nothing_left();
}

#[test]
fn a_stray_answer_of_a_live_call_or_of_nobody_is_dropped() {
    let (mut lab, invites) = ringing(&[2]);
    let answer = respond(2, &invites[0], 200, true);
    lab.send(2, &answer);
    let ok = lab.find(1, "200");
    lab.send(1, in_dialog("ACK", 2, &ok));
    lab.find(2, "ACK");
    lab.advance(Duration::from_secs(100));
    lab.send(2, &answer);
    assert!(lab.is_empty(2) && lab.is_empty(1), "the call goes on");
    let forged = answer.replace("Record-Route: <sip:", "Record-Route: <sip:A");
    lab.send(2, forged.replace("tag=to2", "tag=other"));
    assert!(lab.is_empty(2));
}

#[test]
fn only_the_answered_dialog_gets_the_bye_of_a_forced_hang_up() {
    let (mut lab, invites) = ringing(&[2, 3]);
    for (n, invite) in [2, 3].into_iter().zip(&invites) {
        lab.send(n, respond(n, invite, 180, false));
    }
    lab.send(2, respond(2, &invites[0], 200, true));
    lab.find(3, "CANCEL");
    lab.send(3, respond(3, &invites[1], 487, false));
    lab.find(3, "ACK");
    let call = lab.events.iter().find_map(|e| match e {
        EdgeEvent::CallAnswered { call, .. } => Some(*call),
        _ => None,
    });
    lab.note(0, Note::HangUp(call.unwrap()));
    lab.find(2, "BYE");
    assert!(lab.is_empty(3));
    assert_eq!(lab.ended(), ["hung-up"]);
}

#[test]
fn a_losing_branch_that_rang_gives_its_leg_back_during_the_call() {
    let (mut lab, invites) = ringing(&[2, 3]);
    for (n, invite) in [2, 3].into_iter().zip(&invites) {
        lab.send(n, respond(n, invite, 180, false));
    }
    lab.send(2, respond(2, &invites[0], 200, true));
    lab.send(3, respond(3, &invites[1], 487, false));
    lab.advance(Duration::from_secs(64));
    let legs: Vec<u32> = lab
        .events
        .iter()
        .filter_map(|e| match e {
            EdgeEvent::BranchEnded { branch, .. } => Some(*branch),
            _ => None,
        })
        .collect();
    assert_eq!(legs, [2]);
}

#[test]
fn a_decline_stops_the_other_phones() {
    let (mut lab, invites) = ringing(&[2, 3]);
    lab.send(3, respond(3, &invites[1], 180, false));
    lab.send(2, respond(2, &invites[0], 603, false));
    lab.find(3, "CANCEL");
    lab.send(3, respond(3, &invites[1], 487, false));
    lab.find(1, "603");
    lab.assert_nothing_left();
}

#[test]
fn a_redirect_is_the_callers_to_follow() {
    let (mut lab, invites) = ringing(&[2]);
    lab.send(2, respond(2, &invites[0], 302, false));
    let moved = lab.find(1, "302");
    assert!(moved.header(HeaderName::CONTACT).is_some());
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
}

#[test]
fn the_callees_own_challenge_and_the_answer_to_it_pass() {
    let (mut lab, invites) = ringing(&[2]);
    let challenge = respond(2, &invites[0], 401, false)
        .replace("CSeq:", "WWW-Authenticate: Digest realm=\"door\", nonce=\"1\"\r\nCSeq:");
    lab.send(2, challenge);
    let refused = lab.find(1, "401");
    assert!(text(refused.header(HeaderName::WWW_AUTHENTICATE)).contains("door"));
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let theirs = "Authorization: Digest username=\"a\", realm=\"door\", nonce=\"1\", uri=\"x\", \
                  response=\"0\"\r\n";
    lab.invite_with(1, "user1", BOB, |auth| {
        let theirs = if auth.is_empty() { "" } else { theirs };
        crate::lab::with_sdp(&format!("{auth}{theirs}"))
    });
    let invite = lab.next(2);
    assert!(text(invite.header(HeaderName::AUTHORIZATION)).contains("door"));
    assert!(invite.header(HeaderName::PROXY_AUTHORIZATION).is_none(), "ours stays here");
}

#[test]
fn early_dialogs_of_one_device_are_bounded() {
    let (mut lab, invites) = ringing(&[2]);
    for n in 0..500 {
        let ringing = respond(2, &invites[0], 180, false);
        lab.send(2, ringing.replace("tag=to2", &format!("tag=early{n}")));
    }
    lab.send(2, respond(2, &invites[0], 200, true));
    let ok = lab.find(1, "200");
    lab.send(1, in_dialog("BYE", 3, &ok));
    lab.find(2, "BYE");
    assert_eq!(lab.ended(), ["bye"]);
    lab.assert_nothing_left();
}

#[test]
fn a_response_without_the_callers_via_goes_nowhere() {
    let (mut lab, invites) = ringing(&[2]);
    let bare = respond(2, &invites[0], 180, false);
    let vias: Vec<_> = bare.match_indices("Via: ").map(|(at, _)| at).collect();
    let end = bare[vias[1]..].find("\r\n").unwrap() + vias[1] + 2;
    let bare = format!("{}{}", &bare[..vias[1]], &bare[end..]);
    lab.send(2, bare);
    assert!(lab.is_empty(1));
}

#[test]
fn a_phone_that_only_rings_is_cancelled_by_timer_c() {
    let (mut lab, invites) = ringing(&[2]);
    lab.send(2, respond(2, &invites[0], 180, false));
    lab.find(1, "180");
    // RFC 3261 §16.8: more than three minutes; 185 s by default, from the last 180 on.
    lab.advance(Duration::from_secs(100));
    lab.send(2, respond(2, &invites[0], 180, false));
    lab.advance(Duration::from_secs(184));
    while !lab.is_empty(2) {
        assert_ne!(text(lab.next(2).header(HeaderName::CSEQ)), "2 CANCEL", "too early");
    }
    lab.advance(Duration::from_secs(2));
    lab.find(2, "CANCEL");
    lab.send(2, respond(2, &invites[0], 487, false));
    let told = lab.find(1, "487");
    assert_eq!(text(told.header(HeaderName::CSEQ)), "2 INVITE");
    assert_eq!(lab.ended().len(), 1);
    lab.assert_nothing_left();
}
