//! Gathering against servers made of their own messages, in virtual time.

use super::*;
use ice::stun::{Builder, Class, Message};
use ice::turn::{attribute, method};
use sansio::SeededEntropy;

const LOCAL: &str = "192.168.1.2:4000";
const MAPPED: &str = "203.0.113.1:50000";
const SERVER: &str = "198.51.100.1:3478";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(transport: Transport) -> TurnServer {
    let login = Login { user: "alice".into(), password: "secret".into() };
    TurnServer { addr: addr(SERVER), transport, login, cost_ms: 0 }
}

/// A traversal on a network.
struct World {
    now: Instant,
    ways: Traversal,
    /// Datagrams come to nothing.
    blocked: bool,
    datagrams: u32,
    /// Servers elsewhere, and how far; none answers where that is nothing.
    far: Vec<(SocketAddr, Option<Duration>)>,
    streams: Vec<u8>,
    gathered: Option<Instant>,
    began: Instant,
}

/// When, by which stream and from whom, and what.
type Due = (Instant, (Option<u8>, SocketAddr), Vec<u8>);

const RTT: Duration = Duration::from_millis(50);

impl World {
    fn new(config: TraversalConfig, blocked: bool) -> Self {
        let now = sansio::testing::epoch();
        let ways = Traversal::new(config, addr(LOCAL), now, &mut SeededEntropy::new(1));
        let (datagrams, streams, gathered) = (0, Vec::new(), None);
        let far = Vec::new();
        Self { now, ways, blocked, datagrams, far, streams, gathered, began: now }
    }

    fn begin(&mut self) {
        self.began = self.now;
        self.gathered = None;
        self.ways.begin(self.now);
        self.run(Duration::from_secs(5));
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut due: Vec<Due> = Vec::new();
        loop {
            while let Some(output) = self.ways.poll_output() {
                let at = self.now + RTT;
                match output {
                    TraversalOutput::Transmit { to, bytes } => {
                        self.datagrams += 1;
                        let far = self.far.iter().find(|(server, _)| *server == to);
                        let rtt = far.map_or(Some(RTT), |(_, rtt)| *rtt);
                        if let Some(rtt) = rtt.filter(|_| !self.blocked) {
                            due.push((self.now + rtt, (None, to), answer(to, &bytes)));
                        }
                    }
                    TraversalOutput::OpenStream { server } => {
                        self.streams.push(server);
                        due.push((at, (Some(server), addr(SERVER)), Vec::new()));
                    }
                    TraversalOutput::Stream { server, bytes } => {
                        due.push((at, (Some(server), addr(SERVER)), answer(addr(SERVER), &bytes)));
                    }
                    TraversalOutput::Event(TraversalEvent::Gathered) => {
                        self.gathered = Some(self.now);
                    }
                    TraversalOutput::CloseStream { .. } | TraversalOutput::Event(_) => {}
                }
            }
            due.sort_by_key(|(at, ..)| *at);
            let next = due.first().map(|(at, ..)| *at);
            let wakes = self.ways.poll_timeout();
            let Some(next) = next.into_iter().chain(wakes).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while due.first().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, (stream, from), bytes) = due.remove(0);
                match stream {
                    None => drop(self.ways.handle_datagram(self.now, from, &bytes)),
                    Some(server) => {
                        let event = match bytes.is_empty() {
                            true => StreamEvent::Up,
                            false => StreamEvent::Bytes(bytes.into()),
                        };
                        self.ways.handle_stream(self.now, server, event);
                    }
                }
            }
            self.ways.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn took(&self) -> Duration {
        self.gathered.expect("gathered") - self.began
    }

    fn kinds(&self) -> Vec<String> {
        let attributes = self.ways.attributes();
        let candidates = attributes.iter().filter(|(name, _)| name == "candidate");
        let kind = |value: &String| sdp::Candidate::parse(value).unwrap().kind;
        candidates.filter_map(|(_, value)| value.as_ref().map(kind)).collect()
    }
}

/// A server that lends, and says what it sees.
fn answer(server: SocketAddr, request: &[u8]) -> Vec<u8> {
    let message = Message::parse(request).unwrap();
    let id = message.transaction_id();
    let begin = |class| Builder::answer(Vec::new(), (message.method(), class), id);
    if message.method() == ice::stun::BINDING {
        return begin(Class::Success).xor_mapped_address(addr(MAPPED)).finish_unsigned();
    }
    if !message.has_integrity() {
        let error = begin(Class::Error).error(401, "");
        let error = error.attribute(attribute::REALM, b"example.org");
        return error.attribute(attribute::NONCE, b"nonce").finish_bare();
    }
    let good = begin(Class::Success).attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
    match message.method() {
        method::ALLOCATE => good
            .xor_address(attribute::XOR_RELAYED_ADDRESS, (server.ip(), 50_002).into())
            .xor_mapped_address(addr(MAPPED))
            .finish(&KEY),
        _ => good.finish(&KEY),
    }
}

