//! The client against a server made of its own messages.

use proptest::prelude::*;

use super::*;
use crate::stun::{Builder, attribute as stun_attr};
use std::time::Instant;

const PEER: &str = "198.51.100.7:4000";

fn client(stream: bool) -> Client {
    let login = Login { user: "alice".into(), password: "secret".into() };
    Client::new(login, stream, &[7; 32])
}

fn key() -> Vec<u8> {
    use md5::{Digest, Md5};
    Md5::digest("alice:example.org:secret").to_vec()
}

/// What a server answers: 401 without credentials, 438 where the nonce is `stale`.
fn answer(request: &[u8], stale: &[u8]) -> Vec<u8> {
    let message = Message::parse(request).unwrap();
    let begin =
        |class| Builder::answer(Vec::new(), (message.method(), class), message.transaction_id());
    let challenge = |code| {
        let error = begin(Class::Error).error(code, "");
        let error = error.attribute(attribute::REALM, b"example.org");
        error.attribute(attribute::NONCE, b"fresh").finish_bare()
    };
    if !message.has_integrity() {
        return challenge(401);
    }
    if message.attribute(attribute::NONCE) == Some(stale) {
        return challenge(438);
    }
    assert!(message.verify_integrity(&key()));
    assert_eq!(message.attribute(stun_attr::USERNAME), Some(&b"alice"[..]));
    let good = begin(Class::Success).attribute(attribute::LIFETIME, &600_u32.to_be_bytes());
    match message.method() {
        method::ALLOCATE => good
            .xor_address(attribute::XOR_RELAYED_ADDRESS, "203.0.113.9:50000".parse().unwrap())
            .xor_mapped_address("203.0.113.1:4000".parse().unwrap())
            .finish(&key()),
        _ => good.finish(&key()),
    }
}

fn run(now: Instant, client: &mut Client, stale: &[u8]) -> u32 {
    let mut asked = 0;
    while let Some(request) = client.poll_transmit() {
        asked += 1;
        assert!(asked < 20, "it asks for ever");
        assert_eq!(client.handle_message(now, &answer(&request, stale)), Received::Answer);
    }
    asked
}

#[test]
fn rfc_8656_7_an_allocation_takes_two_requests_and_a_channel_one() {
    let now = sansio::testing::epoch();
    let mut client = client(false);
    client.start(now);
    assert_eq!(run(now, &mut client, b"none"), 2);
    let relayed = "203.0.113.9:50000".parse().unwrap();
    let mapped = Some("203.0.113.1:4000".parse().unwrap());
    assert_eq!(client.poll_event(), Some(ClientEvent::Allocated { relayed, mapped }));
    let (peer, mut out) = (PEER.parse().unwrap(), Vec::new());
    assert!(!client.wrap(now, peer, b"early", &mut out), "R6.4: no data before the channel");
    client.bind(now, peer);
    assert_eq!(run(now, &mut client, b"none"), 1);
    assert_eq!(client.poll_event(), Some(ClientEvent::Bound(peer)));
    assert!(client.wrap(now, peer, b"hello", &mut out));
    assert_eq!(out, [&[0x40, 0, 0, 5], &b"hello"[..]].concat());
    assert_eq!(client.handle_message(now, &out), Received::Data { peer, range: 4..9 });
    assert_eq!(client.messages(), 3);
}

#[test]
fn rfc_8656_12_5_channel_data_on_a_stream_is_padded() {
    let now = sansio::testing::epoch();
    let mut client = client(true);
    client.start(now);
    run(now, &mut client, b"none");
    let (peer, mut out) = (PEER.parse().unwrap(), Vec::new());
    client.bind(now, peer);
    run(now, &mut client, b"none");
    assert!(client.wrap(now, peer, b"hello", &mut out));
    assert_eq!(out.len(), 12);
    assert_eq!(crate::turn::stream_frame(&out), Ok(Some(12)));
}

#[test]
fn rfc_8489_9_2_a_stale_nonce_is_replaced_and_wrong_credentials_are_not_tried_for_ever() {
    let now = sansio::testing::epoch();
    let mut one = client(false);
    one.start(now);
    // The nonce it gets is stale at once, again and again.
    assert_eq!(run(now, &mut one, b"fresh"), 4);
    assert_eq!(one.poll_event(), Some(ClientEvent::Failed(ClientFailure::Status(438))));
    let mut other = client(false);
    other.start(now);
    for asked in 0.. {
        let Some(request) = other.poll_transmit() else { break };
        assert!(asked < 2, "credentials are refused once");
        let message = Message::parse(&request).unwrap();
        let refused =
            Builder::answer(Vec::new(), (method::ALLOCATE, Class::Error), message.transaction_id())
                .error(401, "")
                .attribute(attribute::REALM, b"example.org")
                .attribute(attribute::NONCE, b"fresh")
                .finish_bare();
        other.handle_message(now, &refused);
    }
    assert_eq!(other.poll_event(), Some(ClientEvent::Failed(ClientFailure::Status(401))));
}

#[test]
fn rfc_8489_6_2_1_an_unanswered_request_is_repeated_ever_more_slowly_and_given_up() {
    let mut now = sansio::testing::epoch();
    let began = now;
    let mut client = client(false);
    client.start(now);
    let mut sent = 0;
    loop {
        while client.poll_transmit().is_some() {
            sent += 1;
        }
        let Some(at) = client.poll_timeout() else { break };
        now = at;
        client.handle_timeout(now);
    }
    assert_eq!(sent, 6);
    assert_eq!(now - began, Duration::from_millis(500 * 63));
    assert_eq!(client.poll_event(), Some(ClientEvent::Failed(ClientFailure::Silent)));
}

/// An hour of a call: the allocation and the channel in use are kept, the other is let go.
#[test]
fn rfc_8656_8_what_is_used_is_refreshed_and_the_rest_lapses() {
    let mut now = sansio::testing::epoch();
    let end = now + Duration::from_secs(3_600);
    let mut client = client(false);
    client.start(now);
    run(now, &mut client, b"none");
    let (used, unused) = (PEER.parse().unwrap(), "198.51.100.8:5000".parse().unwrap());
    client.bind(now, used);
    client.bind(now, unused);
    run(now, &mut client, b"none");
    let mut next_packet = now;
    while now < end {
        now = client.poll_timeout().unwrap_or(end).min(next_packet).max(now);
        if now >= next_packet {
            assert!(client.wrap(now, used, b"x", &mut Vec::new()), "the channel is there");
            next_packet = now + Duration::from_secs(1);
        }
        client.handle_timeout(now);
        run(now, &mut client, b"none");
    }
    assert!(client.relayed().is_some());
    assert!(!client.wrap(now, unused, b"x", &mut Vec::new()));
    assert!(client.messages() < 40, "{} messages in an hour", client.messages());
}

proptest! {
    #[test]
    fn any_bytes_from_the_server_are_taken_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let now = sansio::testing::epoch();
        let mut client = client(false);
        client.start(now);
        run(now, &mut client, b"none");
        if let Received::Data { range, .. } = client.handle_message(now, &bytes) {
            prop_assert!(range.end <= bytes.len());
        }
    }
}
