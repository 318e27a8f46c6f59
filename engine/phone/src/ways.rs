//! A call's ways through translators: candidates before a description, a spare that knows them
//! already, streams to TURN servers, ICE restarts (RFC 8445, RFC 8656).
//!
//! ```text
//!   prepare(local) ──► spare: gathers before there is a call
//!   call, answer ──► takes the spare, or begins to gather ──► Gathered ──► INVITE, 200
//!   end of the call ──► its ways are the spare, as long as what they know is true
//! ```

use crate::call::{Call, State};
use crate::event::{CallHandle, PhoneEvent, PhoneOutput};
use crate::outgoing::Invitation;
use crate::phone::Phone;
use crate::transports::NetworkId;
use bytes::Bytes;
use media::traversal::{
    KnownDelay, StreamEvent, Traversal, TraversalConfig, TraversalEvent, TraversalOutput,
};
use sansio::Transport;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Networks that are known to let no datagrams out.
pub(crate) const NETWORKS_MAX: usize = 16;
/// For how long that is taken for true.
const SILENCE_KNOWN: Duration = Duration::from_secs(600);

/// What a call waits to say until its candidates are gathered.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Its INVITE.
    Invite(Invitation),
    /// Its 200.
    Answer,
}

/// What the phone wants of the sockets and streams of a media socket, named by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayOutput {
    /// Send from this socket, which has no call yet.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// Connect to this TURN server.
    OpenStream {
        /// Its number: that of what is sent by it.
        server: u8,
        /// Where it is.
        at: SocketAddr,
        /// TCP or TLS.
        transport: Transport,
    },
    /// Send by that connection.
    Stream {
        /// Which.
        server: u8,
        /// What.
        bytes: Bytes,
    },
    /// Close it, once what was sent by it is out.
    CloseStream {
        /// Which.
        server: u8,
    },
}

impl Phone {
    /// What there is to find ways with on this network; `None` speaks no ICE. A spare made with
    /// something else is let go.
    pub fn set_ice(&mut self, now: Instant, ice: Option<TraversalConfig>) {
        if self.ice != ice {
            self.ice = ice;
            self.drop_spare(now);
        }
    }

    /// The network the phone is on: what was found on another one is forgotten, but for what is known
    /// of this one.
    pub fn set_network(&mut self, now: Instant, network: NetworkId) {
        if self.network.as_ref() != Some(&network) {
            self.drop_spare(now);
            self.network = Some(network);
        }
    }

    /// What there is to find ways with.
    pub fn ice(&self) -> Option<&TraversalConfig> {
        self.ice.as_ref()
    }

    /// Gathers at the socket the driver bound at `local`, for a call to come.
    pub fn prepare(&mut self, now: Instant, local: SocketAddr) {
        if let Some(config) = self.ice_here(now) {
            self.drop_spare(now);
            let mut spare = Box::new(Traversal::new(config, local, now, &mut *self.entropy));
            spare.recall_delays(&self.delays_here(now));
            spare.begin(now);
            self.spare = Some(spare);
            self.drain_spare(now);
        }
    }

    /// The socket that is prepared for the next call, if it still is.
    pub fn prepared(&mut self, now: Instant) -> Option<SocketAddr> {
        let usable = |spare: &Traversal| !spare.is_gathered() || spare.is_fresh(now);
        if self.spare.as_ref().is_some_and(|spare| !usable(spare)) {
            self.drop_spare(now);
        }
        self.spare.as_ref().map(|spare| spare.local())
    }

    /// A packet came to the prepared socket.
    pub fn handle_prepared(&mut self, now: Instant, from: SocketAddr, packet: &[u8]) {
        if let Some(spare) = &mut self.spare {
            spare.handle_datagram(now, from, packet);
            self.drain_spare(now);
        }
    }

