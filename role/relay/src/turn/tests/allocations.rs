//! Allocations: made, refreshed, limited, ended.

use super::*;

#[test]
fn rfc_8656_7_an_allocation_is_made_repeated_and_refused_by_its_rules() {
    let mut world = world(|_| {});
    let answer = world.ask(method::ALLOCATE, &[udp()]);
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
    let relayed = answer.relayed();
    assert_eq!(relayed.ip(), "198.41.0.4".parse::<IpAddr>().unwrap(), "what others see");
    assert!((40_000..=40_099).contains(&relayed.port()));
    assert_eq!(answer.message().xor_mapped_address(), Some(CLIENT.parse().unwrap()));
    assert_eq!(world.ask(method::ALLOCATE, &[udp()]).code(), 437, "there is one");
    // A retransmission of one and the same request gets the same answer.
    let nonce = world.nonce("8.8.8.8:4001");
    let builder = world.request(method::ALLOCATE, &[udp(), lifetime(900)]).username("alice");
    let builder = builder.attribute(attr::REALM, REALM.as_bytes()).attribute(attr::NONCE, &nonce);
    let bytes = builder.finish(&long_term_key("alice", REALM, "secret"));
    let first = world.exchange("8.8.8.8:4001", &bytes).unwrap();
    assert_eq!((first.code(), first.lifetime()), (0, 900));
    assert_eq!(world.exchange("8.8.8.8:4001", &bytes).unwrap().0, first.0);
    for (attributes, code) in [
        (vec![], 400),
        (vec![(attr::REQUESTED_TRANSPORT, vec![6, 0, 0, 0])], 442),
        (vec![udp(), (attr::REQUESTED_ADDRESS_FAMILY, vec![3, 0, 0, 0])], 440),
        (vec![udp(), (attr::RESERVATION_TOKEN, vec![0; 8]), (attr::EVEN_PORT, vec![0])], 400),
        (vec![udp(), (attr::RESERVATION_TOKEN, vec![0; 8])], 508),
        (vec![udp(), (0x7ffe, vec![])], 420),
    ] {
        let from = "8.8.8.8:4002";
        let answer = world.ask_as(("alice", "secret"), from, method::ALLOCATE, &attributes);
        assert_eq!(answer.code(), code, "{attributes:?}");
    }
    assert_eq!((world.server.len(), world.ports.open.len()), (2, 2), "refusals keep nothing");
    assert_eq!(world.shared.stats().allocations, 2);
}

#[test]
fn rfc_8656_7_2_lifetimes_are_kept_within_bounds() {
    let mut world = world(|_| {});
    for (n, (wanted, given)) in [(1, 600), (1200, 1200), (9_999_999, 3600)].iter().enumerate() {
        let from = format!("8.8.8.8:{}", 5000 + n);
        let attributes = [udp(), lifetime(*wanted)];
        let answer = world.ask_as(("alice", "secret"), &from, method::ALLOCATE, &attributes);
        assert_eq!(answer.lifetime(), *given);
    }
}

#[test]
fn rfc_8656_7_2_even_ports_and_the_reserved_one_above() {
    let mut world = world(|_| {});
    let even = (attr::EVEN_PORT, vec![0x80]);
    let answer = world.ask(method::ALLOCATE, &[udp(), even]);
    assert_eq!((answer.code(), answer.relayed().port() % 2), (0, 0));
    let token = answer.message().attribute(attr::RESERVATION_TOKEN).unwrap().to_vec();
    let redeem = |world: &mut World, who, from: &str, token: &[u8]| {
        let attributes = [udp(), (attr::RESERVATION_TOKEN, token.to_vec())];
        world.ask_as(who, from, method::ALLOCATE, &attributes)
    };
    let alice = ("alice", "secret");
    assert_eq!(redeem(&mut world, ("bob", "other"), "8.8.8.8:1", &token).code(), 508, "not his");
    let second = redeem(&mut world, alice, "8.8.8.8:2", &token);
    assert_eq!(second.relayed().port(), answer.relayed().port() + 1);
    assert_eq!(redeem(&mut world, alice, "8.8.8.8:3", &token).code(), 508, "used up");
    // Nobody else gets a reserved port, and it is free again after its time.
    let mut tight = world_of_two_ports();
    let even = (attr::EVEN_PORT, vec![0x80]);
    assert_eq!(tight.ask(method::ALLOCATE, &[udp(), even]).code(), 0);
    let other = |world: &mut World, from| {
        world.ask_as(("bob", "other"), from, method::ALLOCATE, &[udp()]).code()
    };
    assert_eq!(other(&mut tight, "8.8.4.4:1"), 508);
    assert_eq!(tight.refused(Refused::Ports), 1);
    tight.pass(31);
    assert_eq!(other(&mut tight, "8.8.4.4:1"), 0);
}

