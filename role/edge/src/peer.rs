//! `[[peer]]`: servers of others and of our own that calls come from and go to.
//!
//! ```text
//!   source address ─► Peers::by_source ─► zone, profile
//!   router's plan  ─► Peers::get ─► where it is, how it is spoken to, what its answers mean
//! ```

use crate::ports::MediaProfile;
use crate::profile::{Profile, ProfileError};
use crate::zones::Zone;
use sansio::{Redacted, Transport};
use serde::{Deserialize, Deserializer};
use sip::locate::Ask;
use sip::response_policy::{Action, ResponsePolicy};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;

/// Most peers; more are a job for another server.
pub const PEERS_MAX: usize = 1_000;

/// `[[peer]]`: one of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Its name, for `route explain`, records and logs.
    pub name: String,
    /// Where it is: an address or a domain, with or without a port.
    pub address: String,
    /// `udp`, `tcp` or `tls`.
    #[serde(default)]
    pub transport: PeerTransport,
    /// `peer` for somebody else's server, `internal` for one of ours.
    #[serde(default = "peer_zone")]
    pub zone: Zone,
    /// Addresses and prefixes its requests come from. Default: `address`, where that is one.
    #[serde(default)]
    pub sources: Vec<String>,
    /// How it wants to be spoken to: `plain`, `sipconnect`, `asterisk`, `freeswitch`, `kamailio`,
    /// `opensips`, `teams`, `cucm`, `ims`, or a `[profile.NAME]`.
    #[serde(default = "plain_profile")]
    pub profile: String,
    /// The host in URIs sent to it. Default: the host of `address`.
    #[serde(default)]
    pub domain: Option<String>,
    /// Domains whose users are behind it.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Dialled numbers it takes, the longest prefix first.
    #[serde(default)]
    pub prefixes: Vec<PrefixRule>,
    /// Of several that take a call, the lowest is tried first; the others follow when it fails.
    #[serde(default = "usual_priority")]
    pub priority: u16,
    /// The name it knows us by, where it asks for a password.
    #[serde(default)]
    pub username: Option<String>,
    /// That password.
    #[serde(default, deserialize_with = "secret")]
    pub password: Option<Redacted<String>>,
    /// A file that holds it instead.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// `rtp` or `srtp` (SDES). Default: `srtp` over TLS, else `rtp`.
    #[serde(default)]
    pub media: Option<PeerMedia>,
    /// Allows SDES keys over UDP and TCP, where everybody on the way can read them.
    #[serde(default)]
    pub allow_keys_in_clear: bool,
    /// Whether it sees nothing of what is behind us. Default: true for zone `peer`.
    #[serde(default)]
    pub hide_topology: Option<bool>,
    /// Whether it is told who calls where the caller asked for privacy, and keeps that to itself
    /// (RFC 3325 §7). Default: true for zone `internal`.
    #[serde(default)]
    pub keeps_privacy: Option<bool>,
    /// Whether it is told that we listen to its overload feedback (`oc`, RFC 7339), and heard.
    #[serde(default = "listens")]
    pub overload_control: bool,
    /// What its responses mean, where that differs from the table: `"404" = "fail-over"`.
    #[serde(default)]
    pub responses: BTreeMap<String, String>,
    /// It is in the configuration no more; see [`PeerConfig::in_place_of`].
    #[serde(skip)]
    pub retired: bool,
}

/// A transport toward peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerTransport {
    /// Datagrams.
    #[default]
    Udp,
    /// A connection in clear.
    Tcp,
    /// An encrypted connection.
    Tls,
}

/// Media toward a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerMedia {
    /// RTP/AVP.
    Rtp,
    /// RTP/SAVP with SDES keys.
    Srtp,
}

/// Numbers a peer takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixRule {
    /// What a number begins with; empty for every number.
    pub prefix: String,
    /// Characters taken off its beginning.
    #[serde(default)]
    pub strip: usize,
    /// What is put there instead.
    #[serde(default)]
    pub add: String,
}

/// What is wrong with a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Two of one name, or none.
    #[error("[[peer]] name '{0}' is empty or used twice; give each peer a name of its own")]
    Name(String),
    /// A field that makes no sense.
    #[error("[[peer]] {name}: {field} {why}")]
    Field {
        /// The peer.
        name: String,
        /// Its field.
        field: &'static str,
        /// What is wrong, and what to do.
        why: String,
    },
    /// [`PEERS_MAX`].
    #[error("{0} peers are configured; the limit is {PEERS_MAX}")]
    TooMany(usize),
    /// A profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

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
    pub credentials: Option<(String, Redacted<String>)>,
}

