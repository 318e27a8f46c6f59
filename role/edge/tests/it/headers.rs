//! What a hostile or careless client writes, and what may not cross the edge.

use crate::lab::{DOMAIN, EMPTY, Lab, credentials, request, respond, text, with_sdp};
use crate::talk::{BOB, talk, talk_in};
use sansio::Transport;
use sip::{HeaderName, Message};

fn status_of(message: String) -> u16 {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.send(1, message);
    assert!(lab.is_empty(2));
    lab.next(1).status().unwrap()
}

#[test]
fn headers_that_cannot_be_read_are_400() {
    let invite = request("INVITE", 1, "user1", BOB, &with_sdp(""));
    let with = |line: &str| invite.replace("User-Agent", &format!("{line}\r\nUser-Agent"));
    assert_eq!(status_of(with("Route: <sip:")), 400);
    assert_eq!(status_of(with("Record-Route: nonsense")), 400);
    assert_eq!(status_of(invite.replace("<sip:user1@192.0.2.1:5060>", "<mailto:a@b>")), 400);
    assert_eq!(status_of(invite.replace("Contact: <sip:user1@192.0.2.1:5060>\r\n", "")), 400);
    assert_eq!(status_of(invite.replace("To: <sip:", "To: <si:p:::")), 407, "any scheme, RFC 3261");
    assert_eq!(status_of(invite.replace("From: <sip:", "From: <tel:+1;x=")), 400);
}

#[test]
fn addresses_we_do_not_route_are_refused_by_name() {
    let invite = |to: &str| request("INVITE", 1, "user1", to, &with_sdp(""));
    assert_eq!(status_of(invite("sip:example.com")), 484);
    assert_eq!(status_of(invite("mailto:user2@example.com")), 416);
    assert_eq!(status_of(invite("tel:no-number")), 416);
    let publish = request("SUBSCRIBE", 1, "user1", "sip:example.com", EMPTY);
    assert_eq!(status_of(publish), 405);
    let required = invite(BOB).replace("User-Agent", "Proxy-Require: sec-agree\r\nUser-Agent");
    assert_eq!(status_of(required), 420);
}

#[test]
fn a_tel_number_and_an_escaped_user_find_the_user() {
    for (to, user) in [
        ("tel:+1-555-0100;phone-context=x", "+15550100"),
        ("sip:%2A43@example.com", "*43"),
        ("sip:%75ser2@example.com", "user2"),
        ("sip:user2;ext=1@example.com", "user2;ext=1"),
    ] {
        let mut lab = Lab::new(1);
        lab.user(user, &[2]);
        lab.invite_with(1, "user1", to, with_sdp);
        assert_eq!(
            lab.find(2, "INVITE").request_uri(),
            format!("sip:{user}@192.0.2.2:5060").as_bytes()
        );
    }
}

#[test]
fn the_last_hop_is_used_and_no_more() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let one_left = |auth: &str| with_sdp(auth);
    lab.send(1, request("INVITE", 1, "user1", BOB, &one_left("")));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
    let invite = request("INVITE", 1, "user1", BOB, &with_sdp(&auth));
    lab.send(1, invite.replace("Max-Forwards: 70", "Max-Forwards: 1"));
    assert_eq!(lab.find(2, "INVITE").max_forwards(), Some(0));
}

#[test]
fn a_loop_is_482_and_a_spiral_is_not() {
    let mut lab = Lab::new(1);
    lab.world().transports.insert(1, Transport::Tls);
    lab.register(1, "user1");
    lab.user("user2", &[2]);
    lab.send(1, request("INVITE", 1, "user1", BOB, &with_keys("")));
    let via = text(lab.find(2, "INVITE").header(HeaderName::VIA));
    let again = |to: &str, branch: &str| {
        let invite = request("INVITE", 1, "user1", to, &with_keys(""));
        let invite = invite.replace("z9hG4bKINVITE11", branch);
        invite.replacen("Max-Forwards", &format!("Via: {via}\r\nMax-Forwards"), 1)
    };
    lab.send(1, again(BOB, "z9hG4bKlooped"));
    lab.find(1, "482");
    lab.user("user3", &[3]);
    lab.send(1, again("sip:user3@example.com", "z9hG4bKspiral"));
    lab.find(3, "INVITE");
}

