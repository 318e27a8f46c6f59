//! Where a request goes by its URI: NAPTR, SRV and addresses into an ordered list of next hops
//! (RFC 3263, 2782, 7984), with caches and a memory for failures. DNS itself is the driver's.
//!
//! ```text
//!   ask(now, uri) ───────────┐               ┌─► poll_query ──► DNS
//!   handle_records(now, ..) ─┼─► Locator ────┤
//!   handle_failed(now, hop) ─┤  cache        └─► poll_located ─► (id, next hops | why not)
//!   handle_timeout(now) ─────┘  failure memory
//! ```
//!
//! An address literal is answered at once ([`Ask::literal`]). The list is to be tried in order
//! until one hop answers; a hop that failed is told by [`Locator::handle_failed`] and comes last
//! for a while. A stream hop may hold several addresses of one server, to be raced (RFC 8305).
//!
//! What is not done: no DNSSEC of our own, no `tel:` or ENUM, no SCTP; of several NAPTR orders a
//! clear one is never a substitute for a secure one (no insecure fallback).

mod ask;
mod cache;
mod locator;
mod memory;
mod records;
mod walk;
mod weigh;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::Transport;

pub use ask::{Ask, AskError};
pub use locator::{LocateId, Locator};
pub use memory::FailureMemory;
pub use records::{Kind, Naptr, Query, Records, Srv};

/// A request of more bytes than this does not leave by UDP for a hop that was looked up
/// (RFC 3261 §18.1.1).
pub const DATAGRAM_REQUEST_MAX: usize = 1300;

/// One place to send a request to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// By which transport.
    pub transport: Transport,
    /// The server's addresses, at least one, the preferred one first. Several only for streams:
    /// whoever connects races them (RFC 8305).
    pub addrs: Vec<SocketAddr>,
    /// What a certificate must prove (RFC 5922 §7.1): the domain asked for, never the SRV target.
    pub server_name: String,
}

impl NextHop {
    /// A hop with one address that is its own name.
    pub fn literal(transport: Transport, addr: SocketAddr) -> Self {
        Self { transport, addrs: vec![addr], server_name: addr.ip().to_string() }
    }

    /// The preferred address.
    pub fn addr(&self) -> SocketAddr {
        self.addrs.first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// The same server by TCP, for a request too large for a datagram (RFC 3261 §18.1.1).
    pub fn by_tcp(&self) -> Self {
        Self { transport: Transport::Tcp, ..self.clone() }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.transport, self.addr(), self.server_name)
    }
}

/// Why there is nowhere to send to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// DNS says that there is no such name, or nothing of use under it.
    #[error("{0} has no address for SIP")]
    NoSuchName(String),
    /// The domain offers only transports we do not speak, or offers none where `sips:` wants TLS.
    #[error("{0} offers no transport that may be used here")]
    NoCommonTransport(String),
    /// DNS did not answer in time, or failed.
    #[error("the name servers did not answer for {0}")]
    Unanswered(String),
    /// [`Policy::pending_max`].
    #[error("too many lookups are under way")]
    Busy,
}

/// How lookups are made; every limit has its name here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Transports spoken, the preferred one first: the choice where a domain leaves it to us.
    pub transports: Vec<Transport>,
    /// Whether IPv4 can be reached.
    pub v4: bool,
    /// Whether IPv6 can be reached; it comes first (RFC 8305 §4).
    pub v6: bool,
    /// Lookups at a time; more are refused.
    pub pending_max: usize,
    /// How long one lookup may take.
    pub patience: Duration,
    /// How long a fresh answer is waited for while an expired one is at hand (RFC 8767 §5).
    pub stale_after: Duration,
    /// How long an expired answer is kept for the time when the name servers are down.
    pub stale_max: Duration,
    /// Most seconds an answer is believed, whatever its TTL.
    pub ttl_max: Duration,
    /// How long a failed server is avoided.
    pub avoid: Duration,
    /// Answers remembered.
    pub cache_max: usize,
    /// Next hops in one list.
    pub hops_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            transports: vec![Transport::Tls, Transport::Udp, Transport::Tcp],
            v4: true,
            v6: true,
            pending_max: 1000,
            patience: Duration::from_secs(4),
            stale_after: Duration::from_millis(500),
            stale_max: Duration::from_secs(24 * 3600),
            ttl_max: Duration::from_secs(24 * 3600),
            avoid: Duration::from_secs(60),
            cache_max: 10_000,
            hops_max: 16,
        }
    }
}

/// The port of a transport when none is named (RFC 3261 §19.1.2, RFC 7118 §8).
pub fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}
