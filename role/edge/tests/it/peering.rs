//! Calls from peers and to peers (R1.8, R2.5, R2.6, R2.10).

use crate::hiding::peer;
use crate::lab::{EMPTY, Lab, request, respond, text, with_sdp};
use crate::talk::BOB;
use edge::{Config, EdgeEvent, PeerConfig};
use sip::response_policy::{Action, ROWS, ResponsePolicy};
use sip::{HeaderName, Message};
use std::time::Duration;

const NUMBER: &str = "sip:+4940555@example.com";

/// Peers 11, 12 .. take the number in this order.
fn lab(peers: &[&str]) -> Lab {
    let named = |(at, more): (usize, &&str)| -> PeerConfig {
        let n = 11 + at as u8;
        peer(&format!("peer{n}"), n, more)
    };
    let peers: Vec<PeerConfig> = peers.iter().enumerate().map(named).collect();
    let order = (0..peers.len() as u16).collect();
    let mut lab = Lab::with(1, Config { peers, ..Config::default() });
    lab.user("user2", &[2]);
    lab.world().behind_peers.insert("+4940555".into(), order);
    lab.world().numbers.insert("+4930123456".into(), "user1".into());
    lab
}

fn call(lab: &mut Lab) {
    lab.invite(1, "user1", NUMBER);
}

fn answer(lab: &mut Lab, n: u8, invite: &Message, status: u16, headers: &str) {
    let response = respond(n, invite, status, (200..300).contains(&status));
    let response = response.replacen("Content-Length", &format!("{headers}Content-Length"), 1);
    lab.send(n, response);
}

/// The status the caller got in the end, if it got one.
fn heard(lab: &mut Lab) -> Option<u16> {
    let inbox = lab.inbox.entry(1).or_default();
    inbox.iter().filter_map(Message::status).find(|s| *s >= 200)
}

#[test]
fn r1_8_each_status_of_a_peer_leads_where_its_row_says() {
    let registered = ROWS.iter().map(|row| row.status);
    let unregistered =
        [399, 409, 411, 418, 426, 451, 477, 478, 479, 499, 506, 510, 550, 599, 601, 699];
    let mut tried = 0;
    for status in registered.chain(unregistered) {
        let action = ResponsePolicy::default().action(status);
        let mut lab = lab(&["", ""]);
        call(&mut lab);
        let invite = lab.find(11, "INVITE");
        answer(&mut lab, 11, &invite, status, "");
        let went_on = !lab.is_empty(12);
        assert_eq!(went_on, action == Action::FailOver, "{status} is {action:?}");
        assert_eq!(heard(&mut lab).is_none(), went_on, "{status}");
        if went_on {
            let second = lab.find(12, "INVITE");
            answer(&mut lab, 12, &second, 200, "");
            assert_eq!(heard(&mut lab), Some(200), "{status}");
        } else {
            assert_eq!(heard(&mut lab), Some(status), "{status}");
            lab.assert_nothing_left();
        }
        tried += 1;
    }
    assert!(tried >= 80, "{tried} statuses");
}

#[test]
fn r1_8_vendors_causes_and_overrides_count() {
    for (peer, status, headers, goes_on) in [
        ("", 480, "Reason: Q.850;cause=34;text=\"No circuit\"\r\n", true),
        ("", 404, "Reason: SIP;cause=404, Q.850;cause=3\r\n", true),
        ("", 503, "Reason: Q.850;cause=17\r\n", false),
        ("responses = { \"404\" = \"fail-over\" }\n", 404, "", true),
        ("responses = { \"503\" = \"tell-user\" }\n", 503, "Reason: Q.850;cause=34\r\n", false),
    ] {
        let mut lab = lab(&[peer, ""]);
        call(&mut lab);
        let invite = lab.find(11, "INVITE");
        answer(&mut lab, 11, &invite, status, headers);
        assert_eq!(!lab.is_empty(12), goes_on, "{status} {headers}");
    }
}