#[test]
fn a_call_without_session_id_gets_one_and_a_given_one_is_kept() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.find(2, "INVITE");
    let added = text(invite.header(HeaderName::SESSION_ID));
    let (id, remote) = added.split_once(";remote=").unwrap();
    assert_eq!((id.len(), remote), (32, "00000000000000000000000000000000"));
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
    let given = "Session-ID: 0123456789abcdef0123456789abcdef;remote=1\r\n";
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite_with(1, "user1", BOB, |auth| with_sdp(&format!("{auth}{given}")));
    let invite = lab.find(2, "INVITE");
    assert_eq!(invite.headers(HeaderName::SESSION_ID).count(), 1);
    assert!(text(invite.header(HeaderName::SESSION_ID)).starts_with("0123456789abcdef"));
}

#[test]
fn a_datagram_without_content_length_gets_one_on_a_stream() {
    let mut lab = Lab::new(1);
    lab.world().transports.insert(2, Transport::Tcp);
    lab.user("user2", &[2]);
    let build = |extra: &str| request("MESSAGE", 1, "user1", BOB, &format!("{extra}\r\nhello"));
    lab.send(1, build(""));
    let challenge = lab.find(1, "407");
    let auth = credentials(&challenge, "MESSAGE", BOB, "user1", "pw-user1");
    lab.send(1, build(&auth));
    let got = lab.find(2, "MESSAGE");
    assert_eq!(text(got.header(HeaderName::CONTENT_LENGTH)), "5");
    assert_eq!(got.body(), b"hello");
}

#[test]
fn secrets_and_claims_stay_on_our_side() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let claims = "Authorization: Bearer token-of-user1\r\n\
                  P-Asserted-Identity: <sip:user1@example.com>\r\n";
    let invite = request("INVITE", 1, "user1", BOB, &with_sdp(claims));
    lab.send(1, invite);
    let got = lab.find(2, "INVITE");
    assert!(got.header(HeaderName::AUTHORIZATION).is_none());
    assert!(got.header("P-Asserted-Identity").is_none());
    let mut talk = talk(1);
    let info = talk.by_caller("INFO", 3);
    let info = info.replace("Route:", "Authorization: Bearer token-of-user1\r\nRoute:");
    talk.lab.send(1, info);
    assert!(talk.lab.find(2, "INFO").header(HeaderName::AUTHORIZATION).is_none());
}

#[test]
fn routes_name_the_transport_as_each_side_speaks_it() {
    let mut lab = Lab::new(1);
    lab.world().transports.insert(2, Transport::Wss);
    lab.world().transports.insert(3, Transport::Tls);
    lab.user("user2", &[2, 3]);
    lab.invite(1, "user1", BOB);
    let web = lab.find(2, "INVITE");
    assert!(text(web.header(HeaderName::RECORD_ROUTE)).contains(";transport=ws;lr"));
    assert!(text(web.header(HeaderName::VIA)).starts_with("SIP/2.0/WSS "));
    let tls = lab.find(3, "INVITE");
    assert!(text(tls.header(HeaderName::RECORD_ROUTE)).contains(";transport=tls;lr"));
    lab.send(2, respond(2, &web, 200, true));
    let ok = lab.find(1, "200");
    assert!(text(ok.header(HeaderName::RECORD_ROUTE)).contains(";transport=udp;lr"));
}

/// A call through a server that is known by `address`: the INVITE as the callee got it.
fn called_through(address: &str) -> Message {
    let mut talk = talk_in(Lab::advertised(address));
    let bye = talk.by_caller("BYE", 3);
    talk.lab.send(1, bye);
    let bye = talk.lab.find(2, "BYE");
    assert!(bye.header(HeaderName::ROUTE).is_none(), "the server knows its own Route again");
    let via = text(talk.invite.header(HeaderName::VIA));
    assert!(via.contains(&format!(" {address};")), "{via}");
    talk.invite
}

#[test]
fn a_name_stands_in_via_and_record_route_and_is_known_again() {
    let invite = called_through("sip.example.net:5060");
    assert!(text(invite.header(HeaderName::RECORD_ROUTE)).contains("@sip.example.net:5060;"));
}

#[test]
fn an_ipv6_listener_stands_in_brackets_and_is_known_again() {
    let invite = called_through("[2001:db8::1]:5060");
    let route = invite.record_routes().next().unwrap().unwrap();
    assert_eq!(route.sip_uri().unwrap().ip(), Some("2001:db8::1".parse().unwrap()));
}

