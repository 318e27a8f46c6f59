use super::*;
use crate::stun::HEADER_LEN;
use proptest::prelude::*;

const ID: [u8; 12] = [7; 12];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn phone() -> SocketAddr {
    addr("203.0.113.9:41000")
}

/// Two addresses with two ports each, and one IPv6 port.
fn server() -> Server {
    let publics = ["192.0.2.1:5060", "192.0.2.1:5070", "192.0.2.2:5060", "192.0.2.2:5070"];
    let mut ports: Vec<Port> =
        (0..).zip(publics).map(|(id, public)| Port { id, public: addr(public) }).collect();
    ports.push(Port { id: 9, public: addr("[2001:db8::1]:5060") });
    Server::new(ports, Limits::default())
}

/// A Binding request with attributes and SOFTWARE to make room.
fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let start = Builder::request(ID);
    let with = attributes.iter().fold(start, |b, (kind, value)| b.attribute(*kind, value));
    with.attribute(attr::SOFTWARE, &[b'x'; 80]).finish_bare()
}

fn ask(server: &mut Server, at: Instant, peer: SocketAddr, datagram: &[u8]) -> Handled {
    server.handle_query(at, Query { port: 0, peer, tos: None, datagram })
}

fn now(handled: Handled) -> Reply {
    let Handled::Now(reply) = handled else { panic!("no reply now: {handled:?}") };
    reply
}

fn error_of(handled: Handled) -> u16 {
    Message::parse(&now(handled).datagram).unwrap().error_code().expect("an error")
}

#[test]
fn plain_keep_alives_and_noise_are_not_ours() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    let plain = Builder::request(ID).finish_bare();
    assert_eq!(ask(&mut server, at, phone(), &plain), Handled::Plain);
    let software = Builder::request(ID).attribute(attr::SOFTWARE, b"phone").finish_bare();
    assert_eq!(ask(&mut server, at, phone(), &software), Handled::Plain);
    assert_eq!(ask(&mut server, at, phone(), b"OPTIONS sip:a SIP/2.0"), Handled::Plain);
    let answer = Builder::new(Class::Success, ID).attribute(attr::PADDING, &[0; 40]).finish_bare();
    assert_eq!(ask(&mut server, at, phone(), &answer), Handled::Plain);
}

#[test]
fn change_request_answers_from_the_other_port_and_address() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    for (bits, port) in [(2, 1), (4, 2), (6, 3), (0, 0)] {
        let datagram = request(&[(attr::CHANGE_REQUEST, &[0, 0, 0, bits])]);
        let reply = now(ask(&mut server, at, phone(), &datagram));
        assert_eq!((reply.port, reply.to), (port, phone()), "bits {bits}");
        let message = Message::parse(&reply.datagram).unwrap();
        assert_eq!(message.xor_mapped_address(), Some(phone()));
        let origin = server.ports[port].public;
        assert_eq!(message.address(attr::RESPONSE_ORIGIN), Some(origin), "bits {bits}");
        assert_eq!(message.address(attr::OTHER_ADDRESS), Some(addr("192.0.2.2:5070")));
    }
}

#[test]
fn without_another_address_change_ip_is_420_and_the_other_port_is_named() {
    let ports = vec![
        Port { id: 0, public: addr("192.0.2.1:5060") },
        Port { id: 1, public: addr("192.0.2.1:5070") },
    ];
    let (mut server, at) = (Server::new(ports, Limits::default()), sansio::testing::epoch());
    let change_ip = request(&[(attr::CHANGE_REQUEST, &[0, 0, 0, 4])]);
    let reply = now(ask(&mut server, at, phone(), &change_ip));
    let message = Message::parse(&reply.datagram).unwrap();
    assert_eq!(message.error_code(), Some(420));
    assert_eq!(message.attribute(attr::UNKNOWN_ATTRIBUTES), Some(&[0, 3][..]));
    let change_port = request(&[(attr::CHANGE_REQUEST, &[0, 0, 0, 2])]);
    let reply = now(ask(&mut server, at, phone(), &change_port));
    let message = Message::parse(&reply.datagram).unwrap();
    assert_eq!(
        (reply.port, message.address(attr::OTHER_ADDRESS)),
        (1, Some(addr("192.0.2.1:5070")))
    );
}

