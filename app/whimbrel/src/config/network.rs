//! `[dns]` and `[transport]`: how this server finds and reaches others.

use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// `[dns]`: how next hops are found.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers, `address` or `address:port`. Default: the system's.
    pub servers: Vec<NameServer>,
    /// Seconds for which a server that did not answer is tried last.
    pub avoid_s: u64,
}

/// The address of a name server.
#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct NameServer(pub SocketAddr);

/// `[transport]`: connections, ours to next hops and WebSockets of phones.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Transports {
    /// Authorities (PEM files) besides the system's, for servers we connect to over TLS.
    pub ca: Vec<PathBuf>,
    /// Seconds that connecting to a next hop may take, handshakes included.
    pub connect_s: u64,
    /// Connections to one address, by each shard.
    pub connections_per_peer: usize,
    /// Seconds without a message after which a connection to a next hop is closed.
    pub idle_s: u64,
    /// Seconds between keep-alives on it (RFC 5626 §4.4.1).
    pub keep_alive_s: u64,
    /// Seconds between pings of a silent WebSocket; it is dead after two and a half times that.
    pub websocket_ping_s: u64,
}

impl TryFrom<String> for NameServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bare = text.trim_matches(['[', ']']).parse::<IpAddr>();
        let addr = bare.map(|ip| SocketAddr::new(ip, 53)).or_else(|_| text.parse());
        let remedy = "give an address such as 192.0.2.53 or [2001:db8::53]:53";
        addr.map(Self).map_err(|_| format!("'{text}' is no address of a name server; {remedy}"))
    }
}

impl Transports {
    /// Takes the limits of `net` from here.
    pub fn limit(&self, limits: &mut net::Limits) {
        let seconds = |s: u64| Duration::from_secs(s.max(1));
        limits.connect = seconds(self.connect_s);
        limits.dialled_per_peer = self.connections_per_peer.max(1);
        limits.dialled_idle = seconds(self.idle_s);
        limits.dialled_ping = seconds(self.keep_alive_s);
        limits.websocket_ping = seconds(self.websocket_ping_s);
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), avoid_s: sip::locate::Policy::default().avoid.as_secs() }
    }
}

impl Default for Transports {
    fn default() -> Self {
        let limits = net::Limits::default();
        Self {
            ca: Vec::new(),
            connect_s: limits.connect.as_secs(),
            connections_per_peer: limits.dialled_per_peer,
            idle_s: limits.dialled_idle.as_secs(),
            keep_alive_s: limits.dialled_ping.as_secs(),
            websocket_ping_s: limits.websocket_ping.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_have_port_53_unless_they_say_otherwise() {
        let server = |text: &str| NameServer::try_from(text.to_owned()).map(|s| s.0.to_string());
        assert_eq!(server("192.0.2.53").unwrap(), "192.0.2.53:53");
        assert_eq!(server("2001:db8::53").unwrap(), "[2001:db8::53]:53");
        assert_eq!(server("[2001:db8::53]:5353").unwrap(), "[2001:db8::53]:5353");
        assert!(server("ns.example").unwrap_err().contains("'ns.example' is no address"));
    }
}
