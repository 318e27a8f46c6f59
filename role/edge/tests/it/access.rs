//! Access edge and core as two servers of ours (R2.1).

use crate::hiding::peer;
use crate::lab::{EMPTY, Lab, credentials, request, respond, text, with_sdp};
use edge::{Config, PeerConfig};
use sansio::Transport;
use sip::{HeaderName, Message};
use std::time::Duration;

/// Where the core is in the edge's lab, and the edge in the core's.
const OTHER: u8 = 11;
const HOME: &str = "sip:example.com";

/// An access edge in front of the core; another server of ours is beside it.
fn edge_config() -> Config {
    let internal = "zone = \"internal\"\n";
    let peers = vec![peer("core", OTHER, internal), peer("pbx", 12, internal)];
    Config { peers, core: Some("core".into()), ..Config::default() }
}

fn edge_lab() -> Lab {
    Lab::with(1, edge_config())
}

fn register(user: &str, n: u8, extra: &str) -> String {
    let to = format!("To: <sip:{user}@example.com>");
    request("REGISTER", n, user, HOME, extra).replace("To: <sip:example.com>", &to)
}

/// The other server's answer with these header lines.
fn answer(lab: &mut Lab, it: &Message, status: u16, headers: &str) {
    let mut response = sip::response_to(it, status, sip::reason_phrase(status)).to_tag("core");
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = response.header(HeaderName::from(name), value);
    }
    lab.send(OTHER, response.build().bytes());
}

fn header(message: &Message, name: HeaderName<'_>) -> String {
    text(message.header(name))
}

/// Phone `n` registers through the edge; the Path the core keeps.
fn path_of(lab: &mut Lab, n: u8) -> String {
    lab.send(n, register("user1", n, EMPTY));
    let asked = lab.find(OTHER, "REGISTER");
    let path = header(&asked, HeaderName::PATH);
    let contact = header(&asked, HeaderName::CONTACT);
    answer(lab, &asked, 200, &format!("Contact: {contact};expires=60\nPath: {path}"));
    lab.find(n, "200");
    path
}

/// A request of the core's for phone `n`, by a Path.
fn by_path(method: &str, from: u8, n: u8, path: &str, extra: &str) -> String {
    let to = format!("sip:user1@192.0.2.{n}:5060");
    request(method, from, "user2", &to, &format!("Route: {path}\r\n{extra}"))
}

#[test]
fn r2_1_an_access_edge_asks_nobody_and_hands_registrations_on_as_they_are() {
    let mut lab = edge_lab();
    lab.send(1, register("user1", 1, EMPTY));
    let asked = lab.find(OTHER, "REGISTER");
    assert_eq!(asked.request_uri(), HOME.as_bytes(), "a digest names it");
    assert_eq!(asked.vias().count(), 2);
    let below = text(asked.headers(HeaderName::VIA).nth(1));
    assert!(below.contains("received=192.0.2.1"), "the core counts guesses by it: {below}");
    assert!(header(&asked, HeaderName::PATH).ends_with(";lr>"));
    let challenge = "Digest realm=\"example.com\", nonce=\"abc\", algorithm=SHA-256, qop=\"auth\"";
    answer(&mut lab, &asked, 401, &format!("WWW-Authenticate: {challenge}"));
    let heard = lab.find(1, "401");
    assert_eq!(header(&heard, HeaderName::WWW_AUTHENTICATE), challenge);

    let shown = credentials(&heard, "REGISTER", HOME, "user1", "pw-user1");
    lab.send(1, register("user1", 1, &format!("{shown}{EMPTY}")));
    let asked = lab.find(OTHER, "REGISTER");
    let passed = format!("Authorization: {}\r\n", header(&asked, HeaderName::AUTHORIZATION));
    assert_eq!(passed, shown);
    let path = header(&asked, HeaderName::PATH);
    let contact = "<sip:user1@192.0.2.1:5060>;expires=60";
    answer(&mut lab, &asked, 200, &format!("Contact: {contact}\nPath: {path}"));
    let heard = lab.find(1, "200");
    assert_eq!(header(&heard, HeaderName::CONTACT), contact, "a phone looks for its own");
    assert_eq!(heard.header(HeaderName::PATH), None, "it would show where we are inside");
    assert!(lab.opened.is_empty());
    lab.assert_nothing_left();
}

#[test]
fn r2_1_the_short_way_of_plain_registers_is_not_taken_at_an_access_edge() {
    let config = edge_config();
    let mut lab = Lab::with(1, Config { core: None, ..config.clone() });
    lab.register(1, "user1");
    let plain = register("user1", 1, EMPTY);
    assert_eq!(lab.send_plain(1, &plain), edge::Taken::Answered, "a phone known here");
    // A reload makes this server the edge of another.
    lab.note(0, edge::Note::Configure(std::sync::Arc::new(config)));
    assert_eq!(lab.send_plain(1, &plain), edge::Taken::No);
    lab.find(OTHER, "REGISTER");
}