fn world_of_two_ports() -> World {
    world(|c| (c.port_min, c.port_max) = (40_000, 40_001))
}

#[test]
fn rfc_8656_7_2_a_port_that_is_not_free_is_passed_over() {
    let mut world = world_of_two_ports();
    world.ports.taken.insert(40_000);
    assert_eq!(world.allocate().port(), 40_001);
}

#[test]
fn rfc_8656_8_refresh_prolongs_ends_and_is_the_owners() {
    let mut world = world(|_| {});
    assert_eq!(world.ask(method::REFRESH, &[]).code(), 437);
    let port = world.allocate().port();
    world.pass(599);
    assert_eq!(world.ask(method::REFRESH, &[lifetime(1000)]).lifetime(), 1000);
    world.pass(999);
    assert_eq!(world.server.len(), 1);
    let bob = world.ask_as(("bob", "other"), CLIENT, method::REFRESH, &[lifetime(0)]);
    assert_eq!(bob.code(), 441);
    let family = (attr::REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0]);
    assert_eq!(world.ask(method::REFRESH, &[family]).code(), 443);
    assert_eq!(world.ask(method::REFRESH, &[lifetime(0)]).lifetime(), 0);
    assert!(world.server.is_empty() && world.ports.open.is_empty(), "{port} is free");
    assert!(world.shared.book().is_empty());
    // Without a refresh it ends by itself, and says which flow's it was.
    world.allocate();
    world.pass(600);
    assert!(world.server.is_empty() && world.ports.open.is_empty());
    assert_eq!(world.server.poll_ended(), Some(flow(CLIENT)));
    assert_eq!((world.server.poll_ended(), world.server.poll_timeout()), (None, None));
    assert!(world.shared.book().is_empty());
}

#[test]
fn rfc_8656_7_2_ipv6_is_allocated_where_there_is_a_relay_of_it() {
    let mut world = world(|_| {});
    let family = (attr::REQUESTED_ADDRESS_FAMILY, vec![2, 0, 0, 0]);
    let answer = world.ask(method::ALLOCATE, &[udp(), family.clone()]);
    assert!(answer.relayed().is_ipv6());
    let v4_only = |c: &mut TurnConfig| c.relays.truncate(1);
    let mut without = self::world(v4_only);
    assert_eq!(without.ask(method::ALLOCATE, &[udp(), family]).code(), 440);
    assert!(without.shared.book().is_empty(), "the quota was given back");
}

#[test]
fn rfc_8656_7_2_dont_fragment_is_unknown_where_it_cannot_be_kept() {
    let mut world = world(|_| {});
    let dont = (attr::DONT_FRAGMENT, vec![]);
    world.ports.forbids = false;
    let answer = world.ask(method::ALLOCATE, &[udp(), dont.clone()]);
    assert_eq!(answer.code(), 420);
    world.ports.forbids = true;
    assert_eq!(world.ask(method::ALLOCATE, &[udp(), dont]).code(), 0);
}

