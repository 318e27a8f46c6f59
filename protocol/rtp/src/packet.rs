//! The RTP packet (RFC 3550 §5.1) as a view on bytes, its writer, and the RTP/RTCP demultiplexer.

use std::ops::Range;

use crate::Error;

/// Length of a header without contributing sources or extension, in bytes.
pub const HEADER_LEN: usize = 12;

/// A checked view of one RTP packet. Parsing copies nothing.
#[derive(Debug, Clone)]
pub struct RtpPacket<'a> {
    bytes: &'a [u8],
    payload: Range<usize>,
}

impl<'a> RtpPacket<'a> {
    /// Checks version, contributing sources, extension and padding (RFC 3550 §5.1, §5.3.1).
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Version`] or [`Error::Padding`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let start = header_len(bytes)?;
        let mut end = bytes.len();
        if bytes[0] & 0x20 != 0 {
            // `header_len` proved at least twelve bytes.
            let padding = usize::from(bytes[end - 1]);
            if padding == 0 || start + padding > end {
                return Err(Error::Padding);
            }
            end -= padding;
        }
        Ok(Self { bytes, payload: start..end })
    }

    /// The fixed header's fields.
    pub fn header(&self) -> Header {
        Header {
            payload_type: self.payload_type(),
            sequence: self.sequence(),
            timestamp: self.timestamp(),
            ssrc: self.ssrc(),
            marker: self.marker(),
        }
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// The payload type, 0..=127.
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// The sequence number.
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The timestamp, in units of the payload's clock.
    pub fn timestamp(&self) -> u32 {
        be32(self.bytes, 4)
    }

    /// The synchronisation source.
    pub fn ssrc(&self) -> u32 {
        be32(self.bytes, 8)
    }

    /// Contributing sources, at most fifteen.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + 'a {
        let bytes = self.bytes;
        (0..usize::from(bytes[0] & 0x0f)).map(move |i| be32(bytes, HEADER_LEN + 4 * i))
    }

    /// The header extension: its profile-defined word and its data (RFC 3550 §5.3.1).
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        if self.bytes[0] & 0x10 == 0 {
            return None;
        }
        let at = HEADER_LEN + 4 * usize::from(self.bytes[0] & 0x0f);
        let profile = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        Some((profile, &self.bytes[at + 4..self.payload.start]))
    }

    /// The payload without padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload.clone()]
    }

    /// The whole packet.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// The fields of the fixed header that differ from packet to packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// 0..=127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// In units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Start of a talk spurt (RFC 3551 §4.1).
    pub marker: bool,
}

/// Writes a fixed header at the start of `out`; gives its length.
///
/// # Errors
/// [`Error::BufferTooSmall`].
pub fn write_header(out: &mut [u8], header: &Header) -> Result<usize, Error> {
    if out.len() < HEADER_LEN {
        return Err(Error::BufferTooSmall { needed: HEADER_LEN, have: out.len() });
    }
    out[0] = 0x80;
    out[1] = (header.payload_type & 0x7f) | if header.marker { 0x80 } else { 0 };
    out[2..4].copy_from_slice(&header.sequence.to_be_bytes());
    out[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    out[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
    Ok(HEADER_LEN)
}

/// Writes header and payload; gives the packet's length.
///
/// # Errors
/// [`Error::BufferTooSmall`].
pub fn write_packet(out: &mut [u8], header: &Header, payload: &[u8]) -> Result<usize, Error> {
    let needed = HEADER_LEN + payload.len();
    if out.len() < needed {
        return Err(Error::BufferTooSmall { needed, have: out.len() });
    }
    write_header(out, header)?;
    out[HEADER_LEN..needed].copy_from_slice(payload);
    Ok(needed)
}

/// What a datagram on a media port is (RFC 7983 §7, RFC 5761 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketKind {
    /// First byte 0..=3.
    Stun,
    /// First byte 20..=63.
    Dtls,
    /// First byte 128..=191, second byte outside 192..=223.
    Rtp,
    /// First byte 128..=191, second byte 192..=223.
    Rtcp,
    /// None of them: dropped.
    Other,
}

/// Sorts a datagram by its first two bytes.
pub fn kind(datagram: &[u8]) -> PacketKind {
    match datagram {
        [128..=191, 192..=223, ..] => PacketKind::Rtcp,
        [128..=191, _, ..] => PacketKind::Rtp,
        [0..=3, ..] => PacketKind::Stun,
        [20..=63, ..] => PacketKind::Dtls,
        _ => PacketKind::Other,
    }
}

/// Whether it is a packet of ZRTP (RFC 6189 §5): its first four bits, and the magic cookie where
/// RTP has a timestamp.
pub fn is_zrtp(datagram: &[u8]) -> bool {
    matches!(datagram, [0x10..=0x13, _, _, _, b'Z', b'R', b'T', b'P', ..])
}

/// Length of the header with contributing sources and extension.
pub(crate) fn header_len(bytes: &[u8]) -> Result<usize, Error> {
    let truncated = |needed| Err(Error::Truncated { needed, actual: bytes.len() });
    if bytes.len() < HEADER_LEN {
        return truncated(HEADER_LEN);
    }
    if bytes[0] >> 6 != 2 {
        return Err(Error::Version(bytes[0] >> 6));
    }
    let mut len = HEADER_LEN + 4 * usize::from(bytes[0] & 0x0f);
    if bytes[0] & 0x10 != 0 {
        if bytes.len() < len + 4 {
            return truncated(len + 4);
        }
        len += 4 + 4 * usize::from(u16::from_be_bytes([bytes[len + 2], bytes[len + 3]]));
    }
    if bytes.len() < len { truncated(len) } else { Ok(len) }
}

/// A big-endian word. The caller has checked the length.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_written_packet_reads_back() {
        let header =
            Header { payload_type: 96, sequence: 65535, timestamp: 7, ssrc: 9, marker: true };
        let mut buf = [0; 64];
        let len = write_packet(&mut buf, &header, b"abc").unwrap();
        let packet = RtpPacket::parse(&buf[..len]).unwrap();
        assert_eq!(packet.header(), header);
        assert_eq!(packet.payload(), b"abc");
        assert_eq!(packet.extension(), None);
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        let mut bytes = vec![0xb1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
        bytes.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        bytes.extend([b'x', b'y', 0, 2]);
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [4]);
        assert_eq!(packet.extension(), Some((0xbede, &[1, 2, 3, 4][..])));
        assert_eq!(packet.payload(), b"xy");
    }

    #[test]
    fn lying_lengths_are_refused() {
        assert!(matches!(RtpPacket::parse(&[0x80; 11]), Err(Error::Truncated { .. })));
        assert_eq!(RtpPacket::parse(&[0x40; 12]).unwrap_err(), Error::Version(1));
        let mut bytes = [0; 13];
        bytes[0] = 0xa0;
        bytes[12] = 2;
        assert_eq!(RtpPacket::parse(&bytes).unwrap_err(), Error::Padding);
        bytes[0] = 0x90;
        assert!(matches!(RtpPacket::parse(&bytes), Err(Error::Truncated { .. })));
    }

    #[test]
    fn kinds_follow_rfc_7983_and_rfc_5761() {
        assert_eq!(kind(&[0x80, 200]), PacketKind::Rtcp);
        assert_eq!(kind(&[0x80, 0x80 | 72]), PacketKind::Rtcp);
        assert_eq!(kind(&[0x80, 0x80 | 96]), PacketKind::Rtp);
        assert_eq!(kind(&[0, 1]), PacketKind::Stun);
        assert_eq!(kind(&[22, 254]), PacketKind::Dtls);
        assert_eq!(kind(&[]), PacketKind::Other);
        // RFC 7983 §7, Figure 3: the rest is ZRTP, TURN channels, or nobody's.
        for first in 0..=255_u8 {
            let by_first = match first {
                0..=3 => PacketKind::Stun,
                20..=63 => PacketKind::Dtls,
                128..=191 => PacketKind::Rtp,
                _ => PacketKind::Other,
            };
            assert_eq!(kind(&[first, 0, 0, 0]), by_first, "{first}");
        }
        // RFC 5761 §4: packet types 192 to 223 are RTCP, payload types 64 to 95 none.
        for second in 0..=255_u8 {
            let is_rtcp = (192..=223).contains(&second);
            let wanted = if is_rtcp { PacketKind::Rtcp } else { PacketKind::Rtp };
            assert_eq!(kind(&[0x80, second]), wanted, "{second}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() { *first = 0x80 | (*first & 0x3f); }
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                let _ = (packet.header(), packet.extension(), packet.csrcs().count());
                prop_assert!(packet.payload().len() <= bytes.len());
            }
            let _ = kind(&bytes);
        }
    }
}
