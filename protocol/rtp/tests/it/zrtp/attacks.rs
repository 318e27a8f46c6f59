//! Whoever sits on the way: what they can reach, and what is seen of it.

use rtp::zrtp::{Cache, Event, Failure, HelloHash, Message, Packet, Trust, seal};
use sansio::testing::epoch;

use super::link::{Link, end, end_with, secured};

/// Kinds of messages an attack changes.
const COMMIT: &[u8] = b"Commit  ";
const HELLO: &[u8] = b"Hello   ";

/// The packet with its message changed, and a check sum that fits.
fn changed(packet: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = packet[12..packet.len() - 4].to_vec();
    change(&mut message);
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
    seal(sequence, ssrc, &message)
}

fn kind(packet: &[u8]) -> &[u8] {
    &packet[16..24]
}

/// R5.4: one who agrees with each of two ends for himself leaves them with different strings.
#[test]
fn r5_4_an_active_attacker_makes_the_strings_differ_in_1000_runs() {
    let (mut letters, mut words) = (0, 0);
    for seed in 0..1000 {
        let (mut alice, mut bob) = (end(seed, 1), end(seed, 2));
        // Toward each he is the other: he even has their ZID.
        let (mut as_bob, mut as_alice) = (end(seed + 5000, 2), end(seed + 5000, 1));
        let (mut left, mut right) = (Link::new(seed), Link::new(seed + 1));
        left.run(&mut alice, &mut as_bob);
        right.run(&mut as_alice, &mut bob);
        let (a, b) = (secured(&left.events[0]), secured(&right.events[1]));
        assert_eq!(a.sas, secured(&left.events[1]).sas, "he knows both");
        letters += usize::from(a.sas.letters() == b.sas.letters());
        words += usize::from(a.sas.words() == b.sas.words());
        assert!(a.trust != Trust::Verified && b.trust != Trust::Verified);
    }
    assert_eq!((letters, words), (0, 0), "strings alike, though somebody sits between");
}

/// R5.4: who once compared the string is told when somebody steps between later, and no string of
/// theirs is ever shown as compared.
#[test]
fn r5_4_an_attacker_who_comes_later_is_a_changed_key_and_never_verified() {
    for seed in 0..50 {
        let [alices, bobs] = acquainted(seed);
        let mut alice = end_with(seed + 100, 1, alices);
        let mut as_bob = end(seed + 7000, 2);
        let mut link = Link::new(seed);
        link.run(&mut alice, &mut as_bob);
        assert_eq!(secured(&link.events[0]).trust, Trust::Changed);
        let kept = |e: &Event| matches!(e, Event::Retain { .. });
        assert!(!link.events[0].iter().any(kept), "Bob is not forgotten for it");
        // Alice hears a wrong string. Nothing changes.
        alice.set_verified(false);
        assert_eq!(alice.poll_output(), None);
        assert_eq!(alice.secured().map(|s| s.trust), Some(Trust::Changed));
        drop(bobs);
    }
}

/// The memories of two who have compared their strings.
pub fn acquainted(seed: u64) -> [Cache; 2] {
    let (mut alice, mut bob) = (end(seed, 1), end(seed, 2));
    let mut link = Link::new(seed);
    link.run(&mut alice, &mut bob);
    let mut caches = [Cache::default(), Cache::default()];
    for (end, cache) in [&mut alice, &mut bob].into_iter().zip(&mut caches) {
        end.set_verified(true);
        while let Some(output) = end.poll_output() {
            super::memory::keep(cache, &output);
        }
    }
    caches
}

/// RFC 6189 §9: who takes the better algorithms out of a Hello is found out by its code.
#[test]
fn r5_4_a_downgraded_hello_is_refused() {
    let stripped = |packet: &[u8]| {
        changed(packet, |hello| {
            // One key agreement, the last, instead of three.
            let counts = hello[79];
            assert_eq!(counts >> 4, 3);
            hello[79] = 1 << 4 | counts & 15;
            let from = 80 + 4 * (1 + usize::from(hello[78] >> 4) + usize::from(hello[78] & 15));
            hello.drain(from..from + 8);
            let words = (hello.len() / 4) as u16;
            hello[2..4].copy_from_slice(&words.to_be_bytes());
        })
    };
    for victim in [0, 1] {
        let (mut alice, mut bob) = (end(11, 1), end(11, 2));
        let mut link = Link::new(11).tampered(Box::new(move |from, packet| {
            let mine = from == victim && kind(&packet) == HELLO;
            Some(if mine { stripped(&packet) } else { packet })
        }));
        link.run(&mut alice, &mut bob);
        assert!(alice.secured().is_none() && bob.secured().is_none());
        let failures = [alice.failure(), bob.failure()];
        let found = [Some(Failure::HelloMismatch), Some(Failure::Commitment)];
        assert!(failures.iter().any(|f| found.contains(f)), "{failures:?}");
    }
}

