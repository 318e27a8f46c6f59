//! Two ends of ZRTP, a link between them, and whoever sits on it.

mod attacks;
mod link;
mod memory;
mod packets;

use std::time::Duration;

use link::{Link, end, secured};
use rtp::zrtp::{Endpoint, Event, Failure, KeyAgreement, Output, Role, Setup, Zid};
use sansio::SeededEntropy;
use sansio::testing::epoch;

/// R5.4: both come to the same keys and the same string, whatever the link does to packets.
#[test]
fn r5_4_two_ends_agree_over_a_link_that_loses_and_turns_round() {
    for seed in 0..300 {
        let mut link = Link::new(seed).losing(10).delaying(5, 60);
        let (mut alice, mut bob) = (end(seed, 1), end(seed, 2));
        link.run(&mut alice, &mut bob);
        let (a, b) = (secured(&link.events[0]), secured(&link.events[1]));
        assert_eq!(a.sas, b.sas, "seed {seed}");
        assert_ne!(a.role, b.role, "seed {seed}");
        let [ours, theirs] = link.keys();
        assert_eq!((ours.suite, &ours.local), (theirs.suite, &theirs.remote), "seed {seed}");
        assert_eq!(ours.remote, theirs.local, "seed {seed}");
        assert_ne!(ours.local, ours.remote);
    }
}

/// Packets that come twice change nothing.
#[test]
fn r5_4_a_link_that_doubles_packets_makes_one_agreement() {
    for seed in 0..50 {
        let mut link = Link::new(seed).doubling().delaying(1, 30);
        let (mut alice, mut bob) = (end(seed, 1), end(seed, 2));
        link.run(&mut alice, &mut bob);
        for events in &link.events {
            let count = |wanted: fn(&Event) -> bool| events.iter().filter(|e| wanted(e)).count();
            assert_eq!(count(|e| matches!(e, Event::Keys(_))), 1, "{events:?}");
            assert_eq!(count(|e| matches!(e, Event::Secure(_))), 1, "{events:?}");
        }
    }
}

/// RFC 6189 §5.1.5: each way to a secret, and the tongue that both know.
#[test]
fn r5_4_every_key_agreement_serves_and_the_common_one_is_found() {
    use KeyAgreement::{Dh3k, Ec25, X255};
    for (ours, theirs, chosen) in [
        (vec![X255, Ec25, Dh3k], vec![X255], X255),
        (vec![Ec25], vec![Ec25, X255], Ec25),
        (vec![Dh3k], vec![X255, Dh3k], Dh3k),
        (vec![X255], vec![Ec25], Dh3k),
        (vec![], vec![], Dh3k),
    ] {
        let with = |agreements: &[KeyAgreement], name| {
            let setup = Setup {
                agreements: agreements.to_vec(),
                ..Setup::new(name, Zid([name as u8; 12]))
            };
            Endpoint::new(setup, &mut SeededEntropy::new(name.into()))
        };
        let (mut alice, mut bob) = (with(&ours, 1), with(&theirs, 2));
        let mut link = Link::new(1);
        link.run(&mut alice, &mut bob);
        let (a, b) = (secured(&link.events[0]), secured(&link.events[1]));
        assert_eq!((a.choice.agreement, b.choice.agreement), (chosen, chosen));
        assert_eq!(a.sas, b.sas);
    }
}

/// RFC 6189 §4.2: both commit at once; the greater commitment counts, on both sides alike.
#[test]
fn r5_4_of_two_commits_at_once_one_counts() {
    let mut initiators = [0, 0];
    for seed in 0..64 {
        // Both ways take the same time, so both Commits are under way together.
        let mut link = Link::new(seed).delaying(20, 20);
        let (mut alice, mut bob) = (end(seed, 1), end(seed, 2));
        link.run(&mut alice, &mut bob);
        assert_eq!(link.sent(b"Commit  "), [1, 1], "they meet");
        let roles = [0, 1].map(|n: usize| secured(&link.events[n]).role);
        assert_ne!(roles[0], roles[1]);
        initiators[usize::from(roles[1] == Role::Initiator)] += 1;
    }
    assert!(initiators[0] > 10 && initiators[1] > 10, "by chance: {initiators:?}");
}

