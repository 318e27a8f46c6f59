//! The program in the kernel, and the memory both sides look at.
//!
//! One of the files of this crate with `unsafe`.

use std::ffi::CString;
use std::io;
use std::mem;
use std::net::SocketAddrV4;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libbpf_rs::{Link, MapCore, Object, ObjectBuilder, Xdp, XdpFlags};

use super::next_hop::{NextHop, NextHops};
use super::{FlowCount, FlowPath};

const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forward.bpf.o"));

// linux/if_link.h and linux/netdev.h: how a program is attached, and what a driver can.
const NATIVE: u8 = 1;
const NDO_XMIT: u64 = 4;

/// Packets after which the share that was dropped says something.
const ENOUGH_TO_TELL: u64 = 20;

/// A flow's memory is written again no sooner than this after it was closed: no packet that saw it
/// open is on its way by then.
const GRACE: Duration = Duration::from_millis(50);

/// `struct flow` of `bpf/forward.bpf.c`, as both sides see it. The first part is ours while `open`
/// is 0, the second the kernel's while it is 1.
#[repr(C)]
struct Shared {
    open: AtomicU32,
    ours: AtomicU32,
    from: AtomicU32,
    from_port: AtomicU16,
    source_port: AtomicU16,
    source: AtomicU32,
    to: AtomicU32,
    to_port: AtomicU16,
    hop: [AtomicU8; 6],
    own: [AtomicU8; 6],
    tos: AtomicU8,
    /// The kernel's: that of the last packet.
    tos_in: AtomicU8,
    egress: AtomicU32,
    ingress: AtomicU32,
    ssrc: AtomicU32,
    clock_rate: AtomicU32,

    started: AtomicU32,
    _reserved2: AtomicU32,
    packets: AtomicU64,
    bytes: AtomicU64,
    last_ns: AtomicU64,
    arrival: AtomicU64,
    timestamp: AtomicU32,
    jitter_x16: AtomicU32,
    sequence: AtomicU16,
    payload_type: AtomicU8,
    _unused: [AtomicU8; 5],
}

/// The program in the kernel while this and its flows live; dropping them leaves no trace.
#[derive(Debug)]
pub struct FastPath {
    flows: Mapping,
    first_port: u16,
    places: Mutex<Vec<Place>>,
    hops: Mutex<NextHops>,
    open: AtomicUsize,
    forwarded: AtomicU64,
    /// What was forwarded and not sent when this was looked at last.
    seen: Mutex<(u64, u64)>,
    is_broken: AtomicBool,
    interfaces: Vec<Attached>,
    // Held for what closing it does: the maps go with it.
    _object: Object,
}

/// An interface the program looks at; dropping it detaches the program.
#[derive(Debug)]
struct Attached {
    index: u32,
    /// Its driver hands packets over before the system takes memory for them.
    is_native: bool,
    /// Packets of other interfaces may leave by its driver.
    takes_others: bool,
    _link: Link,
}

/// Whether a port's flow is in use, or since when it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Used,
    Closed(Instant),
}

impl FastPath {
    /// Has the program look at what comes by these interfaces of the calling thread's namespace,
    /// natively where the driver can, for flows whose ports are in `ports`.
    ///
    /// # Errors
    /// Names the interface or what the kernel refused. `PermissionDenied` without the rights.
    pub fn attach(interfaces: &[String], ports: RangeInclusive<u16>) -> io::Result<Arc<Self>> {
        let (first_port, last) = (*ports.start(), *ports.end());
        if interfaces.is_empty() || last < first_port {
            let why = "the fast path needs an interface, and ports";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let len = usize::from(last - first_port) + 1;
        let mut object = ObjectBuilder::default().open_memory(PROGRAM).map_err(told)?;
        for mut map in object.maps_mut() {
            if map.name() == "flows" {
                map.set_max_entries(len as u32).map_err(told)?;
            } else if let Some(value) = map.initial_value_mut() {
                // The one constant of the program: `first_port`.
                value[..4].copy_from_slice(&u32::from(first_port).to_ne_bytes());
            }
        }
        let object = object.load().map_err(told)?;
        let interfaces = interfaces.iter().map(|name| link(&object, name));
        let interfaces = interfaces.collect::<io::Result<Vec<_>>>()?;
        let map = object.maps().find(|map| map.name() == "flows");
        let map = map.ok_or_else(|| io::Error::other("the program has no map of flows"))?;
        let flows = Mapping::of(map.as_fd().as_raw_fd(), len)?;
        Ok(Arc::new(Self {
            flows,
            first_port,
            places: Mutex::new(vec![Place::Free; len]),
            hops: Mutex::new(NextHops::new()?),
            open: AtomicUsize::new(0),
            forwarded: AtomicU64::new(0),
            seen: Mutex::new((0, 0)),
            is_broken: AtomicBool::new(false),
            interfaces,
            _object: object,
        }))
    }

    /// Whether every interface's driver hands packets over itself. Elsewhere the general way is
    /// taken, which saves the way through sockets but not the memory of a packet.
    pub fn is_native(&self) -> bool {
        self.interfaces.iter().all(|interface| interface.is_native)
    }

    /// Forwards a stream in the kernel from now on. `None` while the ways to both peers are not known
    /// to the system (send something there first) or are not by interfaces that can, while its port
    /// has a flow or had one a moment ago, or when that is none of the range.
    pub fn open(self: &Arc<Self>, path: &FlowPath) -> Option<Flow> {
        if self.is_broken.load(Ordering::Relaxed) {
            return None;
        }
        let at = usize::from(path.ours.port().checked_sub(self.first_port)?);
        let (ingress, hop) = self.way(path)?;
        let flow = self.flows.as_slice().get(at)?;
        let mut places = hold(&self.places);
        match places[at] {
            Place::Used => return None,
            Place::Closed(since) if since.elapsed() < GRACE => return None,
            Place::Closed(_) | Place::Free => places[at] = Place::Used,
        }
        flow.write(path, ingress, &hop);
        flow.open.store(1, Ordering::Release);
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Flow { path: Arc::clone(self), at, way: *path, ingress, hop, taken: (0, 0) })
    }

