//! Loops, spirals and amplification (R2.3, RFC 5393).

use crate::hiding::peer;
use crate::lab::{DOMAIN, Lab, text, with_sdp};
use crate::talk::BOB;
use edge::Config;
use sansio::Transport;
use sip::{HeaderName, Message};

/// Phones that hand each INVITE they get back to us, for another user, with everything on it that a
/// proxy would keep; what they hear of it they pass on.
struct Mirrors {
    lab: Lab,
    received: usize,
    sent: usize,
    hops: usize,
    statuses: Vec<u16>,
}

impl Mirrors {
    /// Two users, each with these phones, all of them mirrors of user1.
    fn new(first: &[u8], second: &[u8]) -> Self {
        let mut lab = Lab::new(1);
        for n in [1].iter().chain(first).chain(second) {
            lab.world().transports.insert(*n, Transport::Tls);
            lab.register(*n, "user1");
        }
        lab.user("user2", first);
        lab.user("user3", second);
        lab.inbox.clear();
        Self { lab, received: 0, sent: 0, hops: 0, statuses: Vec::new() }
    }

    fn send(&mut self, n: u8, message: String) {
        self.received += 1;
        self.lab.send(n, message);
    }

    /// Runs until nobody has anything to say, or far too many messages were sent.
    fn run(&mut self, phones: &[u8]) {
        let offer = crate::policy::body("", crate::policy::SAVP);
        let start = invite(1, BOB, "start", &format!("Max-Forwards: 70\r\n{offer}"), "");
        self.send(1, start);
        while self.sent < 5_000 {
            let next = phones.iter().chain(&[1]).find_map(|n| {
                let message = self.lab.inbox.get_mut(n)?.pop_front()?;
                Some((*n, message))
            });
            let Some((n, message)) = next else { return };
            self.sent += 1;
            self.reflect(n, &message);
        }
        panic!("it never ends");
    }

    fn reflect(&mut self, n: u8, message: &Message) {
        if let Some(status) = message.status() {
            self.statuses.push(status);
            return;
        }
        if message.method() != Some(sip::Method::INVITE) {
            return;
        }
        self.hops += 1;
        // The other user, by the phone that got it.
        let to = if text(Some(message.request_uri())).contains("user2") {
            "sip:user3@example.com"
        } else {
            BOB
        };
        let vias: String = message
            .headers(HeaderName::VIA)
            .map(|v| format!("Via: {}\r\n", text(Some(v))))
            .collect();
        let left = message.max_forwards().unwrap_or(0);
        if left == 0 {
            return;
        }
        let breadth = message.header(HeaderName::MAX_BREADTH).map(|v| text(Some(v)));
        let breadth = breadth.map_or(String::new(), |b| format!("Max-Breadth: {b}\r\n"));
        let offer = crate::policy::body("", crate::policy::SAVP);
        let rest = format!("Max-Forwards: {}\r\n{breadth}{offer}", left - 1);
        let again = invite(n, to, &format!("r{}", self.hops), &rest, &vias);
        self.send(n, again);
    }
}

fn invite(n: u8, to: &str, branch: &str, rest: &str, vias: &str) -> String {
    format!(
        "INVITE {to} SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.{n}:5060;branch=z9hG4bK{branch};rport\r\n{vias}\
         From: <sip:user1@{DOMAIN}>;tag=from1\r\nTo: <{BOB}>\r\nCall-ID: spiral\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:user1@192.0.2.{n}:5060>\r\n{rest}"
    )
}

#[test]
fn r2_3_phones_that_reflect_every_call_cannot_make_it_grow() {
    for (first, second) in
        [(vec![2], vec![3]), (vec![2, 4], vec![3, 5]), (vec![2, 4, 6], vec![3, 5, 7])]
    {
        let phones: Vec<u8> = first.iter().chain(&second).copied().collect();
        let mut mirrors = Mirrors::new(&first, &second);
        mirrors.run(&phones);
        assert!(mirrors.statuses.contains(&482), "{:?}", mirrors.statuses);
        // Each phone of both users once in each order, and no further.
        let n = first.len();
        assert!(mirrors.hops <= n + n * n, "{} hops for {n} phones a user", mirrors.hops);
        // Of what the edge sends, calls and refusals, per message it got: the 100s that only say
        // that it lives are not counted twice.
        let trying = mirrors.statuses.iter().filter(|s| **s == 100).count();
        let factor = (mirrors.sent - trying) as f64 / mirrors.received as f64;
        assert!(factor < 2.0, "amplification {factor} with {n} phones a user");
    }
}

