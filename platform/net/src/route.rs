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
}
