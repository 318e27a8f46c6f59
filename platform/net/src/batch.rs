//! Many datagrams per system call: `recvmmsg` and `sendmmsg` behind a safe face.
//!
//! One of the few files of this crate with `unsafe` (`tos.rs`, `shard/udp.rs`, `raw.rs` and `steer.rs` are the others). A [`RecvBatch`] owns its
//! buffers in boxes, so it may be moved freely between calls; what is sent is only borrowed for the
//! call.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Buffers for one `recvmmsg`, with the kernel's view of them made once.
#[derive(Debug)]
pub struct RecvBatch {
    buffer: Box<[u8]>,
    slot_bytes: usize,
    stride: usize,
    received: Vec<Slot>,
    view: View,
}

/// What the kernel reads and writes: boxed, so that its pointers stay good when a batch is moved.
#[derive(Debug)]
struct View {
    names: Box<[libc::sockaddr_storage]>,
    /// Pointed into by `headers`.
    iovecs: Box<[libc::iovec]>,
    /// One for each slot, or none: where the kernel says what a datagram's destination was.
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
}

/// Room for one control message with an address, aligned as the kernel wants it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

const CONTROL_BYTES: usize = 96;

/// A received datagram in its slot: see [`RecvBatch::addressed_mut`].
#[derive(Debug)]
pub struct Addressed<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it was sent to; `None` unless [`tell_destinations`] was asked of the socket.
    pub to: Option<SocketAddr>,
    /// Its type of service octet; `None` unless [`crate::tos::watch`] was asked of the socket.
    pub tos: Option<u8>,
    /// The whole slot, of which the datagram is the beginning, behind the batch's headroom if it
    /// has one.
    pub slot: &'a mut [u8],
    /// The datagram's length.
    pub len: usize,
}

// SAFETY: the pointers in a view lead into the boxes of the same batch, which goes from thread to
// thread as one.
unsafe impl Send for View {}

#[derive(Debug, Clone, Copy)]
struct Slot {
    len: usize,
    from: Option<SocketAddr>,
    to: Option<SocketAddr>,
    tos: Option<u8>,
    truncated: bool,
}

/// The most datagrams one call moves, either way.
pub const BATCH_MAX: usize = 64;

/// Slots of a power of two would all begin in the same sets of the processor's cache.
const STAGGER: usize = 64 * 17;

