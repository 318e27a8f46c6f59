//! The edge's snapshots: accounts, locations, plans.

use edge::{CallFacts, Directory, Locations, MediaProfile, Plan, Reach, Router, Target};
use registrar::{Binding, BindingKey, LocationTable};
use router::{PeerRoute, PolicySnapshot};
use sansio::{FlowId, Redacted, Transport, WallTime};
use sip::digest::Algorithm;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use store::{Credentials, NumberSnapshot};

/// Web sign-ins remembered for SIP; each is an hour's token of one phone page.
const BEARERS_MAX: usize = 100_000;

/// The domains served, and the addresses that mean the first of them.
#[derive(Default)]
pub struct Domains {
    tenants: RwLock<Vec<Arc<str>>>,
    policy: RwLock<Option<PolicySnapshot>>,
    addresses: Vec<IpAddr>,
    /// Where numbers and domains go that are not ours.
    peers: RwLock<Arc<[PeerRoute]>>,
    /// Whose which number is.
    pub numbers: Arc<NumberSnapshot>,
    bearers: RwLock<HashMap<String, (String, WallTime)>>,
}

/// Accounts for the edge.
#[derive(Clone)]
pub struct DirectorySnapshot {
    pub domains: Arc<Domains>,
    pub credentials: Arc<Credentials>,
}

/// Devices for the edge.
#[derive(Clone)]
pub struct LocationSnapshot(pub Arc<LocationTable>);

/// Plans for the edge.
#[derive(Clone)]
pub struct RouterSnapshot {
    pub domains: Arc<Domains>,
    pub credentials: Arc<Credentials>,
    pub table: Arc<LocationTable>,
    pub services: Arc<Services>,
}

/// Where our own services (echo, tone) listen; set once they run.
#[derive(Debug, Default)]
pub struct Services {
    pub reach: RwLock<Option<Reach>>,
}

impl Services {
    /// The services run and are reached so.
    pub fn set(&self, reach: Reach) {
        *self.reach.write().unwrap_or_else(PoisonError::into_inner) = Some(reach);
    }
}

impl Domains {
    /// Domains of a server at `addresses`.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }

    /// With the peers of the configuration. The tenants are set after it.
    pub fn with_peers(self, peers: &[edge::PeerConfig]) -> Self {
        self.set_peers(peers);
        self
    }

    fn set_peers(&self, peers: &[edge::PeerConfig]) {
        let routes = peers.iter().map(peer_route).collect();
        *self.peers.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Takes over changed peers, numbered as before.
    pub fn replace_peers(&self, peers: &[edge::PeerConfig]) {
        self.set_peers(peers);
        let peers = Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner));
        let mut policy = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        *policy = policy.take().map(|policy| policy.with_peers(peers));
    }

    /// Takes over the tenants of the store.
    pub fn set(&self, mut tenants: Vec<String>, credentials: &Arc<Credentials>) {
        tenants.sort();
        let accounts =
            Accounts { credentials: Arc::clone(credentials), numbers: Arc::clone(&self.numbers) };
        let peers = Arc::clone(&self.peers.read().unwrap_or_else(PoisonError::into_inner));
        let policy = PolicySnapshot::new(&tenants, accounts).with_peers(peers);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Some(policy);
        let tenants = tenants.into_iter().map(Arc::from).collect();
        *self.tenants.write().unwrap_or_else(PoisonError::into_inner) = tenants;
    }

    /// The tenant a host means: itself, or the first tenant for one of our addresses.
    pub fn realm(&self, host: &str) -> Option<Arc<str>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = tenants.iter().find(|t| t.eq_ignore_ascii_case(host)) {
            return Some(Arc::clone(tenant));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address: IpAddr = bare.parse().ok()?;
        let ours = self.addresses.contains(&address) || address.is_loopback();
        // With several tenants an address names none of them.
        (ours && tenants.len() == 1).then(|| Arc::clone(&tenants[0]))
    }

    /// The tenants now.
    pub fn tenants(&self) -> Vec<String> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.iter().map(|t| t.to_string()).collect()
    }

    /// Remembers a bearer token for an address of record.
    pub fn issue_bearer(&self, token: &str, aor: &str, until: WallTime, now: WallTime) {
        let mut bearers = self.bearers.write().unwrap_or_else(PoisonError::into_inner);
        if bearers.len() >= BEARERS_MAX {
            bearers.retain(|_, (_, end)| *end > now);
        }
        if bearers.len() < BEARERS_MAX {
            bearers.insert(token.to_string(), (aor.to_string(), until));
        }
    }

    fn bearer(&self, token: &str, wall: WallTime) -> Option<String> {
        let bearers = self.bearers.read().unwrap_or_else(PoisonError::into_inner);
        bearers.get(token).filter(|(_, end)| *end > wall).map(|(aor, _)| aor.clone())
    }
}

