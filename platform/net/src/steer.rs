//! Ports of an address led to a few sockets, without a socket for each: BPF `sk_lookup`.
//!
//! A relay with a socket for each port reads one datagram for each call of the system. Led to one
//! socket, the datagrams of all ports wait in one queue and are read in batches
//! ([`crate::batch::RecvBatch::with_destinations`] says which port each was sent to);
//! [`crate::raw::RawUdp`] answers from those ports.
//!
//! ```text
//!   datagram to addr:port ──► program: leads_to[port]? ── 0 ──► as without us
//!                                          └── n ──► socket n - 1
//! ```
//!
//! Only ports that [`PortSteer::open`] opened are led: everything else of the address is as if this
//! were not here. Opening and closing is one store into memory shared with the kernel, no call.
//!
//! What it needs: Linux 5.9 and the rights `CAP_BPF` and `CAP_NET_ADMIN`. Without them
//! [`PortSteer::attach`] fails and the caller binds a socket for each port. The program is written
//! here instruction by instruction (`program.rs`), so that building needs no clang.
//!
//! One of the files of this crate with `unsafe`, with what is below it.

mod program;
mod sys;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use sys::{Bytes, Map};

/// Sockets that one steer can lead to.
pub const STEERED_SOCKETS_MAX: usize = 255;

/// How many ports an address has.
const PORTS: usize = 1 << 16;

/// The program in the kernel while this lives; dropping it leaves no trace.
#[derive(Debug)]
pub struct PortSteer {
    /// For each port the socket's number plus one, 0 for a port that is not ours.
    leads_to: Bytes,
    sockets: usize,
    // Held for what closing them does: the link detaches the program, the maps go with it.
    _link: OwnedFd,
    _maps: [OwnedFd; 2],
}

impl PortSteer {
    /// Leads ports of `addr` to `sockets`, bound UDP sockets of its family; none is open yet. An
    /// unspecified `addr` stands for all addresses of its family. The program is of the calling
    /// thread's network namespace.
    ///
    /// # Errors
    /// `PermissionDenied` without the rights; otherwise what the kernel says of a feature it lacks
    /// or of a socket that is not bound.
    pub fn attach(addr: IpAddr, sockets: &[impl AsFd]) -> io::Result<Self> {
        if sockets.is_empty() || sockets.len() > STEERED_SOCKETS_MAX {
            let text = format!("{} sockets to steer to: 1 to {STEERED_SOCKETS_MAX}", sockets.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let ports = sys::create_map(Map::SharedBytes { len: PORTS })?;
        let targets = sys::create_map(Map::Sockets { len: sockets.len() })?;
        for (n, socket) in (0_u32..).zip(sockets) {
            sys::put_socket(&targets, n, socket.as_fd().as_raw_fd())?;
        }
        let leads_to = Bytes::of(&ports, PORTS)?;
        let text = program::lead(addr, ports.as_raw_fd(), targets.as_raw_fd());
        let loaded = sys::load(&text)?;
        let link = sys::attach(&loaded)?;
        Ok(Self { leads_to, sockets: sockets.len(), _link: link, _maps: [ports, targets] })
    }

    /// Leads `port` to the socket with this number from now on. False if the port is open already
    /// or there is no such socket. Whether a socket of another program has the port is for the
    /// caller to know: it would hear nothing until [`PortSteer::close`].
    pub fn open(&self, port: u16, socket: usize) -> bool {
        let Some(value) = u8::try_from(socket + 1).ok().filter(|_| socket < self.sockets) else {
            return false;
        };
        let entry = self.entry(port);
        entry.compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Leaves `port` to whoever binds it. What is queued already may still be read.
    pub fn close(&self, port: u16) {
        self.entry(port).store(0, Ordering::Release);
    }

    /// The number of the socket that `port` leads to, if it is open.
    pub fn socket_of(&self, port: u16) -> Option<usize> {
        usize::from(self.entry(port).load(Ordering::Acquire)).checked_sub(1)
    }

    fn entry(&self, port: u16) -> &AtomicU8 {
        &self.leads_to.as_slice()[usize::from(port)]
    }
}

#[cfg(test)]
mod tests;
