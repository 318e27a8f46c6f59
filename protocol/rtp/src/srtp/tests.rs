//! Replays, rollover, sources, and misuse. The RFCs' vectors are in `vectors.rs`.

use proptest::prelude::*;

use super::*;

fn pair(suite: Suite) -> (SrtpContext, SrtpContext) {
    let keys = KeyMaterial::new(&vec![3; suite.key_len()], &vec![4; suite.salt_len()]);
    (SrtpContext::new(suite, &keys).unwrap(), SrtpContext::new(suite, &keys).unwrap())
}

fn packet(sequence: u16, ssrc: u32) -> ([u8; 64], usize) {
    let mut buf = [0; 64];
    let header = crate::Header { payload_type: 0, sequence, timestamp: 1, ssrc, marker: false };
    let len = crate::write_packet(&mut buf, &header, &sequence.to_be_bytes().repeat(8)).unwrap();
    (buf, len)
}

/// R5.2: a flipped bit anywhere is rejected, and the true packet still passes afterwards.
#[test]
fn tampering_and_replay_are_refused_under_every_suite() {
    for suite in Suite::ALL {
        let (mut tx, mut rx) = pair(suite);
        let (mut buf, len) = packet(9, 7);
        let clear = buf;
        let len = tx.protect_rtp(&mut buf, len).unwrap();
        assert_ne!(buf[12..28], clear[12..28], "{suite:?}");
        for bit in [8, 14 * 8, len * 8 - 1] {
            let mut bad = buf;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(rx.unprotect_rtp(&mut bad, len), Err(Error::Authentication), "{suite:?}");
        }
        let sealed = buf;
        let opened = rx.unprotect_rtp(&mut buf, len).unwrap();
        assert_eq!(buf[..opened], clear[..opened]);
        assert_eq!(rx.unprotect_rtp(&mut sealed.clone(), len), Err(Error::Replayed));
    }
}

#[test]
fn rtcp_round_trips_under_every_suite() {
    for suite in Suite::ALL {
        let (mut tx, mut rx) = pair(suite);
        for _ in 0..3 {
            let mut buf = [0; 128];
            let report = crate::rtcp::Report { ssrc: 5, cname: "x", ..Default::default() };
            let len = report.write(&mut buf).unwrap();
            let clear = buf;
            let sealed = tx.protect_rtcp(&mut buf, len).unwrap();
            let copy = buf;
            assert_eq!(rx.unprotect_rtcp(&mut buf, sealed), Ok(len));
            assert_eq!(buf[..len], clear[..len]);
            assert_eq!(rx.unprotect_rtcp(&mut copy.clone(), sealed), Err(Error::Replayed));
        }
    }
}

#[test]
fn the_rollover_counter_follows_the_wrap_with_loss_and_reordering() {
    let (mut tx, mut rx) = pair(Suite::AesCm128HmacSha1_80);
    let mut late = None;
    for n in 65_000..200_000_u32 {
        let (mut buf, len) = packet(n as u16, 7);
        let len = tx.protect_rtp(&mut buf, len).unwrap();
        match n % 100 {
            3 => continue,
            50 => late = Some((buf, len)),
            _ => assert!(rx.unprotect_rtp(&mut buf, len).is_ok(), "{n}"),
        }
        if n % 100 == 60 {
            let (mut buf, len) = late.take().unwrap();
            assert!(rx.unprotect_rtp(&mut buf, len).is_ok(), "late {n}");
        }
    }
    assert_eq!(rx.snapshot()[0].rtp_highest, Some(199_999));
}

/// RFC 3711 Appendix A: the counter is estimated from the highest index, so that half the range may
/// be lost at once, and a packet from before the wrap still finds its own.
#[test]
fn the_rollover_counter_is_right_after_a_loss_of_half_the_range_and_for_a_late_packet() {
    for suite in Suite::ALL {
        let (mut tx, mut rx) = pair(suite);
        let mut sealed = Vec::new();
        for n in 40_000..100_000_u32 {
            let (mut buf, len) = packet(n as u16, 7);
            let len = tx.protect_rtp(&mut buf, len).unwrap();
            sealed.push((buf, len));
        }
        let mut open = |n: usize| {
            let (mut buf, len) = sealed[n - 40_000];
            rx.unprotect_rtp(&mut buf, len).map(drop)
        };
        assert_eq!(open(40_000), Ok(()));
        assert_eq!(open(40_000 + 0x7fff), Ok(()), "{suite:?}: the wrap is in what was lost");
        assert_eq!(open(40_000), Err(Error::TooOld));
        assert_eq!(open(40_000 + 0x7fff - 127), Ok(()), "the window's last");
        assert_eq!(open(40_000 + 0x7fff - 128), Err(Error::TooOld));
        assert_eq!(open(40_000 + 0x7fff), Err(Error::Replayed));
    }
    let (mut tx, mut rx) = pair(Suite::AesCm128HmacSha1_80);
    let mut sealed = [65_534, 65_535, 0_u16, 1].map(|n| {
        let (mut buf, len) = packet(n, 7);
        let len = tx.protect_rtp(&mut buf, len).unwrap();
        (buf, len)
    });
    for at in [0, 2, 3, 1] {
        let (buf, len) = &mut sealed[at];
        assert!(rx.unprotect_rtp(buf, *len).is_ok(), "the last before the wrap comes last");
    }
    assert_eq!(rx.snapshot()[0].rtp_highest, Some(0x1_0001));
}