#[test]
fn r1_8_when_every_peer_fails_the_caller_hears_it_and_a_failed_peer_is_asked_last() {
    let mut lab = lab(&["", "", ""]);
    call(&mut lab);
    for n in [11, 12, 13] {
        let invite = lab.find(n, "INVITE");
        answer(&mut lab, n, &invite, 503, "");
    }
    assert_eq!(heard(&mut lab), Some(500), "RFC 3261 §16.7: a 503 is not for upstream");
    assert_eq!(lab.ended(), ["failed"]);
    lab.assert_nothing_left();
    lab.inbox.clear();
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    answer(&mut lab, 11, &invite, 500, "");
    let second = lab.find(12, "INVITE");
    answer(&mut lab, 12, &second, 486, "");
    assert_eq!(heard(&mut lab), Some(486));
    lab.inbox.clear();
    lab.invite(3, "user3", NUMBER);
    assert!(lab.is_empty(11), "it failed a moment ago");
    lab.find(12, "INVITE");
}

#[test]
fn r1_8_a_silent_peer_is_given_up_and_the_next_one_gets_the_call() {
    let mut lab = lab(&["", ""]);
    call(&mut lab);
    lab.find(11, "INVITE");
    lab.advance(Duration::from_secs(33));
    let second = lab.find(12, "INVITE");
    answer(&mut lab, 12, &second, 200, "");
    assert_eq!(heard(&mut lab), Some(200));
}

#[test]
fn r1_8_a_cancelled_call_goes_to_no_other_peer() {
    let mut lab = lab(&["", ""]);
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    answer(&mut lab, 11, &invite, 180, "");
    let cancel = request("CANCEL", 1, "user1", NUMBER, EMPTY)
        .replace("z9hG4bKCANCEL11", "z9hG4bKINVITE12")
        .replace("CSeq: 1", "CSeq: 2");
    lab.send(1, cancel);
    lab.find(11, "CANCEL");
    answer(&mut lab, 11, &invite, 503, "");
    assert!(lab.is_empty(12));
}

#[test]
fn a_peer_that_wants_a_password_gets_it_once_and_the_dialog_counts_right() {
    let account = "username = \"trunk\"\npassword = \"secret\"\nprofile = \"sipconnect\"\n";
    let mut lab = lab(&[account]);
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    let challenge = "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n1\", algorithm=SHA-256, \
                     qop=\"auth\"\r\n";
    answer(&mut lab, 11, &invite, 407, challenge);
    lab.find(11, "ACK");
    let again = lab.find(11, "INVITE");
    assert_eq!(again.cseq().unwrap().number, invite.cseq().unwrap().number + 1);
    let credentials = text(again.header(HeaderName::PROXY_AUTHORIZATION));
    assert!(
        credentials.contains("username=\"trunk\"") && credentials.contains("realm=\"carrier\"")
    );
    let uri = text(Some(again.request_uri()));
    assert!(credentials.contains(&format!("uri=\"{uri}\"")), "{credentials} for {uri}");
    assert_eq!(heard(&mut lab), None, "the caller hears nothing of it");
    answer(&mut lab, 11, &again, 200, "");
    let ok = lab.find(1, "200");
    assert_eq!(ok.cseq().unwrap().number, 2, "in the caller's count");
    let talk = crate::talk::Talk { lab, ok, invite: again.clone() };
    let mut lab = talk.lab;
    let contact = talk.ok.contacts().next().unwrap().unwrap();
    let route = text(talk.ok.header(HeaderName::RECORD_ROUTE));
    let ack = request("ACK", 1, "user1", &text(Some(contact.uri())), "")
        .replace(
            &format!("To: <{}>", text(Some(contact.uri()))),
            &format!("To: {}", text(talk.ok.header(HeaderName::TO))),
        )
        .replace("CSeq: 1 ACK", "CSeq: 2 ACK")
        + &format!("Route: {route}\r\n{EMPTY}");
    lab.send(1, ack);
    let ack = lab.find(11, "ACK");
    assert_eq!(ack.cseq().unwrap().number, again.cseq().unwrap().number);
    assert_eq!(text(ack.header(HeaderName::FROM)), text(again.header(HeaderName::FROM)));
    let mut wrong = self::lab(&[account]);
    call(&mut wrong);
    for _ in 0..2 {
        let invite = wrong.find(11, "INVITE");
        answer(&mut wrong, 11, &invite, 407, challenge);
    }
    assert!(heard(&mut wrong).is_some(), "not a third time");
}

