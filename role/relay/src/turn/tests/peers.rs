//! Peers: permissions, channels, what is sent to them and what comes from them.

use super::*;

#[test]
fn rfc_8656_9_permissions_last_five_minutes_and_are_of_addresses() {
    let mut world = world(|_| {});
    let port = world.allocate().port();
    assert_eq!(world.hear(port, PEER, b"early"), None);
    assert_eq!(world.refused(Refused::Unpermitted), 1);
    assert_eq!(world.ask(method::CREATE_PERMISSION, &[]).code(), 400);
    assert_eq!(world.ask(method::CREATE_PERMISSION, &[peer(PEER), peer("9.9.9.8:1")]).code(), 0);
    for from in [PEER, "9.9.9.9:6000", "9.9.9.8:1"] {
        let heard = world.hear(port, from, b"hello").unwrap();
        let message = Message::parse(&heard).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Indication, method::DATA));
        assert_eq!(message.xor_address(attr::XOR_PEER_ADDRESS), Some(from.parse().unwrap()));
        assert_eq!(message.attribute(attr::DATA), Some(&b"hello"[..]));
    }
    assert_eq!(world.hear(port, "9.9.9.7:1", b"x"), None, "not permitted");
    world.pass(299);
    assert!(world.hear(port, PEER, b"x").is_some());
    world.pass(1);
    assert_eq!(world.hear(port, PEER, b"x"), None);
    assert_eq!(world.ask(method::CREATE_PERMISSION, &[peer("[2a00::9]:1")]).code(), 443);
}

#[test]
fn rfc_8656_11_send_indications_reach_permitted_peers_only() {
    let mut world = world(|_| {});
    let port = world.allocate().port();
    let indication = |more: &[Attribute]| {
        let builder = Builder::answer(Vec::new(), (method::SEND, Class::Indication), [0; 12]);
        let (kind, value) = peer(PEER);
        let builder = builder.attribute(kind, &value).attribute(attr::DATA, b"hello");
        more.iter().fold(builder, |b, (k, v)| b.attribute(*k, v)).finish_bare()
    };
    assert_eq!(world.send(CLIENT, &indication(&[])), Outcome::Drop);
    world.ask(method::CREATE_PERMISSION, &[peer(PEER)]);
    let bytes = indication(&[(attr::DONT_FRAGMENT, vec![])]);
    let Outcome::ToPeer { relay, port: from, to, data, dont_fragment } = world.send(CLIENT, &bytes)
    else {
        panic!("it goes out")
    };
    assert_eq!((relay, from, to), (0, port, PEER.parse().unwrap()));
    assert_eq!((&bytes[data], dont_fragment), (&b"hello"[..], true));
    assert_eq!(world.send(CLIENT, &indication(&[(0x7ffe, vec![])])), Outcome::Drop, "unknown");
    assert_eq!(world.send("8.8.8.8:1", &indication(&[])), Outcome::Drop, "another flow");
}

#[test]
fn rfc_8656_12_channels_carry_both_ways_for_ten_minutes() {
    let mut world = world(|_| {});
    let port = world.allocate().port();
    for (attributes, code) in [
        (vec![channel(0x4000)], 400),
        (vec![peer(PEER)], 400),
        (vec![channel(0x3fff), peer(PEER)], 400),
        (vec![channel(0x8000), peer(PEER)], 400),
        (vec![channel(0x4000), peer(PEER)], 0),
        (vec![channel(0x4000), peer(PEER)], 0),
        (vec![channel(0x4000), peer("9.9.9.9:1")], 400),
        (vec![channel(0x4001), peer(PEER)], 400),
        (vec![channel(0x4001), peer("9.9.9.9:1")], 0),
    ] {
        assert_eq!(world.ask(method::CHANNEL_BIND, &attributes).code(), code, "{attributes:?}");
    }
    let out = world.send(CLIENT, &channel_data(0x4000, b"hello"));
    let to = PEER.parse().unwrap();
    let expected = Outcome::ToPeer { relay: 0, port, to, data: 4..9, dont_fragment: false };
    assert_eq!(out, expected);
    assert_eq!(world.send(CLIENT, &channel_data(0x4002, b"x")), Outcome::Drop);
    assert_eq!(world.send("8.8.8.8:1", &channel_data(0x4000, b"x")), Outcome::Drop);
    assert_eq!(world.hear(port, PEER, b"back").unwrap(), channel_data(0x4000, b"back"));
    assert_eq!(world.hear(port, "9.9.9.9:1", b"").unwrap(), channel_data(0x4001, b""));
    // The permission ends before the channel does; a permission renewed alone does for both.
    world.pass(300);
    assert_eq!(world.send(CLIENT, &channel_data(0x4000, b"x")), Outcome::Drop);
    world.ask(method::CREATE_PERMISSION, &[peer(PEER)]);
    assert_ne!(world.send(CLIENT, &channel_data(0x4000, b"x")), Outcome::Drop);
    world.ask(method::REFRESH, &[]);
    world.pass(300);
    world.ask(method::CREATE_PERMISSION, &[peer(PEER)]);
    assert_eq!(world.send(CLIENT, &channel_data(0x4000, b"x")), Outcome::Drop, "ten minutes");
    let rebound = world.ask(method::CHANNEL_BIND, &[channel(0x4001), peer(PEER)]);
    assert_eq!(rebound.code(), 0, "both were free again");
    let stats = world.shared.stats();
    assert_eq!((stats.to_peers, stats.bytes_to_peers), (2, 6));
    assert_eq!((stats.to_clients, stats.bytes_to_clients), (2, 4));
}

