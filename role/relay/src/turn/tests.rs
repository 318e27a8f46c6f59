//! The server in virtual time, by the sections of its RFCs: a world for the tests below.

mod allocations;
mod credentials;
mod peers;

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