#[test]
fn r2_3_a_peer_that_hands_calls_back_gets_them_refused_at_once() {
    let config = Config { peers: vec![peer("mirror", 11, "")], ..Config::default() };
    let mut lab = Lab::with(1, config);
    let number = "sip:+4940555@example.com";
    lab.world().behind_peers.insert("+4940555".into(), vec![0]);
    lab.invite(1, "user1", number);
    let invite = lab.find(11, "INVITE");
    let back = text(Some(invite.bytes())).replacen(
        "Via:",
        "Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKback;rport\r\nVia:",
        1,
    );
    let back = back.replacen(&text(Some(invite.request_uri())), number, 1);
    lab.send(11, back);
    let answer = lab.find(11, "482");
    assert!(lab.is_empty(11), "one answer, no second INVITE: {answer:?}");
}

#[test]
fn r2_3_breadth_is_shared_out_and_refused_when_it_is_spent() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2, 3]);
    lab.invite(1, "user1", BOB);
    assert_eq!(text(lab.find(2, "INVITE").header(HeaderName::MAX_BREADTH)), "30");
    assert_eq!(text(lab.find(3, "INVITE").header(HeaderName::MAX_BREADTH)), "30");
    let mut one = Lab::new(1);
    one.user("user2", &[2, 3]);
    one.invite_with(1, "user1", BOB, |auth| with_sdp(&format!("{auth}Max-Breadth: 1\r\n")));
    one.find(1, "440");
    assert!(one.is_empty(2) && one.is_empty(3));
    let mut alone = Lab::new(1);
    alone.user("user2", &[2]);
    alone.invite(1, "user1", BOB);
    assert!(alone.find(2, "INVITE").header(HeaderName::MAX_BREADTH).is_none(), "nothing to share");
}

#[test]
fn r2_3_what_phones_write_into_routing_headers_is_repaired_or_refused() {
    let send = |edit: &dyn Fn(String) -> String| {
        let mut lab = Lab::new(1);
        lab.world().transports.insert(1, Transport::Tls);
        lab.register(1, "user1");
        lab.user("user2", &[2]);
        lab.inbox.clear();
        lab.capture.clear();
        let offer = crate::policy::body("", crate::policy::SAVP);
        let whole = invite(1, BOB, "x", &format!("Max-Forwards: 70\r\n{offer}"), "");
        lab.send(1, edit(whole));
        let reached = lab.inbox.get_mut(&2).and_then(std::collections::VecDeque::pop_front);
        let heard = text(lab.capture.get(&1).map(Vec::as_slice));
        let status = heard.strip_prefix("SIP/2.0 ").and_then(|s| s[..3].parse::<u16>().ok());
        (reached, status)
    };
    let with = |from: &'static str, to: &'static str| move |i: String| i.replacen(from, to, 1);
    // Repaired.
    let (reached, _) = send(&with("Max-Forwards: 70\r\n", ""));
    assert_eq!(reached.unwrap().max_forwards(), Some(69), "none is 70");
    let (reached, _) =
        send(&with("Max-Forwards", "Route: <sip:attacker.example;lr>\r\nMax-Forwards"));
    assert!(reached.unwrap().header(HeaderName::ROUTE).is_none(), "no way beyond us");
    let (reached, _) = send(&with(";rport", ";rport=1;received=10.0.0.1"));
    let via = text(reached.unwrap().headers(HeaderName::VIA).nth(1));
    assert!(via.contains("received=192.0.2.1") && !via.contains("10.0.0.1"), "{via}");
    let (reached, _) = send(&with("Max-Forwards: 70", "Max-Forwards: 255"));
    assert_eq!(reached.unwrap().max_forwards(), Some(254));
    // Refused.
    for (from, to) in [
        ("Max-Forwards: 70", "Max-Forwards: 256"),
        ("Max-Forwards: 70", "Max-Forwards: -1"),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 69"),
        ("Max-Forwards", "Route: <sip:\r\nMax-Forwards"),
        ("Max-Forwards", "Record-Route: <sip:a@b\r\nMax-Forwards"),
        ("Max-Forwards", "Via: SIP/2.0/UDP\r\nMax-Forwards"),
        ("Max-Forwards", "Via: nonsense\r\nMax-Forwards"),
    ] {
        let (reached, status) = send(&with(from, to));
        assert!(reached.is_none() && status == Some(400), "{to}: {status:?}");
    }
    let (reached, status) = send(&with("Max-Forwards: 70", "Max-Forwards: 0"));
    assert!(reached.is_none() && status == Some(483));
    let mut lab = Lab::new(1);
    lab.send(1, "ACK sip:x SIP/2.0\r\n\r\n");
    lab.send(1, "\0\0\0");
    assert!(lab.is_empty(1), "what has no Via has no answer");
}
