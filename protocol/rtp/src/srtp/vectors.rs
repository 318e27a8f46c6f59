//! Vectors: RFC 3711 Appendix B, RFC 6188 §7, RFC 7714 §16 and §17, and whole packets that other
//! implementations publish. B.1 of RFC 3711 is about f8, which no suite here uses.

use super::aws::AesCtr;
use super::cipher::{Gcm, cm_iv};
use super::kdf::{self, derive};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|c| value(c[0]) << 4 | value(c[1])).collect()
}

/// The first and the last three blocks of the longest key stream of a packet, of index zero.
fn key_stream(key: &str, first: &str, last: &str) {
    let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let mut stream = vec![0; 16 * 0xff02];
    AesCtr::new(&hex(key)).unwrap().apply(cm_iv(&salt, 0, 0), &mut stream);
    assert_eq!(stream[..48], hex(first));
    assert_eq!(stream[stream.len() - 48..], hex(last));
}

#[test]
fn rfc_3711_b2_aes_128_counter_mode() {
    key_stream(
        "2B7E151628AED2A6ABF7158809CF4F3C",
        "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
         41E95B3BB0A2E8DD477901E4FCA894C0",
        "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
         6A2CC3787889374FBEB4C81B17BA6C44",
    );
}

#[test]
fn rfc_6188_7_1_aes_256_counter_mode() {
    key_stream(
        "57f82fe3613fd170a85ec93c40b1f092 2ec4cb0dc025b58272147cc438944a98",
        "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac
         63c4868b7096d88421b563b8c94c9a31",
        "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d
         6eb246913062a16891433e97dd01a57f",
    );
}

#[test]
fn rfc_6188_7_3_aes_192_counter_mode() {
    key_stream(
        "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7",
        "35096cba4610028dc1b57503804ce37c 5de986291dcce161d5165ec4568f5c9a
         474a40c77894bc17180202272a4c264d",
        "d108d1a31a00bad6367ec23eb044b415 c8f57129fdeb970b59f917b257662d4c
         a5dab625811034e8cebdfeb6dc158dd3",
    );
}

fn session_keys(master: &str, salt: &str, [key, derived_salt, auth]: [&str; 3]) {
    let (master, salt) = (AesCtr::new(&hex(master)).unwrap(), hex(salt));
    for (label, expected) in
        [(kdf::ENCRYPTION, key), (kdf::SALT, derived_salt), (kdf::AUTHENTICATION, auth)]
    {
        let mut out = vec![0; hex(expected).len()];
        derive(&master, &salt, label, &mut out);
        assert_eq!(out, hex(expected), "label {label}");
    }
}

#[test]
fn rfc_3711_b3_key_derivation() {
    session_keys(
        "E1F97A0D3E018BE0D64FA32C06DE4139",
        "0EC675AD498AFEEBB6960B3AABE6",
        [
            "C61E7A93744F39EE10734AFE3FF7A087",
            "30CBBC08863D8C85D49DB34A9AE1",
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
             E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
             6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68",
        ],
    );
}

#[test]
fn rfc_6188_7_2_aes_256_key_derivation() {
    session_keys(
        "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6",
        "3b04803de51ee7c96423ab5b78d2",
        [
            "5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4",
            "fa31791685ca444a9e07c6c64e93",
            "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
        ],
    );
}

#[test]
fn rfc_6188_7_4_aes_192_key_derivation() {
    session_keys(
        "73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1",
        "c8522f3acd4ce86d5add78edbb11",
        [
            "31874736a8f1143870c26e4857d8a5b2c4a354407faadabb",
            "2372b82d639b6d8503a47adc0a6c",
            "355b10973cd95b9eacf4061c7e1a7151e7cfbfcb",
        ],
    );
}

/// A packet of ours must be theirs, and theirs must open.
fn whole_packet(suite: Suite, master: &str, salt: &str, clear: &str, sealed: &str) {
    let keys = KeyMaterial::new(&hex(master), &hex(salt));
    let context = || SrtpContext::new(suite, &keys).unwrap();
    let (clear, sealed) = (hex(clear), hex(sealed));
    let mut buf = clear.clone();
    buf.resize(clear.len() + MAX_TRAILER, 0);
    let is_rtcp = crate::kind(&clear) == crate::PacketKind::Rtcp;
    let len = match is_rtcp {
        true => context().protect_rtcp(&mut buf, clear.len()),
        false => context().protect_rtp(&mut buf, clear.len()),
    };
    assert_eq!(buf[..len.unwrap()], sealed, "{suite:?}");
    let opened = match is_rtcp {
        true => context().unprotect_rtcp(&mut buf, sealed.len()),
        false => context().unprotect_rtp(&mut buf, sealed.len()),
    };
    assert_eq!(buf[..opened.unwrap()], clear, "{suite:?}");
}

