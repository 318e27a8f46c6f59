//! What `[[peer]]` says, and whether it makes sense.

use super::PEERS_MAX;
use super::net::Net;
use crate::profile::ProfileError;
use crate::zones::Zone;
use sansio::{Redacted, Transport};
use serde::{Deserialize, Deserializer};
use sip::locate::Ask;
use sip::response_policy::{Action, ResponsePolicy};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

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
    /// `peer` for somebody else's server, `internal` for one of ours, `phone` for an access edge of
    /// ours (`edge.core` names us there): what it brings is its phones', who prove themselves each.
    #[serde(default = "peer_zone")]
    pub zone: Zone,
    /// How it is recognised: `address`, where its requests come from; or `certificate`, the one it
    /// shows, which must name its `domain` (RFC 5922). The second needs TLS.
    #[serde(default)]
    pub identity: PeerIdentity,
    /// Addresses and prefixes its requests come from. Default: `address`, where that is one; for a
    /// peer known by its certificate, anywhere.
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

/// How a peer is recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerIdentity {
    /// By the address its requests come from.
    #[default]
    Address,
    /// By the certificate it shows.
    Certificate,
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
    /// `edge.core`.
    #[error("edge.core is '{name}', {why}")]
    Core {
        /// What it says.
        name: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// A profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
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

    pub(super) fn shares_its_name(&self) -> PeerError {
        PeerError::Field {
            name: self.name.clone(),
            field: "domain",
            why: format!("'{}' is proved by another peer's certificate too", self.domain()),
        }
    }

    pub(super) fn check(&self) -> Result<(), PeerError> {
        let field =
            |field, why: String| Err(PeerError::Field { name: self.name.clone(), field, why });
        if self.zone == Zone::Phone && !(self.domains.is_empty() && self.prefixes.is_empty()) {
            let why = "phone is an access edge, whose phones are called by their registrations; \
                       take domains and prefixes off, or use peer or internal";
            return field("zone", why.into());
        }
        if sip::SipUri::parse(self.uri().as_bytes()).is_err() {
            return field("address", format!("'{}' is not HOST[:PORT]", self.address));
        }
        let clear = self.transport != PeerTransport::Tls;
        if self.identity == PeerIdentity::Certificate {
            if clear {
                return field("identity", "certificate needs transport = \"tls\"".into());
            }
            if self.domain().trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
                let why = "certificate needs a name to be proved; set domain to the one in its \
                           certificate";
                return field("identity", why.into());
            }
        }
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

    pub(super) fn ask(&self) -> Result<Ask, PeerError> {
        let ask = Ask::of_uri(self.uri().as_bytes()).map_err(|error| PeerError::Field {
            name: self.name.clone(),
            field: "address",
            why: format!("'{}' cannot be looked for: {error}", self.address),
        });
        let mut ask = ask?;
        if self.identity == PeerIdentity::Certificate {
            // One name both ways: the one requests come under is the one they go to.
            ask.verify = Some(self.domain().to_ascii_lowercase());
        }
        Ok(ask)
    }

    pub(super) fn policy(&self) -> Result<ResponsePolicy, PeerError> {
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

    /// Where its requests come from: addresses and how many bits of each count.
    ///
    /// # Errors
    /// A source that is no address or prefix.
    pub(crate) fn networks(&self) -> Result<Vec<(IpAddr, u8)>, PeerError> {
        Ok(self.nets()?.into_iter().map(Net::parts).collect())
    }

    pub(super) fn nets(&self) -> Result<Vec<Net>, PeerError> {
        if self.sources.is_empty() && self.identity == PeerIdentity::Certificate {
            return Ok(Vec::new());
        }
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