    /// Something happened to a stream to a TURN server, of the media socket at `local`.
    pub fn handle_stream(
        &mut self,
        now: Instant,
        local: SocketAddr,
        server: u8,
        event: StreamEvent,
    ) {
        if let Some(spare) = self.spare.as_mut().filter(|spare| spare.local() == local) {
            spare.handle_stream(now, server, event);
            return self.drain_spare(now);
        }
        let of = |c: &Call| Some(c.media.as_ref()?.traversal()?.local());
        let call = self.calls.iter().find(|(_, c)| of(c) == Some(local)).map(|(handle, _)| *handle);
        let Some(call) = call else { return };
        if let Some(media) = self.calls.get_mut(&call).and_then(|c| c.media.as_mut()) {
            media.handle_stream(now, server, event);
        }
        self.drain(now);
    }

    /// The ways of a media session that begins at `local`.
    pub(crate) fn give_ways(
        &mut self,
        now: Instant,
        media: &mut media::Session,
        local: SocketAddr,
        peer_uri: &str,
    ) {
        let Some(config) = self.ice_here(now) else { return };
        let spare = match self.prepared(now) == Some(local) {
            true => self.spare.take(),
            false => None,
        };
        let delays = self.delays_here(now);
        let new = || {
            let mut new = Traversal::new(config, local, now, &mut *self.entropy);
            new.recall_delays(&delays);
            new
        };
        let mut ways = spare.map_or_else(new, |spare| *spare);
        if let Some(network) = &self.network {
            let known = self.known_pairs.on(now, network);
            ways.recall(now, &known, self.known_pairs.last_to(now, network, peer_uri));
        }
        media.set_traversal(ways);
        media.begin_gathering(now);
    }

    /// The media of a call is over.
    pub(crate) fn keep_ways(&mut self, now: Instant, media: &mut media::Session) {
        let Some(ways) = media.take_traversal() else { return };
        if let Some(network) = self.network.as_ref().filter(|_| ways.is_gathered()) {
            self.delays.note(now, network, ways.delays());
        }
        let same = self.ice.is_some() && self.prepared(now).is_none();
        let local = ways.local();
        match ways.recycle_or_close(now, same) {
            (Some(spare), _) => {
                self.spare = Some(Box::new(spare));
                self.drain_spare(now);
            }
            (None, mut closed) => {
                while let Some(output) = closed.as_mut().and_then(Traversal::poll_output) {
                    self.way_output(local, output);
                }
            }
        }
    }

    /// With what is known of the network.
    fn ice_here(&self, now: Instant) -> Option<TraversalConfig> {
        let mut config = self.ice.clone()?;
        let known = self.network.as_ref().and_then(|network| self.silent.get(network));
        config.udp_silent = known.is_some_and(|until| now < *until);
        Some(config)
    }

    fn delays_here(&self, now: Instant) -> Vec<KnownDelay> {
        self.network.as_ref().map(|here| self.delays.on(now, here)).unwrap_or_default()
    }

    fn note_silence(&mut self, now: Instant, silent: bool) {
        let Some(network) = self.network.clone() else { return };
        self.silent.retain(|_, until| now < *until);
        if !silent {
            self.silent.remove(&network);
        } else if self.silent.len() < NETWORKS_MAX {
            self.silent.insert(network, now + SILENCE_KNOWN);
        }
    }

    fn drop_spare(&mut self, now: Instant) {
        if let Some(mut spare) = self.spare.take() {
            spare.close(now);
            let local = spare.local();
            while let Some(output) = spare.poll_output() {
                self.way_output(local, output);
            }
        }
    }

    fn drain_spare(&mut self, now: Instant) {
        let Some(spare) = &mut self.spare else { return };
        let (local, silent) = (spare.local(), spare.udp_is_silent());
        let delays = spare.delays();
        let mut outputs = Vec::new();
        while let Some(output) = spare.poll_output() {
            outputs.push(output);
        }
        for output in outputs {
            if output == TraversalOutput::Event(TraversalEvent::Gathered) {
                self.note_silence(now, silent);
                if let Some(network) = &self.network {
                    self.delays.note(now, network, delays.clone());
                }
            }
            self.way_output(local, output);
        }
    }

