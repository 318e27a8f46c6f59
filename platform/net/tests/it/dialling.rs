//! Connections to next hops: made, used again, kept alive, given up (R1.2, R1.4).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::http::{HttpOptions, HttpServer, HttpThread};
use net::{CloseReason, Limits, ShardsConfig, Transmit, client_config};
use sansio::{FlowId, Transport};
use sip::locate::NextHop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{Folder, Note, Seen, World, any, config, limits, options, response, server_tls};

/// One who dials and one who is called.
struct Two {
    we: World,
    they: World,
    https: HttpThread,
    plain: HttpThread,
    trust: Arc<rustls::ClientConfig>,
    _folder: Folder,
}

fn two() -> Two {
    let folder = Folder::new();
    let tls = server_tls(&folder);
    let mut theirs = config(1).listen("lo", Transport::Tls, any());
    theirs.tls = Some(tls.sip_config());
    let they = World::start(theirs);
    let http = |tls| {
        let websockets = Some(they.shards.websocket_door());
        let options = HttpOptions { tls, websockets, ..HttpOptions::default() };
        let nothing = hyper::service::service_fn(|_| async {
            let empty = http_body_util::Empty::<bytes::Bytes>::new();
            Ok::<_, std::convert::Infallible>(hyper::Response::new(empty))
        });
        HttpServer::bind(any(), options).unwrap().spawn(nothing).unwrap()
    };
    let (https, plain) = (http(Some(tls.https_config())), http(None));
    let trust = client_config(&[tls.ca_file().unwrap()], false).unwrap();
    let we = World::start(ours(limits(), Some(Arc::clone(&trust))));
    Two { we, they, https, plain, trust, _folder: folder }
}

fn ours(limits: Limits, client_tls: Option<Arc<rustls::ClientConfig>>) -> ShardsConfig {
    ShardsConfig { client_tls, limits, ..config(1) }
}

impl Two {
    fn hop(&self, transport: Transport) -> NextHop {
        let addr = match transport {
            Transport::Ws => self.plain.local_addr(),
            Transport::Wss => self.https.local_addr(),
            _ => self.they.addr(transport),
        };
        NextHop { transport, addrs: vec![addr], server_name: "example.com".into() }
    }
}

pub fn dial(world: &World, hop: &NextHop) -> Option<FlowId> {
    world.note(0, Note::Dial(hop.clone()));
    loop {
        if let Seen::Flow(flow) = world.next() {
            return flow;
        }
    }
}

pub fn send(world: &World, flow: FlowId, branch: &str) {
    world.note(0, Note::Transmit(Transmit::on(flow, options(branch, 10))));
}

fn tcp_hop(addrs: &[SocketAddr]) -> NextHop {
    NextHop { transport: Transport::Tcp, addrs: addrs.to_vec(), server_name: String::new() }
}

#[test]
fn r1_2_a_shard_reaches_a_next_hop_by_tcp_tls_ws_and_wss_and_keeps_the_connection() {
    let two = two();
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let flow = dial(&two.we, &two.hop(transport)).unwrap();
        // The second leaves before the connection stands.
        for branch in ["z9hG4bKa", "z9hG4bKb"] {
            send(&two.we, flow, branch);
        }
        for _ in 0..2 {
            let (_, answer) = two.we.next_received();
            assert_eq!((answer.flow, answer.transport), (flow, transport));
            assert!(answer.message.starts_with(b"SIP/2.0 200"), "{transport}");
        }
        assert_eq!(dial(&two.we, &two.hop(transport)), Some(flow), "used again");
        let (_, request) = two.they.next_received();
        two.they.next_received();
        assert_eq!(request.transport, transport);
        // They ask by the same connection.
        send(&two.they, request.flow, "z9hG4bKc");
        let (_, asked) = two.we.next_received();
        assert_eq!(asked.flow, flow);
        assert!(two.they.next_received().1.message.starts_with(b"SIP/2.0 200"));
    }
    let (ours, theirs) = (two.we.shards.stats(), two.they.shards.stats());
    assert_eq!((ours.dialled, ours.dials_failed, ours.connections), (4, 0, 4));
    assert_eq!((theirs.accepted, ours.accepted), (4, 0));
}

