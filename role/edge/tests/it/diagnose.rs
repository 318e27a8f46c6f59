//! What a phone learns about the way to us.

use crate::lab::{EMPTY, Lab, credentials, request, text};
use sip::HeaderName;

const SERVER: &str = "sip:example.com";

fn echo_request(n: u8, user: &str, credentials: &str) -> String {
    let extra = format!("{credentials}Accept: message/sip\r\nX-Odd:  as   it is \r\n{EMPTY}");
    request("OPTIONS", n, user, SERVER, &extra)
}

#[test]
fn the_server_tells_its_time_in_answers_to_register_and_options() {
    let mut lab = Lab::new(1);
    lab.send(1, request("OPTIONS", 1, "user1", SERVER, EMPTY));
    let date = text(lab.next(1).header(HeaderName::DATE));
    assert_eq!(date, "Fri, 15 Jan 2027 08:00:00 GMT");
    lab.advance(std::time::Duration::from_secs(61));
    let mut lab2 = Lab::new(1);
    lab2.register(1, "user1");
    lab.send(2, request("OPTIONS", 2, "user2", SERVER, EMPTY));
    let later = text(lab.next(2).header(HeaderName::DATE));
    assert_eq!(later, "Fri, 15 Jan 2027 08:01:01 GMT");
}

#[test]
fn a_user_gets_the_raw_request_back_byte_by_byte() {
    let mut lab = Lab::new(1);
    let asked = echo_request(1, "user1", "");
    lab.send(1, &asked);
    let challenge = lab.next(1);
    assert_eq!(challenge.status(), Some(407), "a forged source gets no more than a challenge");
    assert!(challenge.bytes().len() < 2 * asked.len() && challenge.body().is_empty());
    let auth = credentials(&challenge, "OPTIONS", SERVER, "user1", "pw-user1");
    let asked = echo_request(1, "user1", &auth);
    lab.send(1, &asked);
    let ok = lab.next(1);
    assert_eq!(ok.status(), Some(200));
    assert_eq!(text(ok.header(HeaderName::CONTENT_TYPE)), "message/sip");
    // Before `received` and `rport` were filled in.
    assert_eq!(String::from_utf8_lossy(ok.body()), asked);
    assert!(text(ok.header(HeaderName::VIA)).contains("rport=5060"));
    lab.assert_nothing_left();
}

#[test]
fn a_stranger_and_a_wrong_password_get_no_echo() {
    let mut lab = Lab::new(1);
    lab.send(1, echo_request(1, "user1", ""));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "OPTIONS", SERVER, "user1", "wrong");
    lab.send(1, echo_request(1, "user1", &auth));
    let refused = lab.next(1);
    assert_eq!((refused.status(), refused.body().len()), (Some(403), 0));
}

#[test]
fn a_request_too_large_for_a_datagram_is_not_played_back() {
    let mut lab = Lab::new(1);
    lab.send(1, echo_request(1, "user1", ""));
    let challenge = lab.next(1);
    let auth = credentials(&challenge, "OPTIONS", SERVER, "user1", "pw-user1");
    let long = "X: y\r\n".repeat(200) + &format!("X: {}\r\n", "y".repeat(2_000)).repeat(30);
    lab.send(1, echo_request(1, "user1", &format!("{auth}{long}")));
    assert_eq!(lab.next(1).status(), Some(513));
}

#[test]
fn what_comes_to_us_by_two_ways_is_answered_once_and_482_after() {
    let mut lab = Lab::new(1);
    // With `oc` it is answered with a transaction; without, there is no memory to compare with.
    let asked = request("OPTIONS", 1, "user1", SERVER, EMPTY).replace(";rport", ";rport;oc");
    let copy = asked.replace("branch=z9hG4bK", "branch=z9hG4bKother");
    lab.send(1, &asked);
    lab.send(1, &asked);
    assert_eq!([lab.next(1).status(), lab.next(1).status()], [Some(200); 2]);
    lab.send(1, &copy);
    assert_eq!(lab.next(1).status(), Some(482));
    lab.assert_nothing_left();
}

#[test]
fn what_is_forwarded_is_never_called_merged() {
    let mut lab = Lab::new(1);
    lab.user("user2", &[2]);
    lab.user("user3", &[3]);
    lab.invite(1, "user1", crate::talk::BOB);
    let invite = text(Some(lab.find(2, "INVITE").bytes()));
    // Phone 2 hands it back for somebody else, as a proxy would: same Call-ID, From tag and CSeq.
    let back =
        invite.replacen("INVITE sip:user2@192.0.2.2:5060", "INVITE sip:user3@example.com", 1);
    let via = "Via: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKback;rport\r\nVia:";
    lab.send(2, back.replacen("Via:", via, 1));
    let answers: Vec<_> = lab.inbox[&2].iter().filter_map(|m| m.status()).collect();
    assert!(!answers.contains(&482) && !answers.is_empty(), "{answers:?}");
}
