//! Nothing behind the edge shows outside (R2.2): a marker planted in whatever one side can write
//! must not reach the other, and with the filter off it must.

use crate::lab::{EMPTY, Lab, credentials, request, text, with_sdp};
use crate::talk::BOB;
use edge::{Config, HideFromPhones, PeerConfig};
use sip::{HeaderName, Message};

/// The peer's number in the lab, and what it plants.
const PEER: u8 = 11;
const PEER_MARK: &str = "pmk7";
/// The phone's mark.
const PHONE_MARK: &str = "fmk7";

pub fn peer(name: &str, n: u8, more: &str) -> PeerConfig {
    let text = format!("name = \"{name}\"\naddress = \"192.0.2.{n}\"\n{more}");
    toml::from_str(&text).unwrap()
}

fn lab(hides: bool) -> Lab {
    let config = Config {
        peers: vec![peer("carrier", PEER, &format!("hide_topology = {hides}\n"))],
        hide_from_phones: if hides { HideFromPhones::Inner } else { HideFromPhones::Off },
        ..Config::default()
    };
    let mut lab = Lab::with(1, config);
    lab.user("user2", &[2]);
    lab.world().behind_peers.insert("+4940555".into(), vec![0]);
    lab
}

/// Headers with a mark in each.
fn marked(mark: &str) -> String {
    format!(
        "User-Agent: {mark}-agent/1.0\r\nServer: {mark}-server\r\nOrganization: {mark} Inc\r\n\
         Warning: 399 {mark}.inner \"{mark} text\"\r\nReason: Q.850;cause=16;text=\"{mark} says\"\r\n\
         Path: <sip:{mark}.inner;lr>\r\nHistory-Info: <sip:x@{mark}.inner>;index=1\r\n\
         Call-Info: <http://{mark}.inner/x.png>;purpose=icon\r\n\
         Alert-Info: <http://{mark}.inner/ring.wav>\r\nError-Info: <sip:{mark}@inner>\r\n\
         X-{mark}: yes\r\nX-Inner: {mark}\r\nP-Charging-Vector: icid-value={mark}\r\n\
         P-Access-Network-Info: 3GPP; {mark}\r\nP-Asserted-Identity: <sip:{mark}@inner>\r\n"
    )
}

fn marked_sdp(mark: &str) -> String {
    format!(
        "v=0\r\no={mark} 1 1 IN IP4 198.51.100.9\r\ns={mark}\r\ni={mark}\r\nu=http://{mark}/\r\n\
         e={mark}@inner\r\np={mark}\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\na=tool:{mark}\r\n\
         m=audio 4000 RTP/AVP 0\r\n"
    )
}