/// Users and numbers, as the router asks.
struct Accounts {
    credentials: Arc<Credentials>,
    numbers: Arc<NumberSnapshot>,
}

impl router::Directory for Accounts {
    fn has_user(&self, domain: &str, user: &str) -> bool {
        self.credentials.contains(domain, user)
    }

    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        self.numbers.owner(number)
    }
}

fn peer_route(peer: &edge::PeerConfig) -> PeerRoute {
    let prefix = |rule: &edge::PrefixRule| router::PrefixRoute {
        prefix: rule.prefix.clone(),
        strip: rule.strip,
        add: rule.add.clone(),
    };
    if peer.retired {
        // Its place is kept, and nothing leads there.
        return PeerRoute { name: peer.name.clone(), ..PeerRoute::default() };
    }
    PeerRoute {
        name: peer.name.clone(),
        host: peer.domain().to_string(),
        domains: peer.domains.iter().map(|d| d.to_ascii_lowercase()).collect(),
        prefixes: peer.prefixes.iter().map(prefix).collect(),
        priority: peer.priority,
        internal: peer.zone == edge::Zone::Internal,
    }
}

impl Directory for DirectorySnapshot {
    fn is_local(&self, domain: &str) -> bool {
        self.domains.realm(domain).is_some()
    }

    fn realm(&self, domain: &str) -> Option<Arc<str>> {
        self.domains.realm(domain)
    }

    fn ha1(&self, realm: &str, user: &str, algorithm: Algorithm) -> Option<Redacted<String>> {
        let set = self.credentials.lookup(realm, user)?;
        Some(Redacted::new(match algorithm {
            Algorithm::Md5 | Algorithm::Md5Sess => set.md5_hex(),
            Algorithm::Sha256 | Algorithm::Sha256Sess => set.sha256_hex(),
            Algorithm::Sha512_256 | Algorithm::Sha512_256Sess => set.sha512_256_hex(),
        }))
    }

    fn ha1_into(
        &self,
        (realm, user): (&str, &str),
        algorithm: Algorithm,
        out: &mut [u8; 64],
    ) -> Option<usize> {
        self.credentials.look(realm, user, |set| set.hex_into(algorithm, out))
    }

    fn has_user(&self, realm: &str, user: &str) -> bool {
        self.credentials.contains(realm, user)
    }

    fn number_owner(&self, number: &str) -> Option<(String, String)> {
        self.domains.numbers.owner(number)
    }

    fn bearer(&self, token: &str, wall: WallTime) -> Option<String> {
        let aor = self.domains.bearer(token, wall)?;
        // A user removed since has no token either.
        let (user, realm) = aor.strip_prefix("sip:")?.split_once('@')?;
        self.credentials.contains(realm, user).then_some(aor)
    }
}

impl Locations for LocationSnapshot {
    fn reach(&self, binding: u64, wall: WallTime) -> Option<Reach> {
        self.0.by_key(BindingKey(binding), wall).map(|b| reach_of(&b))
    }

    fn binding_on(&self, aor: &str, flow: FlowId, source: SocketAddr) -> Option<u64> {
        let wall = crate::present::wall();
        self.0.on_flow(aor, flow, source, wall).map(|b| b.key().0)
    }

    fn is_registered_from(&self, aor: &str, source: IpAddr, wall: WallTime) -> bool {
        let source = source.to_canonical();
        self.0.lookup(aor, wall).iter().any(|b| b.source().ip().to_canonical() == source)
    }
}

impl Router for RouterSnapshot {
    fn plan(&self, facts: &CallFacts<'_>, wall: WallTime) -> Plan {
        let decision = self.decide(facts, wall);
        match decision.outcome {
            router::Outcome::Fork { targets } => {
                Plan::Fork(targets.iter().filter_map(|t| self.device(t, wall)).collect())
            }
            router::Outcome::Service { service } => self.service(service),
            router::Outcome::Peers { targets } => {
                Plan::Fork(targets.iter().filter_map(server).collect())
            }
            router::Outcome::Refuse { status, reason } => {
                Plan::Refuse { status, reason: reason.into() }
            }
        }
    }
}

