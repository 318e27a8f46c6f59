//! Network address translation as RFC 4787 names it (and RFC 5382 for streams).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::packet::Protocol;

/// The first public port a translator gives out.
const FIRST_PORT: u16 = 20_000;

/// When one inner address gets a new public port (RFC 4787 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Never: one port for all destinations.
    EndpointIndependent,
    /// For each destination address.
    AddressDependent,
    /// For each destination address and port: the "symmetric" NAT.
    AddressAndPortDependent,
}

/// Who may send back through a mapping (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    /// Anyone: the "full cone".
    EndpointIndependent,
    /// Addresses that were sent to.
    AddressDependent,
    /// Addresses and ports that were sent to.
    AddressAndPortDependent,
}

/// How a translator behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatConfig {
    /// When a new public port is taken.
    pub mapping: Mapping,
    /// What is let in.
    pub filtering: Filtering,
    /// How long a datagram mapping lives without outbound traffic (RFC 4787 §4.3 asks for two
    /// minutes; many home routers forget after 30 s).
    pub udp_timeout: Duration,
    /// The same for streams (RFC 5382 §5 asks for two hours and four minutes).
    pub stream_timeout: Duration,
    /// Whether two inner hosts may meet by their public addresses (RFC 4787 §6).
    pub hairpinning: bool,
}

impl NatConfig {
    /// What most homes have: endpoint-independent mapping, strict filtering, 30 s.
    pub fn home() -> Self {
        Self {
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::AddressAndPortDependent,
            udp_timeout: Duration::from_secs(30),
            stream_timeout: Duration::from_secs(7440),
            hairpinning: false,
        }
    }

    /// Lets in whatever comes from an address that was sent to: the "restricted cone".
    pub fn restricted() -> Self {
        Self { filtering: Filtering::AddressDependent, ..Self::home() }
    }

    /// What defeats hole punching: a port per destination, strict filtering.
    pub fn symmetric() -> Self {
        Self { mapping: Mapping::AddressAndPortDependent, ..Self::home() }
    }

    /// The most permissive translator.
    pub fn full_cone() -> Self {
        Self { filtering: Filtering::EndpointIndependent, hairpinning: true, ..Self::home() }
    }
}

/// Which part of a destination distinguishes mappings.
type Scope = (Option<IpAddr>, Option<u16>);

#[derive(Debug)]
struct Binding {
    inner: SocketAddr,
    scope: Scope,
    expires: Instant,
    sent_to: BTreeMap<SocketAddr, Instant>,
}

/// A translator in use.
#[derive(Debug)]
pub(crate) struct Nat {
    pub(crate) config: NatConfig,
    public: IpAddr,
    by_port: BTreeMap<(Protocol, u16), Binding>,
    next_port: u16,
}

impl Nat {
    pub(crate) fn new(public: IpAddr, config: NatConfig) -> Self {
        Self { config, public, by_port: BTreeMap::new(), next_port: FIRST_PORT }
    }

    /// Forgets everything, as a router does that is switched off and on. Ports are not reused soon.
    pub(crate) fn forget_all(&mut self) {
        self.by_port.clear();
    }

    /// The public address an outbound packet leaves with. It refreshes the mapping (RFC 4787 REQ-6).
    pub(crate) fn outbound(
        &mut self,
        now: Instant,
        protocol: Protocol,
        inner: SocketAddr,
        to: SocketAddr,
    ) -> SocketAddr {
        self.by_port.retain(|_, b| b.expires > now);
        let scope = self.scope(to);
        let known = self
            .by_port
            .iter()
            .find(|((p, _), b)| *p == protocol && b.inner == inner && b.scope == scope)
            .map(|((_, port), _)| *port);
        let port = known.unwrap_or_else(|| self.free_port(protocol));
        let expires = now + self.timeout(protocol);
        let binding = self.by_port.entry((protocol, port)).or_insert_with(|| Binding {
            inner,
            scope,
            expires,
            sent_to: BTreeMap::new(),
        });
        binding.expires = expires;
        binding.sent_to.insert(to, expires);
        SocketAddr::new(self.public, port)
    }

    /// The inner address an inbound packet is passed to; none if nothing is mapped or it is filtered.
    pub(crate) fn inbound(
        &self,
        now: Instant,
        protocol: Protocol,
        from: SocketAddr,
        port: u16,
    ) -> Option<SocketAddr> {
        let binding = self.by_port.get(&(protocol, port)).filter(|b| b.expires > now)?;
        let mut known = binding.sent_to.iter().filter(|(_, until)| **until > now);
        let passes = match self.config.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => known.any(|(to, _)| to.ip() == from.ip()),
            Filtering::AddressAndPortDependent => known.any(|(to, _)| *to == from),
        };
        passes.then_some(binding.inner)
    }

    fn scope(&self, to: SocketAddr) -> Scope {
        match self.config.mapping {
            Mapping::EndpointIndependent => (None, None),
            Mapping::AddressDependent => (Some(to.ip()), None),
            Mapping::AddressAndPortDependent => (Some(to.ip()), Some(to.port())),
        }
    }

    fn timeout(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Udp => self.config.udp_timeout,
            Protocol::Stream => self.config.stream_timeout,
        }
    }

    fn free_port(&mut self, protocol: Protocol) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if !self.by_port.contains_key(&(protocol, port)) {
                return port;
            }
        }
    }
}

#[cfg(test)]
mod tests;
