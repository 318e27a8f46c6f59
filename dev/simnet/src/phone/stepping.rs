//! A phone that steps through transports: what the engine's machine asks for, done on the node.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use phone::{Link, NetworkId, Transports, TransportsOutput, probe_request};
use sansio::{SeededEntropy, Transport, WallTime};

use super::PhoneNode;
use crate::node::{StreamEvent, Transmit};

/// The port of the first probe; each has one of its own.
const PROBE_PORT: u16 = 20_000;

/// The machine, and the probe under way.
pub(super) struct Stepping {
    pub(super) machine: Transports,
    ways: Vec<(Transport, SocketAddr)>,
    probe: Option<Link>,
    probes: u16,
}

impl Stepping {
    /// `None` where the setup names no ways.
    pub(super) fn new(ways: &[(Transport, SocketAddr)]) -> Option<Self> {
        let order: Vec<Transport> = ways.iter().map(|(transport, _)| *transport).collect();
        let machine = Transports::new(&order, Vec::new());
        let ways = ways.to_vec();
        (!ways.is_empty()).then_some(Self { machine, ways, probe: None, probes: 0 })
    }

    fn server(&self, transport: Transport) -> Option<SocketAddr> {
        self.ways.iter().find(|(other, _)| *other == transport).map(|(_, at)| *at)
    }

    fn is_probe(&self, local: SocketAddr) -> bool {
        self.probe.is_some_and(|link| link.local == local)
    }
}

impl PhoneNode {
    /// The phone is on the network of its address.
    pub(super) fn join(&mut self, now: Instant) {
        let network = NetworkId(self.local.ip().to_string());
        if let Some(stepping) = &mut self.stepping {
            stepping.machine.handle_network(now, network);
        }
        self.step(now);
    }

    /// Does what the machine wants.
    pub(super) fn step(&mut self, now: Instant) {
        let busy = !self.media.is_empty();
        let Some(stepping) = &mut self.stepping else { return };
        stepping.machine.set_busy(busy);
        while let Some(output) = self.stepping.as_mut().and_then(|s| s.machine.poll_output()) {
            match output {
                TransportsOutput::Connect(transport) => self.step_to(now, transport),
                TransportsOutput::Probe(transport) => self.probe(transport),
                TransportsOutput::Exhausted => self.hang_link(now),
                TransportsOutput::KeepAlive => {
                    let bytes = Bytes::from_static(b"\r\n\r\n");
                    self.step_sent(now, &bytes);
                    self.send_sip(bytes);
                }
                TransportsOutput::Remember => {}
            }
        }
    }

    fn step_to(&mut self, now: Instant, transport: Transport) {
        self.hang_link(now);
        let Some(server) = self.stepping.as_ref().and_then(|s| s.server(transport)) else { return };
        (self.setup.transport, self.setup.server) = (transport, server);
        self.open_link(now);
        if self.connected {
            self.stepped();
        }
    }

    /// The link the machine asked for stands.
    pub(super) fn stepped(&mut self) {
        if let Some(stepping) = &mut self.stepping {
            stepping.machine.handle_connected();
        }
    }

    /// Lets go of the link.
    fn hang_link(&mut self, now: Instant) {
        let (from, to) = (self.local, self.setup.server);
        if self.setup.transport != Transport::Udp {
            self.outgoing.push_back(Transmit::Close { from, to });
        }
        if std::mem::take(&mut self.connected) {
            self.phone.handle_link_down(now);
        }
    }

    fn probe(&mut self, transport: Transport) {
        let ip = self.local.ip();
        let Some(stepping) = &mut self.stepping else { return };
        let Some(server) = stepping.server(transport) else { return };
        let local = SocketAddr::new(ip, PROBE_PORT + stepping.probes);
        stepping.probes += 1;
        stepping.probe = Some(Link { transport, local, server });
        match transport {
            Transport::Udp => self.ask(),
            _ => self.outgoing.push_back(Transmit::Connect { from: local, to: server }),
        }
    }

    fn ask(&mut self) {
        let Some(stepping) = &self.stepping else { return };
        let Some(link) = stepping.probe else { return };
        let mut entropy = SeededEntropy::new(u64::from(stepping.probes));
        let bytes = probe_request(self.phone.account(), &link, &mut entropy);
        let (from, to) = (link.local, link.server);
        self.outgoing.push_back(match link.transport {
            Transport::Udp => Transmit::Datagram { from, to, bytes },
            _ => Transmit::Send { from, to, bytes },
        });
    }

    /// True when the packet was for the probe.
    pub(super) fn probe_heard(&mut self, now: Instant, wall: WallTime, to: SocketAddr) -> bool {
        let Some(stepping) = self.stepping.as_mut().filter(|s| s.is_probe(to)) else {
            return false;
        };
        if let Some(link) = stepping.probe.take() {
            stepping.machine.handle_probed(now, wall, link.transport, true);
            if link.transport != Transport::Udp {
                let (from, to) = (link.local, link.server);
                self.outgoing.push_back(Transmit::Close { from, to });
            }
        }
        true
    }

    /// True when the event was of the probe.
    pub(super) fn probe_stream(
        &mut self,
        now: Instant,
        wall: WallTime,
        event: &StreamEvent,
    ) -> bool {
        match event {
            StreamEvent::Opened { local, .. } if self.is_probe(*local) => self.ask(),
            StreamEvent::Received { local, .. } if self.is_probe(*local) => {
                self.probe_heard(now, wall, *local);
            }
            // The machine's own limit ends it.
            StreamEvent::Closed { local, .. } if self.is_probe(*local) => {}
            _ => return false,
        }
        true
    }

    fn is_probe(&self, local: SocketAddr) -> bool {
        self.stepping.as_ref().is_some_and(|s| s.is_probe(local))
    }

    pub(super) fn step_sent(&mut self, now: Instant, bytes: &Bytes) {
        if let Some(stepping) = &mut self.stepping {
            stepping.machine.handle_sent(now, bytes);
        }
    }

    /// A keep-alive as it goes by the transport: a STUN request over UDP (RFC 5626 §4.4.2).
    pub(super) fn worded(&self, bytes: Bytes) -> Bytes {
        let is_keep_alive = bytes.iter().all(|b| b"\r\n".contains(b));
        match self.setup.transport {
            Transport::Udp if is_keep_alive && self.stepping.is_some() => {
                ice::stun::Builder::request([7; 12]).finish_bare().into()
            }
            _ => bytes,
        }
    }

    pub(super) fn step_kept_alive(&mut self) {
        if let Some(stepping) = &mut self.stepping {
            stepping.machine.handle_kept_alive();
        }
    }

    pub(super) fn step_heard(&mut self, now: Instant, wall: WallTime) {
        if let Some(stepping) = &mut self.stepping {
            stepping.machine.handle_heard(now, wall);
        }
    }
}
