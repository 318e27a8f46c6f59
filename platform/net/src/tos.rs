//! The type of service octet (DSCP and ECN; RFC 2474, RFC 3168): marking what a socket sends, and
//! receiving one datagram together with its octet, for listeners whose peers want to know how their
//! packets arrive. Beside the octet goes the socket's priority, from which Wi-Fi makes its access
//! category (RFC 8325).

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Sockets that the system did not let us mark.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Marks what a socket of either family sends, and what the connections it accepts send. False where
/// the system does not let us: packets go unmarked then, for the mark is a wish. The first refusal is
/// logged, and [`refused`] counts.
pub fn mark(socket: &impl AsFd, v6: bool, tos: u8) -> bool {
    let socket = SockRef::from(socket);
    let set = match v6 {
        // Of a socket for both families each has its own.
        true => socket.set_tclass_v6(tos.into()).and_then(|()| socket.set_tos_v4(tos.into())),
        false => socket.set_tos_v4(tos.into()),
    };
    // Behind the octet, which brings a priority of its own along (ip(7)).
    prioritize(&*socket, tos);
    let Err(error) = set else { return true };
    if tos == 0 {
        return true;
    }
    if REFUSED.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::warn!(%error, tos, "the system lets no packet be marked (DSCP): all go unmarked");
    }
    false
}

/// Sockets that could not be marked since the start.
pub fn refused() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// The user priority of IEEE 802.11 for a mark (RFC 8325 §4.3): 6 is voice, 5 and 4 are video, 3 and
/// 0 best effort, 1 background. A driver left to itself takes the upper three bits of the mark, by
/// which EF would be video (RFC 8325 §2.2).
pub fn user_priority(tos: u8) -> u8 {
    match tos >> 2 {
        // EF, VOICE-ADMIT.
        46 | 44 => 6,
        // CS5 signalling.
        40 => 5,
        // AF4x, AF3x, CS4, CS3: interactive and streaming video, broadcast.
        34 | 36 | 38 | 32 | 26 | 28 | 30 | 24 => 4,
        // AF2x: transactions.
        18 | 20 | 22 => 3,
        // CS1, LE.
        8 | 1 => 1,
        // CS6 and CS7 are of networks, not of hosts: an access point may take them for nothing
        // (RFC 8325 §8.2).
        _ => 0,
    }
}

/// Sets the priority of what a socket sends. 256 and above names the user priority itself to Wi-Fi
/// (`cfg80211_classify8021d`), which takes a right (CAP_NET_ADMIN); up to 6 is anybody's and orders
/// the queues of this host.
pub(crate) fn prioritize(socket: &impl AsFd, tos: u8) {
    let priority = u32::from(user_priority(tos));
    if priority > 0 && set_priority(socket, 256 + priority).is_err() {
        // Without it packets wait behind others of this host: nothing more.
        let _ = set_priority(socket, priority);
    }
}

fn set_priority(socket: &impl AsFd, priority: u32) -> io::Result<()> {
    let value = priority.cast_signed();
    // SAFETY: the option takes an int, which outlives the call; the descriptor is open.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PRIORITY,
            ptr::from_ref(&value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

    fn priority_of(socket: &UdpSocket) -> i32 {
        let (mut value, mut len): (libc::c_int, _) = (0, mem::size_of::<libc::c_int>() as u32);
        // SAFETY: both pointers are to live values of the stated length.
        let got = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PRIORITY,
                ptr::from_mut(&mut value).cast(),
                &raw mut len,
            )
        };
        assert_eq!(got, 0);
        value
    }

    #[test]
    fn r5_8_each_socket_has_its_octet_and_the_priority_of_its_access_category() {
        // RFC 8325 §4.3, Figure 1.
        for (mark, priority) in
            [(46, 6), (40, 5), (34, 4), (26, 4), (18, 3), (8, 1), (0, 0), (48, 0)]
        {
            assert_eq!(user_priority(mark << 2), priority, "DSCP {mark}");
        }
        for any in ["127.0.0.1:0", "[::1]:0"] {
            for (tos, priority) in [(EF, 6), (CS5, 5)] {
                let socket = UdpSocket::bind(any).unwrap();
                assert!(mark(&socket, any.starts_with('['), tos));
                // Whoever has the right names the user priority itself.
                let set = priority_of(&socket);
                assert!(set == priority || set == 256 + priority, "{any} {tos:#x}: {set}");
                let v4 = any.starts_with('1');
                let octet = if v4 {
                    SockRef::from(&socket).tos_v4()
                } else {
                    SockRef::from(&socket).tclass_v6()
                };
                assert_eq!(octet.unwrap(), u32::from(tos));
            }
        }
    }

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
