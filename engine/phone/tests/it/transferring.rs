//! R1.7: transfers between three phones, Replaces and Join, and scripted peers of each.

use crate::scripted::{alone, answered, last, request, session, statuses, tag_of};
use crate::world::{World, frequency, last_second, millis, seconds};
use audio::Tone;
use phone::{CallHandle, Cause, PhoneError, PhoneEvent};
use sansio::Transport;
use sip::{HeaderName, Message, Method, RequestBuilder, response_to};

const TONES: [f64; 3] = [400.0, 600.0, 900.0];

/// Alice, bob and carol, each with a tone of their own; alice talks to bob.
fn three(seed: u64, transport: Transport) -> (World, [CallHandle; 2]) {
    let mut world = World::new(seed, transport, &["alice", "bob", "carol"]);
    for (n, hertz) in TONES.into_iter().enumerate() {
        world.voices[n] = Some(Tone::new(hertz, 48_000, 10_000.0));
    }
    let calls = world.connect();
    (world, calls)
}

/// What alice heard of her transfer.
fn progress(world: &World, phone: usize) -> (Vec<u16>, Vec<u16>) {
    let (mut on_the_way, mut ended) = (Vec::new(), Vec::new());
    for event in &world.events[phone] {
        match event {
            PhoneEvent::TransferProgress { status, .. } => on_the_way.push(*status),
            PhoneEvent::TransferEnded { status, .. } => ended.push(*status),
            _ => {}
        }
    }
    (on_the_way, ended)
}

/// The two who are left hear each other, and nobody else does.
fn assert_they_hear_each_other(world: &mut World, pair: [usize; 2]) {
    for heard in &mut world.heard {
        heard.clear();
    }
    world.sound = true;
    world.run(seconds(3));
    world.sound = false;
    for (n, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
        let heard = frequency(last_second(&world.heard[n]));
        assert!((heard - TONES[other]).abs() < 20.0, "phone {n} hears {heard} Hz");
    }
}

/// Who refers, by which side of the call, over which transport and with which media.
#[test]
fn r1_7_a_blind_transfer_leaves_the_other_two_talking() {
    for (seed, transport) in [(1, Transport::Udp), (2, Transport::Tcp), (3, Transport::Tls)] {
        for refers in [0, 1] {
            let (mut world, calls) = three(seed, transport);
            let stays = 1 - refers;
            world.tell(refers, |p, now| p.transfer(now, calls[refers], "carol")).unwrap();
            world.run(seconds(1));
            let next = world.follow(stays);
            world.run(seconds(1));
            let carols = world.answer(2);
            world.run(seconds(2));
            assert_eq!(progress(&world, refers), (vec![100, 180], vec![200]));
            assert_eq!(world.ended(refers), [Cause::Transferred]);
            assert_eq!(world.ended(stays), [Cause::PeerHungUp]);
            assert!(world.phones[stays].is_talking(next) && world.phones[2].is_talking(carols));
            assert_they_hear_each_other(&mut world, [stays, 2]);
            world.tell(2, |p, now| p.hang_up(now, carols)).unwrap();
            world.assert_clean();
        }
    }
}

#[test]
fn r1_7_an_attended_transfer_takes_the_second_call_over() {
    for (seed, transport) in [(4, Transport::Udp), (5, Transport::Tls)] {
        for refers in [0, 1] {
            let (mut world, calls) = three(seed, transport);
            let stays = 1 - refers;
            world.tell(refers, |p, now| p.set_hold(now, calls[refers], true)).unwrap();
            world.run(seconds(1));
            let second = world.call(refers, "carol");
            world.run(seconds(1));
            let first_of_carol = world.answer(2);
            world.run(seconds(1));
            world.tell(refers, |p, now| p.transfer_to(now, calls[refers], second)).unwrap();
            world.run(seconds(1));
            let next = world.follow(stays);
            world.run(seconds(1));
            let replaces = world.events[2].iter().rev().find_map(|e| match e {
                PhoneEvent::Incoming { replaces, .. } => *replaces,
                _ => None,
            });
            assert_eq!(replaces, Some(first_of_carol), "carol's phone knows which call is meant");
            let carols = world.answer(2);
            world.run(seconds(2));
            assert_eq!(progress(&world, refers).1, [200]);
            assert_eq!(world.ended(2), [Cause::Replaced]);
            let mut ended = world.ended(refers);
            ended.sort_by_key(|cause| cause.as_str());
            assert_eq!(ended, [Cause::PeerHungUp, Cause::Transferred]);
            assert!(world.phones[stays].is_talking(next) && world.phones[2].is_talking(carols));
            assert_they_hear_each_other(&mut world, [stays, 2]);
        }
    }
}

