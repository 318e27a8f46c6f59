//! One host's ends of streams: bytes in order, cut anywhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::dice::Dice;
use crate::node::{CloseReason, StreamEvent};
use crate::packet::{Kind, Packet, sip_label};

/// The longest piece: what fits into one Ethernet frame.
const PIECE_MAX: usize = 1448;

/// A stream seen from here: (this side, the other side).
type Pair = (SocketAddr, SocketAddr);

#[derive(Debug, Default)]
struct End {
    open: bool,
    waiting: Vec<Bytes>,
    sent: u64,
    received: u64,
    early: BTreeMap<u64, Packet>,
}

/// What follows from a packet.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) packets: Vec<Packet>,
    pub(crate) events: Vec<StreamEvent>,
}

/// All streams of one host.
#[derive(Debug)]
pub(crate) struct Streams {
    host: usize,
    ends: BTreeMap<Pair, End>,
}

impl Streams {
    pub(crate) fn new(host: usize) -> Self {
        Self { host, ends: BTreeMap::new() }
    }

    pub(crate) fn connect(&mut self, local: SocketAddr, peer: SocketAddr) -> Packet {
        self.ends.insert((local, peer), End::default());
        self.packet(Kind::Open, local, peer, Bytes::new())
    }

    /// The packets that carry `bytes`; none before the stream is open, or if there is none.
    pub(crate) fn send(
        &mut self,
        local: SocketAddr,
        peer: SocketAddr,
        bytes: &Bytes,
        dice: &mut Dice,
    ) -> Vec<Packet> {
        let Some(end) = self.ends.get_mut(&(local, peer)) else { return Vec::new() };
        if !end.open {
            end.waiting.push(bytes.clone());
            return Vec::new();
        }
        let pieces = cut(bytes, dice);
        let first = end.sent;
        end.sent += pieces.len() as u64;
        let numbered = pieces.into_iter().zip(first..);
        let mut packets: Vec<Packet> = numbered
            .map(|(piece, seq)| self.packet(Kind::Piece { seq }, local, peer, piece))
            .collect();
        // The ladder shows a message when its last piece arrives.
        packets.iter_mut().for_each(|p| p.label = None);
        if let Some(last) = packets.last_mut() {
            last.label = sip_label(bytes);
        }
        packets
    }

    pub(crate) fn close(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<Packet> {
        let end = self.ends.remove(&(local, peer))?;
        let kind = if end.open { Kind::End { seq: end.sent } } else { Kind::Reset };
        Some(self.packet(kind, local, peer, Bytes::new()))
    }

    /// Forgets every stream; the packets that tell the other sides.
    pub(crate) fn reset_all(&mut self) -> Vec<Packet> {
        let ends = std::mem::take(&mut self.ends);
        ends.keys().map(|(l, p)| self.packet(Kind::Reset, *l, *p, Bytes::new())).collect()
    }

    /// Forgets every stream without telling anyone but the node.
    pub(crate) fn drop_all(&mut self, reason: CloseReason) -> Vec<StreamEvent> {
        let ends = std::mem::take(&mut self.ends);
        ends.into_keys().map(|(local, peer)| StreamEvent::Closed { local, peer, reason }).collect()
    }

    /// The stream got no answer for too long.
    pub(crate) fn give_up(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<StreamEvent> {
        self.ends.remove(&(local, peer))?;
        Some(StreamEvent::Closed { local, peer, reason: CloseReason::TimedOut })
    }

    pub(crate) fn handle(&mut self, packet: Packet, listens: bool, dice: &mut Dice) -> Outcome {
        let (local, peer) = (packet.to, packet.from);
        match packet.kind {
            Kind::Open if listens => self.accept(local, peer),
            Kind::Opened => self.opened(local, peer, dice),
            Kind::Reset => self.closed(local, peer, CloseReason::Reset),
            Kind::Piece { .. } | Kind::End { .. } if self.ends.contains_key(&(local, peer)) => {
                self.arrived(packet)
            }
            Kind::Datagram => Outcome::default(),
            _ => {
                let reset = self.packet(Kind::Reset, local, peer, Bytes::new());
                Outcome { packets: vec![reset], events: Vec::new() }
            }
        }
    }

    fn accept(&mut self, local: SocketAddr, peer: SocketAddr) -> Outcome {
        self.ends.insert((local, peer), End { open: true, ..End::default() });
        let packets = vec![self.packet(Kind::Opened, local, peer, Bytes::new())];
        Outcome { packets, events: vec![StreamEvent::Opened { local, peer }] }
    }

    fn opened(&mut self, local: SocketAddr, peer: SocketAddr, dice: &mut Dice) -> Outcome {
        let Some(end) = self.ends.get_mut(&(local, peer)) else { return Outcome::default() };
        end.open = true;
        let waiting = std::mem::take(&mut end.waiting);
        let packets = waiting.iter().flat_map(|b| self.send(local, peer, b, dice)).collect();
        Outcome { packets, events: vec![StreamEvent::Opened { local, peer }] }
    }

    fn closed(&mut self, local: SocketAddr, peer: SocketAddr, reason: CloseReason) -> Outcome {
        let known = self.ends.remove(&(local, peer)).is_some();
        let events = known.then_some(StreamEvent::Closed { local, peer, reason });
        Outcome { packets: Vec::new(), events: events.into_iter().collect() }
    }

    /// Puts a piece in its place, and hands on whatever is complete.
    fn arrived(&mut self, packet: Packet) -> Outcome {
        let (local, peer) = (packet.to, packet.from);
        let mut outcome = Outcome::default();
        let Some(end) = self.ends.get_mut(&(local, peer)) else { return outcome };
        let (Kind::Piece { seq } | Kind::End { seq }) = packet.kind else { return outcome };
        end.early.insert(seq, packet);
        while let Some(next) = end.early.remove(&end.received) {
            if matches!(next.kind, Kind::End { .. }) {
                outcome.events.extend(self.closed(local, peer, CloseReason::Ended).events);
                return outcome;
            }
            end.received += 1;
            outcome.events.push(StreamEvent::Received { local, peer, bytes: next.bytes });
        }
        outcome
    }

    fn packet(&self, kind: Kind, from: SocketAddr, to: SocketAddr, bytes: Bytes) -> Packet {
        Packet::new(self.host, kind, from, to, bytes)
    }
}

/// Cuts where frames end, and one time in four somewhere else too: receivers must not mind.
fn cut(bytes: &Bytes, dice: &mut Dice) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let whole = rest.len().min(PIECE_MAX);
        let length = if dice.chance(0.25) { 1 + dice.below(whole) } else { whole };
        pieces.push(rest.split_to(length));
    }
    pieces
}
