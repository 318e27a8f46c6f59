//! Vectors of RFC 5769 and malformed messages.

use proptest::prelude::*;

use super::*;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|c| value(c[0]) << 4 | value(c[1])).collect()
}

#[test]
fn rfc_5769_2_1_request() {
    let bytes = hex("00010058 2112a442 b7e7a701bc34d686fa87dfae
        80220010 5354554e207465737420636c69656e74
        00240004 6e0001ff  80290008 932ff9b151263b36
        00060009 6576746a3a68367659202020
        00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2  80280004 e57a3bcf");
    let m = Message::parse(&bytes).unwrap();
    assert_eq!((m.class(), m.method()), (Class::Request, BINDING));
    assert_eq!(m.username(), Some("evtj:h6vY"));
    assert_eq!(m.priority(), Some(0x6e00_01ff));
    assert_eq!(m.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert!(m.has_fingerprint() && m.verify_integrity(PASSWORD));
    assert!(!m.verify_integrity(b"wrong"));
    assert_eq!(m.unknown_required(), []);
}

#[test]
fn rfc_5769_2_2_ipv4_response() {
    let bytes = hex("0101003c 2112a442 b7e7a701bc34d686fa87dfae
        8022000b 7465737420766563746f7220  00200008 0001a147e112a643
        00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7  80280004 c07d4c96");
    let m = Message::parse(&bytes).unwrap();
    assert_eq!(m.class(), Class::Success);
    assert_eq!(m.xor_mapped_address(), Some("192.0.2.1:32853".parse().unwrap()));
    assert!(m.has_fingerprint() && m.verify_integrity(PASSWORD));
}

#[test]
fn rfc_5769_2_3_ipv6_response() {
    let bytes = hex("01010048 2112a442 b7e7a701bc34d686fa87dfae
        8022000b 7465737420766563746f7220
        00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
        00080014 a382954e4be67bf11784c97c8292c275bfe3ed41  80280004 c8fb0b4c");
    let m = Message::parse(&bytes).unwrap();
    let expected = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(m.xor_mapped_address(), Some(expected));
    assert!(m.has_fingerprint() && m.verify_integrity(PASSWORD));
}

#[test]
fn what_is_built_reads_back() {
    for addr in ["10.1.2.3:5", "[2001:db8::1]:65535"] {
        let addr = addr.parse().unwrap();
        let bytes = Builder::new(Class::Error, [9; 12])
            .xor_mapped_address(addr)
            .error(487, "Role Conflict")
            .unknown_attributes(&[0x7001])
            .attribute(0x7002, b"abc")
            .finish(b"key");
        let m = Message::parse(&bytes).unwrap();
        assert_eq!(m.xor_mapped_address(), Some(addr));
        assert_eq!(m.error_code(), Some(487));
        assert_eq!(m.attribute(0x7002), Some(&b"abc"[..]));
        assert_eq!(m.unknown_required(), [0x7002]);
        assert!(m.verify_integrity(b"key"));
        assert_eq!(m.transaction_id(), [9; 12]);
    }
}

#[test]
fn attributes_behind_the_integrity_are_not_believed() {
    let mut bytes = Builder::request([1; 12]).username("a:b").finish(b"k");
    bytes.truncate(bytes.len() - 8);
    bytes.extend([0, 0x25, 0, 0]);
    let len = (bytes.len() - HEADER_LEN) as u16;
    bytes[2..4].copy_from_slice(&len.to_be_bytes());
    let m = Message::parse(&bytes).unwrap();
    assert!(m.verify_integrity(b"k") && !m.use_candidate());
}

#[test]
fn malformed_messages_are_refused() {
    let good = Builder::request([1; 12]).username("a:b").finish(b"k");
    assert_eq!(Message::parse(&good[..19]).unwrap_err(), Error::Length);
    assert_eq!(Message::parse(&good[..good.len() - 4]).unwrap_err(), Error::Length);
    let mut bad = good.clone();
    bad[4] = 0;
    assert_eq!(Message::parse(&bad).unwrap_err(), Error::Cookie);
    bad = good.clone();
    bad[25] ^= 1;
    assert_eq!(Message::parse(&bad).unwrap_err(), Error::Fingerprint);
    bad = good.clone();
    bad[23] = 255;
    assert!(matches!(Message::parse(&bad), Err(Error::Attribute(20))));
}

proptest! {
    #[test]
    fn any_bytes_parse_or_fail_without_panic(
        kind in any::<u16>(), body in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut bytes = (kind & 0x3fff).to_be_bytes().to_vec();
        bytes.extend((body.len() as u16 & !3).to_be_bytes());
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend(&body[..body.len() & !3]);
        if let Ok(m) = Message::parse(&bytes) {
            let _ = (m.username(), m.priority(), m.error_code(), m.xor_mapped_address());
            let _ = (m.unknown_required(), m.verify_integrity(b"k"), m.ice_controlled(), m.class());
        }
        let _ = Message::parse(&body);
    }

    #[test]
    fn attributes_of_any_size_are_walked(
        values in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..30)), 0..8),
    ) {
        let keep = |k: u16| if k == 0x8028 || k == 8 { 0x7777 } else { k };
        let build = values.iter().fold(Builder::request([0; 12]), |b, (k, v)| b.attribute(keep(*k), v));
        let bytes = build.finish(b"k");
        let m = Message::parse(&bytes).unwrap();
        prop_assert!(m.verify_integrity(b"k"));
        prop_assert_eq!(m.attributes().count(), values.len() + 1);
    }
}