impl RecvBatch {
    /// Room for `slots` datagrams (1 to [`BATCH_MAX`]) of at most `slot_bytes` each.
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        Self::with_controls(slots, slot_bytes, false)
    }

    /// As [`RecvBatch::new`], for a socket that tells where each datagram was sent to: see
    /// [`tell_destinations`].
    pub fn with_destinations(slots: usize, slot_bytes: usize) -> Self {
        Self::with_controls(slots, slot_bytes, true)
    }

    fn with_controls(slots: usize, slot_bytes: usize, controls: bool) -> Self {
        let slots = slots.clamp(1, BATCH_MAX);
        let stride = slot_bytes.next_multiple_of(64) + STAGGER;
        let mut buffer = vec![0; slots * stride].into_boxed_slice();
        let controls = if controls { slots } else { 0 };
        let view = View::new(&mut buffer, (slots, stride, slot_bytes), controls);
        Self { buffer, slot_bytes, stride, received: Vec::with_capacity(slots), view }
    }

    /// Has datagrams begin `bytes` behind the beginning of their slots, for work in place that
    /// puts something in front of them. [`RecvBatch::addressed_mut`] shows whole slots, the headroom
    /// included; the other views are of no use then.
    #[must_use]
    pub fn with_headroom(mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.slot_bytes);
        let slots = self.buffer.chunks_exact_mut(self.stride);
        for (iovec, slot) in self.view.iovecs.iter_mut().zip(slots) {
            iovec.iov_base = slot[bytes..].as_mut_ptr().cast();
            iovec.iov_len = self.slot_bytes - bytes;
        }
        self
    }

    /// Receives what is waiting, without blocking; how many datagrams.
    ///
    /// # Errors
    /// `WouldBlock` if none waits; otherwise what the socket reports.
    pub fn recv(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        for (header, _) in self.view.headers.iter_mut().zip(&self.received) {
            // The kernel wrote the length of the last address here.
            header.msg_hdr.msg_namelen = NAME_LEN;
            if !self.view.controls.is_empty() {
                header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            }
        }
        self.received.clear();
        // SAFETY: each header points at a live name, iovec and buffer slot of the stated lengths,
        // disjoint from one another, all owned by this batch and borrowed mutably by this call.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.view.headers.as_mut_ptr(),
                self.view.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in self.view.headers.iter().zip(&self.view.names).take(n) {
            self.received.push(Slot {
                len: (header.msg_len as usize).min(self.slot_bytes),
                from: from_storage(name),
                to: destination(&header.msg_hdr),
                tos: crate::tos::octet(&header.msg_hdr),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(n)
    }

    /// Whether the last call filled every slot: more may be waiting.
    pub fn is_full(&self) -> bool {
        self.received.len() == self.view.headers.len()
    }

    /// The datagrams of the last call with their senders. Truncated ones are left out.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.buffer.chunks_exact(self.stride).zip(&self.received).filter_map(|(buf, slot)| {
            let from = slot.from.filter(|_| !slot.truncated)?;
            Some((from, &buf[..slot.len]))
        })
    }

    /// As [`RecvBatch::iter`], but each datagram's whole slot with its length: for work in place
    /// that grows the packet (SRTP tags).
    pub fn slots_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8], usize)> {
        let slots = self.buffer.chunks_exact_mut(self.stride).zip(&self.received);
        slots.filter_map(|(buf, slot)| {
            let from = slot.from.filter(|_| !slot.truncated)?;
            Some((from, &mut buf[..self.slot_bytes], slot.len))
        })
    }

    /// As [`RecvBatch::slots_mut`], with where each datagram was sent to.
    pub fn addressed_mut(&mut self) -> impl Iterator<Item = Addressed<'_>> {
        let slots = self.buffer.chunks_exact_mut(self.stride).zip(&self.received);
        slots.filter_map(|(buf, slot)| {
            let from = slot.from.filter(|_| !slot.truncated)?;
            let (to, tos, len) = (slot.to, slot.tos, slot.len);
            Some(Addressed { from, to, tos, slot: &mut buf[..self.slot_bytes], len })
        })
    }
}

impl View {
    fn new(
        buffer: &mut [u8],
        (slots, stride, slot_bytes): (usize, usize, usize),
        controls: usize,
    ) -> Self {
        // SAFETY: sockaddr_storage is plain C data for which all-zero is valid.
        let name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let mut names = vec![name; slots].into_boxed_slice();
        let mut iovecs: Box<[libc::iovec]> = buffer
            .chunks_exact_mut(stride)
            .map(|slot| libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot_bytes })
            .collect();
        let mut headers: Box<[libc::mmsghdr]> = names
            .iter_mut()
            .zip(&mut iovecs)
            .map(|(name, iovec)| libc::mmsghdr {
                msg_hdr: header(ptr::from_mut(name), NAME_LEN, iovec),
                msg_len: 0,
            })
            .collect();
        let mut controls = vec![Control([0; CONTROL_BYTES]); controls].into_boxed_slice();
        for (header, control) in headers.iter_mut().zip(&mut controls) {
            header.msg_hdr.msg_control = ptr::from_mut(control).cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        Self { names, iovecs, controls, headers }
    }
}

/// Sends up to [`BATCH_MAX`] datagrams in one call, without blocking; how many the kernel took,
/// from the front. A socket connected to its peer takes `None` addresses.
///
/// # Errors
/// What the socket reports for the *first* datagram: drop it or wait, then go on.
pub fn send_batch(
    socket: &impl AsFd,
    packets: &[(Option<SocketAddr>, &[u8])],
) -> io::Result<usize> {
    send_groups(socket, packets, |_| 1)
}

/// The longest datagram that leaves joined to others: with it a path of the smallest MTU that IPv6
/// allows still takes each of them whole.
const JOINED_MAX: usize = 1_200;
/// The most bytes of one joined send.
const JOINED_BYTES_MAX: usize = 60_000;
/// Room for one control message with two bytes in it, aligned as the kernel wants it.
const CONTROL_WORDS: usize = 3;

