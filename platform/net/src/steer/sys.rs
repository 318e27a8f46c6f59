//! The bpf(2) calls that steering needs, and memory shared with a map.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU8;

use super::program::Insn;

// bpf(2): commands, kinds and flags (linux/bpf.h).
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const KIND_ARRAY: u32 = 2;
const KIND_SOCKMAP: u32 = 15;
const MMAPABLE: u32 = 1 << 10;
const PROG_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;

/// Of the calling thread, which may be in another namespace than the process.
const NAMESPACE: &str = "/proc/thread-self/ns/net";
const LICENSE: &CStr = c"Dual MIT/GPL";

/// The maps there are.
pub(super) enum Map {
    /// One array of bytes that user space maps as memory.
    SharedBytes { len: usize },
    /// Sockets by number.
    Sockets { len: usize },
}

/// The beginning of `union bpf_attr` for [`MAP_CREATE`].
#[repr(C)]
struct CreateMap {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

/// The same for [`MAP_UPDATE`].
#[repr(C, align(8))]
struct UpdateMap {
    map: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The same for [`PROG_LOAD`].
#[repr(C, align(8))]
struct LoadProgram {
    kind: u32,
    count: u32,
    text: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_kind: u32,
}

/// The same for [`LINK_CREATE`].
#[repr(C)]
struct CreateLink {
    program: u32,
    target: u32,
    attach_kind: u32,
    flags: u32,
}

pub(super) fn create_map(map: Map) -> io::Result<OwnedFd> {
    // The lengths are constants of ours or below 256.
    let (kind, value_bytes, entries, flags) = match map {
        Map::SharedBytes { len } => (KIND_ARRAY, len as u32, 1, MMAPABLE),
        Map::Sockets { len } => (KIND_SOCKMAP, 8, len as u32, 0),
    };
    // SAFETY: the attributes point nowhere.
    unsafe { bpf_fd(MAP_CREATE, &CreateMap { kind, key_bytes: 4, value_bytes, entries, flags }) }
}

/// Puts a bound socket into a map of sockets.
pub(super) fn put_socket(map: &OwnedFd, key: u32, socket: RawFd) -> io::Result<()> {
    let value = u64::from(socket as u32);
    let update = UpdateMap {
        map: map.as_raw_fd() as u32,
        _pad: 0,
        key: ptr::from_ref(&key) as u64,
        value: ptr::from_ref(&value) as u64,
        flags: 0,
    };
    // SAFETY: key and value are as long as the map was made with and outlive the call.
    unsafe { bpf(MAP_UPDATE, &update) }.map(drop)
}

/// Has the kernel check a program and keep it.
pub(super) fn load(text: &[Insn]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..13].copy_from_slice(b"whimbrel_port");
    let program = LoadProgram {
        kind: PROG_SK_LOOKUP,
        count: text.len() as u32,
        text: text.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_bytes: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name,
        interface: 0,
        attach_kind: ATTACH_SK_LOOKUP,
    };
    // SAFETY: text and licence are live, of the stated length and terminated; the call only reads.
    unsafe { bpf_fd(PROG_LOAD, &program) }
}

/// Attaches a program to our network namespace for as long as the answer is held.
pub(super) fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    let namespace = File::open(NAMESPACE)?;
    let link = CreateLink {
        program: program.as_raw_fd() as u32,
        target: namespace.as_raw_fd() as u32,
        attach_kind: ATTACH_SK_LOOKUP,
        flags: 0,
    };
    // SAFETY: the attributes point nowhere.
    unsafe { bpf_fd(LINK_CREATE, &link) }
}

/// # Safety
/// As for [`bpf`]; the command answers with a descriptor.
unsafe fn bpf_fd<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: what the caller promised.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `T` is the beginning of `union bpf_attr` for the command, and what it points to is live.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    let size = mem::size_of::<T>();
    // SAFETY: the kernel reads `size` bytes and takes the rest of the union for zeros.
    let got = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), size) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as RawFd) }
}

/// The value of a [`Map::SharedBytes`] as memory.
#[derive(Debug)]
pub(super) struct Bytes {
    at: NonNull<AtomicU8>,
    len: usize,
}

// SAFETY: a mapping is of the process, not of a thread, and what is in it is atomic.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    pub(super) fn of(map: &OwnedFd, len: usize) -> io::Result<Self> {
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, map.as_raw_fd());
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        let mapped = NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED);
        mapped.map(|at| Self { at, len }).ok_or_else(io::Error::last_os_error)
    }

    pub(super) fn as_slice(&self) -> &[AtomicU8] {
        // SAFETY: the mapping is `len` bytes long and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours and no slice of it outlives `self`.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}
