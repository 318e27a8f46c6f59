//! The same calls over real sockets on loopback, through the packet threads.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use relay::{
    Config, Direction, Interface, NgConduct, NgServer, Protocol, Relay, RelayError, RelayEvent,
    SessionId,
};

use crate::peers::Peer;
use crate::virtual_net::{SESSION, description};

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a packet that should not come to come.
const QUIET: Duration = Duration::from_millis(150);

/// A peer with its two sockets.
struct Phone {
    peer: Peer,
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Phone {
    fn new(host: u8, make: impl FnOnce(&str) -> Peer) -> Self {
        let ip = IpAddr::from([127, 0, 0, host]);
        let (rtp, rtcp) = pair(ip);
        let peer = make(&rtp.local_addr().unwrap().to_string());
        Self { peer, rtp, rtcp }
    }

    fn plain(host: u8) -> Self {
        Self::new(host, |addr| Peer::plain(addr, u32::from(host)))
    }

    fn sdes(host: u8) -> Self {
        Self::new(host, |addr| Peer::sdes(addr, u32::from(host)))
    }

    fn browser(host: u8) -> Self {
        Self::new(host, |addr| Peer::browser(addr, u32::from(host), Instant::now()))
    }

    fn say(&mut self) {
        let packet = self.peer.rtp();
        self.rtp.send_to(&packet, self.peer.remote.unwrap()).unwrap();
    }

    /// Waits for one packet; its sender. `None` when none comes in `patience`.
    fn hear(&mut self, patience: Duration) -> Option<u32> {
        let end = Instant::now() + patience;
        let mut buf = [0; 2048];
        while Instant::now() < end {
            self.rtp.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            let Ok((len, from)) = self.rtp.recv_from(&mut buf) else { continue };
            assert_eq!(Some(from), self.peer.remote);
            match self.peer.handle(Instant::now(), &buf[..len]) {
                Some(replies) => self.send_all(&replies),
                None => return Some(self.peer.open_rtp(&buf[..len]).expect("a whole packet")),
            }
        }
        None
    }

    /// Runs ICE and DTLS.
    fn establish(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.peer.is_ready() {
            assert!(Instant::now() < end, "no handshake");
            let packets = self.peer.poll(Instant::now());
            self.send_all(&packets);
            assert_eq!(self.hear(Duration::from_millis(30)), None);
        }
    }

    fn send_all(&self, packets: &[Vec<u8>]) {
        for packet in packets {
            self.rtp.send_to(packet, self.peer.remote.unwrap()).unwrap();
        }
    }

    fn report(&mut self) {
        let packet = self.peer.rtcp();
        let muxed = self.peer.remote == self.peer.remote_rtcp;
        let socket = if muxed { &self.rtp } else { &self.rtcp };
        socket.send_to(&packet, self.peer.remote_rtcp.unwrap()).unwrap();
    }

    fn hear_report(&mut self) -> Option<u32> {
        let muxed = self.peer.remote == self.peer.remote_rtcp;
        let socket = if muxed { &self.rtp } else { &self.rtcp };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buf = [0; 2048];
        let (len, from) = socket.recv_from(&mut buf).unwrap();
        assert_eq!(Some(from), self.peer.remote_rtcp);
        self.peer.open_rtcp(&buf[..len])
    }
}

fn pair(ip: IpAddr) -> (UdpSocket, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind((ip, 0)).unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1))
        {
            return (rtp, rtcp);
        }
    }
}

/// Each test has a range of its own: they run at the same time.
fn start(port_min: u16, change: impl FnOnce(&mut Config)) -> (Relay, Receiver<RelayEvent>) {
    let mut config = Config {
        interfaces: vec![Interface::default()],
        port_min,
        port_max: port_min + 99,
        threads: 2,
        ..Config::default()
    };
    change(&mut config);
    let (tx, rx) = sync_channel(1000);
    let relay = Relay::start(config, move |event| drop(tx.send(event))).unwrap();
    (relay, rx)
}

fn connect(relay: &Relay, a: &mut Phone, b: &mut Phone, toward: Protocol) {
    let offer = description(Direction::FromCaller, 1, &a.peer.describe(None), toward);
    let offered = relay.offer(&offer).unwrap();
    b.peer.take(&offered, false);
    let answer = b.peer.describe(Some(&offered));
    let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
    a.peer.take(&relay.answer(&answer).unwrap(), true);
}

