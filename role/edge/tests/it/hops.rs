//! Targets found by DNS: one hop after the other, and TCP for what is too large for a datagram.

use crate::lab::{EMPTY, Lab, request, respond, text, with_sdp};
use crate::talk::BOB;
use edge::EdgeEvent;
use sansio::Transport::{self, Tcp, Udp};
use sip::Message;
use std::time::Duration;

const URI: &str = "sip:bob@carrier.example";

fn call(hops: &[(Transport, u8)]) -> Lab {
    let mut lab = Lab::new(1);
    lab.elsewhere("user2", URI, hops);
    lab.invite(1, "user1", BOB);
    lab
}

/// An INVITE whose copy does not fit into a datagram.
fn large(lab: &mut Lab) {
    let subject = format!("Subject: {}\r\n", "x".repeat(700));
    lab.invite_with(1, "user1", BOB, |auth| with_sdp(&format!("{subject}{auth}")));
}

fn cancel() -> String {
    request("INVITE", 1, "user1", BOB, "uthorization")
        .replace("uthorization", EMPTY)
        .replace("INVITE sip", "CANCEL sip")
        .replace("CSeq: 2 INVITE", "CSeq: 2 CANCEL")
}

/// Addresses of the hops that were told to have failed.
fn failed(lab: &Lab) -> Vec<(Transport, u8)> {
    let hop = |e: &EdgeEvent| match e {
        EdgeEvent::HopFailed { hop, .. } => {
            Some((hop.transport, hop.addr().to_string().as_bytes()[8] - b'0'))
        }
        _ => None,
    };
    lab.events.iter().filter_map(hop).collect()
}

fn via(message: &Message) -> String {
    text(message.vias().next().map(|v| v.unwrap().raw()))
}

#[test]
fn r1_4_the_first_hop_gets_the_call_and_the_others_nothing() {
    let mut lab = call(&[(Udp, 5), (Udp, 6)]);
    let invite = lab.next(5);
    assert_eq!(invite.request_uri(), URI.as_bytes());
    lab.send(5, respond(5, &invite, 100, false));
    lab.advance(Duration::from_secs(30));
    lab.send(5, respond(5, &invite, 200, true));
    lab.find(1, "200");
    assert!(lab.is_empty(6) && failed(&lab).is_empty());
    let worked = |e: &&EdgeEvent| matches!(e, EdgeEvent::HopWorked { .. });
    assert_eq!(lab.events.iter().filter(worked).count(), 1);
}

#[test]
fn r1_4_a_silent_hop_is_passed_by_within_two_seconds_and_its_late_answer_is_one_more_fork() {
    let mut lab = call(&[(Udp, 5), (Udp, 6)]);
    let silent = lab.next(5);
    lab.advance(Duration::from_millis(1900));
    let invite = lab.next(6);
    assert_eq!(failed(&lab), [(Udp, 5)]);
    lab.send(6, respond(6, &invite, 180, false));
    lab.send(5, respond(5, &silent, 100, false));
    lab.send(6, respond(6, &invite, 200, true));
    let ok = lab.find(1, "200");
    assert_eq!(text(ok.to_tag()), "to6");
    lab.find(5, "CANCEL");
}

#[test]
fn r1_4_a_hop_without_connection_or_with_503_sends_the_call_to_the_next_at_once() {
    let mut lab = call(&[(Tcp, 5), (Tcp, 6), (Udp, 7)]);
    lab.next(5);
    lab.close(5);
    let invite = lab.next(6);
    assert!(via(&invite).starts_with("SIP/2.0/TCP"), "{}", via(&invite));
    let busy = respond(6, &invite, 503, false);
    lab.send(6, busy.replace("Content-Length", "Retry-After: 30 (overload)\r\nContent-Length"));
    let invite = lab.next(7);
    assert!(via(&invite).starts_with("SIP/2.0/UDP"), "{}", via(&invite));
    lab.send(7, respond(7, &invite, 200, true));
    lab.find(1, "200");
    assert_eq!(failed(&lab), [(Tcp, 5), (Tcp, 6)]);
    let told = |e: &EdgeEvent| match e {
        EdgeEvent::HopFailed { retry_after, .. } => *retry_after,
        _ => None,
    };
    let told: Vec<Duration> = lab.events.iter().filter_map(told).collect();
    assert_eq!(told, [Duration::from_secs(30)]);
}

#[test]
fn a_hop_that_rang_is_not_passed_by() {
    let mut lab = call(&[(Tcp, 5), (Tcp, 6)]);
    let invite = lab.next(5);
    lab.send(5, respond(5, &invite, 180, false));
    lab.close(5);
    assert!(lab.is_empty(6), "the phone there may have been picked up");
    lab.find(1, "500");
}

#[test]
fn when_every_hop_failed_the_caller_hears_it_and_nothing_is_left_behind() {
    let mut lab = call(&[(Tcp, 5), (Tcp, 6)]);
    lab.close(5);
    lab.close(6);
    lab.find(1, "500");
    assert_eq!(failed(&lab), [(Tcp, 5), (Tcp, 6)]);
    lab.assert_nothing_left();
}

#[test]
fn a_domain_nobody_knows_and_a_hop_nobody_can_open_are_refused_by_name() {
    let mut lab = call(&[]);
    assert_eq!(lab.find(1, "404").reason(), b"No Such Domain");
    let mut lab = Lab::new(1);
    lab.elsewhere("user2", URI, &[(Tcp, 5)]);
    lab.world().cannot_open.push(Tcp);
    lab.invite(1, "user1", BOB);
    assert_eq!(lab.find(1, "500").reason(), b"No Next Hop Can Be Reached");
}

#[test]
fn a_caller_who_gives_up_is_not_sent_on() {
    let mut lab = call(&[(Udp, 5), (Udp, 6)]);
    lab.next(5);
    lab.send(1, cancel());
    lab.advance(Duration::from_secs(10));
    assert!(lab.is_empty(6));
}

#[test]
fn r1_2_a_request_above_1300_bytes_leaves_udp_for_tcp() {
    let mut lab = Lab::new(1);
    lab.elsewhere("user2", URI, &[(Udp, 5)]);
    large(&mut lab);
    let invite = lab.next(5);
    assert!(invite.bytes().len() > 1300, "{}", invite.bytes().len());
    assert!(via(&invite).starts_with("SIP/2.0/TCP"), "{}", via(&invite));
    let route = text(invite.record_routes().next().map(|r| r.unwrap().uri()));
    assert!(route.contains("transport=tcp"), "{route}");
    assert!(lab.is_empty(5), "and not by UDP as well");
}

#[test]
fn r1_2_where_tcp_is_refused_the_large_request_goes_by_udp_after_all() {
    let mut lab = Lab::new(1);
    lab.elsewhere("user2", URI, &[(Udp, 5)]);
    large(&mut lab);
    lab.next(5);
    lab.close(5);
    let invite = lab.next(5);
    assert!(via(&invite).starts_with("SIP/2.0/UDP"), "{}", via(&invite));
    lab.send(5, respond(5, &invite, 200, true));
    lab.find(1, "200");
}

#[test]
fn a_small_request_stays_on_udp() {
    let mut lab = call(&[(Udp, 5)]);
    let invite = lab.next(5);
    assert!(via(&invite).starts_with("SIP/2.0/UDP"), "{}", via(&invite));
}
