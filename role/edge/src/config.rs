//! The edge's configuration, composed into `whimbrel.toml` as `[edge]`.

use crate::admission::{Admission, AdmissionError};
use crate::conduct::ConductConfig;
use crate::encryption::{EncryptionRule, RULES_MAX};
use crate::ice_rule::IceRule;
use crate::limits::Guesses;
use crate::network::Network;
use crate::peer::{PeerConfig, PeerError, PeerIdentity, Peers};
use crate::profile::Profile;
use crate::zones::{MethodRuleError, MethodRules, Zone};
use sansio::Transport;
use serde::Deserialize;
use sip::digest::Algorithm;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `[edge]`: what the edge admits and how it authenticates.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Digest algorithms offered, in this order (RFC 8760): `SHA-256`, `SHA-512-256`, `MD5`.
    pub digest_algorithms: Vec<String>,
    /// User agents (prefixes, without regard to case) that are offered MD5 first, because they
    /// give up on a first challenge they do not know. An empty string stands for a request that
    /// names no user agent.
    pub digest_md5_first: Vec<String>,
    /// User agents that are offered MD5 alone, because they fail when *any* challenge of several is
    /// one they do not know (libre before 2.0, as in Debian 12's baresip).
    pub digest_md5_only: Vec<String>,
    /// How long a nonce is good for, in seconds.
    pub nonce_lifetime_s: u64,
    /// Calls one shard holds at most; more are refused with 503.
    pub calls_max: usize,
    /// Branches one request forks into at most (RFC 5393 Max-Breadth).
    pub branches_max: usize,
    /// How long a phone may ring, in seconds (Timer C, RFC 3261 §16.6 step 11: above 180).
    pub ring_timeout_s: u64,
    /// The session interval asked for on behalf of both sides, in seconds (RFC 4028 §8): a call that
    /// nobody refreshes within it is ended. 0 leaves session timers to the two sides.
    pub session_expires_s: u64,
    /// The shortest session interval let through, in seconds; 90 is the least RFC 4028 allows.
    pub session_min_s: u64,
    /// How strictly the media of a party on TLS or WSS follows its signalling, whichever side
    /// offers. `required`: never RTP in clear; its offers without keys are refused with 488
    /// "Encrypted Media Required", as is a device that refuses RTP/SAVP. `preferred`: offers in
    /// clear are taken, and a device that refuses RTP/SAVP with 488 is offered RTP/AVP next. Parties
    /// on UDP and TCP are not concerned: keys would cross the network in clear.
    pub media_encryption: MediaEncryption,
    /// `[[edge.encryption]]`: whose media must, should or must not be encrypted, whatever
    /// `media_encryption` and the transport say.
    pub encryption: Vec<EncryptionRule>,
    /// `[[edge.ice]]`: whose offers must speak ICE, and what becomes of those that do not.
    pub ice: Vec<IceRule>,
    /// Whether SDES keys may cross UDP, TCP and WS, where everybody on the way can read them. If not,
    /// an offer that insists on them (RTP/SAVP) is refused with 488, and keys beside an offer in clear
    /// (RFC 8643) are taken off.
    pub keys_in_clear: bool,
    /// Whether media goes through the relay even when both sides could do without.
    pub media_anchor: MediaAnchor,
    /// Whose calls are recorded, for which their media has to cross the relay: those that begin in these
    /// domains; all where none is named. Not of `[edge]`: it follows from `[recording]`.
    #[serde(skip)]
    pub recorded: Option<Vec<String>>,
    /// Networks whose calls are taken without a challenge, for load tests and closed networks:
    /// whoever sends from there is who its From says, as long as that is a domain served here.
    /// REGISTER is challenged all the same.
    pub open_from: Vec<Network>,
    /// Whether limits by source hold for loopback addresses, too.
    pub limit_loopback: bool,
    /// `[edge.guesses]`.
    pub guesses: Guesses,
    /// `[edge.admission]`.
    pub admission: Admission,
    /// `[edge.conduct]`.
    pub conduct: ConductConfig,
    /// Whether a display name that reads as an address or a telephone number must be the caller's
    /// own (403 otherwise, as for From and its kin, which are always checked).
    pub check_display_names: bool,
    /// What phones see of whoever is behind the edge: addresses, routes, software. `inner` hides
    /// peers and servers, and leaves phones to see each other; `all` hides phones too; `off` nothing.
    pub hide_from_phones: HideFromPhones,
    /// Makes this server an access edge: the `[[peer]]` with `zone = "internal"` that knows the users.
    /// Whatever phones send goes on to it, and they are called by the Path it keeps (RFC 3327).
    pub core: Option<String>,
    /// `[[peer]]`, put here by whoever reads the configuration.
    #[serde(skip)]
    pub peers: Vec<PeerConfig>,
    /// `[profile.NAME]`, likewise.
    #[serde(skip)]
    pub profiles: BTreeMap<String, Profile>,
    /// Which methods are welcome from where: changes to the table in docs/operate/trust-zones.md.
    pub methods: MethodRules,
}

