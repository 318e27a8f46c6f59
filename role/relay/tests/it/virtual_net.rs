//! The relay's cores with numbered ports and a clock of their own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::keying::dtls::Certificate;
use relay::bridge::{BridgeEvent, Component, Port};
use relay::{
    Config, Control, Description, Direction, Interface, LegProfile, NumberedPorts, Protocol,
    RelayError, SessionId,
};
use sansio::SeededEntropy;

use crate::peers::Peer;

pub const SESSION: SessionId = SessionId(7);
pub const RELAY_IP: &str = "203.0.113.1";

/// A relay in virtual time.
pub struct World {
    pub now: Instant,
    pub control: Control<NumberedPorts>,
    pub events: Vec<BridgeEvent>,
    /// What the relay sent of its own accord.
    pub unasked: Vec<Sent>,
}

/// A packet the relay sent: from which of its ports, to whom.
#[derive(Debug)]
pub struct Sent {
    pub from_port: u16,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

pub fn config() -> Config {
    let mut interface = Interface::new("default", "10.0.0.1".parse().unwrap());
    interface.advertise = Some(RELAY_IP.parse().unwrap());
    Config { interfaces: vec![interface], silence_s: 20, ..Config::default() }
}

pub fn description(direction: Direction, branch: u32, sdp: &[u8], toward: Protocol) -> Description {
    Description {
        session: SESSION,
        branch,
        direction,
        sdp: Bytes::copy_from_slice(sdp),
        from: LegProfile::new(Protocol::Rtp),
        toward: LegProfile::new(toward),
        signalled_from: None,
        tag: String::new(),
    }
}

impl World {
    pub fn new(config: Config) -> Self {
        let ports = NumberedPorts::new(config.interfaces.len(), config.port_min, config.port_max);
        let certificate = Certificate::generate().unwrap();
        let entropy = Box::new(SeededEntropy::new(1));
        let control = Control::new(config, ports, certificate, entropy);
        Self { now: Instant::now(), control, events: Vec::new(), unasked: Vec::new() }
    }

    pub fn offer(&mut self, d: &Description) -> Result<Vec<u8>, RelayError> {
        self.control.offer(self.now, d).map(|sdp| sdp.to_vec())
    }

    pub fn answer(&mut self, d: &Description) -> Result<Vec<u8>, RelayError> {
        self.control.answer(self.now, d).map(|sdp| sdp.to_vec())
    }

    /// Offer and answer between two peers, `toward` the callee.
    pub fn connect(&mut self, caller: &mut Peer, callee: &mut Peer, toward: Protocol) {
        let offer = description(Direction::FromCaller, 1, &caller.describe(None), toward);
        let offered = self.offer(&offer).unwrap();
        callee.take(&offered, false);
        let answer = callee.describe(Some(&offered));
        let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
        let answered = self.answer(&answer).unwrap();
        caller.take(&answered, true);
    }

    /// One packet to one of our ports, and what the relay sends because of it.
    pub fn send(&mut self, from: SocketAddr, to_port: u16, bytes: &[u8]) -> Vec<Sent> {
        let Some(owner) = self.control.ports().owner(0, to_port).cloned() else {
            return Vec::new();
        };
        let component = if to_port.is_multiple_of(2) { Component::Rtp } else { Component::Rtcp };
        let mut buf = bytes.to_vec();
        buf.resize(bytes.len() + 64, 0);
        let mut bridge = owner.bridge.lock();
        let port = Port { leg: owner.leg, component };
        let forward = bridge.handle_packet(self.now, port, from, &mut buf, bytes.len());
        let mut sent = Vec::new();
        if let Some(f) = forward {
            sent.push((f.port, f.to, buf[..f.len].to_vec()));
        }
        while let Some(t) = bridge.poll_transmit() {
            sent.push((t.port, t.to, t.bytes));
        }
        while let Some(event) = bridge.poll_event() {
            self.events.push(event);
        }
        drop(bridge);
        sent.into_iter()
            .map(|(port, to, bytes)| Sent { from_port: self.number(port), to, bytes })
            .collect()
    }

    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        let Some(bridge) = self.control.bridge(SESSION) else { return };
        let mut bridge = bridge.lock();
        bridge.handle_timeout(self.now);
        let mut sent = Vec::new();
        while let Some(t) = bridge.poll_transmit() {
            sent.push((t.port, t.to, t.bytes));
        }
        while let Some(event) = bridge.poll_event() {
            self.events.push(event);
        }
        drop(bridge);
        for (port, to, bytes) in sent {
            let from_port = self.number(port);
            self.unasked.push(Sent { from_port, to, bytes });
        }
    }

