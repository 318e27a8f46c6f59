//! The server in virtual time, by the sections of its RFCs.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ice::stun::{self, Builder, Class, Message, attribute as stun_attr};
use ice::turn::{attribute as attr, channel_header, method};
use sansio::{SeededEntropy, WallTime};

use super::*;

const REALM: &str = "example.org";
const CLIENT: &str = "8.8.8.8:4000";
const PEER: &str = "9.9.9.9:5000";

/// Ports by number.
#[derive(Default)]
struct Numbers {
    open: BTreeSet<(u8, u16)>,
    taken: BTreeSet<u16>,
    forbids: bool,
}

impl RelayPorts for Numbers {
    fn open(&mut self, relay: u8, port: u16) -> bool {
        !self.taken.contains(&port) && self.open.insert((relay, port))
    }
    fn close(&mut self, relay: u8, port: u16) {
        assert!(self.open.remove(&(relay, port)), "{port} was not open");
    }
    fn can_forbid_fragments(&self) -> bool {
        self.forbids
    }
}

/// A server with a clock, and clients that remember nonces.
struct World {
    server: Server,
    shared: Arc<Shared>,
    ports: Numbers,
    at: Duration,
    next_id: u8,
}

fn config() -> TurnConfig {
    let relay = |bind: &str, advertise: &str| RelayAddress {
        bind: bind.parse().unwrap(),
        advertise: advertise.parse().unwrap(),
    };
    TurnConfig {
        relays: vec![relay("10.0.0.5", "198.41.0.4"), relay("2a00::5", "2a00::5")],
        port_min: 40_000,
        port_max: 40_099,
        realm: REALM.to_owned(),
        ..TurnConfig::default()
    }
}

fn world(change: impl FnOnce(&mut TurnConfig)) -> World {
    let mut config = config();
    change(&mut config);
    let users = NamedUsers::default().with("alice", REALM, "secret").with("bob", REALM, "other");
    let secret = Some(SharedSecret::new(["north"]));
    let shared = Shared::new(config, secret, Arc::new(users), &mut SeededEntropy::new(1));
    let shared = Arc::new(shared);
    let entropy = Box::new(SeededEntropy::new(2));
    let server = Server::new(Arc::clone(&shared), sansio::testing::epoch(), entropy);
    let ports = Numbers { forbids: true, ..Numbers::default() };
    World { server, shared, ports, at: Duration::ZERO, next_id: 0 }
}

/// What a client was answered.
#[derive(Debug, Clone)]
struct Answer(Vec<u8>);

impl Answer {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }
    /// 0 for success.
    fn code(&self) -> u16 {
        self.message().error_code().unwrap_or(0)
    }
    fn lifetime(&self) -> u32 {
        let value = self.message().attribute(attr::LIFETIME).unwrap();
        u32::from_be_bytes(value.try_into().unwrap())
    }
    fn relayed(&self) -> SocketAddr {
        self.message().xor_address(attr::XOR_RELAYED_ADDRESS).unwrap()
    }
}

/// An attribute of a request.
type Attribute = (u16, Vec<u8>);

fn udp() -> Attribute {
    (attr::REQUESTED_TRANSPORT, vec![17, 0, 0, 0])
}

fn peer(addr: &str) -> Attribute {
    let built = Builder::new(Class::Request, [0; 12]).xor_address(1, addr.parse().unwrap());
    // The transaction ids below begin with zeros for IPv4; see `World::request`.
    (attr::XOR_PEER_ADDRESS, built.finish_bare()[24..].to_vec())
}

fn channel(number: u16) -> Attribute {
    let [a, b] = number.to_be_bytes();
    (attr::CHANNEL_NUMBER, vec![a, b, 0, 0])
}

fn lifetime(seconds: u32) -> Attribute {
    (attr::LIFETIME, seconds.to_be_bytes().to_vec())
}

fn flow(addr: &str) -> Flow {
    Flow { addr: addr.parse().unwrap(), via: Via::Datagrams(0) }
}

impl World {
    fn clock(&self) -> Clock {
        let wall = WallTime::from_secs(1_700_000_000) + self.at;
        Clock { now: sansio::testing::epoch() + self.at, wall }
    }

    fn pass(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
        let now = self.clock().now;
        self.server.handle_timeout(now, &mut self.ports);
    }

    fn send(&mut self, from: &str, bytes: &[u8]) -> Outcome {
        self.server.handle_client(self.clock(), flow(from), bytes, &mut self.ports)
    }

    fn exchange(&mut self, from: &str, bytes: &[u8]) -> Option<Answer> {
        let outcome = self.send(from, bytes);
        (outcome == Outcome::Answer).then(|| Answer(self.server.answer().to_vec()))
    }

    /// A request without credentials.
    fn bare(&mut self, from: &str, of: u16, attributes: &[Attribute]) -> Option<Answer> {
        let builder = self.request(of, attributes);
        self.exchange(from, &builder.finish_bare())
    }