    /// Whether what is forwarded leaves, as far as the drivers tell; call it about twice a second. A
    /// veth takes packets of ours and drops them unless its other end has a program or NAPI, and no
    /// call may be silent for that: once most of them were dropped no flow is opened any more, and
    /// none is current.
    pub fn is_working(&self) -> bool {
        if self.is_broken.load(Ordering::Relaxed) {
            return false;
        }
        let mut hops = hold(&self.hops);
        let unsent = self.interfaces.iter().filter_map(|i| hops.unsent(i.index)).sum::<u64>();
        let now = (self.forwarded(), unsent);
        let before = std::mem::replace(&mut *hold(&self.seen), now);
        let (forwarded, unsent) = (now.0 - before.0, now.1.saturating_sub(before.1));
        let broken = forwarded >= ENOUGH_TO_TELL && unsent * 2 >= forwarded;
        if broken {
            self.is_broken.store(true, Ordering::Relaxed);
            tracing::error!(
                forwarded,
                unsent,
                "the driver drops what the kernel forwards: media goes through sockets from now on \
                 (give the other end of a veth a program of XDP, or leave the fast path off)"
            );
        }
        !broken
    }

    /// Flows open now.
    pub fn open_flows(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Packets forwarded so far, as far as they were counted.
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    /// The interface a stream comes by, and how it leaves.
    fn way(&self, path: &FlowPath) -> Option<(u32, NextHop)> {
        let mut hops = hold(&self.hops);
        // By the interface that leads to its peer; what comes by another goes to the sockets.
        let ingress = hops.find(*path.ours.ip(), *path.from.ip())?.interface;
        let hop = hops.find(*path.source.ip(), *path.to.ip())?;
        let attached = |index| self.interfaces.iter().find(|i| i.index == index);
        let from = attached(ingress)?;
        let can = ingress == hop.interface
            || !from.is_native
            || attached(hop.interface).is_some_and(|to| to.takes_others);
        can.then_some((ingress, hop))
    }
}

/// A stream that the kernel forwards for as long as this lives.
#[derive(Debug)]
pub struct Flow {
    path: Arc<FastPath>,
    at: usize,
    way: FlowPath,
    ingress: u32,
    hop: NextHop,
    /// Packets and bytes told before.
    taken: (u64, u64),
}

impl Flow {
    /// What was forwarded since this was asked before.
    pub fn count(&mut self) -> FlowCount {
        let shared = self.shared();
        let packets = shared.packets.load(Ordering::Acquire);
        let bytes = shared.bytes.load(Ordering::Acquire);
        let last_ns = shared.last_ns.load(Ordering::Relaxed);
        let count = FlowCount {
            packets: packets - self.taken.0,
            bytes: bytes.saturating_sub(self.taken.1),
            last: (packets > 0).then(|| instant_of(last_ns)),
            sequence: shared.sequence.load(Ordering::Relaxed),
            payload_type: shared.payload_type.load(Ordering::Relaxed),
            tos: shared.tos_in.load(Ordering::Relaxed),
            jitter_x16: shared.jitter_x16.load(Ordering::Relaxed),
        };
        self.taken = (packets, bytes);
        self.path.forwarded.fetch_add(count.packets, Ordering::Relaxed);
        count
    }

    /// Whether the system still sends there the same way. Asks it every few seconds at most.
    pub fn is_current(&mut self) -> bool {
        let works = !self.path.is_broken.load(Ordering::Relaxed);
        works && self.path.way(&self.way) == Some((self.ingress, self.hop))
    }