/// MD5 of `alice:example.org:secret`.
const KEY: [u8; 16] = [
    0x54, 0x3e, 0x1a, 0xec, 0x5d, 0x36, 0x14, 0xf0, 0x31, 0x41, 0x65, 0x2d, 0x6a, 0xda, 0x51, 0xb2,
];

fn turn(transports: &[Transport]) -> TraversalConfig {
    let turn = transports.iter().map(|t| server(*t)).collect();
    TraversalConfig { turn, ..TraversalConfig::default() }
}

#[test]
fn r6_1_a_stun_server_tells_the_mapped_address_in_one_round_trip() {
    let config = TraversalConfig { stun: vec![addr(SERVER)], ..TraversalConfig::default() };
    let mut world = World::new(config, false);
    world.begin();
    assert_eq!((world.took(), world.datagrams), (RTT, 1));
    assert_eq!(world.kinds(), ["host", "srflx"]);
    assert_eq!(world.ways.default_addr(), addr(LOCAL));
}

#[test]
fn r6_1_datagrams_that_pass_are_all_that_is_asked_by() {
    let mut world = World::new(turn(&[Transport::Udp, Transport::Tcp, Transport::Tls]), false);
    world.begin();
    assert_eq!(world.took(), 2 * RTT);
    assert_eq!((world.datagrams, world.streams.len()), (2, 0), "R6.4: no stream is opened");
    assert_eq!(world.kinds(), ["host", "srflx", "relay"]);
    assert!(!world.ways.udp_is_silent());
}

#[test]
fn r6_1_where_datagrams_come_to_nothing_a_stream_lends_the_address() {
    let mut world = World::new(turn(&[Transport::Udp, Transport::Tcp]), true);
    world.begin();
    assert_eq!(world.took(), HEAD_START + 3 * RTT, "connect, and two requests");
    assert_eq!(world.streams, [1]);
    assert_eq!(world.kinds(), ["host", "relay"]);
    assert!(world.ways.udp_is_silent());
    // Who knows no ICE is told the borrowed address.
    assert_eq!(world.ways.default_addr(), addr("198.51.100.1:50002"));
    // On a network that is known for it nothing is waited for.
    let known = TraversalConfig { udp_silent: true, ..turn(&[Transport::Udp, Transport::Tcp]) };
    let mut world = World::new(known, true);
    world.begin();
    assert_eq!(world.took(), 3 * RTT);
}

#[test]
fn r6_4_the_next_call_asks_nothing_until_what_is_known_is_too_old() {
    let mut world = World::new(turn(&[Transport::Udp]), false);
    world.begin();
    let first = world.ways.attributes();
    let asked = world.ways.gathering_messages();
    let (again, _) = world.ways.recycle_or_close(world.now, true);
    world.ways = again.expect("it is fresh");
    world.ways.begin(world.now);
    world.run(Duration::from_secs(5));
    assert!(world.ways.is_gathered());
    assert_eq!(world.ways.gathering_messages(), asked, "no gathering query");
    assert_eq!(world.kinds(), ["host", "srflx", "relay"]);
    let credentials = |a: &[(String, Option<String>)]| {
        a.iter().filter(|(name, _)| name.starts_with("ice-")).cloned().collect::<Vec<_>>()
    };
    assert_ne!(credentials(&first), credentials(&world.ways.attributes()), "but it is another one");
    let until = world.ways.fresh_until().expect("behind a translator");
    assert!(world.ways.is_fresh(until - Duration::from_millis(1)) && !world.ways.is_fresh(until));
    let (none, closed) = world.ways.recycle_or_close(until, true);
    assert!(none.is_none());
    let refresh = closed.and_then(|mut ways| ways.poll_output());
    let Some(TraversalOutput::Transmit { bytes, .. }) = refresh else { panic!("{refresh:?}") };
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.method(), method::REFRESH, "what was borrowed is given back");
    assert_eq!(message.attribute(attribute::LIFETIME), Some(&[0; 4][..]));
}

#[test]
fn r6_1_by_relay_alone_nobody_learns_where_the_phone_is() {
    let config = TraversalConfig { relay_only: true, ..turn(&[Transport::Udp]) };
    let mut world = World::new(config, false);
    world.begin();
    assert_eq!(world.kinds(), ["relay"]);
    let text = format!("{:?} {}", world.ways.attributes(), world.ways.default_addr());
    assert!(!text.contains("192.168.1.2") && !text.contains("203.0.113.1"), "{text}");
}