/// Which calls' media the relay carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaAnchor {
    /// All of them.
    Always,
    /// Those between sides that speak differently (RTP, SDES, WebRTC), with peers, with our own services,
    /// and all where calls are recorded. For the others descriptions pass untouched: phones behind NAT hear each other by ICE or not at all, each
    /// side learns the other's address, and silence ends no call.
    WhenNeeded,
}

/// What phones see of whoever is behind the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HideFromPhones {
    /// Everything.
    Off,
    /// Nothing of peers and servers.
    Inner,
    /// Nothing of other phones either.
    All,
}

/// How strictly media follows the signalling's encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaEncryption {
    /// Never RTP in clear from or to a party on TLS or WSS.
    Required,
    /// SRTP first; in clear when the party wants it so.
    Preferred,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            digest_algorithms: vec!["SHA-256".into(), "MD5".into()],
            digest_md5_first: ["JsSIP", "SIPp", ""].map(String::from).to_vec(),
            digest_md5_only: ["baresip v0.", "baresip v1."].map(String::from).to_vec(),
            nonce_lifetime_s: 300,
            calls_max: 100_000,
            branches_max: 20,
            ring_timeout_s: 185,
            session_expires_s: 1800,
            session_min_s: 90,
            media_encryption: MediaEncryption::Required,
            encryption: Vec::new(),
            ice: Vec::new(),
            keys_in_clear: false,
            media_anchor: MediaAnchor::Always,
            recorded: None,
            open_from: Vec::new(),
            limit_loopback: false,
            guesses: Guesses::default(),
            admission: Admission::default(),
            conduct: ConductConfig::default(),
            check_display_names: true,
            hide_from_phones: HideFromPhones::Inner,
            core: None,
            peers: Vec::new(),
            profiles: BTreeMap::new(),
            methods: MethodRules::default(),
        }
    }
}