/// As [`send_batch`], with datagrams of one length that follow each other to one address handed to
/// the kernel as one (UDP_SEGMENT, udp(7)): it takes them apart again behind the routing. They
/// arrive as they would otherwise. How many of the packets it took.
///
/// # Errors
/// As [`send_batch`]. Where a kernel or interface cannot do it, [`cannot_join`] says so of the error.
pub(crate) fn send_joined(
    socket: &impl AsFd,
    packets: &[(Option<SocketAddr>, &[u8])],
) -> io::Result<usize> {
    send_groups(socket, packets, joined)
}

/// Sends packets in groups: `group` says of those that are left how many leave as one.
fn send_groups(
    socket: &impl AsFd,
    packets: &[(Option<SocketAddr>, &[u8])],
    group: impl Fn(&[(Option<SocketAddr>, &[u8])]) -> usize,
) -> io::Result<usize> {
    let count = packets.len().min(BATCH_MAX);
    if count == 0 {
        return Ok(0);
    }
    // Only what is used is written: zeroing all of it would cost more than sending one packet.
    let mut names = [const { MaybeUninit::<libc::sockaddr_storage>::uninit() }; BATCH_MAX];
    let mut iovecs = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH_MAX];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH_MAX];
    let mut controls = [const { MaybeUninit::<[u64; CONTROL_WORDS]>::uninit() }; BATCH_MAX];
    let mut sizes = [0_u8; BATCH_MAX];
    let (mut at, mut messages) = (0, 0);
    while at < count {
        let (to, first) = packets[at];
        let size = group(&packets[at..count]);
        for (iovec, (_, bytes)) in iovecs[at..].iter_mut().zip(&packets[at..at + size]) {
            let base = bytes.as_ptr().cast_mut().cast();
            iovec.write(libc::iovec { iov_base: base, iov_len: bytes.len() });
        }
        let len = to.map_or(0, |to| to_storage(to, &mut names[messages]));
        let name = if len == 0 { ptr::null_mut() } else { names[messages].as_mut_ptr() };
        let mut header = header(name, len, iovecs[at..].as_mut_ptr().cast());
        header.msg_iovlen = size as _;
        if size > 1 {
            let control = controls[messages].write(segment_control(first.len() as u16));
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = mem::size_of_val(control) as _;
        }
        headers[messages].write(libc::mmsghdr { msg_hdr: header, msg_len: 0 });
        sizes[messages] = size as u8;
        at += size;
        messages += 1;
    }
    // SAFETY: each of the first `messages` headers points at a live name (or none), at as many live
    // iovecs as it says, which lie behind one another, and at a control message (or none), all
    // outliving the call; sendmmsg only reads through them.
    let n = unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr().cast(),
            messages as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    Ok(sizes[..n].iter().map(|size| usize::from(*size)).sum())
}

/// Whether an error of [`send_joined`] may be for the joining alone.
pub(crate) fn cannot_join(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::EIO, libc::EOPNOTSUPP, libc::ENOPROTOOPT, libc::EMSGSIZE];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// How many packets from the first on can leave as one.
fn joined(packets: &[(Option<SocketAddr>, &[u8])]) -> usize {
    let (to, first) = packets[0];
    if first.is_empty() || first.len() > JOINED_MAX {
        return 1;
    }
    let most = JOINED_BYTES_MAX / first.len();
    let alike =
        |(other, bytes): &&(Option<SocketAddr>, &[u8])| bytes.len() == first.len() && *other == to;
    packets.iter().take(most).take_while(alike).count()
}

/// The control message that says how long each datagram is.
fn segment_control(len: u16) -> [u64; CONTROL_WORDS] {
    const HEADER: usize = mem::size_of::<libc::cmsghdr>();
    let mut bytes = [0_u8; 8 * CONTROL_WORDS];
    // As CMSG_LEN(2) makes it; the fields of a cmsghdr in their order.
    let whole = (HEADER + 2).to_ne_bytes();
    bytes[..whole.len()].copy_from_slice(&whole);
    bytes[HEADER - 8..HEADER - 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    bytes[HEADER - 4..HEADER].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    bytes[HEADER..HEADER + 2].copy_from_slice(&len.to_ne_bytes());
    let mut words = [0; CONTROL_WORDS];
    for (word, eight) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*eight);
    }
    words
}

