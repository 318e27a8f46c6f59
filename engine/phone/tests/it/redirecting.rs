//! R1.8: a 3xx to our INVITE is followed where that is nobody's risk (RFC 3261 §8.1.3.4).

use crate::scripted::statuses;
use crate::world::{SCRIPT, World, millis, seconds};
use phone::{CallHandle, Cause, PhoneEvent};
use sansio::Transport;
use sip::{HeaderName, Message, Method, response_to};

/// Alice calls Eve, who sends her on to these; gives the call and the INVITE Eve got.
fn sent_on(world: &mut World, target: &str, contacts: &str) -> (CallHandle, Message) {
    let call = world.call(0, target);
    world.run(millis(100));
    let at = world.script.iter().position(|m| m.method() == Some(Method::INVITE));
    let invite = world.script.remove(at.expect("an INVITE"));
    let moved = response_to(&invite, 302, "").to_tag("eve").header(HeaderName::CONTACT, contacts);
    world.inject(0, &moved.build());
    world.run(seconds(1));
    (call, invite)
}

fn place(event: &PhoneEvent) -> Option<&str> {
    match event {
        PhoneEvent::Redirected { to, .. } => Some(to),
        _ => None,
    }
}

fn places(world: &World) -> Vec<&str> {
    world.events[0].iter().filter_map(place).collect()
}

#[test]
fn r1_8_a_redirect_is_followed_to_users_of_our_domain_the_best_first() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut world = World::new(31, transport, &["alice", "bob"]);
        world.challenges_calls = true;
        let contacts = "<sip:bob@example.com>;q=0.4, <sip:nobody@EXAMPLE.com;x=y?Subject=z>;q=0.9, \
                        <sip:alice@elsewhere.example>, <tel:+1900>, <sip:+1900@example.com>, \
                        <mailto:bob@example.com>";
        let (call, _) = sent_on(&mut world, &format!("sip:eve@{SCRIPT}"), contacts);
        assert_eq!(places(&world), ["sip:nobody@example.com", "sip:bob@example.com"]);
        let bobs = world.answer(1);
        world.run(seconds(1));
        assert!(world.phones[0].is_talking(call) && world.phones[1].is_talking(bobs));
        let invited = |e: &PhoneEvent| matches!(e, PhoneEvent::Incoming { .. });
        assert_eq!(world.count(1, invited), 1);
        let acks: Vec<_> =
            world.script.iter().filter(|m| m.method() == Some(Method::ACK)).collect();
        assert!(!acks.is_empty(), "the 302 is acknowledged");
        world.tell(0, |p, now| p.hang_up(now, call)).unwrap();
        world.run(seconds(1));
        assert_eq!(world.ended(1), [Cause::PeerHungUp]);
        world.assert_clean();
    }
}

#[test]
fn r1_8_a_redirect_to_numbers_strangers_or_in_circles_is_the_end_of_the_call() {
    let eve = format!("sip:eve@{SCRIPT}");
    for (target, contacts) in [
        (
            eve.clone(),
            "<sip:+49900123@example.com>, <sip:0900@example.com>, <sip:%2B1@example.com>",
        ),
        (eve.clone(), "<sip:bob@elsewhere.example>, <tel:+1900>"),
        (eve.clone(), "<sip:eve@203.0.113.9>"),
        (eve.replace("sip:", "sips:"), "<sip:bob@example.com>"),
        (eve.clone(), "<mailto:bob@example.com>"),
    ] {
        let mut world = World::new(32, Transport::Udp, &["alice", "bob"]);
        sent_on(&mut world, &target, contacts);
        assert_eq!(places(&world), [""; 0], "{contacts}");
        assert_eq!(world.ended(0), [Cause::Failed], "{contacts}");
        let told = |e: &PhoneEvent| matches!(e, PhoneEvent::Ended { status: Some(302), .. });
        assert_eq!(world.count(0, told), 1, "{contacts}");
        world.assert_clean();
    }
    // Never more than five, however many are named; and each once.
    let mut world = World::new(33, Transport::Udp, &["alice"]);
    let many: Vec<String> =
        (0..20).map(|n| format!("<sip:nobody{}@example.com>", n % 10)).collect();
    sent_on(&mut world, &eve, &many.join(", "));
    world.run(seconds(2));
    let first_five: Vec<String> = (0..5).map(|n| format!("sip:nobody{n}@example.com")).collect();
    assert_eq!(places(&world), first_five);
    let told = |e: &PhoneEvent| matches!(e, PhoneEvent::Ended { status: Some(404), .. });
    assert_eq!(world.count(0, told), 1);
    assert!(statuses(&world).is_empty());
}

#[test]
fn r1_8_a_redirect_that_crosses_our_giving_up_is_not_followed() {
    let mut world = World::new(34, Transport::Udp, &["alice", "bob"]);
    let call = world.call(0, &format!("sip:eve@{SCRIPT}"));
    world.run(millis(100));
    let invite = world.script.remove(0);
    world.inject(0, &response_to(&invite, 180, "").to_tag("eve").build());
    world.run(millis(50));
    world.tell(0, |p, now| p.hang_up(now, call)).unwrap();
    world.run(millis(50));
    let moved = response_to(&invite, 302, "").to_tag("eve");
    let moved = moved.header(HeaderName::CONTACT, "<sip:bob@example.com>").build();
    world.inject(0, &moved);
    world.run(seconds(1));
    assert_eq!(world.ended(0), [Cause::Cancelled]);
    assert!(places(&world).is_empty() && world.incoming(1).is_none());
}
