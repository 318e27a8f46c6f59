//! Packets of IPv4 (RFC 791) and IPv6 (RFC 8200) as a TUN device gives and takes them, with UDP (RFC
//! 768) or TCP (RFC 9293) right inside. Nothing else crosses the laboratory, and no fragments: its
//! devices take 9,000 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const UDP: u8 = 17;
const TCP: u8 = 6;
const IP_HEADER: usize = 20;
const IP6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const TTL: u8 = 64;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Address and port it comes from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// UDP; otherwise it is TCP.
    pub datagram: bool,
    /// The payload of a datagram; of TCP the whole segment, whose ports are those of its sender.
    pub bytes: &'a [u8],
}

/// Reads a packet. None of another kind, of a fragment, and of what is broken.
pub fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let (source, target, protocol, body) = match bytes.first()? >> 4 {
        4 => parse4(bytes)?,
        6 => parse6(bytes)?,
        _ => return None,
    };
    let from = SocketAddr::new(source, u16_at(body, 0)?);
    let to = SocketAddr::new(target, u16_at(body, 2)?);
    match protocol {
        UDP => {
            let length = usize::from(u16_at(body, 4)?);
            let bytes = body.get(UDP_HEADER..length)?;
            Some(Packet { from, to, datagram: true, bytes })
        }
        TCP if body.len() >= TCP_HEADER => Some(Packet { from, to, datagram: false, bytes: body }),
        _ => None,
    }
}

type Parts<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn parse4(bytes: &[u8]) -> Option<Parts<'_>> {
    let header = usize::from(bytes.first()? & 0x0f) * 4;
    let length = usize::from(u16_at(bytes, 2)?);
    let fragment = u16_at(bytes, 6)? & 0x3fff != 0;
    if header < IP_HEADER || length < header || fragment {
        return None;
    }
    let ip = |at: usize| {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(octets)))
    };
    Some((ip(12)?, ip(16)?, *bytes.get(9)?, bytes.get(header..length)?))
}

fn parse6(bytes: &[u8]) -> Option<Parts<'_>> {
    let length = IP6_HEADER + usize::from(u16_at(bytes, 4)?);
    let ip = |at: usize| {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    Some((ip(8)?, ip(24)?, *bytes.get(6)?, bytes.get(IP6_HEADER..length)?))
}

/// Writes a packet with these addresses, whatever those in a segment were. None of two families, and
/// of what is too long.
pub fn write(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let Packet { from, to, datagram, bytes } = *packet;
    let protocol = if datagram { UDP } else { TCP };
    let mut body = match datagram {
        true => {
            let length = u16::try_from(UDP_HEADER + bytes.len()).ok()?;
            let mut body = vec![0; UDP_HEADER];
            body[4..6].copy_from_slice(&length.to_be_bytes());
            body.extend_from_slice(bytes);
            body
        }
        false => bytes.to_vec(),
    };
    body.get_mut(0..2)?.copy_from_slice(&from.port().to_be_bytes());
    body.get_mut(2..4)?.copy_from_slice(&to.port().to_be_bytes());
    let at = if datagram { 6 } else { 16 };
    body.get_mut(at..at + 2)?.fill(0);
    let mut packet = header(from.ip(), to.ip(), protocol, u16::try_from(body.len()).ok()?)?;
    // Both families sum over addresses, protocol and length (RFC 8200 §8.1: the same with zeros).
    let addresses = if from.is_ipv4() { &packet[12..20] } else { &packet[8..40] };
    let length = u16::try_from(body.len()).ok()?.to_be_bytes();
    // RFC 768: zero would say that there is none.
    let sum = match checksum(&[addresses, &[0, protocol], &length, &body]) {
        0 if datagram => 0xffff,
        sum => sum,
    };
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    packet.extend(body);
    Some(packet)
}

fn header(source: IpAddr, target: IpAddr, protocol: u8, length: u16) -> Option<Vec<u8>> {
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let whole = u16::try_from(IP_HEADER).ok()?.checked_add(length)?;
            let mut header = vec![0x45, 0];
            header.extend(whole.to_be_bytes());
            header.extend([0, 0, 0x40, 0, TTL, protocol, 0, 0]);
            header.extend(source.octets());
            header.extend(target.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            Some(header)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([protocol, TTL]);
            header.extend(source.octets());
            header.extend(target.octets());
            Some(header)
        }
        _ => None,
    }
}

