//! A TURN client (RFC 8656): one allocation of one server, over UDP or a stream.
//!
//! ```text
//!   start ──► Allocate ──401──► Allocate with credentials ──► ready: relayed and mapped address
//!                                                              │  Refresh before it ends
//!   bind(peer) ─────────► ChannelBind ──► wrap(peer, data): four bytes in front of it
//!   received ───────────► ChannelData, Data ──► Received::Data { peer, range }
//! ```
//!
//! The contract: sans-IO. After any call drain [`Client::poll_transmit`] and [`Client::poll_event`],
//! then sleep until [`Client::poll_timeout`]. A channel is bound before anything is sent to a peer
//! (§12), which permits the peer too (§12.1): nothing goes by Send indications, 36 bytes of header.

mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::{attribute, channel_data, channel_header, method};
use crate::TransactionIds;
use crate::stun::{Class, Message, is_stun};
use requests::{Kind, Transaction};

/// Peers of one allocation; more are not bound.
pub const CHANNELS_MAX: usize = 16;
/// Channels are bound anew before their permission ends after five minutes (RFC 8656 §12).
const REBIND: Duration = Duration::from_secs(240);
/// A channel that carried nothing for this long is let lapse.
const UNUSED: Duration = Duration::from_secs(60);
/// An allocation is refreshed this long before it ends.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);

/// Who the client is at the server (RFC 8489 §9.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// USERNAME.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// One allocation.
#[derive(Debug)]
pub struct Client {
    login: Login,
    /// Over TCP or TLS: nothing is sent again, and ChannelData is padded (§12.5).
    stream: bool,
    /// It waits for [`Client::proceed`] once the server has answered.
    held: bool,
    proof: Option<Proof>,
    state: State,
    transactions: Vec<Transaction>,
    channels: Vec<Channel>,
    next_channel: u16,
    /// Peers the server does not let us talk to: it is not asked again.
    refused: Vec<SocketAddr>,
    ids: TransactionIds,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<ClientEvent>,
    messages: u32,
}

#[derive(Debug)]
enum State {
    Idle,
    Allocating,
    Ready { relayed: SocketAddr, mapped: Option<SocketAddr>, ends: Instant, refresh_at: Instant },
    Over,
}

/// What the server gave us to prove ourselves by.
#[derive(Debug)]
struct Proof {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
}

#[derive(Debug)]
struct Channel {
    peer: SocketAddr,
    number: u16,
    bound: bool,
    rebind_at: Option<Instant>,
    used: Instant,
}

/// What the client tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server has answered, and the client waits for [`Client::proceed`].
    Answered,
    /// The allocation is there.
    Allocated {
        /// Where peers reach us.
        relayed: SocketAddr,
        /// Where the server sees us: a server-reflexive address over UDP.
        mapped: Option<SocketAddr>,
    },
    /// Data to and from this peer passes now.
    Bound(SocketAddr),
    /// The server does not let us talk to this peer.
    Refused(SocketAddr),
    /// There is no allocation, or no longer.
    Failed(ClientFailure),
}

/// Why there is no allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientFailure {
    /// Nothing comes back.
    #[error("the TURN server does not answer")]
    Silent,
    /// A status of RFC 8656 §19 or RFC 8489 §14.8.
    #[error("the TURN server refuses with {0}")]
    Status(u16),
    /// The answer makes no sense.
    #[error("the TURN server's answer makes no sense")]
    Nonsense,
    /// The connection broke.
    #[error("the connection to the TURN server is lost")]
    Disconnected,
}

/// What a message from the server was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Something of a peer's, at this place of the message.
    Data {
        /// Whose.
        peer: SocketAddr,
        /// Where.
        range: Range<usize>,
    },
    /// An answer to the client.
    Answer,
    /// Nothing of ours.
    Nothing,
}

impl Client {
    /// A client that has not begun. `secret` is for its transaction ids.
    pub fn new(login: Login, stream: bool, secret: &[u8; 32]) -> Self {
        Self {
            login,
            stream,
            held: false,
            proof: None,
            state: State::Idle,
            transactions: Vec::new(),
            channels: Vec::new(),
            next_channel: 0x4000,
            refused: Vec::new(),
            ids: TransactionIds::new(secret),
            out: VecDeque::new(),
            events: VecDeque::new(),
            messages: 0,
        }
    }

    /// Asks for the allocation. Over a stream: once it is connected.
    pub fn start(&mut self, now: Instant) {
        if matches!(self.state, State::Idle) {
            self.state = State::Allocating;
            self.request(now, Kind::Allocate);
        }
    }

    /// Asks as [`Client::start`] does, and goes no further than to the server's first answer, which
    /// costs it nothing: [`ClientEvent::Answered`] says when it came.
    pub fn sound_out(&mut self, now: Instant) {
        self.held = true;
        self.start(now);
    }

    /// Goes on after [`Client::sound_out`].
    pub fn proceed(&mut self, now: Instant) {
        let waits = std::mem::take(&mut self.held) && self.transactions.is_empty();
        match self.state {
            State::Allocating if waits => self.request(now, Kind::Allocate),
            State::Idle => self.start(now),
            State::Allocating | State::Ready { .. } | State::Over => {}
        }
    }

    /// Not needed for now: what is under way is forgotten, but for what the server wants to see.
    pub fn rest(&mut self) {
        if matches!(self.state, State::Allocating) {
            self.state = State::Idle;
            self.transactions.clear();
        }
    }

