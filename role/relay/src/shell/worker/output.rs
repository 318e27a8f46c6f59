//! From a batch of packets to what leaves because of them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use net::batch::{BATCH_MAX, RecvBatch, send_batch};
use net::raw::RawPacket;

use super::super::hub::{Hub, RawSockets};
use super::super::sockets::{SessionIo, SocketPorts};
use super::Worker;
use super::table::Watched;
use crate::api::{RelayEvent, SessionId};
use crate::bridge::{Bridge, BridgeEvent, Forward, Port, Transmit};
use crate::control::Control;

/// What a batch or tick left to do once the bridges are unlocked.
#[derive(Default)]
pub(super) struct Outcome {
    /// For each packet of a batch, where it goes.
    forwards: Vec<Option<Forward>>,
    /// Packets of a hub's batch that leave by sockets, and whose they are.
    strays: Vec<(usize, Arc<SessionIo>)>,
    transmits: Vec<(Arc<SessionIo>, Transmit)>,
    events: Vec<(SessionId, BridgeEvent)>,
    /// Buffers of packets that were sent.
    spare: Vec<Vec<u8>>,
}

/// Buffers kept; a round of a full thread copies no more for listeners.
const SPARE_MAX: usize = 256;

impl Outcome {
    pub(super) fn collect(&mut self, io: &Arc<SessionIo>, bridge: &mut Bridge) {
        while let Some(transmit) = bridge.poll_transmit() {
            self.transmits.push((Arc::clone(io), transmit));
        }
        while let Some(event) = bridge.poll_event() {
            self.events.push((io.session, event));
        }
        bridge.restock(&mut self.spare);
    }
}

impl Worker {
    /// Takes one batch from a hub and forwards it; how many datagrams it was.
    pub(super) fn drain_hub(
        &self,
        (hub, raw): (&Hub, &mut RawSockets),
        batch: &mut RecvBatch,
        out: &mut Outcome,
    ) -> usize {
        // Errors are passing: nothing waits, or memory is short.
        let Ok(taken) = batch.recv(&hub.socket) else { return 0 };
        let now = Instant::now();
        out.forwards.clear();
        // Left by a batch that panicked: they name packets that are gone.
        out.strays.clear();
        {
            let routes = hub.routes();
            let mut home = self.home.lock();
            for packet in batch.addressed_mut() {
                let route = packet.to.and_then(|to| routes.find(to.port()));
                let known = route.and_then(|r| home.bridge(r.bridge).map(|bridge| (r, bridge)));
                // A port that was closed while its packet waited.
                let Some((route, bridge)) = known else {
                    out.forwards.push(None);
                    continue;
                };
                let forward =
                    bridge.handle_packet(now, route.port, packet.from, packet.slot, packet.len);
                if hub.is_any
                    && forward.is_some()
                    && let Some(to) = packet.to
                {
                    bridge.talked_to_at(route.port, to);
                }
                if let (Some(_), Some(tos)) = (&forward, packet.tos) {
                    bridge.note_tos(route.port, tos);
                }
                // A transcoder's timers move with its packets.
                let timers = bridge.is_processing() != (false, false);
                let news = bridge.has_news();
                if news {
                    out.collect(&route.io, bridge);
                }
                if forward.is_some_and(|f| f.source.is_none()) {
                    out.strays.push((out.forwards.len(), Arc::clone(&route.io)));
                }
                if news || timers || forward.is_none() {
                    home.touch(route.bridge);
                }
                out.forwards.push(forward);
            }
        }
        self.send_raw(raw, batch, &out.forwards);
        self.send_strays(batch, out);
        self.send_transmits(out);
        taken
    }

