//! Vectors of RFC 3711 Appendix B and RFC 7714 §16-17, whole-packet vectors, and misuse.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, LessSafeKey, UnboundKey};
use proptest::prelude::*;

use super::cipher::SessionKeys;
use super::kdf::{self, apply_ctr, ctr_key};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|c| value(c[0]) << 4 | value(c[1])).collect()
}

fn rfc3711_keys() -> KeyMaterial {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    KeyMaterial::new(&key, &hex("0EC675AD498AFEEBB6960B3AABE6"))
}

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

#[test]
fn rfc_3711_b2_counter_mode_key_stream() {
    let key = ctr_key(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let mut iv = [0; 16];
    iv.copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
    let mut stream = vec![0; 16 * 0xff02];
    apply_ctr(&key, iv, &mut stream).unwrap();
    assert_eq!(stream[..16], hex("E03EAD0935C95E80E166B16DD92B4EB4"));
    assert_eq!(stream[16..32], hex("D23513162B02D0F72A43A2FE4A5F97AB"));
    assert_eq!(stream[32..48], hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
    let end = stream.len();
    assert_eq!(stream[end - 48..end - 32], hex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
    assert_eq!(stream[end - 32..end - 16], hex("362B7C3C6773516318A077D7FC5073AE"));
    assert_eq!(stream[end - 16..], hex("6A2CC3787889374FBEB4C81B17BA6C44"));
}

#[test]
fn rfc_3711_b3_key_derivation() {
    let keys = rfc3711_keys();
    let derived = |label, len| {
        let mut out = vec![0; len];
        kdf::derive(&keys, label, &mut out).unwrap();
        out
    };
    assert_eq!(derived(kdf::ENCRYPTION, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derived(kdf::SALT, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        derived(kdf::AUTHENTICATION, 96),
        hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
             E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
             6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68")
    );
}

#[test]
fn a_whole_packet_under_aes_cm_and_sha1_80() {
    let mut context = SrtpContext::new(Suite::AesCm128HmacSha1_80, &rfc3711_keys()).unwrap();
    let clear = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let mut buf = clear.clone();
    buf.resize(60, 0);
    let len = context.protect_rtp(&mut buf, clear.len()).unwrap();
    let expected =
        hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    assert_eq!(buf[..len], expected);

    let clear = hex("81c8000bcafebabe abababababababababababababababab");
    buf[..clear.len()].copy_from_slice(&clear);
    let len = context.protect_rtcp(&mut buf, clear.len()).unwrap();
    let expected = hex("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8
                        80000001 993e08cd54d6c1230798");
    assert_eq!(buf[..len], expected);
}

fn gcm(key_len: u8) -> SessionKeys {
    let key: Vec<u8> = (0..key_len).collect();
    let algorithm = if key_len == 32 { &AES_256_GCM } else { &AES_128_GCM };
    let cipher = LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap());
    SessionKeys::Gcm { cipher, salt: *b"Quid pro quo" }
}

#[test]
fn rfc_7714_16_srtp_with_aes_gcm() {
    let clear = hex("8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973
                     20646976 69736120 696e2070 61727465 73207472 6573");
    let vectors = [
        (
            16,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
              42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            32,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3
              b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ];
    for (key_len, expected) in vectors {
        let keys = gcm(key_len);
        let mut buf = clear.clone();
        buf.resize(clear.len() + 16, 0);
        keys.seal_rtp(&mut buf, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(buf, hex(expected), "{key_len}");
        keys.open_rtp(&mut buf, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(buf[..clear.len()], clear);
    }
}

#[test]
fn rfc_7714_17_srtcp_with_aes_gcm() {
    let clear = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                     deadbeef deadbeef deadbeef deadbeef deadbeef");
    let expected = hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
                        c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
                        45d9eade 800005d4");
    let keys = gcm(16);
    let mut buf = clear.clone();
    buf.resize(clear.len() + 20, 0);
    keys.seal_rtcp(&mut buf, clear.len(), 0x4d61_7273, 0x5d4).unwrap();
    assert_eq!(buf, expected);
    keys.open_rtcp(&mut buf, 0x4d61_7273, 0x8000_05d4).unwrap();
    assert_eq!(buf[..clear.len()], clear);
}

#[test]
fn rfc_7714_17_srtcp_authenticated_only() {
    // §17.2: the E flag is clear, the compound travels in the clear under a tag.
    let clear = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                     deadbeef deadbeef deadbeef deadbeef deadbeef");
    let mut buf = clear.clone();
    buf.extend(hex("841dd968 3dd78ec9 2ae58790 125f62b3 000005d4"));
    gcm(16).open_rtcp(&mut buf, 0x4d61_7273, 0x5d4).unwrap();
    assert_eq!(buf[..clear.len()], clear);
    buf[20] ^= 1;
    assert!(gcm(16).open_rtcp(&mut buf, 0x4d61_7273, 0x5d4).is_err());
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