fn assert_talking(a: &mut Phone, b: &mut Phone) {
    for _ in 0..5 {
        a.say();
        assert_eq!(b.hear(PATIENCE), Some(a.peer.ssrc));
        b.say();
        assert_eq!(a.hear(PATIENCE), Some(b.peer.ssrc));
    }
    a.report();
    assert_eq!(b.hear_report(), Some(a.peer.ssrc));
    b.report();
    assert_eq!(a.hear_report(), Some(b.peer.ssrc));
}

#[test]
fn a_relay_under_a_controller_ends_with_its_server() {
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        let ours = |name: &String| name.starts_with("relay-") || name.starts_with("ng-");
        tasks.filter_map(name).filter(ours).count()
    };
    let config = Config { threads: 2, ..Config::default() };
    let server =
        NgServer::start(config, "127.0.0.1:0".parse().unwrap(), NgConduct::new(QUIET)).unwrap();
    // A thread takes its name once it runs.
    let await_threads = |count| {
        let end = Instant::now() + PATIENCE;
        while threads() != count {
            assert!(Instant::now() < end, "{} threads, not {count}", threads());
            std::thread::yield_now();
        }
    };
    await_threads(4);
    drop(server);
    await_threads(0);
}

/// A host with several addresses answers from the one it is talked to at (RFC 4961), also where it
/// listens on all of them.
#[test]
fn who_listens_on_all_addresses_answers_from_the_one_it_is_talked_to_at() {
    for socket_per_port in [false, true] {
        let mut interface = Interface::new("all", IpAddr::from([0, 0, 0, 0]));
        interface.advertise = Some(IpAddr::from([127, 0, 0, 1]));
        let config = Config {
            interfaces: vec![interface],
            port_min: 24_400,
            port_max: 24_499,
            threads: 1,
            socket_per_port,
            ..Config::default()
        };
        let relay = Relay::start(config, |_| {}).unwrap();
        let (mut a, mut b) = (Phone::plain(2), Phone::plain(3));
        let offer = description(Direction::FromCaller, 1, &a.peer.describe(None), Protocol::Rtp);
        let offered = relay.offer(&offer).unwrap();
        b.peer.take(&offered, false);
        let answer = b.peer.describe(Some(&offered));
        let answer = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
        a.peer.take(&relay.answer(&answer).unwrap(), true);
        a.say();
        assert!(b.hear(PATIENCE).is_some());
        if socket_per_port {
            // The kernel chooses by its routes: that is what one socket for all is better at.
            continue;
        }
        // From now on B talks to another address of this host, and expects answers from there.
        let mut elsewhere = b.peer.remote.unwrap();
        elsewhere.set_ip(IpAddr::from([127, 0, 0, 9]));
        b.peer.remote = Some(elsewhere);
        b.say();
        assert!(a.hear(PATIENCE).is_some());
        a.say();
        assert!(b.hear(PATIENCE).is_some(), "from {elsewhere}");
    }
}

/// R5.8: what leaves is marked, by one socket for all ports and by one for each, RTP and RTCP; and
/// what mark the peer's packets arrive with is told, so that a network that takes marks off shows.
#[test]
fn r5_8_packets_are_marked_and_the_marks_of_those_that_come_are_told() {
    for (socket_per_port, port_min) in [(false, 24_500), (true, 24_600)] {
        let (relay, _) = start(port_min, |config| {
            config.socket_per_port = socket_per_port;
            config.interfaces[0].tos = net::tos::EF;
        });
        let (mut a, mut b) = (Phone::plain(31), Phone::plain(32));
        connect(&relay, &mut a, &mut b, Protocol::Rtp);
        let mark = |socket: &UdpSocket| {
            let mut buf = [0; 2048];
            let end = Instant::now() + PATIENCE;
            loop {
                match net::tos::recv(socket, &mut buf) {
                    Ok(Some(packet)) => return packet.tos,
                    _ => assert!(Instant::now() < end, "nothing came"),
                }
            }
        };
        for socket in [&b.rtp, &b.rtcp] {
            net::tos::watch(socket).unwrap();
        }
        net::tos::mark(&a.rtp, false, net::tos::EF);
        a.say();
        assert_eq!(mark(&b.rtp), Some(net::tos::EF), "per port: {socket_per_port}");
        a.report();
        assert_eq!(mark(&b.rtcp), Some(net::tos::EF));
        b.say();
        assert!(a.hear(PATIENCE).is_some());
        let told: Vec<_> = relay.query(SESSION).unwrap().legs.iter().map(|l| l.tos).collect();
        assert_eq!(told, [Some(net::tos::EF), Some(0)], "per port: {socket_per_port}");
    }
}