#[test]
fn response_port_goes_to_another_port_of_the_same_address_and_never_with_padding() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    let datagram = request(&[(attr::RESPONSE_PORT, &[0xa0, 0x30, 0, 0])]);
    let reply = now(ask(&mut server, at, phone(), &datagram));
    assert_eq!(reply.to, addr("203.0.113.9:41008"));
    let mapped = Message::parse(&reply.datagram).unwrap().xor_mapped_address();
    assert_eq!(mapped, Some(phone()), "it tells where the request came from");
    let both = request(&[(attr::RESPONSE_PORT, &[0xa0, 0x30, 0, 0]), (attr::PADDING, &[0; 40])]);
    assert_eq!(error_of(ask(&mut server, at, phone(), &both)), 400);
    let zero = request(&[(attr::RESPONSE_PORT, &[0, 0, 0, 0])]);
    assert_eq!(error_of(ask(&mut server, at, phone(), &zero)), 400);
}

#[test]
fn padding_makes_the_reply_exactly_as_long_as_the_request() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    for total in [64, 576, 1_280, 1_472, 9_000, 65_500] {
        let datagram = Builder::request(ID).padding_to(total).finish_bare();
        assert_eq!(datagram.len(), total);
        let reply = now(ask(&mut server, at, phone(), &datagram));
        assert_eq!(reply.datagram.len(), total);
        assert_eq!(Message::parse(&reply.datagram).unwrap().xor_mapped_address(), Some(phone()));
    }
    let sealed = Builder::request(ID).padding_to(1_000).finish_unsigned();
    let reply = now(ask(&mut server, at, phone(), &sealed));
    assert_eq!(reply.datagram.len(), sealed.len());
    assert!(Message::parse(&reply.datagram).unwrap().has_fingerprint());
}

#[test]
fn the_tos_a_request_arrived_with_is_told_where_it_is_known() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    let datagram = Builder::request(ID).padding_to(120).finish_bare();
    for (tos, told) in [(Some(0xb8), Some(&[0xb8, 0, 0, 0][..])), (None, None)] {
        let query = Query { port: 0, peer: phone(), tos, datagram: &datagram };
        let reply = now(server.handle_query(at, query));
        assert_eq!(Message::parse(&reply.datagram).unwrap().attribute(RECEIVED_TOS), told);
    }
}

#[test]
fn a_delayed_reply_comes_when_asked_and_says_so() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    let datagram = request(&[(REPLY_DELAY, &30_u32.to_be_bytes())]);
    assert_eq!(ask(&mut server, at, phone(), &datagram), Handled::Later);
    // Sent again, it still gives one reply.
    assert_eq!(ask(&mut server, at + Duration::from_secs(1), phone(), &datagram), Handled::Silent);
    assert_eq!(server.poll_timeout(), Some(at + Duration::from_secs(30)));
    server.handle_timeout(at + Duration::from_secs(29));
    assert_eq!(server.poll_reply(), None);
    server.handle_timeout(at + Duration::from_secs(30));
    let reply = server.poll_reply().expect("the reply");
    assert_eq!((reply.to, reply.port), (phone(), 0));
    let message = Message::parse(&reply.datagram).unwrap();
    assert_eq!(message.attribute(REPLY_DELAY), Some(&30_u32.to_be_bytes()[..]));
    assert_eq!(
        (server.poll_reply(), server.poll_timeout(), server.by_source.len()),
        (None, None, 0)
    );

    let forever = request(&[(REPLY_DELAY, &u32::MAX.to_be_bytes())]);
    assert_eq!(ask(&mut server, at, phone(), &forever), Handled::Later);
    assert_eq!(server.poll_timeout(), Some(at + Limits::default().delay_max), "shortened");
    server.handle_timeout(at + Limits::default().delay_max);
    let reply = server.poll_reply().unwrap();
    let kept = Message::parse(&reply.datagram).unwrap().attribute(REPLY_DELAY).map(<[u8]>::to_vec);
    assert_eq!(kept, Some(900_u32.to_be_bytes().to_vec()), "and the phone is told");
    let at_once = request(&[(REPLY_DELAY, &[0; 4])]);
    now(ask(&mut server, at, phone(), &at_once));
}