fn body(sdp: &str) -> String {
    format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

/// The peer's INVITE, with everything in it that could tell where it comes from.
fn peers_invite() -> String {
    let m = PEER_MARK;
    format!(
        "INVITE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{PEER}:5060;branch=z9hG4bKtop;rport\r\n\
         Via: SIP/2.0/TCP {m}.inner:5070;branch=z9hG4bK{m};received=10.7.7.7\r\n\
         Record-Route: <sip:192.0.2.{PEER};lr>, <sip:{m}.inner;lr>\r\nMax-Forwards: 60\r\n\
         From: <sip:+4940555@carrier.example>;tag=peer1\r\nTo: <{BOB}>\r\nCall-ID: 77@{m}.inner\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:gw@{m}.inner:5062>;+sip.instance=\"<urn:{m}>\"\r\n\
         Supported: replaces\r\nReplaces: 55@{m}.inner;to-tag=1;from-tag=2\r\n\
         Join: 56@{m}.inner;to-tag=3;from-tag=4\r\n{}{}",
        marked(m),
        body(&marked_sdp(m))
    )
}

/// A response of phone 2 with its mark wherever a phone can write.
fn phones_response(invite: &Message, status: u16) -> String {
    let m = PHONE_MARK;
    let built =
        sip::response_to(invite, status, &format!("{m} Reason")).to_tag("to2").record_route();
    let built = built.header(HeaderName::CONTACT, format!("<sip:{m}@{m}.lan:5060>")).build();
    let head = String::from_utf8(built.bytes().to_vec()).unwrap();
    let head = head.replace("Content-Length: 0\r\n\r\n", "");
    let marks: String = marked(m)
        .lines()
        .filter(|l| !l.starts_with("P-Asserted"))
        .map(|l| format!("{l}\r\n"))
        .collect();
    format!("{head}{marks}{}", body(&marked_sdp(m)))
}

/// A request inside the dialog by whoever got `seen` (an INVITE as callee, a 2xx as caller).
fn inside(method: &str, n: u8, seen: &Message, own_tag: &str, cseq: u32, mark: &str) -> String {
    let contact = seen.contacts().next().unwrap().unwrap();
    let target = text(Some(contact.uri()));
    let mut routes: Vec<String> =
        seen.values(HeaderName::RECORD_ROUTE).map(|v| text(Some(v))).collect();
    let (from, to) = (text(seen.header(HeaderName::FROM)), text(seen.header(HeaderName::TO)));
    let (from, to) = match seen.is_request() {
        true => (format!("{to};tag={own_tag}"), from),
        false => {
            // Proxies on the caller's own side have taken theirs off by now.
            routes.retain(|route| route.contains("@198.51.100.1:"));
            routes.reverse();
            (from, to)
        }
    };
    format!(
        "{method} {target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.{n}:5060;branch=z9hG4bK{method}{n}{cseq};rport\r\n\
         Via: SIP/2.0/UDP {mark}.inner;branch=z9hG4bKbelow\r\n\
         Max-Forwards: 70\r\nRoute: {}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:{mark}@{mark}.inner>\r\n{}{EMPTY}",
        routes.join(", "),
        text(seen.header(HeaderName::CALL_ID)),
        marked(mark).replace("P-Asserted-Identity: <sip:", "X-Was: <sip:"),
    )
}

struct Seen {
    by_phone: String,
    by_peer: String,
}

/// A call from the peer to the phone with requests in both directions, and a call of a phone that
/// the peer refuses. What each side ever saw.
fn whole_call(hides: bool) -> Seen {
    let mut lab = lab(hides);
    lab.send(PEER, peers_invite());
    let invite = lab.find(2, "INVITE");
    lab.send(2, phones_response(&invite, 180));
    lab.send(2, phones_response(&invite, 200));
    let ringing = lab.find(PEER, "180");
    assert_eq!(text(ringing.header(HeaderName::CALL_ID)), format!("77@{PEER_MARK}.inner"));
    let ok = lab.find(PEER, "200");
    assert_eq!(ok.headers(HeaderName::VIA).count(), 2, "its own Vias come back");
    assert_eq!(text(ok.header(HeaderName::FROM)), "<sip:+4940555@carrier.example>;tag=peer1");
    lab.send(PEER, inside("ACK", PEER, &ok, "", 1, PEER_MARK));
    let ack = lab.find(2, "ACK");
    assert_eq!(ack.request_uri(), format!("sip:{PHONE_MARK}@{PHONE_MARK}.lan:5060").as_bytes());
    assert_eq!(ack.call_id(), invite.call_id(), "one Call-ID on each side");
    lab.send(2, inside("INFO", 2, &invite, "to2", 5, PHONE_MARK));
    let info = lab.find(PEER, "INFO");
    assert_eq!(info.request_uri(), format!("sip:gw@{PEER_MARK}.inner:5062").as_bytes());
    assert_eq!(text(info.header(HeaderName::CALL_ID)), format!("77@{PEER_MARK}.inner"));
    let routes: Vec<String> = info.values(HeaderName::ROUTE).map(|v| text(Some(v))).collect();
    assert_eq!(routes, [format!("<sip:192.0.2.{PEER};lr>"), format!("<sip:{PEER_MARK}.inner;lr>")]);
    let answer = sip::response_to(&info, 200, &format!("{PEER_MARK} fine")).build();
    let answer = String::from_utf8(answer.bytes().to_vec()).unwrap();
    let answer = answer.replace(EMPTY, &format!("{}{EMPTY}", marked(PEER_MARK)));
    lab.send(PEER, answer);
    let done = lab.find(2, "200");
    assert_eq!(done.call_id(), invite.call_id());
    assert_eq!(text(done.header(HeaderName::CSEQ)), "5 INFO");
    assert_eq!(done.headers(HeaderName::VIA).count(), 2);
    reinvited(&mut lab, &invite);
    lab.send(PEER, inside("BYE", PEER, &ok, "", 2, PEER_MARK));
    let bye = lab.find(2, "BYE");
    lab.send(2, phones_response(&bye, 200));
    lab.find(PEER, "200");
    assert_eq!(lab.ended(), ["bye"]);
    refused_call(&mut lab);
    lab.assert_nothing_left();
    let seen = |n: u8| text(lab.capture.get(&n).map(Vec::as_slice));
    Seen { by_phone: format!("{}{}", seen(2), seen(1)), by_peer: seen(PEER) }
}

/// The phone changes the call, in its own words.
fn reinvited(lab: &mut Lab, invite: &Message) {
    let again = inside("INVITE", 2, invite, "to2", 6, PHONE_MARK);
    lab.send(2, again.replace(EMPTY, &body(&marked_sdp(PHONE_MARK))));
    let again = lab.find(PEER, "INVITE");
    assert!(!again.body().is_empty());
    let answer = sip::response_to(&again, 200, &format!("{PEER_MARK} fine"));
    let answer = answer.header(HeaderName::RECORD_ROUTE, format!("<sip:{PEER_MARK}.inner;lr>"));
    let answer = answer.header(HeaderName::CONTACT, format!("<sip:gw@{PEER_MARK}.inner:5062>"));
    let answer = String::from_utf8(answer.build().bytes().to_vec()).unwrap();
    lab.send(PEER, answer.replace(EMPTY, &body(&marked_sdp(PEER_MARK))));
    let ok = lab.find(2, "200");
    assert!(!ok.body().is_empty());
    lab.send(2, inside("ACK", 2, invite, "to2", 6, PHONE_MARK));
    lab.find(PEER, "ACK");
}

/// Phone 1 calls a number behind the peer, which refuses in its own words.
fn refused_call(lab: &mut Lab) {
    let to = "sip:+4940555@example.com";
    let marks = marked(PHONE_MARK).replace("P-Asserted-Identity: <sip:", "X-Was: <sip:");
    let call = |auth: &str| {
        let invite = request("INVITE", 1, "user1", to, &format!("{auth}{marks}{}", with_sdp("")));
        let invite = invite.replacen("User-Agent: Lab/1\r\n", "", 1);
        let contact = format!("<sip:k{PHONE_MARK}@{PHONE_MARK}.invalid>");
        let invite = invite.replacen("<sip:user1@192.0.2.1:5060>", &contact, 1);
        invite.replacen("Call-ID: call-1", &format!("Call-ID: 1@{PHONE_MARK}.lan"), 1)
    };
    lab.send(1, call(""));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "INVITE", to, "user1", "pw-user1");
    lab.send(1, call(&auth));
    let invite = lab.find(PEER, "INVITE");
    let refusal =
        sip::response_to(&invite, 486, &format!("{PEER_MARK} is busy")).to_tag("x").build();
    let refusal = String::from_utf8(refusal.bytes().to_vec()).unwrap();
    let moved = format!(
        "Contact: <sip:{PEER_MARK}@10.1.1.1>\r\nRecord-Route: <sip:{PEER_MARK}.inner;lr>\r\n{}{EMPTY}",
        marked(PEER_MARK)
    );
    lab.send(PEER, refusal.replace(EMPTY, &moved));
    let busy = lab.find(1, "486");
    assert_eq!(text(busy.header(HeaderName::CALL_ID)), format!("1@{PHONE_MARK}.lan"));
}