    fn way_output(&mut self, local: SocketAddr, output: TraversalOutput) {
        let output = match output {
            TraversalOutput::Transmit { to, bytes } => WayOutput::Send { to, bytes },
            TraversalOutput::OpenStream { server } => return self.open_stream(local, server),
            TraversalOutput::Stream { server, bytes } => WayOutput::Stream { server, bytes },
            TraversalOutput::CloseStream { server } => WayOutput::CloseStream { server },
            // Of a spare nobody needs to know.
            TraversalOutput::Event(_) => return,
        };
        self.put(PhoneOutput::Way { local, output });
    }

    pub(crate) fn open_stream(&mut self, local: SocketAddr, server: u8) {
        let servers = self.ice.as_ref().map(|ice| &ice.turn);
        if let Some(found) = servers.and_then(|s| s.get(usize::from(server))) {
            let (at, transport) = (found.addr, found.transport);
            let output = WayOutput::OpenStream { server, at, transport };
            self.put(PhoneOutput::Way { local, output });
        }
    }

    /// The spare's time.
    pub(crate) fn spare_timeout(&mut self, now: Instant) {
        // Too old to be of use: what was borrowed is given back.
        let _ = self.prepared(now);
        if let Some(spare) = &mut self.spare {
            spare.handle_timeout(now);
        }
        self.drain_spare(now);
    }

    pub(crate) fn spare_wakes(&self) -> Option<Instant> {
        let spare = self.spare.as_ref()?;
        [spare.poll_timeout(), spare.fresh_until()].into_iter().flatten().min()
    }

    /// The candidates of a call are there.
    pub(crate) fn gathered(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let ways = entry.media.as_ref().and_then(media::Session::traversal);
        if let Some((silent, delays)) = ways.map(|w| (w.udp_is_silent(), w.delays())) {
            self.note_silence(now, silent);
            if let Some(network) = &self.network {
                self.delays.note(now, network, delays);
            }
        }
        let Some(entry) = self.calls.get_mut(&call) else { return };
        match (entry.pending.take(), entry.state) {
            (Some(Pending::Invite(invitation)), State::Calling) => {
                if let Err(error) = self.place(now, call, &invitation) {
                    self.invite_failed(now, call, 503, &error.to_string());
                }
            }
            (Some(Pending::Answer), State::Ringing) => {
                // What is wrong with the offer the event of the call's end says.
                let _ = self.describe_answer(now, call);
            }
            _ => {}
        }
    }

    /// The way of a call is dead, or its consent ended.
    pub(crate) fn restart_ice(&mut self, now: Instant, call: CallHandle) {
        self.note_trickler(call);
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if entry.state != State::Active || std::mem::replace(&mut entry.restarts, true) {
            return;
        }
        // What led there does no more.
        let peer_uri = entry.peer_uri.clone();
        if entry.media.as_mut().is_some_and(media::Session::restart_ice) {
            self.send_offer(now, call);
        }
        if let Some(network) = &self.network {
            self.known_pairs.forget(network, &peer_uri);
        }
    }

    /// A new link: what was to be offered on the old one.
    pub(crate) fn restart_on_new_link(&mut self, now: Instant) {
        let wants = |c: &Call| c.restarts && c.state == State::Active;
        let calls = self.calls.iter().filter(|(_, c)| wants(c)).map(|(handle, _)| *handle);
        for call in calls.collect::<Vec<_>>() {
            self.send_offer(now, call);
        }
    }

    /// Tells which way media goes.
    pub(crate) fn tell_way(&mut self, now: Instant, call: CallHandle, relayed: bool) {
        self.note_trickler(call);
        let Some(entry) = self.calls.get(&call) else { return };
        let Some(ways) = entry.media.as_ref().and_then(media::Session::traversal) else { return };
        let known = ways.is_known();
        let good = self.network.clone().zip(ways.good_pair());
        let news = good.is_some_and(|(network, pair)| {
            self.known_pairs.note(now, network, pair, &entry.peer_uri)
        });
        let (messages, gathering) = (ways.messages(), ways.gathering_messages());
        let lender = ways.lender();
        self.tell(PhoneEvent::WaySelected { call, relayed, lender, known, messages, gathering });
        if news {
            self.tell(PhoneEvent::PairsLearned);
        }
    }
}