    /// Runs a browser's checks and handshake.
    pub fn establish(&mut self, peer: &mut Peer) {
        for _ in 0..100 {
            if peer.is_ready() {
                return;
            }
            let mut queue = peer.poll(self.now);
            for sent in std::mem::take(&mut self.unasked) {
                assert_eq!(sent.to, peer.addr);
                queue.extend(peer.handle(self.now, &sent.bytes).unwrap());
            }
            while let Some(bytes) = queue.pop() {
                for sent in self.send(peer.addr, peer.remote.unwrap().port(), &bytes) {
                    assert_eq!(sent.to, peer.addr);
                    queue.extend(peer.handle(self.now, &sent.bytes).unwrap());
                }
            }
            self.advance(Duration::from_millis(20));
        }
        panic!("no DTLS after two seconds");
    }

    /// Carries packets of ZRTP between two ends, and what the relay says itself, until both have keys.
    pub fn agree(&mut self, a: &mut Peer, b: &mut Peer) {
        for _ in 0..100 {
            if a.is_ready() && b.is_ready() {
                return;
            }
            for from in 0..2 {
                let [sender, other] =
                    if from == 0 { [&mut *a, &mut *b] } else { [&mut *b, &mut *a] };
                let mut queue = sender.poll(self.now);
                while let Some(bytes) = queue.pop() {
                    for sent in self.send(sender.addr, sender.remote.unwrap().port(), &bytes) {
                        let back = sent.to == sender.addr;
                        let to = if back { &mut *sender } else { &mut *other };
                        let answers = to.handle(self.now, &sent.bytes).unwrap_or_default();
                        if back {
                            queue.extend(answers);
                        } else {
                            for answer in answers {
                                let port = other.remote.unwrap().port();
                                for sent in self.send(other.addr, port, &answer) {
                                    assert_eq!(sent.to, sender.addr);
                                    queue.extend(sender.handle(self.now, &sent.bytes).unwrap());
                                }
                            }
                        }
                    }
                }
            }
            for sent in std::mem::take(&mut self.unasked) {
                let to = if sent.to == a.addr { &mut *a } else { &mut *b };
                for answer in to.handle(self.now, &sent.bytes).unwrap_or_default() {
                    let (addr, port) = (to.addr, to.remote.unwrap().port());
                    for sent in self.send(addr, port, &answer) {
                        to.handle(self.now, &sent.bytes);
                    }
                }
            }
            self.advance(Duration::from_millis(20));
        }
        panic!("no agreement after two seconds");
    }

    /// One RTP packet from `a` arrives at `b`, whole and from the right port.
    pub fn assert_heard(&mut self, a: &mut Peer, b: &mut Peer) {
        let packet = a.rtp();
        let sent = self.send(a.addr, a.remote.unwrap().port(), &packet);
        assert_eq!(sent.len(), 1, "one packet in, one out");
        assert_eq!(sent[0].to, b.addr);
        assert_eq!(sent[0].from_port, b.remote.unwrap().port());
        assert_eq!(b.open_rtp(&sent[0].bytes), Some(a.ssrc));
    }

    /// Both ways, RTP and RTCP.
    pub fn assert_talking(&mut self, a: &mut Peer, b: &mut Peer) {
        for _ in 0..3 {
            self.assert_heard(a, b);
            self.assert_heard(b, a);
            self.advance(Duration::from_millis(20));
        }
        self.assert_reports(a, b);
        self.assert_reports(b, a);
    }

    fn assert_reports(&mut self, a: &mut Peer, b: &mut Peer) {
        let report = a.rtcp();
        let port = a.remote_rtcp.unwrap().port();
        let own = |peer: &Peer| {
            let muxed = peer.remote == peer.remote_rtcp;
            SocketAddr::new(peer.addr.ip(), peer.addr.port() + u16::from(!muxed))
        };
        let sent = self.send(own(a), port, &report);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].to, sent[0].from_port), (own(b), b.remote_rtcp.unwrap().port()));
        assert_eq!(b.open_rtcp(&sent[0].bytes), Some(a.ssrc));
    }

    fn number(&self, port: Port) -> u16 {
        let all = (10_000..20_000).step_by(2);
        let even = all
            .into_iter()
            .find(|p| self.control.ports().owner(0, *p).is_some_and(|o| o.leg == port.leg));
        even.unwrap() + u16::from(port.component == Component::Rtcp)
    }
}