fn from_peer(method: &str, from: &str, to: &str, extra: &str) -> String {
    request(method, 11, "x", to, extra)
        .replace("<sip:x@example.com>", from)
        .replace("<sip:x@192.0.2.11:5060>", "<sip:192.0.2.11>")
}

#[test]
fn r2_6_a_peer_calls_without_a_password_and_never_under_a_users_name() {
    let mut lab = lab(&[""]);
    lab.send(11, from_peer("INVITE", "<sip:+4940777@carrier.example>", BOB, &with_sdp("")));
    let invite = lab.find(2, "INVITE");
    assert!(text(invite.header(HeaderName::FROM)).starts_with("<sip:+4940777@carrier.example>"));
    let mut spoofed = self::lab(&[""]);
    spoofed.send(11, from_peer("INVITE", "<sip:user1@example.com>", BOB, &with_sdp("")));
    assert_eq!(spoofed.next(11).status(), Some(403));
    let told = spoofed.events.iter().any(
        |e| matches!(e, EdgeEvent::IdentityRefused { user, .. } if user.reveal() == "peer:peer11"),
    );
    assert!(told && spoofed.is_empty(2));
    let mut stranger = self::lab(&[""]);
    stranger.send(1, from_peer("INVITE", "<sip:+4940777@carrier.example>", BOB, &with_sdp("")));
    assert_eq!(stranger.next(1).status(), Some(403), "from anywhere else it is a phone");
}

#[test]
fn r2_6_unsolicited_requests_pass_from_trusted_servers_and_not_from_peers() {
    for (zone, passes) in [("zone = \"internal\"\n", true), ("", false)] {
        for method in ["NOTIFY", "REFER"] {
            let mut lab = lab(&[zone]);
            let extra = format!("Event: x\r\nRefer-To: <sip:a@b>\r\n{EMPTY}");
            lab.send(11, from_peer(method, "<sip:server@inner.example>", BOB, &extra));
            assert_eq!(!lab.is_empty(2), passes, "{method} {zone}");
        }
    }
}

#[test]
fn r2_5_identity_is_asserted_to_peers_and_kept_from_them_where_the_caller_asks() {
    let dial = |profile: &str, extra: &str| {
        let mut lab = lab(&[profile]);
        let number = "P-Preferred-Identity: <tel:+4930123456>\r\n";
        lab.invite_with(1, "user1", NUMBER, |auth| with_sdp(&format!("{auth}{number}{extra}")));
        lab.find(11, "INVITE")
    };
    let plain = dial("", "");
    let asserted = text(plain.header("P-Asserted-Identity"));
    assert_eq!(asserted, "<sip:+4930123456@example.com>");
    assert!(plain.header("P-Preferred-Identity").is_none());
    let connect = dial("profile = \"sipconnect\"\n", "");
    assert_eq!(
        text(connect.header("P-Asserted-Identity")),
        "<sip:+4930123456@198.51.100.1:5060;user=phone>"
    );
    let private = dial("", "Privacy: id\r\n");
    assert!(private.header("P-Asserted-Identity").is_none());
    let trusted = dial("keeps_privacy = true\n", "Privacy: id\r\n");
    assert!(trusted.header("P-Asserted-Identity").is_some());
    assert_eq!(text(trusted.header(HeaderName::PRIVACY)), "id");
    let anonymous = dial("profile = \"sipconnect\"\n", "Privacy: id\r\n");
    assert!(text(anonymous.header(HeaderName::FROM)).contains("anonymous@anonymous.invalid"));
}

