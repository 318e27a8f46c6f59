//! Streams that are no RTP: UDPTL (ITU-T T.38) and the like pass byte by byte, between two learned
//! addresses.

use std::net::SocketAddr;
use std::time::Instant;

use super::latch::{Judgement, Position};
use super::{Bridge, Component, Forward, Leg, Port};

/// Numbers of UDPTL begin at 0 (T.38 §9.1.1): above this, and none before came near, it is RTP that
/// was on its way when sound became a fax.
const HALF: u16 = 0x8000;
const NEAR: u16 = 0x4000;

impl Bridge {
    /// Takes a datagram on a leg that carries such.
    pub(super) fn pass_datagram(
        &mut self,
        now: Instant,
        port: Port,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<Forward> {
        let leg = self.leg_mut(port.leg)?;
        let starts = leg.receive_datagram(now, (port.component, from), datagram)?;
        self.note_rtp(now, port.leg, starts);
        let (target, leg) = self.target(port.leg)?;
        let to = leg.send_datagram(now, datagram.len())?;
        let port = Port { leg: target, component: Component::Rtp };
        Some(Forward { port, source: leg.source, tos: leg.tos, to, len: datagram.len() })
    }
}

impl Leg {
    /// Checks and counts a datagram; whether it is the first.
    fn receive_datagram(
        &mut self,
        now: Instant,
        (component, from): (Component, SocketAddr),
        datagram: &[u8],
    ) -> Option<bool> {
        let number = match datagram {
            [a, b, ..] if component == Component::Rtp => u16::from_be_bytes([*a, *b]),
            _ => {
                self.counters.dropped.malformed += 1;
                return None;
            }
        };
        if !self.described || number >= HALF && self.last_datagram < NEAR {
            self.counters.dropped.early += 1;
            return None;
        }
        match self.rtp.judge_plain(now, from, Position { ssrc: 0, sequence: number }) {
            Judgement::Foreign => {
                self.counters.dropped.injected += 1;
                return None;
            }
            Judgement::Moved => self.counters.moves += 1,
            Judgement::Learned | Judgement::Known => {}
        }
        self.last_datagram = number;
        if self.gate.blocks() {
            self.counters.dropped.gated += 1;
            return None;
        }
        let starts = self.counters.packets_received == 0;
        self.counters.packets_received += 1;
        self.counters.bytes_received += datagram.len() as u64;
        self.counters.last_received = Some(now);
        Some(starts)
    }

    fn send_datagram(&mut self, now: Instant, len: usize) -> Option<SocketAddr> {
        let to = self.destination(now, Component::Rtp)?;
        self.counters.packets_sent += 1;
        self.counters.bytes_sent += len as u64;
        Some(to)
    }
}