#[test]
fn r2_1_the_core_calls_a_phone_by_its_path_over_any_transport() {
    for transport in [Transport::Udp, Transport::Tls] {
        let mut lab = edge_lab();
        lab.world().transports.insert(1, transport);
        let path = path_of(&mut lab, 1);
        lab.send(OTHER, by_path("INVITE", OTHER, 1, &path, &with_sdp("")));
        let invite = lab.find(1, "INVITE");
        assert_eq!(invite.request_uri(), b"sip:user1@192.0.2.1:5060");
        assert_eq!(invite.header(HeaderName::ROUTE), None);
        let toward = if transport == Transport::Udp { "Plain" } else { "Sdes" };
        let relayed = String::from_utf8_lossy(invite.body()).into_owned();
        assert!(relayed.contains(&format!("relayed:offer-1-{toward}")), "{relayed}");
        lab.send(1, respond(1, &invite, 200, true));
        let ok = lab.find(OTHER, "200");
        // The phone hangs up: through us, to the core.
        let route = header(&invite, HeaderName::RECORD_ROUTE);
        let target = text(invite.header(HeaderName::CONTACT));
        let target = target.trim_matches(['<', '>']);
        let bye = format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKbye;rport\r\n\
             Max-Forwards: 70\r\nRoute: {route}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: 9 BYE\r\n{EMPTY}",
            header(&ok, HeaderName::TO),
            header(&invite, HeaderName::FROM),
            header(&invite, HeaderName::CALL_ID),
        );
        lab.send(1, bye);
        let bye = lab.find(OTHER, "BYE");
        answer(&mut lab, &bye, 200, "");
        lab.find(1, "200");
        assert_eq!(lab.ended(), ["bye"], "{transport}");
        lab.assert_nothing_left();
    }
}

#[test]
fn r2_1_a_phone_whose_connection_is_gone_is_430_to_the_core_and_480_to_who_calls() {
    let mut lab = edge_lab();
    lab.world().transports.insert(1, Transport::Tls);
    let path = path_of(&mut lab, 1);
    lab.send(OTHER, by_path("INVITE", OTHER, 1, &path, &with_sdp("")));
    lab.find(1, "INVITE");
    lab.close(1);
    assert_eq!(lab.find(OTHER, "430").reason(), b"Flow Failed");
    lab.assert_nothing_left();

    let mut lab = core_lab(|_| ());
    lab.world().paths.insert(2, "<sip:token@192.0.2.11;lr>".into());
    lab.invite(3, "user3", "sip:user2@example.com");
    let invite = lab.find(2, "INVITE");
    assert_eq!(header(&invite, HeaderName::ROUTE), "<sip:token@192.0.2.11;lr>");
    lab.send(2, respond(2, &invite, 430, false));
    lab.find(3, "480");
    lab.assert_nothing_left();
}

#[test]
fn r2_1_a_path_serves_the_core_and_nobody_else() {
    let mut lab = edge_lab();
    let path = path_of(&mut lab, 1);
    lab.capture.clear();
    // A phone that learned of it: its request goes to the core, without any Route of its own.
    lab.send(2, by_path("INVITE", 2, 1, &path, &with_sdp("")));
    assert_eq!(lab.find(OTHER, "INVITE").header(HeaderName::ROUTE), None);
    // Another server of ours, and the core with a Path that we did not write.
    lab.send(12, by_path("MESSAGE", 12, 1, &path, EMPTY));
    let forged = path.replacen("sip:", "sip:A", 1);
    lab.send(OTHER, by_path("MESSAGE", OTHER, 1, &forged, EMPTY));
    assert_eq!(lab.capture.get(&1), None, "nothing reached the phone");
}

#[test]
fn r2_1_calls_of_phones_go_to_the_core_which_alone_says_who_they_are() {
    let mut lab = edge_lab();
    let to = "sip:user2@example.com";
    let claims = "P-Asserted-Identity: <sip:boss@example.com>\r\n";
    lab.send(1, request("INVITE", 1, "user1", to, &with_sdp(claims)));
    let invite = lab.find(OTHER, "INVITE");
    assert_eq!(invite.request_uri(), to.as_bytes());
    assert_eq!(header(&invite, HeaderName::FROM), "<sip:user1@example.com>;tag=from1");
    let claimed = header(&invite, HeaderName::P_ASSERTED_IDENTITY);
    assert_eq!(claimed, "<sip:boss@example.com>", "for the core to refuse, not to believe");
    let challenge = "Digest realm=\"example.com\", nonce=\"abc\", algorithm=MD5, qop=\"auth\"";
    answer(&mut lab, &invite, 407, &format!("Proxy-Authenticate: {challenge}"));
    let heard = lab.find(1, "407");
    assert_eq!(header(&heard, HeaderName::PROXY_AUTHENTICATE), challenge);
    assert!(lab.opened.is_empty(), "a challenge leaves no record");

    let shown = credentials(&heard, "INVITE", to, "user1", "pw-user1");
    lab.send(1, request("INVITE", 1, "user1", to, &with_sdp(&shown)));
    let invite = lab.find(OTHER, "INVITE");
    let passed = header(&invite, HeaderName::PROXY_AUTHORIZATION);
    assert_eq!(format!("Proxy-Authorization: {passed}\r\n"), shown);
    assert_eq!(lab.opened.len(), 1);
    assert_eq!(lab.openings[0].to, "sip:user2@example.com");
    answer(&mut lab, &invite, 486, "");
    lab.find(1, "486");
    lab.assert_nothing_left();
}

