//! The type of service octet (DSCP and ECN; RFC 2474, RFC 3168): marking what a socket sends, and
//! receiving one datagram together with its octet, for listeners whose peers want to know how their
//! packets arrive.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use socket2::{SockAddr, SockRef};

/// Expedited forwarding, for sound (RFC 4594 §4.1).
pub const EF: u8 = 46 << 2;
/// Signalling (RFC 4594 §4.2).
pub const CS5: u8 = 40 << 2;

/// Room for one control message with an int, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// A datagram in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// Who sent it.
    pub from: SocketAddr,
    /// Its length.
    pub len: usize,
    /// Its type of service octet (IPv4) or traffic class (IPv6).
    pub tos: Option<u8>,
}

/// Marks what a socket of either family sends, and what the connections it accepts send. Where the
/// system does not let it, packets go unmarked: the mark is a wish.
pub fn mark(socket: &impl AsFd, v6: bool, tos: u8) {
    let socket = SockRef::from(socket);
    let set = match v6 {
        // Of a socket for both families each has its own.
        true => socket.set_tclass_v6(tos.into()).and_then(|()| socket.set_tos_v4(tos.into())),
        false => socket.set_tos_v4(tos.into()),
    };
    if let Err(error) = set {
        tracing::debug!(%error, tos, "packets go unmarked");
    }
}

/// Asks the kernel to tell the octet with each datagram.
///
/// # Errors
/// What the socket reports.
pub fn watch(socket: &UdpSocket) -> io::Result<()> {
    match socket.local_addr()? {
        SocketAddr::V4(_) => SockRef::from(socket).set_recv_tos_v4(true),
        SocketAddr::V6(_) => SockRef::from(socket).set_recv_tclass_v6(true),
    }
}

/// Receives one datagram without blocking. `None` for one that is larger than the buffer or comes
/// from no address.
///
/// # Errors
/// `WouldBlock` if none waits; otherwise what the socket reports.
pub fn recv(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Marked>> {
    let mut iovec = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control([0; 64]);
    // SAFETY: msghdr is plain C data for which all-zero is valid (its padding differs by libc).
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = ptr::from_mut(&mut iovec);
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of::<Control>() as _;
    let fd = socket.as_fd().as_raw_fd();
    let receive = |name: *mut socket2::SockAddrStorage, name_len: *mut libc::socklen_t| {
        header.msg_name = name.cast();
        // SAFETY: socket2 gives a valid pointer to the length of its storage.
        header.msg_namelen = unsafe { *name_len };
        // SAFETY: name, iovec and control block are live, of the stated lengths, and outlive the call.
        let n = unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT) };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: as above.
        unsafe { *name_len = header.msg_namelen };
        Ok(n)
    };
    // SAFETY: the closure leaves an address of the stated length in the storage, as recvmsg does.
    let (len, from) = unsafe { SockAddr::try_init(receive) }?;
    let whole = header.msg_flags & libc::MSG_TRUNC == 0;
    let Some(from) = from.as_socket().filter(|_| whole) else { return Ok(None) };
    Ok(Some(Marked { from, len, tos: octet(&header) }))
}

pub(crate) fn octet(header: &libc::msghdr) -> Option<u8> {
    // SAFETY: the kernel filled the control block that the header points at, which is still live.
    let mut cmsg = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() };
    while let Some(found) = cmsg {
        // SAFETY: `found` came from this header; its data lies within the control block.
        let data = unsafe { libc::CMSG_DATA(found) };
        match (found.cmsg_level, found.cmsg_type) {
            // SAFETY: the kernel writes one octet for IP_TOS.
            (libc::IPPROTO_IP, libc::IP_TOS) => return Some(unsafe { *data }),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: the kernel writes an int for IPV6_TCLASS.
                let class = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                return u8::try_from(class).ok();
            }
            // SAFETY: as for CMSG_FIRSTHDR.
            _ => cmsg = unsafe { libc::CMSG_NXTHDR(header, found).as_ref() },
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octet_arrives_over_both_families() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            let to = b.local_addr().unwrap();
            let mut buffer = [0; 100];
            a.send_to(b"unwatched", to).unwrap();
            assert_eq!(recv(&b, &mut buffer).unwrap().unwrap().tos, None);
            watch(&b).unwrap();
            for octet in [0_u8, 0xb8] {
                let a_ref = SockRef::from(&a);
                match to {
                    SocketAddr::V4(_) => a_ref.set_tos_v4(octet.into()).unwrap(),
                    SocketAddr::V6(_) => a_ref.set_tclass_v6(octet.into()).unwrap(),
                }
                a.send_to(b"hello", to).unwrap();
                let marked = recv(&b, &mut buffer).unwrap().unwrap();
                let from = a.local_addr().unwrap();
                assert_eq!(marked, Marked { from, len: 5, tos: Some(octet) });
                assert_eq!(&buffer[..5], b"hello");
            }
            a.send_to(&[1; 101], to).unwrap();
            assert_eq!(recv(&b, &mut buffer).unwrap(), None, "truncated");
            assert_eq!(recv(&b, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }
}
