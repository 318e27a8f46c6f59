//! `[turn]`: ports lent to phones that nobody can reach directly.

use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

/// `[turn]`: the TURN and STUN server.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Whether there is one. Off unless asked for: it lends this machine's addresses to its users.
    pub enabled: bool,
    /// UDP and TCP.
    pub port: u16,
    /// TLS.
    pub tls_port: u16,
    /// First relayed port.
    pub relay_min: u16,
    /// Last relayed port.
    pub relay_max: u16,
    /// The realm of its credentials. Users of the tenant of this name sign in with their SIP
    /// password. Default: `domain`, else the address others reach this server at.
    pub realm: Option<String>,
    /// A file with the secret that time-limited credentials are made from; several lines are
    /// several secrets, of which the first is the newest. Default: none are accepted.
    pub secret_file: Option<PathBuf>,
    /// Networks inside that may be relayed to, though they are refused otherwise.
    pub allow_peers: Vec<String>,
    /// Networks that may not, besides those that never are.
    pub deny_peers: Vec<String>,
    /// Allocations at once.
    pub allocations_max: usize,
    /// .. of one user.
    pub per_user: usize,
    /// .. of one tenant.
    pub per_tenant: usize,
    /// The longest lifetime of an allocation that is not refreshed, in seconds.
    pub lifetime_max_s: u32,
    /// Where clients are sent when `allocations_max` is reached. Default: nowhere, they are refused.
    pub alternate: Option<SocketAddr>,
    /// Microseconds that packets may wait for each other under load; 0: they never do.
    pub batch_us: u32,
    /// Packet threads. Default: one per core.
    pub threads: Option<usize>,
}

impl Default for Turn {
    fn default() -> Self {
        let ours = relay::turn::TurnConfig::default();
        let limits = ours.limits;
        Self {
            enabled: false,
            port: 3478,
            tls_port: 5349,
            relay_min: ours.port_min,
            relay_max: ours.port_max,
            realm: None,
            secret_file: None,
            allow_peers: Vec::new(),
            deny_peers: Vec::new(),
            allocations_max: limits.allocations_max,
            per_user: limits.per_user,
            per_tenant: limits.per_tenant,
            lifetime_max_s: 3600,
            alternate: None,
            batch_us: 500,
            threads: None,
        }
    }
}

impl Turn {
    /// The networks of a list, the first that is none as an error.
    fn networks(of: &str, list: &[String]) -> Result<Vec<relay::turn::Prefix>, String> {
        let read = |text: &String| text.parse().map_err(|why| format!("turn.{of}: {why}"));
        list.iter().map(read).collect()
    }

    /// What may be relayed to, beside a server with these own addresses and media ports.
    pub fn peers(
        &self,
        own: Vec<IpAddr>,
        rtp: (u16, u16),
    ) -> Result<relay::turn::PeerPolicy, String> {
        Ok(relay::turn::PeerPolicy {
            allow: Self::networks("allow_peers", &self.allow_peers)?,
            deny: Self::networks("deny_peers", &self.deny_peers)?,
            own,
            own_ports: vec![self.relay_min..=self.relay_max, rtp.0..=rtp.1],
        })
    }

    /// How many and how long.
    pub fn limits(&self) -> relay::turn::TurnLimits {
        relay::turn::TurnLimits {
            allocations_max: self.allocations_max,
            per_user: self.per_user,
            per_tenant: self.per_tenant,
            lifetime_max: Duration::from_secs(self.lifetime_max_s.into()),
            ..relay::turn::TurnLimits::default()
        }
    }
}

/// What makes no sense in `[turn]`, and what to write.
pub(super) fn check(config: &Config) -> Result<(), (String, String)> {
    let (turn, ports) = (&config.turn, &config.ports);
    turn.peers(Vec::new(), (0, 0)).map_err(|what| (what, "correct that network".to_owned()))?;
    if turn.relay_min >= turn.relay_max || turn.relay_min == 0 {
        let what = format!("turn.relay_min {} .. {} is no range", turn.relay_min, turn.relay_max);
        return Err((what, "give a first and a later last port".to_owned()));
    }
    if turn.enabled && turn.relay_min <= ports.rtp_max && ports.rtp_min <= turn.relay_max {
        let what = format!(
            "turn.relay_min {} .. {} meets ports.rtp_min {} .. {}",
            turn.relay_min, turn.relay_max, ports.rtp_min, ports.rtp_max
        );
        return Err((what, "give each its own ports".to_owned()));
    }
    let bounds: [(&str, usize, usize); 5] = [
        ("allocations_max", turn.allocations_max, 1_000_000),
        ("per_user", turn.per_user, 1_000_000),
        ("per_tenant", turn.per_tenant, 1_000_000),
        ("lifetime_max_s", turn.lifetime_max_s as usize, 86_400),
        ("threads", turn.threads.unwrap_or(1), 64),
    ];
    for (field, value, most) in bounds {
        if value == 0 || value > most {
            return Err((format!("turn.{field} is {value}"), format!("write 1 to {most}")));
        }
    }
    if turn.batch_us > 20_000 {
        let what = format!("turn.batch_us is {}", turn.batch_us);
        return Err((what, "write 0 to 20000".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn turn_that_makes_no_sense_is_refused_by_name() {
        for (text, says) in [
            ("allow_peers = [\"ten\"]", "turn.allow_peers: 'ten' is no network"),
            ("relay_min = 9000\nrelay_max = 8000", "turn.relay_min 9000 .. 8000 is no range"),
            ("enabled = true\nrelay_min = 15000", "meets ports.rtp_min 10000 .. 20000"),
            ("per_user = 0", "turn.per_user is 0; write 1 to 1000000"),
            ("batch_us = 1000000", "turn.batch_us is 1000000; write 0 to 20000"),
            ("sharedsecret = 1", "unknown field `sharedsecret`"),
        ] {
            let error = Config::parse(&format!("[turn]\n{text}\n"), Path::new("w.toml"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn r6_6_the_relay_is_off_unless_asked_for_and_inner_networks_are_named() {
        let config = Config::parse("", Path::new("w.toml")).unwrap();
        assert!(!config.turn.enabled);
        let text = "[turn]\nenabled = true\nallow_peers = [\"10.1.0.0/16\"]\n";
        let turn = Config::parse(text, Path::new("w.toml")).unwrap().turn;
        let own: IpAddr = "8.8.4.4".parse().unwrap();
        let peers = turn.peers(vec![own], (10_000, 20_000)).unwrap();
        assert!(peers.permits("10.1.2.3".parse().unwrap()));
        assert!(!peers.permits("10.2.2.3".parse().unwrap()));
        assert!(peers.allows((own, 10_002).into()) && peers.allows((own, turn.relay_min).into()));
        assert!(!peers.allows((own, 5060).into()));
    }
}
