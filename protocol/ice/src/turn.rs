//! TURN on the wire: methods and attributes of RFC 8656, and ChannelData.
//!
//! The messages are STUN messages ([`crate::stun`]); what is added here are numbers, the values of
//! their attributes, and the four bytes in front of a datagram that takes a channel (§12.4). Server
//! and client read and write the same. The [`Client`] is here; the server is in `role/relay`.

mod client;

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

pub use client::{CHANNELS_MAX, Client, ClientEvent, ClientFailure, Login, Received};

use crate::stun::{HEADER_LEN, MAGIC_COOKIE, is_stun};

/// Methods (RFC 8656 §17).
pub mod method {
    #![allow(missing_docs, reason = "the registered names say it")]
    pub const ALLOCATE: u16 = 0x003;
    pub const REFRESH: u16 = 0x004;
    pub const SEND: u16 = 0x006;
    pub const DATA: u16 = 0x007;
    pub const CREATE_PERMISSION: u16 = 0x008;
    pub const CHANNEL_BIND: u16 = 0x009;
}

/// Attributes (RFC 8656 §18, RFC 8489 §18.3).
pub mod attribute {
    #![allow(missing_docs, reason = "the registered names say it")]
    pub const CHANNEL_NUMBER: u16 = 0x000c;
    pub const LIFETIME: u16 = 0x000d;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const DATA: u16 = 0x0013;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub const EVEN_PORT: u16 = 0x0018;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const DONT_FRAGMENT: u16 = 0x001a;
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    pub const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    pub const ADDRESS_ERROR_CODE: u16 = 0x8001;
    pub const ALTERNATE_SERVER: u16 = 0x8023;
}

/// The protocol of REQUESTED-TRANSPORT that RFC 8656 knows: UDP.
pub const TRANSPORT_UDP: u8 = 17;
/// The families of REQUESTED-ADDRESS-FAMILY (§18.6).
pub const FAMILY_V4: u8 = 1;
/// See [`FAMILY_V4`].
pub const FAMILY_V6: u8 = 2;

/// The numbers that a channel may have: those of §12, and those above that clients of RFC 5766
/// (§11) choose still, such as coturn's.
pub const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;
/// Channel number and length.
pub const CHANNEL_HEADER_LEN: usize = 4;

/// A ChannelData message (§12.4): its channel, and where in it the data is. `None` for anything
/// else, and for one that says to be longer than it is. Padding behind the data is let pass (§12.5).
pub fn channel_data(message: &[u8]) -> Option<(u16, Range<usize>)> {
    let (head, data) = message.split_first_chunk::<CHANNEL_HEADER_LEN>()?;
    let number = u16::from_be_bytes([head[0], head[1]]);
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let fits = CHANNEL_NUMBERS.contains(&number) && len <= data.len();
    fits.then_some((number, CHANNEL_HEADER_LEN..CHANNEL_HEADER_LEN + len))
}

/// The four bytes in front of `len` bytes of data.
pub fn channel_header(number: u16, len: u16) -> [u8; CHANNEL_HEADER_LEN] {
    let ([a, b], [c, d]) = (number.to_be_bytes(), len.to_be_bytes());
    [a, b, c, d]
}

