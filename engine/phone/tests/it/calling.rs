//! R2: calls begin and end.

use crate::world::{Lose, World, millis, seconds};
use phone::{Cause, Config, PhoneError, PhoneEvent};
use sansio::Transport;
use sip::{HeaderName, Method};
use std::cell::Cell;
use std::rc::Rc;

fn two(transport: Transport) -> World {
    World::new(2, transport, &["alice", "bob"])
}

fn answered(event: &PhoneEvent) -> bool {
    matches!(event, PhoneEvent::Answered { .. })
}

#[test]
fn alice_calls_and_hangs_up() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut world = two(transport);
        let [caller, _] = world.connect();
        assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Ringing { .. })), 1);
        world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
        world.run(seconds(1));
        assert_eq!(world.ended(0), [Cause::HungUp]);
        assert_eq!(world.ended(1), [Cause::PeerHungUp]);
        world.assert_clean();
    }
}

#[test]
fn bob_answers_and_hangs_up() {
    let mut world = two(Transport::Tls);
    let [_, callee] = world.connect();
    world.tell(1, |p, now| p.hang_up(now, callee)).unwrap();
    world.run(seconds(1));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::PeerHungUp], vec![Cause::HungUp]));
    world.assert_clean();
}

#[test]
fn an_incoming_call_says_who_calls_and_whom() {
    let mut world = two(Transport::Tls);
    world.call(0, "bob@example.com");
    world.run(seconds(1));
    let incoming = world.events[1].iter().find_map(|e| match e {
        PhoneEvent::Incoming { from, target, .. } => Some((from.as_str(), target.as_str())),
        _ => None,
    });
    assert_eq!(incoming, Some(("sip:alice@example.com", "sip:bob@example.com")));
}

#[test]
fn both_hang_up_at_once() {
    let mut world = two(Transport::Udp);
    let [caller, callee] = world.connect();
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    world.tell(1, |p, now| p.hang_up(now, callee)).unwrap();
    world.run(seconds(1));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::HungUp], vec![Cause::HungUp]));
    world.assert_clean();
}

#[test]
fn a_call_is_cancelled_while_it_rings() {
    let mut world = two(Transport::Udp);
    let caller = world.call(0, "bob");
    world.run(seconds(2));
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    world.run(seconds(1));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::Cancelled], vec![Cause::Missed]));
    world.assert_clean();
}

#[test]
fn a_call_is_cancelled_before_anything_came_back() {
    let mut world = two(Transport::Udp);
    let caller = world.call(0, "bob");
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    world.run(seconds(2));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::Cancelled], vec![Cause::Missed]));
    world.assert_clean();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let mut world = two(Transport::Udp);
    let caller = world.call(0, "bob");
    world.run(seconds(1));
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    world.answer(1);
    world.run(seconds(2));
    assert_eq!(world.ended(0), [Cause::Cancelled]);
    assert_eq!(world.ended(1), [Cause::PeerHungUp]);
    assert_eq!(world.count(0, answered), 0);
    world.assert_clean();
}

#[test]
fn bob_declines() {
    let mut world = two(Transport::Tls);
    world.call(0, "bob");
    world.run(seconds(1));
    let callee = world.incoming(1).unwrap();
    world.tell(1, |p, now| p.reject(now, callee)).unwrap();
    world.run(seconds(1));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::Declined], vec![Cause::Rejected]));
    world.assert_clean();
}

#[test]
fn a_phone_with_all_lines_in_use_is_busy() {
    let config = Config { calls_max: 1, ..Config::default() };
    let mut world = World::with_config(3, Transport::Tls, &["alice", "bob", "carol"], &config);
    world.connect();
    world.call(2, "bob");
    world.run(seconds(1));
    assert_eq!(world.ended(2), [Cause::Busy]);
    let local = "192.0.2.12:9000".parse().unwrap();
    let more = world.tell(0, |p, now| p.call(now, "carol", local));
    assert_eq!(more, Err(PhoneError::TooManyCalls(1)));
}

#[test]
fn a_call_nobody_takes_rings_out() {
    let mut world = two(Transport::Udp);
    world.call(0, "bob");
    world.run(seconds(119));
    assert!(world.ended(1).is_empty());
    world.run(seconds(2));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::NoAnswer], vec![Cause::Missed]));
    world.assert_clean();
}

