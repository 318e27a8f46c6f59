//! What a signalling shard drives: the [`ShardCore`] contract and the values that cross it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use sansio::{FlowId, ShardId, Transport, WallTime};

/// A sans-IO machine that owns one shard's signalling.
///
/// After every `handle_*`, or after several that came together, the shard calls
/// [`ShardCore::handle_batch_end`], drains `poll_transmit`, `poll_note` and `poll_close` to `None`
/// and asks `poll_timeout` once. All calls happen on the shard's own thread, none of them
/// concurrently: a core needs no locks and need not be `Send`.
pub trait ShardCore {
    /// What application code and other shards' cores say to this one (completions, commands).
    type Note: Send + 'static;

    /// One whole SIP message arrived. Framing is done; nothing else has been looked at.
    fn handle_received(&mut self, now: Instant, wall: WallTime, received: Received);

    /// The same for a message that is a datagram, before it is copied. True if the core is done with
    /// it; otherwise [`ShardCore::handle_received`] follows.
    fn handle_datagram(&mut self, _now: Instant, _wall: WallTime, _datagram: Datagram<'_>) -> bool {
        false
    }

    /// A flow is gone, or something sent to it could not be (also when another shard owns it).
    /// UDP flows that fall idle are forgotten silently: see [`FlowTarget::Udp`].
    fn handle_flow_closed(&mut self, now: Instant, flow: FlowId, why: CloseReason);

    /// A note from a [`crate::ShardHandle`] or from another shard's `poll_note`.
    fn handle_note(&mut self, now: Instant, wall: WallTime, note: Self::Note);

    /// The deadline last given by `poll_timeout` has come.
    fn handle_timeout(&mut self, now: Instant, wall: WallTime);

    /// All that came together (one batch of datagrams, one read, one timer) has been handed in: the
    /// moment to do in one go what would be dear one by one, such as writing a journal.
    fn handle_batch_end(&mut self, _now: Instant, _wall: WallTime) {}

    /// The server is being drained: refuse new work, finish what is under way.
    fn handle_drain(&mut self, _now: Instant, _wall: WallTime) {}

    /// Whether nothing is under way any more; asked only after [`ShardCore::handle_drain`].
    fn is_drained(&self) -> bool {
        true
    }

    /// The next message to send, on a flow of any shard of this node.
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// The next note for another shard's core.
    fn poll_note(&mut self) -> Option<(ShardId, Self::Note)>;

    /// The next flow of this shard to close once its queue is written. The core is not told again.
    fn poll_close(&mut self) -> Option<FlowId> {
        None
    }

    /// When `handle_timeout` is wanted next.
    fn poll_timeout(&mut self) -> Option<Instant>;
}

/// One whole SIP message and where it came from. `transport`, `local` and `peer` are what a core
/// must remember to describe or reopen the flow.
#[derive(Debug, Clone)]
pub struct Received {
    /// The flow to answer on.
    pub flow: FlowId,
    /// How it came.
    pub transport: Transport,
    /// Our address: the connection's own, or for UDP the listener's as bound (maybe a wildcard).
    pub local: SocketAddr,
    /// The sender's address as seen here (for `received` and `rport`).
    pub peer: SocketAddr,
    /// The message, complete, without framing.
    pub message: Bytes,
}

/// One whole SIP message as it lies in the buffer of its datagram.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The flow to answer on.
    pub flow: FlowId,
    /// The listener's address as bound, as in [`Received::local`].
    pub local: SocketAddr,
    /// The sender's address as seen here.
    pub peer: SocketAddr,
    /// The message.
    pub message: &'a [u8],
}

impl Datagram<'_> {
    /// The same with a copy of its bytes.
    pub fn received(&self) -> Received {
        let Self { flow, local, peer, message } = *self;
        let message = Bytes::copy_from_slice(message);
        Received { flow, transport: Transport::Udp, local, peer, message }
    }
}

/// One SIP message to send.
#[derive(Debug, Clone)]
pub struct Transmit {
    /// Where to.
    pub to: FlowTarget,
    /// The message, complete.
    pub message: Bytes,
}

impl Transmit {
    /// A message for a known flow.
    pub fn on(flow: FlowId, message: Bytes) -> Self {
        Self { to: FlowTarget::Flow(flow), message }
    }
}

/// Where a [`Transmit`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowTarget {
    /// A known flow of any shard of this node; of another shard it goes by that shard's mailbox.
    Flow(FlowId),
    /// A UDP peer whose flow is unknown or forgotten: after a restart, or a Via without `rport`.
    /// `local` is a listener's address as in [`Received::local`]; if no listener has it, the first
    /// UDP listener of the same address family sends. A core that needs the [`FlowId`] beforehand
    /// asks [`crate::UdpFlows::flow`] of its [`crate::ShardContext`].
    Udp {
        /// Our side.
        local: SocketAddr,
        /// Their side.
        peer: SocketAddr,
    },
}

/// Whether bytes can begin a SIP message: a method is a token (RFC 3261 §25.1), not just letters.
/// STUN and keep-alives begin otherwise (RFC 7983).
pub(crate) fn begins_message(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(b))
}

/// Why a flow ended, or why a message could not be sent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed the connection in order.
    PeerClosed,
    /// The connection broke.
    Broken,
    /// Nothing was received for longer than [`crate::Limits::idle`].
    Idle,
    /// A message was begun (or the first one awaited) for longer than [`crate::Limits::message`].
    Dribble,
    /// The peer reads too slowly: its queue passed [`crate::Limits::write_queue_bytes`] or stalled.
    SlowReader,
    /// The bytes are not SIP, or cannot be framed safely (RFC 3261 §18.3).
    Framing,
    /// One message exceeded [`crate::Limits::max_message`].
    TooLarge,
    /// Sent to a flow that does not exist, or no longer.
    NoSuchFlow,
    /// The owning shard's mailbox was full: the message was dropped, the flow may live.
    MailboxFull,
    /// Its messages were too many, or its source was banned, and it had not authenticated.
    Unwelcome,
    /// The server shuts down.
    Shutdown,
    /// No connection to a next hop: refused, no route, or a handshake that failed.
    Unreachable,
    /// A next hop did not answer within [`crate::Limits::connect`].
    TimedOut,
    /// A next hop's certificate is not trusted, or does not prove its name.
    Untrusted,
}
