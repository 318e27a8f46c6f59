//! Session timers at the edge (RFC 4028 §8), in virtual time.

use crate::lab::{Lab, request, respond, text, with_sdp};
use crate::talk::{BOB, Talk, described, talk_in};
use edge::{Config, EdgeEvent};
use sip::{HeaderName, Message};
use std::time::Duration;

const TIMER: &str = "Supported: timer\r\n";

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn lab(expires: u64) -> Lab {
    Lab::with(1, Config { session_expires_s: expires, ..Config::default() })
}

/// A response with more header lines in front of its Content-Length.
fn with_lines(response: &str, lines: &str) -> String {
    response.replacen("Content-", &format!("{lines}Content-"), 1)
}

/// An answered call; `caller` and `callee` are header lines of INVITE and 200.
fn talk_with(mut lab: Lab, caller: &str, callee: &str) -> Talk {
    lab.user("user2", &[2]);
    lab.invite_with(1, "user1", BOB, |auth| with_sdp(&format!("{auth}{caller}")));
    lab.next(1);
    let invite = lab.next(2);
    lab.send(2, with_lines(&respond(2, &invite, 200, true), callee));
    let ok = lab.next(1);
    let mut talk = Talk { lab, ok, invite };
    let ack = talk.by_caller("ACK", 2);
    talk.lab.send(1, ack);
    talk.lab.next(2);
    talk
}

fn expires_of(message: &Message) -> String {
    text(message.header(HeaderName::SESSION_EXPIRES))
}

/// The relay's session that a told end released.
fn released(talk: &Talk) -> usize {
    let told = |e: &&EdgeEvent| matches!(e, EdgeEvent::CallEnded { relay_session: 1.., .. });
    talk.lab.events.iter().filter(told).count()
}

#[test]
fn r1_9_a_call_nobody_refreshes_is_ended_both_ways_at_its_expiry() {
    let mut talk = talk_with(lab(90), TIMER, "Session-Expires: 90;refresher=uac\r\n");
    assert_eq!(expires_of(&talk.invite), "90");
    assert_eq!(expires_of(&talk.ok), "90;refresher=uac");
    talk.lab.advance(seconds(89));
    assert!(talk.lab.ended().is_empty());
    talk.lab.advance(seconds(2));
    assert_eq!(talk.lab.ended(), ["session-expired"]);
    assert_eq!(released(&talk), 1);
    for n in [1, 2] {
        let bye = talk.lab.find(n, "BYE");
        assert!(text(bye.header(HeaderName::REASON)).contains("session-expired"));
    }
    talk.lab.assert_nothing_left();
    assert_eq!(talk.lab.ended().len(), 1, "the record closes once");
}

#[test]
fn r1_9_a_refresh_by_either_side_moves_the_end() {
    let mut talk = talk_with(lab(90), TIMER, "Session-Expires: 90;refresher=uac\r\n");
    for round in 0..5 {
        talk.lab.advance(seconds(60));
        let (from, update) = match round % 2 {
            0 => (1, talk.by_caller("UPDATE", 3 + round)),
            _ => (2, talk.by_callee("UPDATE", 3 + round)),
        };
        let update =
            with_lines(&update, "Session-Expires: 90;refresher=uac\r\nSupported: timer\r\n");
        // Each is a transaction of its own.
        talk.lab.send(from, update.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{round}x")));
        let to = 3 - from;
        let got = talk.lab.find(to, "UPDATE");
        let ok =
            with_lines(&respond(to, &got, 200, false), "Session-Expires: 90;refresher=uac\r\n");
        talk.lab.send(to, ok);
        talk.lab.find(from, "200");
    }
    assert!(talk.lab.ended().is_empty(), "{:?}", talk.lab.ended());
    talk.lab.advance(seconds(91));
    assert_eq!(talk.lab.ended(), ["session-expired"]);
    talk.lab.assert_nothing_left();
}

#[test]
fn r1_9_a_refused_refresh_does_not_count() {
    let mut talk = talk_with(lab(90), TIMER, "Session-Expires: 90;refresher=uac\r\n");
    talk.lab.advance(seconds(60));
    let update = talk.by_caller("UPDATE", 3);
    talk.lab.send(1, update);
    let got = talk.lab.find(2, "UPDATE");
    talk.lab.send(2, respond(2, &got, 500, false));
    talk.lab.advance(seconds(31));
    assert_eq!(talk.lab.ended(), ["session-expired"]);
}

#[test]
fn r1_9_a_caller_who_alone_knows_timers_is_told_to_refresh() {
    let mut talk = talk_with(lab(300), TIMER, "");
    assert_eq!(expires_of(&talk.ok), "300;refresher=uac");
    assert!(talk.ok.lists(HeaderName::REQUIRE, "timer"));
    talk.lab.advance(seconds(301));
    assert_eq!(talk.lab.ended(), ["session-expired"]);
}

#[test]
fn r1_9_two_who_know_no_timers_are_left_alone() {
    let mut talk = talk_in(lab(90));
    assert_eq!(expires_of(&talk.invite), "90", "the callee may still want to");
    assert_eq!(expires_of(&talk.ok), "");
    talk.lab.advance(seconds(4000));
    assert!(talk.lab.ended().is_empty());
}

#[test]
fn r1_9_too_small_an_interval_is_422_with_the_minimum() {
    let mut lab = lab(1800);
    lab.user("user2", &[2]);
    let small = with_sdp(&format!("Session-Expires: 30\r\n{TIMER}"));
    lab.send(1, request("INVITE", 1, "user1", BOB, &small));
    let refused = lab.next(1);
    assert_eq!(refused.status(), Some(422));
    assert_eq!(text(refused.header(HeaderName::MIN_SE)), "90");
    assert!(lab.is_empty(2));
}

#[test]
fn r1_9_an_update_before_the_answer_begins_no_timer() {
    let mut lab = lab(90);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.next(2);
    lab.send(2, respond(2, &invite, 183, true));
    let ok = lab.next(1);
    let mut talk = Talk { lab, ok, invite };
    let update = described(&talk.by_caller("UPDATE", 3), "v=0\r\nm=audio 1 RTP/AVP 0\r\n");
    talk.lab.send(1, update);
    let got = talk.lab.find(2, "UPDATE");
    assert_eq!(expires_of(&got), "");
    talk.lab.send(2, respond(2, &got, 200, true));
    assert_eq!(expires_of(&talk.lab.find(1, "200")), "");
}

#[test]
fn r1_9_zero_leaves_session_timers_to_the_two_sides() {
    let mut talk = talk_with(lab(0), TIMER, "Session-Expires: 90;refresher=uac\r\n");
    assert_eq!(expires_of(&talk.invite), "");
    assert_eq!(expires_of(&talk.ok), "90;refresher=uac");
    talk.lab.advance(seconds(200));
    assert!(talk.lab.ended().is_empty());
}
