//! Calls: forked, answered, refused, cancelled.

use crate::lab::{EMPTY, Lab, request, respond, text, with_sdp};
use edge::{EdgeEvent, MediaProfile, Note};
use sip::HeaderName;
use std::time::Duration;

const BOB: &str = "sip:user2@example.com";

#[test]
fn a_call_without_credentials_is_challenged_and_leaves_no_record() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp("")));
    assert_eq!(lab.next(1).status(), Some(407));
    assert!(lab.events.is_empty() && lab.is_empty(2));
}

#[test]
fn the_branch_carries_a_sealed_route_and_none_of_our_credentials() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    assert_eq!(invite.request_uri(), b"sip:user2@192.0.2.2:5060");
    assert_eq!(invite.max_forwards(), Some(69));
    assert!(invite.header(HeaderName::PROXY_AUTHORIZATION).is_none());
    assert_eq!(invite.vias().count(), 2);
    let route = invite.record_routes().next().unwrap().unwrap();
    assert_eq!(route.sip_uri().unwrap().user().unwrap().len(), 96);
    assert!(route.sip_uri().unwrap().has_param("lr"));
    assert!(text(Some(invite.body())).contains("a=relayed:offer-1-Plain"));
}

#[test]
fn every_device_gets_an_offer_of_its_own_and_losers_are_cancelled() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2, 3, 4]);
    lab.world().media.insert(3, MediaProfile::Sdes);
    lab.world().media.insert(4, MediaProfile::WebRtc);
    lab.invite(1, "user1", BOB);
    let invites: Vec<_> = [2, 3, 4].map(|n| (n, lab.next(n))).into();
    let bodies: Vec<_> = invites.iter().map(|(_, i)| text(Some(i.body()))).collect();
    assert!(bodies[0].contains("offer-1-Plain"));
    assert!(bodies[1].contains("offer-2-Sdes"));
    assert!(bodies[2].contains("offer-3-WebRtc"));
    for (n, invite) in &invites {
        lab.send(*n, respond(*n, invite, 180, false));
        assert_eq!(lab.next(1).status(), Some(180));
    }
    lab.send(3, respond(3, &invites[1].1, 200, true));
    let ok = lab.next(1);
    assert_eq!(ok.status(), Some(200));
    assert!(text(Some(ok.body())).contains("relayed:answer-2"));
    assert_eq!(lab.next(2).method(), Some(sip::Method::CANCEL));
    assert_eq!(lab.next(4).method(), Some(sip::Method::CANCEL));
    let rung = lab.events.iter().filter(|e| matches!(e, EdgeEvent::CallRinging { .. })).count();
    assert_eq!(rung, 1);
}

#[test]
fn an_unknown_user_is_404_with_one_record() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.send(1, request("INVITE", 1, "user1", "sip:nobody@example.com", &with_sdp("")));
    let challenge = lab.next(1);
    let auth = crate::lab::credentials(
        &challenge,
        "INVITE",
        "sip:nobody@example.com",
        "user1",
        "pw-user1",
    );
    let invite = request("INVITE", 1, "user1", "sip:nobody@example.com", &with_sdp(&auth));
    lab.send(1, invite);
    assert_eq!(lab.next(1).status(), Some(404));
    assert_eq!(lab.ended(), ["failed"]);
}

#[test]
fn a_cancel_stops_the_ringing_and_ends_the_record_once() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 180, false));
    lab.next(1);
    lab.send(1, cancel());
    assert_eq!(lab.next(1).status(), Some(200), "to the CANCEL");
    assert_eq!(lab.next(2).method(), Some(sip::Method::CANCEL));
    lab.send(2, respond(2, &invite, 487, false));
    assert_eq!(lab.next(1).status(), Some(487));
    lab.advance(Duration::from_secs(64));
    assert_eq!(lab.ended(), ["cancelled"]);
    assert_eq!(lab.shards[0].calls_tracked(), 0);
}

