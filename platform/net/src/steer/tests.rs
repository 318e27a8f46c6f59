//! Real datagrams on loopback addresses that no other test uses.

use super::*;
use crate::batch::{RecvBatch, tell_destinations};
use crate::raw::{RawPacket, RawUdp};
use std::net::{SocketAddr, UdpSocket};

/// A steer with its sockets, or `None` where the kernel or the rights are missing.
fn steer(addr: &str, count: usize) -> Option<(PortSteer, Vec<UdpSocket>)> {
    let addr: IpAddr = addr.parse().unwrap();
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind((addr, 0)).unwrap()).collect();
    for socket in &sockets {
        tell_destinations(socket).unwrap();
    }
    match PortSteer::attach(addr, &sockets) {
        Ok(steer) => Some((steer, sockets)),
        Err(error) => {
            let skip = "skipped: sk_lookup needs Linux 5.9, CAP_BPF and CAP_NET_ADMIN";
            #[allow(clippy::print_stderr)] // A skipped test says so.
            {
                eprintln!("{skip}: {error}");
            }
            None
        }
    }
}

/// What waits on a socket: sender, the port it was sent to, the bytes.
fn waiting(socket: &UdpSocket) -> Vec<(SocketAddr, u16, Vec<u8>)> {
    let mut batch = RecvBatch::with_destinations(64, 1500);
    let mut all = Vec::new();
    while batch.recv(socket).is_ok() {
        let told = batch.addressed_mut();
        all.extend(told.map(|d| (d.from, d.to.unwrap().port(), d.slot[..d.len].to_vec())));
    }
    all
}

#[test]
fn open_ports_lead_to_their_sockets_and_nothing_else_is_touched() {
    for addr in ["127.77.0.1", "::1"] {
        let Some((steer, sockets)) = steer(addr, 2) else { return };
        let ip: IpAddr = addr.parse().unwrap();
        let other = UdpSocket::bind((ip, 0)).unwrap();
        let (a, b, closed) = (23_400, 23_401, 23_402);
        assert!(steer.open(a, 0) && steer.open(b, 1));
        assert!(!steer.open(a, 1), "it is open");
        assert!(!steer.open(closed, 2), "no such socket");
        assert_eq!((steer.socket_of(b), steer.socket_of(closed)), (Some(1), None));
        for port in [a, b, b, closed] {
            // The closed port answers with an ICMP error, which a later send may report.
            let _ = other.send_to(&port.to_be_bytes(), (ip, port));
        }
        other.send_to(b"mine", other.local_addr().unwrap()).unwrap();
        let from = other.local_addr().unwrap();
        let sent = |port: u16| (from, port, port.to_be_bytes().to_vec());
        assert_eq!(waiting(&sockets[0]), [sent(a)]);
        assert_eq!(waiting(&sockets[1]), [sent(b), sent(b)]);
        let mut buffer = [0; 10];
        other.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        // The error of the closed port may come first.
        let mine = (0..2).find_map(|_| other.recv(&mut buffer).ok());
        assert_eq!(&buffer[..mine.unwrap()], b"mine");
        steer.close(a);
        let _ = other.send_to(b"late", (ip, a));
        assert_eq!(waiting(&sockets[0]), []);
        // Gone with the steer: the port is anybody's again.
        assert!(steer.open(a, 0));
        drop(steer);
        let bound = UdpSocket::bind((ip, a)).unwrap();
        bound.send_to(b"x", (ip, a)).unwrap();
        assert_eq!(bound.recv(&mut buffer).unwrap(), 1);
        assert_eq!(waiting(&sockets[0]), []);
    }
}

#[test]
fn a_raw_socket_answers_from_an_open_port() {
    for addr in ["127.77.0.2", "::1"] {
        let Some((steer, sockets)) = steer(addr, 1) else { return };
        let ip: IpAddr = addr.parse().unwrap();
        let mut raw = RawUdp::new(ip.is_ipv6()).unwrap();
        assert!(steer.open(23_410, 0));
        let peer = UdpSocket::bind((ip, 0)).unwrap();
        let (from, to) = (SocketAddr::new(ip, 23_410), peer.local_addr().unwrap());
        let texts: Vec<Vec<u8>> = (0..70).map(|n| vec![n; usize::from(n) * 3 + 1]).collect();
        let packet = |payload| RawPacket { from, to, payload, tos: 0xb8, dont_fragment: false };
        let packets: Vec<RawPacket<'_>> = texts.iter().map(|t| packet(t.as_slice())).collect();
        let first = raw.send(&packets).unwrap();
        assert_eq!(first, crate::batch::BATCH_MAX);
        assert_eq!(raw.send(&packets[first..]).unwrap(), 6);
        peer.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 1500];
        for text in &texts {
            // A wrong checksum would have had the kernel drop it.
            let (len, source) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..len], source), (text.as_slice(), from));
        }
        peer.send_to(b"back", from).unwrap();
        assert_eq!(waiting(&sockets[0]), [(to, 23_410, b"back".to_vec())]);
    }
}

#[test]
fn sockets_that_cannot_be_steered_to_are_refused() {
    let none: [UdpSocket; 0] = [];
    let error = PortSteer::attach(IpAddr::from([127, 77, 0, 3]), &none).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
