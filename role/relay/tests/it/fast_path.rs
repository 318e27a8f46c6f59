//! Established streams in the kernel: a relay and its phones on two ends of a cable between network
//! namespaces. Without the rights for those the tests say so and prove nothing.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::fast_path::FastPath;
use net::raw::{RawPacket, RawUdp};
use relay::{Config, Direction, Interface, Protocol, Relay};

use crate::peers::Peer;
use crate::virtual_net::{SESSION, description};

const PATIENCE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(150);
const RELAY: [u8; 4] = [10, 78, 0, 2];

/// Two namespaces and a cable between them; gone when this is dropped.
struct Cable {
    names: [String; 2],
    /// Keeps the phones' end able to take what the kernel forwards, as the other end of a wire is.
    phones_end: Option<Arc<FastPath>>,
}

impl Cable {
    /// `None` where namespaces cannot be made.
    fn new(name: &str) -> Option<Self> {
        let names = ["p", "r"].map(|end| format!("wb-{name}-{}-{end}", std::process::id()));
        let made = names.iter().all(|room| ip(&["netns", "add", room]));
        let mut cable = Self { names, phones_end: None };
        if !made {
            #[allow(clippy::print_stderr)] // A skipped test says so.
            {
                eprintln!("skipped: network namespaces need root");
            }
            return None;
        }
        let [phones, relay] = &cable.names;
        let line = ["link", "add", "ph", "netns", phones, "type", "veth", "peer", "name", "rl"];
        assert!(ip(&[&line[..], &["netns", relay]].concat()));
        for (room, dev, hosts) in [(phones, "ph", &[1, 3, 4][..]), (relay, "rl", &[2])] {
            for host in hosts {
                let addr = format!("10.78.0.{host}/24");
                assert!(ip(&["-n", room, "addr", "add", &addr, "dev", dev]));
            }
            for dev in ["lo", dev] {
                assert!(ip(&["-n", room, "link", "set", dev, "up"]));
            }
        }
        let end = cable.inside(0, || FastPath::attach(&["ph".to_owned()], 1..=1));
        cable.phones_end = Some(end.expect("root may attach"));
        Some(cable)
    }