/// Writes a Data indication (§11.3) around `len` bytes of data that lie at `at` in `slot`: in front
/// of them, where there must be room for 48 bytes, and up to three bytes of padding behind. Where
/// the whole of it is.
pub fn data_indication(
    slot: &mut [u8],
    at: usize,
    len: usize,
    (peer, transaction_id): (SocketAddr, [u8; 12]),
) -> Range<usize> {
    let padded = len.next_multiple_of(4);
    slot[at + len..at + padded].fill(0);
    let mut head = [0; 48];
    head[..2].copy_from_slice(&[0x00, 0x17]);
    head[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    head[8..20].copy_from_slice(&transaction_id);
    head[20..22].copy_from_slice(&attribute::XOR_PEER_ADDRESS.to_be_bytes());
    let port = peer.port() ^ (MAGIC_COOKIE >> 16) as u16;
    head[26..28].copy_from_slice(&port.to_be_bytes());
    let ip_len = match peer.ip() {
        IpAddr::V4(ip) => {
            head[28..32].copy_from_slice(&ip.octets());
            4
        }
        IpAddr::V6(ip) => {
            head[28..44].copy_from_slice(&ip.octets());
            16
        }
    };
    // The family is 1 or 2, the value four bytes longer than the address.
    head[23] = 4 + ip_len as u8;
    head[25] = if ip_len == 4 { FAMILY_V4 } else { FAMILY_V6 };
    for n in 0..ip_len {
        head[28 + n] ^= head[4 + n];
    }
    let head_len = 28 + ip_len + 4;
    head[28 + ip_len..28 + ip_len + 2].copy_from_slice(&attribute::DATA.to_be_bytes());
    // A datagram and its headers are shorter than 64 KiB.
    head[28 + ip_len + 2..head_len].copy_from_slice(&(len as u16).to_be_bytes());
    let message_len = (head_len - HEADER_LEN + padded) as u16;
    head[2..4].copy_from_slice(&message_len.to_be_bytes());
    let start = at - head_len;
    slot[start..at].copy_from_slice(&head[..head_len]);
    start..at + padded
}

/// How long the message is that a stream begins with, padding included (§12.5 pads ChannelData on
/// streams): `Ok(None)` when too little of it is there to tell.
///
/// # Errors
/// It is neither STUN nor ChannelData: the stream can never be read again.
pub fn stream_frame(bytes: &[u8]) -> Result<Option<usize>, NotTurn> {
    let Some(head) = bytes.first_chunk::<CHANNEL_HEADER_LEN>() else {
        return match bytes.first() {
            Some(first) if *first >= 0x80 || (4..0x40).contains(first) => Err(NotTurn),
            _ => Ok(None),
        };
    };
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if CHANNEL_NUMBERS.contains(&u16::from_be_bytes([head[0], head[1]])) {
        return Ok(Some(CHANNEL_HEADER_LEN + len.next_multiple_of(4)));
    }
    if head[0] >= 4 || len % 4 != 0 {
        return Err(NotTurn);
    }
    match bytes.get(..HEADER_LEN) {
        Some(header) if !is_stun(header) => Err(NotTurn),
        Some(_) => Ok(Some(HEADER_LEN + len)),
        None => Ok(None),
    }
}

/// A stream holds something that is neither STUN nor ChannelData.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither STUN nor ChannelData")]
pub struct NotTurn;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::{Builder, Class, Message};
    use proptest::prelude::*;

    #[test]
    fn rfc_8656_12_4_channel_data_is_read_and_written() {
        let mut message = channel_header(0x4001, 5).to_vec();
        message.extend(b"hello\0\0\0");
        assert_eq!(channel_data(&message), Some((0x4001, 4..9)), "padded to eight");
        assert_eq!(channel_data(&message[..9]), Some((0x4001, 4..9)), "not padded");
        assert_eq!(channel_data(&message[..8]), None, "cut");
        for number in [0x0001_u16, 0x3fff, 0x8000, 0xffff] {
            message[..2].copy_from_slice(&number.to_be_bytes());
            assert_eq!(channel_data(&message), None, "{number:x} is no channel");
        }
    }

    #[test]
    fn rfc_8656_12_5_streams_are_cut_into_messages() {
        let stun = Builder::request([7; 12]).username("someone").finish_unsigned();
        assert_eq!(stream_frame(&stun), Ok(Some(stun.len())));
        assert_eq!(stream_frame(&stun[..19]), Ok(None));
        assert_eq!(stream_frame(&[0x40, 1, 0, 5, 1]), Ok(Some(12)), "padded");
        assert_eq!(stream_frame(&[0x40, 1, 0]), Ok(None));
        // A TLS handshake among it. HTTP's "GE" is a channel, whose length is beyond any limit.
        for garbage in [&[0x16, 3, 1, 0][..], &[0, 1, 0, 3], &[0x80], &[0; 20]] {
            assert_eq!(stream_frame(garbage), Err(NotTurn), "{garbage:?}");
        }
    }

    #[test]
    fn rfc_5769_2_4_long_term_credentials() {
        // The request of §2.4.
        let bytes = [
            0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42, 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad,
            0x72, 0xc0, 0x29, 0xda, 0x41, 0x2e, 0x00, 0x06, 0x00, 0x12, 0xe3, 0x83, 0x9e, 0xe3,
            0x83, 0x88, 0xe3, 0x83, 0xaa, 0xe3, 0x83, 0x83, 0xe3, 0x82, 0xaf, 0xe3, 0x82, 0xb9,
            0x00, 0x00, 0x00, 0x15, 0x00, 0x1c, 0x66, 0x2f, 0x2f, 0x34, 0x39, 0x39, 0x6b, 0x39,
            0x35, 0x34, 0x64, 0x36, 0x4f, 0x4c, 0x33, 0x34, 0x6f, 0x4c, 0x39, 0x46, 0x53, 0x54,
            0x76, 0x79, 0x36, 0x34, 0x73, 0x41, 0x00, 0x14, 0x00, 0x0b, 0x65, 0x78, 0x61, 0x6d,
            0x70, 0x6c, 0x65, 0x2e, 0x6f, 0x72, 0x67, 0x00, 0x00, 0x08, 0x00, 0x14, 0xf6, 0x70,
            0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02, 0xb8, 0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2,
            0x8c, 0xa8, 0x96, 0x66,
        ];
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.username(), Some("マトリックス"));
        assert_eq!(message.attribute(attribute::REALM), Some(&b"example.org"[..]));
        let nonce = message.attribute(attribute::NONCE);
        assert_eq!(nonce, Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
        // MD5 of "マトリックス:example.org:TheMatrIX", the password after SASLprep.
        let key = [
            0xe8, 0xca, 0x7a, 0xd5, 0x9d, 0x5e, 0xb0, 0x51, 0x8e, 0x31, 0x29, 0x11, 0xd2, 0xda,
            0xb2, 0xa9,
        ];
        assert!(message.verify_integrity(&key) && !message.verify_integrity(&[0; 16]));
    }

    #[test]
    fn any_method_and_any_address_attribute_read_back() {
        for peer in ["192.0.2.1:4000", "[2001:db8::7]:65535"] {
            let peer = peer.parse().unwrap();
            let bytes =
                Builder::answer(Vec::new(), (method::CHANNEL_BIND, Class::Success), [3; 12])
                    .xor_address(attribute::XOR_PEER_ADDRESS, peer)
                    .finish_bare();
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((message.method(), message.class()), (method::CHANNEL_BIND, Class::Success));
            assert_eq!(message.xor_address(attribute::XOR_PEER_ADDRESS), Some(peer));
        }
    }

    #[test]
    fn rfc_8656_11_3_a_data_indication_is_written_around_the_data() {
        for (peer, len) in [("192.0.2.1:4000", 5), ("[2001:db8::7]:9", 8), ("192.0.2.1:1", 0)] {
            let peer = peer.parse().unwrap();
            let mut slot = [7; 80];
            let range = data_indication(&mut slot, 60, len, (peer, [9; 12]));
            let message = Message::parse(&slot[range.clone()]).unwrap();
            assert_eq!((message.class(), message.method()), (Class::Indication, method::DATA));
            assert_eq!(message.xor_address(attribute::XOR_PEER_ADDRESS), Some(peer));
            assert_eq!(message.attribute(attribute::DATA), Some(&vec![7; len][..]));
            let data = message.value_range(attribute::DATA).unwrap();
            assert_eq!(range.start + data.start, 60);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = stream_frame(&bytes);
            if let Some((_, data)) = channel_data(&bytes) {
                prop_assert!(data.end <= bytes.len());
            }
        }
    }
}
