//! The same stories on a bad network, over many seeds.

use crate::world::{World, millis, seconds};
use phone::{CallHandle, PhoneEvent};
use sansio::{Entropy, SeededEntropy, Transport};

const SEEDS: u64 = 60;

fn two(seed: u64) -> World {
    let mut world = World::new(seed, Transport::Udp, &["alice", "bob"]);
    world.loss = 10;
    world
}

#[test]
fn a_call_with_hold_comes_about_and_ends_through_ten_percent_loss() {
    for seed in 0..SEEDS {
        let mut world = two(seed);
        world.registrar.password = Some("secret");
        for phone in [0, 1] {
            world.tell(phone, |p, now| p.register(now));
        }
        world.run(seconds(40));
        assert!(world.phones.iter().all(phone::Phone::is_registered), "seed {seed}");
        let caller = world.call(0, "bob");
        world.run(seconds(20));
        let callee = world.answer(1);
        world.run(seconds(30));
        let calls = [caller, callee];
        assert!((0..2).all(|n| world.phones[n].is_talking(calls[n])), "seed {seed}");
        let side = (seed % 2) as usize;
        world.tell(side, |p, now| p.set_hold(now, calls[side], true)).unwrap();
        world.run(seconds(40));
        let held = |e: &PhoneEvent| matches!(e, PhoneEvent::HeldByPeer { held: true, .. });
        assert_eq!(world.count(1 - side, held), 1, "seed {seed}");
        world.tell(1 - side, |p, now| p.hang_up(now, calls[1 - side])).unwrap();
        world.run(seconds(40));
        assert_eq!((world.ended(0).len(), world.ended(1).len()), (1, 1), "seed {seed}");
        world.assert_clean();
    }
}

#[test]
fn whatever_two_people_press_nothing_is_left_behind() {
    for seed in 0..SEEDS {
        press_at_random(two(seed), seed);
    }
}

#[test]
fn mangled_messages_break_nothing() {
    for seed in 0..2 * SEEDS {
        let mut world = World::new(seed, Transport::Udp, &["alice", "bob"]);
        world.challenges_calls = seed % 2 == 0;
        world.mangled = 30;
        press_at_random(world, seed);
    }
}

/// Random commands at random times: whatever happens, every call ends once and nothing is left.
fn press_at_random(mut world: World, seed: u64) {
    let mut dice = SeededEntropy::new(seed + 1000);
    for _ in 0..25 {
        let side = (dice.next_u64() % 2) as usize;
        press(&mut world, side, dice.next_u64());
        world.run(millis(dice.next_u64() % 3000));
    }
    for side in [0, 1] {
        for call in handles() {
            // Most are over.
            let _ = world.tell(side, |p, now| p.hang_up(now, call));
        }
    }
    world.assert_clean();
    for side in [0, 1] {
        assert_ends_once(&world, side, seed);
    }
}

fn handles() -> impl Iterator<Item = CallHandle> {
    (1..40).map(CallHandle)
}

/// One of the things a person can do to a phone.
fn press(world: &mut World, side: usize, what: u64) {
    let target = ["bob", "alice"][side];
    let call = CallHandle((what >> 8) as u32 % 6 + 1);
    let local = "192.0.2.99:7000".parse().unwrap();
    match what % 6 {
        0 | 1 => drop(world.tell(side, |p, now| p.call(now, target, local))),
        2 | 3 => {
            let ringing = world.incoming(side).unwrap_or(call);
            let _ = world.tell(side, |p, now| p.answer(now, ringing, local));
        }
        4 => drop(world.tell(side, |p, now| p.hang_up(now, call))),
        _ => drop(world.tell(side, |p, now| p.set_hold(now, call, what & 0x80 == 0))),
    }
}

fn assert_ends_once(world: &World, side: usize, seed: u64) {
    for call in handles() {
        let ended = |e: &PhoneEvent| matches!(e, PhoneEvent::Ended { call: c, .. } if *c == call);
        let ends = world.count(side, ended);
        assert!(ends <= 1, "seed {seed}: call {call:?} of {side} ended {ends} times");
    }
}
