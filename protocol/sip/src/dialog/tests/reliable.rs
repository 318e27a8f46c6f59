//! RFC 3262 between a UAS's sender and a UAC's receiver.

use std::time::{Duration, Instant};

use sansio::SeededEntropy;

use super::invite;
use crate::dialog::{Acknowledged, RAck, Received, ReliableReceiver, ReliableSender, rseq_of};
use crate::{HeaderName, Message, response_to};

const T1: Duration = Duration::from_millis(500);

fn sender(t0: Instant) -> ReliableSender {
    ReliableSender::new(t0, 10, T1, &mut SeededEntropy::new(3))
}

fn response(sender: &ReliableSender, status: u16, sdp: bool) -> Message {
    let builder = response_to(&invite(), status, "")
        .to_tag("b1")
        .header(HeaderName::REQUIRE, "100rel")
        .header(HeaderName::RSEQ, sender.next_rseq().to_string());
    match sdp {
        true => builder.body("application/sdp", "v=0\r\n").build(),
        false => builder.build(),
    }
}

fn acknowledge(sender: &mut ReliableSender, now: Instant, response: &Message) -> Acknowledged {
    let value = RAck::acknowledging(response).expect("reliable").to_string();
    sender.handle_prack(now, RAck::parse(value.as_bytes()).expect("readable"))
}

#[test]
fn r1_6_a_rack_names_response_and_request() {
    let rack = RAck::parse(b"776656 1 INVITE").unwrap();
    assert_eq!((rack.rseq, rack.cseq.number, rack.cseq.method.as_str()), (776_656, 1, "INVITE"));
    assert_eq!(rack.to_string(), "776656 1 INVITE");
    for broken in ["", "1", "1 2", "x 1 INVITE", "0 1 INVITE", "1 x INVITE", "1 1 IN VITE"] {
        assert!(RAck::parse(broken.as_bytes()).is_none(), "{broken}");
    }
}

#[test]
fn r1_6_only_a_provisional_that_requires_100rel_is_reliable() {
    let t0 = sansio::testing::epoch();
    let reliable = response(&sender(t0), 183, false);
    assert_eq!(rseq_of(&reliable), Some(sender(t0).next_rseq()));
    assert_eq!(rseq_of(&response(&sender(t0), 200, false)), None);
    let plain = response_to(&invite(), 180, "").header(HeaderName::RSEQ, "5").build();
    assert_eq!(rseq_of(&plain), None);
}

#[test]
fn r1_6_a_provisional_is_sent_at_t1_doubling_until_its_prack() {
    let t0 = sansio::testing::epoch();
    let mut sender = sender(t0);
    let ringing = response(&sender, 180, false);
    assert!(sender.push(t0, ringing.clone()));
    let mut sent = Vec::new();
    while let Some(at) = sender.poll_timeout().filter(|at| *at < t0 + Duration::from_secs(20)) {
        sent.extend(sender.poll_transmit().map(|_| 0));
        assert!(!sender.handle_timeout(at));
        sent.extend(sender.poll_transmit().map(|_| (at - t0).as_millis()));
    }
    assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500]);
    let acknowledged = acknowledge(&mut sender, t0, &ringing);
    assert_eq!(acknowledged, Acknowledged::Described(false));
    assert_eq!(sender.poll_timeout(), None);
    assert_eq!(acknowledge(&mut sender, t0, &ringing), Acknowledged::Unknown, "once only");
}

#[test]
fn r1_6_without_a_prack_it_gives_up_at_64_t1() {
    let t0 = sansio::testing::epoch();
    let mut sender = sender(t0);
    let ringing = response(&sender, 180, false);
    sender.push(t0, ringing);
    let mut given_up = None;
    while let Some(at) = sender.poll_timeout() {
        if sender.handle_timeout(at) {
            given_up = Some(at - t0);
        }
    }
    assert_eq!(given_up, Some(T1 * 64));
}

#[test]
fn r1_6_a_second_waits_for_the_prack_of_the_first_and_a_2xx_for_the_description() {
    let t0 = sansio::testing::epoch();
    let mut sender = sender(t0);
    let first = response(&sender, 183, true);
    sender.push(t0, first.clone());
    let second = response(&sender, 180, false);
    sender.push(t0, second.clone());
    assert!(sender.poll_transmit().is_some_and(|m| m.bytes() == first.bytes()));
    assert!(sender.poll_transmit().is_none() && sender.holds_back_2xx());
    assert_eq!(acknowledge(&mut sender, t0, &second), Acknowledged::Unknown, "not sent yet");
    assert_eq!(acknowledge(&mut sender, t0, &first), Acknowledged::Described(true));
    assert!(sender.poll_transmit().is_some_and(|m| m.bytes() == second.bytes()));
    assert!(!sender.holds_back_2xx());
    sender.stop();
    assert_eq!(sender.poll_timeout(), None);
    assert_eq!(acknowledge(&mut sender, t0, &second), Acknowledged::Described(false), "late");
}

#[test]
fn r1_6_a_rack_of_another_request_acknowledges_nothing() {
    let t0 = sansio::testing::epoch();
    let mut sender = sender(t0);
    let ringing = response(&sender, 180, false);
    let rseq = sender.next_rseq();
    sender.push(t0, ringing);
    for other in [format!("{rseq} 11 INVITE"), format!("{rseq} 10 UPDATE"), "1 10 INVITE".into()] {
        let rack = RAck::parse(other.as_bytes()).unwrap();
        assert_eq!(sender.handle_prack(t0, rack), Acknowledged::Unknown, "{other}");
    }
}

#[test]
fn r1_6_the_receiver_takes_each_once_and_in_order() {
    let mut receiver = ReliableReceiver::default();
    let verdicts = [100, 100, 102, 101, 102, 101].map(|rseq| receiver.handle(rseq));
    use Received::{Again, Ahead, InOrder};
    assert_eq!(verdicts, [InOrder, Again, Ahead, InOrder, InOrder, Again]);
}