/// Asks the kernel to tell the destination of each datagram to
/// [`RecvBatch::with_destinations`].
///
/// # Errors
/// What the socket reports.
pub fn tell_destinations(socket: &UdpSocket) -> io::Result<()> {
    let (level, option) = match socket.local_addr()? {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR),
    };
    set_option(socket, level, option, 1)
}

/// Makes room for `bytes` that wait to be received, more than the system's limit if we may; what it
/// may otherwise.
pub fn set_receive_buffer(socket: &UdpSocket, bytes: usize) {
    force_buffer(socket, libc::SO_RCVBUFFORCE, bytes);
}

/// `option` is SO_RCVBUFFORCE or SO_SNDBUFFORCE (socket(7)).
pub(crate) fn force_buffer(socket: &impl AsFd, option: libc::c_int, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    if set_option(socket, libc::SOL_SOCKET, option, bytes).is_err() {
        let plain = if option == libc::SO_RCVBUFFORCE { libc::SO_RCVBUF } else { libc::SO_SNDBUF };
        // The system's own limit serves.
        let _ = set_option(socket, libc::SOL_SOCKET, plain, bytes);
    }
}

fn set_option(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let (fd, len) = (socket.as_fd().as_raw_fd(), mem::size_of_val(&value) as libc::socklen_t);
    // SAFETY: `value` outlives the call, which reads `len` bytes of it.
    let set = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The address in the control message of [`tell_destinations`].
fn destination(header: &libc::msghdr) -> Option<SocketAddr> {
    if header.msg_control.is_null() {
        return None;
    }
    // SAFETY: the control block is a live `Control`, large and aligned enough for a cmsghdr, which
    // the kernel filled up to the length the header tells.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() };
    while let Some(found) = message {
        match (found.cmsg_level, found.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR)
            | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                // SAFETY: behind its header the kernel wrote an address, within the block.
                return unsafe { read_address(libc::CMSG_DATA(found)) };
            }
            // SAFETY: `found` came from this header.
            _ => message = unsafe { libc::CMSG_NXTHDR(header, found).as_ref() },
        }
    }
    None
}