#[test]
fn r1_7_a_conference_referral_brings_the_other_side_into_the_second_call() {
    for (seed, transport) in [(7, Transport::Udp), (8, Transport::Tls)] {
        for refers in [0, 1] {
            let (mut world, calls) = three(seed, transport);
            let stays = 1 - refers;
            world.tell(refers, |p, now| p.set_hold(now, calls[refers], true)).unwrap();
            world.run(seconds(1));
            let second = world.call(refers, "carol");
            world.run(seconds(1));
            let first_of_carol = world.answer(2);
            world.run(seconds(1));
            world.tell(refers, |p, now| p.join_to(now, calls[refers], second)).unwrap();
            world.run(seconds(1));
            let asked = |e: &PhoneEvent| {
                matches!(e, PhoneEvent::TransferRequested { joins: true, attended: false, .. })
            };
            assert!(world.events[stays].iter().any(asked), "whom it brings in knows into what");
            let next = world.follow(stays);
            world.run(seconds(1));
            let joins = world.events[2].iter().rev().find_map(|e| match e {
                PhoneEvent::Incoming { joins, .. } => *joins,
                _ => None,
            });
            assert_eq!(joins, Some(first_of_carol), "carol's phone knows which call is meant");
            let carols = world.answer(2);
            world.run(seconds(2));
            assert_eq!(progress(&world, refers).1, [200]);
            assert_eq!(world.ended(refers), [Cause::Transferred], "and not the call to carol");
            assert_eq!(world.ended(2), []);
            assert!(world.phones[refers].is_talking(second));
            assert!(world.phones[stays].is_talking(next) && world.phones[2].is_talking(carols));
            for (phone, call) in [(refers, second), (stays, next)] {
                world.tell(phone, |p, now| p.hang_up(now, call)).unwrap();
                world.run(seconds(1));
            }
            world.assert_clean();
        }
    }
}

#[test]
fn r1_7_a_transfer_that_fails_leaves_the_call_as_it_was() {
    // Carol declines; nobody of that name; bob does not want to.
    for (case, status) in [("carol", 603), ("nobody", 404), ("refused", 603)] {
        let (mut world, calls) = three(6, Transport::Udp);
        let target = if case == "refused" { "carol" } else { case };
        world.tell(0, |p, now| p.transfer(now, calls[0], target)).unwrap();
        world.run(seconds(1));
        if case == "refused" {
            world.tell(1, |p, now| p.refuse_transfer(now, calls[1])).unwrap();
        } else {
            world.follow(1);
            world.run(seconds(1));
            if let Some(call) = world.incoming(2) {
                world.tell(2, |p, now| p.reject(now, call)).unwrap();
            }
        }
        world.run(seconds(1));
        assert_eq!(progress(&world, 0).1, [status], "{case}");
        assert!(world.phones[0].is_talking(calls[0]) && world.phones[1].is_talking(calls[1]));
        assert_they_hear_each_other(&mut world, [0, 1]);
        // And it can be tried again.
        world.tell(0, |p, now| p.transfer(now, calls[0], "carol")).unwrap();
    }
}

#[test]
fn r1_7_a_call_that_is_transferred_is_not_transferred_twice() {
    let (mut world, calls) = three(7, Transport::Tls);
    world.tell(0, |p, now| p.transfer(now, calls[0], "carol")).unwrap();
    let again = world.tell(0, |p, now| p.transfer(now, calls[0], "carol"));
    assert_eq!(again, Err(PhoneError::WrongState("being transferred")));
    let itself = world.tell(0, |p, now| p.transfer_to(now, calls[0], calls[0]));
    assert!(itself.is_err());
}