    /// What `make` makes in the phones' (0) or the relay's (1) namespace.
    fn inside<T: Send>(&self, end: usize, make: impl FnOnce() -> T + Send) -> T {
        let path = format!("/var/run/netns/{}", self.names[end]);
        std::thread::scope(|scope| {
            let enter = move || {
                let room = File::open(path).unwrap();
                // SAFETY: the call takes a live descriptor of a network namespace; this thread ends
                // with what it makes.
                let entered = unsafe { libc::setns(room.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0);
                make()
            };
            scope.spawn(enter).join().unwrap()
        })
    }

    fn relay(&self, fast_path: &[&str]) -> Relay {
        let config = Config {
            interfaces: vec![Interface::new("default", Ipv4Addr::from(RELAY).into())],
            port_min: 30_000,
            port_max: 30_099,
            threads: 1,
            fast_path: fast_path.iter().map(|&name| name.to_owned()).collect(),
            ..Config::default()
        };
        self.inside(1, || Relay::start(config, |_| {})).unwrap()
    }

    fn phone(&self, host: u8) -> Phone {
        let rtp = self.socket(host, 0);
        let peer = Peer::plain(&rtp.local_addr().unwrap().to_string(), host.into());
        Phone { peer, rtp }
    }

    fn socket(&self, host: u8, port: u16) -> UdpSocket {
        let at = SocketAddr::from(([10, 78, 0, host], port));
        let socket = self.inside(0, || UdpSocket::bind(at)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Whether a program of XDP is on the relay's end.
    fn has_program(&self) -> bool {
        let show = ["-n", &self.names[1], "-d", "link", "show", "rl"];
        let out = Command::new("ip").args(show).output().unwrap();
        String::from_utf8_lossy(&out.stdout).contains("prog/xdp")
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.phones_end = None;
        for room in &self.names {
            let _ = ip(&["netns", "del", room]);
        }
    }
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).output().is_ok_and(|out| out.status.success())
}

struct Phone {
    peer: Peer,
    rtp: UdpSocket,
}

impl Phone {
    fn say(&mut self) -> Vec<u8> {
        let packet = self.peer.rtp();
        self.rtp.send_to(&packet, self.peer.remote.unwrap()).unwrap();
        packet
    }

    /// The next packet, from the relay's port.
    fn hear(&self) -> Vec<u8> {
        let mut buf = [0; 2048];
        let (len, from) = self.rtp.recv_from(&mut buf).unwrap();
        assert_eq!(Some(from), self.peer.remote);
        buf[..len].to_vec()
    }

    /// Whether nothing comes for a while.
    fn hears_nothing(&self) -> bool {
        self.rtp.set_read_timeout(Some(QUIET)).unwrap();
        let nothing = self.rtp.recv(&mut [0; 2048]).is_err();
        self.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        nothing
    }
}

/// Ports are bound by who commands: in the relay's namespace.
fn connect(cable: &Cable, relay: &Relay, a: &mut Phone, b: &mut Phone) {
    let offer = description(Direction::FromCaller, 1, &a.peer.describe(None), Protocol::Rtp);
    let offered = cable.inside(1, || relay.offer(&offer)).unwrap();
    b.peer.take(&offered, false);
    let answer = b.peer.describe(Some(&offered));
    let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    a.peer.take(&relay.answer(&answer).unwrap(), true);
}

/// One packet each way, as it was said.
fn exchange(a: &mut Phone, b: &mut Phone) {
    let said = a.say();
    assert_eq!(b.hear(), said);
    let said = b.say();
    assert_eq!(a.hear(), said);
}

/// Talks until the kernel forwards both ways; how many packets that took.
fn establish(relay: &Relay, a: &mut Phone, b: &mut Phone) -> u64 {
    let end = Instant::now() + PATIENCE;
    let mut said = 0;
    while relay.kernel_streams().0 < 2 {
        assert!(Instant::now() < end, "not forwarded by the kernel");
        exchange(a, b);
        said += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    said
}

/// R5.1, R5.13: a stream that is plain and known goes through the kernel, counted to the packet.
#[test]
fn an_established_stream_is_forwarded_by_the_kernel_and_counted_exactly() {
    let Some(cable) = Cable::new("est") else { return };
    let relay = cable.relay(&["rl"]);
    assert!(cable.has_program());
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    let mut said = establish(&relay, &mut a, &mut b);
    let end = Instant::now() + PATIENCE;
    // A look at the session takes in what the kernel has counted.
    let query = || relay.query(SESSION).unwrap();
    assert_eq!(query().legs.len(), 2);
    let before = relay.kernel_streams().1;
    for _ in 0..500 {
        exchange(&mut a, &mut b);
    }
    // Two are lost on the way to us, one each way.
    (a.peer.sequence, b.peer.sequence) = (a.peer.sequence + 1, b.peer.sequence + 1);
    exchange(&mut a, &mut b);
    said += 501;
    while query().legs.iter().any(|leg| leg.packets_received < said) {
        assert!(Instant::now() < end, "not counted");
    }
    for leg in query().legs {
        let bytes = said * 172;
        let counted = (leg.packets_received, leg.packets_sent, leg.bytes_received, leg.bytes_sent);
        assert_eq!(counted, (said, said, bytes, bytes));
        assert_eq!((leg.lost, leg.moves, leg.dropped_injected), (1, 0, 0));
    }
    let (streams, forwarded) = relay.kernel_streams();
    assert_eq!((streams, forwarded - before), (2, 2 * 501), "all of them by the kernel");
    let stats = relay.delete(SESSION, None).unwrap();
    assert_eq!(stats.legs[0].packets_received, said);
    assert_eq!(relay.kernel_streams().0, 0);
    drop(relay);
    assert!(!cable.has_program(), "nothing is left");
}

/// A packet that comes with a whole checksum, as from any wire, leaves with one that its receiver
/// finds right; on a cable between namespaces it has none otherwise.
#[test]
fn a_checksum_is_right_after_the_kernel_readdressed_its_packet() {
    let Some(cable) = Cable::new("sum") else { return };
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    establish(&relay, &mut a, &mut b);
    let mut raw = cable.inside(0, || RawUdp::new(false)).unwrap();
    let (from, to) = (a.peer.addr, a.peer.remote.unwrap());
    let forwarded = || (relay.query(SESSION).unwrap().legs.len(), relay.kernel_streams());
    let before = forwarded();
    for n in 0..500_u16 {
        let mut payload = a.peer.rtp();
        payload[12..14].copy_from_slice(&n.wrapping_mul(7919).to_be_bytes());
        let packet = RawPacket { from, to, payload: &payload, tos: 0xb8, dont_fragment: true };
        assert_eq!(raw.send(&[packet]).unwrap(), 1);
        assert_eq!(b.hear(), payload);
    }
    let from_a = relay.query(SESSION).unwrap().legs[0].tos;
    assert_eq!(from_a, Some(net::tos::EF), "R5.8: the mark it came with is told");
    let (_, (streams, packets)) = forwarded();
    assert_eq!((streams, packets - before.1.1), (2, 500), "by the kernel");
}

/// R5.13: the kernel's way lets nothing in that the sockets' would not.
#[test]
fn strangers_and_other_sources_do_not_pass_by_the_kernel() {
    let Some(cable) = Cable::new("inj") else { return };
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    establish(&relay, &mut a, &mut b);
    assert_eq!(relay.query(SESSION).unwrap().legs.len(), 2);
    let forwarded = relay.kernel_streams().1;
    // From another host, from another port of the same, each in the stream's own sequence.
    for stranger in [cable.socket(4, 0), cable.socket(1, 0)] {
        for _ in 0..50 {
            let packet = a.peer.rtp();
            stranger.send_to(&packet, a.peer.remote.unwrap()).unwrap();
        }
    }
    assert!(b.hears_nothing());
    assert_eq!(relay.query(SESSION).unwrap().legs[0].dropped_injected, 100);
    assert_eq!(relay.kernel_streams(), (2, forwarded), "and the streams go on");
    // Nor does it swallow what is not RTP: a report goes its own way.
    a.rtp.send_to(&a.peer.rtcp(), a.peer.remote.unwrap()).unwrap();
    let end = Instant::now() + PATIENCE;
    while relay.query(SESSION).unwrap().legs[0].rtcp_received == 0 {
        assert!(Instant::now() < end, "the report was not heard");
    }
    exchange(&mut a, &mut b);
}

/// A command holds from the packet after it: who names another address in a new offer is sent the
/// next packet there. What may be forwarded again is.
#[test]
fn a_new_offer_takes_the_streams_back_at_once() {
    let Some(cable) = Cable::new("cmd") else { return };
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    establish(&relay, &mut a, &mut b);
    let before = a;
    a = cable.phone(4);
    connect(&cable, &relay, &mut a, &mut b);
    assert_eq!(relay.kernel_streams().0, 0);
    let said = b.say();
    assert_eq!(a.hear(), said);
    assert!(before.hears_nothing());
    establish(&relay, &mut a, &mut b);
}

/// R5.13, R6.3: a NAT that gives the phone another port is followed as fast as by the sockets, in
/// both directions.
#[test]
fn a_peer_that_moves_is_followed_while_the_kernel_forwards() {
    let Some(cable) = Cable::new("mov") else { return };
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    establish(&relay, &mut a, &mut b);
    a.rtp = cable.socket(1, 0);
    let moved = Instant::now();
    loop {
        a.say();
        let said = b.say();
        a.rtp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut buf = [0; 2048];
        if a.rtp.recv(&mut buf).is_ok_and(|len| buf[..len] == said) {
            break;
        }
        assert!(moved.elapsed() < Duration::from_secs(2), "not followed");
    }
    // A whole second is allowed, on a busy machine as well.
    assert!(moved.elapsed() < Duration::from_millis(1200), "{:?}", moved.elapsed());
    while !b.hears_nothing() {}
    a.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
    establish(&relay, &mut a, &mut b);
    assert_eq!(relay.query(SESSION).unwrap().legs[0].moves, 1);
}

/// A sender that starts again with another SSRC or far from its sequence is heard without a gap.
#[test]
fn a_source_that_starts_again_is_heard_by_the_sockets_and_then_by_the_kernel() {
    let Some(cable) = Cable::new("src") else { return };
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    establish(&relay, &mut a, &mut b);
    a.peer.ssrc = 77;
    a.peer.sequence = 40_000;
    for _ in 0..30 {
        exchange(&mut a, &mut b);
    }
    establish(&relay, &mut a, &mut b);
    b.peer.sequence = b.peer.sequence.wrapping_add(20_000);
    for _ in 0..30 {
        exchange(&mut a, &mut b);
    }
    establish(&relay, &mut a, &mut b);
}

#[test]
fn where_there_is_no_fast_path_the_sockets_carry_the_call() {
    let Some(cable) = Cable::new("non") else { return };
    let missing = cable.inside(1, || FastPath::attach(&["eth7".to_owned()], 1..=2)).unwrap_err();
    assert!(missing.to_string().starts_with("interface eth7: "), "{missing}");
    let relay = cable.relay(&["eth7"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    for _ in 0..30 {
        exchange(&mut a, &mut b);
    }
    assert_eq!(relay.kernel_streams(), (0, 0));
}

/// A veth whose other end has no program drops all that the kernel forwards: no call stays silent.
#[test]
fn where_the_driver_drops_what_the_kernel_forwards_the_sockets_take_over() {
    let Some(mut cable) = Cable::new("drp") else { return };
    cable.phones_end = None;
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    let end = Instant::now() + PATIENCE;
    b.rtp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    // Until it has been tried and given up.
    let (mut lost, mut tried) = (0, false);
    while !tried || relay.kernel_streams().0 > 0 {
        tried |= relay.kernel_streams().0 > 0;
        a.say();
        b.say();
        lost += u32::from(b.rtp.recv(&mut [0; 2048]).is_err());
        assert!(Instant::now() < end, "still forwarded by the kernel; {lost} lost");
    }
    a.rtp.set_nonblocking(true).unwrap();
    while a.rtp.recv(&mut [0; 2048]).is_ok() {}
    a.rtp.set_nonblocking(false).unwrap();
    while !b.hears_nothing() {}
    for _ in 0..50 {
        exchange(&mut a, &mut b);
    }
    assert_eq!(relay.kernel_streams().0, 0, "for good");
}

/// R5.4: packets of ZRTP are none of the kernel's, which knows RTP alone: they come to the sockets and
/// pass untouched, and the streams beside them stay where they are.
#[test]
fn r5_4_packets_of_zrtp_pass_by_the_sockets_while_the_kernel_forwards() {
    let Some(cable) = Cable::new("zrtp") else { return };
    let relay = cable.relay(&["rl"]);
    let (mut a, mut b) = (cable.phone(1), cable.phone(3));
    connect(&cable, &relay, &mut a, &mut b);
    establish(&relay, &mut a, &mut b);
    let before = relay.kernel_streams();
    // A Ping's shape (RFC 6189 §5): the preamble, a number, the cookie, a source, and a body.
    let mut ping = vec![0x10, 0, 0, 7];
    ping.extend(b"ZRTP");
    ping.extend([0, 0, 0, 9]);
    ping.extend([0x5a; 24]);
    for _ in 0..20 {
        a.rtp.send_to(&ping, a.peer.remote.unwrap()).unwrap();
        assert_eq!(b.hear(), ping);
        b.rtp.send_to(&ping, b.peer.remote.unwrap()).unwrap();
        assert_eq!(a.hear(), ping);
    }
    assert_eq!(relay.kernel_streams(), before, "the kernel took none, and keeps its streams");
    exchange(&mut a, &mut b);
}
