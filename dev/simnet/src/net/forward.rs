//! The way of a packet: host, link, router, translator, link, host.

use std::time::Duration;

use super::{Net, Occupant};
use crate::event::{Event, Stop};
use crate::packet::{Kind, Packet, Protocol};
use crate::trace::{Fate, TraceEntry};
use crate::wire::Way;

/// A stream without an answer for this long is dead to its sender.
const STREAM_PATIENCE: Duration = Duration::from_secs(30);

/// How often a stream's piece tries a link that is down.
const RETRY_EVERY: Duration = Duration::from_secs(1);

impl Net {
    /// A host puts a packet on its link.
    pub(super) fn send_packet(&mut self, host: usize, packet: Packet) {
        let slot = &self.hosts[host];
        let (wire, realm) = (slot.wire, slot.realm);
        if slot.address != packet.from.ip() {
            return self.undeliverable(&packet, Fate::NotItsAddress);
        }
        let (datagram, port) = (packet.protocol() == Protocol::Udp, packet.to.port());
        if slot.blocked.iter().any(|(kind, ports)| *kind == datagram && ports.contains(&port)) {
            return self.undeliverable(&packet, Fate::StoppedByFirewall);
        }
        self.cross(wire, Way::Out, Stop::Router(realm), packet);
    }

    pub(super) fn arrived(&mut self, stop: Stop, packet: Packet) {
        match stop {
            Stop::Router(realm) => self.route(realm, packet),
            Stop::Host(host) => self.deliver(host, packet),
        }
    }

    pub(super) fn retry(
        &mut self,
        (wire, way): (usize, Way),
        stop: Stop,
        packet: Packet,
        tries: u32,
    ) {
        if self.wires[wire].up {
            self.cross(wire, way, stop, packet);
        } else if RETRY_EVERY * tries >= STREAM_PATIENCE {
            self.agenda.add(self.clock.now(), Event::StreamDead { origin: packet.origin });
            self.drop_packet(&packet, Fate::LostOnLink);
        } else {
            let at = self.clock.now() + RETRY_EVERY;
            self.agenda.add(at, Event::Retry { wire, way, stop, packet, tries: tries + 1 });
        }
    }

    fn cross(&mut self, wire: usize, way: Way, stop: Stop, packet: Packet) {
        let now = self.clock.now();
        let how = (way, packet.length());
        if !packet.is_alone() {
            match self.wires[wire].cross_reliably(now, how, &mut self.dice) {
                Some(at) => self.agenda.add(at, Event::Arrived { stop, packet }),
                None => self.retry((wire, way), stop, packet, 0),
            }
            return;
        }
        let arrivals = self.wires[wire].cross(now, how, &mut self.dice);
        if arrivals.is_empty() {
            self.drop_packet(&packet, Fate::LostOnLink);
        }
        for at in arrivals {
            self.agenda.add(at, Event::Arrived { stop, packet: packet.clone() });
        }
    }

    fn route(&mut self, realm: usize, mut packet: Packet) {
        match self.directory.get(&(realm, packet.to.ip())).copied() {
            Some(Occupant::Host(host)) => {
                let wire = self.hosts[host].wire;
                self.cross(wire, Way::In, Stop::Host(host), packet);
            }
            Some(Occupant::Nat(nat)) => self.translate_in(nat, packet),
            None if realm == 0 => self.undeliverable(&packet, Fate::NoSuchHost),
            None => {
                let nat = realm - 1;
                let now = self.clock.now();
                let slot = &mut self.nats[nat];
                let hairpin = packet.to.ip() == slot.address;
                if hairpin && !slot.nat.config.hairpinning {
                    return self.undeliverable(&packet, Fate::StoppedByNat);
                }
                packet.from = slot.nat.outbound(now, packet.protocol(), packet.from, packet.to);
                if hairpin {
                    return self.translate_in(nat, packet);
                }
                let (wire, outer) = (slot.wire, slot.outer);
                self.cross(wire, Way::Out, Stop::Router(outer), packet);
            }
        }
    }

    fn translate_in(&mut self, nat: usize, mut packet: Packet) {
        let now = self.clock.now();
        let slot = &self.nats[nat];
        match slot.nat.inbound(now, packet.protocol(), packet.from, packet.to.port()) {
            Some(inner) => {
                packet.to = inner;
                let wire = slot.wire;
                self.cross(wire, Way::In, Stop::Router(nat + 1), packet);
            }
            None => self.undeliverable(&packet, Fate::StoppedByNat),
        }
    }

    fn deliver(&mut self, host: usize, packet: Packet) {
        let slot = &self.hosts[host];
        if slot.address != packet.to.ip() {
            return self.undeliverable(&packet, Fate::NoSuchHost);
        }
        let receiver = Some(slot.name.clone());
        let listens = slot.up && slot.node.listens(packet.to);
        if !slot.up && packet.is_alone() {
            return self.drop_packet(&packet, Fate::HostDown);
        }
        self.trace_packet(&packet, receiver, Fate::Delivered);
        let (now, wall) = (self.clock.now(), self.clock.wall());
        if packet.kind == Kind::Datagram {
            let node = &mut self.hosts[host].node;
            node.handle_packet(now, wall, packet.from, packet.to, &packet.bytes);
        } else if packet.kind == Kind::Segment {
            let node = &mut self.hosts[host].node;
            node.handle_segment(now, packet.from, packet.to, &packet.bytes);
        } else {
            let outcome = self.hosts[host].streams.handle(packet, listens, &mut self.dice);
            for packet in outcome.packets {
                self.send_packet(host, packet);
            }
            for event in outcome.events {
                self.hosts[host].node.handle_stream(now, wall, event);
            }
        }
        if self.hosts[host].up {
            self.drain(host);
        }
    }

    /// Nobody tells the sender of a datagram; the sender of a stream notices in the end.
    fn undeliverable(&mut self, packet: &Packet, fate: Fate) {
        self.drop_packet(packet, fate);
        if !packet.is_alone() && packet.kind != Kind::Reset {
            let at = self.clock.now() + STREAM_PATIENCE;
            self.agenda.add(at, Event::StreamDead { origin: packet.origin });
        }
    }

    fn drop_packet(&mut self, packet: &Packet, fate: Fate) {
        self.trace_packet(packet, None, fate);
    }

    fn trace_packet(&mut self, packet: &Packet, receiver: Option<String>, fate: Fate) {
        self.trace.add(TraceEntry::Packet {
            at: self.clock.elapsed(),
            sender: self.hosts[packet.origin.host].name.clone(),
            receiver,
            from: packet.from,
            to: packet.to,
            label: packet.label.clone(),
            length: packet.bytes.len(),
            fate,
        });
    }
}
