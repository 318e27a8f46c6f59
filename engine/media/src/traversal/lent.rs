//! One TURN server: the client, and the stream to it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use ice::agent::{Kind, Via, priority};
use ice::turn::{Client, ClientEvent, stream_frame};
use sansio::Transport;

use super::regions::Region;
use super::{StreamEvent, Traversal, TraversalOutput, TurnServer};

/// Packets that wait for their channel.
const WAITING_MAX: usize = 8;
/// A message of a server's that is longer makes no sense: its stream is given up.
const FRAME_MAX: usize = 8 * 1024;

/// What is borrowed of one server.
#[derive(Debug)]
pub(super) struct Lent {
    pub server: TurnServer,
    pub client: Client,
    pub was_ready: bool,
    pub stream: Stream,
    /// What came of a message that is not whole.
    buffer: Vec<u8>,
    /// For peers whose channel is not bound yet.
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// How near it is, among several.
    pub region: Region,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    NotOpened,
    Opening,
    Open,
    Closed,
}

impl Lent {
    pub fn new(server: TurnServer, secret: &[u8; 32]) -> Self {
        let client = Client::new(server.login.clone(), server.is_stream(), secret);
        Self {
            server,
            client,
            was_ready: false,
            stream: Stream::NotOpened,
            buffer: Vec::new(),
            waiting: VecDeque::new(),
            region: Region::default(),
        }
    }

    pub fn via(at: usize) -> Via {
        // There are few servers.
        Via(at as u8 + 1)
    }

    pub fn place(via: Via) -> Option<usize> {
        usize::from(via.0).checked_sub(1)
    }

    /// UDP before TCP before TLS (fewer bytes and no waiting for what was lost), then as listed;
    /// among several regions the nearer one.
    pub fn priority(&self, at: usize) -> u32 {
        let at = self.region.rank.map_or(at, usize::from);
        let transport = match self.server.transport {
            Transport::Udp => 3,
            Transport::Tcp => 2,
            _ => 1,
        };
        priority(Kind::Relayed, transport * 256 - at as u16)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stream, Stream::Opening | Stream::Open)
    }

    /// Whether nothing is to be expected of it.
    pub fn is_hopeless(&self) -> bool {
        self.client.is_over() || self.stream == Stream::Closed || self.region.rests
    }

    /// Gives the messages that became whole.
    pub fn handle_stream(&mut self, now: Instant, event: StreamEvent) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        match event {
            StreamEvent::Up => {
                self.stream = Stream::Open;
                self.client.start(now);
            }
            StreamEvent::Bytes(bytes) => {
                self.buffer.extend_from_slice(&bytes);
                loop {
                    match stream_frame(&self.buffer) {
                        Ok(Some(len)) if len <= self.buffer.len() => {
                            let rest = self.buffer.split_off(len);
                            messages.push(std::mem::replace(&mut self.buffer, rest));
                        }
                        Ok(Some(len)) if len > FRAME_MAX => break self.break_off(),
                        Ok(_) => break,
                        Err(_) => break self.break_off(),
                    }
                }
            }
            StreamEvent::Down => self.break_off(),
        }
        messages
    }

    fn break_off(&mut self) {
        self.stream = Stream::Closed;
        self.buffer.clear();
        self.client.handle_disconnected();
    }

    /// Sends to a peer, or keeps it until the channel is there.
    pub fn send(&mut self, now: Instant, peer: SocketAddr, packet: &[u8]) -> bool {
        if self.client.relayed().is_none() {
            return false;
        }
        self.client.bind(now, peer);
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((peer, packet.to_vec()));
        true
    }

    /// What can go out now.
    fn ready(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(message) = self.client.poll_transmit() {
            out.push(message);
        }
        let client = &mut self.client;
        self.waiting.retain(|(peer, packet)| {
            let mut message = Vec::with_capacity(packet.len() + 8);
            let sent = client.wrap(now, *peer, packet, &mut message);
            if sent {
                out.push(message);
            }
            !sent
        });
        out
    }
}

impl Traversal {
    /// Sends what a client wants sent, and hears what it says.
    pub(super) fn drain_lent(&mut self, at: usize) {
        let now = self.now;
        let lent = &mut self.lent[at];
        let mut allocated = None;
        let mut over = false;
        while let Some(event) = lent.client.poll_event() {
            match event {
                ClientEvent::Allocated { relayed, mapped } => {
                    lent.was_ready = true;
                    lent.region.ready = true;
                    allocated = Some((relayed, mapped.filter(|_| !lent.server.is_stream())));
                }
                ClientEvent::Failed(_) => over = true,
                ClientEvent::Answered => {
                    let asked = lent.region.asked.unwrap_or(now);
                    lent.region.delay.get_or_insert(now.saturating_duration_since(asked));
                }
                ClientEvent::Refused(peer) => lent.waiting.retain(|(other, _)| *other != peer),
                ClientEvent::Bound(_) => {}
            }
        }
        let (stream, to) = (lent.server.is_stream(), lent.server.addr);
        for message in lent.ready(now) {
            if !stream {
                self.used = now;
            }
            let bytes = Bytes::from(message);
            self.out.push_back(match stream {
                true => TraversalOutput::Stream { server: at as u8, bytes },
                false => TraversalOutput::Transmit { to, bytes },
            });
        }
        if let Some((relayed, mapped)) = allocated {
            if stream {
                self.rank_stream(at);
            }
            self.tell_agent_of_lent(at, relayed);
            if !stream {
                self.udp_works = true;
            }
            if let Some(mapped) = mapped {
                self.note_mapped(mapped);
            }
        }
        if over {
            self.agent.remove_local(now, Lent::via(at));
            if self.lent[at].is_open() {
                self.lent[at].stream = Stream::Closed;
                self.out.push_back(TraversalOutput::CloseStream { server: at as u8 });
            }
        }
    }
}
