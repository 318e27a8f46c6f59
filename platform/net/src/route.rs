//! Which of our addresses a peer sees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The address this machine would send from to reach `peer`, by its routing table; no packet is
/// sent. What a server bound to a wildcard writes into SDP and Record-Route for that peer when
/// nothing is advertised. `None` without a route. A few system calls: remember it per peer.
pub fn source_address(peer: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Any port will do: connecting a datagram socket only looks up the route.
    socket.connect((peer, 9)).ok()?;
    socket.local_addr().ok().map(|a| a.ip())
}

/// Which of our addresses a peer is to see: the one its route leaves by, else the first of its
/// family. Asks the system only where there is a choice.
pub fn own_address(ours: &[IpAddr], peer: IpAddr) -> Option<IpAddr> {
    let mut near = ours.iter().filter(|ip| ip.is_ipv4() == peer.is_ipv4());
    let first = *near.next()?;
    if near.all(|ip| *ip == first) {
        return Some(first);
    }
    Some(source_address(peer).filter(|ip| ours.contains(ip)).unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        for loopback in ["127.0.0.1", "::1"] {
            let loopback = loopback.parse().unwrap();
            assert_eq!(source_address(loopback), Some(loopback));
        }
    }

    #[test]
    fn r2_2_of_several_addresses_a_peer_sees_the_one_its_route_leaves_by() {
        let [inner, near, six] = ["10.255.255.1", "127.0.0.1", "::1"].map(|a| a.parse().unwrap());
        assert_eq!(own_address(&[inner, near, six], near), Some(near));
        assert_eq!(own_address(&[inner, near, six], six), Some(six));
        assert_eq!(own_address(&[inner, six], near), Some(inner), "there is no choice");
        assert_eq!(own_address(&[six], near), None);
    }
}
