//! Whose media must, should or must not be encrypted (R5.2): `[[edge.encryption]]`.

use crate::hiding::peer;
use crate::lab::{EMPTY, Lab, respond, text};
use crate::policy::{SAVP, body};
use crate::talk::{BOB, described, talk_in};
use edge::{Config, ConfigError, EncryptionRule, MediaProfile};
use sansio::Transport;
use sip::{HeaderName, Message};

const AVP: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
const OSRTP: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
const DTLS: &str = "v=0\r\nm=audio 4000 UDP/TLS/RTP/SAVP 0\r\n";
const NUMBER: &str = "sip:+4940555@example.com";
const POLICIES: [&str; 3] = ["require", "prefer", "forbid"];

fn rule(text: &str) -> EncryptionRule {
    toml::from_str(text).unwrap()
}

fn config(rules: &[&str]) -> Config {
    Config { encryption: rules.iter().map(|text| rule(text)).collect(), ..Config::default() }
}

/// User 1 on UDP or TLS calls user 2, on UDP or TLS.
fn lab(rules: &[&str], transports: [Transport; 2]) -> Lab {
    let mut lab = Lab::with(1, config(rules));
    for (n, transport) in [1, 2].into_iter().zip(transports) {
        lab.world().transports.insert(n, transport);
        lab.world().media.insert(n, MediaProfile::for_transport(transport));
    }
    lab.user("user2", &[2]);
    lab
}

fn call(lab: &mut Lab, sdp: &'static str) {
    lab.invite_with(1, "user1", BOB, |auth| body(auth, sdp));
}

/// The profile the relay was asked to offer in an INVITE.
fn offered(invite: &Message) -> String {
    let body = text(Some(invite.body()));
    body.rsplit('-').next().unwrap_or_default().trim().to_owned()
}

fn refused(lab: &mut Lab, n: u8, reason: &str) {
    let refusal = lab.find(n, "488");
    assert_eq!(text(Some(refusal.reason())), reason);
    assert!(text(refusal.header(HeaderName::from("Warning"))).contains("[[edge.encryption]]"));
}

/// The caller's leg: every way to name it, every policy, every offer.
#[test]
fn r5_2_what_a_caller_offers_is_held_against_its_rule() {
    for scope in ["tenant = \"example.com\"", "tenant = \"example.com\"\nuser = \"user1\"", ""] {
        for policy in POLICIES {
            for (transport, sdp, encrypted) in [
                (Transport::Udp, AVP, false),
                (Transport::Tls, AVP, false),
                (Transport::Udp, DTLS, true),
                (Transport::Tls, SAVP, true),
                (Transport::Tls, OSRTP, true),
            ] {
                let rules = format!("{scope}\nmedia = \"{policy}\"");
                let mut lab = lab(&[&rules], [transport, Transport::Udp]);
                call(&mut lab, sdp);
                // Keys beside RTP in clear can be taken off; the offer holds without them.
                let reason = match (policy, encrypted) {
                    ("require", false) => "Encrypted Media Required",
                    ("forbid", true) if sdp != OSRTP => "Encrypted Media Forbidden",
                    _ => {
                        let invite = lab.find(2, "INVITE");
                        lab.send(2, respond(2, &invite, 200, true));
                        let answer = offered(&lab.find(1, "200"));
                        let plain = policy == "forbid" || !encrypted;
                        assert_eq!(answer == "Plain", plain, "{scope} {policy} {sdp}");
                        continue;
                    }
                };
                refused(&mut lab, 1, reason);
                assert!(lab.is_empty(2) && lab.relay_log.is_empty(), "no media, not even a port");
                lab.assert_nothing_left();
            }
        }
    }
}