    fn request(&mut self, of: u16, attributes: &[Attribute]) -> Builder {
        // IPv6 peers are masked with it: zeros, and a counter behind what they use of it.
        let mut id = [0; 12];
        self.next_id = self.next_id.wrapping_add(1);
        id[11] = self.next_id;
        let builder = Builder::answer(Vec::new(), (of, Class::Request), id);
        attributes.iter().fold(builder, |b, (kind, value)| b.attribute(*kind, value))
    }

    fn nonce(&mut self, from: &str) -> Vec<u8> {
        let challenge = self.bare(from, method::ALLOCATE, &[udp()]).unwrap();
        assert_eq!(challenge.code(), 401);
        challenge.message().attribute(attr::NONCE).unwrap().to_vec()
    }

    /// A request of a user, with a fresh nonce.
    fn ask_as(
        &mut self,
        (user, password): (&str, &str),
        from: &str,
        of: u16,
        attributes: &[Attribute],
    ) -> Answer {
        let nonce = self.nonce(from);
        let builder = self.request(of, attributes);
        let builder = builder.username(user).attribute(attr::REALM, REALM.as_bytes());
        let key = long_term_key(user, REALM, password);
        let bytes = builder.attribute(attr::NONCE, &nonce).finish(&key);
        let answer = self.exchange(from, &bytes).expect("an answer");
        let proved = answer.message().verify_integrity(&key);
        assert!(proved || [401, 438].contains(&answer.code()), "signed: {answer:?}");
        answer
    }

    fn ask(&mut self, of: u16, attributes: &[Attribute]) -> Answer {
        self.ask_as(("alice", "secret"), CLIENT, of, attributes)
    }

    /// Alice's allocation.
    fn allocate(&mut self) -> SocketAddr {
        let answer = self.ask(method::ALLOCATE, &[udp()]);
        assert_eq!(answer.code(), 0);
        answer.relayed()
    }

    /// What a client gets of a datagram of a peer.
    fn hear(&mut self, port: u16, from: &str, data: &[u8]) -> Option<Vec<u8>> {
        let mut slot = vec![0; HEADROOM + data.len() + 8];
        slot[HEADROOM..HEADROOM + data.len()].copy_from_slice(data);
        let (now, from) = (self.clock().now, from.parse().unwrap());
        let (relay, len) = (if SocketAddr::is_ipv6(&from) { 1 } else { 0 }, data.len());
        let (to, range) = self.server.handle_peer(now, (relay, port), from, &mut slot, len)?;
        assert_eq!(to, flow(CLIENT));
        Some(slot[range].to_vec())
    }

    fn refused(&self, why: Refused) -> u64 {
        self.shared.stats().refused[Refused::ALL.iter().position(|r| *r == why).unwrap()]
    }
}

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    [&channel_header(number, data.len() as u16)[..], data].concat()
}

#[test]
fn rfc_8489_6_3_1_anybody_learns_its_address() {
    let mut world = world(|_| {});
    let answer = world.bare(CLIENT, stun::BINDING, &[]).unwrap();
    assert_eq!(answer.message().xor_mapped_address(), Some(CLIENT.parse().unwrap()));
    assert_eq!(answer.0.len(), 32, "nothing but that");
    let unknown = world.bare(CLIENT, stun::BINDING, &[(0x7ffe, vec![1])]).unwrap();
    assert_eq!((unknown.code(), unknown.0.len()), (420, 36));
    assert!(unknown.message().attribute(stun_attr::UNKNOWN_ATTRIBUTES).is_some());
    let with_fingerprint = Builder::request([7; 12]).finish_unsigned();
    let answer = world.exchange(CLIENT, &with_fingerprint).unwrap();
    assert!(answer.message().has_fingerprint(), "as it was asked");
}

#[test]
fn rfc_8489_9_2_4_strangers_are_challenged_and_all_wrong_credentials_look_alike() {
    let mut world = world(|_| {});
    let challenge = world.bare(CLIENT, method::ALLOCATE, &[udp()]).unwrap();
    let message = challenge.message();
    assert_eq!(message.attribute(attr::REALM), Some(REALM.as_bytes()));
    assert_eq!(message.attribute(stun_attr::SOFTWARE), None, "what we are is nobody's business");
    assert!(!message.has_integrity());
    let ask = |world: &mut World, who| world.ask_as(who, CLIENT, method::ALLOCATE, &[udp()]);
    let wrong = ask(&mut world, ("alice", "wrong"));
    let nobody = ask(&mut world, ("mallory", "secret"));
    let late = ask(&mut world, ("1600000000:alice", "x"));
    for answer in [&wrong, &nobody, &late] {
        assert_eq!((answer.code(), answer.0.len()), (401, wrong.0.len()));
        let kinds = |a: &Answer| a.message().attributes().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(kinds(answer), kinds(&wrong));
    }
    assert_eq!(world.refused(Refused::Credentials), 3);
    // Integrity without the rest of it.
    let builder = world.request(method::ALLOCATE, &[udp()]).username("alice");
    let bytes = builder.finish(&long_term_key("alice", REALM, "secret"));
    assert_eq!(world.exchange(CLIENT, &bytes).unwrap().code(), 400);
}

