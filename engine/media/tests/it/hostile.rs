//! Datagrams from strangers: nothing panics, whatever they hold.

use std::time::Duration;

use audio::CodecKind;
use media::Security;
use proptest::prelude::*;

use crate::wire::{Wire, address, config};

/// A datagram that looks like RTP or RTCP at its beginning, or not at all.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let payload_type =
        prop_oneof![Just(0_u8), Just(8), Just(13), Just(101), Just(110), Just(111), any::<u8>()];
    let header = (payload_type, any::<u16>(), any::<u32>(), 0_u32..3);
    let rtp = (header, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(h, payload)| {
        let (payload_type, sequence, timestamp, ssrc) = h;
        let mut out = vec![0x80, payload_type];
        out.extend(sequence.to_be_bytes());
        out.extend(timestamp.to_be_bytes());
        out.extend(ssrc.to_be_bytes());
        out.extend(payload);
        out
    });
    let rtcp = (200_u8..208, prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(kind, body)| {
        let words = (body.len() / 4) as u8;
        [&[0x81, kind, 0, words][..], &body].concat()
    });
    prop_oneof![4 => rtp, 2 => rtcp, 1 => prop::collection::vec(any::<u8>(), 0..100)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_datagram_panics(datagrams in prop::collection::vec(datagram(), 0..60), secure: bool) {
        let security = if secure { Security::Sdes } else { Security::Plain };
        let mut w = Wire::new(1, [0, 1].map(|side| config(side, &CodecKind::ALL, security)));
        w.connect();
        for datagram in datagrams {
            w.bob.handle_datagram(w.now, address(0, 0), &datagram);
            w.run(Duration::from_millis(15), |_, frame| frame.fill(100));
        }
        prop_assert!(w.bob.stats().concealed_ms < 1_000_000);
    }

    #[test]
    fn no_description_panics(text in "(v=0\r\n)?([a-z]=[ -~]{0,40}\r\n){0,6}(m=audio [0-9]{1,5} RTP/S?AVP [0-9 ]{1,12}\r\n)([a-z]=[ -~]{0,60}\r\n){0,6}") {
        let mut w = Wire::new(1, [0, 1].map(|side| config(side, &CodecKind::ALL, Security::SdesOptional)));
        let _ = w.bob.handle_offer(w.now, text.as_bytes());
        w.alice.create_offer(w.now);
        let _ = w.alice.handle_answer(w.now, text.as_bytes());
    }
}