#[test]
fn r6_1_servers_that_never_answer_hold_up_no_call() {
    let mut world = World::new(turn(&[Transport::Udp]), true);
    world.begin();
    assert_eq!(world.took(), GATHER_MAX);
    let config = TraversalConfig { stun: vec![addr(SERVER)], ..TraversalConfig::default() };
    let mut world = World::new(config, true);
    world.begin();
    assert!(world.took() <= Duration::from_millis(300));
    let mut world = World::new(TraversalConfig::default(), true);
    world.begin();
    assert_eq!(world.took(), Duration::ZERO);
}

/// Three servers so far away; the addresses that were borrowed, most wanted first.
fn borrow(far: [(u64, u16); 3], known: &[KnownDelay]) -> (World, Vec<String>) {
    let place = |n: usize| addr(&format!("198.51.100.{}:3478", n + 1));
    let login = Login { user: "alice".into(), password: "secret".into() };
    let one = |(n, (_, cost_ms)): (usize, &(u64, u16))| TurnServer {
        addr: place(n),
        transport: Transport::Udp,
        login: login.clone(),
        cost_ms: *cost_ms,
    };
    let turn = far.iter().enumerate().map(one).collect();
    let mut world = World::new(TraversalConfig { turn, ..TraversalConfig::default() }, false);
    let rtt = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
    world.far = far.iter().enumerate().map(|(n, (ms, _))| (place(n), rtt(*ms))).collect();
    world.ways.recall_delays(known);
    world.begin();
    let mut lent: Vec<(u32, String)> = Vec::new();
    for (name, value) in world.ways.attributes() {
        let candidate = value.as_deref().and_then(sdp::Candidate::parse);
        if let Some(c) = candidate.filter(|c| name == "candidate" && c.kind == "relay") {
            lent.push((c.priority, c.address));
        }
    }
    lent.sort();
    (world, lent.into_iter().rev().map(|(_, address)| address).collect())
}

#[test]
fn r6_2_of_three_regions_the_nearest_lends_and_the_next_stands_by() {
    let (world, lent) = borrow([(120, 0), (20, 0), (60, 0)], &[]);
    assert_eq!(lent, ["198.51.100.2", "198.51.100.3"]);
    assert_eq!(world.took(), Duration::from_millis(40), "two round trips to the nearest");
    assert_eq!(world.datagrams, 5, "three questions and two allocations");
    let delays = world.ways.delays();
    let of = |n: u8| {
        delays
            .iter()
            .find(|d| d.server.ip() == std::net::IpAddr::from([198, 51, 100, n]))
            .map(|d| d.delay)
    };
    assert_eq!((of(2), of(3)), (Some(Duration::from_millis(20)), Some(Duration::from_millis(60))));
    // What costs more counts as farther away, and is not waited for if it cannot be nearer.
    let (world, lent) = borrow([(120, 0), (20, 50), (60, 0)], &[]);
    assert_eq!(lent, ["198.51.100.3", "198.51.100.2"]);
    assert_eq!(world.took(), Duration::from_millis(120));
    let (world, lent) = borrow([(1_000, 30), (20, 0), (60, 0)], &[]);
    assert_eq!(lent, ["198.51.100.2", "198.51.100.3"]);
    assert_eq!(world.took(), Duration::from_millis(40));
}

#[test]
fn r6_2_delays_that_are_known_are_not_measured_and_a_dead_server_is_passed_over() {
    let (world, _) = borrow([(120, 0), (20, 0), (60, 0)], &[]);
    let mut known = world.ways.delays();
    // All three have to be known.
    let (transport, server) = (Transport::Udp, addr("198.51.100.1:3478"));
    known.push(KnownDelay { server, transport, delay: Duration::from_millis(120) });
    let (world, lent) = borrow([(120, 0), (20, 0), (60, 0)], &known);
    assert_eq!(lent, ["198.51.100.2", "198.51.100.3"]);
    assert_eq!(world.datagrams, 4, "two allocations, nothing else");
    // The nearest died: it is late after 150 ms, when the one that stands by lends already, and the
    // third is asked.
    let (world, lent) = borrow([(120, 0), (0, 0), (60, 0)], &known);
    assert_eq!(lent, ["198.51.100.3", "198.51.100.1"]);
    assert_eq!(world.took(), Duration::from_millis(150));
    let dead = |d: &KnownDelay| d.server.ip() == std::net::IpAddr::from([198, 51, 100, 2]);
    assert!(!world.ways.delays().iter().any(dead), "it is not known to be near any more");
}
