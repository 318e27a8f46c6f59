//! What phones ask of a server to learn what a NAT does to them: NAT behaviour discovery (RFC
//! 5780), with two attributes of our own.
//!
//! ```text
//!   PADDING                   the reply is as long as the request           MTU, fragments
//!   CHANGE-REQUEST            the reply comes from another port or address  filtering
//!   RESPONSE-PORT             the reply goes to another port of the sender  life of a mapping
//!   REPLY-DELAY (ours)        the reply comes after so many seconds         life of a mapping
//!   RECEIVED-TOS (ours)       the type of service the request arrived with  marking on the way
//! ```
//!
//! The contract: sans-IO. The caller sorts out whom it answers at all, sends each [`Reply`] from the
//! port it names, and calls [`Server::handle_timeout`] when [`Server::poll_timeout`] says so.
//!
//! A reply is never larger than its request, so the server amplifies nothing: what has no room is
//! left out, and where the mapped address has no room the request is refused (400). A phone makes
//! room with PADDING or SOFTWARE.

#[cfg(test)]
mod tests;
mod wishes;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::stun::{BINDING, Builder, Class, Message, attribute as attr};
use wishes::Wishes;

/// Ours: answer after so many seconds, a 32-bit number. The response holds it too, as it was kept.
/// Whoever does not know it ignores it (RFC 8489 §14) and answers at once.
pub const REPLY_DELAY: u16 = 0xe5d1;
/// Ours, in responses: the type of service octet of the request as it arrived, then three zeros.
pub const RECEIVED_TOS: u16 = 0xe5d2;

/// What a FINGERPRINT takes.
const FINGERPRINT_LEN: usize = 8;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest delay; longer ones are shortened to it.
    pub delay_max: Duration,
    /// Replies waiting at a time; beyond it 508.
    pub delayed_max: usize,
    /// Replies waiting for one IPv4 address or one IPv6 /64 network; beyond it 486.
    pub delayed_per_source_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // RFC 4787 §4.3 wants mappings to live two minutes and recommends five.
            delay_max: Duration::from_secs(900),
            delayed_max: 2_048,
            delayed_per_source_max: 16,
        }
    }
}

/// A port the server answers at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The caller's number for it.
    pub id: usize,
    /// The address others reach it at.
    pub public: SocketAddr,
}

/// A Binding request that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The port it came to, by [`Port::id`].
    pub port: usize,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Its type of service octet, where the port knows.
    pub tos: Option<u8>,
    /// The datagram.
    pub datagram: &'a [u8],
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// From which port, by [`Port::id`].
    pub port: usize,
    /// Where to.
    pub to: SocketAddr,
    /// The bytes.
    pub datagram: Vec<u8>,
}

/// What became of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// It asks for nothing special, or is no Binding request at all.
    Plain,
    /// Send this now.
    Now(Reply),
    /// The reply comes later, from [`Server::poll_reply`].
    Later,
    /// Nothing is sent: there is no room even for an error, or it waits already.
    Silent,
}

/// Answers queries at the ports of one server.
#[derive(Debug)]
pub struct Server {
    ports: Vec<Port>,
    limits: Limits,
    waiting: BTreeMap<(Instant, u64), Waiting>,
    by_source: BTreeMap<IpAddr, Vec<(Instant, u64)>>,
    serial: u64,
    due: VecDeque<Reply>,
}

#[derive(Debug)]
struct Waiting {
    peer: SocketAddr,
    transaction_id: [u8; 12],
    reply: Reply,
}

/// An error code: why a query is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    BadRequest = 400,
    UnknownAttribute = 420,
    Quota = 486,
    Capacity = 508,
}

impl Server {
    /// A server with these ports; other ports of the same address family are the alternates.
    pub fn new(ports: Vec<Port>, limits: Limits) -> Self {
        let (waiting, by_source) = (BTreeMap::new(), BTreeMap::new());
        Self { ports, limits, waiting, by_source, serial: 0, due: VecDeque::new() }
    }

    /// A datagram came.
    pub fn handle_query(&mut self, now: Instant, query: Query<'_>) -> Handled {
        let Ok(message) = Message::parse(query.datagram) else { return Handled::Plain };
        if message.class() != Class::Request || message.method() != BINDING {
            return Handled::Plain;
        }
        let Some(wishes) = Wishes::read(&message) else { return Handled::Plain };
        let outcome = wishes.and_then(|wishes| self.answer(now, query, &message, wishes));
        outcome.unwrap_or_else(|refusal| refuse(query, &message, refusal))
    }

