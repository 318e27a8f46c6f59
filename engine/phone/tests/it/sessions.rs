//! R1.9: session timers of two phones, and of one with a scripted peer.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::scripted::{last, request, session, tag_of};
use crate::world::{World, seconds};
use phone::{Cause, Config, PhoneEvent};
use sansio::Transport;
use sip::{HeaderName, Message, Method, response_to};

/// Who sent which request.
type Seen = Rc<RefCell<Vec<(usize, Message)>>>;

fn config(expires: u64) -> Config {
    Config { session_expires: seconds(expires), ..Config::default() }
}

/// Two phones, and a list of the requests each sends (retransmissions once).
fn two(configs: [Config; 2]) -> (World, Seen) {
    let mut world = World::new(31, Transport::Tls, &[]);
    for (user, config) in ["alice", "bob"].into_iter().zip(configs) {
        world.add_phone(31, Transport::Tls, user, config);
    }
    (world, Rc::default())
}

/// Notes what is sent.
fn watch(world: &mut World, seen: &Seen) {
    let seen = Rc::clone(seen);
    world.lose = Box::new(move |from, message| {
        if message.is_request() {
            seen.borrow_mut().push((from, message.clone()));
        }
        false
    });
}

fn count(seen: &Seen, method: Method<'_>) -> usize {
    seen.borrow().iter().filter(|(_, m)| m.method() == Some(method)).count()
}

#[test]
fn r1_9_refreshes_are_updates_without_description_and_at_most_two_in_an_interval() {
    let (mut world, seen) = two([config(90), config(90)]);
    let calls = world.connect();
    for interval in 0..20 {
        seen.borrow_mut().clear();
        watch(&mut world, &seen);
        world.run(seconds(90));
        let refreshes = count(&seen, Method::UPDATE);
        assert!((1..=2).contains(&refreshes), "interval {interval}: {refreshes}");
        assert_eq!(count(&seen, Method::INVITE), 0);
        for (from, update) in seen.borrow().iter() {
            assert_eq!((*from, update.body().len()), (0, 0), "the caller refreshes");
            let value = update.header_str(HeaderName::SESSION_EXPIRES);
            assert_eq!(value, Some("90;refresher=uac"));
        }
    }
    assert!(world.phones[0].is_talking(calls[0]) && world.phones[1].is_talking(calls[1]));
}

#[test]
fn r1_9_a_vanished_peer_ends_the_call_in_one_interval() {
    for vanished in [0, 1] {
        let (mut world, _) = two([config(90), config(90)]);
        world.connect();
        world.run(seconds(10));
        world.connected[vanished] = false;
        world.run(seconds(91));
        let left = 1 - vanished;
        assert_eq!(world.ended(left), [Cause::Network], "{vanished} vanished");
        world.assert_clean();
    }
}

#[test]
fn r1_9_a_422_is_answered_with_the_interval_wanted() {
    let strict = Config { session_min: seconds(600), ..config(1800) };
    let (mut world, seen) = two([config(90), strict]);
    watch(&mut world, &seen);
    let calls = world.connect();
    assert_eq!(count(&seen, Method::INVITE), 2);
    let seen = seen.borrow();
    let invite = &seen.iter().rev().find(|(_, m)| m.method() == Some(Method::INVITE)).unwrap().1;
    assert_eq!(invite.header_str(HeaderName::SESSION_EXPIRES), Some("600"));
    assert_eq!(invite.header_str(HeaderName::MIN_SE), Some("600"));
    assert!(world.phones[0].is_talking(calls[0]));
}

#[test]
fn r1_9_who_asks_for_no_timer_follows_the_other_sides_wish() {
    let (mut world, seen) = two([config(0), config(90)]);
    watch(&mut world, &seen);
    let calls = world.connect();
    world.run(seconds(1000));
    assert!(world.phones[0].is_talking(calls[0]) && world.phones[1].is_talking(calls[1]));
    assert!(count(&seen, Method::UPDATE) > 20, "and is refreshed");
}