/// All of them, found by source or number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers {
    all: Vec<Peer>,
    exact: HashMap<IpAddr, u16>,
    /// Longest prefix first.
    nets: Vec<(Net, u16)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Net {
    address: u128,
    bits: u8,
    is_v4: bool,
}

impl PeerConfig {
    /// Host and port of its address.
    pub fn host_port(&self) -> (&str, Option<u16>) {
        crate::admit::split_host_port(&self.address)
    }

    /// Where to look for it.
    pub fn uri(&self) -> String {
        let (scheme, transport) = match self.transport {
            PeerTransport::Udp => ("sip", "udp"),
            PeerTransport::Tcp => ("sip", "tcp"),
            PeerTransport::Tls => ("sips", "tcp"),
        };
        format!("{scheme}:{};transport={transport}", self.address)
    }

    /// The host in URIs sent to it.
    pub fn domain(&self) -> &str {
        self.domain.as_deref().unwrap_or(self.host_port().0)
    }

    /// The media it gets.
    pub fn media(&self) -> PeerMedia {
        self.media.unwrap_or(match self.transport {
            PeerTransport::Tls => PeerMedia::Srtp,
            _ => PeerMedia::Rtp,
        })
    }

    /// The transport.
    pub fn transport(&self) -> Transport {
        match self.transport {
            PeerTransport::Udp => Transport::Udp,
            PeerTransport::Tcp => Transport::Tcp,
            PeerTransport::Tls => Transport::Tls,
        }
    }

    fn check(&self) -> Result<(), PeerError> {
        let field =
            |field, why: String| Err(PeerError::Field { name: self.name.clone(), field, why });
        if self.zone == Zone::Phone {
            return field("zone", "must be peer or internal".into());
        }
        if sip::SipUri::parse(self.uri().as_bytes()).is_err() {
            return field("address", format!("'{}' is not HOST[:PORT]", self.address));
        }
        let clear = self.transport != PeerTransport::Tls;
        if self.media() == PeerMedia::Srtp && clear && !self.allow_keys_in_clear {
            return field(
                "media",
                "srtp would send its keys in clear; use transport = \"tls\", or set \
                 allow_keys_in_clear = true"
                    .into(),
            );
        }
        if self.password.is_some() && self.username.is_none() {
            return field("username", "is missing beside the password".into());
        }
        for rule in &self.prefixes {
            let dialled =
                |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b"+*#".contains(&b));
            if !dialled(&rule.prefix) || !dialled(&rule.add) || rule.strip > rule.prefix.len() {
                return field(
                    "prefixes",
                    format!(
                        "prefix '{}' and add '{}' are digits, + * #; strip is at most the prefix",
                        rule.prefix, rule.add
                    ),
                );
            }
        }
        Ok(())
    }

    fn ask(&self) -> Result<Ask, PeerError> {
        Ask::of_uri(self.uri().as_bytes()).map_err(|error| PeerError::Field {
            name: self.name.clone(),
            field: "address",
            why: format!("'{}' cannot be looked for: {error}", self.address),
        })
    }

    fn policy(&self) -> Result<ResponsePolicy, PeerError> {
        let mut policy = ResponsePolicy::default();
        for (status, action) in &self.responses {
            let known = status.parse().ok().zip(Action::from_word(action));
            policy = known.and_then(|(status, action)| policy.with(status, action)).ok_or_else(
                || PeerError::Field {
                    name: self.name.clone(),
                    field: "responses",
                    why: format!(
                        "\"{status}\" = \"{action}\": write a status from 300 to 699 and retry, \
                         fail-over, redirect, tell-user or stop"
                    ),
                },
            )?;
        }
        Ok(policy)
    }

    fn nets(&self) -> Result<Vec<Net>, PeerError> {
        if self.sources.is_empty() {
            let host = self.host_port().0.trim_matches(['[', ']']);
            return Ok(host.parse().ok().map(|ip| Net::new(ip, 128)).into_iter().collect());
        }
        let read = |text: &String| {
            Net::parse(text).ok_or_else(|| PeerError::Field {
                name: self.name.clone(),
                field: "sources",
                why: format!("'{text}' is not an address or a prefix such as 192.0.2.0/24"),
            })
        };
        self.sources.iter().map(read).collect()
    }
}

impl Peers {
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
                id: id_of(&config.name),
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

    /// The peer a route token names.
    pub(crate) fn by_id(&self, id: u64) -> Option<u16> {
        self.all.iter().position(|p| p.id == id).map(|n| n as u16)
    }
}

