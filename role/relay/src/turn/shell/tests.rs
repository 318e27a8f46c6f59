//! Real sockets, and the clients of coturn (Debian package `coturn`) as users of ours.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ice::stun::{Builder, Class, Message};
use ice::turn::{attribute as attr, channel_header, method};
use sansio::WallTime;

use super::*;
use crate::turn::{NamedUsers, RelayAddress, long_term_key};

const REALM: &str = "example.org";
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a loopback address of its own, so that tests beside each other do not meet.
fn start(ip: &str, steer: bool, tls: Option<ServerTls>) -> Turn {
    net::install_crypto();
    let ip: IpAddr = ip.parse().unwrap();
    let mut config = TurnConfig {
        listen: vec![SocketAddr::new(ip, 0)],
        listen_tls: tls.iter().map(|_| SocketAddr::new(ip, 0)).collect(),
        relays: vec![RelayAddress { bind: ip, advertise: ip }],
        threads: 2,
        realm: REALM.to_owned(),
        steer,
        ..TurnConfig::default()
    };
    config.peers.allow = vec!["127.0.0.0/8".parse().unwrap()];
    config.limits.unproved_burst = 10_000;
    let users = NamedUsers::default().with("alice", REALM, "secret");
    let turn = Turn::start(config, TurnAccess { accounts: Arc::new(users), secret: None, tls });
    turn.unwrap()
}

/// A request with Alice's credentials.
fn signed(of: u16, id: u8, nonce: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let builder = Builder::answer(Vec::new(), (of, Class::Request), [id; 12]).username("alice");
    let builder = builder.attribute(attr::REALM, REALM.as_bytes()).attribute(attr::NONCE, nonce);
    let key = long_term_key("alice", REALM, "secret");
    attributes.iter().fold(builder, |b, (kind, value)| b.attribute(*kind, value)).finish(&key)
}

/// A client by `exchange`, which sends a message and waits for the answer: its relayed address,
/// with a channel 0x4000 to `peer`.
fn allocate(exchange: &mut dyn FnMut(&[u8]) -> Vec<u8>, peer: SocketAddr) -> SocketAddr {
    let udp = (attr::REQUESTED_TRANSPORT, &[17, 0, 0, 0][..]);
    let bare = Builder::answer(Vec::new(), (method::ALLOCATE, Class::Request), [1; 12]);
    let challenge = exchange(&bare.attribute(udp.0, udp.1).finish_bare());
    let challenge = Message::parse(&challenge).unwrap();
    assert_eq!(challenge.error_code(), Some(401));
    let nonce = challenge.attribute(attr::NONCE).unwrap();
    let answer = exchange(&signed(method::ALLOCATE, 2, nonce, &[udp]));
    let relayed = Message::parse(&answer).unwrap().xor_address(attr::XOR_RELAYED_ADDRESS).unwrap();
    let masked = Builder::new(Class::Request, [3; 12]).xor_address(1, peer).finish_bare();
    let bind =
        [(attr::CHANNEL_NUMBER, &[0x40, 0, 0, 0][..]), (attr::XOR_PEER_ADDRESS, &masked[24..])];
    let bound = exchange(&signed(method::CHANNEL_BIND, 3, nonce, &bind));
    assert_eq!(Message::parse(&bound).unwrap().class(), Class::Success);
    relayed
}

fn udp_client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((to.ip(), 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn channels_carry_both_ways_whether_ports_are_led_or_have_sockets() {
    for (ip, steer) in [("127.78.0.1", true), ("127.78.0.2", false)] {
        let turn = start(ip, steer, None);
        assert!(!turn.is_steered() || steer);
        let peer = UdpSocket::bind((ip, 0)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let peer_addr = peer.local_addr().unwrap();
        // Enough clients for both threads to have some.
        for n in 0..8_u8 {
            let client = udp_client(turn.addresses()[0]);
            let mut exchange = |bytes: &[u8]| {
                client.send(bytes).unwrap();
                receive(&client)
            };
            let relayed = allocate(&mut exchange, peer_addr);
            let data = vec![n; 100 + 150 * usize::from(n)];
            client.send(&[&channel_header(0x4000, data.len() as u16)[..], &data].concat()).unwrap();
            let mut buffer = [0; 4096];
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], from), (&data[..], relayed), "steer {steer}");
            peer.send_to(b"back", relayed).unwrap();
            assert_eq!(receive(&client), [&channel_header(0x4000, 4)[..], b"back"].concat());
            // Nobody else's packet comes through.
            let stranger = UdpSocket::bind(("127.78.0.9", 0)).unwrap();
            let _ = stranger.send_to(b"strange", relayed);
        }
        let stats = turn.stats();
        assert_eq!((stats.allocations, stats.to_peers, stats.to_clients), (8, 8, 8));
        drop(turn);
    }
}