impl RouterSnapshot {
    /// The decision with its steps, for `route explain` too.
    pub fn decide(&self, facts: &CallFacts<'_>, wall: WallTime) -> router::Plan {
        let policy = self.domains.policy.read().unwrap_or_else(PoisonError::into_inner).clone();
        let policy = policy.unwrap_or_else(|| {
            PolicySnapshot::new(Vec::<String>::new(), Arc::clone(&self.credentials))
        });
        let CallFacts { caller, user, domain, method, from_peer } = *facts;
        let facts = router::CallFacts { caller, user, domain, method, from_peer };
        router::decide(&policy, &Places(&self.table), &facts, wall)
    }

    fn service(&self, service: router::Service) -> Plan {
        let reach = *self.services.reach.read().unwrap_or_else(PoisonError::into_inner);
        let Some(reach) = reach else {
            return Plan::Refuse { status: 480, reason: "Service Is Starting".into() };
        };
        Plan::Fork(vec![Target {
            uri: format!("sip:{service}@{}", reach.peer),
            reach,
            binding: 0,
            path: Vec::new(),
            media: MediaProfile::Internal,
            locate: None,
            peer: None,
        }])
    }

    fn device(&self, target: &router::Target, wall: WallTime) -> Option<Target> {
        let binding = self.table.by_key(BindingKey(target.binding), wall)?;
        Some(Target {
            uri: target.contact.clone(),
            reach: reach_of(&binding),
            binding: target.binding,
            path: binding.path().map(str::to_string).collect(),
            media: match target.media {
                router::MediaProfile::Rtp => MediaProfile::Plain,
                router::MediaProfile::Srtp => MediaProfile::Sdes,
                router::MediaProfile::WebRtc => MediaProfile::WebRtc,
            },
            locate: None,
            peer: None,
        })
    }
}

/// A peer to hand a call to; the edge knows where it is and how it is spoken to.
fn server(target: &router::PeerTarget) -> Option<Target> {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let reach = Reach { transport: Transport::Udp, flow: None, local: nowhere, peer: nowhere };
    Some(Target {
        uri: format!("sip:{}@{}", target.user, target.host),
        reach,
        binding: 0,
        path: Vec::new(),
        media: MediaProfile::Plain,
        locate: None,
        peer: Some(u16::try_from(target.peer).ok()?),
    })
}

/// Where users' devices are, as the router asks.
struct Places<'a>(&'a LocationTable);

impl router::Locations for Places<'_> {
    fn places(&self, aor: &str, wall: WallTime) -> Vec<router::Place> {
        let place = |b: Binding| router::Place {
            binding: b.key().0,
            contact: b.contact().to_string(),
            instance: b.instance().map(str::to_string),
            q: b.q(),
            transport: b.transport(),
            // A datagram needs no connection.
            reachable: b.transport() == Transport::Udp || b.flow().is_some(),
        };
        self.0.lookup(aor, wall).into_iter().map(place).collect()
    }
}

fn reach_of(binding: &Binding) -> Reach {
    Reach {
        transport: binding.transport(),
        flow: binding.flow(),
        local: binding.local(),
        peer: binding.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ours_means_the_only_tenant() {
        let domains = Domains::new(vec![IpAddr::from([192, 0, 2, 1])]);
        let credentials = Arc::new(Credentials::new());
        domains.set(vec!["example.com".into()], &credentials);
        assert_eq!(domains.realm("EXAMPLE.com").as_deref(), Some("example.com"));
        assert_eq!(domains.realm("192.0.2.1").as_deref(), Some("example.com"));
        assert_eq!(domains.realm("192.0.2.2"), None);
        domains.set(vec!["a.example".into(), "b.example".into()], &credentials);
        assert_eq!(domains.realm("192.0.2.1"), None);
    }

    #[test]
    fn a_bearer_token_ends() {
        let domains = Domains::default();
        let at = WallTime::from_secs;
        domains.issue_bearer("t", "sip:a@b", at(100), at(0));
        assert_eq!(domains.bearer("t", at(99)).as_deref(), Some("sip:a@b"));
        assert_eq!(domains.bearer("t", at(100)), None);
    }
}