#[test]
fn r2_2_a_planted_marker_is_found_with_the_filter_off_and_nowhere_with_it_on() {
    let open = whole_call(false);
    assert!(open.by_phone.matches(PEER_MARK).count() > 40, "the control must find it");
    assert!(open.by_peer.matches(PHONE_MARK).count() > 40, "the control must find it");
    let hidden = whole_call(true);
    let lines = |seen: &str, mark: &str| -> Vec<String> {
        seen.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect()
    };
    // What belongs to the phone's side may come back to it, and the other way round.
    assert_eq!(lines(&hidden.by_phone, PEER_MARK), [""; 0]);
    let at_peer = lines(&hidden.by_peer, PHONE_MARK);
    assert_eq!(at_peer, [""; 0]);
    for inner in ["10.7.7.7", "10.1.1.1"] {
        assert!(open.by_phone.contains(inner) && !hidden.by_phone.contains(inner), "{inner}");
    }
}

#[test]
fn r2_2_a_service_of_ours_does_not_show_its_address() {
    let mut lab = Lab::new(1);
    lab.user("echo", &[9]);
    lab.world().media.insert(9, edge::MediaProfile::Internal);
    lab.invite(1, "user1", "sip:echo@example.com");
    let invite = lab.find(9, "INVITE");
    assert_eq!(invite.headers(HeaderName::VIA).count(), 2, "a service may see who calls");
    lab.send(9, crate::lab::respond(9, &invite, 200, true));
    let ok = lab.find(1, "200");
    let contact = text(ok.header(HeaderName::CONTACT));
    assert!(!contact.contains("192.0.2.9") && contact.contains("@198.51.100.1:5060"), "{contact}");
    lab.send(1, inside("BYE", 1, &ok, "", 3, PHONE_MARK));
    let bye = lab.find(9, "BYE");
    assert_eq!(bye.request_uri(), b"sip:phone9@192.0.2.9:5060");
}

