//! R2: hold, resume, glare, digits.

use crate::world::{World, millis, seconds};
use phone::{CallHandle, PhoneError, PhoneEvent};
use sansio::Transport;

fn two(transport: Transport) -> World {
    World::new(7, transport, &["alice", "bob"])
}

/// Hold as it was told, in order: ours then theirs.
fn holds(world: &World, phone: usize) -> (Vec<bool>, Vec<bool>) {
    let ours = world.events[phone].iter().filter_map(|e| match e {
        PhoneEvent::Held { held, .. } => Some(*held),
        _ => None,
    });
    let theirs = world.events[phone].iter().filter_map(|e| match e {
        PhoneEvent::HeldByPeer { held, .. } => Some(*held),
        _ => None,
    });
    (ours.collect(), theirs.collect())
}

fn hold(world: &mut World, phone: usize, call: CallHandle, held: bool) {
    world.tell(phone, |p, now| p.set_hold(now, call, held)).unwrap();
}

#[test]
fn either_side_holds_and_resumes() {
    for transport in [Transport::Tls, Transport::Udp] {
        for holder in [0, 1] {
            let mut world = two(transport);
            let calls = world.connect();
            hold(&mut world, holder, calls[holder], true);
            world.run(seconds(1));
            assert_eq!(holds(&world, holder), (vec![true], vec![]));
            assert_eq!(holds(&world, 1 - holder), (vec![], vec![true]));
            hold(&mut world, holder, calls[holder], false);
            world.run(seconds(1));
            assert_eq!(holds(&world, holder).0, [true, false]);
            assert_eq!(holds(&world, 1 - holder).1, [true, false]);
            world.tell(0, |p, now| p.hang_up(now, calls[0])).unwrap();
            world.assert_clean();
        }
    }
}

#[test]
fn both_hold_and_each_takes_back_its_own() {
    let mut world = two(Transport::Tls);
    let calls = world.connect();
    for (side, held) in [(0, true), (1, true), (0, false), (1, false)] {
        hold(&mut world, side, calls[side], held);
        world.run(seconds(1));
    }
    for side in [0, 1] {
        assert_eq!(holds(&world, side).0, [true, false], "side {side}");
        assert_eq!(holds(&world, side).1, [true, false], "side {side}");
    }
    world.sound = true;
    world.run(seconds(2));
    assert!(world.phones[0].stats(calls[0]).unwrap().packets_received > 80);
}

#[test]
fn two_who_hold_at_once_both_succeed_in_the_end() {
    let mut world = two(Transport::Udp);
    let calls = world.connect();
    hold(&mut world, 0, calls[0], true);
    hold(&mut world, 1, calls[1], true);
    world.run(seconds(10));
    assert_eq!(holds(&world, 0), (vec![true], vec![true]));
    assert_eq!(holds(&world, 1), (vec![true], vec![true]));
    world.tell(1, |p, now| p.hang_up(now, calls[1])).unwrap();
    world.assert_clean();
}

#[test]
fn a_change_of_mind_while_the_offer_is_out_is_followed() {
    let mut world = two(Transport::Tls);
    let calls = world.connect();
    hold(&mut world, 0, calls[0], true);
    hold(&mut world, 0, calls[0], false);
    world.run(seconds(10));
    assert_eq!(holds(&world, 0).0, [true, false]);
    assert_eq!(holds(&world, 1).1, [true, false]);
    world.run(millis(10));
    hold(&mut world, 0, calls[0], false);
    world.run(seconds(1));
    assert_eq!(holds(&world, 0).0.len(), 2, "nothing changed, nothing was sent");
}

#[test]
fn hanging_up_while_an_offer_is_out_leaves_nothing() {
    let mut world = two(Transport::Udp);
    let calls = world.connect();
    hold(&mut world, 0, calls[0], true);
    world.tell(0, |p, now| p.hang_up(now, calls[0])).unwrap();
    world.run(seconds(5));
    assert_eq!((world.ended(0).len(), world.ended(1).len()), (1, 1));
    world.assert_clean();
}

#[test]
fn held_media_stops_and_comes_back() {
    let mut world = two(Transport::Tls);
    let calls = world.connect();
    world.sound = true;
    world.run(seconds(2));
    hold(&mut world, 0, calls[0], true);
    world.run(seconds(1));
    let before = world.phones[0].stats(calls[0]).unwrap().packets_received;
    world.run(seconds(2));
    assert_eq!(world.phones[0].stats(calls[0]).unwrap().packets_received, before);
    hold(&mut world, 0, calls[0], false);
    world.run(seconds(2));
    assert!(world.phones[0].stats(calls[0]).unwrap().packets_received > before + 80);
}

#[test]
fn digits_are_heard_on_the_other_side() {
    let mut world = two(Transport::Tls);
    let calls = world.connect();
    world.sound = true;
    for digit in "12#*".chars() {
        world.tell(0, |p, now| p.dtmf(now, calls[0], digit)).unwrap();
        world.run(millis(400));
    }
    let heard: String = world.events[1]
        .iter()
        .filter_map(|e| match e {
            PhoneEvent::Dtmf { digit, .. } => Some(*digit),
            _ => None,
        })
        .collect();
    assert_eq!(heard, "12#*");
    let refused = world.tell(0, |p, now| p.dtmf(now, calls[0], 'x'));
    assert!(matches!(refused, Err(PhoneError::Media(_))));
}

#[test]
fn commands_that_do_not_fit_are_refused() {
    let mut world = two(Transport::Tls);
    let call = world.call(0, "bob");
    let refused = world.tell(0, |p, now| p.set_hold(now, call, true));
    assert_eq!(refused, Err(PhoneError::WrongState("calling")));
    let refused = world.tell(0, |p, now| p.reject(now, call));
    assert!(matches!(refused, Err(PhoneError::WrongState(_))));
    let refused = world.tell(0, |p, now| p.hang_up(now, CallHandle(99)));
    assert_eq!(refused, Err(PhoneError::NoSuchCall));
}