#[test]
fn a_register_is_for_oneself_and_requires_only_what_we_know() {
    let register = |extra: &str| {
        request("REGISTER", 1, "user1", "sip:example.com", extra)
            .replace("To: <sip:example.com>", &format!("To: <sip:user1@{DOMAIN}>"))
    };
    let third = register(EMPTY).replace("From: <sip:user1@", "From: <sip:user2@");
    assert_eq!(status_of(third), 403);
    let mut lab = Lab::new(1);
    lab.send(1, register(&format!("Require: path, gruu-x\r\n{EMPTY}")));
    let refused = lab.find(1, "420");
    assert_eq!(text(refused.header(HeaderName::from("Unsupported"))), "gruu-x");
    let known = register(&format!("Require: path, outbound\r\n{EMPTY}"));
    assert_eq!(status_of(known), 401);
}

#[test]
fn credentials_made_for_another_target_are_refused() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp("")));
    let challenge = lab.next(1);
    let other = "sip:premium@example.com";
    let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
    lab.send(1, request("INVITE", 1, "user1", other, &with_sdp(&auth)));
    lab.find(1, "400");
    // The same target with a port and parameters of its own, or the server alone, is no other.
    for spelled in ["sip:user2@example.com:5060;transport=udp", "sip:198.51.100.1:5060"] {
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp("")));
        let challenge = lab.next(1);
        let auth = credentials(&challenge, "INVITE", spelled, "user1", "pw-user1");
        lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp(&auth)));
        lab.find(2, "INVITE");
    }
}

#[test]
fn r1_2_credentials_name_an_ipv6_server_in_any_spelling() {
    let target = "sip:user2@[2001:db8::1]:5060";
    for (spelled, status) in [
        ("sip:2001:db8::1:5060", None),
        ("sip:[2001:DB8:0::1]", None),
        ("sip:2001:db8::2:5060", Some("400")),
        ("sip:user3@2001:db8::1:5060", Some("400")),
    ] {
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.send(1, request("INVITE", 1, "user1", target, &with_sdp("")));
        let challenge = lab.next(1);
        let auth = credentials(&challenge, "INVITE", spelled, "user1", "pw-user1");
        lab.send(1, request("INVITE", 1, "user1", target, &with_sdp(&auth)));
        match status {
            None => lab.find(2, "INVITE"),
            Some(status) => lab.find(1, status),
        };
    }
}

#[test]
fn a_user_name_with_its_domain_is_that_user_and_with_another_is_nobody() {
    for (name, ok) in [("user1@example.com", true), ("user1@evil.example", false)] {
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp("")));
        let challenge = lab.next(1);
        // The edge keeps HA1 of the bare name, so the phone must hash that.
        let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
        let auth = auth.replace("username=\"user1\"", &format!("username=\"{name}\""));
        lab.send(1, request("INVITE", 1, "user1", BOB, &with_sdp(&auth)));
        assert_eq!(lab.is_empty(2), !ok, "{name}");
    }
}

#[test]
fn a_proven_connection_calls_only_as_itself() {
    let mut lab = Lab::new(1);
    lab.world().transports.insert(1, Transport::Tls);
    lab.register(1, "user1");
    lab.user("user2", &[2]);
    lab.send(1, request("INVITE", 1, "user3", BOB, &with_keys("")));
    let challenge = lab.find(1, "407");
    assert!(lab.is_empty(2));
    let auth = credentials(&challenge, "INVITE", BOB, "user1", "pw-user1");
    lab.send(1, request("INVITE", 1, "user3", BOB, &with_keys(&auth)));
    lab.find(1, "403");
    assert!(lab.is_empty(2));
    // Whoever unregisters proves nothing any more.
    let gone = request("REGISTER", 1, "user1", "sip:example.com", EMPTY)
        .replace("To: <sip:example.com>", &format!("To: <sip:user1@{DOMAIN}>"))
        .replace(":5060>\r\n", ":5060>;expires=0\r\n")
        .replace("z9hG4bKREGISTER11", "z9hG4bKREGISTER13");
    lab.send(1, &gone);
    let challenge = lab.find(1, "401");
    let auth = credentials(&challenge, "REGISTER", "sip:example.com", "user1", "pw-user1");
    let gone = gone.replace("REGISTER13", "REGISTER14");
    lab.send(1, gone.replace(EMPTY, &format!("{auth}{EMPTY}")));
    lab.find(1, "200");
    let invite = request("INVITE", 1, "user1", BOB, &with_keys(""));
    lab.send(1, invite.replace("z9hG4bKINVITE11", "z9hG4bKINVITE15"));
    lab.find(1, "407");
}

/// Header lines and body of an offer with SDES keys.
fn with_keys(headers: &str) -> String {
    crate::policy::body(headers, crate::policy::SAVP)
}

