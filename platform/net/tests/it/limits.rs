//! What strangers may not do (R11).

use std::time::{Duration, Instant};

use net::client::{ClientTransport, Endpoint};
use net::http::{HttpOptions, HttpServer};
use net::{CloseReason, Limits, NoteRefused, Transmit};
use sansio::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Note, PATIENCE, Seen, World, any, config, limits, options};

fn world(limits: Limits) -> World {
    let mut config = config(1);
    config.limits = limits;
    World::start(config)
}

async fn is_closed(tcp: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset counts: unread bytes of ours were thrown away.
    tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn a_slow_reader_is_closed_with_its_reason_and_others_go_on() {
    let world = world(Limits { write_queue_bytes: 100_000, ..limits() });
    let addr = world.addr(Transport::Tcp);
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(&options("z9hG4bKa", 0)).await.unwrap();
    let flow = world.next_received().1.flow;
    let why = loop {
        let message = options("z9hG4bKb", 60_000);
        let sent =
            world.shards.handle(0).unwrap().notify(Note::Transmit(Transmit::on(flow, message)));
        assert_eq!(sent, Ok(()));
        world.note(0, Note::Text("next".to_owned()));
        match world.next() {
            Seen::Closed(_, closed, why) if closed == flow => break why,
            _ => {}
        }
    };
    assert_eq!(why, CloseReason::SlowReader);
    let mut good = ClientTransport::connect(Endpoint::new(Transport::Tcp, addr)).await.unwrap();
    good.send(options("z9hG4bKc", 0)).await.unwrap();
    assert!(good.recv().await.unwrap().is_some());
    assert_eq!(world.shards.stats().expelled, 1);
}

#[tokio::test]
async fn a_stalled_reader_below_the_limit_is_closed_by_time() {
    let world = world(Limits {
        write_queue_bytes: 1 << 30,
        write_stall: Duration::from_millis(200),
        ..limits()
    });
    let mut slow = TcpStream::connect(world.addr(Transport::Tcp)).await.unwrap();
    slow.write_all(&options("z9hG4bKa", 0)).await.unwrap();
    let flow = world.next_received().1.flow;
    for _ in 0..300 {
        world.note(0, Note::Transmit(Transmit::on(flow, options("z9hG4bKb", 60_000))));
    }
    assert_eq!(world.next_closed(), (0, flow, CloseReason::SlowReader));
}

#[tokio::test]
async fn a_message_dribbled_without_end_and_a_silent_connection_are_closed() {
    let world = world(Limits { message: Duration::from_millis(400), ..limits() });
    let addr = world.addr(Transport::Tcp);
    let mut silent = TcpStream::connect(addr).await.unwrap();
    assert_eq!(world.next_closed().2, CloseReason::Dribble);
    assert!(is_closed(&mut silent).await);

    let mut tcp = TcpStream::connect(addr).await.unwrap();
    tcp.write_all(&options("z9hG4bKa", 0)).await.unwrap();
    world.next_received();
    let started = Instant::now();
    while tcp.write_all(b"O").await.is_ok() {
        assert!(started.elapsed() < PATIENCE, "a dribbler was kept");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.next_closed().2, CloseReason::Dribble);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let world = world(Limits { idle: Duration::from_millis(100), ..limits() });
    let mut tcp = TcpStream::connect(world.addr(Transport::Tcp)).await.unwrap();
    tcp.write_all(&options("z9hG4bKa", 0)).await.unwrap();
    assert_eq!(world.next_closed().2, CloseReason::Idle);
    assert!(is_closed(&mut tcp).await);
}

#[tokio::test]
async fn an_oversized_message_and_one_without_length_close_the_connection() {
    let world = world(limits());
    let addr = world.addr(Transport::Tcp);
    for (bytes, why) in [
        (&b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 70000\r\n\r\n"[..], CloseReason::TooLarge),
        (&[b'a'; 80_000][..], CloseReason::TooLarge),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: x\r\n\r\n", CloseReason::Framing),
        (b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 1\r\nl: 2\r\n\r\n", CloseReason::Framing),
    ] {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        let _ = tcp.write_all(bytes).await;
        assert_eq!(world.next_closed().2, why);
        assert!(is_closed(&mut tcp).await);
    }
    assert_eq!(world.shards.stats().received, 0);
}

#[tokio::test]
async fn an_oversized_websocket_message_closes_it() {
    let world = world(Limits { max_message: 10_000, ..limits() });
    let options_ =
        HttpOptions { websockets: Some(world.shards.websocket_door()), ..HttpOptions::default() };
    let handler = hyper::service::service_fn(|_| async {
        Ok::<_, std::convert::Infallible>(hyper::Response::new(String::new()))
    });
    let http = HttpServer::bind(any(), options_).unwrap().spawn(handler).unwrap();
    let endpoint = Endpoint::new(Transport::Ws, http.local_addr());
    let mut client = ClientTransport::connect(endpoint.clone()).await.unwrap();
    client.send(options("z9hG4bKa", 20_000)).await.unwrap();
    assert_eq!(world.next_closed().2, CloseReason::TooLarge);
    let mut client = ClientTransport::connect(endpoint).await.unwrap();
    client.send(b"\x00garbage"[..].into()).await.unwrap();
    assert_eq!(world.next_closed().2, CloseReason::Framing);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_places_come_back() {
    let world = world(Limits { max_connections: 2, ..limits() });
    let addr = world.addr(Transport::Tcp);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut tcp = TcpStream::connect(addr).await.unwrap();
        tcp.write_all(&options("z9hG4bKa", 0)).await.unwrap();
        world.next_received();
        kept.push(tcp);
    }
    let mut third = TcpStream::connect(addr).await.unwrap();
    assert!(is_closed(&mut third).await);
    assert_eq!(world.shards.stats().refused, 1);
    drop(kept.pop());
    world.next_closed();
    let mut fourth = TcpStream::connect(addr).await.unwrap();
    fourth.write_all(&options("z9hG4bKa", 0)).await.unwrap();
    world.next_received();
}

#[test]
fn a_full_mailbox_refuses_notes_and_counts_them() {
    let world = world(Limits { mailbox: 4, ..limits() });
    world.note(0, Note::Text("awake".to_owned()));
    assert!(matches!(world.next(), Seen::Note(..)));
    world.note(0, Note::Hold(Duration::from_millis(300)));
    let handle = world.shards.handle(0).unwrap();
    let note = || handle.notify(Note::Text(String::new()));
    let refused = (0..100).filter(|_| note() == Err(NoteRefused)).count() as u64;
    assert!(refused >= 90, "{refused}");
    assert_eq!(world.shards.stats().dropped_mailbox, refused);
}