/// Eve and Alice talk; gives the tag of alice.
fn talk_to_eve() -> (World, String) {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let ok = answered(&mut world, request(Method::INVITE, 1, None).body("application/sdp", offer));
    let tag = tag_of(&ok);
    deliver(&mut world, request(Method::ACK, 1, Some(&tag)));
    world.script.clear();
    (world, tag)
}

fn deliver(world: &mut World, request: RequestBuilder) {
    world.inject(0, &request.build());
    world.run(millis(100));
}

fn refer(cseq: u32, tag: &str, to: &str) -> RequestBuilder {
    request(Method::REFER, cseq, Some(tag)).header(HeaderName::REFER_TO, to)
}

fn notifies(world: &World) -> Vec<&Message> {
    world.script.iter().filter(|m| m.method() == Some(Method::NOTIFY)).collect()
}

#[test]
fn r1_7_a_refer_is_accepted_and_told_of_at_once() {
    let (mut world, tag) = talk_to_eve();
    let by = refer(2, &tag, "<sip:carol@example.com>");
    deliver(&mut world, by.header(HeaderName::REFERRED_BY, "<sip:eve@example.com>"));
    assert_eq!(last(&world, 202).cseq().unwrap().method, Method::REFER);
    let notify = notifies(&world)[0];
    assert_eq!(notify.header_str(HeaderName::EVENT), Some("refer"));
    assert_eq!(notify.header_str(HeaderName::SUBSCRIPTION_STATE), Some("active;expires=300"));
    assert_eq!(notify.body(), b"SIP/2.0 100 Trying\r\n");
    let asked = |e: &PhoneEvent| {
        matches!(e, PhoneEvent::TransferRequested { target, by, attended: false, .. }
            if target == "sip:carol@example.com" && by.contains("sip:eve@example.com"))
    };
    assert_eq!(world.count(0, asked), 1);
    deliver(&mut world, refer(3, &tag, "<sip:dave@example.com>"));
    assert_eq!(last(&world, 491).cseq().unwrap().method, Method::REFER, "one at a time");
}

#[test]
fn r1_7_who_wants_no_notify_gets_none() {
    for silent in [(HeaderName::REFER_SUB, "false"), (HeaderName::REQUIRE, "nosub")] {
        let (mut world, tag) = talk_to_eve();
        deliver(&mut world, refer(2, &tag, "<sip:carol@example.com>").header(silent.0, silent.1));
        assert_eq!(last(&world, 200).header_str(HeaderName::REFER_SUB), Some("false"));
        world.follow(0);
        world.run(seconds(2));
        assert!(notifies(&world).is_empty(), "{silent:?}");
    }
}

/// RFC 7614 §4.1 wants a URI by which anybody reaches this one phone, which there is none without
/// GRUU: whoever insists is told so, and neither transfer nor subscription begins.
#[test]
fn r1_7_a_refer_that_insists_on_an_explicit_subscription_is_420() {
    let (mut world, tag) = talk_to_eve();
    let call = world.incoming(0).unwrap();
    let insists = refer(2, &tag, "<sip:carol@example.com>");
    deliver(&mut world, insists.header(HeaderName::REQUIRE, "explicitsub"));
    assert_eq!(last(&world, 420).header_str(HeaderName::UNSUPPORTED), Some("explicitsub"));
    let asked = |e: &PhoneEvent| matches!(e, PhoneEvent::TransferRequested { .. });
    assert_eq!((world.count(0, asked), notifies(&world).len()), (0, 0));
    assert!(world.phones[0].is_talking(call), "the call goes on");
}

