//! Streams that need nothing of us any more: the kernel may forward them by itself
//! (docs/design/0115-established-streams-in-the-kernel.md).
//!
//! ```text
//!   plain, latched, nothing to do to it ──► stream_path ──► shell opens a KernelStream
//!                                                              │ counts, now and then
//!   another address, another SSRC, a command ──► closed ◄──────┘ and ours again
//! ```
//!
//! While a stream is open its packets are not seen here; those that are, are strays.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Instant;

use net::fast_path::{FlowCount, FlowPath};

use super::latch::Position;
use super::{Bridge, Leg, LegId, Security};

/// A stream is known well enough after this many packets.
const ESTABLISHED: u64 = 25;
/// Packets of an open stream that reach us all the same, before it is taken back: it is not what it
/// was. A few were on their way when it was opened.
const STRAYS_MAX: u8 = 10;

/// A stream that the kernel forwards until this is dropped.
pub trait KernelStream: fmt::Debug + Send {
    /// What it forwarded since it was asked before.
    fn count(&mut self) -> FlowCount;

    /// Whether the way it sends by is still the system's.
    fn is_current(&mut self) -> bool;

    /// Forwards no more; what was forwarded can still be asked for.
    fn close(&mut self);
}

impl KernelStream for net::fast_path::Flow {
    fn count(&mut self) -> FlowCount {
        Self::count(self)
    }

    fn is_current(&mut self) -> bool {
        Self::is_current(self)
    }

    fn close(&mut self) {
        Self::close(self);
    }
}

/// What comes from one leg and is forwarded by the kernel.
#[derive(Debug)]
pub(super) struct OpenStream {
    from: LegId,
    to: LegId,
    path: FlowPath,
    stream: Box<dyn KernelStream>,
    strays: u8,
}

impl Bridge {
    /// Has the kernel forward every stream that may be and is not yet, by what `open` makes of it.
    /// Those that are not what they were are taken back.
    pub fn open_streams(
        &mut self,
        open: &mut dyn FnMut(&FlowPath) -> Option<Box<dyn KernelStream>>,
    ) {
        if self.has_streams() {
            self.count_streams();
            let paths: Vec<_> = self.streams.iter().map(|s| self.stream_path(s.from)).collect();
            let mut current = self.streams.iter_mut().zip(paths).map(|(open, path)| {
                path.is_some_and(|(to, path)| open.goes_on_as(to, &path))
                    && open.stream.is_current()
            });
            if !current.all(|is| is) {
                self.close_streams();
            }
        }
        for from in (0..self.legs.len()).map(|at| LegId(at as u16)) {
            if self.streams.iter().any(|stream| stream.from == from) {
                continue;
            }
            let Some((to, path)) = self.stream_path(from) else { continue };
            if let Some(stream) = open(&path) {
                self.streams.push(OpenStream { from, to, path, stream, strays: 0 });
            }
        }
    }

    /// Whether the kernel forwards anything of this session.
    pub fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Takes what the kernel counted into the legs' counters.
    pub fn count_streams(&mut self) {
        for at in 0..self.streams.len() {
            let (from, to) = (self.streams[at].from, self.streams[at].to);
            let count = self.streams[at].stream.count();
            let Some(last) = count.last.filter(|_| count.packets > 0) else { continue };
            let ssrc = self.streams[at].path.ssrc;
            if let Some(leg) = self.leg_mut(from) {
                leg.take_count(&count, last, ssrc);
            }
            if let Some(leg) = self.leg_mut(to) {
                leg.counters.packets_sent += count.packets;
                leg.counters.bytes_sent += count.bytes;
            }
            self.note_rtp(last, from, false);
        }
    }

    /// Takes all streams back, with what was counted.
    pub fn close_streams(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        self.streams.iter_mut().for_each(|open| open.stream.close());
        self.count_streams();
        self.streams.clear();
    }

    /// A packet of `leg`'s was accepted here. The kernel's streams end with a peer that moved, and
    /// with one that sends something else than before.
    #[inline]
    pub(super) fn note_stray(&mut self, leg: LegId, moved: bool) {
        if self.streams.is_empty() {
            return;
        }
        let stray = self.streams.iter_mut().find(|open| open.from == leg);
        let strays = stray.map_or(0, |open| {
            open.strays = open.strays.saturating_add(1);
            open.strays
        });
        if moved || strays > STRAYS_MAX {
            self.close_streams();
        }
    }

    /// Where what comes from a leg goes, if nothing is to be done to it.
    fn stream_path(&self, from: LegId) -> Option<(LegId, FlowPath)> {
        let to = self.target_id(from)?;
        if self.tap.is_some() || self.aside.is_some() || self.processes(from) {
            return None;
        }
        let (sender, receiver) = (self.leg(from)?, self.leg(to)?);
        let path = sender.stream_in()?;
        let (source, to_addr, tos) = receiver.stream_out()?;
        Some((to, FlowPath { source, to: to_addr, tos, ..path }))
    }
}

impl OpenStream {
    /// Whether it still is what the legs say. Jitter changes all the time.
    fn goes_on_as(&self, to: LegId, path: &FlowPath) -> bool {
        let jitter_x16 = self.path.jitter_x16;
        self.to == to && self.path == FlowPath { jitter_x16, ..*path }
    }
}

impl Leg {
    /// The half of a path that says what comes; `None` when packets must be looked at.
    fn stream_in(&self) -> Option<FlowPath> {
        let plain = matches!(self.security, Security::Plain) && self.ice.is_none();
        if !plain
            || !self.has_one_source()
            || !self.gate.is_open()
            || self.counters.packets_received < ESTABLISHED
        {
            return None;
        }
        let (from, at) = self.latched()?;
        let ours = specific(self.source?)?;
        let (clock_rate, jitter_x16) = self.clock_and_jitter();
        let (from, ssrc) = (specific(from)?, at.ssrc);
        Some(FlowPath { ours, from, source: ours, to: from, tos: 0, ssrc, clock_rate, jitter_x16 })
    }

    /// The half that says how it leaves.
    fn stream_out(&self) -> Option<(SocketAddrV4, SocketAddrV4, u8)> {
        if !matches!(self.security, Security::Plain) || self.ice.is_some() {
            return None;
        }
        // To an address a packet came from: what SDP named may be wrong still.
        let (to, _) = self.latched()?;
        Some((specific(self.source?)?, specific(to)?, self.tos))
    }

    fn take_count(&mut self, count: &FlowCount, last: Instant, ssrc: u32) {
        self.counters.packets_received += count.packets;
        self.counters.bytes_received += count.bytes;
        self.counters.last_received = Some(last);
        self.counters.tos = Some(count.tos);
        self.note_payload_type(count.payload_type);
        self.note_position(last, Position { ssrc, sequence: count.sequence });
        self.note_received(count.packets, count.sequence, count.jitter_x16);
    }
}

/// An address of IPv4 that stands for one machine.
fn specific(addr: SocketAddr) -> Option<SocketAddrV4> {
    match addr {
        SocketAddr::V4(v4) if !v4.ip().is_unspecified() => Some(v4),
        _ => None,
    }
}
