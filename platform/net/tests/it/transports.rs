//! Requests and answers over each transport (R1.2).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use net::client::{ClientTransport, Endpoint, Heard};
use net::http::{ClientAddr, HttpOptions, HttpServer, HttpThread};
use net::{CloseReason, client_config};
use sansio::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Folder, World, answer, any, config, options, server_tls};

async fn exchange(world: &World, endpoint: Endpoint) -> ClientTransport {
    let (transport, addr) = (endpoint.transport, endpoint.addr);
    let mut client = ClientTransport::connect(endpoint).await.unwrap();
    for size in [0, 7, 1_200, 30_000] {
        let request = options("z9hG4bKa", size);
        client.send(request.clone()).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(answer(&request)), "{transport}");
        let (_, received) = world.next_received();
        assert_eq!(received.message, request);
        assert_eq!((received.transport, received.local), (transport, addr));
        assert_eq!(received.peer, client.local_addr());
    }
    // A keep-alive is answered over each, and is no message to either side.
    for _ in 0..3 {
        client.send(Bytes::from_static(b"\r\n\r\n")).await.unwrap();
        let heard = tokio::time::timeout(std::time::Duration::from_secs(5), client.hear()).await;
        assert_eq!(
            heard.unwrap_or_else(|_| panic!("no answer by {transport}")).unwrap(),
            Some(Heard::KeptAlive),
            "{transport}"
        );
    }
    client
}

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let client = request.extensions().get::<ClientAddr>().unwrap();
    let text = format!("{} {}", request.uri().path(), client.secure);
    Ok(Response::new(Full::new(text.into())))
}

pub fn http(world: &World, tls: Option<Arc<rustls::ServerConfig>>) -> HttpThread {
    let websockets = Some(world.shards.websocket_door());
    let options = HttpOptions { tls, websockets, ..HttpOptions::default() };
    HttpServer::bind(any(), options).unwrap().spawn(service_fn(hello)).unwrap()
}

#[tokio::test]
async fn r1_2_every_transport_carries_requests_and_answers() {
    let folder = Folder::new();
    let tls = server_tls(&folder);
    let mut wanted = config(2).listen("lo", Transport::Tls, any());
    wanted.tls = Some(tls.sip_config());
    let world = World::start(wanted);
    let (https, plain) = (http(&world, Some(tls.https_config())), http(&world, None));
    let trust = client_config(&[tls.ca_file().unwrap()], false).unwrap();
    for (transport, addr) in [
        (Transport::Udp, world.addr(Transport::Udp)),
        (Transport::Tcp, world.addr(Transport::Tcp)),
        (Transport::Tls, world.addr(Transport::Tls)),
        (Transport::Ws, plain.local_addr()),
        (Transport::Wss, https.local_addr()),
    ] {
        let tls = Some(Arc::clone(&trust));
        let client = exchange(&world, Endpoint { tls, ..Endpoint::new(transport, addr) }).await;
        client.close().await;
        if transport.is_reliable() {
            assert_eq!(world.next_closed().2, CloseReason::PeerClosed, "{transport}");
        }
    }
    let stats = world.shards.stats();
    // Three of those sent answered keep-alives over UDP.
    assert_eq!((stats.received, stats.sent, stats.connections), (20, 23, 0));
    world.shards.shutdown();
    https.shutdown();
}

#[tokio::test]
async fn keep_alives_are_answered_and_never_reach_the_core() {
    let world = World::start(config(1));
    let mut tcp = TcpStream::connect(world.addr(Transport::Tcp)).await.unwrap();
    tcp.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    tcp.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");

    let udp = tokio::net::UdpSocket::bind(any()).await.unwrap();
    udp.connect(world.addr(Transport::Udp)).await.unwrap();
    let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    binding.extend([9; 12]);
    let mut buffer = [0; 2000];
    // A stranger's STUN is not answered; a known peer's is (RFC 5626 §8).
    udp.send(&binding).await.unwrap();
    udp.send(b"\r\n\r\n").await.unwrap();
    udp.send(&options("z9hG4bKa", 3)).await.unwrap();
    let n = udp.recv(&mut buffer).await.unwrap();
    assert!(buffer[..n].starts_with(b"SIP/2.0 200"));
    udp.send(&binding).await.unwrap();
    let n = udp.recv(&mut buffer).await.unwrap();
    assert_eq!((n, &buffer[..2]), (32, &[1, 1][..]));
    assert_eq!(world.shards.stats().received, 1);
}