/// RFC 3711 §9.1: two senders that took the same source under one key would use a key stream twice.
/// What is sent is refused from the first index on that was used, whoever used it; a receiver takes
/// either's packets once; and the one that moves to another source begins there at zero.
#[test]
fn a_collision_of_sources_never_uses_a_key_stream_twice() {
    for suite in Suite::ALL {
        let (mut tx, mut rx) = pair(suite);
        for sequence in [100, 101, 102] {
            let (mut buf, len) = packet(sequence, 7);
            let len = tx.protect_rtp(&mut buf, len).unwrap();
            rx.unprotect_rtp(&mut buf, len).unwrap();
        }
        let (mut other, len) = packet(101, 7);
        assert_eq!(tx.protect_rtp(&mut other, len), Err(Error::Replayed), "{suite:?}");
        let (mut other, len) = packet(101, 8);
        let len = tx.protect_rtp(&mut other, len).unwrap();
        assert!(rx.unprotect_rtp(&mut other, len).is_ok());
        let mut highest: Vec<_> =
            rx.snapshot().iter().map(|s| (s.ssrc, s.rtp_highest.unwrap())).collect();
        highest.sort_unstable();
        assert_eq!(highest, [(7, 102), (8, 101)], "the first goes on where it was");
    }
}

#[test]
fn a_sender_never_uses_an_index_twice() {
    let (mut tx, _) = pair(Suite::AeadAes128Gcm);
    let (mut buf, len) = packet(9, 7);
    tx.protect_rtp(&mut buf, len).unwrap();
    let (mut again, len) = packet(9, 7);
    assert_eq!(tx.protect_rtp(&mut again, len), Err(Error::Replayed));
}

#[test]
fn sources_are_independent_and_limited() {
    let (mut tx, mut rx) = pair(Suite::AesCm128HmacSha1_32);
    for ssrc in 0..MAX_STREAMS as u32 {
        let (mut buf, len) = packet(1, ssrc);
        let len = tx.protect_rtp(&mut buf, len).unwrap();
        rx.unprotect_rtp(&mut buf, len).unwrap();
    }
    let (mut buf, len) = packet(1, u32::MAX);
    assert_eq!(tx.protect_rtp(&mut buf, len), Err(Error::TooManyStreams));
}

#[test]
fn a_restored_context_goes_on_and_still_refuses_replays() {
    let (mut tx, mut rx) = pair(Suite::AeadAes256Gcm);
    let mut last = ([0; 64], 0);
    for n in 65_530..65_540_u32 {
        let (mut buf, len) = packet(n as u16, 7);
        let len = tx.protect_rtp(&mut buf, len).unwrap();
        last = (buf, len);
        rx.unprotect_rtp(&mut buf, len).unwrap();
    }
    let (mut tx2, mut rx2) = pair(Suite::AeadAes256Gcm);
    tx2.restore(&tx.snapshot());
    rx2.restore(&rx.snapshot());
    assert_eq!(rx2.unprotect_rtp(&mut last.0, last.1), Err(Error::Replayed));
    let (mut buf, len) = packet(4, 7);
    let len = tx2.protect_rtp(&mut buf, len).unwrap();
    assert!(rx2.unprotect_rtp(&mut buf, len).is_ok());
}

#[test]
fn keys_of_the_wrong_length_and_small_buffers_are_refused() {
    let keys = KeyMaterial::new(&[0; 16], &[0; 12]);
    assert!(matches!(SrtpContext::new(Suite::AesCm128HmacSha1_80, &keys), Err(Error::BadKey)));
    let (mut tx, _) = pair(Suite::AesCm128HmacSha1_80);
    let (mut buf, len) = packet(1, 1);
    assert!(matches!(tx.protect_rtp(&mut buf[..len], len), Err(Error::BufferTooSmall { .. })));
    assert_eq!(format!("{:?}", KeyMaterial::new(&[1], &[2])), "KeyMaterial([redacted])");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
        for suite in Suite::ALL {
            let (_, mut rx) = pair(suite);
            let mut bytes = bytes.clone();
            if let Some(first) = bytes.first_mut() { *first = 0x80 | (*first & 0x3f); }
            let len = bytes.len();
            prop_assert!(rx.unprotect_rtp(&mut bytes, len).is_err());
            prop_assert!(rx.unprotect_rtcp(&mut bytes, len).is_err());
            let _ = rx.protect_rtp(&mut bytes, len);
            let _ = rx.protect_rtcp(&mut bytes, len);
            prop_assert!(rx.snapshot().len() <= 2);
        }
    }
}