#[test]
fn a_call_with_a_peer_is_hung_up_from_the_middle_in_each_sides_words() {
    let mut lab = lab(&["profile = \"sipconnect\"\n"]);
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    answer(&mut lab, 11, &invite, 200, "");
    let ok = lab.find(1, "200");
    let answered = lab.events.iter().find_map(|e| match e {
        EdgeEvent::CallAnswered { call, .. } => Some(*call),
        _ => None,
    });
    lab.note(0, edge::Note::HangUp(answered.unwrap()));
    let at_peer = lab.find(11, "BYE");
    assert_eq!(at_peer.call_id(), invite.call_id());
    assert_eq!(text(at_peer.header(HeaderName::FROM)), text(invite.header(HeaderName::FROM)));
    let at_phone = lab.find(1, "BYE");
    assert_eq!(at_phone.call_id(), ok.call_id());
    assert_eq!(text(at_phone.header(HeaderName::TO)), text(ok.header(HeaderName::FROM)));
}

#[test]
fn r1_3_a_reload_of_peers_keeps_numbers_and_lets_calls_of_removed_ones_end() {
    let mut lab = lab(&["", ""]);
    let old =
        Config { peers: vec![peer("peer11", 11, ""), peer("peer12", 12, "")], ..Config::default() };
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    // The first peer goes, a third comes; the second keeps its number.
    let wanted = vec![peer("peer12", 12, ""), peer("peer13", 13, "")];
    let peers = PeerConfig::in_place_of(&old.peers, wanted);
    let names: Vec<_> = peers.iter().map(|p| (p.name.as_str(), p.retired)).collect();
    assert_eq!(names, [("peer11", true), ("peer12", false), ("peer13", false)]);
    let config = std::sync::Arc::new(Config { peers, ..old });
    lab.note(0, edge::Note::Configure(config));
    // The call under way is answered and hung up as it began.
    answer(&mut lab, 11, &invite, 200, "");
    assert_eq!(heard(&mut lab), Some(200));
    // What comes new from the removed peer is a stranger's, and is asked for a password.
    let other = |n| request("INVITE", n, "someone", BOB, &with_sdp("")).replace("call-", "new-");
    lab.send(11, other(11));
    lab.find(11, "407");
    lab.send(13, other(13));
    assert_eq!(lab.find(13, "100").status(), Some(100));
    // The router may name a peer this shard has not heard of yet.
    lab.world().behind_peers.insert("+4940556".into(), vec![9]);
    lab.invite_with(3, "user3", "sip:+4940556@example.com", with_sdp);
    assert_eq!(lab.find(3, "480").status(), Some(480));
}

/// Calls of `count` users toward the number, when the peer asked for `oc` in its last response: how
/// many reached peer 11, reached peer 12, were refused with 503.
fn held_back(peers: &[&str], oc: &str, count: u8, headers: &str) -> (usize, usize, usize) {
    let mut lab = lab(peers);
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    let busy = respond(11, &invite, 486, false).replacen(";oc;oc-algo=\"loss\"", oc, 1);
    lab.send(11, busy);
    let (mut to_11, mut to_12, mut refused) = (0, 0, 0);
    for n in 30..30 + count {
        lab.inbox.clear();
        lab.invite_with(n, &format!("user{n}"), NUMBER, |auth| {
            with_sdp(&format!("{headers}{auth}"))
        });
        let calls = |lab: &Lab, peer: u8| {
            let got = lab.inbox.get(&peer).into_iter().flatten();
            got.filter(|m| m.method() == Some(sip::Method::INVITE)).count()
        };
        to_11 += calls(&lab, 11);
        to_12 += calls(&lab, 12);
        let answers = lab.inbox.get(&n).into_iter().flatten();
        refused += answers.filter(|m| m.status() == Some(503)).count();
    }
    (to_11, to_12, refused)
}