#[test]
fn r2_2_phones_see_each_other_unless_all_are_hidden() {
    for (hide, seen) in [(HideFromPhones::Inner, true), (HideFromPhones::All, false)] {
        let mut lab = Lab::with(1, Config { hide_from_phones: hide, ..Config::default() });
        lab.user("user2", &[2]);
        lab.invite(1, "user1", BOB);
        let invite = lab.find(2, "INVITE");
        let head = text(Some(invite.bytes())).replace("IP4 192.0.2.1", "");
        assert_eq!(head.contains("192.0.2.1"), seen, "{hide:?}");
        lab.send(2, crate::lab::respond(2, &invite, 200, true));
        let ok = lab.find(1, "200");
        assert_eq!(text(ok.header(HeaderName::CONTACT)).contains("192.0.2.2"), seen);
        lab.send(1, inside("ACK", 1, &ok, "", 2, "m"));
        assert_eq!(lab.find(2, "ACK").request_uri(), b"sip:phone2@192.0.2.2:5060");
        lab.send(2, inside("BYE", 2, &invite, "to2", 5, "m"));
        assert_eq!(lab.find(1, "BYE").request_uri(), b"sip:user1@192.0.2.1:5060");
    }
}

#[test]
fn r2_2_a_caller_that_asks_for_header_privacy_is_hidden_from_phones() {
    for (wish, hidden) in [("header;id", true), ("user", true), ("id", false)] {
        let mut lab = Lab::new(1);
        lab.user("user2", &[2]);
        let privacy = format!("Privacy: {wish}\r\n");
        lab.invite_with(1, "user1", BOB, |auth| with_sdp(&format!("{auth}{privacy}")));
        let invite = lab.find(2, "INVITE");
        let shown = text(Some(invite.bytes())).replace("c=IN IP4 192.0.2.1", "");
        assert_eq!(shown.contains("192.0.2.1:"), !hidden, "{wish}");
        lab.send(2, crate::lab::respond(2, &invite, 200, true));
        let ok = lab.find(1, "200");
        assert_eq!(ok.headers(HeaderName::VIA).count(), 1);
    }
}

#[test]
fn r2_2_a_transfer_tells_a_carrier_names_and_no_addresses() {
    for (hides, to, by, status, said) in [
        (true, "sip:user3@example.com", "sip:user2@example.com", 202, true),
        (true, "sip:user3@example.com", "sip:user2@192.0.2.2", 202, false),
        (true, "sip:phone3@192.0.2.3:5060?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc", "", 403, false),
        (true, "sip:phone3@[2001:db8::3]", "", 403, false),
        (false, "sip:phone3@192.0.2.3:5060", "sip:user2@192.0.2.2", 202, true),
    ] {
        let mut lab = lab(hides);
        lab.send(PEER, peers_invite());
        let invite = lab.find(2, "INVITE");
        lab.send(2, phones_response(&invite, 200));
        let ok = lab.find(PEER, "200");
        lab.send(PEER, inside("ACK", PEER, &ok, "", 1, PEER_MARK));
        lab.find(2, "ACK");
        let refer = inside("REFER", 2, &invite, "to2", 5, PHONE_MARK);
        let lines = format!("Refer-To: <{to}>\r\nReferred-By: <{by}>\r\n");
        let lines = if by.is_empty() { lines.replace("Referred-By: <>\r\n", "") } else { lines };
        lab.send(2, refer.replacen("Max-Forwards", &format!("{lines}Max-Forwards"), 1));
        if status == 403 {
            assert_eq!(lab.find(2, "403").reason(), b"Refer-To Names An Address", "{to}");
            assert!(lab.is_empty(PEER), "{to}");
            continue;
        }
        let refer = lab.find(PEER, "REFER");
        assert_eq!(text(refer.header(HeaderName::REFER_TO)), format!("<{to}>"));
        assert_eq!(refer.header(HeaderName::REFERRED_BY).is_some(), said, "{by}");
    }
}

