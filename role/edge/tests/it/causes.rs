//! Why calls ended, as records tell it: the Q.850 cause and whose doing it was.

use crate::lab::{EMPTY, Lab, request, respond, text, with_sdp};
use crate::talk::{BOB, talk};
use edge::{EdgeEvent, EndedBy, Note};

fn ends(lab: &Lab) -> Vec<(EndedBy, Option<u8>)> {
    let end = |e: &EdgeEvent| match e {
        EdgeEvent::CallEnded { by, q850, .. } => Some((*by, *q850)),
        _ => None,
    };
    lab.events.iter().filter_map(end).collect()
}

fn with_reason(message: &str, reason: &str) -> String {
    message.replacen("Content-Length: 0", &format!("Reason: {reason}\r\nContent-Length: 0"), 1)
}

#[test]
fn r1_8_a_bye_tells_who_hung_up_and_what_cause_was_named() {
    let mut talk_1 = talk(1);
    let bye = with_reason(&talk_1.by_callee("BYE", 1), "SIP;cause=200, Q.850;cause=38;text=\"x\"");
    talk_1.lab.send(2, bye);
    assert_eq!(ends(&talk_1.lab), [(EndedBy::Callee, Some(38))]);

    let mut talk_2 = talk(1);
    let bye = talk_2.by_caller("BYE", 3);
    talk_2.lab.send(1, bye);
    assert_eq!(ends(&talk_2.lab), [(EndedBy::Caller, Some(16))]);
}

#[test]
fn r1_8_a_refusal_tells_the_cause_it_names_before_the_one_its_status_stands_for() {
    for (status, reason, cause) in [(486, "", 17), (480, "Q.850;cause=20", 20), (603, "", 21)] {
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.invite(1, "user1", BOB);
        let invite = lab.next(2);
        let refusal = respond(2, &invite, status, false);
        let refusal = if reason.is_empty() { refusal } else { with_reason(&refusal, reason) };
        lab.send(2, refusal);
        assert_eq!(ends(&lab), [(EndedBy::Callee, Some(cause))], "{status} {reason}");
    }
}

#[test]
fn r1_8_a_cancel_is_the_callers_doing_and_an_unknown_user_ours() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 180, false));
    // The branch of the INVITE, which was sent again with credentials.
    let cancel = request("CANCEL", 1, "user1", BOB, EMPTY)
        .replace("z9hG4bKCANCEL11", "z9hG4bKINVITE12")
        .replace("CSeq: 1 CANCEL", "CSeq: 2 CANCEL");
    lab.send(1, with_reason(&cancel, "Q.850;cause=31"));
    let gone = lab.find(2, "CANCEL");
    lab.send(2, respond(2, &gone, 200, false));
    lab.send(2, respond(2, &invite, 487, false));
    assert_eq!(ends(&lab), [(EndedBy::Caller, Some(31))], "{:?}", text(Some(gone.bytes())));

    let mut lab = Lab::new(1);
    lab.invite_with(1, "user1", "sip:nobody@example.com", with_sdp);
    assert_eq!(ends(&lab), [(EndedBy::Server, Some(1))]);
}

#[test]
fn what_we_end_ourselves_has_no_cause_of_the_network() {
    let mut talk = talk(1);
    let call = talk.call();
    talk.lab.note(0, Note::HangUp(call));
    assert_eq!(ends(&talk.lab), [(EndedBy::Server, None)]);
}