#[test]
fn a_flow_outlives_its_connection() {
    let two = two();
    for transport in [Transport::Tls, Transport::Wss] {
        let flow = dial(&two.we, &two.hop(transport)).unwrap();
        send(&two.we, flow, "z9hG4bKa");
        two.we.next_received();
        let theirs = two.they.next_received().1.flow;
        two.they.note(0, Note::Close(theirs));
        assert_eq!(two.we.next_closed(), (0, flow, CloseReason::PeerClosed), "{transport}");
        send(&two.we, flow, "z9hG4bKb");
        assert_eq!(two.we.next_received().1.flow, flow);
        assert_ne!(two.they.next_received().1.flow, theirs);
    }
}

#[test]
fn what_cannot_be_connected_is_told_with_its_reason() {
    let two = two();
    let closed = std::net::TcpListener::bind(any()).unwrap().local_addr().unwrap();
    let other_name = NextHop { server_name: "example.org".into(), ..two.hop(Transport::Tls) };
    let not_tls = NextHop { addrs: two.hop(Transport::Ws).addrs, ..two.hop(Transport::Tls) };
    let no_websocket = NextHop { addrs: two.hop(Transport::Tcp).addrs, ..two.hop(Transport::Ws) };
    for (hop, why) in [
        (tcp_hop(&[closed]), CloseReason::Unreachable),
        (other_name, CloseReason::Untrusted),
        (not_tls, CloseReason::Unreachable),
        (no_websocket, CloseReason::Unreachable),
    ] {
        let flow = dial(&two.we, &hop).unwrap();
        send(&two.we, flow, "z9hG4bKa");
        assert_eq!(two.we.next_closed(), (0, flow, why), "{hop}");
    }
    assert_eq!(two.we.shards.stats().dials_failed, 4);
    assert_eq!(two.we.shards.stats().connections, 0);
}

#[test]
fn without_trust_there_is_no_tls_and_without_an_answer_no_waiting() {
    let two = two();
    let strangers = World::start(ours(limits(), Some(client_config(&[], true).unwrap())));
    let flow = dial(&strangers, &two.hop(Transport::Tls)).unwrap();
    send(&strangers, flow, "z9hG4bKa");
    assert_eq!(strangers.next_closed(), (0, flow, CloseReason::Untrusted));
    assert_eq!(dial(&World::start(config(1)), &two.hop(Transport::Tls)), None);

    let silent = std::net::TcpListener::bind(any()).unwrap();
    let quick = Limits { connect: Duration::from_millis(200), ..limits() };
    let we = World::start(ours(quick, Some(client_config(&[], true).unwrap())));
    let addrs = vec![silent.local_addr().unwrap()];
    let flow = dial(&we, &NextHop { addrs, ..two.hop(Transport::Tls) }).unwrap();
    send(&we, flow, "z9hG4bKa");
    assert_eq!(we.next_closed(), (0, flow, CloseReason::TimedOut));
}