/// A core that phones come to by the edge at number 11.
fn core_lab(more: impl FnOnce(&mut Config)) -> Lab {
    let peers = vec![peer("edge", OTHER, "zone = \"phone\"\n")];
    let mut config = Config { peers, ..Config::default() };
    more(&mut config);
    let mut lab = Lab::with(1, config);
    lab.user("user2", &[2]);
    lab
}

/// What the edge sends on for a phone that it saw at `seen`.
fn behind(seen: &str, branch: u32, text: &str) -> String {
    let via = format!("Via: SIP/2.0/TLS 192.0.2.{OTHER}:5061;branch=z9hG4bKedge{branch}\r\nVia: ");
    let text = text.replacen("Via: ", &via, 1);
    text.replacen(";rport", &format!(";received={seen};rport=5060"), 1)
}

#[test]
fn r2_1_a_connection_of_an_access_edge_proves_nobody() {
    let mut lab = core_lab(|_| ());
    lab.world().transports.insert(OTHER, Transport::Tls);
    let path = "Path: <sip:token@192.0.2.11:5061;transport=tls;lr>\r\n";
    lab.send(OTHER, behind("203.0.113.9", 1, &register("user1", 1, &format!("{path}{EMPTY}"))));
    let challenge = lab.find(OTHER, "401");
    let shown = credentials(&challenge, "REGISTER", HOME, "user1", "pw-user1");
    let again = register("user1", 1, &format!("{path}{shown}{EMPTY}"));
    lab.send(OTHER, behind("203.0.113.9", 2, &again));
    let ok = lab.find(OTHER, "200");
    assert!(path.contains(&header(&ok, HeaderName::PATH)), "RFC 3327 §5.3");
    // Another phone behind the same edge calls as that user.
    let to = "sip:user2@example.com";
    let call = request("INVITE", 1, "user1", to, &with_sdp(""));
    lab.send(OTHER, behind("203.0.113.66", 3, &call));
    lab.find(OTHER, "407");
    assert!(lab.is_empty(2));
}

#[test]
fn r2_1_guesses_behind_an_access_edge_count_against_who_makes_them() {
    let mut lab = core_lab(|config| config.guesses.per_source_h = 3);
    let mut branch = 0;
    let mut guess = |lab: &mut Lab, seen: &str, user: u32, password: &str| {
        let user = format!("user{user}");
        branch += 2;
        lab.send(OTHER, behind(seen, branch, &register(&user, 1, EMPTY)));
        let challenge = lab.find(OTHER, "401");
        let shown = credentials(&challenge, "REGISTER", HOME, &user, password);
        let text = register(&user, 1, &format!("{shown}{EMPTY}"));
        lab.send(OTHER, behind(seen, branch + 1, &text));
        lab.advance(Duration::from_millis(10));
        lab.next(OTHER).status()
    };
    let wrong: Vec<_> = (0..9).map(|n| guess(&mut lab, "203.0.113.9", n, "wrong")).collect();
    assert_eq!(wrong.last(), Some(&Some(503)), "{wrong:?}");
    let right = guess(&mut lab, "198.18.0.7", 40, "pw-user40");
    assert_eq!(right, Some(200), "its neighbour behind the edge is not held responsible");
}

#[test]
fn r2_1_a_core_that_makes_no_sense_is_refused_by_name() {
    let check = |core: &str, peers: Vec<PeerConfig>| {
        let config = Config { peers, core: Some(core.into()), ..Config::default() };
        config.check().unwrap_err().to_string()
    };
    let one = |more: &str| vec![peer("core", OTHER, more)];
    for (name, peers, says) in [
        ("cora", one("zone = \"internal\"\n"), "edge.core is 'cora', which no [[peer]] is"),
        ("core", one(""), "which needs zone = \"internal\""),
        (
            "core",
            one("zone = \"internal\"\nusername = \"a\"\npassword = \"b\"\n"),
            "must have no username",
        ),
        ("core", one("zone = \"internal\"\nhide_topology = true\n"), "must have no hide_topology"),
    ] {
        let error = check(name, peers);
        assert!(error.contains(says), "{error}");
    }
    let edge = peer("edge", OTHER, "zone = \"phone\"\ndomains = [\"a.example\"]\n");
    let error = Config { peers: vec![edge], ..Config::default() }.check().unwrap_err().to_string();
    assert!(error.contains("[[peer]] edge: zone phone is an access edge"), "{error}");
}
