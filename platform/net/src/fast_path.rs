//! Streams forwarded in the kernel, before they reach a socket: XDP.
//!
//! ```text
//!   driver ─► program: flow open for this port, same peer, same SSRC? ── no ──► sockets, as ever
//!                               └── yes ─► counted, readdressed, sent ─► driver
//! ```
//!
//! User space opens a [`Flow`] when it knows a stream well, reads from it what went by, and closes it
//! by dropping it; opening and closing are a few stores into memory shared with the kernel. What is
//! not exactly the stream goes to the sockets, so nothing is decided here.
//!
//! It needs the feature `xdp` at build time (clang, libbpf-dev), and Linux 5.12 with the rights
//! `CAP_BPF` and `CAP_NET_ADMIN` at run time. Without them [`FastPath::attach`] says what is missing
//! and everything goes by the sockets. The program is `bpf/forward.bpf.c`. IPv4 over Ethernet.

#[cfg(feature = "xdp")]
mod kernel;
#[cfg(feature = "xdp")]
mod next_hop;

use std::net::SocketAddrV4;
use std::time::Instant;

#[cfg(feature = "xdp")]
pub use kernel::{FastPath, Flow};

/// What a flow takes in and where that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowPath {
    /// Our address the packets come to; its port is one of the range the path was attached with.
    pub ours: SocketAddrV4,
    /// Where they come from.
    pub from: SocketAddrV4,
    /// Our address they leave by.
    pub source: SocketAddrV4,
    /// Where they go.
    pub to: SocketAddrV4,
    /// The type of service octet they leave with.
    pub tos: u8,
    /// The synchronisation source; packets of another go to the sockets.
    pub ssrc: u32,
    /// The stream's clock, in Hz, below 2^20: jitter is measured by it.
    pub clock_rate: u32,
    /// The jitter so far, in sixteenths of the clock.
    pub jitter_x16: u32,
}

/// What a flow forwarded since it was asked before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlowCount {
    /// RTP packets.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// When the last one came; `None` before the first.
    pub last: Option<Instant>,
    /// The newest sequence number.
    pub sequence: u16,
    /// The last packet's payload type.
    pub payload_type: u8,
    /// The last packet's type of service octet.
    pub tos: u8,
    /// The jitter now, in sixteenths of the clock (RFC 3550 §6.4.1).
    pub jitter_x16: u32,
}

/// What stands for it in a program built without the feature `xdp`.
#[cfg(not(feature = "xdp"))]
mod absent {
    use std::convert::Infallible;
    use std::io;
    use std::ops::RangeInclusive;
    use std::sync::Arc;

    use super::{FlowCount, FlowPath};

    /// The program in the kernel: there is none.
    #[derive(Debug)]
    pub struct FastPath(Infallible);

    /// A stream that is forwarded in the kernel: there is none.
    #[derive(Debug)]
    pub struct Flow(Infallible);

    impl FastPath {
        /// Never succeeds.
        ///
        /// # Errors
        /// `Unsupported`: the program was built without it.
        pub fn attach(_: &[String], _: RangeInclusive<u16>) -> io::Result<Arc<Self>> {
            let why = "this program was built without XDP (cargo build --features xdp)";
            Err(io::Error::new(io::ErrorKind::Unsupported, why))
        }

        /// Never reached.
        pub fn is_native(&self) -> bool {
            match self.0 {}
        }

        /// Never reached.
        pub fn is_working(&self) -> bool {
            match self.0 {}
        }

        /// Never reached.
        pub fn open_flows(&self) -> usize {
            match self.0 {}
        }

        /// Never reached.
        pub fn forwarded(&self) -> u64 {
            match self.0 {}
        }

        /// Never reached.
        pub fn open(self: &Arc<Self>, _: &FlowPath) -> Option<Flow> {
            match self.0 {}
        }
    }

    impl Flow {
        /// Never reached.
        pub fn count(&mut self) -> FlowCount {
            match self.0 {}
        }

        /// Never reached.
        pub fn is_current(&mut self) -> bool {
            match self.0 {}
        }

        /// Never reached.
        pub fn close(&mut self) {
            match self.0 {}
        }
    }
}

#[cfg(not(feature = "xdp"))]
pub use absent::{FastPath, Flow};