#[test]
fn r1_7_a_peer_that_grants_no_subscription_is_hung_up_at_once() {
    let (mut world, _) = talk_to_eve();
    let call = world.incoming(0).unwrap();
    world.tell(0, |p, now| p.transfer(now, call, "carol")).unwrap();
    world.run(millis(100));
    let refer = world.script.iter().find(|m| m.method() == Some(Method::REFER)).cloned().unwrap();
    assert_eq!(refer.header_str(HeaderName::REFER_TO), Some("<sip:carol@example.com>"));
    assert_eq!(refer.header_str(HeaderName::REFERRED_BY), Some("<sip:alice@example.com>"));
    let ok = response_to(&refer, 200, "").header(HeaderName::REFER_SUB, "false");
    world.inject(0, &ok.build());
    world.run(millis(100));
    assert_eq!(world.ended(0), [Cause::Transferred]);
}

#[test]
fn r1_7_a_transfer_nobody_tells_of_ends_by_timer_and_the_call_goes_on() {
    let (mut world, _) = talk_to_eve();
    let call = world.incoming(0).unwrap();
    world.tell(0, |p, now| p.transfer(now, call, "carol")).unwrap();
    world.run(millis(100));
    let refer = world.script.iter().find(|m| m.method() == Some(Method::REFER)).cloned().unwrap();
    world.inject(0, &response_to(&refer, 202, "").build());
    world.run(seconds(40));
    assert_eq!(progress(&world, 0), (vec![], vec![408]));
    assert!(world.phones[0].is_talking(call));
}

#[test]
fn r1_7_requests_that_name_no_call_of_ours_are_refused_by_the_book() {
    let (mut world, tag) = talk_to_eve();
    let named = |early: &str| format!("scripted;to-tag={tag};from-tag=eve{early}");
    let invite = |cseq, name, value: &str| {
        let invite = request(Method::INVITE, cseq, None).header(name, value);
        invite.header("X-Call", "another")
    };
    let two = invite(9, HeaderName::REPLACES, &named("")).header(HeaderName::JOIN, named(""));
    let cases = [
        (invite(5, HeaderName::REPLACES, "other;to-tag=1;from-tag=2"), 481),
        (invite(6, HeaderName::REPLACES, "rubbish"), 400),
        (invite(7, HeaderName::REPLACES, &named(";early-only")), 486),
        (invite(8, HeaderName::JOIN, "other;to-tag=1;from-tag=2"), 481),
        (two, 400),
        (refer(20, &tag, "<tel:+123>"), 400),
        (refer(21, &tag, "<sip:a@b;method=BYE>"), 501),
        (request(Method::REFER, 22, None).header(HeaderName::REFER_TO, "<sip:a@b>"), 403),
        (request(Method::NOTIFY, 23, Some(&tag)).header(HeaderName::EVENT, "refer"), 481),
        (request(Method::NOTIFY, 24, Some(&tag)).header(HeaderName::EVENT, "dialog"), 489),
        (request(Method::NOTIFY, 25, None).header(HeaderName::EVENT, "refer"), 481),
        (request(Method::SUBSCRIBE, 26, None).header(HeaderName::EVENT, "dialog"), 489),
    ];
    for (request, status) in cases {
        world.script.clear();
        let request = request.build();
        world.inject(0, &request);
        world.run(seconds(1));
        assert!(
            statuses(&world).contains(&status),
            "{status}: {:?} to {request:?}",
            statuses(&world)
        );
    }
}

#[test]
fn r1_7_a_join_tells_which_call_it_is_for() {
    let (mut world, tag) = talk_to_eve();
    let first = world.incoming(0).unwrap();
    let offer = session(&world).create_offer(world.now);
    let join = format!("scripted;to-tag={tag};from-tag=eve");
    let invite =
        sip::Edit::new(&request(Method::INVITE, 7, None).body("application/sdp", offer).build())
            .set(HeaderName::CALL_ID, "another")
            .append(HeaderName::JOIN, join)
            .finish();
    world.inject(0, &invite);
    world.run(millis(100));
    let joins = world.events[0].iter().rev().find_map(|e| match e {
        PhoneEvent::Incoming { joins, .. } => *joins,
        _ => None,
    });
    assert_eq!(joins, Some(first));
    let second = world.answer(0);
    world.run(millis(100));
    assert!(world.phones[0].is_talking(first) && world.phones[0].is_talking(second));
}