#[test]
fn plain_to_plain_and_the_ports_are_freed_at_the_end() {
    let (relay, events) = start(21_000, |_| {});
    let (mut a, mut b) = (Phone::plain(11), Phone::plain(12));
    connect(&relay, &mut a, &mut b, Protocol::Rtp);
    assert_talking(&mut a, &mut b);
    let (session, branch) = (SESSION, None);
    assert_eq!(events.recv_timeout(PATIENCE), Ok(RelayEvent::MediaStarted { session, branch }));
    let port = a.peer.remote.unwrap();
    assert!(UdpSocket::bind(port).is_err(), "taken");
    let stats = relay.delete(SESSION, None).unwrap();
    assert_eq!((stats.legs[0].packets_received, stats.legs[1].packets_sent), (5, 5));
    assert_eq!((relay.sessions(), relay.ports_in_use()), (0, 0));
    let end = Instant::now() + PATIENCE;
    while UdpSocket::bind(port).is_err() {
        assert!(Instant::now() < end, "not freed");
    }
    assert_eq!(relay.query(SESSION), None);
}

#[test]
fn plain_to_sdes() {
    let (relay, _events) = start(21_100, |_| {});
    let (mut a, mut b) = (Phone::plain(13), Phone::sdes(14));
    connect(&relay, &mut a, &mut b, Protocol::Srtp);
    assert_talking(&mut a, &mut b);
}

/// R5.10
#[test]
fn sdes_to_browser_with_rtcp_over_two_ports_and_over_one() {
    let (relay, _events) = start(21_200, |_| {});
    let (mut a, mut b) = (Phone::sdes(15), Phone::browser(16));
    connect(&relay, &mut a, &mut b, Protocol::WebRtc);
    b.establish();
    assert_talking(&mut a, &mut b);
}

/// R5.13
#[test]
fn injection_is_refused_and_a_move_is_followed_after_silence() {
    let (relay, _events) = start(21_300, |_| {});
    let (mut a, mut b) = (Phone::plain(17), Phone::plain(18));
    connect(&relay, &mut a, &mut b, Protocol::Rtp);
    assert_talking(&mut a, &mut b);

    let thief = UdpSocket::bind("127.0.0.99:0").unwrap();
    let mut forged = Peer::plain("127.0.0.99:9", a.peer.ssrc);
    forged.sequence = a.peer.sequence;
    for _ in 0..50 {
        thief.send_to(&forged.rtp(), a.peer.remote.unwrap()).unwrap();
    }
    assert_eq!(b.hear(QUIET), None);
    assert_eq!(relay.query(SESSION).unwrap().legs[0].dropped_injected, 50);

    // A NAT gave the phone another port; its stream went silent and goes on from there.
    a.say();
    assert_eq!(b.hear(PATIENCE), Some(a.peer.ssrc));
    let (rtp, _) = pair(IpAddr::from([127, 0, 0, 17]));
    a.rtp = rtp;
    let end = Instant::now() + PATIENCE;
    let mut tried = 0;
    while b.hear(Duration::from_millis(40)).is_none() {
        assert!(Instant::now() < end, "not followed");
        a.say();
        tried += 1;
    }
    assert!(tried > 5, "followed before the old path was silent for half a second");
    b.say();
    assert_eq!(a.hear(PATIENCE), Some(b.peer.ssrc));
    assert_eq!(relay.query(SESSION).unwrap().legs[0].moves, 1);
}

#[test]
fn exhausted_ports_are_a_typed_error() {
    let (relay, _events) = start(21_400, |config| config.port_max = config.port_min + 5);
    let phone = Peer::plain("127.0.0.19:4000", 1);
    let mut d = description(Direction::FromCaller, 1, &phone.describe(None), Protocol::Rtp);
    // A foreign socket on one of three pairs: it is stepped over, and one session fits.
    let _squatter = UdpSocket::bind("127.0.0.1:21401").unwrap();
    relay.offer(&d).unwrap();
    d.session = SessionId(8);
    assert!(matches!(relay.offer(&d), Err(RelayError::PortsExhausted { .. })));
    assert_eq!((relay.sessions(), relay.ports_in_use()), (1, 2));
    relay.delete(SESSION, None).unwrap();
    relay.offer(&d).unwrap();
}