#[test]
fn r6_6_quotas_of_user_tenant_and_server_hold_and_are_given_back() {
    let mut world = world(|c| {
        (c.limits.per_user, c.limits.per_tenant, c.limits.allocations_max) = (2, 3, 4);
    });
    let from = |n: usize| format!("8.8.8.8:{}", 7000 + n);
    let (alice, bob) = (("alice", "secret"), ("bob", "other"));
    let of = |world: &mut World, who: (&str, &str), n: usize| {
        world.ask_as(who, &from(n), method::ALLOCATE, &[udp()]).code()
    };
    assert_eq!([of(&mut world, alice, 0), of(&mut world, alice, 1)], [0, 0]);
    assert_eq!(of(&mut world, alice, 2), 486);
    assert_eq!(of(&mut world, bob, 3), 0);
    assert_eq!(of(&mut world, bob, 4), 486, "the tenant has three");
    let (user, password) = SharedSecret::new(["north"])
        .issue("carol@other.example", WallTime::from_secs(1_800_000_000))
        .unwrap();
    assert_eq!(of(&mut world, (&user, &password), 5), 0, "another tenant");
    assert_eq!(of(&mut world, (&user, &password), 6), 508, "the server has four");
    assert_eq!(world.refused(Refused::UserQuota), 1);
    assert_eq!(world.refused(Refused::TenantQuota), 1);
    assert_eq!(world.refused(Refused::Full), 1);
    let ended = world.ask_as(alice, &from(0), method::REFRESH, &[lifetime(0)]);
    assert_eq!(ended.code(), 0);
    assert_eq!(of(&mut world, bob, 4), 0, "a place is free");
    world.pass(600);
    assert!(world.shared.book().is_empty() && world.ports.open.is_empty());
}

#[test]
fn a_closed_connection_ends_its_allocation() {
    let mut world = world(|_| {});
    world.allocate();
    world.server.handle_closed(&flow(CLIENT), &mut world.ports);
    assert!(world.server.is_empty() && world.ports.open.is_empty());
    assert_eq!(world.server.poll_ended(), None, "who closed it knows");
    // The place is used again, and the clock of the first one concerns nobody.
    world.pass(500);
    world.allocate();
    world.pass(100);
    assert_eq!(world.server.len(), 1);
}

#[test]
fn ten_thousand_allocations_come_and_go_without_a_trace() {
    let mut world = world(|c| {
        (c.port_min, c.port_max) = (30_000, 50_000);
        c.limits.per_user = 20_000;
        (c.limits.unproved_per_s, c.limits.unproved_burst) = (1_000_000, 1_000_000);
    });
    for round in 0..2 {
        for n in 0..5_000_u32 {
            let from = format!("8.{}.{}.8:4000", n >> 8, n & 255);
            world.next_id = 0;
            let answer = world.ask_as(("alice", "secret"), &from, method::ALLOCATE, &[udp()]);
            assert_eq!(answer.code(), 0, "{n} of round {round}");
        }
        assert_eq!((world.server.len(), world.ports.open.len()), (5_000, 5_000));
        world.pass(600);
        assert!(world.server.is_empty() && world.ports.open.is_empty());
        assert!(world.shared.book().is_empty() && world.server.poll_timeout().is_none());
        while world.server.poll_ended().is_some() {}
    }
    assert_eq!(world.shared.stats().allocated, 10_000);
}

proptest::proptest! {
    /// Whatever a client sends, signed or not, and whatever a peer does.
    #[test]
    fn any_bytes_of_clients_and_peers_break_nothing(
        messages in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..120), 0..8),
        attributes in proptest::collection::vec((0_u16..0x30, proptest::collection::vec(0_u8.., 0..24)), 0..5),
        of in 1_u16..12,
    ) {
        let mut world = world(|_| {});
        let port = world.allocate().port();
        for message in &messages {
            world.send(CLIENT, message);
            world.hear(port, PEER, message);
        }
        let attributes: Vec<Attribute> = attributes.into_iter().filter(|(kind, _)| ![6, 8, 20, 21].contains(kind)).collect();
        if [method::ALLOCATE, method::REFRESH, method::CREATE_PERMISSION, method::CHANNEL_BIND].contains(&of) {
            world.ask(of, &attributes);
        } else {
            world.bare(CLIENT, of, &attributes);
        }
        world.pass(3600);
        proptest::prop_assert!(world.server.is_empty() && world.ports.open.is_empty());
    }
}