    fn send_raw(&self, raw: &mut RawSockets, batch: &mut RecvBatch, forwards: &[Option<Forward>]) {
        let packets = batch.addressed_mut().zip(forwards).filter_map(|(packet, forward)| {
            let forward = (*forward)?;
            let payload = &packet.slot[..forward.len];
            let (from, to) = (forward.source?, forward.to);
            // As Linux sends UDP: no relayed packet is longer than the path that brought it.
            Some(RawPacket { from, to, payload, tos: forward.tos, dont_fragment: true })
        });
        let packets: smallvec::SmallVec<[RawPacket<'_>; BATCH_MAX]> = packets.collect();
        self.send_errors.fetch_add(raw.send(&packets), Ordering::Relaxed);
    }

    /// Sends what came by a hub and leaves by an interface that has a socket for each port.
    fn send_strays(&self, batch: &mut RecvBatch, out: &mut Outcome) {
        if out.strays.is_empty() {
            return;
        }
        let mut strays = out.strays.drain(..).peekable();
        for (n, packet) in batch.addressed_mut().enumerate() {
            let Some((_, io)) = strays.next_if(|(at, _)| *at == n) else { continue };
            let Some(forward) = out.forwards[n] else { continue };
            if let Some(socket) = io.socket(forward.port) {
                self.send_one(&socket, forward.to, &packet.slot[..forward.len]);
            }
        }
    }

    /// Takes one batch from a socket, forwards it, sends what the legs have to say.
    pub(super) fn drain(&self, watched: &Watched, batch: &mut RecvBatch, out: &mut Outcome) {
        // Errors are ICMP reports of earlier sends (a peer that went away): reading clears them.
        if batch.recv(&*watched.socket).is_err() {
            return;
        }
        let now = Instant::now();
        out.forwards.clear();
        {
            let mut bridge = watched.io.bridge.look();
            for packet in batch.addressed_mut() {
                let (port, from) = (watched.port, packet.from);
                let forward = bridge.handle_packet(now, port, from, packet.slot, packet.len);
                if let (Some(_), Some(tos)) = (&forward, packet.tos) {
                    bridge.note_tos(port, tos);
                }
                out.forwards.push(forward);
            }
            out.collect(&watched.io, &mut bridge);
        }
        self.send_forwards(&watched.io, batch, &out.forwards);
        self.send_transmits(out);
    }

    /// Sends a batch's packets, as many per call as go by one socket.
    fn send_forwards(&self, io: &SessionIo, batch: &mut RecvBatch, forwards: &[Option<Forward>]) {
        let slots = batch.slots_mut().zip(forwards);
        let mut packets = slots.filter_map(|((_, buf, _), f)| f.map(|f| (f, &buf[..f.len])));
        if forwards.len() == 1 {
            // The usual case: one packet, no batch to build.
            if let Some((forward, bytes)) = packets.next()
                && let Some(socket) = io.socket(forward.port)
            {
                self.send_one(&socket, forward.to, bytes);
            }
            return;
        }
        let mut run: Vec<(Option<SocketAddr>, &[u8])> = Vec::with_capacity(forwards.len());
        let mut run_port = None;
        for (forward, bytes) in packets {
            if run_port.is_some_and(|port| port != forward.port) {
                self.send_run(io, run_port.take(), &run);
                run.clear();
            }
            run_port = Some(forward.port);
            run.push((Some(forward.to), bytes));
        }
        self.send_run(io, run_port, &run);
    }

    fn send_run(
        &self,
        io: &SessionIo,
        port: Option<Port>,
        mut run: &[(Option<SocketAddr>, &[u8])],
    ) {
        let Some(socket) = port.and_then(|port| io.socket(port)) else { return };
        while !run.is_empty() {
            let sent = match send_batch(&*socket, &run[..run.len().min(BATCH_MAX)]) {
                Ok(sent) => sent.max(1),
                // The first packet cannot go (unreachable, buffer full): it is lost, as on any path.
                Err(_) => {
                    self.send_errors.fetch_add(1, Ordering::Relaxed);
                    1
                }
            };
            run = &run[sent.min(run.len())..];
        }
    }

    fn send_one(&self, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
        if socket.send_to(bytes, to).is_err() {
            self.send_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn send_transmits(&self, out: &mut Outcome) {
        for (io, transmit) in out.transmits.drain(..) {
            if let Some(socket) = io.socket(transmit.port) {
                self.send_one(&socket, transmit.to, &transmit.bytes);
            }
            if out.spare.len() < SPARE_MAX {
                out.spare.push(transmit.bytes);
            }
        }
    }
}

/// Tells what happened; no lock of a bridge is held here.
pub(super) fn report(
    out: &mut Outcome,
    control: &Mutex<Control<SocketPorts>>,
    on_event: &dyn Fn(RelayEvent),
) {
    for (session, event) in out.events.drain(..) {
        let branch = |leg| {
            let control = control.lock().unwrap_or_else(PoisonError::into_inner);
            control.branch_of(session, leg)
        };
        // A leg that is gone by now has nothing to report.
        let told = match event {
            BridgeEvent::MediaSilent => Some(RelayEvent::MediaSilent { session }),
            BridgeEvent::MediaStarted(leg) => {
                branch(leg).map(|branch| RelayEvent::MediaStarted { session, branch })
            }
            BridgeEvent::HandshakeFailed(leg) => {
                branch(leg).map(|branch| RelayEvent::HandshakeFailed { session, branch })
            }
            BridgeEvent::ConsentLost(leg) => {
                branch(leg).map(|branch| RelayEvent::ConsentLost { session, branch })
            }
            BridgeEvent::MarksLost { leg, inbound, outbound } => branch(leg)
                .map(|branch| RelayEvent::MarksLost { session, branch, inbound, outbound }),
            BridgeEvent::Digit { from, digit, duration_ms } => {
                branch(from).map(|branch| RelayEvent::Digit { session, branch, digit, duration_ms })
            }
        };
        if let Some(told) = told {
            if let RelayEvent::MarksLost { branch, inbound, outbound, .. } = &told {
                let (call, caller) = (session.0, branch.is_none());
                tracing::warn!(
                    call,
                    caller,
                    inbound,
                    outbound,
                    "the network changes the marks (DSCP) of a side's packets; the call goes on"
                );
            }
            tracing::debug!(event = ?told, "relay");
            on_event(told);
        }
    }
}
