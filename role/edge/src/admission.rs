//! `[edge.admission]`: who is listened to, as configured; the gate itself is `net`'s.

use net::{GatePolicy, SCANNERS};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// `[edge.admission]`: limits before a message is parsed, and bans. They hold for strangers: a peer
/// that authenticated in the last two hours passes. Loopback is not limited unless
/// `edge.limit_loopback`.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Addresses or networks (`198.51.100.0/24`) that are never limited or banned: trunks, monitors.
    pub exempt: Vec<String>,
    /// Messages a second from one stranger (IPv4 address, IPv6 /64); 0 for no limit.
    pub source_per_s: u32,
    /// Messages from one stranger at once.
    pub source_burst: u32,
    /// Messages a second from all strangers of one network (IPv4 /24, IPv6 /56); 0 for no limit.
    pub prefix_per_s: u32,
    /// Messages from them at once.
    pub prefix_burst: u32,
    /// User agents (prefixes, without regard to case) that are scanners: banned at their first
    /// message.
    pub scanner_agents: Vec<String>,
    /// The first ban of a source, in seconds; each further one is twice as long. 0: nobody is banned.
    pub ban_s: u64,
    /// The longest ban, in seconds.
    pub ban_max_s: u64,
    /// How long new work may wait in a shard before some of it is refused, in milliseconds; 0 for
    /// never.
    pub overload_wait_ms: u64,
}

impl Default for Admission {
    fn default() -> Self {
        let policy = GatePolicy::default();
        Self {
            exempt: Vec::new(),
            source_per_s: policy.source.0,
            source_burst: policy.source.1,
            prefix_per_s: policy.prefix.0,
            prefix_burst: policy.prefix.1,
            scanner_agents: SCANNERS.map(String::from).to_vec(),
            ban_s: policy.ban.as_secs(),
            ban_max_s: policy.ban_max.as_secs(),
            overload_wait_ms: 200,
        }
    }
}

/// A field of `[edge.admission]` that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// Neither an address nor a network.
    #[error(
        "edge.admission.exempt: '{0}' is no address or network; write 192.0.2.7 or 2001:db8::/32"
    )]
    NotANetwork(String),
    /// The longest ban is shorter than the first.
    #[error("edge.admission.ban_max_s is {most}, below ban_s ({first}); raise it")]
    BanMaxTooShort {
        /// `ban_s`.
        first: u64,
        /// `ban_max_s`.
        most: u64,
    },
}

impl Admission {
    /// The policy, as `net` takes it.
    ///
    /// # Errors
    /// The first field that makes no sense.
    pub fn policy(&self, limit_loopback: bool) -> Result<GatePolicy, AdmissionError> {
        if self.ban_max_s < self.ban_s {
            return Err(AdmissionError::BanMaxTooShort { first: self.ban_s, most: self.ban_max_s });
        }
        let read =
            |text: &String| network(text).ok_or_else(|| AdmissionError::NotANetwork(text.clone()));
        let fallback = GatePolicy::default();
        Ok(GatePolicy {
            limit_loopback,
            exempt: self.exempt.iter().map(read).collect::<Result<_, _>>()?,
            source: (self.source_per_s, self.source_burst),
            prefix: (self.prefix_per_s, self.prefix_burst),
            scanners: self.scanner_agents.clone(),
            ban_score: if self.ban_s == 0 { f32::INFINITY } else { fallback.ban_score },
            ban: Duration::from_secs(self.ban_s),
            ban_max: Duration::from_secs(self.ban_max_s),
            ..fallback
        })
    }

    /// How long new work may wait.
    pub fn overload_target(&self) -> Duration {
        Duration::from_millis(self.overload_wait_ms)
    }
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some((address, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_nonsense_is_named() {
        assert_eq!(network("198.51.100.0/24"), Some(([198, 51, 100, 0].into(), 24)));
        assert_eq!(network("2001:db8::1").map(|(_, bits)| bits), Some(128));
        for bad in ["", "example.com", "1.2.3.4/33", "1.2.3.4/x", "1.2.3"] {
            assert_eq!(network(bad), None, "{bad}");
        }
        let config = Admission { exempt: vec!["here".into()], ..Admission::default() };
        let error = config.policy(false).unwrap_err().to_string();
        assert!(error.contains("edge.admission.exempt") && error.contains("'here'"), "{error}");
        let config = Admission { ban_max_s: 1, ..Admission::default() };
        assert!(config.policy(false).unwrap_err().to_string().contains("ban_max_s is 1"));
    }

    #[test]
    fn the_defaults_are_those_of_the_gate() {
        assert_eq!(Admission::default().policy(false).unwrap(), GatePolicy::default());
        let never = Admission { ban_s: 0, ..Admission::default() }.policy(false).unwrap();
        assert!(never.ban_score.is_infinite());
    }
}
