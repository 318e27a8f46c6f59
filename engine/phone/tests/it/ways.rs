//! R6.4: ways are found once for a network, and known for the next call.

use bytes::Bytes;
use media::traversal::TraversalConfig;
use phone::{Account, Config, Link, NetworkId, Phone, PhoneEvent, PhoneOutput, WayOutput};
use sansio::{Redacted, SeededEntropy, Transport};
use sip::Message;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const LOCAL: &str = "192.168.1.2:4000";
const SERVER: &str = "198.51.100.1:5060";
const MAPPED: &str = "203.0.113.1:50000";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A phone whose STUN server answers at once.
struct World {
    phone: Phone,
    now: Instant,
    /// STUN requests to the server.
    asked: usize,
    invites: Vec<Message>,
    events: Vec<PhoneEvent>,
}

impl World {
    fn new() -> Self {
        let account = Account {
            user: "alice".into(),
            domain: "example.com".into(),
            password: Redacted::new("secret".into()),
            display_name: String::new(),
            instance: "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into(),
        };
        let entropy = Box::new(SeededEntropy::new(1));
        let phone = Phone::new(account, Config::default(), entropy);
        let now = sansio::testing::epoch();
        let (invites, events) = (Vec::new(), Vec::new());
        let mut world = Self { phone, now, asked: 0, invites, events };
        let link = Link { transport: Transport::Udp, local: addr(LOCAL), server: addr(SERVER) };
        world.phone.handle_link_up(now, link);
        world.phone.set_network(now, NetworkId("home".into()));
        let stun = vec![addr(SERVER)];
        world.phone.set_ice(now, Some(TraversalConfig { stun, ..TraversalConfig::default() }));
        world
    }

    fn settle(&mut self) {
        while let Some(output) = self.phone.poll_output() {
            match output {
                PhoneOutput::SendSip(bytes) if bytes.starts_with(b"INVITE") => {
                    self.invites.push(Message::parse(bytes).unwrap());
                }
                PhoneOutput::SendSip(_) => {}
                PhoneOutput::SendMedia { call, to, bytes, .. } => {
                    let answer = self.answered(to, &bytes);
                    self.phone.handle_media(self.now, call, to, &answer);
                }
                PhoneOutput::Way { output: WayOutput::Send { to, bytes }, .. } => {
                    let answer = self.answered(to, &bytes);
                    self.phone.handle_prepared(self.now, to, &answer);
                }
                PhoneOutput::Way { output, .. } => panic!("{output:?}"),
                PhoneOutput::Event(event) => self.events.push(event),
            }
        }
    }

    fn answered(&mut self, to: SocketAddr, request: &[u8]) -> Vec<u8> {
        assert_eq!(to, addr(SERVER));
        self.asked += 1;
        let id = ice::stun::Message::parse(request).unwrap().transaction_id();
        ice::stun::Builder::new(ice::stun::Class::Success, id)
            .xor_mapped_address(addr(MAPPED))
            .finish_unsigned()
    }

    /// A call that is refused; what its INVITE offered.
    fn call(&mut self) -> String {
        let local = self.phone.prepared(self.now).unwrap_or_else(|| addr(LOCAL));
        self.phone.call(self.now, "bob", local).unwrap();
        self.settle();
        let invite = self.invites.pop().expect("an INVITE");
        let busy = sip::response_to(&invite, 486, "Busy Here").to_tag("b").build();
        self.phone.handle_sip(self.now, Bytes::copy_from_slice(busy.bytes()));
        self.settle();
        assert!(matches!(self.events.last(), Some(PhoneEvent::Ended { .. })), "{:?}", self.events);
        String::from_utf8_lossy(invite.body()).into_owned()
    }
}

#[test]
fn r6_4_the_second_call_on_a_network_sends_no_gathering_query() {
    let mut world = World::new();
    let offer = world.call();
    assert!(offer.contains("typ host") && offer.contains("203.0.113.1 50000 typ srflx"), "{offer}");
    assert_eq!(world.asked, 1);
    let again = world.call();
    assert!(again.contains("203.0.113.1 50000 typ srflx"), "{again}");
    assert_eq!(world.asked, 1, "what is known is not asked for");
    // The mapping may be gone after two minutes, and is for sure not that of another network.
    world.now += Duration::from_secs(121);
    world.phone.handle_timeout(world.now);
    world.call();
    assert_eq!(world.asked, 2);
    world.phone.set_network(world.now, NetworkId("train".into()));
    world.call();
    assert_eq!(world.asked, 3);
}

#[test]
fn r6_4_ways_that_are_prepared_cost_a_call_no_query_and_no_time() {
    let mut world = World::new();
    world.phone.prepare(world.now, addr(LOCAL));
    world.settle();
    assert_eq!((world.asked, world.phone.prepared(world.now)), (1, Some(addr(LOCAL))));
    let offer = world.call();
    assert!(offer.contains("typ srflx"), "{offer}");
    assert_eq!(world.asked, 1);
}

#[test]
fn r6_1_a_call_given_up_before_its_candidates_are_there_was_never_placed() {
    let mut world = World::new();
    let call = world.phone.call(world.now, "bob", addr(LOCAL)).unwrap();
    world.phone.hang_up(world.now, call).unwrap();
    while let Some(output) = world.phone.poll_output() {
        if let PhoneOutput::SendSip(bytes) = output {
            assert!(!bytes.starts_with(b"INVITE") && !bytes.starts_with(b"CANCEL"));
        }
    }
    assert!(!world.phone.is_talking(call));
}