/// The same for what a Commit chooses: one bit of it, any of them.
#[test]
fn r5_4_no_changed_message_leads_to_keys() {
    let kinds: [&[u8]; 6] = [COMMIT, HELLO, b"DHPart1 ", b"DHPart2 ", b"Confirm1", b"Confirm2"];
    for (n, wanted) in kinds.into_iter().enumerate() {
        for at in (12..100).step_by(7) {
            let (mut alice, mut bob) = (end(12, 1), end(12, 2));
            let mut link = Link::new(12).tampered(Box::new(move |_, packet| {
                if kind(&packet) != wanted {
                    return Some(packet);
                }
                let flip = |message: &mut Vec<u8>| {
                    let at = at % (message.len() - 12) + 12;
                    message[at] ^= 1 << (n % 8);
                };
                Some(changed(&packet, flip))
            }));
            link.run(&mut alice, &mut bob);
            let both = alice.secured().is_some() && bob.secured().is_some();
            assert!(!both, "{} at {at}", String::from_utf8_lossy(wanted));
        }
    }
}

/// RFC 6189 §8.1: with signalling that nobody changed, another's Hello is not even answered.
#[test]
fn r5_4_a_hello_that_sdp_did_not_announce_is_not_listened_to() {
    let (mut alice, bob) = (end(13, 1), end(13, 2));
    let mut attacker = end(14, 2);
    alice.expect(epoch(), bob.hello_hash());
    let mut link = Link::new(13);
    link.run(&mut alice, &mut attacker);
    assert_eq!(alice.failure(), Some(Failure::HelloMismatch));
    assert!(!link.packets.iter().any(|(from, p)| *from == 0 && kind(p) == COMMIT));
    // With the right one it goes well, told before or after the Hello.
    let (mut alice, mut bob) = (end(13, 1), end(13, 2));
    alice.expect(epoch(), bob.hello_hash());
    bob.expect(epoch(), alice.hello_hash());
    let mut link = Link::new(13);
    link.run(&mut alice, &mut bob);
    alice.expect(epoch(), bob.hello_hash());
    assert_eq!(secured(&link.events[0]).sas, secured(&link.events[1]).sas);
    assert_eq!(alice.failure(), None);
}

/// A public value of zeros has a secret that anybody knows.
#[test]
fn r5_4_a_public_value_that_gives_the_secret_away_is_refused() {
    let (mut alice, mut bob) = (end(15, 1), end(15, 2));
    let mut link = Link::new(15).tampered(Box::new(|_, packet| {
        let dh = kind(&packet) == b"DHPart1 ";
        Some(if dh { changed(&packet, |m| m[76..108].fill(0)) } else { packet })
    }));
    link.run(&mut alice, &mut bob);
    let failures = [alice.failure(), bob.failure()];
    assert!(failures.contains(&Some(Failure::PublicValue)), "{failures:?}");
}

/// An Error that anybody may have sent ends what is not yet agreed on, and nothing afterwards.
#[test]
fn r5_4_an_error_from_anybody_does_not_end_what_stands() {
    let (mut alice, mut bob) = (end(16, 1), end(16, 2));
    let mut link = Link::new(16);
    link.run(&mut alice, &mut bob);
    let error = seal(
        1,
        1,
        &[0x50, 0x5a, 0, 4, b'E', b'r', b'r', b'o', b'r', b' ', b' ', b' ', 0, 0, 0, 0x61],
    );
    assert_eq!(Packet::parse(&error).unwrap().message, Message::Error(0x61));
    alice.handle_packet(epoch(), &error);
    assert!(alice.failure().is_none() && alice.secured().is_some());
}

#[test]
fn r5_4_the_hash_in_sdp_is_read_as_it_is_written() {
    let hash = end(1, 1).hello_hash();
    let text = hash.to_string();
    assert!(text.starts_with("1.10 ") && text.len() == 5 + 64, "{text}");
    assert_eq!(text.parse::<HelloHash>(), Ok(hash));
    for wrong in ["", "1.10", "1.10 12", &text[1..], &format!("{text}0"), &text.replace(' ', "")] {
        assert!(wrong.parse::<HelloHash>().is_err(), "{wrong}");
    }
}