/// What it is, for people: by its first byte (RFC 7983) or its first line.
pub fn kind(bytes: &[u8]) -> String {
    match bytes {
        [128..=191, 192..=223, ..] => "RTCP".into(),
        [128..=191, ..] => "RTP".into(),
        [0..=3, ..] if bytes.len() >= 20 => "STUN".into(),
        [20..=63, ..] => "DTLS".into(),
        // In a channel of TURN (RFC 8656 §12.4).
        [0x40, _, _, _, inner @ ..] if !inner.is_empty() => format!("channel {}", kind(inner)),
        [b'A'..=b'Z', ..] => {
            let line = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["SIP/2.0", status, ..] => format!("SIP {status}"),
                [method, .., "SIP/2.0"] => format!("SIP {method}"),
                _ => "other".into(),
            }
        }
        _ => "other".into(),
    }
}

/// RFC 1071, over parts of even length but the last.
fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = parts.iter().flat_map(|part| part.chunks(2)).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a TUN device gave when `hi` was sent from 10.0.0.1:4000 to 10.0.0.2:5000.
    const LINUX: [u8; 30] = [
        0x45, 0x00, 0x00, 0x1e, 0x3c, 0x04, 0x40, 0x00, 0x40, 0x11, 0xea, 0xc8, 10, 0, 0, 1, 10, 0,
        0, 2, 0x0f, 0xa0, 0x13, 0x88, 0x00, 0x0a, 0x60, 0x46, b'h', b'i',
    ];

    #[test]
    fn a_datagram_is_read_and_written_as_linux_does() {
        let packet = parse(&LINUX).unwrap();
        assert_eq!((packet.bytes, packet.datagram), (&b"hi"[..], true));
        assert_eq!(packet.from, "10.0.0.1:4000".parse().unwrap());
        let written = write(&packet).unwrap();
        // Behind the number of the packet and the sum over it.
        assert_eq!((&written[..4], &written[6..10]), (&LINUX[..4], &LINUX[6..10]));
        assert_eq!(written[12..], LINUX[12..]);
        assert_eq!((checksum(&[&written[..20]]), checksum(&[&LINUX[..20]])), (0, 0));
    }

    #[test]
    fn a_segment_gets_the_ports_and_sums_of_its_new_addresses() {
        let segment = [vec![0; 16], vec![0xab, 0xcd, 0, 0], b"data!".to_vec()].concat();
        let (from, to) =
            ("203.0.113.1:20000".parse().unwrap(), "198.51.100.1:5061".parse().unwrap());
        let sent = Packet { from, to, datagram: false, bytes: &segment };
        let bytes = write(&sent).unwrap();
        let read = parse(&bytes).unwrap();
        assert_eq!((read.from, read.to, read.datagram), (from, to, false));
        assert_eq!(&read.bytes[20..], b"data!");
        // A sum over everything, itself included, is zero.
        let pseudo = [&bytes[12..20], &[0, 6, 0, 25]].concat();
        assert_eq!(checksum(&[&pseudo, read.bytes]), 0);
        assert_eq!(checksum(&[&bytes[..20]]), 0);
    }

    #[test]
    fn over_ipv6_the_sum_is_over_its_addresses() {
        let (from, to) =
            ("[2001:db8::1]:4000".parse().unwrap(), "[64:ff9b::1]:5000".parse().unwrap());
        let bytes = write(&Packet { from, to, datagram: true, bytes: b"odd" }).unwrap();
        let read = parse(&bytes).unwrap();
        assert_eq!((read.from, read.to, read.bytes), (from, to, &b"odd"[..]));
        assert_eq!(checksum(&[&bytes[8..40], &[0, 17, 0, 11], &bytes[40..]]), 0);
        let other = "192.0.2.1:1".parse().unwrap();
        assert_eq!(write(&Packet { to: other, ..read }), None, "two families");
    }

    #[test]
    fn fragments_other_protocols_and_broken_packets_are_nothing() {
        for (at, byte) in [(6, 0x20), (9, 1), (0, 0x65), (3, 200), (25, 200)] {
            let mut bytes = LINUX;
            bytes[at] = byte;
            assert_eq!(parse(&bytes), None, "byte {at}");
        }
        assert!((0..LINUX.len()).all(|n| parse(&LINUX[..n]).is_none()));
    }

    #[test]
    fn what_a_packet_is_is_told_by_its_first_bytes() {
        assert_eq!(kind(b"INVITE sip:bob@x SIP/2.0\r\nVia"), "SIP INVITE");
        assert_eq!(kind(b"SIP/2.0 180 Ringing\r\n"), "SIP 180");
        assert_eq!(kind(&[0x80, 0x00, 1]), "RTP");
        assert_eq!(kind(&[0x80, 200, 1]), "RTCP");
        assert_eq!(kind(&[0; 20]), "STUN");
        assert_eq!(kind(&[0x40, 0, 0, 3, 0x80, 0, 1]), "channel RTP");
        assert_eq!(kind(b"\r\n\r\n"), "other");
    }
}
