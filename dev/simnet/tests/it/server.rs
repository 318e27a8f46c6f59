//! The role cores on a simulated host.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use simnet::{Datagrams, HouseSetup, Link, NatConfig, house, story};

const SERVER: &str = "198.51.100.1";

pub fn setup() -> HouseSetup {
    let user = |name: &str| (name.to_owned(), format!("pw-{name}"));
    HouseSetup {
        address: SERVER.parse().unwrap(),
        domain: "example.com".into(),
        users: BTreeMap::from(["alice", "bob"].map(user)),
        shards: 4,
        edge: edge::Config::default(),
    }
}

fn register(user: &str, number: u32) -> Vec<u8> {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.168.1.2:5060;rport;branch=z9hG4bK{user}{number}\r\n\
         From: <sip:{user}@example.com>;tag={user}\r\nTo: <sip:{user}@example.com>\r\n\
         Call-ID: {user}-1\r\nCSeq: {number} REGISTER\r\nMax-Forwards: 70\r\n\
         Contact: <sip:{user}@192.168.1.2:5060>\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

#[test]
fn a_register_through_a_nat_is_challenged_and_users_are_not_told_apart() {
    story(|net| {
        let nat = net.add_nat("203.0.113.1", Link::lan(), NatConfig::home());
        let phone =
            net.add_host_behind(nat, "phone", "192.168.1.2", Link::wifi(), Datagrams::silent());
        net.add_host("server", SERVER, Link::lan(), house(&setup(), net.seed()));
        let local: SocketAddr = "192.168.1.2:5060".parse().unwrap();
        let server: SocketAddr = "198.51.100.1:5060".parse().unwrap();
        for (number, user) in (1..).zip(["alice", "nobody"]) {
            // A lossy link: the request is repeated as Timer E would.
            for _ in 0..4 {
                net.with(phone, |n, _, _| n.send(local, server, &register(user, number)));
                net.run_for(Duration::from_millis(500));
            }
        }
        let heard = &net.node(phone).received;
        let answer = |user: &str| {
            let call = format!("Call-ID: {user}-1");
            let mut text = heard.iter().map(|h| String::from_utf8_lossy(&h.bytes).into_owned());
            text.find(|t| t.contains(&call)).expect("an answer to one of four")
        };
        for user in ["alice", "nobody"] {
            let answer = answer(user);
            assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
            assert!(answer.contains("received=203.0.113.1"), "{answer}");
            assert!(!answer.contains("pw-"));
        }
    });
}
