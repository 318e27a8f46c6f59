//! Bytes from anybody.

use proptest::prelude::*;
use rtp::Error;
use rtp::zrtp::{Cache, KeyAgreement, Message, Packet, seal};
use sansio::testing::epoch;

use super::link::{Link, end, end_with};

/// Every packet of an agreement.
fn agreement(seed: u64) -> Vec<Vec<u8>> {
    let (mut alice, mut bob) = (end(seed, 1), end(seed, 2));
    let mut link = Link::new(seed);
    link.run(&mut alice, &mut bob);
    link.packets.into_iter().map(|(_, packet)| packet).collect()
}

#[test]
fn an_agreement_has_the_messages_of_rfc_6189_in_their_lengths() {
    let mut seen = std::collections::BTreeMap::new();
    for packet in agreement(1) {
        let parsed = Packet::parse(&packet).unwrap();
        assert_eq!(seal(parsed.sequence, parsed.ssrc, &packet[12..packet.len() - 4]), packet);
        let name = String::from_utf8_lossy(&packet[16..24]).trim().to_owned();
        seen.insert(name, (packet.len() - 16) / 4);
    }
    // RFC 6189 §5.2 to §5.8; a Hello of ten algorithms, a public value of eight words.
    let expected = [
        ("Commit", 29),
        ("Conf2ACK", 3),
        ("Confirm1", 19),
        ("Confirm2", 19),
        ("DHPart1", 29),
        ("DHPart2", 29),
        ("Hello", 32),
        ("HelloACK", 3),
    ];
    assert!(seen.iter().map(|(name, words)| (name.as_str(), *words)).eq(expected), "{seen:?}");
}

#[test]
fn a_hello_says_what_it_was_made_of() {
    let packets = agreement(2);
    let Message::Hello(hello) = Packet::parse(&packets[0]).unwrap().message else { panic!() };
    assert_eq!((hello.version(), &hello.client()), (*b"1.10", b"Whimbrel        "));
    assert!(!hello.is_mitm() && !hello.is_passive() && !hello.signs());
    let names: Vec<_> = hello.algorithms::<KeyAgreement>().collect();
    assert_eq!(names, [*b"X255", *b"EC25", *b"DH3k"]);
}

#[test]
fn damage_is_noticed() {
    for packet in agreement(3) {
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 0x10;
            let error = Packet::parse(&damaged).unwrap_err();
            assert!(matches!(error, Error::Checksum | Error::Zrtp), "{at}: {error}");
        }
        assert!(Packet::parse(&packet[..packet.len() - 1]).is_err());
    }
}

proptest! {
    /// Nothing that anybody sends breaks an end, or gives it keys.
    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Packet::parse(&bytes);
        let _ = Message::parse(&bytes);
        let mut alice = end_with(9, 1, Cache::default());
        alice.start(epoch());
        alice.handle_packet(epoch(), &bytes);
        alice.handle_packet(epoch(), &seal(1, 2, &bytes));
        prop_assert!(alice.secured().is_none());
    }

    /// Nor do real messages, cut, changed and in any order.
    #[test]
    fn real_messages_in_any_order_break_nothing(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), any::<u8>()), 1..40),
    ) {
        let packets = agreement(10);
        let mut alice = end(10, 3);
        alice.start(epoch());
        for (pick, at, with) in picks {
            let packet = &packets[pick.index(packets.len())];
            let mut message = packet[12..packet.len() - 4].to_vec();
            let at = usize::from(at) % message.len();
            if with & 1 == 1 {
                message[at] = with;
            }
            alice.handle_packet(epoch(), &seal(at as u16, 7, &message));
            while alice.poll_output().is_some() {}
        }
        prop_assert!(alice.secured().is_none());
    }
}
