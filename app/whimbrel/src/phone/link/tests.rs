//! The task with real sockets.

use super::super::servers::Servers;
use super::super::servers::connect_any;
use super::*;
use net::client::Endpoint;
use sansio::{Redacted, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";
const OK: &[u8] = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n";

fn account() -> Account {
    Account {
        user: "alice".into(),
        domain: "example.org".into(),
        password: Redacted::new(String::new()),
        display_name: String::new(),
        instance: "urn:uuid:00000000-0000-4000-8000-000000000001".into(),
    }
}

async fn up(task: &mut LinkTask) -> (Link, mpsc::Sender<Bytes>) {
    loop {
        if let LinkEvent::Up { send, facts } = task.next().await {
            return (facts, send);
        }
    }
}

async fn linked(ways: Ways) -> Linked {
    Linked::first(ways, Memory::nowhere(), account()).await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn a_broken_link_is_made_again_and_the_last_words_go_out() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(Transport::Tcp, server.local_addr().unwrap());
    let linked = linked(Ways::fixed(Transport::Tcp, vec![endpoint])).await;
    let (mut accepted, _) = server.accept().await.unwrap();
    let mut task = LinkTask::start(linked);
    let _send = up(&mut task).await;
    accepted.write_all(OPTIONS).await.unwrap();
    assert!(matches!(task.next().await, LinkEvent::Message(m) if m == OPTIONS));
    let mut keep_alive = [0; 4];
    accepted.read_exact(&mut keep_alive).await.unwrap();
    assert_eq!(&keep_alive, b"\r\n\r\n");
    drop(accepted);
    assert!(matches!(task.next().await, LinkEvent::Down(why) if why.contains("closed")));
    let (mut accepted, _) = server.accept().await.unwrap();
    let (_, send) = up(&mut task).await;
    send.try_send(Bytes::from_static(OPTIONS)).unwrap();
    drop(send);
    task.finish().await;
    let mut heard = Vec::new();
    accepted.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, OPTIONS);
}

#[tokio::test(flavor = "current_thread")]
async fn r1_2_a_request_that_udp_swallows_goes_by_tcp_a_moment_later() {
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixed = |transport, at: std::net::SocketAddr| {
        let endpoints = vec![Endpoint::new(transport, at)];
        (transport, Servers::Fixed { endpoints, or_named: None })
    };
    let ways = Ways::several(vec![
        fixed(Transport::Udp, deaf.local_addr().unwrap()),
        fixed(Transport::Tcp, server.local_addr().unwrap()),
    ]);
    let begun = Instant::now();
    let mut task = LinkTask::start(linked(ways).await);
    let (facts, send) = up(&mut task).await;
    assert_eq!(facts.transport, Transport::Udp);
    send.send(Bytes::from_static(OPTIONS)).await.unwrap();
    let answering = async {
        let (mut accepted, _) = server.accept().await.unwrap();
        let mut heard = [0; OPTIONS.len()];
        accepted.read_exact(&mut heard).await.unwrap();
        accepted.write_all(OK).await.unwrap();
        accepted
    };
    let using = async {
        let (facts, send) = up(&mut task).await;
        send.send(Bytes::from_static(OPTIONS)).await.unwrap();
        assert!(matches!(task.next().await, LinkEvent::Message(m) if m == OK));
        (facts, send)
    };
    let (_accepted, (facts, _send)) = tokio::join!(answering, using);
    assert_eq!(facts.transport, Transport::Tcp);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// A server that answers STUN and anything else until it is told to be deaf.
async fn udp_server(socket: UdpSocket, deaf: watch::Receiver<bool>) {
    let mut buffer = [0; 2048];
    while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
        // A STUN success response with no attributes has the request's transaction id.
        let stun = n == 20 && buffer[..4] == [0, 1, 0, 0];
        let answer = if stun { [&[1, 1, 0, 0], &buffer[4..20]].concat() } else { OK.to_vec() };
        if !*deaf.borrow() {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn r1_2_udp_that_goes_deaf_while_idle_is_left_after_two_keep_alives() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fixed = |transport, at: std::net::SocketAddr| {
        let endpoints = vec![Endpoint::new(transport, at)];
        (transport, Servers::Fixed { endpoints, or_named: None })
    };
    let ways = Ways::several(vec![
        fixed(Transport::Udp, udp.local_addr().unwrap()),
        fixed(Transport::Tcp, tcp.local_addr().unwrap()),
    ]);
    let (deafen, deaf) = watch::channel(false);
    let server = tokio::spawn(udp_server(udp, deaf));
    let mut task = LinkTask::start(linked(ways).await);
    let (facts, send) = up(&mut task).await;
    assert_eq!(facts.transport, Transport::Udp);
    send.send(Bytes::from_static(OPTIONS)).await.unwrap();
    assert!(matches!(task.next().await, LinkEvent::Message(m) if m == OK));
    // The keep-alive that comes with the first answer is answered, and so is the engine's next.
    send.send(Bytes::from_static(b"\r\n\r\n")).await.unwrap();
    // What is answered behind it came after its answer.
    send.send(Bytes::from_static(OPTIONS)).await.unwrap();
    assert!(matches!(task.next().await, LinkEvent::Message(m) if m == OK));
    deafen.send(true).unwrap();
    let begun = Instant::now();
    send.send(Bytes::from_static(b"\r\n\r\n")).await.unwrap();
    let (facts, _send) = up(&mut task).await;
    assert_eq!(facts.transport, Transport::Tcp);
    let took = begun.elapsed();
    assert!((7..10).contains(&took.as_secs()), "{took:?}: not after the first, not after a third");
    server.abort();
}

#[tokio::test(flavor = "current_thread")]
async fn a_refused_connection_names_the_address() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    drop(server);
    let error = connect_any(&[Endpoint::new(Transport::Tcp, addr)]).await.unwrap_err();
    assert!(error.to_string().contains(&format!("cannot reach {addr}")), "{error}");
    let ways = Ways::fixed(Transport::Tcp, vec![Endpoint::new(Transport::Tcp, addr)]);
    let error = Linked::first(ways, Memory::nowhere(), account()).await.err().unwrap();
    let error = error.to_string();
    assert!(error.contains("cannot reach") && error.contains("--transport"), "{error}");
    let other: std::net::SocketAddr = "127.0.0.9:9".parse().unwrap();
    let fixed = |transport, at| {
        let endpoints = vec![Endpoint::new(transport, at)];
        (transport, Servers::Fixed { endpoints, or_named: None })
    };
    let both = Ways::several(vec![fixed(Transport::Tls, addr), fixed(Transport::Wss, other)]);
    let error = Linked::first(both, Memory::nowhere(), account()).await.err().unwrap();
    let (error, first) = (error.to_string(), format!("cannot reach {addr}"));
    assert!(
        error.starts_with(&first) && error.contains("; by WSS: cannot reach 127.0.0.9:9"),
        "{error}"
    );
}
