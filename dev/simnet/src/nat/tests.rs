//! RFC 4787's behaviours, one by one.

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn after(seconds: u64) -> Instant {
    sansio::testing::epoch() + Duration::from_secs(seconds)
}

fn nat(mapping: Mapping, filtering: Filtering) -> Nat {
    let config = NatConfig { mapping, filtering, ..NatConfig::home() };
    Nat::new("203.0.113.1".parse().unwrap(), config)
}

/// The public ports that one inner address gets towards two ports of one server and a third server.
fn ports(mapping: Mapping) -> [u16; 3] {
    let mut nat = nat(mapping, Filtering::EndpointIndependent);
    let inner = address("192.168.1.2:5060");
    ["198.51.100.1:5060", "198.51.100.1:3478", "198.51.100.9:5060"]
        .map(|to| nat.outbound(after(0), Protocol::Udp, inner, address(to)).port())
}

#[test]
fn mapping_depends_on_as_much_of_the_destination_as_configured() {
    let [a, b, c] = ports(Mapping::EndpointIndependent);
    assert!(a == b && b == c);
    let [a, b, c] = ports(Mapping::AddressDependent);
    assert!(a == b && b != c);
    let [a, b, c] = ports(Mapping::AddressAndPortDependent);
    assert!(a != b && b != c && a != c);
}

#[test]
fn two_inner_hosts_never_share_a_public_port() {
    let mut nat = nat(Mapping::EndpointIndependent, Filtering::EndpointIndependent);
    let to = address("198.51.100.1:5060");
    let one = nat.outbound(after(0), Protocol::Udp, address("192.168.1.2:5060"), to);
    let two = nat.outbound(after(0), Protocol::Udp, address("192.168.1.3:5060"), to);
    let stream = nat.outbound(after(0), Protocol::Stream, address("192.168.1.2:5060"), to);
    assert_ne!(one, two);
    assert_eq!(nat.inbound(after(1), Protocol::Stream, to, one.port()), None);
    assert!(nat.inbound(after(1), Protocol::Stream, to, stream.port()).is_some());
}

#[test]
fn filtering_lets_in_whom_it_should() {
    let inner = address("192.168.1.2:5060");
    let sent_to = address("198.51.100.1:5060");
    let same_host = address("198.51.100.1:9999");
    let stranger = address("198.51.100.9:5060");
    let passes = |filtering| {
        let mut nat = nat(Mapping::EndpointIndependent, filtering);
        let port = nat.outbound(after(0), Protocol::Udp, inner, sent_to).port();
        [sent_to, same_host, stranger]
            .map(|from| nat.inbound(after(1), Protocol::Udp, from, port) == Some(inner))
    };
    assert_eq!(passes(Filtering::EndpointIndependent), [true, true, true]);
    assert_eq!(passes(Filtering::AddressDependent), [true, true, false]);
    assert_eq!(passes(Filtering::AddressAndPortDependent), [true, false, false]);
}

#[test]
fn a_mapping_lives_by_outbound_traffic_only() {
    let mut nat = nat(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent);
    let (inner, to) = (address("192.168.1.2:5060"), address("198.51.100.1:5060"));
    let port = nat.outbound(after(0), Protocol::Udp, inner, to).port();
    assert!(nat.inbound(after(29), Protocol::Udp, to, port).is_some());
    assert!(nat.inbound(after(30), Protocol::Udp, to, port).is_none(), "inbound does not refresh");
    let again = nat.outbound(after(40), Protocol::Udp, inner, to).port();
    assert_ne!(again, port, "a new mapping has a new port");
    assert_eq!(nat.outbound(after(60), Protocol::Udp, inner, to).port(), again);
    assert!(nat.inbound(after(89), Protocol::Udp, to, again).is_some());
    nat.forget_all();
    assert!(nat.inbound(after(89), Protocol::Udp, to, again).is_none());
}