/// RFC 6189 §6: twenty Hellos, then nobody is there; who comes later is answered.
#[test]
fn r5_4_alone_it_gives_up_and_answers_who_comes_later() {
    let (mut alice, mut bob) = (end(1, 1), end(1, 2));
    let mut now = epoch();
    alice.start(now);
    let mut hellos = 0;
    let mut alone = false;
    while let Some(at) = alice.poll_timeout() {
        now = at;
        alice.handle_timeout(now);
        while let Some(output) = alice.poll_output() {
            match output {
                Output::Transmit(_) => hellos += 1,
                Output::Event(event) => alone |= event == Event::Alone,
            }
        }
    }
    assert_eq!((hellos, alone), (21, true));
    // 50, 100, then eighteen times 200 milliseconds, and the wait behind the last.
    assert_eq!(now - epoch(), Duration::from_millis(50 + 100 + 19 * 200));
    let mut link = Link::new(1);
    link.run_from(now, &mut alice, &mut bob);
    assert_eq!(secured(&link.events[0]).sas, secured(&link.events[1]).sas);
}

#[test]
fn r5_4_an_end_that_falls_silent_in_the_middle_is_a_failure() {
    let (mut alice, mut bob) = (end(3, 1), end(3, 2));
    let mut link = Link::new(3).deaf_to(b"DHPart1 ");
    link.run(&mut alice, &mut bob);
    let failures: Vec<_> = [&alice, &bob].iter().filter_map(|end| end.failure()).collect();
    assert!(failures.contains(&Failure::Timeout), "{failures:?}");
    assert!(alice.secured().is_none() && bob.secured().is_none());
}

/// RFC 6189 §4.4.1.5: what the keys open says as much as Conf2ACK.
#[test]
fn r5_4_srtp_that_comes_stands_for_a_lost_acknowledgement() {
    let (mut alice, mut bob) = (end(4, 1), end(4, 2));
    let mut link = Link::new(4).deaf_to(b"Conf2ACK").until(Duration::from_millis(900));
    link.run(&mut alice, &mut bob);
    let (waits, stands) = match alice.secured() {
        Some(_) => (&mut bob, &alice),
        None => (&mut alice, &bob),
    };
    assert!(waits.secured().is_none());
    waits.note_srtp();
    assert_eq!(waits.secured().unwrap().sas, stands.secured().unwrap().sas);
}

/// RFC 6189 §4.7.2: encryption is not turned off from outside, and a Ping is answered (§5.16).
#[test]
fn r5_4_going_clear_is_refused_and_a_ping_answered() {
    let (mut alice, mut bob) = (end(5, 1), end(5, 2));
    let mut link = Link::new(5);
    link.run(&mut alice, &mut bob);
    let word = |text: &[u8], rest: &[u8]| {
        let words = ((4 + text.len() + rest.len()) / 4) as u8;
        [&[0x50, 0x5a, 0, words], text, rest].concat()
    };
    let mut answer = |message: &[u8]| {
        alice.handle_packet(epoch(), &rtp::zrtp::seal(9, 77, message));
        let Some(Output::Transmit(packet)) = alice.poll_output() else { panic!("no answer") };
        packet
    };
    let refused = answer(&word(b"GoClear ", &[0; 8]));
    let refused = rtp::zrtp::Packet::parse(&refused).unwrap().message;
    assert_eq!(refused, rtp::zrtp::Message::Error(0x100));
    let pong = answer(&word(b"Ping    ", b"1.10whimbrel"));
    let rtp::zrtp::Message::PingAck(pong) = rtp::zrtp::Packet::parse(&pong).unwrap().message else {
        panic!("no PingACK")
    };
    assert_eq!((&pong.pinger, pong.ssrc), (b"whimbrel", 77));
    assert!(alice.secured().is_some());
}

#[test]
fn r5_4_an_end_with_our_own_name_is_refused() {
    let (mut alice, mut bob) = (end(6, 1), end(7, 1));
    let mut link = Link::new(6);
    link.run(&mut alice, &mut bob);
    assert_eq!(alice.failure().map(Failure::code), Some(0x90));
}
