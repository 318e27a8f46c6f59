//! The session's ways: without ICE its one socket and the address in the description, with ICE what
//! the [`Traversal`] finds.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{MediaEvent, MediaOutput, Session};
use crate::traversal::{RemoteIce, StreamEvent, Traversal, TraversalEvent, TraversalOutput};

impl Session {
    /// Gives the session ways to gather and to choose from. Before the first description.
    pub fn set_traversal(&mut self, traversal: Traversal) {
        self.traversal = Some(traversal);
    }

    /// Begins to gather; [`MediaEvent::Gathered`] says when a description can say all there is.
    pub fn begin_gathering(&mut self, now: Instant) {
        if let Some(traversal) = &mut self.traversal {
            traversal.begin(now);
        }
        self.drain_traversal();
    }

    /// Whether there is nothing worth waiting for before a description is written.
    pub fn is_gathered(&self) -> bool {
        self.traversal.as_ref().is_none_or(Traversal::is_gathered)
    }

    /// The session's ways, for another session. What it wanted sent by them is lost: collect that
    /// first.
    pub fn take_traversal(&mut self) -> Option<Traversal> {
        self.traversal.take()
    }

    /// Takes over the ways of another session for the same offer, another phone's of a fork.
    pub fn adopt_traversal(&mut self, now: Instant, traversal: Option<Traversal>) {
        self.traversal = traversal;
        let known = self.remote_ice.clone();
        if let (Some(traversal), true) = (&mut self.traversal, self.negotiated.is_some()) {
            traversal.set_remote(now, known.as_ref(), true);
        }
        self.drain_traversal();
    }

    /// The session's ways.
    pub fn traversal(&self) -> Option<&Traversal> {
        self.traversal.as_ref()
    }

    /// Something happened to the stream to a TURN server.
    pub fn handle_stream(&mut self, now: Instant, server: u8, event: StreamEvent) {
        let Some(traversal) = &mut self.traversal else { return };
        for (path, packet) in traversal.handle_stream(now, server, event) {
            self.handle_packet(now, Some(path), path.remote, &packet);
        }
        self.drain_traversal();
    }

    /// New ICE credentials: the next offer restarts ICE (RFC 8445 §2.4). False where it is not
    /// spoken.
    pub fn restart_ice(&mut self) -> bool {
        let speaking = self.traversal.as_mut().filter(|t| t.speaks_ice());
        speaking.map(Traversal::restart).is_some()
    }

    /// A datagram came to the RTP or RTCP port.
    pub(super) fn arrive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        match &mut self.traversal {
            None => self.handle_packet(now, None, from, datagram),
            Some(traversal) => {
                if let Some(arrived) = traversal.handle_datagram(now, from, datagram) {
                    let path = arrived.path;
                    self.handle_packet(now, Some(path), path.remote, &datagram[arrived.range]);
                }
                self.drain_traversal();
            }
        }
    }

    fn handle_packet(
        &mut self,
        now: Instant,
        path: Option<ice::agent::Path>,
        from: SocketAddr,
        packet: &[u8],
    ) {
        let speaking = self.traversal.as_ref().filter(|t| t.speaks_ice()).zip(path);
        let from = match (speaking, &self.negotiated) {
            // ICE knows whom we talk to, wherever that comes from.
            (Some((traversal, path)), Some(n)) if traversal.is_valid(path) => n.remote_rtp,
            (Some(_), _) if self.srtp.is_none() => return self.inbound.discard(),
            _ => from,
        };
        let before = self.inbound.octets();
        let mut buf = packet.to_vec();
        match rtp::kind(packet) {
            rtp::PacketKind::Rtp => self.handle_rtp(now, from, &mut buf),
            rtp::PacketKind::Rtcp => self.handle_rtcp(now, &mut buf),
            rtp::PacketKind::Other if rtp::is_zrtp(packet) => self.handle_zrtp(now, packet),
            rtp::PacketKind::Stun | rtp::PacketKind::Dtls | rtp::PacketKind::Other => {}
        }
        if self.inbound.octets() != before
            && let (Some(traversal), Some(path)) = (&mut self.traversal, path)
        {
            traversal.note_media(now, path);
            traversal
                .expect_media(self.negotiated.as_ref().is_some_and(|n| n.direction.receives()));
        }
    }

    /// Sends by the way there is.
    pub(super) fn transmit(&mut self, to: SocketAddr, bytes: Bytes, rtcp: bool) {
        match &mut self.traversal {
            Some(traversal) if !rtcp => {
                // Where there is no way yet it is lost, as on one that is congested.
                let _ = traversal.send(to, &bytes);
                self.drain_traversal();
            }
            _ => self.push(MediaOutput::Transmit { to, bytes, rtcp }),
        }
    }

    /// A description of the far end's was agreed on.
    pub(super) fn agree_on_ice(&mut self, now: Instant, remote: Option<RemoteIce>, offered: bool) {
        if let Some(traversal) = &mut self.traversal {
            traversal.set_remote(now, remote.as_ref(), offered);
            traversal.expect_media(false);
        }
        self.remote_ice = remote;
        self.take_early_trickle(now);
        self.drain_traversal();
    }

    pub(super) fn drain_traversal(&mut self) {
        let Some(traversal) = &mut self.traversal else { return };
        let mut outputs = Vec::new();
        while let Some(output) = traversal.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            self.push(match output {
                TraversalOutput::Transmit { to, bytes } => {
                    MediaOutput::Transmit { to, bytes, rtcp: false }
                }
                TraversalOutput::OpenStream { server } => MediaOutput::OpenStream { server },
                TraversalOutput::Stream { server, bytes } => MediaOutput::Stream { server, bytes },
                TraversalOutput::CloseStream { server } => MediaOutput::CloseStream { server },
                TraversalOutput::Event(event) => MediaOutput::Event(told(event)),
            });
        }
    }
}

fn told(event: TraversalEvent) -> MediaEvent {
    match event {
        TraversalEvent::Gathered => MediaEvent::Gathered,
        TraversalEvent::Selected { relayed } => MediaEvent::PathSelected { relayed },
        TraversalEvent::Mapped(_) => MediaEvent::MappingChanged,
        TraversalEvent::Untold => MediaEvent::Untold,
        TraversalEvent::Lost => MediaEvent::PathLost,
        TraversalEvent::RestartWanted => MediaEvent::RestartWanted,
        TraversalEvent::ConsentEnded => MediaEvent::ConsentEnded,
        TraversalEvent::Failed => MediaEvent::PathFailed,
    }
}
