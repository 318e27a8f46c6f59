//! `[[peer]]`: servers of others and of our own that calls come from and go to.
//!
//! ```text
//!   source address ─► Peers::by_source ─► zone, profile
//!   router's plan  ─► Peers::get ─► where it is, how it is spoken to, what its answers mean
//! ```

mod config;
mod net;

use crate::config::Config;
use crate::ports::MediaProfile;
use crate::profile::Profile;
use crate::zones::Zone;
pub use config::{PeerConfig, PeerError, PeerIdentity, PeerMedia, PeerTransport, PrefixRule};
use net::Net;
use sansio::Redacted;
use sip::locate::Ask;
use sip::response_policy::ResponsePolicy;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Most peers; more are a job for another server.
pub const PEERS_MAX: usize = 1_000;

/// A peer, ready to use.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub name: String,
    pub zone: Zone,
    /// The same for the same name after a reload or restart: it stands in route tokens.
    pub id: u64,
    /// Where to look for it.
    pub ask: Ask,
    pub media: MediaProfile,
    /// The host in URIs sent to it.
    pub domain: String,
    pub profile: Profile,
    pub policy: ResponsePolicy,
    pub hides: bool,
    pub keeps_privacy: bool,
    pub overload_control: bool,
    /// Known by its certificate, which names `domain`.
    pub by_certificate: bool,
    pub credentials: Option<(String, Redacted<String>)>,
}

/// All of them, found by source or number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers {
    all: Vec<Peer>,
    exact: HashMap<IpAddr, u16>,
    /// Longest prefix first.
    nets: Vec<(Net, u16)>,
    /// Those known by their certificates, by its name.
    named: HashMap<String, u16>,
    /// The one that phones' requests go on to, where this is an access edge.
    core: Option<u16>,
    have_edges: bool,
}

impl Peers {
    /// Those of a configuration, and which of them is the core.
    pub(crate) fn of(config: &Config) -> Result<Self, PeerError> {
        let mut peers = Self::new(&config.peers, &config.profiles)?;
        let Some(name) = &config.core else { return Ok(peers) };
        let wrong = |why| PeerError::Core { name: name.clone(), why };
        let found = peers.all.iter().position(|peer| peer.name == *name);
        let number = found.ok_or_else(|| wrong("which no [[peer]] is; name one"))?;
        let core = &peers.all[number];
        if core.zone != Zone::Internal {
            return Err(wrong("which needs zone = \"internal\""));
        }
        if core.credentials.is_some() {
            return Err(wrong("which must have no username: phones answer its challenges"));
        }
        if core.hides {
            return Err(wrong("which must have no hide_topology: it is to see its phones"));
        }
        peers.core = Some(number as u16); // below PEERS_MAX
        Ok(peers)
    }

    /// Checks every peer. `profiles` are those of the configuration.
    pub(crate) fn new(
        configs: &[PeerConfig],
        profiles: &BTreeMap<String, Profile>,
    ) -> Result<Self, PeerError> {
        if configs.len() > PEERS_MAX {
            return Err(PeerError::TooMany(configs.len()));
        }
        let mut peers = Self::default();
        for config in configs {
            config.check()?;
            let taken = peers.all.iter().any(|p| p.name == config.name);
            if config.name.is_empty() || taken {
                return Err(PeerError::Name(config.name.clone()));
            }
            let number = peers.all.len() as u16;
            let by_certificate = config.identity == PeerIdentity::Certificate;
            if by_certificate && !config.retired {
                let name = config.domain().to_ascii_lowercase();
                if peers.named.insert(name, number).is_some() {
                    return Err(config.shares_its_name());
                }
            }
            peers.have_edges |= config.zone == Zone::Phone && !config.retired;
            let nets = if config.retired { Vec::new() } else { config.nets()? };
            for net in nets {
                match net.single() {
                    Some(ip) => drop(peers.exact.insert(ip, number)),
                    None => peers.nets.push((net, number)),
                }
            }
            let internal = config.zone == Zone::Internal;
            let secret = config.username.clone().zip(config.password.clone());
            peers.all.push(Peer {
                name: config.name.clone(),
                zone: config.zone,
                id: peer_number(&config.name),
                ask: config.ask()?,
                media: match config.media() {
                    PeerMedia::Rtp => MediaProfile::Plain,
                    PeerMedia::Srtp => MediaProfile::Sdes,
                },
                domain: config.domain().to_string(),
                profile: Profile::find(&config.profile, profiles)?,
                policy: config.policy()?,
                hides: config.hide_topology.unwrap_or(!internal),
                keeps_privacy: config.keeps_privacy.unwrap_or(internal),
                overload_control: config.overload_control,
                by_certificate,
                credentials: secret,
            });
        }
        peers.nets.sort_by_key(|(net, _)| std::cmp::Reverse(net.bits));
        Ok(peers)
    }

    /// Whether there are none: then everybody is a phone.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Peer> {
        self.all.get(usize::from(number))
    }

    /// The peer whose requests come from this address.
    pub(crate) fn by_source(&self, ip: IpAddr) -> Option<u16> {
        if self.is_empty() {
            return None;
        }
        let ip = ip.to_canonical();
        let exact = self.exact.get(&ip).copied();
        exact.or_else(|| self.nets.iter().find(|(net, _)| net.contains(ip)).map(|(_, n)| *n))
    }

    /// The lasting number of the peer at this address, or 0.
    pub(crate) fn number_at(&self, ip: IpAddr) -> u64 {
        self.by_source(ip).and_then(|n| self.get(n)).map_or(0, |peer| peer.id)
    }

    /// Whether any peer is known by its certificate.
    #[inline]
    pub(crate) fn have_certificates(&self) -> bool {
        !self.named.is_empty()
    }

    /// The peer that proved one of these names; where it has sources, from one of them.
    pub(crate) fn by_names(&self, names: &[String], ip: IpAddr) -> Option<u16> {
        let number = names.iter().find_map(|name| self.named.get(name).copied())?;
        let from = self.by_source(ip);
        let restricted = self.exact.values().chain(self.nets.iter().map(|(_, n)| n));
        let free = !restricted.into_iter().any(|n| *n == number);
        (free || from == Some(number)).then_some(number)
    }

    /// The one that phones' requests go on to.
    #[inline]
    pub(crate) fn core(&self) -> Option<u16> {
        self.core
    }

    /// Whether any is an access edge of ours.
    #[inline]
    pub(crate) fn have_edges(&self) -> bool {
        self.have_edges
    }

    /// Whether this one is.
    pub(crate) fn is_edge(&self, number: u16) -> bool {
        self.get(number).is_some_and(|peer| peer.zone == Zone::Phone)
    }

    /// The peer a route token names.
    pub(crate) fn by_id(&self, id: u64) -> Option<u16> {
        self.all.iter().position(|p| p.id == id).map(|n| n as u16)
    }
}

/// The number of the `[[peer]]` with this name: FNV-1a, the same in every run; the top bit keeps it
/// from zero.
pub fn peer_number(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step) | 1 << 63
}

#[cfg(test)]
mod tests;