#[test]
fn r2_7_a_peer_that_asks_for_less_gets_less() {
    let oc = |rest: &str| format!(";oc={rest};oc-algo=\"loss\";oc-validity=1000;oc-seq=2.0");
    let (to_11, _, refused) = held_back(&[""], &oc("50"), 100, "");
    assert!((30..=70).contains(&to_11) && to_11 + refused == 100, "{to_11} and {refused}");
    // Another peer takes what the first does not want.
    let (to_11, to_12, refused) = held_back(&["", ""], &oc("100"), 20, "");
    assert_eq!((to_11, to_12, refused), (0, 20, 0));
    // Nothing is asked for, or for no time, or nobody listens.
    assert_eq!(held_back(&[""], &oc("0"), 20, ""), (20, 0, 0));
    assert_eq!(held_back(&[""], ";oc=100;oc-validity=0;oc-seq=2.0", 20, ""), (20, 0, 0));
    assert_eq!(held_back(&["overload_control = false"], &oc("100"), 20, ""), (20, 0, 0));
    // Who needs help is never held back.
    assert_eq!(held_back(&[""], &oc("100"), 20, "Resource-Priority: esnet.1\r\n"), (20, 0, 0));
}

/// A call to a peer over TCP, answered, and what its caller says in it.
fn trunk_call() -> (crate::talk::Talk, impl Fn(&crate::talk::Talk, &str, u32) -> String) {
    let mut lab = lab(&["transport = \"tcp\"\n"]);
    lab.world().transports.insert(11, sansio::Transport::Tcp);
    call(&mut lab);
    let invite = lab.find(11, "INVITE");
    answer(&mut lab, 11, &invite, 200, "");
    let ok = lab.find(1, "200");
    let by_caller = |talk: &crate::talk::Talk, method: &str, cseq| {
        let text = talk.by_caller(method, cseq);
        text.replace("phone2@192.0.2.2", "phone11@192.0.2.11")
            .replace(&format!("<{BOB}>;tag=to2"), &format!("<{NUMBER}>;tag=to11"))
    };
    (crate::talk::Talk { lab, ok, invite }, by_caller)
}

/// A trunk's connection is closed after ten silent minutes, and calls last longer.
#[test]
fn r2_10_who_hangs_up_reaches_a_peer_whose_connection_is_gone() {
    let (mut talk, by_caller) = trunk_call();
    let ack = by_caller(&talk, "ACK", 2);
    talk.lab.send(1, ack);
    talk.lab.find(11, "ACK");
    let bye = by_caller(&talk, "BYE", 3);
    talk.lab.send(1, bye);
    talk.lab.find(11, "BYE");
    // That one went into a connection which is not there.
    talk.lab.close(11);
    let again = talk.lab.find(11, "BYE");
    assert!(talk.lab.is_empty(1), "the peer has not answered yet");
    talk.lab.send(11, respond(11, &again, 200, false));
    talk.lab.find(1, "200");
    assert_eq!(talk.lab.ended(), ["bye"]);
    talk.lab.assert_nothing_left();
}

#[test]
fn r2_10_a_peer_that_cannot_be_reached_at_all_is_tried_twice_and_no_more() {
    let (mut talk, by_caller) = trunk_call();
    let bye = by_caller(&talk, "BYE", 3);
    talk.lab.send(1, bye);
    for _ in 0..2 {
        talk.lab.find(11, "BYE");
        talk.lab.close(11);
    }
    assert!(talk.lab.is_empty(11), "not a third time");
    talk.lab.find(1, "200");
    talk.lab.assert_nothing_left();
}

#[test]
fn r2_10_a_forced_hang_up_reaches_a_peer_whose_connection_is_gone() {
    let (talk, _) = trunk_call();
    let call = talk.call();
    let mut lab = talk.lab;
    lab.note(0, edge::Note::HangUp(call));
    let lost = lab.find(11, "BYE");
    lab.close(11);
    let again = lab.find(11, "BYE");
    assert_ne!(again.header(HeaderName::VIA), lost.header(HeaderName::VIA), "another transaction");
    assert_eq!(again.header(HeaderName::CSEQ), lost.header(HeaderName::CSEQ));
    lab.close(11);
    assert!(lab.is_empty(11), "not a third time");
    lab.assert_nothing_left();
}