    /// Stops forwarding; what is counted stays to be read.
    pub fn close(&mut self) {
        self.shared().open.store(0, Ordering::Release);
    }

    fn shared(&self) -> &Shared {
        &self.path.flows.as_slice()[self.at]
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.close();
        hold(&self.path.places)[self.at] = Place::Closed(Instant::now());
        self.path.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Writes a closed flow.
    fn write(&self, path: &FlowPath, ingress: u32, hop: &NextHop) {
        let address = |to: &AtomicU32, of: SocketAddrV4| {
            to.store(u32::from_ne_bytes(of.ip().octets()), Ordering::Relaxed);
        };
        let port = |to: &AtomicU16, of: SocketAddrV4| {
            to.store(of.port().to_be(), Ordering::Relaxed);
        };
        let bytes = |to: &[AtomicU8; 6], of: [u8; 6]| {
            to.iter().zip(of).for_each(|(to, byte)| to.store(byte, Ordering::Relaxed));
        };
        address(&self.ours, path.ours);
        address(&self.from, path.from);
        port(&self.from_port, path.from);
        address(&self.source, path.source);
        port(&self.source_port, path.source);
        address(&self.to, path.to);
        port(&self.to_port, path.to);
        bytes(&self.hop, hop.address);
        bytes(&self.own, hop.own);
        self.tos.store(path.tos, Ordering::Relaxed);
        self.egress.store(hop.interface, Ordering::Relaxed);
        self.ingress.store(ingress, Ordering::Relaxed);
        self.ssrc.store(path.ssrc.to_be(), Ordering::Relaxed);
        self.clock_rate.store(path.clock_rate, Ordering::Relaxed);
        self.started.store(0, Ordering::Relaxed);
        self.jitter_x16.store(path.jitter_x16, Ordering::Relaxed);
        for counter in [&self.packets, &self.bytes, &self.last_ns, &self.arrival] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// Attaches the program to an interface: natively, or where its driver cannot, in the general way.
fn link(object: &Object, interface: &str) -> io::Result<Attached> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("interface {interface}: {error}"));
    let name = CString::new(interface).map_err(|error| named(error.into()))?;
    // SAFETY: the call reads a live, terminated name.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(named(io::Error::last_os_error()));
    }
    let program = object.progs_mut().next();
    let program = program.ok_or_else(|| io::Error::other("there is no program in the object"))?;
    let signed = index.cast_signed();
    let link = program.attach_xdp(signed).map_err(|error| named(told(error)))?;
    let state = Xdp::new(program.as_fd()).query(signed, XdpFlags::NONE);
    // What cannot be asked counts as what is always there.
    let (mode, features) = state.map_or((0, 0), |s| (s.attach_mode, s.feature_flags));
    Ok(Attached {
        index,
        is_native: mode == NATIVE,
        takes_others: features & NDO_XMIT != 0,
        _link: link,
    })
}

/// An error of libbpf's with its chain of causes.
fn told(error: libbpf_rs::Error) -> io::Error {
    let kind = match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{error:#}"))
}

/// The time of `CLOCK_MONOTONIC`, which the kernel's program reads and [`Instant`] is.
fn instant_of(ns: u64) -> Instant {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to a live timespec, and cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now_ns = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
    let now = Instant::now();
    now.checked_sub(Duration::from_nanos(now_ns.saturating_sub(ns))).unwrap_or(now)
}

fn hold<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each is whole between its statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The flows' memory.
#[derive(Debug)]
struct Mapping {
    at: NonNull<Shared>,
    len: usize,
}

// SAFETY: a mapping is of the process, not of a thread, and what is in it is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn of(map: libc::c_int, len: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let bytes = len * mem::size_of::<Shared>();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, map, 0) };
        let mapped = NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED);
        mapped.map(|at| Self { at, len }).ok_or_else(io::Error::last_os_error)
    }

    fn as_slice(&self) -> &[Shared] {
        // SAFETY: the mapping holds `len` flows, zeros at first, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let bytes = self.len * mem::size_of::<Shared>();
        // SAFETY: this mapping is ours and no slice of it outlives `self`.
        unsafe { libc::munmap(self.at.as_ptr().cast(), bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_memory() {
        // The sizes and places clang gives `struct flow`.
        assert_eq!(mem::size_of::<Shared>(), 112);
        assert_eq!(mem::offset_of!(Shared, hop), 26);
        assert_eq!(mem::offset_of!(Shared, egress), 40);
        assert_eq!(mem::offset_of!(Shared, started), 56);
        assert_eq!(mem::offset_of!(Shared, packets), 64);
        assert_eq!(mem::offset_of!(Shared, sequence), 104);
    }
}