/// The callee's leg, its phone on UDP (in clear, as a rule) or TLS, willing or not to encrypt.
#[test]
fn r5_2_a_callee_is_offered_what_its_rule_says_and_never_something_in_clear_behind_its_back() {
    for policy in POLICIES {
        for (transport, encrypted) in [(Transport::Udp, "WebRtc"), (Transport::Tls, "Sdes")] {
            let rules = format!("tenant = \"example.com\"\nuser = \"user2\"\nmedia = \"{policy}\"");
            let first = if policy == "forbid" { "Plain" } else { encrypted };
            let mut willing = lab(&[&rules], [Transport::Udp, transport]);
            call(&mut willing, AVP);
            let invite = willing.find(2, "INVITE");
            assert_eq!(offered(&invite), first, "{policy} {transport:?}");
            willing.send(2, respond(2, &invite, 200, true));
            assert_eq!(offered(&willing.find(1, "200")), "Plain", "the caller's leg has no rule");

            let mut unwilling = lab(&[&rules], [Transport::Udp, transport]);
            call(&mut unwilling, AVP);
            let invite = unwilling.find(2, "INVITE");
            unwilling.send(2, respond(2, &invite, 488, false));
            unwilling.find(2, "ACK");
            if policy == "prefer" {
                let second = unwilling.find(2, "INVITE");
                assert_eq!(offered(&second), "Plain");
                unwilling.send(2, respond(2, &second, 200, true));
                unwilling.find(1, "200");
            } else {
                assert_eq!(unwilling.find(1, "488").status(), Some(488));
                assert!(unwilling.is_empty(2), "{policy}: it is not tried otherwise");
                unwilling.assert_nothing_left();
            }
        }
    }
}

/// A clear peer, by its name and by the number it is called for.
#[test]
fn r5_2_peers_and_numbers_have_rules_of_their_own() {
    for scope in ["peer = \"carrier\"", "number = \"+4940\""] {
        for (policy, more, expected) in [
            ("require", "", "WebRtc"),
            ("prefer", "", "WebRtc"),
            ("forbid", "", "Plain"),
            ("require", "transport = \"tls\"\nmedia = \"rtp\"", "Sdes"),
            ("forbid", "transport = \"tls\"", "Plain"),
        ] {
            let rules = format!("{scope}\nmedia = \"{policy}\"");
            let peers = vec![peer("carrier", 11, more)];
            let mut lab = Lab::with(1, Config { peers, ..config(&[&rules]) });
            lab.world().behind_peers.insert("+4940555".into(), vec![0]);
            lab.invite_with(1, "user1", NUMBER, |auth| body(auth, AVP));
            let invite = lab.find(11, "INVITE");
            assert_eq!(offered(&invite), expected, "{scope} {policy} {more}");
            lab.send(11, respond(11, &invite, 488, false));
            lab.find(11, "ACK");
            if policy == "prefer" {
                assert_eq!(offered(&lab.find(11, "INVITE")), "Plain");
            } else {
                lab.find(1, "488");
            }
        }
    }
    let peers = vec![peer("carrier", 11, "")];
    let rules = ["peer = \"carrier\"\nmedia = \"require\""];
    let mut lab = Lab::with(1, Config { peers, ..config(&rules) });
    lab.user("user2", &[2]);
    let invite = crate::lab::request("INVITE", 11, "anybody", BOB, "");
    lab.send(11, body(&invite, AVP));
    refused(&mut lab, 11, "Encrypted Media Required");
}

/// A regulated tenant: every leg of its calls, whoever is at the other end.
#[test]
fn r5_2_a_regulated_tenant_has_no_leg_in_clear() {
    let regulated =
        "tenant = \"example.com\"\nuser = \"user1\"\nmedia = \"require\"\nevery_leg = true";
    let mut calls = lab(&[regulated], [Transport::Tls, Transport::Udp]);
    call(&mut calls, SAVP);
    assert_eq!(offered(&calls.find(2, "INVITE")), "WebRtc");

    let called = regulated.replace("user1", "user2");
    let mut clear = lab(&[&called], [Transport::Udp, Transport::Tls]);
    call(&mut clear, AVP);
    refused(&mut clear, 1, "Encrypted Media Required");
    assert!(clear.is_empty(2));

    let banned = "tenant = \"example.com\"\nuser = \"user2\"\nmedia = \"forbid\"";
    let mut both = lab(&[regulated, banned], [Transport::Tls, Transport::Udp]);
    call(&mut both, SAVP);
    refused(&mut both, 1, "Encryption Required And Forbidden");
    assert!(both.is_empty(2));
    both.assert_nothing_left();
}

