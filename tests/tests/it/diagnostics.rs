//! A phone measures what lies between it and a running server.

use ice::behaviour::{RECEIVED_TOS, REPLY_DELAY};
use ice::stun::{Builder, Message, attribute as attr};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use tests::{DOMAIN, Phone, Probe, Server, Story};

#[test]
fn the_operators_name_stands_in_what_phones_get() {
    let story = Story::on_loopback("sip-name");
    story.add_users(&["alice", "bob"]);
    let interface =
        "[[interface]]\nname = \"here\"\nbind = \"127.0.0.1\"\nsip_name = \"sip.call.example\"\n";
    let _server = Server::start_with(&story, interface);
    let mut bob = Probe::new(&story);
    let (_, registered) = bob.register("bob", &story.password("bob"));
    assert_eq!(registered.and_then(|m| m.status()), Some(200));
    let alice = Phone::of(&story, "alice", "udp", "pcma").call(&story.address("bob"));
    let _alice = alice.seconds(3).start();
    let invite = bob.receive().expect("the call");
    let (via, name) = (invite.top_via().expect("ours"), "sip.call.example");
    assert_eq!((via.host(), via.port()), (name, Some(story.place.sip())));
    let route = invite.record_routes().next().expect("ours").expect("read");
    assert_eq!(route.sip_uri().expect("a SIP URI").host(), name);
}

#[test]
fn a_phone_measures_its_nat_at_a_running_server() {
    let story = Story::on_loopback("diagnostics");
    story.add_users(&["alice"]);
    let place = &story.place;
    let ports = format!("sip_alternate = {}\n", place.sip_alternate());
    let _server = Server::start_with(&story, &ports);
    let [first, second] =
        [place.sip(), place.sip_alternate()].map(|port| SocketAddr::new(place.server_ip(), port));
    let phone = UdpSocket::bind((place.peer_ip(), 0)).expect("a port");
    phone.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let ours = phone.local_addr().expect("bound");

    // Filtering: the other port answers.
    for port in [first, second] {
        phone.send_to(options(ours, port).as_bytes(), port).expect("loopback");
        let (from, answer) = receive(&phone);
        assert!(from == port && answer.starts_with(b"SIP/2.0 200"), "{from}");
    }
    let query = |kind, value: &[u8]| {
        let query = Builder::request([7; 12]).attribute(kind, value);
        query.attribute(attr::SOFTWARE, &[b'x'; 80]).finish_bare()
    };
    phone.send_to(&query(attr::CHANGE_REQUEST, &[0, 0, 0, 2]), first).expect("loopback");
    let (from, reply) = receive(&phone);
    let message = Message::parse(&reply).expect("STUN");
    assert_eq!((from, message.address(attr::OTHER_ADDRESS)), (second, Some(second)));

    // Life of a mapping, MTU, marking.
    let asked = Instant::now();
    phone.send_to(&query(REPLY_DELAY, &1_u32.to_be_bytes()), first).expect("loopback");
    let (_, reply) = receive(&phone);
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert!(Message::parse(&reply).expect("STUN").attribute(REPLY_DELAY).is_some());
    socket2::SockRef::from(&phone).set_tos_v4(0x68).expect("a mark");
    let padded = Builder::request([8; 12]).padding_to(1_472).finish_bare();
    phone.send_to(&padded, second).expect("loopback");
    let (_, reply) = receive(&phone);
    let message = Message::parse(&reply).expect("STUN");
    assert_eq!((reply.len(), message.xor_mapped_address()), (1_472, Some(ours)));
    assert_eq!(message.attribute(RECEIVED_TOS), Some(&[0x68, 0, 0, 0][..]));

    // ALG and clock.
    let mut probe = Probe::new(&story);
    let password = story.password("alice");
    let (challenge, echo) = probe.ask("OPTIONS", ("alice", &password), "Accept: message/sip\r\n");
    assert_eq!(challenge.status(), Some(407));
    let echo = echo.expect("the echo");
    assert_eq!(echo.status(), Some(200));
    assert_eq!(String::from_utf8_lossy(echo.body()), probe.sent());
    let (_, registered) = probe.register("alice", &password);
    let registered = registered.expect("a 200");
    let date = registered.header_str("Date").expect("the time");
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");
}

/// The branch differs by port: the same one would be a retransmission, answered where it was first.
fn options(local: SocketAddr, to: SocketAddr) -> String {
    format!(
        "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKmeasure{};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:alice@{DOMAIN}>;tag=m\r\nTo: <sip:{DOMAIN}>\r\n\
         Call-ID: measure\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        to.port()
    )
}

fn receive(socket: &UdpSocket) -> (SocketAddr, Vec<u8>) {
    let mut buffer = [0; 65_535];
    let (len, from) = socket.recv_from(&mut buffer).expect("an answer in time");
    (from, buffer[..len].to_vec())
}