    /// Time passed: replies whose delay is over are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.waiting.first_entry().filter(|e| e.key().0 <= now) {
            let (key, waiting) = entry.remove_entry();
            let source = source_of(waiting.peer);
            if let Some(keys) = self.by_source.get_mut(&source) {
                keys.retain(|k| *k != key);
                if keys.is_empty() {
                    self.by_source.remove(&source);
                }
            }
            self.due.push_back(waiting.reply);
        }
    }

    /// The next reply whose delay is over.
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.due.pop_front()
    }

    /// When [`Server::handle_timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Replies that wait for their time.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn answer(
        &mut self,
        now: Instant,
        query: Query<'_>,
        message: &Message<'_>,
        wishes: Wishes,
    ) -> Result<Handled, Refusal> {
        let origin = self.origin(query.port, wishes)?;
        let delay = wishes.delay.map(|d| d.min(self.limits.delay_max));
        let room = query.datagram.len();
        let mut reply = Builder::new(Class::Success, message.transaction_id());
        reply = reply.xor_mapped_address(query.peer);
        if let Some(delay) = delay {
            reply = reply.attribute(REPLY_DELAY, &(delay.as_secs() as u32).to_be_bytes());
        }
        let seal = if message.has_fingerprint() { FINGERPRINT_LEN } else { 0 };
        let room = room.checked_sub(seal).filter(|room| reply.size() <= *room);
        let room = room.ok_or(Refusal::BadRequest)?;
        reply = self.extras(reply, query, origin, room);
        if wishes.pads && delay.is_none() {
            reply = reply.padding_to(room);
        }
        let datagram = if seal > 0 { reply.finish_unsigned() } else { reply.finish_bare() };
        let port = wishes.response_port.unwrap_or(query.peer.port());
        let reply = Reply { port: origin.id, to: (query.peer.ip(), port).into(), datagram };
        match delay.filter(|d| !d.is_zero()) {
            Some(delay) => self.delay(now + delay, query.peer, message.transaction_id(), reply),
            None => Ok(Handled::Now(reply)),
        }
    }

    /// The port the reply leaves from (RFC 5780 §6.1).
    fn origin(&self, port: usize, wishes: Wishes) -> Result<Port, Refusal> {
        let own = self.ports.iter().find(|p| p.id == port).ok_or(Refusal::BadRequest)?;
        if !wishes.change_ip && !wishes.change_port {
            return Ok(*own);
        }
        let fits = |p: &&Port| {
            let (same_ip, same_port) =
                (p.public.ip() == own.public.ip(), p.public.port() == own.public.port());
            same_family(p, own) && same_ip != wishes.change_ip && same_port != wishes.change_port
        };
        self.ports.iter().find(fits).copied().ok_or(Refusal::UnknownAttribute)
    }

    /// What is added as far as there is room: where the reply comes from, which other address
    /// there is, and how the request arrived.
    fn extras(&self, mut reply: Builder, query: Query<'_>, origin: Port, room: usize) -> Builder {
        let own = self.ports.iter().find(|p| p.id == query.port);
        let address_len = if query.peer.is_ipv4() { 12 } else { 24 };
        // A port bound to every address, without a public one, does not know where it is.
        let knows = !origin.public.ip().is_unspecified();
        if knows && reply.size() + address_len <= room {
            reply = reply.address(attr::RESPONSE_ORIGIN, origin.public);
        }
        if let Some(other) = own.and_then(|own| self.other(own))
            && knows
            && reply.size() + address_len <= room
        {
            reply = reply.address(attr::OTHER_ADDRESS, other.public);
        }
        match query.tos {
            Some(tos) if reply.size() + 8 <= room => reply.attribute(RECEIVED_TOS, &[tos, 0, 0, 0]),
            _ => reply,
        }
    }

    /// The alternate with another address and another port, or, with one address only, with
    /// another port (RFC 5780 §7.4; change-IP is then refused with 420).
    fn other(&self, own: &Port) -> Option<Port> {
        let others = || {
            self.ports
                .iter()
                .filter(|p| same_family(p, own) && p.public.port() != own.public.port())
        };
        others().find(|p| p.public.ip() != own.public.ip()).or_else(|| others().next()).copied()
    }

    fn delay(
        &mut self,
        at: Instant,
        peer: SocketAddr,
        transaction_id: [u8; 12],
        reply: Reply,
    ) -> Result<Handled, Refusal> {
        let keys = self.by_source.entry(source_of(peer)).or_default();
        let known = |key: &(Instant, u64)| {
            self.waiting
                .get(key)
                .is_some_and(|w| w.peer == peer && w.transaction_id == transaction_id)
        };
        if keys.iter().any(known) {
            // Sent again by a phone that does not know how long to wait: one reply is enough.
            return Ok(Handled::Silent);
        }
        if keys.len() >= self.limits.delayed_per_source_max {
            return Err(Refusal::Quota);
        }
        if self.waiting.len() >= self.limits.delayed_max {
            if keys.is_empty() {
                self.by_source.remove(&source_of(peer));
            }
            return Err(Refusal::Capacity);
        }
        self.serial += 1;
        keys.push((at, self.serial));
        self.waiting.insert((at, self.serial), Waiting { peer, transaction_id, reply });
        Ok(Handled::Later)
    }
}

/// An error response, if it has room.
fn refuse(query: Query<'_>, message: &Message<'_>, refusal: Refusal) -> Handled {
    let mut error = Builder::new(Class::Error, message.transaction_id()).error(refusal as u16, "");
    if refusal == Refusal::UnknownAttribute {
        let mut unknown = wishes::unknown(message);
        if unknown.is_empty() {
            // Known, but this server has no other address (RFC 5780 §6.1).
            unknown.push(attr::CHANGE_REQUEST);
        }
        let listed = unknown.len().min(MAX_LISTED);
        if error.size() + 4 + (2 * listed).next_multiple_of(4) <= query.datagram.len() {
            error = error.unknown_attributes(&unknown[..listed]);
        }
    }
    if error.size() > query.datagram.len() {
        return Handled::Silent;
    }
    Handled::Now(Reply { port: query.port, to: query.peer, datagram: error.finish_bare() })
}

/// The most attributes an error names.
const MAX_LISTED: usize = 8;

fn same_family(a: &Port, b: &Port) -> bool {
    a.public.is_ipv4() == b.public.is_ipv4()
}

/// Whom a limit counts as one: an address, or an IPv6 /64.
fn source_of(peer: SocketAddr) -> IpAddr {
    match peer.ip() {
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 => v4,
    }
}
