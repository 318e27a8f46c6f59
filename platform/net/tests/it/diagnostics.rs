//! What a phone learns over STUN on the SIP ports.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ice::behaviour::{RECEIVED_TOS, REPLY_DELAY};
use ice::stun::{Builder, Message, attribute as attr};
use net::{Listener, ShardsConfig};
use sansio::Transport;

use crate::world::{PATIENCE, World, any, limits, options};

/// Long enough for what must not come.
const QUIET: Duration = Duration::from_millis(150);

/// Two UDP ports on one address, the second with the type of service octet.
fn world() -> (World, SocketAddr, SocketAddr) {
    let mut config = ShardsConfig { shards: 2, limits: limits(), ..ShardsConfig::new() };
    for report_tos in [false, true] {
        let (interface, transport) = ("lo".to_owned(), Transport::Udp);
        let advertise = Some(any().ip());
        config.listeners.push(Listener {
            interface,
            transport,
            bind: any(),
            advertise,
            report_tos,
            tos: 0,
        });
    }
    let world = World::start(config);
    let ports: Vec<SocketAddr> = world.shards.listeners().iter().map(|l| l.bind).collect();
    (world, ports[0], ports[1])
}

/// A phone that has talked SIP to these ports.
fn phone(ports: &[SocketAddr]) -> UdpSocket {
    let socket = UdpSocket::bind(any()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for port in ports {
        socket.send_to(&options("z9hG4bKa", 0), port).unwrap();
        assert_eq!(receive(&socket).0, *port);
    }
    socket
}

fn receive(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = [0; 65_535];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    (from, buffer[..len].to_vec())
}

fn hears_nothing(socket: &UdpSocket) -> bool {
    socket.set_read_timeout(Some(QUIET)).unwrap();
    let error = socket.recv_from(&mut [0; 100]).unwrap_err();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn request(kind: u16, value: &[u8]) -> Vec<u8> {
    let request = Builder::request([7; 12]).attribute(kind, value);
    request.attribute(attr::SOFTWARE, &[b'x'; 80]).finish_bare()
}

#[test]
fn replies_come_from_the_other_port_and_go_to_the_other_port() {
    let (world, first, second) = world();
    let phone = phone(&[first, second]);
    let ours = phone.local_addr().unwrap();
    for (asked, other) in [(first, second), (second, first)] {
        phone.send_to(&request(attr::CHANGE_REQUEST, &[0, 0, 0, 2]), asked).unwrap();
        let (from, reply) = receive(&phone);
        let message = Message::parse(&reply).unwrap();
        assert_eq!((from, message.xor_mapped_address()), (other, Some(ours)));
        assert_eq!(message.address(attr::RESPONSE_ORIGIN), Some(other));
        assert_eq!(message.address(attr::OTHER_ADDRESS), Some(other));
    }
    let listening = UdpSocket::bind(any()).unwrap();
    listening.set_read_timeout(Some(PATIENCE)).unwrap();
    let [high, low] = listening.local_addr().unwrap().port().to_be_bytes();
    phone.send_to(&request(attr::RESPONSE_PORT, &[high, low, 0, 0]), first).unwrap();
    let (from, reply) = receive(&listening);
    let mapped = Message::parse(&reply).unwrap().xor_mapped_address();
    assert_eq!((from, mapped), (first, Some(ours)));
    assert_eq!(world.shards.stats().diagnosed, 3);
}

#[test]
fn a_delayed_reply_comes_after_its_delay() {
    let (world, first, _) = world();
    let phone = phone(&[first]);
    let asked = Instant::now();
    // The longer one first: a nearer deadline must wake the shard.
    phone.send_to(&request(REPLY_DELAY, &60_u32.to_be_bytes()), first).unwrap();
    let mut near = request(REPLY_DELAY, &1_u32.to_be_bytes());
    near[8] = 9;
    phone.send_to(&near, first).unwrap();
    let (from, reply) = receive(&phone);
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(1) && waited < Duration::from_secs(8), "{waited:?}");
    assert_eq!(from, first);
    let delay = Message::parse(&reply).unwrap().attribute(REPLY_DELAY).map(<[u8]>::to_vec);
    assert_eq!(delay, Some(1_u32.to_be_bytes().to_vec()));
    assert_eq!(world.shards.stats().diagnosed, 2);
}

#[test]
fn the_second_port_tells_tos_and_speaks_sip_and_padding_measures_both_ways() {
    let (_world, first, second) = world();
    let phone = phone(&[first, second]);
    for (port, tos) in [(first, None), (second, Some(0xb8))] {
        socket2::SockRef::from(&phone).set_tos_v4(0xb8).unwrap();
        let padded = Builder::request([7; 12]).padding_to(1_400).finish_bare();
        phone.send_to(&padded, port).unwrap();
        let (from, reply) = receive(&phone);
        assert_eq!((from, reply.len()), (port, 1_400));
        let message = Message::parse(&reply).unwrap();
        let told = message.attribute(RECEIVED_TOS).map(|value| value[0]);
        assert_eq!(told, tos, "{port}");
        // A keep-alive is still a keep-alive.
        phone.send_to(&Builder::request([8; 12]).finish_bare(), port).unwrap();
        assert_eq!(receive(&phone).1.len(), 32);
    }
}

#[test]
fn strangers_get_nothing() {
    let (world, first, second) = world();
    let stranger = UdpSocket::bind(any()).unwrap();
    for port in [first, second] {
        stranger.send_to(&request(attr::CHANGE_REQUEST, &[0, 0, 0, 2]), port).unwrap();
        stranger.send_to(&request(REPLY_DELAY, &0_u32.to_be_bytes()), port).unwrap();
    }
    assert!(hears_nothing(&stranger));
    assert_eq!(world.shards.stats().diagnosed, 0);
    // One who talks SIP at the first port is a stranger at the second.
    let phone = phone(&[first]);
    phone.send_to(&request(attr::PADDING, &[0; 40]), second).unwrap();
    assert!(hears_nothing(&phone));
}