/// The bytes waiting to be received on a socket, the kernel's bookkeeping included; 0 if it does not
/// say.
pub(crate) fn queued_bytes(socket: &impl AsFd) -> usize {
    // Nine numbers, the first of which is SK_MEMINFO_RMEM_ALLOC (sock_diag(7)).
    let mut info = [0_u32; 9];
    let mut len = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` and `len` outlive the call, which writes at most `len` bytes into `info`.
    let got = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if got == 0 { info[0] as usize } else { 0 }
}

const NAME_LEN: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

fn header(
    name: *mut libc::sockaddr_storage,
    name_len: libc::socklen_t,
    iovec: *mut libc::iovec,
) -> libc::msghdr {
    // SAFETY: msghdr is plain C data for which all-zero is valid (its padding differs by libc).
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_name = name.cast();
    header.msg_namelen = name_len;
    header.msg_iov = iovec;
    header.msg_iovlen = 1;
    header
}

fn from_storage(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    // SAFETY: a whole storage that the kernel filled.
    unsafe { read_address(ptr::from_ref(name).cast()) }
}

/// # Safety
/// The kernel wrote an address at `name`, which is aligned for it.
unsafe fn read_address(name: *const u8) -> Option<SocketAddr> {
    // SAFETY: every address begins with its family.
    let family = unsafe { *name.cast::<libc::sa_family_t>() };
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a sockaddr_in.
            let v4 = unsafe { &*name.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the kernel wrote a sockaddr_in6.
            let v6 = unsafe { &*name.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes an address in the kernel's form; its length.
pub(crate) fn to_storage(
    addr: SocketAddr,
    name: &mut MaybeUninit<libc::sockaddr_storage>,
) -> libc::socklen_t {
    match addr {
        SocketAddr::V4(addr) => {
            let v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: addr.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large and aligned enough for a sockaddr_in.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in>().write(v4) };
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(addr) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: addr.port().to_be(),
                sin6_flowinfo: addr.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: addr.ip().octets() },
                sin6_scope_id: addr.scope_id(),
            };
            // SAFETY: sockaddr_storage is large and aligned enough for a sockaddr_in6.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in6>().write(v6) };
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn exchange(any: &str) {
        let (a, b) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
        let to = Some(b.local_addr().unwrap());
        let payloads: Vec<Vec<u8>> = (0..70_u8).map(|n| vec![n; usize::from(n) + 1]).collect();
        let packets: Vec<_> = payloads.iter().map(|p| (to, p.as_slice())).collect();
        let first = send_batch(&a, &packets).unwrap();
        assert_eq!(first, BATCH_MAX);
        assert_eq!(send_batch(&a, &packets[first..]).unwrap(), 6);

        let mut batch = RecvBatch::new(64, 1500);
        let mut got = Vec::new();
        while got.len() < 70 {
            batch.recv(&b).unwrap();
            got.extend(batch.iter().map(|(from, bytes)| (from, bytes.to_vec())));
        }
        let from = a.local_addr().unwrap();
        assert!(got.iter().zip(&payloads).all(|((f, g), p)| *f == from && g == p));
        assert_eq!(batch.recv(&b).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn seventy_datagrams_arrive_whole_and_in_order_over_both_families() {
        exchange("127.0.0.1:0");
        exchange("[::1]:0");
    }

    #[test]
    fn joined_datagrams_arrive_one_by_one_in_order_and_to_their_own_addresses() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let [a, b, c] = [(); 3].map(|()| UdpSocket::bind(any).unwrap());
            let [to_b, to_c] = [&b, &c].map(|s| Some(s.local_addr().unwrap()));
            // Runs of one length, single ones between, one too long to be joined, an empty one.
            let lengths = [300, 300, 300, 7, 300, 1, 1, 1_400, 1_400, 0, 0, 9];
            let payloads: Vec<Vec<u8>> = (0..).zip(lengths).map(|(n, len)| vec![n; len]).collect();
            let packets: Vec<_> = payloads.iter().map(|p| (to_b, p.as_slice())).collect();
            assert_eq!(send_joined(&a, &packets).unwrap(), lengths.len());
            let other =
                [(to_b, &[1; 50][..]), (to_c, &[2; 50]), (to_c, &[3; 50]), (to_b, &[4; 50])];
            assert_eq!(send_joined(&a, &other).unwrap(), 4);
            assert_eq!(received(&b)[..lengths.len()], payloads[..]);
            assert_eq!(received(&c), [vec![2; 50], vec![3; 50]]);
            // As many as fit, and no more than the kernel takes as one.
            let long = vec![vec![5; 1_200]; 70];
            let many: Vec<_> = long.iter().map(|p| (to_b, p.as_slice())).collect();
            assert_eq!(send_joined(&a, &many).unwrap(), BATCH_MAX);
            assert_eq!(received(&b).len(), BATCH_MAX);
        }
    }

    /// All that waits, but for what an earlier assertion left.
    fn received(socket: &UdpSocket) -> Vec<Vec<u8>> {
        let mut batch = RecvBatch::new(BATCH_MAX, 1500);
        let mut all = Vec::new();
        while batch.recv(socket).is_ok() {
            all.extend(batch.iter().map(|(_, bytes)| bytes.to_vec()));
        }
        all
    }

    #[test]
    fn what_waits_is_told() {
        let (a, b) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        assert_eq!(queued_bytes(&b), 0);
        for _ in 0..10 {
            a.send_to(&[7; 600], b.local_addr().unwrap()).unwrap();
        }
        assert!((6_000..60_000).contains(&queued_bytes(&b)), "{}", queued_bytes(&b));
    }

    #[test]
    fn a_connected_socket_sends_without_addresses_and_truncated_datagrams_are_left_out() {
        let (a, b) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        a.connect(b.local_addr().unwrap()).unwrap();
        assert_eq!(send_batch(&a, &[(None, &[1; 30]), (None, &[2; 5])]).unwrap(), 2);
        let mut batch = RecvBatch::new(4, 10);
        assert_eq!(batch.recv(&b).unwrap(), 2);
        let seen: Vec<_> = batch.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        assert_eq!(seen, [vec![2; 5]]);
        let (_, slot, len) = batch.slots_mut().next().unwrap();
        assert_eq!((slot.len(), len), (10, 5));
    }
}