/// libsrtp's own: `srtp_validate`, `srtcp` after it, and `srtp_validate_aes_256`.
#[test]
fn whole_packets_of_libsrtp() {
    let (key, salt) = ("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
    let clear = "800f1234decafbadcafebabe abababababababababababababababab";
    whole_packet(
        Suite::AesCm128HmacSha1_80,
        key,
        salt,
        clear,
        "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
    );
    whole_packet(
        Suite::AesCm128HmacSha1_80,
        key,
        salt,
        "81c8000bcafebabe abababababababababababababababab",
        "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
    );
    whole_packet(
        Suite::AesCm256HmacSha1_80,
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
        "3b04803de51ee7c96423ab5b78d2",
        clear,
        "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b",
    );
}

const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
                   69736120 696e2070 61727465 73207472 6573";
const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                    deadbeef deadbeef deadbeef deadbeef deadbeef";
const RTP_SSRC: u32 = 0x5501_a0b2;
const RTCP_SSRC: u32 = 0x4d61_7273;

/// RFC 7714 §16 and §17 give the session keys, not the master keys.
fn gcm(key_len: u8) -> Gcm {
    let key: Vec<u8> = (0..key_len).collect();
    Gcm::new(&key, b"Quid pro quo\0\0").unwrap()
}

fn gcm_rtp(key_len: u8, sealed: &str) {
    let (keys, clear, sealed) = (Transform::Gcm(Box::new(gcm(key_len))), hex(RTP), hex(sealed));
    let mut buf = clear.clone();
    buf.resize(clear.len() + 16, 0);
    keys.seal_rtp(&mut buf, 12, RTP_SSRC, 0xf17b).unwrap();
    assert_eq!(buf, sealed);
    keys.open_rtp(&mut buf, 12, RTP_SSRC, 0xf17b).unwrap();
    assert_eq!(buf[..clear.len()], clear);
}

#[test]
fn rfc_7714_16_1_1_and_2_aead_aes_128_gcm_encryption_and_decryption() {
    gcm_rtp(
        16,
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
         42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
}

#[test]
fn rfc_7714_16_2_1_and_2_aead_aes_256_gcm_encryption_and_decryption() {
    gcm_rtp(
        32,
        "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3
         b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
    );
}

/// The whole packet is associated data and nothing is encrypted: `UNENCRYPTED_SRTP`, which is never
/// agreed on here, but nonce and tag must be right.
#[test]
fn rfc_7714_16_1_3_and_16_2_3_authentication_tagging() {
    for (key_len, tag) in
        [(16, "22493f82 d2bce397 e9d79e3b 19aa4216"), (32, "a866d591 0f887463 067ceefe c45215d4")]
    {
        let (gcm, mut tag) = (gcm(key_len), hex(tag));
        let nonce = gcm.rtp_nonce(RTP_SSRC, 0xf17b);
        assert_eq!(gcm.key.seal(&nonce, &hex(RTP), &mut []).unwrap()[..], tag);
        assert_eq!(gcm.key.open(&nonce, &hex(RTP), &mut [], &tag), Ok(()));
        tag[0] ^= 1;
        assert!(gcm.key.open(&nonce, &hex(RTP), &mut [], &tag).is_err());
    }
}

fn gcm_rtcp(key_len: u8, sealed: &str) {
    let (keys, clear, sealed) = (gcm(key_len), hex(RTCP), hex(sealed));
    let mut derived = Derived { key: [0; 32], auth: [0; 20], salt: *b"Quid pro quo\0\0" };
    derived.key.iter_mut().zip(0..key_len).for_each(|(k, n)| *k = n);
    let suite = if key_len == 16 { Suite::AeadAes128Gcm } else { Suite::AeadAes256Gcm };
    let rtcp = RtcpTransform { suite, keys: &derived };
    let mut buf = clear.clone();
    buf.resize(clear.len() + 20, 0);
    rtcp.seal(&mut buf, clear.len(), RTCP_SSRC, 0x5d4).unwrap();
    assert_eq!(buf, sealed);
    keys.open_rtcp(&mut buf, RTCP_SSRC, 0x8000_05d4).unwrap();
    assert_eq!(buf[..clear.len()], clear);
}

#[test]
fn rfc_7714_17_1_srtcp_aead_aes_128_gcm() {
    gcm_rtcp(
        16,
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1
         730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
}

#[test]
fn rfc_7714_17_2_srtcp_aead_aes_256_gcm() {
    gcm_rtcp(
        32,
        "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1
         110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
    );
}

/// The E flag is clear, the compound travels in the clear under a tag.
#[test]
fn rfc_7714_17_3_and_17_4_srtcp_tagging_only() {
    for (key_len, trailer) in [
        (16, "841dd968 3dd78ec9 2ae58790 125f62b3 000005d4"),
        (32, "91db4afb feee5a97 8fab4393 ed2615fe 000005d4"),
    ] {
        let (gcm, clear) = (gcm(key_len), hex(RTCP));
        let mut buf = [clear.clone(), hex(trailer)].concat();
        gcm.open_rtcp(&mut buf, RTCP_SSRC, 0x5d4).unwrap();
        assert_eq!(buf[..clear.len()], clear);
        buf[20] ^= 1;
        assert!(gcm.open_rtcp(&mut buf, RTCP_SSRC, 0x5d4).is_err());
    }
}