/// The rule holds as long as the call, for offers of either side and for delayed ones.
#[test]
fn r5_2_a_reoffer_cannot_leave_the_rule() {
    let mut required =
        Lab::with(1, config(&["tenant = \"example.com\"\nuser = \"user2\"\nmedia = \"require\""]));
    required.user("user2", &[2]);
    let mut talk = talk_in(required);
    let clear = talk.by_callee("INVITE", 1);
    talk.lab.send(2, described(&clear, AVP));
    refused(&mut talk.lab, 2, "Encrypted Media Required");
    assert!(talk.lab.is_empty(1) && talk.lab.ended().is_empty(), "the call goes on as it was");
    let rules = ["tenant = \"example.com\"\nuser = \"user2\"\nmedia = \"require\""];
    let mut delayed = lab(&rules, [Transport::Udp, Transport::Udp]);
    delayed.invite_with(1, "user1", BOB, |auth| format!("{auth}{EMPTY}"));
    let invite = delayed.find(2, "INVITE");
    delayed.send(2, respond(2, &invite, 200, true));
    delayed.find(2, "ACK");
    delayed.find(2, "BYE");
    delayed.find(1, "488");
    delayed.assert_nothing_left();
}

#[test]
fn a_rule_that_makes_no_sense_is_refused_at_the_start() {
    for (text, field) in [
        ("peer = \"nobody\"\nmedia = \"prefer\"", "peer"),
        ("user = \"a\"\nmedia = \"prefer\"", "user"),
        ("number = \"4x\"\nmedia = \"prefer\"", "number"),
        ("media = \"forbid\"\nevery_leg = true", "every_leg"),
    ] {
        match config(&["media = \"prefer\"", text]).check() {
            Err(ConfigError::Encryption { number: 2, field: named, .. }) => {
                assert_eq!(named, field)
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(toml::from_str::<EncryptionRule>("media = \"required\"").is_err());
    assert!(toml::from_str::<EncryptionRule>("media = \"require\"\nlegs = 2").is_err());
}

const ZRTP: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=zrtp-hash:1.10 00ff\r\n";

/// The answer of one who agrees on keys between the two ends.
fn agrees(n: u8, invite: &Message) -> String {
    let answer = respond(n, invite, 200, true);
    let line = "a=zrtp-hash:1.10 ff00\r\n";
    let length = |text: &str, more: usize| {
        let at = text.find("Content-Length: ").expect("a length") + 16;
        let end = at + text[at..].find('\r').expect("its line");
        let bytes: usize = text[at..end].parse().expect("a number");
        format!("{}{}{}", &text[..at], bytes + more, &text[end..])
    };
    length(&answer, line.len()) + line
}

/// R5.4: keys of the two ends count as encryption where it is required, pass the relay as an offer of
/// theirs, and must be answered by the like.
#[test]
fn r5_4_an_offer_of_keys_between_the_ends_is_encrypted_and_must_be_answered_so() {
    let both = [Transport::Tls, Transport::Tls];
    let mut agreed = lab(&[], both);
    call(&mut agreed, ZRTP);
    let invite = agreed.find(2, "INVITE");
    assert_eq!(offered(&invite), "EndToEnd");
    agreed.send(2, agrees(2, &invite));
    assert_eq!(offered(&agreed.find(1, "200")), "EndToEnd");

    // In clear: taken back, and 488.
    let mut clear = lab(&[], both);
    call(&mut clear, ZRTP);
    let invite = clear.find(2, "INVITE");
    clear.send(2, respond(2, &invite, 200, true));
    clear.find(2, "ACK");
    clear.find(2, "BYE");
    clear.find(1, "488");

    // Where nobody has to encrypt, a phone without ZRTP is talked to in clear.
    let mut free = lab(&[], [Transport::Udp, Transport::Udp]);
    call(&mut free, ZRTP);
    let invite = free.find(2, "INVITE");
    assert_eq!(offered(&invite), "EndToEnd");
    free.send(2, respond(2, &invite, 200, true));
    free.find(1, "200");
}

/// R5.3: a phone that cannot is asked once more, with keys of ours; a rule that forbids is kept.
#[test]
fn r5_3_a_phone_without_zrtp_is_offered_what_it_has_and_a_ban_holds() {
    let mut unable = lab(&[], [Transport::Tls, Transport::Tls]);
    call(&mut unable, ZRTP);
    let invite = unable.find(2, "INVITE");
    unable.send(2, respond(2, &invite, 488, false));
    unable.find(2, "ACK");
    let second = unable.find(2, "INVITE");
    assert_eq!(offered(&second), "Sdes");
    unable.send(2, respond(2, &second, 200, true));
    assert_eq!(offered(&unable.find(1, "200")), "EndToEnd");

    let banned = "tenant = \"example.com\"\nuser = \"user1\"\nmedia = \"forbid\"";
    let mut caller = lab(&[banned], [Transport::Udp, Transport::Udp]);
    call(&mut caller, ZRTP);
    refused(&mut caller, 1, "Encrypted Media Forbidden");

    let banned = "tenant = \"example.com\"\nuser = \"user2\"\nmedia = \"forbid\"";
    let mut callee = lab(&[banned], [Transport::Udp, Transport::Udp]);
    call(&mut callee, ZRTP);
    assert_eq!(offered(&callee.find(2, "INVITE")), "Plain");
}

/// The 488 of a phone of ours that insists on ZRTP.
fn insists(invite: &Message) -> String {
    let warning = "Warning: 399 whimbrel \"media keys by ZRTP wanted (a=zrtp-hash)\"\r\n";
    let refusal = respond(2, invite, 488, false);
    refusal.replacen("Content-Length:", &format!("{warning}Content-Length:"), 1)
}

/// R5.3, the other way round: a phone that insists on ZRTP refuses what has none, and is asked once
/// more: the relay agrees on keys with it. Beside a caller in clear nobody sits between.
#[test]
fn r5_3_a_phone_that_insists_on_zrtp_is_offered_it_by_the_relay_beside_an_encrypted_caller() {
    for (transport, first) in [(Transport::Tls, "Sdes"), (Transport::Udp, "Plain")] {
        let mut lab = lab(&[], [Transport::Tls, transport]);
        call(&mut lab, SAVP);
        let invite = lab.find(2, "INVITE");
        assert_eq!(offered(&invite), first);
        lab.send(2, insists(&invite));
        lab.find(2, "ACK");
        let second = lab.find(2, "INVITE");
        assert_eq!(offered(&second), "Mediated");
        lab.send(2, agrees(2, &second));
        assert_eq!(offered(&lab.find(1, "200")), "Sdes");
    }
    // Who refuses that as well has no media in common, and is asked no third time.
    let mut unable = lab(&[], [Transport::Tls, Transport::Tls]);
    call(&mut unable, SAVP);
    for _ in 0..2 {
        let invite = unable.find(2, "INVITE");
        unable.send(2, insists(&invite));
        unable.find(2, "ACK");
    }
    unable.find(1, "488");

    // Who does not say that ZRTP would do is not asked: it would ring, and be hung up on.
    let mut other = lab(&[], [Transport::Tls, Transport::Tls]);
    call(&mut other, SAVP);
    let invite = other.find(2, "INVITE");
    other.send(2, respond(2, &invite, 488, false));
    other.find(1, "488");

    let mut clear = lab(&[], [Transport::Udp, Transport::Udp]);
    call(&mut clear, AVP);
    let invite = clear.find(2, "INVITE");
    clear.send(2, insists(&invite));
    clear.find(1, "488");

    let banned = "tenant = \"example.com\"\nuser = \"user2\"\nmedia = \"forbid\"";
    let mut banned = lab(&[banned], [Transport::Tls, Transport::Tls]);
    call(&mut banned, SAVP);
    let invite = banned.find(2, "INVITE");
    banned.send(2, insists(&invite));
    banned.find(1, "488");
}