/// Eve calls alice, wants alice to refresh, and allows what `allow` says.
fn eve_calls(allow: &str) -> (World, String) {
    let mut world = World::with_config(21, Transport::Udp, &["alice"], &config(90));
    let offer = session(&world).create_offer(world.now);
    let invite = request(Method::INVITE, 1, None)
        .header(HeaderName::SUPPORTED, "timer")
        .header(HeaderName::SESSION_EXPIRES, "90;refresher=uas")
        .header(HeaderName::ALLOW, allow)
        .body("application/sdp", offer);
    world.inject(0, &invite.build());
    world.run(seconds(1));
    world.answer(0);
    world.run(seconds(1));
    let ok = last(&world, 200);
    assert_eq!(ok.header_str(HeaderName::SESSION_EXPIRES), Some("90;refresher=uas"));
    let tag = tag_of(&ok);
    world.inject(0, &request(Method::ACK, 1, Some(&tag)).build());
    world.run(seconds(1));
    world.script.clear();
    (world, tag)
}

#[test]
fn r1_9_a_peer_without_update_is_refreshed_by_reinvite() {
    let (mut world, _) = eve_calls("INVITE, ACK, BYE, CANCEL");
    world.run(seconds(50));
    let refresh = world.script.iter().find(|m| m.is_request()).expect("a refresh").clone();
    assert_eq!(refresh.method(), Some(Method::INVITE));
    assert_eq!(refresh.header_str(HeaderName::SESSION_EXPIRES), Some("90;refresher=uac"));
    let answer = session(&world).handle_offer(world.now, refresh.body()).expect("an answer");
    let ok = response_to(&refresh, 200, "")
        .header(HeaderName::CONTACT, "<sip:eve@203.0.113.9:5060>")
        .header(HeaderName::SESSION_EXPIRES, "90;refresher=uac")
        .body("application/sdp", answer);
    world.inject(0, &ok.build());
    world.run(seconds(30));
    assert_eq!(world.ended(0), [], "it was refreshed");
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Held { .. })), 0, "nothing changed");
    world.run(seconds(60));
    assert_eq!(world.ended(0), [Cause::Network], "and then no more");
}

#[test]
fn r1_9_refused_refreshes_are_two_and_then_bye() {
    let (mut world, _) = eve_calls("INVITE, ACK, BYE, UPDATE");
    let mut updates = BTreeSet::new();
    for _ in 0..70 {
        world.run(seconds(1));
        for message in std::mem::take(&mut world.script) {
            match message.method() {
                Some(Method::UPDATE) => {
                    // Over UDP it may come twice before it is refused.
                    updates.insert(message.cseq().unwrap().number);
                    world.inject(0, &response_to(&message, 500, "").build());
                }
                Some(Method::BYE) => world.inject(0, &response_to(&message, 200, "").build()),
                _ => {}
            }
        }
    }
    assert_eq!((updates.len(), world.ended(0)), (2, vec![Cause::Network]));
}

#[test]
fn r1_9_a_dialog_the_peer_forgot_is_over_at_the_first_refresh() {
    let (mut world, _) = eve_calls("INVITE, ACK, BYE, UPDATE");
    world.run(seconds(44));
    let update = world.script.iter().find(|m| m.method() == Some(Method::UPDATE)).cloned();
    world.inject(0, &response_to(&update.expect("a refresh"), 481, "").build());
    world.run(seconds(1));
    assert_eq!(world.ended(0), [Cause::Network]);
}

#[test]
fn r1_9_an_interval_below_the_minimum_is_422_from_the_phone() {
    let mut world = World::with_config(21, Transport::Udp, &["alice"], &config(1800));
    let invite = request(Method::INVITE, 1, None)
        .header(HeaderName::SUPPORTED, "timer")
        .header(HeaderName::SESSION_EXPIRES, "20");
    world.inject(0, &invite.build());
    world.run(seconds(1));
    assert_eq!(last(&world, 422).header_str(HeaderName::MIN_SE), Some("90"));
    assert_eq!(world.events[0], []);
}