/// A field whose value makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An algorithm no RFC names.
    #[error(
        "edge.digest_algorithms: '{0}' is not a digest algorithm; use SHA-256, SHA-512-256 or MD5"
    )]
    UnknownAlgorithm(String),
    /// Nothing to authenticate with.
    #[error("edge.digest_algorithms is empty; name at least one of SHA-256, SHA-512-256, MD5")]
    NoAlgorithm,
    /// Below what RFC 3261 allows.
    #[error("edge.ring_timeout_s is {0}; it must be above 180 (RFC 3261 §16.6 step 11)")]
    RingTimeoutTooShort(u64),
    /// Below what RFC 4028 allows.
    #[error("edge.session_min_s is {0}; it must be 90 or more (RFC 4028 §4)")]
    SessionMinTooShort(u64),
    /// We would refuse our own wish.
    #[error(
        "edge.session_expires_s is {expires}; it must be 0 (off) or at least \
         edge.session_min_s ({min_se})"
    )]
    SessionExpiresTooShort {
        /// The interval.
        expires: u64,
        /// The minimum.
        min_se: u64,
    },
    /// A field of `[edge.admission]`.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// Too few to type a password, or more than can be counted.
    #[error("edge.guesses.{field} is {value}; it must be 2 to {}", crate::limits::PER_HOUR_MAX)]
    GuessLimit {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// A field of `[edge.conduct]`.
    #[error("edge.conduct.{field} is {value}; write {wanted}")]
    Conduct {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        wanted: &'static str,
    },
    /// A rule of `[[edge.encryption]]`, counted from 1.
    #[error("[[edge.encryption]] number {number}: {field} needs {wanted}")]
    Encryption {
        /// Which.
        number: usize,
        /// The field.
        field: &'static str,
        /// What would do.
        wanted: &'static str,
    },
    /// A rule of `[[edge.ice]]`, counted from 1.
    #[error("[[edge.ice]] number {number}: {field} needs {wanted}")]
    Ice {
        /// Which.
        number: usize,
        /// The field.
        field: &'static str,
        /// What would do.
        wanted: &'static str,
    },
    /// A peer or its profile.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// A rule for a method.
    #[error(transparent)]
    Methods(#[from] MethodRuleError),
}

impl Config {
    /// Whether any peer is known by its certificate: then clients must be asked for theirs.
    pub fn knows_by_certificate(&self) -> bool {
        let mut peers = self.peers.iter().filter(|peer| !peer.retired);
        peers.any(|peer| peer.identity == PeerIdentity::Certificate)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// The first one that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.algorithms()?;
        self.check_encryption()?;
        self.check_ice_rules()?;
        crate::session_timer::Sessions::new(self)?;
        Ok(())
    }

    fn check_ice_rules(&self) -> Result<(), ConfigError> {
        let wrong = |number, field, wanted| Err(ConfigError::Ice { number, field, wanted });
        if self.ice.len() > RULES_MAX {
            return wrong(RULES_MAX + 1, "it", "to go: 1000 rules are the most");
        }
        let mut faults = (1..).zip(&self.ice).filter_map(|(n, rule)| Some((n, rule.fault()?)));
        faults.next().map_or(Ok(()), |(number, (field, wanted))| wrong(number, field, wanted))
    }

    fn check_encryption(&self) -> Result<(), ConfigError> {
        let wrong = |number, field, wanted| Err(ConfigError::Encryption { number, field, wanted });
        if self.encryption.len() > RULES_MAX {
            return wrong(RULES_MAX + 1, "it", "to go: 1000 rules are the most");
        }
        for (number, rule) in (1..).zip(&self.encryption) {
            if let Some((field, wanted)) = rule.fault() {
                return wrong(number, field, wanted);
            }
            let named = |name: &String| self.peers.iter().any(|peer| peer.name == *name);
            if rule.peer.as_ref().is_some_and(|name| !named(name)) {
                return wrong(number, "peer", "the name of a [[peer]]");
            }
        }
        Ok(())
    }

    /// Who passes the gate, and how fast the others: as `[edge.admission]` says, and the access edges
    /// behind whose address many phones are.
    ///
    /// # Errors
    /// The first field that makes no sense.
    pub fn gate_policy(&self) -> Result<net::GatePolicy, ConfigError> {
        let mut policy = self.admission.policy(self.limit_loopback)?;
        let edges = self.peers.iter().filter(|peer| peer.zone == Zone::Phone && !peer.retired);
        for edge in edges {
            policy.exempt.extend(edge.networks()?);
        }
        Ok(policy)
    }

    /// Keeps what is built at the start, and shared by all shards, as it is in `running`: a reload
    /// does not change it.
    pub fn keep_fixed(&mut self, running: &Self) {
        self.limit_loopback = running.limit_loopback;
        self.guesses = running.guesses.clone();
        self.admission = running.admission.clone();
        self.conduct = running.conduct.clone();
    }

    /// Checks what authentication needs and reads the algorithms.
    pub fn algorithms(&self) -> Result<Vec<Algorithm>, ConfigError> {
        if self.ring_timeout_s <= 180 {
            return Err(ConfigError::RingTimeoutTooShort(self.ring_timeout_s));
        }
        self.guesses.check()?;
        self.conduct.check()?;
        self.admission.policy(self.limit_loopback)?;
        let algorithms: Vec<Algorithm> = self
            .digest_algorithms
            .iter()
            .map(|name| algorithm(name).ok_or_else(|| ConfigError::UnknownAlgorithm(name.clone())))
            .collect::<Result<_, _>>()?;
        crate::zones::MethodTable::new(&self.methods)?;
        Peers::of(self)?;
        if algorithms.is_empty() { Err(ConfigError::NoAlgorithm) } else { Ok(algorithms) }
    }

    /// Whether requests from this address need no credentials.
    pub(crate) fn is_open_to(&self, source: IpAddr) -> bool {
        self.open_from.iter().any(|network| network.contains(source))
    }

    /// How long a phone may ring.
    pub fn ring_timeout(&self) -> Duration {
        Duration::from_secs(self.ring_timeout_s)
    }
}

fn algorithm(name: &str) -> Option<Algorithm> {
    match name.to_ascii_uppercase().as_str() {
        "SHA-256" => Some(Algorithm::Sha256),
        "SHA-512-256" => Some(Algorithm::Sha512_256),
        "MD5" => Some(Algorithm::Md5),
        _ => None,
    }
}

/// An address of ours and the name others know it by (design decision 12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The transport.
    pub transport: Transport,
    /// The local address messages come to.
    pub bind: SocketAddr,
    /// Host and port to write into Via and Record-Route.
    pub advertise: String,
}

/// Which part of the server this core is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The node.
    pub node: u16,
    /// The shard.
    pub shard: u16,
    /// How many shards the node runs.
    pub shards: u16,
    /// Every listener of the node.
    pub listeners: Vec<Listener>,
}

impl Place {
    /// What to write as our own address for messages that leave by `transport`, preferring the
    /// listener at `local`.
    pub fn advertise(&self, transport: Transport, local: Option<SocketAddr>) -> &str {
        let fits = |l: &&Listener| l.transport == transport;
        self.listeners
            .iter()
            .find(|l| fits(l) && Some(l.bind) == local)
            .or_else(|| self.listeners.iter().find(|l| fits(l) && same_family(l.bind, local)))
            .or_else(|| self.listeners.iter().find(fits))
            .map_or("whimbrel.invalid", |l| l.advertise.as_str())
    }
}

fn same_family(bind: SocketAddr, local: Option<SocketAddr>) -> bool {
    local.is_none_or(|l| l.is_ipv4() == bind.is_ipv4())
}