#[test]
fn what_waits_is_bounded_per_source_and_in_all() {
    let limits = Limits { delayed_max: 40, delayed_per_source_max: 4, ..Limits::default() };
    let mut server = Server::new(server().ports, limits);
    let at = sansio::testing::epoch();
    let asks = |n: u16| {
        let id = [n.to_be_bytes()[0], n.to_be_bytes()[1], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let delay = Builder::request(id).attribute(REPLY_DELAY, &60_u32.to_be_bytes());
        delay.attribute(attr::SOFTWARE, &[b'x'; 40]).finish_bare()
    };
    let handled: Vec<Handled> = (0..5).map(|n| ask(&mut server, at, phone(), &asks(n))).collect();
    assert!(handled[..4].iter().all(|h| *h == Handled::Later));
    assert_eq!(error_of(handled[4].clone()), 486);
    // One /64 is one source.
    for n in 0..6_u16 {
        let peer = addr(&format!("[2001:db8:0:1::{n:x}]:{}", 1_000 + n));
        let query = Query { port: 9, peer, tos: None, datagram: &asks(n) };
        let handled = server.handle_query(at, query);
        assert_eq!(handled == Handled::Later, n < 4, "{n}: {handled:?}");
    }
    let refused = (0..200_u16).filter(|n| {
        let peer = SocketAddr::from(([198, 51, (n >> 8) as u8, *n as u8], 5060));
        let handled = ask(&mut server, at, peer, &asks(*n));
        handled != Handled::Later && error_of(handled) == 508
    });
    assert_eq!(refused.count(), 200 - 32);
    assert_eq!((server.waiting(), server.by_source.len()), (40, 2 + 32));
    server.handle_timeout(at + Duration::from_secs(60));
    assert_eq!((server.waiting(), server.by_source.len()), (0, 0));
    assert_eq!(std::iter::from_fn(|| server.poll_reply()).count(), 40);
}

#[test]
fn what_is_malformed_unknown_or_too_short_is_refused() {
    let (mut server, at) = (server(), sansio::testing::epoch());
    let short = Builder::request(ID).attribute(attr::CHANGE_REQUEST, &[0, 0, 0, 2]).finish_bare();
    assert_eq!(error_of(ask(&mut server, at, phone(), &short)), 400, "no room for the address");
    let empty = Builder::request(ID).attribute(attr::PADDING, &[]).finish_bare();
    assert_eq!(ask(&mut server, at, phone(), &empty), Handled::Silent, "no room for an error");
    let odd = request(&[(attr::CHANGE_REQUEST, &[2])]);
    assert_eq!(error_of(ask(&mut server, at, phone(), &odd)), 400);
    let unknown = request(&[(attr::PADDING, &[0; 8]), (0x7777, &[1])]);
    let reply = now(ask(&mut server, at, phone(), &unknown));
    let message = Message::parse(&reply.datagram).unwrap();
    assert_eq!(message.error_code(), Some(420));
    assert_eq!(message.attribute(attr::UNKNOWN_ATTRIBUTES), Some(&[0x77, 0x77][..]));
}

proptest! {
    /// The one rule that keeps the server from being turned against others.
    #[test]
    fn no_reply_is_ever_larger_than_its_request(
        attributes in proptest::collection::vec(
            (prop_oneof![
                Just(attr::CHANGE_REQUEST), Just(attr::PADDING), Just(attr::RESPONSE_PORT),
                Just(REPLY_DELAY), Just(attr::SOFTWARE), any::<u16>(),
            ], proptest::collection::vec(any::<u8>(), 0..12)),
            1..6),
        padding in 0_usize..200,
        sealed in any::<bool>(),
        v6 in any::<bool>(),
        tos in proptest::option::of(any::<u8>()),
    ) {
        let mut server = server();
        let at = sansio::testing::epoch();
        let builder = attributes.iter().fold(Builder::request(ID), |b, (k, v)| b.attribute(*k, v));
        let builder = builder.padding_to(padding.next_multiple_of(4));
        let datagram = if sealed { builder.finish_unsigned() } else { builder.finish_bare() };
        let (port, peer) = if v6 { (9, addr("[2001:db8::9]:4000")) } else { (0, phone()) };
        let handled = server.handle_query(at, Query { port, peer, tos, datagram: &datagram });
        server.handle_timeout(at + Duration::from_secs(10_000));
        let now = match handled { Handled::Now(reply) => Some(reply), _ => None };
        for reply in now.into_iter().chain(server.poll_reply()) {
            prop_assert!(reply.datagram.len() <= datagram.len());
            prop_assert!(reply.datagram.len() >= HEADER_LEN);
            prop_assert!(Message::parse(&reply.datagram).is_ok());
            prop_assert_eq!(reply.to.ip(), peer.ip());
        }
    }

    #[test]
    fn any_bytes_are_handled_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut whole = vec![0, 1, 0, bytes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
        whole.extend([7; 12]);
        whole.extend(&bytes);
        let query = Query { port: 0, peer: phone(), tos: None, datagram: &whole };
        server().handle_query(sansio::testing::epoch(), query);
    }
}