impl Net {
    /// `bits` beyond the address's own mean all of it.
    fn new(ip: IpAddr, bits: u8) -> Self {
        let ip = ip.to_canonical();
        let (address, is_v4, most) = match ip {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true, 32),
            IpAddr::V6(v6) => (u128::from(v6), false, 128),
        };
        let bits = bits.min(most);
        Self { address: address & mask(bits), bits, is_v4 }
    }

    fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?),
            None => (text.parse().ok()?, 128),
        };
        let most = if ip.is_ipv4() { 32 } else { 128 };
        (text.find('/').is_none() || bits <= most).then(|| Self::new(ip, bits))
    }

    fn single(self) -> Option<IpAddr> {
        match (self.is_v4, self.bits) {
            (true, 32) => Some(IpAddr::V4(((self.address >> 96) as u32).into())),
            (false, 128) => Some(IpAddr::V6(self.address.into())),
            _ => None,
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        let other = Self::new(ip, self.bits);
        self == other
    }
}

fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        bits => u128::MAX << (128 - u32::from(bits)),
    }
}

/// FNV-1a, for a number that is the same in every run; the top bit keeps it from zero.
fn id_of(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step) | 1 << 63
}

fn peer_zone() -> Zone {
    Zone::Peer
}

fn listens() -> bool {
    true
}

fn plain_profile() -> String {
    "plain".into()
}

fn usual_priority() -> u16 {
    100
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Redacted<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Redacted::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Peers, PeerError> {
        #[derive(Deserialize)]
        struct File {
            peer: Vec<PeerConfig>,
        }
        let file: File = toml::from_str(text).unwrap();
        Peers::new(&file.peer, &BTreeMap::new())
    }

    fn one(rest: &str) -> Result<Peers, PeerError> {
        read(&format!("[[peer]]\nname = \"a\"\naddress = \"192.0.2.9:5070\"\n{rest}"))
    }

    #[test]
    fn r2_6_a_peer_is_known_by_where_it_sends_from() {
        let peers = read(
            "[[peer]]\nname = \"carrier\"\naddress = \"sbc.example.net\"\n\
             sources = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n\
             [[peer]]\nname = \"gateway\"\naddress = \"198.51.100.7:5062\"\n\
             [[peer]]\nname = \"half\"\naddress = \"h.example\"\nsources = [\"198.51.100.128/25\"]\n",
        )
        .unwrap();
        let from = |ip: &str| {
            let number = peers.by_source(ip.parse().unwrap())?;
            peers.get(number).map(|p| p.name.as_str())
        };
        assert_eq!(from("198.51.100.1"), Some("carrier"));
        assert_eq!(from("198.51.100.7"), Some("gateway"), "one address goes before its net");
        assert_eq!(from("198.51.100.200"), Some("half"), "the longer prefix");
        assert_eq!(from("::ffff:198.51.100.1"), Some("carrier"));
        assert_eq!(from("2001:db8:1::5"), Some("carrier"));
        assert_eq!(from("2001:db9::5"), None);
        assert_eq!(from("203.0.113.1"), None);
        let carrier = peers.get(0).unwrap();
        assert_eq!(peers.by_id(carrier.id), Some(0));
        assert_eq!(peers.by_id(1), None);
        assert!(carrier.hides && !carrier.keeps_privacy);
    }

    #[test]
    fn r2_9_keys_do_not_travel_in_clear_unless_somebody_says_so() {
        let error = one("media = \"srtp\"\n").unwrap_err().to_string();
        assert!(error.contains("[[peer]] a: media") && error.contains("tls"), "{error}");
        assert!(one("media = \"srtp\"\nallow_keys_in_clear = true\n").is_ok());
        assert!(one("media = \"srtp\"\ntransport = \"tls\"\n").is_ok());
    }

    #[test]
    fn a_peer_that_makes_no_sense_is_refused_with_its_field() {
        for (rest, says) in [
            ("zone = \"phone\"\n", "zone must be"),
            ("sources = [\"192.0.2.0/33\"]\n", "sources '192.0.2.0/33'"),
            ("responses = { \"200\" = \"stop\" }\n", "300 to 699"),
            ("responses = { \"404\" = \"perhaps\" }\n", "fail-over"),
            ("password = \"x\"\n", "username is missing"),
            ("profile = \"nothing\"\n", "nothing"),
            ("prefixes = [{ prefix = \"+4x\" }]\n", "digits"),
            ("prefixes = [{ prefix = \"0\", strip = 2 }]\n", "at most the prefix"),
        ] {
            let error = one(rest).unwrap_err().to_string();
            assert!(error.contains(says), "{rest}: {error}");
        }
        let twice =
            "[[peer]]\nname = \"a\"\naddress = \"b\"\n[[peer]]\nname = \"a\"\naddress = \"c\"\n";
        assert!(read(twice).unwrap_err().to_string().contains("used twice"));
    }
}