#[test]
fn nobody_of_that_name() {
    let mut world = two(Transport::Tls);
    world.call(0, "mallory");
    world.run(seconds(1));
    assert_eq!(world.ended(0), [Cause::NotFound]);
    let local = "192.0.2.10:9000".parse().unwrap();
    for bad in ["", "sip:", "sip:example.com", "a b@\r\nX: y"] {
        let refused = world.tell(0, |p, now| p.call(now, bad, local));
        assert!(matches!(refused, Err(PhoneError::BadTarget(_))), "{bad:?}: {refused:?}");
    }
    world.assert_clean();
}

#[test]
fn a_server_that_is_silent_ends_the_call() {
    let mut world = two(Transport::Udp);
    world.connected[1] = false;
    world.call(0, "bob");
    world.run(seconds(40));
    assert_eq!(world.ended(0), [Cause::NoAnswer]);
    world.assert_clean();
}

#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_answer() {
    let mut world = two(Transport::Udp);
    let mut lost = 0;
    world.lose = Box::new(move |_, m| {
        let hit = m.method() == Some(Method::ACK) && lost < 3;
        lost += usize::from(hit);
        hit
    });
    world.connect();
    world.run(seconds(60));
    assert_eq!((world.count(0, answered), world.count(1, answered)), (1, 1));
    assert!(world.ended(0).is_empty() && world.ended(1).is_empty());
}

#[test]
fn an_answer_whose_ack_never_comes_is_hung_up() {
    let mut world = two(Transport::Udp);
    world.lose = Box::new(|_, m| m.method() == Some(Method::ACK));
    world.connect();
    world.run(seconds(60));
    assert_eq!((world.ended(0), world.ended(1)), (vec![Cause::PeerHungUp], vec![Cause::Network]));
    world.assert_clean();
}

#[test]
fn a_lost_answer_is_repeated() {
    let mut world = two(Transport::Udp);
    let mut lost = 0;
    world.lose = Box::new(move |_, m| {
        let invite = m.cseq().is_ok_and(|c| c.method == Method::INVITE);
        let hit = invite && m.status() == Some(200) && lost < 4;
        lost += usize::from(hit);
        hit
    });
    world.call(0, "bob");
    world.run(seconds(1));
    world.answer(1);
    world.run(seconds(20));
    assert_eq!((world.count(0, answered), world.count(1, answered)), (1, 1));
    assert!(world.ended(0).is_empty() && world.ended(1).is_empty());
}

#[test]
fn a_bye_nobody_answers_leaves_nothing_behind() {
    let mut world = two(Transport::Udp);
    let [caller, _] = world.connect();
    world.connected[1] = false;
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    assert_eq!(world.ended(0), [Cause::HungUp]);
    world.run(seconds(60));
    assert!(world.phones[0].is_idle());
}

#[test]
fn the_second_who_answers_is_acknowledged_and_hung_up() {
    for transport in [Transport::Tls, Transport::Udp] {
        let mut world = World::new(4, transport, &["alice", "bob", "bob"]);
        let acks = Rc::new(Cell::new(0));
        if transport == Transport::Udp {
            world.lose = lose_acks_to_the_second(Rc::clone(&acks));
        }
        let caller = world.call(0, "bob");
        world.run(seconds(1));
        world.answer(1);
        world.answer(2);
        world.run(seconds(20));
        assert!(world.phones[0].is_talking(caller));
        assert_eq!(world.count(0, answered), 1);
        assert_eq!((world.ended(0), world.ended(1)), (vec![], vec![]));
        assert_eq!(world.ended(2), [Cause::PeerHungUp]);
        assert!(transport.is_reliable() || acks.get() == 3);
        world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
        world.assert_clean();
    }
}

/// Two ACKs to the second bob are lost, and every BYE until a third comes: his repeated answers
/// need an ACK of their own.
fn lose_acks_to_the_second(acks: Rc<Cell<usize>>) -> Lose {
    Box::new(move |_, m| {
        if !m.is_request() || !m.request_uri().windows(10).any(|w| w == b"192.0.2.12") {
            return false;
        }
        let is_ack = m.method() == Some(Method::ACK);
        acks.set(acks.get() + usize::from(is_ack));
        acks.get() < 3
    })
}

