//! What an operator may open for closed networks and load tests: calls without credentials from
//! named networks, media that passes the relay by.

use crate::lab::{EMPTY, Lab, request, respond, text, with_sdp};
use crate::policy::{SAVP, body};
use crate::talk::{BOB, talk_in};
use edge::{Config, EdgeEvent, MediaAnchor, MediaEncryption, MediaProfile};
use sansio::Transport;

fn lab(config: Config) -> Lab {
    let mut lab = Lab::with(1, config);
    lab.user("user2", &[2]);
    lab
}

fn open_from(networks: &[&str]) -> Config {
    let networks = networks.iter().map(|n| n.parse().unwrap()).collect();
    Config { open_from: networks, ..Config::default() }
}

fn when_needed() -> Config {
    Config { media_anchor: MediaAnchor::WhenNeeded, ..Config::default() }
}

#[test]
fn a_call_from_an_open_network_needs_no_credentials_and_any_other_does() {
    let invite = |lab: &mut Lab, n| lab.send(n, request("INVITE", n, "user1", BOB, &with_sdp("")));
    let mut lab = lab(open_from(&["10.0.0.0/8", "192.0.2.1/32"]));
    invite(&mut lab, 1);
    assert_eq!(lab.next(1).status(), Some(100));
    lab.find(2, "INVITE");
    invite(&mut lab, 3);
    assert_eq!(lab.next(3).status(), Some(407), "192.0.2.3 is not open");
}

#[test]
fn an_open_network_may_not_register_without_credentials_nor_speak_for_other_domains() {
    let mut lab = lab(open_from(&["192.0.2.0/24"]));
    let register = request("REGISTER", 1, "user1", "sip:example.com", EMPTY)
        .replace("To: <sip:example.com>", "To: <sip:user1@example.com>");
    lab.send(1, register);
    assert_eq!(lab.next(1).status(), Some(401));
    let foreign = request("INVITE", 1, "user1", BOB, &with_sdp(""))
        .replace("From: <sip:user1@example.com>", "From: <sip:boss@bank.example>");
    lab.send(1, foreign);
    assert_eq!(lab.next(1).status(), Some(403));
    assert!(lab.is_empty(2));
}

#[test]
fn descriptions_pass_untouched_when_both_sides_speak_alike_and_no_anchor_is_asked_for() {
    let mut talk = talk_in(lab(when_needed()));
    assert!(talk.lab.relay_log.is_empty(), "{:?}", talk.lab.relay_log);
    assert!(!text(Some(talk.invite.body())).contains("relayed"));
    assert!(!text(Some(talk.ok.body())).contains("relayed"));
    let again = talk.by_caller("INVITE", 3).replace(EMPTY, &with_sdp(""));
    let again = again.replace("branch=z9hG4bKINVITE", "branch=z9hG4bKagain");
    talk.lab.send(1, again);
    let again = talk.lab.find(2, "INVITE");
    assert!(text(Some(again.body())).ends_with("m=audio 4000 RTP/AVP 0\r\n"));
    talk.lab.send(2, respond(2, &again, 200, true));
    talk.lab.find(1, "200");
    let bye = talk.by_caller("BYE", 4);
    talk.lab.send(1, bye);
    let bye = talk.lab.find(2, "BYE");
    talk.lab.send(2, respond(2, &bye, 200, false));
    let session = talk.lab.events.iter().find_map(|e| match e {
        EdgeEvent::CallEnded { relay_session, .. } => Some(*relay_session),
        _ => None,
    });
    assert_eq!(session, Some(0), "there is nothing to close");
    talk.lab.assert_nothing_left();
}

#[test]
fn sides_that_speak_differently_are_anchored_all_the_same() {
    for media in [MediaProfile::WebRtc, MediaProfile::Sdes, MediaProfile::Internal] {
        let mut lab = lab(when_needed());
        lab.user("user2", &[2, 3]);
        lab.world().media.insert(3, media);
        lab.invite(1, "user1", BOB);
        lab.find(2, "INVITE");
        assert_eq!(lab.relay_log.len(), 2, "{media:?}: the one offer is written for each device");
    }
}

#[test]
fn r5_1_recorded_calls_cross_the_relay_although_both_sides_speak_alike() {
    let named = |name: &str| Some(vec![name.to_owned()]);
    let cases =
        [(None, 0), (Some(Vec::new()), 1), (named("Example.com"), 1), (named("other.example"), 0)];
    for (recorded, offers_written) in cases {
        let mut lab = lab(Config { recorded, ..when_needed() });
        lab.invite(1, "user1", BOB);
        let invite = lab.find(2, "INVITE");
        assert_eq!(lab.relay_log.len(), offers_written);
        assert_eq!(text(Some(invite.body())).contains("relayed"), offers_written == 1);
    }
}

/// R5.1: fixed at the offer. What was keyed end to end stays so, whatever comes to know of the call.
#[test]
fn r5_1_the_media_plan_of_a_call_is_fixed_at_its_offer() {
    let mut talk = talk_in(lab(when_needed()));
    let config = Config { recorded: Some(Vec::new()), ..when_needed() };
    talk.lab.note(0, edge::Note::Configure(std::sync::Arc::new(config)));
    let again = talk.by_caller("INVITE", 3).replace(EMPTY, &with_sdp(""));
    talk.lab.send(1, again.replace("branch=z9hG4bKINVITE", "branch=z9hG4bKagain"));
    let again = talk.lab.find(2, "INVITE");
    assert!(!text(Some(again.body())).contains("relayed"), "this call goes on as it began");
    talk.lab.invite(3, "user1", BOB);
    assert_eq!(talk.lab.relay_log.len(), 1, "the next one crosses the relay");
}

#[test]
fn an_offer_that_passes_untouched_is_not_tried_twice() {
    let policy = MediaEncryption::Preferred;
    let mut lab = lab(Config { media_encryption: policy, ..when_needed() });
    lab.world().transports.extend([(1, Transport::Tls), (2, Transport::Tls)]);
    lab.world().media.insert(2, MediaProfile::Sdes);
    lab.invite_with(1, "user1", BOB, |auth| body(auth, SAVP));
    let invite = lab.find(2, "INVITE");
    lab.send(2, respond(2, &invite, 488, false));
    lab.find(2, "ACK");
    assert!(lab.is_empty(2), "in clear it would be the same description");
    assert_eq!(lab.find(1, "488").status(), Some(488));
}
