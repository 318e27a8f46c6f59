//! The server's settings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::peers::PeerPolicy;

/// Settings of one TURN server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnConfig {
    /// Where clients come by UDP and by TCP. Addresses of this machine, never unspecified ones.
    pub listen: Vec<SocketAddr>,
    /// Where clients come by TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Where relayed ports are, at most one of each family.
    pub relays: Vec<RelayAddress>,
    /// First relayed port.
    pub port_min: u16,
    /// Last relayed port.
    pub port_max: u16,
    /// Packet threads; 0 for one per core.
    pub threads: usize,
    /// The realm of long-term credentials.
    pub realm: String,
    /// How long packets may wait for each other under load, to be moved together. A packet is
    /// delayed by half of it; zero never waits.
    pub batch: Duration,
    /// Whether the kernel may lead relayed ports to one socket, where it can. Each has a socket of
    /// its own otherwise: for measuring, and for tests.
    pub steer: bool,
    /// Which peers may be relayed to.
    pub peers: PeerPolicy,
    /// Where to send clients when this server is full (RFC 8489 §14.15), instead of 508.
    pub alternate: Option<SocketAddr>,
    /// How many and how long.
    pub limits: TurnLimits,
}

/// An address that relayed ports are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// The local address.
    pub bind: IpAddr,
    /// The one that peers see; differs behind a 1:1 NAT.
    pub advertise: IpAddr,
}

/// Everything that a client can make grow, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnLimits {
    /// Allocations at once.
    pub allocations_max: usize,
    /// Of one user.
    pub per_user: usize,
    /// Of one tenant.
    pub per_tenant: usize,
    /// Permissions of one allocation.
    pub permissions_max: usize,
    /// Channels of one allocation.
    pub channels_max: usize,
    /// Ports kept for the next request (EVEN-PORT).
    pub reservations_max: usize,
    /// Connections (TCP, TLS) at once.
    pub connections_max: usize,
    /// .. of one source address.
    pub connections_per_source: usize,
    /// Answers a second to one source (IPv4 address, IPv6 /64) that proved nothing.
    pub unproved_per_s: u32,
    /// .. and how many at once.
    pub unproved_burst: u32,
    /// The lifetime of an allocation that asks for none, and the least.
    pub lifetime: Duration,
    /// The longest lifetime.
    pub lifetime_max: Duration,
    /// How long a nonce is good.
    pub nonce: Duration,
}

/// How long a permission lasts (RFC 8656 §9).
pub(crate) const PERMISSION: Duration = Duration::from_secs(300);
/// How long a channel lasts (§12).
pub(crate) const CHANNEL: Duration = Duration::from_secs(600);
/// How long a reserved port is kept (§7.2 wants at least 30 seconds).
pub(crate) const RESERVATION: Duration = Duration::from_secs(30);

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            allocations_max: 20_000,
            per_user: 20,
            per_tenant: 10_000,
            permissions_max: 64,
            channels_max: 64,
            reservations_max: 256,
            connections_max: 10_000,
            connections_per_source: 500,
            unproved_per_s: 50,
            unproved_burst: 250,
            lifetime: Duration::from_secs(600),
            lifetime_max: Duration::from_secs(3600),
            nonce: Duration::from_secs(600),
        }
    }
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_tls: Vec::new(),
            relays: Vec::new(),
            port_min: 20_002,
            port_max: 32_000,
            threads: 0,
            realm: "whimbrel".to_owned(),
            batch: Duration::from_micros(500),
            steer: true,
            peers: PeerPolicy::default(),
            alternate: None,
            limits: TurnLimits::default(),
        }
    }
}