#[test]
fn a_call_lives_on_when_the_link_breaks_and_comes_back() {
    let mut world = two(Transport::Tls);
    let [caller, _] = world.connect();
    world.tell(0, |p, now| p.handle_link_down(now));
    world.run(seconds(20));
    let link = world.links[0];
    world.tell(0, |p, now| p.handle_link_up(now, link));
    world.run(millis(500));
    assert!(world.phones[0].is_talking(caller));
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    world.run(seconds(1));
    assert_eq!(world.ended(1), [Cause::PeerHungUp]);
    world.assert_clean();
}

#[test]
fn a_call_not_yet_answered_fails_with_its_link() {
    let mut world = two(Transport::Tls);
    world.call(0, "bob");
    world.run(seconds(1));
    world.tell(0, |p, now| p.handle_link_down(now));
    assert_eq!(world.ended(0), [Cause::Network]);
}

#[test]
fn the_other_side_gone_silent_ends_the_call_where_that_is_asked_for() {
    let config = Config { silence_max: Some(seconds(60)), ..Config::default() };
    let mut world = World::with_config(5, Transport::Tls, &["alice", "bob"], &config);
    world.connect();
    world.sound = true;
    world.run(seconds(70));
    assert!(world.ended(0).is_empty());
    world.sound = false;
    world.run(seconds(62));
    assert!(world.ended(0).contains(&Cause::Network) || world.ended(1).contains(&Cause::Network));
    world.assert_clean();
}

#[test]
fn a_server_that_wants_credentials_gets_them_in_every_request() {
    for hangs_up in [0, 1] {
        let mut world = two(Transport::Udp);
        world.challenges_calls = true;
        let calls = world.connect();
        world.tell(1, |p, now| p.set_hold(now, calls[1], true)).unwrap();
        world.run(seconds(1));
        assert_eq!(world.count(1, |e| matches!(e, PhoneEvent::Held { held: true, .. })), 1);
        world.tell(hangs_up, |p, now| p.hang_up(now, calls[hangs_up])).unwrap();
        world.run(seconds(1));
        assert_eq!((world.ended(0).len(), world.ended(1).len()), (1, 1));
        world.assert_clean();
    }
}

#[test]
fn the_ack_carries_the_credentials_of_its_invite() {
    let mut world = two(Transport::Tls);
    world.challenges_calls = true;
    let bare = Rc::new(Cell::new(0));
    let count = Rc::clone(&bare);
    world.lose = Box::new(move |_, m| {
        // The layer's own ACK of the 407 needs none.
        let of_2xx = m.method() == Some(Method::ACK) && m.request_uri().ends_with(b"tls");
        if of_2xx && m.header(HeaderName::PROXY_AUTHORIZATION).is_none() {
            count.set(count.get() + 1);
        }
        false
    });
    world.connect();
    assert_eq!(bare.get(), 0);
}

#[test]
fn a_call_given_up_before_the_challenge_is_not_made() {
    let mut world = two(Transport::Tls);
    world.challenges_calls = true;
    let caller = world.call(0, "bob");
    world.tell(0, |p, now| p.hang_up(now, caller)).unwrap();
    world.run(seconds(5));
    assert_eq!(world.ended(0), [Cause::Cancelled]);
    assert_eq!(world.incoming(1), None);
    world.assert_clean();
}

#[test]
fn a_call_that_rang_on_a_broken_link_is_answered_on_the_next() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut world = two(transport);
        let caller = world.call(0, "bob");
        world.run(seconds(1));
        world.tell(1, |p, now| p.handle_link_down(now));
        world.run(seconds(3));
        let link = world.links[1];
        world.tell(1, |p, now| p.handle_link_up(now, link));
        let callee = world.answer(1);
        world.run(seconds(40));
        assert!(world.phones[0].is_talking(caller) && world.phones[1].is_talking(callee));
        world.tell(1, |p, now| p.hang_up(now, callee)).unwrap();
        world.assert_clean();
    }
}
