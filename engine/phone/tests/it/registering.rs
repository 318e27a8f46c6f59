//! R1: registration.

use crate::world::{World, seconds};
use phone::PhoneEvent;
use sansio::Transport;

fn alone() -> World {
    World::new(1, Transport::Tls, &["alice"])
}

fn registered(event: &PhoneEvent) -> bool {
    matches!(event, PhoneEvent::Registered { .. })
}

fn failures(world: &World) -> Vec<(u16, bool)> {
    let failed = |e: &PhoneEvent| match e {
        PhoneEvent::RegistrationFailed { status, retry, .. } => Some((*status, retry.is_some())),
        _ => None,
    };
    world.events[0].iter().filter_map(failed).collect()
}

#[test]
fn a_challenge_is_answered_and_the_binding_refreshed_before_it_expires() {
    let mut world = alone();
    world.registrar.password = Some("secret");
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(1));
    assert!(world.phones[0].is_registered());
    assert_eq!((world.registrar.seen, world.registrar.granted.len()), (2, 1));

    world.run(seconds(3 * 3600));
    let granted = world.registrar.granted.clone();
    assert!(granted.len() >= 18, "{}", granted.len());
    for pair in granted.windows(2) {
        assert!(pair[1].0 < pair[0].0 + seconds(pair[0].1.into()), "the binding expired");
    }
    // The nonce was remembered: one REGISTER for each refresh.
    assert_eq!(world.registrar.seen, granted.len() + 1);
    assert!(failures(&world).is_empty());
}

#[test]
fn a_wrong_password_is_tried_once_and_then_no_more() {
    let mut world = alone();
    world.registrar.password = Some("another");
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(3600));
    assert_eq!(failures(&world), [(401, false)]);
    assert_eq!(world.registrar.seen, 2);
    world.assert_clean();
}

#[test]
fn a_refused_account_stops_even_when_the_link_comes_again() {
    let mut world = alone();
    world.registrar.refuse = Some(403);
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(3600));
    let link = world.links[0];
    world.tell(0, |p, now| p.handle_link_up(now, link));
    world.run(seconds(60));
    assert_eq!(failures(&world), [(403, false)]);
    assert_eq!(world.registrar.seen, 1);
    world.registrar.refuse = None;
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(1));
    assert!(world.phones[0].is_registered());
}

#[test]
fn an_interval_too_brief_is_asked_for_again_with_the_minimum() {
    let mut world = alone();
    world.registrar.min_expires = 1800;
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(1));
    assert_eq!(world.registrar.granted.iter().map(|g| g.1).collect::<Vec<_>>(), [1800]);
    assert!(failures(&world).is_empty());
}

#[test]
fn an_absurd_minimum_is_a_failure_and_no_loop() {
    let mut world = alone();
    world.registrar.min_expires = u32::MAX;
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(1));
    assert_eq!(failures(&world), [(423, true)]);
}

#[test]
fn a_short_grant_is_refreshed_in_time() {
    let mut world = alone();
    world.registrar.grant = Some(30);
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(300));
    for pair in world.registrar.granted.windows(2) {
        assert!(pair[1].0 < pair[0].0 + seconds(30));
    }
}

#[test]
fn a_failing_server_is_asked_again_later_and_later() {
    let mut world = alone();
    world.registrar.refuse = Some(503);
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(3600));
    let failed = failures(&world);
    assert!(failed.iter().all(|f| *f == (503, true)));
    assert!((12..40).contains(&failed.len()), "{}", failed.len());
    world.registrar.refuse = None;
    world.run(seconds(301));
    assert!(world.phones[0].is_registered());
}

#[test]
fn a_link_lost_and_back_registers_again() {
    let mut world = alone();
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(10));
    world.tell(0, |p, now| p.handle_link_down(now));
    assert!(!world.phones[0].is_registered());
    world.run(seconds(10));
    assert_eq!(world.registrar.granted.len(), 1);
    let link = world.links[0];
    world.tell(0, |p, now| p.handle_link_up(now, link));
    world.run(seconds(1));
    assert!(world.phones[0].is_registered());
    assert_eq!(world.count(0, registered), 2);
    assert!(failures(&world).is_empty());
    world.assert_clean();
}

#[test]
fn a_link_that_breaks_in_the_middle_of_registering_is_no_end() {
    let mut world = alone();
    world.connected[0] = false;
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(5));
    world.tell(0, |p, now| p.handle_link_down(now));
    world.run(seconds(100));
    world.connected[0] = true;
    let link = world.links[0];
    world.tell(0, |p, now| p.handle_link_up(now, link));
    world.run(seconds(1));
    assert_eq!(world.count(0, registered), 1);
    assert_eq!(failures(&world), [(503, true)]);
}

#[test]
fn unregistering_says_so_whether_registered_or_not() {
    let gone = |e: &PhoneEvent| *e == PhoneEvent::Unregistered;
    let mut world = alone();
    world.tell(0, |p, now| p.unregister(now));
    assert_eq!(world.count(0, gone), 1);
    world.tell(0, |p, now| p.register(now));
    world.run(seconds(1));
    world.tell(0, |p, now| p.unregister(now));
    world.run(seconds(1));
    assert_eq!(world.count(0, gone), 2);
    assert_eq!(world.registrar.granted.last().unwrap().1, 0);
    assert!(!world.phones[0].is_registered());
    world.run(seconds(7200));
    assert_eq!(world.registrar.seen, 2);
}

#[test]
fn unregistering_while_the_answer_is_on_its_way_leaves_no_binding() {
    let mut world = alone();
    world.tell(0, |p, now| p.register(now));
    world.tell(0, |p, now| p.unregister(now));
    world.run(seconds(7200));
    assert_eq!(world.registrar.granted.last().unwrap().1, 0);
    assert_eq!(world.count(0, registered), 0);
    assert!(!world.phones[0].is_registered());
}
