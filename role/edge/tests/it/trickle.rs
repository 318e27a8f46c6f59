//! Candidates by INFO (RFC 8840) are for the relay where it ends ICE, and for the far end elsewhere.

use crate::lab::respond;
use crate::talk::talk;
use sip::{HeaderName, Method};

const FRAGMENT: &str = "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n\
    m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n";

fn info(request: &str, body: &str) -> String {
    let head = request.replace("Content-Length: 0\r\n\r\n", "");
    let content = "Info-Package: trickle-ice\r\n\
                   Content-Type: application/trickle-ice-sdpfrag\r\n";
    format!("{head}{content}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn rfc_8840_4_candidates_are_the_relays_where_it_takes_them() {
    let mut talk = talk(1);
    let request = info(&talk.by_caller("INFO", 3), FRAGMENT);
    talk.lab.send(1, &request);
    assert_eq!(talk.lab.next(1).status(), Some(200));
    assert!(talk.lab.is_empty(2));
    let asked = talk.lab.relay_log.last().unwrap();
    assert!(asked.contains("from: None") && asked.contains("a=mid:0"), "{asked}");
}

#[test]
fn rfc_8840_4_candidates_of_another_generation_are_refused_by_the_relay() {
    let mut talk = talk(1);
    let lost = FRAGMENT.replace("8hhY", "lost");
    let request = info(&talk.by_caller("INFO", 3), &lost);
    talk.lab.send(1, &request);
    assert_eq!(talk.lab.next(1).status(), Some(488), "of another generation");
    assert!(talk.lab.is_empty(2));
}

#[test]
fn rfc_8840_4_candidates_pass_untouched_where_the_relay_ends_no_ice() {
    let mut talk = talk(1);
    talk.lab.refuse_relay = true;
    let request = info(&talk.by_callee("INFO", 1), FRAGMENT);
    talk.lab.send(2, &request);
    let got = talk.lab.next(1);
    assert_eq!((got.method(), got.body()), (Some(Method::INFO), FRAGMENT.as_bytes()));
    assert_eq!(got.header_str(HeaderName::INFO_PACKAGE), Some("trickle-ice"));
    assert!(talk.lab.relay_log.last().unwrap().contains("from: Some("));
    talk.lab.send(1, respond(1, &got, 200, false));
    assert_eq!(talk.lab.next(2).status(), Some(200));
}
