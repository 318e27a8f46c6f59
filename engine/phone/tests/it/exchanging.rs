//! R1.5: two phones that change their call at random agree whenever all is quiet.

use crate::world::{World, millis, seconds};
use phone::{CallHandle, Config, PhoneEvent};
use sansio::{Entropy, SeededEntropy, Transport};

/// What one side believes of holding, by its own events: we hold, they hold us.
fn belief(world: &World, phone: usize) -> (bool, bool) {
    let mut belief = (false, false);
    for event in &world.events[phone] {
        match event {
            PhoneEvent::Held { held, .. } => belief.0 = *held,
            PhoneEvent::HeldByPeer { held, .. } => belief.1 = *held,
            _ => {}
        }
    }
    belief
}

/// Both ends see one session: directions mirror each other, one codec each way, and each knows who
/// holds whom.
fn assert_agreed(world: &World, calls: [CallHandle; 2], what: &str) {
    let view = |n: usize| world.phones[n].negotiated(calls[n]).expect("media");
    let (a, b) = (view(0), view(1));
    assert_eq!(a.direction, b.direction.reversed(), "{what}");
    assert_eq!(a.send.map.encoding, b.send.map.encoding, "{what}");
    for (from, to) in [(a, b), (b, a)] {
        let fits = |format: &sdp::offer_answer::Format| format.map == from.send.map;
        assert!(to.receive.iter().any(fits), "{what}: {:?} into {:?}", from.send, to.receive);
    }
    let (a, b) = (belief(world, 0), belief(world, 1));
    assert_eq!((a.0, a.1), (b.1, b.0), "{what}");
}

#[test]
fn r1_5_two_phones_that_change_a_call_at_random_agree_after_each_step() {
    for seed in 0..12 {
        let mut dice = SeededEntropy::new(seed);
        let mut roll = |n: u64| dice.next_u64() % n;
        let config = Config {
            reoffer_by_update: roll(2) == 0,
            delayed_offer: roll(2) == 0,
            reliable_ringing: roll(2) == 0,
            session_expires: seconds(90),
            ..Config::default()
        };
        let transport = if roll(2) == 0 { Transport::Tls } else { Transport::Udp };
        let mut world = World::with_config(seed, transport, &["alice", "bob"], &config);
        world.loss = if transport == Transport::Udp { 5 } else { 0 };
        let caller = world.call(0, "bob");
        world.run(seconds(5));
        if roll(2) == 0 {
            world.progress(1);
            world.run(seconds(5));
        }
        let callee = world.answer(1);
        world.run(seconds(20));
        let calls = [caller, callee];
        assert_agreed(&world, calls, &format!("seed {seed}, answered"));
        for step in 0..25 {
            let both = roll(3) == 0;
            let who = roll(2) as usize;
            for n in [who, 1 - who].into_iter().take(1 + usize::from(both)) {
                let held = roll(2) == 0;
                world.tell(n, |p, now| p.set_hold(now, calls[n], held)).expect("a live call");
                world.run(millis(roll(40)));
            }
            if roll(4) != 0 {
                world.run(seconds(20));
                assert_agreed(&world, calls, &format!("seed {seed}, step {step}"));
            }
        }
        world.run(seconds(20));
        assert_agreed(&world, calls, &format!("seed {seed}, in the end"));
    }
}