#[test]
fn a_stream_ends_with_its_allocation_and_an_allocation_with_its_stream() {
    let turn = start("127.78.0.3", true, None);
    let peer = UdpSocket::bind("127.78.0.3:0").unwrap();
    let mut client = TcpStream::connect(turn.addresses()[0]).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let read_frame = |client: &mut TcpStream| {
        let mut head = [0; 4];
        client.read_exact(&mut head).unwrap();
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let rest = if head[0] < 0x40 { 16 + len } else { len.next_multiple_of(4) };
        let mut frame = vec![0; 4 + rest];
        frame[..4].copy_from_slice(&head);
        client.read_exact(&mut frame[4..]).unwrap();
        frame
    };
    let mut exchange = |bytes: &[u8]| {
        client.write_all(bytes).unwrap();
        read_frame(&mut client)
    };
    let relayed = allocate(&mut exchange, peer.local_addr().unwrap());
    peer.send_to(b"hello", relayed).unwrap();
    assert_eq!(read_frame(&mut client), [0x40, 0, 0, 5, b'h', b'e', b'l', b'l', b'o', 0, 0, 0]);
    assert_eq!(turn.stats().allocations, 1);
    drop(client);
    let gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        turn.stats().allocations == 0
    });
    assert!(gone, "the allocation went with its connection");
}

/// A program of coturn that ends with the test.
struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An echo of coturn on a free port.
fn turnutils_peer(ip: &str) -> (Coturn, u16) {
    let port = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new("turnutils_peer");
    command.args(["-L", ip, "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("turnutils_peer, of Debian's package coturn");
    let bound = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        UdpSocket::bind((ip, port)).is_err()
    });
    assert!(bound, "turnutils_peer listens");
    (Coturn(child), port)
}

/// Runs coturn's client; what it says at its end.
fn turnutils_uclient(server: SocketAddr, flags: &[&str]) -> String {
    let (ip, port) = (server.ip().to_string(), server.port().to_string());
    let mut command = Command::new("timeout");
    command.args(["60", "turnutils_uclient", "-u", "alice", "-w", "secret", "-p", &port]);
    command.args(["-L", &ip, "-n", "20", "-l", "160"]).args(flags).arg(ip);
    let output = command.output().expect("turnutils_uclient, of Debian's package coturn");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text + &String::from_utf8_lossy(&output.stderr)
}

fn certificate(ip: &str) -> ServerTls {
    net::install_crypto();
    let dir = std::env::temp_dir().join(format!("whimbrel-turn-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let addrs = vec![ip.parse().unwrap()];
    let (names, always) = (Vec::new(), Vec::new());
    let config = net::TlsConfig { dir: dir.clone(), names, always, addrs, files: None };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let tls = ServerTls::open(config, WallTime::from_secs(now.as_secs())).unwrap();
    let _ = std::fs::remove_dir_all(dir);
    tls
}

#[test]
fn turnutils_of_coturn_relay_through_ours_over_udp_tcp_and_tls() {
    let ip = "127.78.0.4";
    let turn = start(ip, true, Some(certificate(ip)));
    let (plain, secure) = (turn.addresses()[0], turn.addresses()[1]);
    let (_peer, peer) = turnutils_peer(ip);
    let peer = peer.to_string();
    // Channels; Send and Data indications (-s); with EVEN-PORT and its reservation (no -c); two
    // clients with each other by their relayed ports (-y).
    for (server, flags) in [
        (plain, vec!["-c", "-m", "4", "-e", ip, "-r", &peer]),
        (plain, vec!["-s", "-c", "-m", "4", "-e", ip, "-r", &peer]),
        (plain, vec!["-m", "2", "-e", ip, "-r", &peer]),
        (plain, vec!["-y", "-c", "-m", "2"]),
        (plain, vec!["-t", "-c", "-m", "4", "-e", ip, "-r", &peer]),
        (plain, vec!["-t", "-s", "-c", "-m", "2", "-e", ip, "-r", &peer]),
        (secure, vec!["-t", "-S", "-c", "-m", "4", "-e", ip, "-r", &peer]),
    ] {
        let before = turn.stats();
        let said = turnutils_uclient(server, &flags);
        assert!(said.contains("Total lost packets 0 "), "{flags:?}: {said}");
        let after = turn.stats();
        assert!(after.to_peers >= before.to_peers + 40, "{flags:?}: {before:?} {after:?}");
        assert!(after.to_clients >= before.to_clients + 40, "{flags:?}: {before:?} {after:?}");
        // A stream that its client closed loses what was under way.
        assert!(after.unsent == 0 || flags.contains(&"-t"), "{flags:?}");
    }
}

#[test]
fn r6_6_turnutils_of_coturn_get_nowhere_with_a_wrong_password_or_a_peer_inside() {
    let ip = "127.78.0.5";
    let turn = start(ip, true, None);
    let mut command = Command::new("timeout");
    let port = turn.addresses()[0].port().to_string();
    command.args(["20", "turnutils_uclient", "-u", "alice", "-w", "wrong", "-p", &port]);
    let output = command.args(["-c", "-m", "1", "-y", "-L", ip, ip]).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("Total lost packets 0 "));
    assert!(turn.stats().allocated == 0);
    let said = turnutils_uclient(turn.addresses()[0], &["-c", "-m", "1", "-e", "10.1.2.3"]);
    assert!(!said.contains("Total lost packets 0 "), "{said}");
    let stats = turn.stats();
    assert!(stats.allocated > 0 && stats.to_peers == 0, "{stats:?}");
}