#[tokio::test]
async fn a_message_in_single_bytes_and_two_messages_in_one_write_both_arrive_whole() {
    let world = World::start(config(1));
    let mut tcp = TcpStream::connect(world.addr(Transport::Tcp)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let request = options("z9hG4bKa", 20);
    for byte in &request {
        tcp.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(world.next_received().1.message, request);
    let two = [options("z9hG4bKb", 1), options("z9hG4bKc", 2)];
    tcp.write_all(&two.concat()).await.unwrap();
    for request in two {
        assert_eq!(world.next_received().1.message, request);
    }
}

async fn raw_http(addr: std::net::SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 4096];
    let n = tcp.read(&mut buffer).await.unwrap();
    String::from_utf8(buffer[..n].to_vec()).unwrap()
}

#[tokio::test]
async fn the_sip_path_upgrades_only_sip_and_the_rest_goes_to_the_handler() {
    let world = World::start(config(1));
    let http = http(&world, None);
    let addr = http.local_addr();
    let page = raw_http(addr, "GET /console HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(page.ends_with("/console false"), "{page}");
    let page = raw_http(addr, "GET /sip HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(page.ends_with("/sip false"), "{page}");

    let upgrade = "GET /sip HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let v13 = "Sec-WebSocket-Version: 13\r\n";
    let answer = raw_http(addr, &format!("{upgrade}{v13}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("subprotocol"), "{answer}");
    let sip = "Sec-WebSocket-Protocol: chat, sip\r\n";
    let answer = raw_http(addr, &format!("{upgrade}{sip}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 426") && answer.contains("version: 13"), "{answer}");
    let answer = raw_http(addr, &format!("{upgrade}{sip}{v13}\r\n")).await;
    // The value of RFC 6455 §1.3.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    assert!(answer.contains("sec-websocket-protocol: sip"), "{answer}");
}

#[tokio::test]
async fn the_client_names_what_refused_it() {
    let world = World::start(config(1));
    let http = http(&world, None);
    let mut endpoint = Endpoint::new(Transport::Ws, http.local_addr());
    endpoint.path = "/nothing".to_owned();
    let error = ClientTransport::connect(endpoint).await.unwrap_err().to_string();
    assert!(error.contains("/nothing") && error.contains("200 OK"), "{error}");
    let free = std::net::TcpListener::bind(any()).unwrap().local_addr().unwrap();
    let error = ClientTransport::connect(Endpoint::new(Transport::Tcp, free)).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot reach {free} over TCP")), "{error}");
}

#[tokio::test]
async fn a_message_sent_along_with_the_upgrade_is_not_lost() {
    let world = World::start(config(1));
    let http = http(&world, None);
    let mut tcp = TcpStream::connect(http.local_addr()).await.unwrap();
    let mut bytes = b"GET /sip HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n".to_vec();
    let message = options("z9hG4bKa", 0);
    // A final binary frame masked with zeros (RFC 6455 §5.2).
    bytes.extend([0x82, 0x80 | message.len() as u8, 0, 0, 0, 0]);
    assert!(message.len() < 126);
    bytes.extend_from_slice(&message);
    tcp.write_all(&bytes).await.unwrap();
    let (_, received) = world.next_received();
    assert_eq!((received.message, received.transport), (message, Transport::Ws));
}

#[tokio::test]
async fn ipv6_works_like_ipv4() {
    let any6 = "[::1]:0".parse().unwrap();
    let wanted = config(2).listen("lo6", Transport::Udp, any6).listen("lo6", Transport::Tcp, any6);
    let world = World::start(wanted);
    for (transport, addr) in world.shards.local_addrs().into_iter().filter(|(_, a)| a.is_ipv6()) {
        exchange(&world, Endpoint::new(transport, addr)).await;
    }
}

#[tokio::test]
async fn a_burst_of_datagrams_is_answered_whole_and_in_order() {
    let world = World::start(config(1));
    let endpoint = Endpoint::new(Transport::Udp, world.addr(Transport::Udp));
    let mut client = ClientTransport::connect(endpoint).await.unwrap();
    // The shard is held, so that the datagrams pile up and come in full batches.
    world.note(0, crate::world::Note::Hold(std::time::Duration::from_millis(50)));
    let requests: Vec<_> = (0..150).map(|n| options(&format!("z9hG4bK{n}"), 10)).collect();
    for request in &requests {
        client.send(request.clone()).await.unwrap();
    }
    for request in &requests {
        assert_eq!(client.recv().await.unwrap(), Some(answer(request)));
    }
    assert_eq!(world.shards.stats().dropped_udp, 0);
}

#[tokio::test]
async fn shutdown_closes_websockets_in_order() {
    let world = World::start(config(1));
    let http = http(&world, None);
    let endpoint = Endpoint::new(Transport::Ws, http.local_addr());
    let mut client = exchange(&world, endpoint).await;
    // A keep-alive of CRLFs is a ping here and reaches nobody.
    client.send(Bytes::from_static(b"\r\n\r\n")).await.unwrap();
    let down = tokio::task::spawn_blocking(move || world.shards.shutdown());
    assert_eq!(client.recv().await.unwrap(), None, "a Close frame, not a broken connection");
    down.await.unwrap();
    let refused = ClientTransport::connect(Endpoint::new(Transport::Ws, http.local_addr())).await;
    assert!(refused.unwrap_err().to_string().contains("503"));
}
