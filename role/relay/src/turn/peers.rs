//! Which peers may be relayed to: nobody inside, unless the operator says so (RFC 8656 §21.2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Refusals and the operator's exceptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    /// Refused otherwise, and allowed here.
    pub allow: Vec<Prefix>,
    /// Refused besides.
    pub deny: Vec<Prefix>,
    /// This machine's own addresses: reached from here, its services would take a stranger for one
    /// of the house. Their media ports are open to everybody anyway, and two clients of this server
    /// meet there.
    pub own: Vec<IpAddr>,
    /// Those media ports.
    pub own_ports: Vec<RangeInclusive<u16>>,
}

/// What no client may reach through us: this machine, networks inside, other servers' metadata,
/// everything that is no single host on the Internet (RFC 6890, RFC 8656 §21.2).
const INSIDE: [(IpAddr, u8); 26] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    // Link-local, and the metadata service of most clouds, 169.254.169.254.
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    // The platform service of one cloud has a public address.
    v4(168, 63, 129, 16, 32),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 127),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

impl PeerPolicy {
    /// Whether a permission for this address may be made.
    pub fn permits(&self, peer: IpAddr) -> bool {
        let any = |prefixes: &[Prefix], ip| prefixes.iter().any(|p| p.contains(ip));
        // An address may hide another one, which is then where the packets end up.
        [Some(peer), hidden(peer)].into_iter().flatten().all(|ip| {
            let is_inside = INSIDE.iter().any(|(net, len)| Prefix::new(*net, *len).contains(ip));
            !any(&self.deny, ip) && (any(&self.allow, ip) || !is_inside)
        })
    }

    /// Whether something may be sent to it.
    pub fn allows(&self, peer: SocketAddr) -> bool {
        let own = self.own.contains(&peer.ip().to_canonical());
        let media = || self.own_ports.iter().any(|ports| ports.contains(&peer.port()));
        let named = || self.allow.iter().any(|p| p.contains(peer.ip()));
        peer.port() != 0 && self.permits(peer.ip()) && (!own || media() || named())
    }
}

/// The IPv4 address in an IPv6 one: mapped, NAT64 (RFC 6052), 6to4 (RFC 3056).
fn hidden(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = ip else { return None };
    let s = v6.segments();
    let v4 = |a: u16, b: u16| IpAddr::from((u32::from(a) << 16 | u32::from(b)).to_be_bytes());
    match s {
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] if (a, b) > (0, 1) => Some(v4(a, b)),
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some(v4(a, b)),
        [0x2002, a, b, ..] => Some(v4(a, b)),
        _ => None,
    }
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    net: IpAddr,
    len: u8,
}

impl Prefix {
    /// The first `len` bits of an address.
    pub fn new(net: IpAddr, len: u8) -> Self {
        Self { net, len }
    }

    /// Whether an address begins with it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.net, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let differ = net.to_bits() ^ ip.to_bits();
                differ.leading_zeros() >= u32::from(self.len)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let differ = net.to_bits() ^ ip.to_bits();
                differ.leading_zeros() >= u32::from(self.len)
            }
            _ => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no network; give one such as 10.1.0.0/16 or fd00::/8");
        let (net, len) = text.split_once('/').map_or((text, None), |(n, l)| (n, Some(l)));
        let net: IpAddr = net.parse().map_err(|_| wrong())?;
        let most = if net.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if len <= most { Ok(Self { net, len }) } else { Err(wrong()) }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> (IpAddr, u8) {
    (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), len)
}

const fn v6(s: [u16; 8], len: u8) -> (IpAddr, u8) {
    (IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7])), len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(policy: &PeerPolicy, ip: &str) -> bool {
        policy.permits(ip.parse().unwrap())
    }

    #[test]
    fn r6_6_nobody_inside_is_a_peer_whatever_the_address_hides_in() {
        let policy = PeerPolicy::default();
        for ip in [
            "0.0.0.0",
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "2001::1",
        ] {
            assert!(!permits(&policy, ip), "{ip} is refused");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2a00:1450::1", "64:ff9b::8.8.8.8"] {
            assert!(permits(&policy, ip), "{ip} is a host on the Internet");
        }
    }

    #[test]
    fn r6_6_the_operator_names_exceptions_and_more_refusals() {
        let policy = PeerPolicy {
            allow: vec!["10.1.0.0/16".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            deny: vec!["8.8.8.0/24".parse().unwrap(), "10.1.2.0/24".parse().unwrap()],
            ..PeerPolicy::default()
        };
        assert!(permits(&policy, "10.1.0.1") && permits(&policy, "127.0.0.1"));
        for ip in ["10.2.0.1", "10.1.2.3", "8.8.8.8", "127.0.0.2"] {
            assert!(!permits(&policy, ip), "{ip}");
        }
        for wrong in ["10.0.0.0/33", "ten", "10.0.0.0/x", "::/129"] {
            assert!(wrong.parse::<Prefix>().unwrap_err().contains("is no network"));
        }
    }

    #[test]
    fn r6_6_our_own_services_are_no_peers_and_our_media_ports_are() {
        let own = "8.8.4.4".parse().unwrap();
        let policy = PeerPolicy {
            own: vec![own],
            own_ports: vec![20_000..=30_000],
            ..PeerPolicy::default()
        };
        assert!(policy.permits(own), "permissions are of addresses alone");
        assert!(policy.allows(SocketAddr::new(own, 20_000)));
        assert!(!policy.allows(SocketAddr::new(own, 5060)));
        assert!(!policy.allows("8.8.8.8:0".parse().unwrap()));
        assert!(policy.allows("8.8.8.8:5060".parse().unwrap()));
    }
}