/// A flood overruns the sockets' queues; afterwards the stream is there as before.
#[test]
fn a_stream_survives_an_overrun() {
    let (relay, _events) = start(21_500, |config| config.threads = 1);
    let (mut a, mut b) = (Phone::plain(20), Phone::sdes(21));
    connect(&relay, &mut a, &mut b, Protocol::Srtp);
    assert_talking(&mut a, &mut b);
    for round in 0..4 {
        for _ in 0..5000 {
            let packet = a.peer.rtp();
            a.rtp.send_to(&packet, a.peer.remote.unwrap()).unwrap();
        }
        let mut heard = 0;
        while b.hear(QUIET).is_some() {
            heard += 1;
        }
        assert!(heard > 0, "round {round}");
        assert_talking(&mut a, &mut b);
    }
}

#[test]
fn silence_is_reported() {
    let (relay, events) = start(21_600, |config| config.silence_s = 1);
    let (mut a, mut b) = (Phone::plain(22), Phone::plain(23));
    connect(&relay, &mut a, &mut b, Protocol::Rtp);
    assert_talking(&mut a, &mut b);
    let end = Instant::now() + PATIENCE;
    let silent = RelayEvent::MediaSilent { session: SESSION };
    while events.recv_timeout(PATIENCE).unwrap() != silent {
        assert!(Instant::now() < end);
    }
}

#[test]
fn a_hundred_sessions_come_and_go_while_media_flows() {
    let (relay, _events) = start(22_000, |config| config.port_max = 22_999);
    let (mut a, mut b) = (Phone::plain(24), Phone::plain(25));
    connect(&relay, &mut a, &mut b, Protocol::Rtp);
    let phone = Peer::plain("127.0.0.26:4000", 1);
    for round in 0..3_u64 {
        for n in 0..100 {
            let sdp = phone.describe(None);
            let mut d = description(Direction::FromCaller, 1, &sdp, Protocol::WebRtc);
            d.session = SessionId(1000 * round + n + 100);
            relay.offer(&d).unwrap();
        }
        assert_talking(&mut a, &mut b);
        for n in 0..100 {
            assert!(relay.delete(SessionId(1000 * round + n + 100), None).is_some());
        }
    }
    assert_eq!((relay.sessions(), relay.ports_in_use()), (1, 2));
}

#[test]
fn the_threads_end_with_the_last_handle() {
    let (relay, events) = start(21_700, |_| {});
    let other = relay.clone();
    drop(relay);
    assert_eq!(other.sessions(), 0);
    drop(other);
    assert!(events.recv_timeout(PATIENCE).is_err(), "the callback is gone with its threads");
}

#[test]
fn a_peer_that_refuses_packets_does_not_deafen_its_socket() {
    let (relay, _events) = start(21_800, |_| {});
    let (mut a, mut b) = (Phone::plain(27), Phone::plain(28));
    connect(&relay, &mut a, &mut b, Protocol::Rtp);
    assert_talking(&mut a, &mut b);
    // The callee's port is closed for a while: each packet comes back as an ICMP error.
    let addr: SocketAddr = b.peer.addr;
    let (spare, _) = pair(addr.ip());
    drop(std::mem::replace(&mut b.rtp, spare));
    for _ in 0..50 {
        a.say();
    }
    std::thread::sleep(QUIET);
    b.rtp = UdpSocket::bind(addr).unwrap();
    assert_talking(&mut a, &mut b);
}

#[test]
fn settings_that_cannot_serve_are_refused_at_the_start() {
    let refused = |interfaces| {
        let config = Config { interfaces, ..Config::default() };
        Relay::start(config, |_| {}).unwrap_err().to_string()
    };
    assert!(refused(Vec::new()).contains("no interface"));
    let any = Interface::new("wan", IpAddr::from([0, 0, 0, 0]));
    assert!(refused(vec![any]).contains("wan must advertise"));
}

/// An address that this machine does not have: said at the first offer, without trying each port.
#[test]
fn an_address_that_is_not_here_is_a_typed_error() {
    let elsewhere = Interface::new("wan", IpAddr::from([203, 0, 113, 9]));
    let (relay, _events) = start(21_900, |config| config.interfaces = vec![elsewhere]);
    let phone = Peer::plain("127.0.0.29:4000", 1);
    let d = description(Direction::FromCaller, 1, &phone.describe(None), Protocol::Rtp);
    let error = relay.offer(&d).unwrap_err();
    assert!(matches!(error, RelayError::PortsRefused { .. }), "{error}");
    assert_eq!((error.status(), relay.sessions()), (503, 0));
}