#[test]
fn rfc_8489_9_2_4_a_nonce_is_stale_after_its_time_and_for_another_address() {
    let mut world = world(|c| c.limits.nonce = Duration::from_secs(60));
    let nonce = world.nonce(CLIENT);
    let with = |world: &mut World, from: &str, nonce: &[u8]| {
        let builder = world.request(method::ALLOCATE, &[udp()]).username("alice");
        let builder = builder.attribute(attr::REALM, REALM.as_bytes());
        let key = long_term_key("alice", REALM, "secret");
        world.exchange(from, &builder.attribute(attr::NONCE, nonce).finish(&key)).unwrap()
    };
    let other = with(&mut world, "8.8.4.4:4000", &nonce);
    assert_eq!(other.code(), 438);
    let fresh = other.message().attribute(attr::NONCE).unwrap().to_vec();
    assert_eq!(with(&mut world, "8.8.4.4:4000", &fresh).code(), 0, "the new one is good");
    let mut forged = nonce.clone();
    forged[0] ^= 1;
    assert_eq!(with(&mut world, CLIENT, &forged).code(), 438);
    world.pass(61);
    assert_eq!(with(&mut world, CLIENT, &nonce).code(), 438);
    assert_eq!(world.refused(Refused::StaleNonce), 3);
}

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
fn rfc_8489_10_a_full_server_sends_clients_to_another() {
    let other: SocketAddr = "198.41.0.9:3478".parse().unwrap();
    let mut world = world(|c| {
        c.limits.allocations_max = 1;
        c.alternate = Some(other);
    });
    world.allocate();
    let answer = world.ask_as(("bob", "other"), "8.8.4.4:1", method::ALLOCATE, &[udp()]);
    assert_eq!(answer.code(), 300);
    assert_eq!(answer.message().address(attr::ALTERNATE_SERVER), Some(other));
}

#[test]
fn r6_6_time_limited_credentials_end_for_new_allocations_and_not_for_calls_in_progress() {
    let mut world = world(|_| {});
    let secret = SharedSecret::new(["north"]);
    let until = |s: u64| WallTime::from_secs(1_700_000_000 + s);
    let (user, password) = secret.issue("carol", until(100)).unwrap();
    let carol = (user.as_str(), password.as_str());
    assert_eq!(world.ask_as(carol, CLIENT, method::ALLOCATE, &[udp()]).code(), 0);
    world.pass(100);
    assert_eq!(world.ask_as(carol, "8.8.8.8:1", method::ALLOCATE, &[udp()]).code(), 401);
    assert_eq!(world.ask_as(carol, CLIENT, method::REFRESH, &[]).code(), 0);
    // The same user with new credentials is the same user, another one is not.
    let (user, password) = secret.issue("carol", until(900)).unwrap();
    let renewed = (user.as_str(), password.as_str());
    assert_eq!(world.ask_as(renewed, CLIENT, method::REFRESH, &[]).code(), 0);
    let (user, password) = secret.issue("dave", until(900)).unwrap();
    let dave = (user.as_str(), password.as_str());
    assert_eq!(world.ask_as(dave, CLIENT, method::REFRESH, &[]).code(), 441);
    let (_, foreign) = SharedSecret::new(["south"]).issue("carol", until(900)).unwrap();
    let forged = (renewed.0, foreign.as_str());
    assert_eq!(world.ask_as(forged, "8.8.8.8:2", method::ALLOCATE, &[udp()]).code(), 401);
}

#[test]
fn r6_6_answers_to_strangers_are_short_and_limited_for_each_source() {
    let mut world = world(|c| (c.limits.unproved_per_s, c.limits.unproved_burst) = (10, 20));
    let challenge = world.bare(CLIENT, method::ALLOCATE, &[udp()]).unwrap();
    // Header, the bare code, realm and nonce: what RFC 8489 §9.2.4 demands and no byte more.
    assert_eq!(challenge.0.len(), 20 + 8 + (4 + 12) + (4 + 16));
    let many = |world: &mut World, from: &str, of| {
        (0..100).filter(|_| world.bare(from, of, &[]).is_some()).count()
    };
    assert_eq!(many(&mut world, CLIENT, method::ALLOCATE), 19);
    assert_eq!(many(&mut world, CLIENT, stun::BINDING), 0, "of one budget");
    assert_eq!(many(&mut world, "8.8.4.4:1", stun::BINDING), 20, "others have their own");
    assert_eq!(world.refused(Refused::Rate), 261);
    world.pass(1);
    assert_eq!(many(&mut world, CLIENT, method::REFRESH), 10);
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
