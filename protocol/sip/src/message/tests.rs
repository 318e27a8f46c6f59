//! The message on its own; the RFCs' torture messages are in `tests/it`.

use super::*;
use crate::ParseErrorKind;

const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n\
    v: SIP/2.0/TCP a.b , SIP/2.0/TLS c.d\r\n\
    Max-Forwards: 70\r\nTo: Bob <sip:bob@biloxi.com>\r\n\
    From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.com\r\nCSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@pc33.atlanta.com>\r\nX-Odd:  some\r\n\t thing \r\n\
    Content-Type: application/SDP ; x=y\r\nContent-Length: 4\r\n\r\nabcd";

fn parse(text: &str) -> Result<Message, ParseError> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

fn with(line: &str) -> Result<Message, ParseError> {
    parse(&INVITE.replacen("Max-Forwards: 70\r\n", &format!("Max-Forwards: 70\r\n{line}\r\n"), 1))
}

#[test]
fn a_request_is_read() {
    let m = parse(INVITE).unwrap();
    assert!(m.is_request());
    assert_eq!(m.method(), Some(Method::INVITE));
    assert_eq!(m.request_uri(), b"sip:bob@biloxi.com");
    assert_eq!(m.vias().count(), 3);
    assert_eq!(m.top_via().unwrap().host(), "pc33.atlanta.com");
    assert_eq!((m.from_tag(), m.to_tag()), (Some(b"1928301774".as_slice()), None));
    assert_eq!(m.cseq().unwrap(), CSeq { number: 314_159, method: Method::INVITE });
    assert_eq!(m.max_forwards(), Some(70));
    assert_eq!(m.body(), b"abcd");
    assert!(m.has_content_type("application/sdp"));
    assert_eq!(m.header("x-odd"), Some(b"some  \t thing".as_slice()));
    assert_eq!(m.bytes(), INVITE.as_bytes());
    assert_eq!(m.header_lines().count(), 11);
    assert_eq!(format!("{m:?}"), format!("Message(INVITE, {} bytes)", INVITE.len()));
}

#[test]
fn a_response_is_read() {
    let text = INVITE.replacen("INVITE sip:bob@biloxi.com SIP/2.0", "SIP/2.0 486 Busy Here", 1);
    let m = parse(&text).unwrap();
    assert_eq!((m.status(), m.reason(), m.method()), (Some(486), b"Busy Here".as_slice(), None));
    assert_eq!(parse(&text.replacen("486 Busy Here", "486 ", 1)).unwrap().reason(), b"");
}

#[test]
fn surplus_bytes_and_leading_blank_lines_are_dropped() {
    let m = parse(&format!("\r\n\r\n{INVITE}INVITE sip:evil SIP/2.0")).unwrap();
    assert_eq!(m.bytes(), INVITE.as_bytes());
}

#[test]
fn faults_have_kinds_places_and_statuses() {
    let kind = |r: Result<Message, ParseError>| r.unwrap_err().kind;
    assert_eq!(kind(with("To: <sip:x@y>")), ParseErrorKind::Repeated);
    assert_eq!(kind(with("Content-Length : 5")), ParseErrorKind::Repeated);
    assert!(with("Content-Length : 4").is_ok());
    assert_eq!(kind(with("l: 18446744073709551615")), ParseErrorKind::Range);
    assert_eq!(kind(with("l: -1")), ParseErrorKind::Syntax);
    assert_eq!(kind(with("no colon here")), ParseErrorKind::Syntax);
    assert_eq!(kind(with("a: b\nc: d")), ParseErrorKind::Syntax);
    assert_eq!(kind(with("a: b\rc: d")), ParseErrorKind::Syntax);
    assert_eq!(kind(parse(&INVITE.replace("abcd", "abc"))), ParseErrorKind::Incomplete);
    assert_eq!(
        kind(parse(&INVITE.replacen("314159 INVITE", "1 BYE", 1))),
        ParseErrorKind::Mismatch
    );
    let version = parse(&INVITE.replacen("SIP/2.0\r\n", "SIP/7.0\r\n", 1)).unwrap_err();
    assert_eq!((version.kind, version.status()), (ParseErrorKind::Version, 505));
    let bad_to = parse(&INVITE.replacen("To: Bob", "To: \"Bob", 1)).unwrap_err();
    assert_eq!(bad_to.at, INVITE.find("Bob <").unwrap());
    assert_eq!(parse("").unwrap_err().kind, ParseErrorKind::Incomplete);
}

#[test]
fn limits_are_named() {
    let small = Limits { message_bytes_max: 100, headers_max: 256 };
    let bytes = Bytes::from_static(INVITE.as_bytes());
    let error = Message::parse_with(bytes.clone(), &small).unwrap_err();
    assert_eq!((error.kind, error.status()), (ParseErrorKind::TooLarge, 513));
    let few = Limits { headers_max: 5, ..Limits::DEFAULT };
    let error = Message::parse_with(bytes, &few).unwrap_err();
    assert_eq!(error.kind, ParseErrorKind::TooManyHeaders);
    let many = "X: y\r\n".repeat(240);
    assert_eq!(with(many.trim_end()).unwrap().headers(HeaderName::SESSION_EXPIRES).count(), 240);
}

#[test]
fn what_is_not_utf8_passes_and_hides_nothing() {
    let mut bytes = INVITE.replacen("X-Odd:  some", "X-Odd: \u{1}\u{2}", 1).into_bytes();
    let at = bytes.iter().position(|b| *b == 1).unwrap();
    bytes[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    let m = Message::parse(bytes.into()).unwrap();
    assert_eq!(m.body(), b"abcd");
    assert!(m.header(HeaderName::CONTENT_TYPE).is_some());
}

#[test]
fn a_refused_request_can_still_be_read_for_its_answer() {
    for bad in [
        INVITE.replacen("CSeq: 314159", "CSeq: x", 1),
        INVITE.replacen("Max-Forwards: 70", "rubbish", 1),
        INVITE.replacen("sip:bob@biloxi.com SIP/2.0", "sip:bob@biloxi.com; lr SIP/2.0", 1),
        INVITE.replacen("Content-Length: 4", "Content-Length: 4000", 1),
        INVITE.replacen("Content-Length: 4", "Content-Length: x", 1),
    ] {
        assert!(parse(&bad).is_err());
        let m = Message::parse_lenient(bad.into()).unwrap();
        assert_eq!(m.method(), Some(Method::INVITE));
        let answer = crate::response_to(&m, 400, "Bad Request").to_tag("x").build();
        assert_eq!(answer.call_id(), Some(b"a84b4c76e66710@pc33.atlanta.com".as_slice()));
        assert_eq!(answer.vias().count(), 3);
    }
    // A Via nobody can read is copied as it is; without any there is nothing to copy.
    let strange = INVITE.replacen("Via: SIP/2.0", "Via: SIP/9", 1);
    assert!(Message::parse_lenient(strange.into()).is_some_and(|m| m.top_via().is_err()));
    let no_via = INVITE.replace("Via:", "X-Via:").replace("\r\nv:", "\r\nX-V:");
    assert!(Message::parse_lenient(no_via.into()).is_none());
    assert!(Message::parse_lenient(Bytes::from_static(b"SIP/2.0 200 OK\r\n\r\n")).is_none());
}
