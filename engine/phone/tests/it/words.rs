//! MESSAGE, INFO and subscriptions.

use crate::scripted::{alone, answered, last, request, session, statuses, tag_of};
use crate::world::{SCRIPT, World, millis, seconds};
use phone::{PhoneError, PhoneEvent};
use sansio::Transport;
use sip::{HeaderName, Message, Method, response_to};

#[test]
fn a_text_reaches_the_other_phone_and_is_confirmed() {
    for challenged in [false, true] {
        let mut world = World::new(3, Transport::Udp, &["alice", "bob"]);
        world.challenges_calls = challenged;
        world.tell(0, |p, now| p.send_message(now, "bob", "Grüße")).unwrap();
        world.run(seconds(2));
        let came =
            PhoneEvent::Message { from: "sip:alice@example.com".into(), text: "Grüße".into() };
        assert_eq!(world.events[1], [came]);
        let sent = |e: &PhoneEvent| matches!(e, PhoneEvent::MessageSent { status: 200, .. });
        assert_eq!(world.count(0, sent), 1);
        world.assert_clean();
    }
}

#[test]
fn a_text_that_cannot_be_taken_is_told() {
    let mut world = World::new(3, Transport::Udp, &["alice"]);
    world.tell(0, |p, now| p.send_message(now, "nobody", "hello")).unwrap();
    world.run(seconds(1));
    let refused = |e: &PhoneEvent| matches!(e, PhoneEvent::MessageSent { status: 404, .. });
    assert_eq!(world.count(0, refused), 1);
    let long = "x".repeat(1301);
    let too_long = world.tell(0, |p, now| p.send_message(now, "bob", &long));
    assert_eq!(too_long, Err(PhoneError::TooLong { bytes: 1301, max: 1300 }));
    let picture = request(Method::MESSAGE, 1, None).body("image/png", "x");
    world.inject(0, &picture.build());
    world.run(seconds(1));
    assert!(last(&world, 415).header(HeaderName::ACCEPT).is_some());
    let novel = request(Method::MESSAGE, 2, None).body("text/plain", "x".repeat(20_000));
    world.inject(0, &sip::Edit::new(&novel.build()).set(HeaderName::CALL_ID, "novel").finish());
    world.run(seconds(1));
    last(&world, 513);
}

#[test]
fn keys_pressed_come_by_info_too_and_unknown_packages_are_469() {
    let mut world = alone();
    let offer = session(&world).create_offer(world.now);
    let ok = answered(&mut world, request(Method::INVITE, 1, None).body("application/sdp", offer));
    let tag = tag_of(&ok);
    let info = |cseq| request(Method::INFO, cseq, Some(&tag));
    world
        .inject(0, &info(2).body("application/dtmf-relay", "Signal=7\r\nDuration=160\r\n").build());
    world.inject(0, &info(3).body("application/x-other", "hello").build());
    world.run(seconds(1));
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Dtmf { digit: '7', .. })), 1);
    assert_eq!(world.count(0, |e| matches!(e, PhoneEvent::Info { .. })), 1);
    world.inject(0, &info(4).header(HeaderName::INFO_PACKAGE, "foo").build());
    world.run(seconds(1));
    assert_eq!(last(&world, 469).header_str(HeaderName::RECV_INFO), Some("dtmf, trickle-ice"));
}

#[test]
fn an_info_of_ours_reaches_the_other_side() {
    let mut world = World::new(4, Transport::Tls, &["alice", "bob"]);
    let calls = world.connect();
    let sent = world.tell(0, |p, now| {
        p.send_info(now, calls[0], "dtmf", "application/dtmf-relay", b"Signal=#\r\n")
    });
    sent.unwrap();
    world.run(seconds(1));
    assert_eq!(world.count(1, |e| matches!(e, PhoneEvent::Dtmf { digit: '#', .. })), 1);
}

