//! R5.13: an injector who guesses ports, ten thousand packets a second, through real sockets.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relay::{Config, Direction, Interface, Protocol, Relay, SessionId};
use sansio::{Entropy, SeededEntropy};

use crate::peers::Peer;
use crate::virtual_net::description;

const CALLS: usize = 10;
const PER_SECOND: u64 = 10_000;
const ATTACK: Duration = Duration::from_secs(5);
/// Narrow: the injector hits open ports most of the time.
const PORTS: (u16, u16) = (24_000, 24_063);

struct Phone {
    peer: Peer,
    socket: UdpSocket,
    /// Says nothing for a while: a stream whose old path is silent may move, but not to just anybody.
    quiet: bool,
    sent: u64,
}

impl Phone {
    fn new(number: usize, secure: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let addr = socket.local_addr().unwrap().to_string();
        let ssrc = 0x0101 * (number as u32 + 1);
        let peer = if secure { Peer::sdes(&addr, ssrc) } else { Peer::plain(&addr, ssrc) };
        Self { peer, socket, quiet: false, sent: 0 }
    }

    fn say(&mut self) {
        let packet = self.peer.rtp();
        self.sent += 1;
        self.socket.send_to(&packet, self.peer.remote.unwrap()).unwrap();
    }

    /// Whose packets came since the last time; panics at one that is nobody's.
    fn heard(&mut self) -> Vec<u32> {
        let (mut heard, mut buf) = (Vec::new(), [0; 2048]);
        while let Ok((len, from)) = self.socket.recv_from(&mut buf) {
            assert_eq!(Some(from), self.peer.remote);
            heard.push(self.peer.open_rtp(&buf[..len]).expect("a whole packet of the other phone"));
        }
        heard
    }
}

/// What an injector would try: RTP of the codec in use with any numbers, reports, checks, handshakes.
fn forged(random: &mut SeededEntropy) -> Vec<u8> {
    let mut bytes = vec![0; 172];
    random.fill(&mut bytes);
    match random.next_u64() % 8 {
        0 => {
            bytes.truncate(28);
            bytes[..4].copy_from_slice(&[0x80, 200, 0, 6]);
        }
        1 => {
            bytes.truncate(20);
            bytes[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        }
        2 => bytes[..3].copy_from_slice(&[22, 0xfe, 0xfd]),
        3 => bytes[..8].copy_from_slice(&[0x10, 0, 0, 1, b'Z', b'R', b'T', b'P']),
        // Also what an injector off the path cannot know: the stream's name.
        4 => {
            let ssrc = 0x0101 * (random.next_u64() % (2 * CALLS as u64) + 1) as u32;
            bytes[..2].copy_from_slice(&[0x80, 0]);
            bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        }
        _ => bytes[..2].copy_from_slice(&[0x80, 0]),
    }
    bytes
}

/// Sends at the rate until it is told to stop; how many.
fn inject(stop: &AtomicBool, from: &UdpSocket) -> u64 {
    let (mut random, start, mut sent) = (SeededEntropy::new(13), Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_micros() as u64 * PER_SECOND / 1_000_000;
        while sent < due {
            let packet = forged(&mut random);
            let port = PORTS.0 + (random.next_u64() % u64::from(PORTS.1 - PORTS.0 + 1)) as u16;
            // Port by port: what is closed answers with ICMP, which the next call tells of.
            let _ = from.send_to(&packet, ("127.0.0.1", port));
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    sent
}

#[test]
fn r5_13_of_ten_thousand_injected_packets_a_second_none_is_accepted() {
    let mut interface = Interface::new("default", "127.0.0.1".parse().unwrap());
    interface.advertise = None;
    let (port_min, port_max) = PORTS;
    let config =
        Config { interfaces: vec![interface], port_min, port_max, threads: 1, ..Config::default() };
    let relay = Relay::start(config, |_| {}).unwrap();
    let mut calls = Vec::new();
    for call in 0..CALLS {
        let secure = call % 2 == 1;
        let mut phones = [Phone::new(2 * call, secure), Phone::new(2 * call + 1, secure)];
        let protocol = if secure { Protocol::Srtp } else { Protocol::Rtp };
        let [a, b] = &mut phones;
        let mut d = description(Direction::FromCaller, 1, &a.peer.describe(None), protocol);
        d.session = SessionId(call as u64 + 1);
        let offered = relay.offer(&d).unwrap();
        b.peer.take(&offered, false);
        let answer = b.peer.describe(Some(&offered));
        let mut d = description(Direction::FromCallee, 1, &answer, Protocol::Rtp);
        d.session = SessionId(call as u64 + 1);
        a.peer.take(&relay.answer(&d).unwrap(), true);
        // One of them has said its last word for now.
        phones[1].quiet = call % 5 == 4;
        calls.push(phones);
    }
    // Learned: each has been heard.
    let end = Instant::now() + Duration::from_secs(10);
    for phones in &mut calls {
        for from in 0..2 {
            phones[from].say();
            while phones[1 - from].heard().is_empty() {
                assert!(Instant::now() < end, "no first packet");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let injector = UdpSocket::bind("127.0.0.66:0").unwrap();
    injector.set_nonblocking(true).unwrap();
    let stop = AtomicBool::new(false);
    let injected = std::thread::scope(|scope| {
        let attack = scope.spawn(|| inject(&stop, &injector));
        let (start, mut next) = (Instant::now(), Instant::now());
        while start.elapsed() < ATTACK {
            for phones in &mut calls {
                let names = [phones[0].peer.ssrc, phones[1].peer.ssrc];
                for from in 0..2 {
                    if !phones[from].quiet {
                        phones[from].say();
                    }
                    let heard = phones[from].heard();
                    assert!(heard.iter().all(|ssrc| *ssrc == names[1 - from]), "{heard:x?}");
                }
            }
            next += Duration::from_millis(20);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        stop.store(true, Ordering::Relaxed);
        attack.join().unwrap()
    });
    assert!(injected >= PER_SECOND * ATTACK.as_secs() * 9 / 10, "{injected}: a busy machine");
    std::thread::sleep(Duration::from_millis(300));
    let mut refused = 0;
    for (call, phones) in calls.iter().enumerate() {
        let stats = relay.query(SessionId(call as u64 + 1)).unwrap();
        for (leg, phone) in stats.legs.iter().zip(phones) {
            // What the phones' own queue lost at a busy moment is less, never more.
            assert!(leg.packets_received <= phone.sent, "{leg:?}");
            assert!(
                leg.packets_received + 50 >= phone.sent,
                "{} of {}",
                leg.packets_received,
                phone.sent
            );
            assert_eq!((leg.moves, leg.remote), (0, Some(phone.peer.addr)), "{leg:?}");
            assert_eq!(leg.rtcp_received, 0, "{leg:?}");
            refused += leg.dropped_injected + leg.dropped_unauthenticated + leg.dropped_other;
        }
    }
    assert!(refused > injected / 4, "{refused} of {injected} met an open port");
    let mut answer = [0_u8; 100];
    let got: Option<(usize, SocketAddr)> = injector.recv_from(&mut answer).ok();
    assert_eq!(got, None, "the injector learns nothing");
    println!("{injected} injected, {refused} refused by legs, none accepted");
}