    /// The server is known to be gone.
    pub fn give_up(&mut self) {
        self.fail(ClientFailure::Silent);
    }

    /// The stream broke, and the allocation with it.
    pub fn handle_disconnected(&mut self) {
        self.fail(ClientFailure::Disconnected);
    }

    /// A message came from the server.
    pub fn handle_message(&mut self, now: Instant, bytes: &[u8]) -> Received {
        if let Some((number, range)) = channel_data(bytes) {
            let channel = self.channels.iter().find(|c| c.number == number);
            let peer = channel.map(|c| c.peer);
            return peer.map_or(Received::Nothing, |peer| Received::Data { peer, range });
        }
        if !is_stun(bytes) {
            return Received::Nothing;
        }
        let Ok(message) = Message::parse(bytes) else { return Received::Nothing };
        match message.class() {
            Class::Indication if message.method() == method::DATA => {
                let peer = message.xor_address(attribute::XOR_PEER_ADDRESS);
                match peer.zip(message.value_range(attribute::DATA)) {
                    Some((peer, range)) => Received::Data { peer, range },
                    None => Received::Nothing,
                }
            }
            Class::Success | Class::Error => match self.handle_response(now, &message) {
                true => Received::Answer,
                false => Received::Nothing,
            },
            Class::Request | Class::Indication => Received::Nothing,
        }
    }

    /// Time passed: repeats what was not answered, refreshes what ends.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.repeat(now);
        let State::Ready { refresh_at, ends, .. } = &mut self.state else { return };
        if now >= *ends {
            return self.fail(ClientFailure::Silent);
        }
        if now >= *refresh_at {
            *refresh_at = *ends;
            self.request(now, Kind::Refresh);
        }
        let is_due = |c: &Channel| c.rebind_at.is_some_and(|at| now >= at);
        self.channels.retain(|c| !is_due(c) || now < c.used + UNUSED);
        let due: Vec<SocketAddr> =
            self.channels.iter_mut().filter(|c| is_due(c)).map(|c| c.peer).collect();
        for peer in due {
            if let Some(channel) = self.channels.iter_mut().find(|c| c.peer == peer) {
                channel.rebind_at = None;
            }
            self.request(now, Kind::Bind(peer));
        }
    }

    /// Has a channel to `peer`; [`ClientEvent::Bound`] says when it is there. Nothing without an
    /// allocation, or beyond [`CHANNELS_MAX`].
    pub fn bind(&mut self, now: Instant, peer: SocketAddr) {
        let known = self.channels.iter().any(|c| c.peer == peer);
        let hopeless = self.refused.contains(&peer) || self.channels.len() >= CHANNELS_MAX;
        if known || hopeless || self.relayed().is_none() {
            return;
        }
        let number = self.next_channel;
        // RFC 8656 §12: 0x4000 to 0x4fff, and a number is for one peer only.
        self.next_channel = 0x4000 | (number + 1) & 0xfff;
        self.channels.push(Channel { peer, number, bound: false, rebind_at: None, used: now });
        self.request(now, Kind::Bind(peer));
    }

    /// Writes what takes `data` to `peer` behind what `out` holds; false without a channel.
    pub fn wrap(&mut self, now: Instant, peer: SocketAddr, data: &[u8], out: &mut Vec<u8>) -> bool {
        let channel = self.channels.iter_mut().find(|c| c.peer == peer && c.bound);
        let (Some(channel), Ok(len)) = (channel, u16::try_from(data.len())) else { return false };
        channel.used = now;
        out.extend_from_slice(&channel_header(channel.number, len));
        out.extend_from_slice(data);
        if self.stream {
            out.resize(out.len() + data.len().next_multiple_of(4) - data.len(), 0);
        }
        true
    }

    /// Gives the allocation back (a Refresh of lifetime zero, §7.1); nothing is repeated.
    pub fn close(&mut self, now: Instant) {
        if self.relayed().is_some() {
            self.request(now, Kind::Release);
        }
        self.state = State::Over;
        self.transactions.clear();
    }

    /// The next message for the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let repeats = self.transactions.iter().map(|t| t.next_at);
        let rebinds = self.channels.iter().filter_map(|c| c.rebind_at);
        let refresh = match &self.state {
            State::Ready { refresh_at, .. } => Some(*refresh_at),
            State::Idle | State::Allocating | State::Over => None,
        };
        repeats.chain(rebinds).chain(refresh).min()
    }

    /// Where peers reach us, while there is an allocation.
    pub fn relayed(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Ready { relayed, .. } => Some(*relayed),
            State::Idle | State::Allocating | State::Over => None,
        }
    }

    /// Where the server sees us.
    pub fn mapped(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Ready { mapped, .. } => *mapped,
            State::Idle | State::Allocating | State::Over => None,
        }
    }

    /// When the allocation ends unless refreshed.
    pub fn ends(&self) -> Option<Instant> {
        match &self.state {
            State::Ready { ends, .. } => Some(*ends),
            State::Idle | State::Allocating | State::Over => None,
        }
    }

    /// Whether it is still to be seen what comes of it.
    pub fn is_allocating(&self) -> bool {
        matches!(self.state, State::Idle | State::Allocating)
    }

    /// Whether it ended.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Messages sent to the server so far, data not counted.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    fn fail(&mut self, failure: ClientFailure) {
        if !matches!(self.state, State::Over) {
            self.state = State::Over;
            self.transactions.clear();
            self.channels.clear();
            self.events.push_back(ClientEvent::Failed(failure));
        }
    }
}
