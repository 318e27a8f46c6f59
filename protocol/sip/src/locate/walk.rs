//! The procedure of RFC 3263 §4 over what the cache knows. It is walked anew at each answer: what
//! is missing is noted, and with nothing missing it ends.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sansio::{Entropy, Transport};

use super::cache::{Cache, Known};
use super::records::{Kind, Naptr, Query, Records, srv_name, transport_of_service};
use super::{Ask, LocateError, NextHop, Policy, default_port, weigh};

/// Addresses of one server that are raced.
const RACED_MAX: usize = 6;

/// One walk for one ask.
pub(crate) struct Walk<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) policy: &'a Policy,
    pub(crate) now: Instant,
    /// When it was asked.
    pub(crate) asked: Instant,
    /// Whether expired answers will do now.
    pub(crate) stale: bool,
    /// What must be known first.
    pub(crate) missing: Vec<Query>,
    /// Whether a failure of the name servers stood in the way.
    failed: bool,
}

/// One way into a domain.
enum Way {
    /// By the SRV records of this name; without any, by the host's own addresses if `or_host`.
    Srv { transport: Transport, name: String, or_host: bool },
    /// The addresses of this name.
    Host { transport: Transport, name: String, port: u16 },
}

impl Way {
    fn transport(&self) -> Transport {
        match self {
            Self::Srv { transport, .. } | Self::Host { transport, .. } => *transport,
        }
    }
}