/// A transfer with consultation names the other call by its Call-ID: a carrier gets the veil of it,
/// and what it then sends with that veil reaches the phone by the name the phone knows.
#[test]
fn r2_2_the_call_a_transfer_replaces_is_veiled_toward_a_carrier_and_opened_on_the_way_back() {
    let mut lab = lab(true);
    lab.send(PEER, peers_invite());
    let invite = lab.find(2, "INVITE");
    lab.send(2, phones_response(&invite, 200));
    let ok = lab.find(PEER, "200");
    lab.send(PEER, inside("ACK", PEER, &ok, "", 1, PEER_MARK));
    lab.find(2, "ACK");
    let refer = inside("REFER", 2, &invite, "to2", 5, PHONE_MARK);
    let to = "<sip:user2@example.com?Replaces=99%40fmk7.inner%3Bto-tag%3Da%3Bfrom-tag%3Db>";
    let line = format!("Refer-To: {to}\r\nMax-Forwards");
    lab.send(2, refer.replacen("Max-Forwards", &line, 1));
    let seen = text(lab.find(PEER, "REFER").header(HeaderName::REFER_TO));
    assert!(!seen.contains(PHONE_MARK), "{seen}");
    let replaces = sip::dialog::ReferTo::parse(seen.as_bytes()).unwrap().replaces.unwrap();
    let (veil, rest) = replaces.split_once(';').unwrap();
    assert_eq!(rest, "to-tag=a;from-tag=b");
    for (header, tags) in [("Replaces", rest), ("Join", "to-tag=a;from-tag=b")] {
        let line = format!("{header}: {veil};{tags}\r\nMax-Forwards");
        let invite = peers_invite()
            .replace("Replaces: 55@pmk7.inner;to-tag=1;from-tag=2\r\n", "")
            .replace("Join: 56@pmk7.inner;to-tag=3;from-tag=4\r\n", "")
            .replace("z9hG4bKtop", &format!("z9hG4bKtop{header}"))
            .replace("Call-ID: 77@", &format!("Call-ID: 78{header}@"))
            .replacen("Max-Forwards", &line, 1);
        lab.send(PEER, invite);
        let name = if header == "Join" { HeaderName::JOIN } else { HeaderName::REPLACES };
        let got = lab.find(2, "INVITE");
        assert_eq!(text(got.header(name)), format!("99@fmk7.inner;{tags}"));
    }
}

/// The same of a REFER outside of any call, where an operator lets phones send those.
#[test]
fn r2_2_a_refer_outside_a_call_tells_a_carrier_no_address() {
    for (to, reaches) in [("sip:user3@example.com", true), ("sip:phone3@192.0.2.3", false)] {
        let mut methods = edge::Config::default().methods;
        methods.phone.insert("REFER".into(), toml::from_str("initial = \"allow\"").unwrap());
        let config = Config {
            peers: vec![peer("carrier", PEER, "hide_topology = true\n")],
            methods,
            ..Config::default()
        };
        let mut lab = Lab::with(1, config);
        lab.user("user2", &[2]);
        lab.world().behind_peers.insert("+4940555".into(), vec![0]);
        let carrier = "sip:+4940555@example.com";
        let refer = |auth: &str| {
            let lines = format!("{auth}Refer-To: <{to}>\r\n{EMPTY}");
            request("REFER", 2, "user2", carrier, &lines)
        };
        lab.send(2, refer(""));
        let challenge = lab.next(2);
        lab.send(2, refer(&credentials(&challenge, "REFER", carrier, "user2", "pw-user2")));
        match reaches {
            true => drop(lab.find(PEER, "REFER")),
            false => {
                assert_eq!(lab.find(2, "403").reason(), b"Refer-To Names An Address");
                assert!(lab.is_empty(PEER));
            }
        }
    }
}

#[test]
fn a_peer_is_notified_where_it_subscribed_from_and_not_where_it_is_called() {
    for hides in [false, true] {
        let more = format!(
            "zone = \"internal\"\nhide_topology = {hides}\nsources = [\"192.0.2.11\", \"192.0.2.12\"]\n"
        );
        let config = Config {
            peers: vec![peer("carrier", 11, &more)],
            hide_from_phones: if hides { HideFromPhones::All } else { HideFromPhones::Off },
            ..Config::default()
        };
        let mut lab = Lab::with(1, config);
        lab.user("user2", &[2]);
        let lines = format!("Event: presence\r\n{EMPTY}");
        let subscribe = request("SUBSCRIBE", 12, "x", BOB, &lines)
            .replace("<sip:x@example.com>", "<sip:+4940777@carrier.example>");
        lab.send(12, subscribe);
        let got = lab.find(2, "SUBSCRIBE");
        lab.send(2, crate::lab::respond(2, &got, 200, false));
        let ok = lab.find(12, "200");
        assert_eq!(text(ok.header(HeaderName::CSEQ)), "1 SUBSCRIBE");
        lab.send(2, inside("NOTIFY", 2, &got, "to2", 1, PHONE_MARK));
        let notify = lab.find(12, "NOTIFY");
        assert_eq!(notify.request_uri(), b"sip:x@192.0.2.12:5060", "hides: {hides}");
        assert!(lab.is_empty(11));
    }
}