#[test]
fn a_cancel_before_the_relay_answered_sends_no_invite() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.hold = true;
    lab.invite(1, "user1", BOB);
    lab.send(1, cancel());
    assert_eq!(lab.next(1).status(), Some(200));
    assert_eq!(lab.next(1).status(), Some(487));
    lab.release_relay();
    assert!(lab.is_empty(2));
    assert_eq!(lab.ended(), ["cancelled"]);
}

#[test]
fn a_relay_without_ports_refuses_the_call_by_name() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.refuse_relay = true;
    lab.invite(1, "user1", BOB);
    let refused = lab.next(1);
    assert_eq!(refused.status(), Some(503));
    assert_eq!(refused.reason(), b"No Media Ports Left");
    assert_eq!(lab.ended(), ["failed"]);
}

#[test]
fn a_silent_device_is_a_408_after_timer_b() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    lab.advance(Duration::from_secs(40));
    assert_eq!(lab.next(1).status(), Some(408));
    assert_eq!(lab.ended(), ["no-answer"]);
}

#[test]
fn a_draining_edge_takes_no_new_calls() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.note(0, Note::Drain);
    lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp("")));
    let refused = lab.next(1);
    assert_eq!(refused.status(), Some(503));
    assert!(refused.header(HeaderName::RETRY_AFTER).is_some());
}

#[test]
fn options_to_the_server_is_answered_without_credentials() {
    let mut lab = Lab::new(1);
    lab.send(1, request("OPTIONS", 1, "user1", "sip:example.com", EMPTY));
    let ok = lab.next(1);
    assert_eq!(ok.status(), Some(200));
    assert!(ok.header(HeaderName::ALLOW).is_some());
}

#[test]
fn what_needs_a_dialog_and_names_none_is_481() {
    let mut lab = Lab::new(1);
    for method in ["BYE", "PRACK", "UPDATE", "INFO"] {
        lab.send(1, request(method, 1, "user1", "sip:example.com", EMPTY));
        assert_eq!(lab.next(1).status(), Some(481), "{method}");
    }
    lab.send(1, request("NEWMETHOD", 1, "user1", "sip:example.com", EMPTY));
    assert_eq!(lab.next(1).status(), Some(405));
}

#[test]
fn an_invite_of_rfc_2543_without_contact_is_given_one() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let contact = "Contact: <sip:user1@192.0.2.1:5060>\r\n";
    let old = |text: String| text.replace(contact, "");
    lab.send(1, old(request("INVITE", 1, "user1", BOB, EMPTY)));
    assert_eq!(lab.next(1).status(), Some(400), "with today's branch it is just wrong");
    let old = |text| old(text).replace(";branch=z9hG4bK", ";branch=");
    lab.send(1, old(request("INVITE", 1, "user1", BOB, EMPTY)));
    let challenge = lab.next(1);
    let auth = crate::lab::credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
    lab.send(1, old(request("INVITE", 1, "user1", BOB, &format!("{auth}{EMPTY}"))));
    let invite = lab.find(2, "INVITE");
    let contact = crate::lab::text(invite.header(HeaderName::CONTACT));
    assert_eq!(contact, "<sip:user1@example.com>");
}

#[test]
fn a_request_out_of_hops_is_483() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let spent =
        request("INVITE", 1, "user1", BOB, EMPTY).replace("Max-Forwards: 70", "Max-Forwards: 0");
    lab.send(1, spent);
    assert_eq!(lab.next(1).status(), Some(483));
}

/// The CANCEL of phone 1's second INVITE, the one with credentials.
fn cancel() -> String {
    request("INVITE", 1, "user1", BOB, "uthorization")
        .replace("uthorization", EMPTY)
        .replace("INVITE sip", "CANCEL sip")
        .replace("CSeq: 2 INVITE", "CSeq: 2 CANCEL")
}
