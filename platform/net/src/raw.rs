//! Datagrams from any port of ours by one socket: raw IP, whose headers are written here.
//!
//! One of the files of this crate with `unsafe`. With [`crate::steer::PortSteer`] it is what a relay
//! needs to have ports without sockets. It needs the right `CAP_NET_RAW`.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::{BATCH_MAX, to_storage};

/// IPv6 and UDP.
const HEADERS_MAX: usize = 40 + UDP_BYTES;
const UDP_BYTES: usize = 8;
/// RFC 791 §3.1: the bit that says "do not fragment".
const DONT_FRAGMENT: u16 = 0x4000;
const HOP_LIMIT: u8 = 64;

/// A raw socket for one family.
#[derive(Debug)]
pub struct RawUdp {
    socket: Socket,
}

/// One datagram to send.
#[derive(Debug, Clone, Copy)]
pub struct RawPacket<'a> {
    /// An address of this machine (never the unspecified one) and a port that is ours.
    pub from: SocketAddr,
    /// Where it goes; of the same family.
    pub to: SocketAddr,
    /// What is in it.
    pub payload: &'a [u8],
    /// Its type of service octet, or traffic class.
    pub tos: u8,
    /// Whether routers must rather drop it than fragment it (IPv4).
    pub dont_fragment: bool,
}

impl RawUdp {
    /// A socket for IPv6 or IPv4.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`.
    pub fn new(v6: bool) -> io::Result<Self> {
        let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
        // This protocol has the headers included, and receives nothing (raw(7)).
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Makes room for this many bytes that wait for the interface, more than the system's limit if
    /// we may.
    pub fn set_send_buffer(&self, bytes: usize) {
        crate::batch::force_buffer(&self.socket, libc::SO_SNDBUFFORCE, bytes);
    }

    /// Gives what is sent the place in queues, and on Wi-Fi the access category, of this type of service
    /// octet: the system takes the octet itself from each packet, but not the place.
    pub fn set_priority(&self, tos: u8) {
        crate::tos::prioritize(&self.socket, tos);
    }

    /// Sends up to [`BATCH_MAX`] datagrams in one call, without blocking; how many the kernel took,
    /// from the front.
    ///
    /// # Errors
    /// What the socket reports for the *first* datagram: drop it or wait, then go on. One that is
    /// too long for the path is `EMSGSIZE`: a raw socket does not fragment.
    pub fn send(&mut self, packets: &[RawPacket<'_>]) -> io::Result<usize> {
        let count = packets.len().min(BATCH_MAX);
        let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH_MAX];
        let mut texts = [const { MaybeUninit::<[u8; HEADERS_MAX]>::uninit() }; BATCH_MAX];
        let mut iovecs = [const { MaybeUninit::<[libc::iovec; 2]>::uninit() }; BATCH_MAX];
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH_MAX];
        for (n, packet) in packets[..count].iter().enumerate() {
            let mut text = [0; HEADERS_MAX];
            let len = write_headers(packet, &mut text);
            let text = texts[n].write(text);
            let payload = packet.payload.as_ptr().cast_mut().cast();
            let iovec = iovecs[n].write([
                libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: len },
                libc::iovec { iov_base: payload, iov_len: packet.payload.len() },
            ]);
            // The port would be taken for a protocol (ipv6(7)).
            let name_len = to_storage(SocketAddr::new(packet.to.ip(), 0), &mut names[n]);
            // SAFETY: msghdr is plain C data for which all-zero is valid.
            let mut header: libc::msghdr = unsafe { mem::zeroed() };
            header.msg_name = names[n].as_mut_ptr().cast();
            header.msg_namelen = name_len;
            header.msg_iov = iovec.as_mut_ptr();
            header.msg_iovlen = 2;
            headers[n].write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        }
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: each of the first `count` headers points at a live name and at two live iovecs,
        // all outliving the call; sendmmsg only reads through them.
        let n = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(n).map_err(|_| io::Error::last_os_error())
    }
}

/// Writes the IP and UDP headers of a packet; their length. The kernel fills IPv4's checksum,
/// length and identification (raw(7)).
fn write_headers(packet: &RawPacket<'_>, text: &mut [u8; HEADERS_MAX]) -> usize {
    // A longer one is refused by the kernel, whatever its length says.
    let udp_len = (UDP_BYTES + packet.payload.len()) as u16;
    let ip_len = match (packet.from.ip(), packet.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            write_v4(text, from, to, packet);
            20
        }
        (from, to) => {
            write_v6(text, v6(from), v6(to), (udp_len, packet.tos));
            40
        }
    };
    let udp = &mut text[ip_len..ip_len + UDP_BYTES];
    udp[..2].copy_from_slice(&packet.from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&packet.to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    let addresses = match ip_len {
        20 => 12..20,
        _ => 8..40,
    };
    let mut sum = u64::from(udp_len) + libc::IPPROTO_UDP as u64;
    sum = add(sum, &text[addresses]);
    sum = add(sum, &text[ip_len..ip_len + 6]);
    let checksum = fold(add(sum, packet.payload));
    // A sum of zero is sent as its other form: zero says "none" (RFC 768).
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    text[ip_len + 6..ip_len + 8].copy_from_slice(&checksum.to_be_bytes());
    ip_len + UDP_BYTES
}

fn write_v4(text: &mut [u8], from: Ipv4Addr, to: Ipv4Addr, packet: &RawPacket<'_>) {
    text[0] = 0x45;
    text[1] = packet.tos;
    if packet.dont_fragment {
        text[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    }
    text[8] = HOP_LIMIT;
    text[9] = libc::IPPROTO_UDP as u8;
    text[12..16].copy_from_slice(&from.octets());
    text[16..20].copy_from_slice(&to.octets());
}

fn write_v6(text: &mut [u8], from: Ipv6Addr, to: Ipv6Addr, (udp_len, tos): (u16, u8)) {
    text[..2].copy_from_slice(&(0x6000 | u16::from(tos) << 4).to_be_bytes());
    text[4..6].copy_from_slice(&udp_len.to_be_bytes());
    text[6] = libc::IPPROTO_UDP as u8;
    text[7] = HOP_LIMIT;
    text[8..24].copy_from_slice(&from.octets());
    text[24..40].copy_from_slice(&to.octets());
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Adds the 16-bit words of `bytes` (RFC 1071), four bytes at a time.
fn add(mut sum: u64, bytes: &[u8]) -> u64 {
    let (fours, rest) = bytes.as_chunks::<4>();
    for four in fours {
        sum += u64::from(u32::from_be_bytes(*four));
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_be_bytes(last))
}

fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // The example of RFC 1071 §3: 0001 f203 f4f5 f6f7 add up to ddf2.
        let sum = add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(fold(sum), !0xddf2);
        assert_eq!(
            fold(add(0, &[0x12, 0x34, 0x56])),
            !(0x1234 + 0x5600),
            "an odd byte counts high"
        );
    }
}