/// A server by name.
struct Server {
    transport: Transport,
    name: String,
    port: u16,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        cache: &'a Cache,
        policy: &'a Policy,
        (now, asked): (Instant, Instant),
        stale: bool,
    ) -> Self {
        Self { cache, policy, now, asked, stale, missing: Vec::new(), failed: false }
    }

    /// The hops in order; `None` when something is missing.
    pub(crate) fn run(
        &mut self,
        ask: &Ask,
        entropy: &mut dyn Entropy,
    ) -> Option<Result<Vec<NextHop>, LocateError>> {
        let ways = match self.ways(ask)? {
            Ok(ways) => ways,
            Err(error) => return Some(Err(error)),
        };
        let servers = self.servers(ask, &ways, entropy)?;
        let mut hops = Vec::new();
        for server in &servers {
            hops.extend(self.hops(server, ask.server_name()));
        }
        if !self.missing.is_empty() {
            return None;
        }
        hops.truncate(self.policy.hops_max);
        if hops.is_empty() { Some(Err(self.nothing(ask))) } else { Some(Ok(hops)) }
    }

    /// RFC 3263 §4.1: which transports, by which records.
    fn ways(&mut self, ask: &Ask) -> Option<Result<Vec<Way>, LocateError>> {
        if let Some(port) = ask.port {
            let transport = ask.fallback_transport();
            return Some(Ok(vec![Way::Host { transport, name: ask.host.clone(), port }]));
        }
        if let Some(transport) = ask.transport {
            let name = srv_name(transport, &ask.host);
            return Some(Ok(vec![Way::Srv { transport, name, or_host: true }]));
        }
        match self.look(&Query::new(ask.host.as_str(), Kind::Naptr))? {
            Records::Naptr(records) => Some(self.ways_by_naptr(ask, records)),
            // Some middleboxes drop NAPTR: what SRV says still holds.
            _ => self.ways_by_srv(ask).map(Ok),
        }
    }

    fn ways_by_naptr(&self, ask: &Ask, records: &[Naptr]) -> Result<Vec<Way>, LocateError> {
        let mut usable: Vec<(&Naptr, Transport)> = records
            .iter()
            .filter_map(|r| Some((r, transport_of_service(&r.service)?)))
            .filter(|(_, t)| self.policy.transports.contains(t))
            .filter(|(_, t)| t.is_secure() || !ask.secure)
            .collect();
        usable.sort_by_key(|(r, _)| (r.order, r.preference));
        let ways = usable.into_iter().filter_map(|(r, transport)| {
            let name = r.replacement.trim_end_matches('.').to_ascii_lowercase();
            match r.flags.to_ascii_uppercase().as_str() {
                "S" => Some(Way::Srv { transport, name, or_host: false }),
                "A" => Some(Way::Host { transport, name, port: default_port(transport) }),
                _ => None,
            }
        });
        let ways = never_weaker(ways.collect());
        if ways.is_empty() {
            return Err(LocateError::NoCommonTransport(ask.host.clone()));
        }
        Ok(ways)
    }

    /// Without NAPTR: whatever has SRV records is offered; without any, the host itself.
    fn ways_by_srv(&mut self, ask: &Ask) -> Option<Vec<Way>> {
        let spoken = self.policy.transports.clone();
        let mut ways = Vec::new();
        let wanted = spoken.into_iter().filter(|t| t.is_secure() || !ask.secure);
        for transport in wanted.collect::<Vec<_>>() {
            let name = srv_name(transport, &ask.host);
            let query = Query::new(name.as_str(), Kind::Srv);
            if matches!(self.look(&query), Some(Records::Srv(_))) {
                ways.push(Way::Srv { transport, name, or_host: false });
            }
        }
        if !self.missing.is_empty() {
            return None;
        }
        if ways.is_empty() && !self.failed {
            let transport = ask.fallback_transport();
            let port = default_port(transport);
            ways.push(Way::Host { transport, name: ask.host.clone(), port });
        }
        Some(never_weaker(ways))
    }

    /// RFC 3263 §4.2: names and ports, in the order of RFC 2782.
    fn servers(
        &mut self,
        ask: &Ask,
        ways: &[Way],
        entropy: &mut dyn Entropy,
    ) -> Option<Vec<Server>> {
        let mut servers = Vec::new();
        for way in ways {
            let (transport, name, or_host) = match way {
                Way::Host { transport, name, port } => {
                    let (transport, port) = (*transport, *port);
                    servers.push(Server { transport, name: name.clone(), port });
                    continue;
                }
                Way::Srv { transport, name, or_host } => (*transport, name, *or_host),
            };
            match self.look(&Query::new(name.as_str(), Kind::Srv)) {
                Some(Records::Srv(records)) => {
                    let offered = records.iter().filter(|r| !matches!(&*r.target, "" | "."));
                    let offered: Vec<_> = offered.cloned().collect();
                    servers.extend(weigh::order(&offered, entropy).into_iter().map(|r| {
                        let name = r.target.trim_end_matches('.').to_ascii_lowercase();
                        Server { transport, name, port: r.port }
                    }));
                }
                Some(Records::Failed) | None => {}
                Some(_) if or_host => {
                    let port = default_port(transport);
                    servers.push(Server { transport, name: ask.host.clone(), port });
                }
                Some(_) => {}
            }
        }
        servers.truncate(self.policy.hops_max);
        self.missing.is_empty().then_some(servers)
    }

    /// The addresses of a server, both families (RFC 7984), as one raced hop or several.
    fn hops(&mut self, server: &Server, server_name: &str) -> Vec<NextHop> {
        let v6 = self.addresses(&server.name, Kind::Aaaa, self.policy.v6);
        let v4 = self.addresses(&server.name, Kind::A, self.policy.v4);
        let addrs = interleave(&v6, &v4).into_iter().map(|ip| SocketAddr::new(ip, server.port));
        let (transport, server_name) = (server.transport, server_name.to_owned());
        if transport.is_reliable() {
            let addrs: Vec<_> = addrs.take(RACED_MAX).collect();
            let some = !addrs.is_empty();
            return some.then_some(NextHop { transport, addrs, server_name }).into_iter().collect();
        }
        let hop = |addr| NextHop { transport, addrs: vec![addr], server_name: server_name.clone() };
        addrs.map(hop).collect()
    }

    fn addresses(&mut self, name: &str, kind: Kind, wanted: bool) -> Vec<IpAddr> {
        if !wanted {
            return Vec::new();
        }
        if let Ok(ip) = name.parse::<IpAddr>() {
            // SRV targets must be names; some zones have addresses all the same.
            let fits = ip.is_ipv6() == (kind == Kind::Aaaa);
            return fits.then_some(ip).into_iter().collect();
        }
        match self.look(&Query::new(name, kind)) {
            Some(Records::Addresses(found)) => found.clone(),
            _ => Vec::new(),
        }
    }

    /// An answer, or `None` after noting that it is missing.
    fn look(&mut self, query: &Query) -> Option<&'a Records> {
        let known = match self.cache.look(query, self.now, self.asked) {
            Known::Fresh(records) => Some(records),
            Known::Stale(records) if self.stale => Some(records),
            Known::Stale(_) | Known::Nothing => None,
        };
        match known {
            None => self.missing.push(query.clone()),
            Some(records) => self.failed |= *records == Records::Failed,
        }
        known
    }

    fn nothing(&self, ask: &Ask) -> LocateError {
        if self.failed {
            LocateError::Unanswered(ask.host.clone())
        } else {
            LocateError::NoSuchName(ask.host.clone())
        }
    }
}

/// Where the preferred way is secure, only secure ones: who blocks port 5061 must not get the call
/// in clear.
fn never_weaker(mut ways: Vec<Way>) -> Vec<Way> {
    if ways.first().is_some_and(|w| w.transport().is_secure()) {
        ways.retain(|w| w.transport().is_secure());
    }
    ways
}

/// Families take turns, IPv6 first (RFC 8305 §4).
fn interleave(v6: &[IpAddr], v4: &[IpAddr]) -> Vec<IpAddr> {
    let longest = v6.len().max(v4.len());
    (0..longest).flat_map(|i| [v6.get(i), v4.get(i)]).flatten().copied().collect()
}