/// A NOTIFY of eve's in the subscription that `subscribe` makes.
fn notify(subscribe: &Message, cseq: u32, state: &str) -> Message {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let to = format!("<sip:alice@example.com>;tag={}", text(subscribe.from_tag()));
    let notify = request(Method::NOTIFY, cseq, None)
        .header(HeaderName::EVENT, "presence")
        .header(HeaderName::SUBSCRIPTION_STATE, state)
        .body("application/pidf+xml", "<presence/>")
        .build();
    sip::Edit::new(&notify)
        .set(HeaderName::TO, to)
        .set(HeaderName::CALL_ID, text(subscribe.call_id()))
        .finish()
}

fn subscribes(world: &World) -> Vec<Message> {
    let mut all: Vec<Message> =
        world.script.iter().filter(|m| m.method() == Some(Method::SUBSCRIBE)).cloned().collect();
    all.dedup_by(|a, b| a.cseq().unwrap().number == b.cseq().unwrap().number);
    all
}

#[test]
fn a_subscription_is_notified_refreshed_and_ended() {
    // The NOTIFY may come before the response (RFC 6665 §4.1.2.4).
    for notify_first in [false, true] {
        let mut world = alone();
        let eve = format!("sip:eve@{SCRIPT}");
        let wanted = seconds(600);
        let handle = world.tell(0, |p, now| p.subscribe(now, &eve, "presence", wanted)).unwrap();
        world.run(millis(100));
        let subscribe = subscribes(&world).remove(0);
        assert_eq!(subscribe.header_str(HeaderName::EVENT), Some("presence"));
        let ok = response_to(&subscribe, 200, "")
            .to_tag("eve")
            .header(HeaderName::EXPIRES, "600")
            .header(HeaderName::CONTACT, format!("<{eve}>"))
            .build();
        let first = notify(&subscribe, 1, "active;expires=600");
        for message in if notify_first { [&first, &ok] } else { [&ok, &first] } {
            world.inject(0, message);
            world.run(millis(50));
        }
        let brought = |e: &PhoneEvent| matches!(e, PhoneEvent::Notified { body, .. } if body == b"<presence/>");
        assert_eq!(world.count(0, brought), 1);
        world.run(seconds(545));
        let refresh = subscribes(&world).pop().unwrap();
        assert_eq!(refresh.cseq().unwrap().number, 2, "refreshed before its end");
        assert_eq!(refresh.to_tag(), Some(b"eve".as_slice()));
        world.inject(0, &response_to(&refresh, 200, "").header(HeaderName::EXPIRES, "600").build());
        world.run(seconds(1));
        world.tell(0, |p, now| p.unsubscribe(now, handle));
        world.run(seconds(1));
        let last_one = subscribes(&world).pop().unwrap();
        assert_eq!(last_one.header_str(HeaderName::EXPIRES), Some("0"));
        world.inject(0, &response_to(&last_one, 200, "").header(HeaderName::EXPIRES, "0").build());
        world.inject(0, &notify(&subscribe, 2, "terminated;reason=timeout"));
        world.run(seconds(1));
        let over = |e: &PhoneEvent| matches!(e, PhoneEvent::SubscriptionEnded { .. });
        assert_eq!(world.count(0, over), 1);
        world.assert_clean();
    }
}

#[test]
fn a_subscription_nobody_answers_or_refuses_is_over() {
    let mut world = alone();
    let eve = format!("sip:eve@{SCRIPT}");
    for status in [489, 0] {
        world.script.clear();
        world.tell(0, |p, now| p.subscribe(now, &eve, "presence", seconds(600))).unwrap();
        world.run(millis(100));
        if status > 0 {
            let subscribe = subscribes(&world).remove(0);
            world.inject(0, &response_to(&subscribe, status, "").build());
        }
        world.run(seconds(40));
    }
    let ended: Vec<&str> = world.events[0]
        .iter()
        .filter_map(|e| match e {
            PhoneEvent::SubscriptionEnded { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(ended[0], "489");
    assert_eq!(ended.len(), 2);
    assert!(statuses(&world).is_empty());
    world.assert_clean();
}
