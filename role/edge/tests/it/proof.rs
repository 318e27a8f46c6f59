//! Peers known by their certificates, and whose connections are used again (RFC 5922, RFC 5923).

use crate::hiding::peer;
use crate::lab::{EMPTY, Lab, request, respond, text};
use crate::talk::BOB;
use edge::{Config, EdgeEvent};
use sansio::Transport;
use sip::{HeaderName, Message};
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

const NAMED: &str =
    "transport = \"tls\"\nidentity = \"certificate\"\ndomain = \"carrier.example\"\n";

/// A carrier that must prove its name, and bob's phone.
fn lab(more: &str) -> Lab {
    let carrier = peer("carrier", 11, &format!("{NAMED}{more}"));
    let mut lab = Lab::with(1, Config { peers: vec![carrier], ..Config::default() });
    lab.user("user2", &[2]);
    lab.world().behind_peers.insert("+4940555".into(), vec![0]);
    for n in [11, 12] {
        lab.world().transports.insert(n, Transport::Tls);
    }
    lab
}

/// An INVITE of a carrier's caller by connection `n`; each is a call of its own.
fn invite(n: u8, via: &str) -> String {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    request("INVITE", n, "+4940777", BOB, EMPTY)
        .replace("sip:+4940777@example.com", "sip:+4940777@carrier.example")
        .replace("SIP/2.0/UDP", "SIP/2.0/TLS")
        .replace(";rport", via)
        .replace("z9hG4bK", &format!("z9hG4bK{number}"))
        .replace("Call-ID: ", &format!("Call-ID: {number}-"))
}

/// The final answer `n` got.
fn answer(lab: &mut Lab, n: u8) -> String {
    let inbox = lab.inbox.entry(n).or_default();
    let is_final = |m: &&Message| m.status().is_some_and(|status| status >= 200);
    let found = inbox.iter().find(is_final).expect("a final response");
    format!("{} {}", found.status().unwrap(), text(Some(found.reason())))
}

/// What somebody gets who calls under a domain that is not served here.
const STRANGER: &str = "403 ";

#[test]
fn r2_10_a_peer_that_proves_its_name_calls_from_anywhere_and_nobody_else_does() {
    let mut lab = lab("");
    lab.world().proved.insert(12, "carrier.example");
    lab.send(12, invite(12, ";rport"));
    assert!(!lab.is_empty(2), "bob's phone rings: {:?}", lab.inbox);
    // Neither the address of the peer nor another proved name makes one a peer.
    for proved in [None, Some("other.example")] {
        lab.world().proved.clear();
        if let Some(name) = proved {
            lab.world().proved.insert(11, name);
        }
        lab.inbox.clear();
        lab.send(11, invite(11, ";rport"));
        let answer = answer(&mut lab, 11);
        assert!(answer.starts_with(STRANGER) && !answer.contains("Certificate"), "{answer}");
        assert!(lab.is_empty(2));
    }
}

#[test]
fn r2_10_from_the_addresses_of_a_peer_without_its_certificate_it_is_403() {
    let mut lab = lab("sources = [\"192.0.2.11\"]\n");
    lab.send(11, invite(11, ";rport"));
    assert_eq!(answer(&mut lab, 11), "403 Certificate Required");
    lab.inbox.clear();
    lab.world().proved.insert(11, "carrier.example");
    lab.send(11, invite(11, ";rport"));
    assert!(!lab.is_empty(2), "with it, it is welcome");
    lab.inbox.clear();
    lab.world().proved.insert(12, "carrier.example");
    lab.send(12, invite(12, ";rport"));
    let answer = answer(&mut lab, 12);
    assert!(answer.starts_with(STRANGER) && !answer.contains("Certificate"), "{answer}");
    assert!(lab.is_empty(2), "its certificate from elsewhere is a stranger's");
}

#[test]
fn r1_2_a_proved_peers_connection_serves_for_requests_to_it_where_it_offers_so() {
    let mut lab = lab("");
    lab.world().proved.insert(12, "carrier.example");
    lab.send(12, invite(12, ";rport"));
    assert!(lab.world().aliases.is_empty(), "not without alias");
    let ping = request("OPTIONS", 12, "ping", "sip:example.com", EMPTY)
        .replace("SIP/2.0/UDP 192.0.2.12:5060", "SIP/2.0/TLS sbc.carrier.example:5071;alias");
    lab.send(12, &ping);
    lab.send(12, invite(12, ";rport;alias"));
    let aliases = lab.world().aliases.clone();
    let of: Vec<_> = aliases.iter().map(|(hop, flow)| (hop.to_string(), flow.id)).collect();
    let where_ = |port| (format!("TLS:192.0.2.12:{port} (carrier.example)"), 12);
    assert_eq!(of, [where_(5071), where_(5060)], "where its Via says it listens");
    // Who proved nothing offers nothing.
    lab.world().proved.clear();
    lab.send(12, ping.replace("z9hG4bK", "z9hG4bKe"));
    assert_eq!(lab.world().aliases.len(), 2);
}

#[test]
fn r1_2_our_requests_offer_our_connection_to_peers_that_proved_themselves() {
    let mut lab = lab("");
    lab.world().numbers.insert("+4930123456".into(), "user1".into());
    lab.invite(1, "user1", "sip:+4940555@example.com");
    let sent = lab.find(11, "INVITE");
    let via = text(sent.header(HeaderName::VIA));
    assert!(via.starts_with("SIP/2.0/TLS") && via.contains(";alias"), "{via}");
    let mut plain =
        Lab::with(1, Config { peers: vec![peer("plain", 11, "")], ..Config::default() });
    plain.world().behind_peers.insert("+4940555".into(), vec![0]);
    plain.invite(1, "user1", "sip:+4940555@example.com");
    let via = text(plain.find(11, "INVITE").header(HeaderName::VIA));
    assert!(!via.contains("alias"), "{via}");
}

/// Whom a certificate names calls from anywhere: our own BYE, whose connection is gone, goes where the
/// peer is configured to be called.
#[test]
fn r2_10_a_forced_hang_up_reaches_a_proved_peer_whose_connection_is_gone() {
    let mut lab = lab("");
    lab.world().proved.insert(12, "carrier.example");
    lab.send(
        12,
        invite(12, ";rport").replace("<sip:+4940777@192.0.2.12:5060>", "<sip:gw@carrier.example>"),
    );
    let ringing = lab.find(2, "INVITE");
    lab.send(2, respond(2, &ringing, 200, true));
    lab.find(12, "200");
    let answered = lab.events.iter().find_map(|e| match e {
        EdgeEvent::CallAnswered { call, .. } => Some(*call),
        _ => None,
    });
    lab.note(0, edge::Note::HangUp(answered.expect("the call was answered")));
    lab.find(2, "BYE");
    let lost = lab.find(12, "BYE");
    lab.close(12);
    let again = lab.find(11, "BYE");
    assert_ne!(again.header(HeaderName::VIA), lost.header(HeaderName::VIA), "another transaction");
    assert_eq!(again.header(HeaderName::CSEQ), lost.header(HeaderName::CSEQ));
}
