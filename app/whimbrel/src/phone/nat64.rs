//! A network of IPv6 alone with a translator to IPv4 (NAT64, RFC 6146): what descriptions name in
//! IPv4 is reached by the translator's prefix (RFC 6052). The engine goes on in IPv4 and sees nothing
//! of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The prefix of RFC 6052 §2.1.
const WELL_KNOWN: Nat64 =
    Nat64 { prefix: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), length: 96 };
/// What `ipv4only.arpa` has in IPv4 (RFC 7050 §8.2).
const IPV4_ONLY: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// The lengths a prefix may have (RFC 6052 §2.2), longest first: they hold one another.
const LENGTHS: [u8; 6] = [96, 64, 56, 48, 40, 32];

/// A translator's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64 {
    prefix: Ipv6Addr,
    length: u8,
}

impl Nat64 {
    /// That of a server that is reached by the well-known prefix.
    pub fn of_server(server: SocketAddr) -> Option<Self> {
        let IpAddr::V6(server) = server.ip() else { return None };
        WELL_KNOWN.holds(server).then_some(WELL_KNOWN)
    }

    /// Asks the network's name server what it makes of a name that has no IPv6 address (RFC 7050 §3).
    pub async fn discover() -> Option<Self> {
        let found = tokio::net::lookup_host(("ipv4only.arpa", 0)).await.ok()?;
        Self::of_answers(found.filter_map(|found| match found.ip() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }))
    }

    fn of_answers(answers: impl IntoIterator<Item = Ipv6Addr>) -> Option<Self> {
        answers.into_iter().find_map(|answer| {
            let length = LENGTHS.into_iter().find(|length| {
                IPV4_ONLY.contains(&extract(answer, *length))
                    && embed(answer, *length, extract(answer, *length)) == answer
            })?;
            Some(Self { prefix: cut(answer, length), length })
        })
    }

    /// Where a packet for `to` goes.
    pub fn toward(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(ip) => {
                SocketAddr::new(embed(self.prefix, self.length, ip).into(), to.port())
            }
            IpAddr::V6(_) => to,
        }
    }

    /// Whom a packet from `from` is of.
    pub fn back(&self, from: SocketAddr) -> SocketAddr {
        match from.ip() {
            IpAddr::V6(ip) if self.holds(ip) => {
                SocketAddr::new(extract(ip, self.length).into(), from.port())
            }
            _ => from,
        }
    }

    fn holds(&self, address: Ipv6Addr) -> bool {
        cut(address, self.length) == self.prefix
    }
}

/// An address without what is behind the prefix.
fn cut(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let mask = u128::MAX << (128 - u32::from(length));
    Ipv6Addr::from(u128::from(address) & mask)
}

/// Where the four octets stand: the one from bit 64 to 71 stays zero (RFC 6052 §2.2).
fn places(length: u8) -> impl Iterator<Item = usize> {
    (usize::from(length / 8)..).filter(|at| *at != 8).take(4)
}

fn embed(prefix: Ipv6Addr, length: u8, ip: Ipv4Addr) -> Ipv6Addr {
    let mut octets = cut(prefix, length).octets();
    for (at, octet) in places(length).zip(ip.octets()) {
        octets[at] = octet;
    }
    octets.into()
}

fn extract(address: Ipv6Addr, length: u8) -> Ipv4Addr {
    let octets = address.octets();
    let mut ip = [0; 4];
    for (at, octet) in places(length).zip(&mut ip) {
        *octet = octets[at];
    }
    ip.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 6052 §2.4.
    const TABLE: [(&str, u8, &str); 6] = [
        ("2001:db8::", 32, "2001:db8:c000:221::"),
        ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
        ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
    ];

    #[test]
    fn r6_1_addresses_are_embedded_as_in_the_table_of_rfc_6052() {
        for (prefix, length, embedded) in TABLE {
            let nat = Nat64 { prefix: prefix.parse().unwrap(), length };
            let ip = SocketAddr::from(([192, 0, 2, 33], 4000));
            let there = nat.toward(ip);
            assert_eq!(there, SocketAddr::new(embedded.parse().unwrap(), 4000), "/{length}");
            assert_eq!(nat.back(there), ip, "/{length}");
            let beside: SocketAddr = "[2001:db9::1]:4000".parse().unwrap();
            assert_eq!((nat.toward(beside), nat.back(beside)), (beside, beside));
        }
    }

    #[test]
    fn r6_1_the_prefix_is_found_in_what_is_made_of_ipv4only_arpa() {
        for (prefix, length, _) in TABLE {
            let nat = Nat64 { prefix: prefix.parse().unwrap(), length };
            let answers = IPV4_ONLY.map(|ip| embed(nat.prefix, length, ip));
            assert_eq!(Nat64::of_answers(answers), Some(nat), "/{length}");
        }
        assert_eq!(Nat64::of_answers(["2001:db8::1".parse().unwrap()]), None);
        assert_eq!(
            Nat64::of_server("[64:ff9b::c633:6401]:5060".parse().unwrap()),
            Some(WELL_KNOWN)
        );
        assert_eq!(Nat64::of_server("[2001:db8::1]:5060".parse().unwrap()), None);
        assert_eq!(Nat64::of_server("198.51.100.1:5060".parse().unwrap()), None);
    }
}