/// Header lines and body of several parts.
fn multipart_of(body: &str) -> String {
    let length = body.len();
    format!("Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn r1_6_a_description_among_other_parts_crosses_the_relay_and_the_rest_is_untouched() {
    let sdp = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let parts = |sdp: &str| {
        format!(
            "a preamble\r\n--b\r\nContent-Type: application/ISUP;version=nxv3\r\n\
             Content-Disposition: signal;handling=optional\r\n\r\n\u{1}\u{2}\n\u{7f}\r\n\
             --b\r\nX-Own: y\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\nan epilogue"
        )
    };
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let whole = multipart_of(&parts(sdp));
    lab.invite_with(1, "user1", BOB, |auth| format!("{auth}{whole}"));
    let invite = lab.find(2, "INVITE");
    let offered = parts(&format!("{sdp}a=relayed:offer-1-Plain\r\n"));
    assert_eq!(String::from_utf8_lossy(invite.body()), offered);
    let answer = respond(2, &invite, 200, false).replace("Content-Length: 0\r\n\r\n", &whole);
    lab.send(2, answer);
    let answered = parts(&format!("{sdp}a=relayed:answer-1-Plain\r\n"));
    assert_eq!(String::from_utf8_lossy(lab.find(1, "200").body()), answered);
}

#[test]
fn r1_6_bodies_that_are_no_descriptions_pass() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    let isup = "Content-Type: application/ISUP\r\nContent-Length: 3\r\n\r\n\u{1}\u{2}\u{3}";
    lab.invite_with(1, "user1", BOB, |auth| format!("{auth}P-Early-Media: supported\r\n{isup}"));
    let invite = lab.find(2, "INVITE");
    assert_eq!(invite.body(), [1, 2, 3]);
    assert_eq!(text(invite.header(HeaderName::P_EARLY_MEDIA)), "supported");
    let ringing = respond(2, &invite, 183, true)
        .replace("Content-Type", "P-Early-Media: sendonly\r\nContent-Type");
    lab.send(2, ringing);
    assert_eq!(text(lab.find(1, "183").header(HeaderName::P_EARLY_MEDIA)), "sendonly");
}

#[test]
fn a_description_cannot_hide_from_the_relay() {
    // Two of them, or one that some readers see and some do not.
    let sdp = "Content-Type: application/sdp\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 0\r\n";
    let torn = multipart_of(&format!("--b\n{sdp}\r\n--b--\r\n"));
    assert_eq!(status_of(request("INVITE", 1, "user1", BOB, &torn)), 415);
    let multipart = multipart_of(&format!("--b\r\n{sdp}\r\n--b\r\n{sdp}\r\n--b--\r\n"));
    assert_eq!(status_of(request("INVITE", 1, "user1", BOB, &multipart)), 415);
    let twice = with_sdp("Content-Type: text/plain\r\n");
    assert_eq!(status_of(request("INVITE", 1, "user1", BOB, &twice)), 400);
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.invite(1, "user1", BOB);
    let invite = lab.find(2, "INVITE");
    let answer = respond(2, &invite, 200, false);
    let answer = answer.replace("Content-Length: 0\r\n\r\n", &multipart);
    lab.send(2, answer);
    lab.find(2, "BYE");
    lab.find(1, "488");
    lab.assert_nothing_left();
}

/// Compact names everywhere (RFC 3261 §7.3.3), as old gateways write them.
#[test]
fn r1_6_a_dialog_in_compact_names_is_known_again() {
    let short = |text: String| {
        let names = [("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:")];
        let more = [("Contact:", "m:"), ("Content-Length:", "l:"), ("Content-Type:", "c:")];
        names.iter().chain(&more).fold(text, |t, (long, short)| t.replace(long, short))
    };
    let open = edge::Config {
        open_from: vec!["192.0.2.0/24".parse().unwrap()],
        ..edge::Config::default()
    };
    let mut lab = Lab::with(1, open);
    lab.user("user2", &[2]);
    lab.send(1, short(request("INVITE", 1, "user1", crate::talk::BOB, &with_sdp(""))));
    let invite = lab.find(2, "INVITE");
    lab.send(2, short(respond(2, &invite, 200, true)));
    let ok = lab.find(1, "200");
    let mut talk = crate::talk::Talk { lab, ok, invite };
    for method in ["ACK", "BYE"] {
        let sent = talk.by_caller(method, 2);
        talk.lab.send(1, short(sent));
        assert_eq!(talk.lab.next(2).method().map(|m| m.to_string()), Some(method.into()));
    }
    let bye = talk.by_callee("BYE", 7);
    talk.lab.send(2, short(bye));
    talk.lab.find(1, "BYE");
}