#[test]
fn rfc_8656_12_5_channel_data_on_a_stream_is_padded_and_ends_with_it() {
    let mut world = world(|_| {});
    let stream = Flow { addr: CLIENT.parse().unwrap(), via: Via::Stream(9) };
    let port = world.allocate().port();
    let owner = world.server.allocation_mut(&flow(CLIENT)).unwrap();
    owner.bind((0x4000, PEER.parse().unwrap()), sansio::testing::epoch(), 9).unwrap();
    owner.permit("9.9.9.9".parse().unwrap(), sansio::testing::epoch(), 9).unwrap();
    owner.flow = stream;
    let mut slot = [7; HEADROOM + 16];
    let now = world.clock().now;
    let from = PEER.parse().unwrap();
    let (to, range) = world.server.handle_peer(now, (0, port), from, &mut slot, 5).unwrap();
    assert_eq!(to, stream);
    assert_eq!(slot[range], [0x40, 0, 0, 5, 7, 7, 7, 7, 7, 0, 0, 0]);
}

#[test]
fn r6_6_peers_inside_are_refused_for_permissions_channels_and_what_is_sent() {
    let mut world = world(|c| {
        c.peers.own = vec!["198.41.0.4".parse().unwrap()];
        c.peers.own_ports = vec![40_000..=40_099];
    });
    world.allocate();
    for inside in ["127.0.0.1:53", "10.1.2.3:80", "192.168.1.1:80", "169.254.169.254:80"] {
        let permission = world.ask(method::CREATE_PERMISSION, &[peer(PEER), peer(inside)]);
        assert_eq!(permission.code(), 403, "{inside}");
        let bound = world.ask(method::CHANNEL_BIND, &[channel(0x4000), peer(inside)]);
        assert_eq!(bound.code(), 403, "{inside}");
    }
    assert_eq!(world.refused(Refused::Peer), 8);
    // Our own address is one of a peer only where other clients' ports are.
    assert_eq!(world.ask(method::CREATE_PERMISSION, &[peer("198.41.0.4:5060")]).code(), 0);
    let bind = |world: &mut World, number, to: &str| {
        world.ask(method::CHANNEL_BIND, &[channel(number), peer(to)]).code()
    };
    assert_eq!(bind(&mut world, 0x4001, "198.41.0.4:5060"), 403);
    assert_eq!(bind(&mut world, 0x4001, "198.41.0.4:40001"), 0);
    let builder = Builder::answer(Vec::new(), (method::SEND, Class::Indication), [0; 12]);
    let (kind, value) = peer("198.41.0.4:5060");
    let sent = builder.attribute(kind, &value).attribute(attr::DATA, b"x").finish_bare();
    assert_eq!(world.send(CLIENT, &sent), Outcome::Drop);
}

#[test]
fn r6_6_permissions_and_channels_have_limits() {
    let mut world = world(|c| (c.limits.permissions_max, c.limits.channels_max) = (3, 2));
    world.allocate();
    let permit = |world: &mut World, ips: &[&str]| {
        let peers: Vec<Attribute> = ips.iter().map(|ip| peer(&format!("{ip}:1"))).collect();
        world.ask(method::CREATE_PERMISSION, &peers).code()
    };
    assert_eq!(permit(&mut world, &["9.9.9.1", "9.9.9.2"]), 0);
    assert_eq!(permit(&mut world, &["9.9.9.3", "9.9.9.4"]), 508, "all or none");
    assert_eq!(permit(&mut world, &["9.9.9.3", "9.9.9.1"]), 0);
    assert_eq!(permit(&mut world, &["9.9.9.4"]), 508);
    let bind = |world: &mut World, number, to: &str| {
        world.ask(method::CHANNEL_BIND, &[channel(number), peer(to)]).code()
    };
    assert_eq!(bind(&mut world, 0x4000, "9.9.9.4:1"), 508, "a channel needs a permission");
    assert_eq!(bind(&mut world, 0x4000, "9.9.9.1:1"), 0);
    assert_eq!(bind(&mut world, 0x4001, "9.9.9.1:2"), 0);
    assert_eq!(bind(&mut world, 0x4002, "9.9.9.1:3"), 508);
    world.pass(300);
    assert_eq!(permit(&mut world, &["9.9.9.4", "9.9.9.5", "9.9.9.6"]), 0, "the old ones ended");
}