#[test]
fn r1_4_of_several_addresses_the_one_that_answers_is_used() {
    let two = two();
    let closed = std::net::TcpListener::bind(any()).unwrap().local_addr().unwrap();
    let flow = dial(&two.we, &tcp_hop(&[closed, two.they.addr(Transport::Tcp)])).unwrap();
    let begun = Instant::now();
    send(&two.we, flow, "z9hG4bKa");
    assert_eq!(two.we.next_received().1.peer, two.they.addr(Transport::Tcp));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn r1_2_a_connection_to_a_next_hop_is_kept_alive_and_a_dead_one_is_found() {
    let listener = TcpListener::bind(any()).await.unwrap();
    let often = Limits {
        dialled_ping: Duration::from_millis(50),
        pong: Duration::from_millis(300),
        ..limits()
    };
    let we = World::start(ours(often, None));
    let flow = dial(&we, &tcp_hop(&[listener.local_addr().unwrap()])).unwrap();
    send(&we, flow, "z9hG4bKa");
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut message = vec![0; options("z9hG4bKa", 10).len()];
    tcp.read_exact(&mut message).await.unwrap();
    // Who never answered a ping is not given up for it.
    let mut pings = [0; 40];
    tcp.read_exact(&mut pings).await.unwrap();
    assert!(pings.iter().all(|b| matches!(b, b'\r' | b'\n')));
    tcp.write_all(&response("z9hG4bKa")).await.unwrap();
    we.next_received();
    tcp.write_all(b"\r\n").await.unwrap();
    let why = tokio::task::spawn_blocking(move || we.next_closed()).await.unwrap();
    assert_eq!(why, (0, flow, CloseReason::Broken));
}

#[test]
fn a_connection_nobody_uses_is_closed_in_order() {
    let two = two();
    let (idle, look) = (Duration::from_millis(200), Duration::from_millis(100));
    // WebSockets look at their clocks when a ping is due.
    let brief = Limits { dialled_idle: idle, websocket_ping: look, ..limits() };
    let we = World::start(ours(brief, Some(Arc::clone(&two.trust))));
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
        let flow = dial(&we, &two.hop(transport)).unwrap();
        send(&we, flow, "z9hG4bKa");
        we.next_received();
        assert_eq!(we.next_closed(), (0, flow, CloseReason::Idle), "{transport}");
        assert_eq!(two.they.next_closed().2, CloseReason::PeerClosed, "{transport}");
    }
}

#[test]
fn r1_2_a_silent_websocket_is_pinged_and_a_dead_one_closed() {
    // The client of a dialled WebSocket answers pings by itself; a bare socket does not.
    let mut theirs = config(1);
    theirs.limits = Limits { websocket_ping: Duration::from_millis(100), ..limits() };
    let they = World::start(theirs);
    let options_ =
        HttpOptions { websockets: Some(they.shards.websocket_door()), ..HttpOptions::default() };
    let nothing = hyper::service::service_fn(|_| async {
        let empty = http_body_util::Empty::<bytes::Bytes>::new();
        Ok::<_, std::convert::Infallible>(hyper::Response::new(empty))
    });
    let http = HttpServer::bind(any(), options_).unwrap().spawn(nothing).unwrap();
    let hop = NextHop { transport: Transport::Ws, ..tcp_hop(&[http.local_addr()]) };
    let hop = NextHop { server_name: "localhost".into(), ..hop };
    let we = World::start(ours(limits(), None));
    let flow = dial(&we, &hop).unwrap();
    send(&we, flow, "z9hG4bKa");
    we.next_received();
    let alive = they.next_received().1.flow;

    let mut dead = std::net::TcpStream::connect(http.local_addr()).unwrap();
    let upgrade = "GET /sip HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Protocol: sip\r\n\r\n";
    std::io::Write::write_all(&mut dead, upgrade.as_bytes()).unwrap();
    let (_, gone, why) = they.next_closed();
    assert_eq!(why, CloseReason::Idle);
    assert_ne!(gone, alive);
    let mut heard = Vec::new();
    std::io::Read::read_to_end(&mut dead, &mut heard).unwrap();
    let head = heard.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(heard[head..head + 2], [0x89, 0], "a ping, RFC 6455 §5.5.2");
    send(&we, flow, "z9hG4bKb");
    assert_eq!(we.next_received().1.flow, flow, "the one that answers lives");
}

#[test]
fn a_connection_the_peer_opened_serves_for_requests_to_it_once_it_is_proved() {
    let two = two();
    let flow = dial(&two.they, &two.hop(Transport::Tcp)).unwrap();
    send(&two.we, dial(&two.we, &two.hop(Transport::Tcp)).unwrap(), "z9hG4bKa");
    let accepted = two.they.next_received().1.flow;
    let peer = tcp_hop(&["192.0.2.1:5060".parse().unwrap()]);
    two.they.note(0, Note::Alias(peer.clone(), accepted));
    assert_eq!(dial(&two.they, &peer), Some(accepted));
    assert_ne!(flow, accepted);
    send(&two.they, accepted, "z9hG4bKb");
    two.we.next_received();
    assert!(two.we.next_received().1.message.starts_with(b"OPTIONS"));
}
