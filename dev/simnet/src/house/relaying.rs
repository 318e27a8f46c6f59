//! The relay's control and packet cores, with numbers for ports.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use edge::{MediaProfile, Refusal, RelayAsk, RelayDescription};
use media::keying::dtls::Certificate;
use relay::bridge::{Component, Home, LegId, Port};
use relay::{
    Config, Control, Description, Direction, Interface, LegProfile, NumberedPorts, OpenError,
    Opened, PortOwner, Ports, Protocol, SessionId, SharedBridge,
};
use sansio::SeededEntropy;

use crate::server::MediaPlane;

/// Room behind a packet for what encryption adds.
const TRAILER: usize = rtp::srtp::MAX_TRAILER;

/// The relay of a house; clones are the same relay.
#[derive(Clone)]
pub struct RelayPlane(Arc<Mutex<Inner>>);

struct Inner {
    control: Control<Numbers>,
    address: IpAddr,
    outgoing: VecDeque<(SocketAddr, SocketAddr, Bytes)>,
}

/// Port numbers, and which leg has which.
struct Numbers {
    ports: NumberedPorts,
    by_leg: BTreeMap<(u64, u16), u16>,
}

impl Ports for Numbers {
    fn home(&mut self, session: SessionId) -> Arc<Home> {
        self.ports.home(session)
    }

    fn leave(&mut self, session: SessionId) {
        self.ports.leave(session);
    }

    fn open(&mut self, interface: usize, owner: &PortOwner) -> Result<Opened, OpenError> {
        let opened = self.ports.open(interface, owner)?;
        self.by_leg.insert((owner.session.0, owner.leg.0), opened.port);
        Ok(opened)
    }

    fn close(&mut self, interface: usize, rtp_port: u16) {
        self.by_leg.retain(|_, port| *port != rtp_port);
        self.ports.close(interface, rtp_port);
    }
}

impl RelayPlane {
    pub(super) fn new(address: IpAddr, seed: u64) -> Self {
        let config =
            Config { interfaces: vec![Interface::new("default", address)], ..Config::default() };
        let ports = NumberedPorts::new(1, config.port_min, config.port_max);
        let ports = Numbers { ports, by_leg: BTreeMap::new() };
        let certificate = Certificate::generate()
            .unwrap_or_else(|error| panic!("a certificate for the relay: {error}"));
        let entropy = Box::new(SeededEntropy::new(seed ^ 0x5e1a));
        let control = Control::new(config, ports, certificate, entropy);
        Self(Arc::new(Mutex::new(Inner { control, address, outgoing: VecDeque::new() })))
    }

    /// Sessions that stand.
    pub fn sessions(&self) -> usize {
        self.inner().control.len()
    }

    /// Port pairs in use.
    pub fn ports_in_use(&self) -> usize {
        self.inner().control.ports().ports.in_use()
    }

    pub(super) fn write(&self, now: Instant, ask: RelayAsk) -> Result<Bytes, Refusal> {
        let control = &mut self.inner().control;
        let written = match ask {
            RelayAsk::Offer(d) => control.offer(now, &translate(d)),
            RelayAsk::Answer(d) => control.answer(now, &translate(d)),
            // No side of this house has a policy for digits: they pass.
            RelayAsk::Digit(_) | RelayAsk::Record(_) => {
                return Err(Refusal::new(501, "Digits Pass"));
            }
            RelayAsk::Trickle(_) => return Err(Refusal::new(501, "Candidates Pass")),
        };
        written.map_err(|error| {
            let (status, reason) = (error.status(), error.to_string());
            Refusal { status, reason, headers: Vec::new() }
        })
    }

    pub(super) fn end(&self, now: Instant, session: u64, branch: Option<u32>) {
        self.inner().control.delete(now, SessionId(session), branch);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The bridges that stand, each once, in order of their sessions.
    fn bridges(&self) -> Vec<(u64, SharedBridge)> {
        let mut sessions: Vec<u64> =
            self.control.ports().by_leg.keys().map(|(session, _)| *session).collect();
        sessions.dedup();
        let bridge = |id: u64| Some((id, self.control.bridge(SessionId(id))?));
        sessions.into_iter().filter_map(bridge).collect()
    }

    fn send(&mut self, session: u64, port: Port, to: SocketAddr, bytes: Bytes) {
        let LegId(leg) = port.leg;
        let Some(rtp) = self.control.ports().by_leg.get(&(session, leg)).copied() else { return };
        let number = rtp + u16::from(port.component == Component::Rtcp);
        self.outgoing.push_back((SocketAddr::new(self.address, number), to, bytes));
    }

    fn collect(&mut self) {
        for (session, bridge) in self.bridges() {
            let mut bridge = bridge.lock();
            while let Some(t) = bridge.poll_transmit() {
                self.send(session, t.port, t.to, t.bytes.into());
            }
            while bridge.poll_event().is_some() {}
        }
    }
}

impl MediaPlane for RelayPlane {
    fn handle_packet(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let mut inner = self.inner();
        let Some(owner) = inner.control.ports().ports.owner(0, to.port()).cloned() else { return };
        let odd = to.port() % 2 == 1;
        let component = if odd { Component::Rtcp } else { Component::Rtp };
        let mut buffer = bytes.to_vec();
        buffer.resize(bytes.len() + TRAILER, 0);
        let port = Port { leg: owner.leg, component };
        let forward = {
            let mut bridge = owner.bridge.lock();
            bridge.handle_packet(now, port, from, &mut buffer, bytes.len())
        };
        if let Some(forward) = forward {
            buffer.truncate(forward.len);
            inner.send(owner.session.0, forward.port, forward.to, buffer.into());
        }
        inner.collect();
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut inner = self.inner();
        for (_, bridge) in inner.bridges() {
            bridge.lock().handle_timeout(now);
        }
        inner.collect();
    }

    fn poll_transmit(&mut self) -> Option<(SocketAddr, SocketAddr, Bytes)> {
        self.inner().outgoing.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let bridges = self.inner().bridges();
        let deadline = |(_, bridge): (u64, SharedBridge)| bridge.lock().poll_timeout();
        bridges.into_iter().filter_map(deadline).min()
    }
}

fn translate(d: RelayDescription) -> Description {
    Description {
        session: SessionId(d.session),
        branch: d.branch,
        direction: if d.from_caller { Direction::FromCaller } else { Direction::FromCallee },
        sdp: d.sdp,
        from: profile(d.from),
        toward: profile(d.toward),
        signalled_from: Some(d.source),
        tag: String::new(),
    }
}

fn profile(profile: MediaProfile) -> LegProfile {
    LegProfile::new(match profile {
        MediaProfile::Sdes => Protocol::Srtp,
        MediaProfile::WebRtc => Protocol::WebRtc,
        _ => Protocol::Rtp,
    })
}
