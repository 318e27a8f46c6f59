//! Splices a proxy makes, and that nothing else moves.

use super::*;

const TEXT: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
    v: SIP/2.0/UDP one;branch=z9hG4bK1 ,SIP/2.0/UDP two\r\n\
    Route: <sip:p1;lr>,<sip:p2;lr>\r\nroute:<sip:p3;lr>\r\n\
    x-ODD :\tkeep\r\n  me  \r\n\
    t: <sip:bob@biloxi.com>\r\nf: <sip:alice@atlanta.com>;tag=1\r\n\
    i: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nl: 4\r\n\r\nabcd";

fn message() -> Message {
    Message::parse(TEXT.into()).unwrap()
}

fn text(m: &Message) -> &str {
    std::str::from_utf8(m.bytes()).unwrap()
}

/// The index made while writing is the index a parse would make.
fn check(m: Message) -> Message {
    let parsed = Message::parse(m.bytes().clone()).unwrap();
    assert!(m.header_lines().eq(parsed.header_lines()), "{}", text(&m));
    assert_eq!((m.body(), m.request_uri()), (parsed.body(), parsed.request_uri()));
    m
}

#[test]
fn no_edits_change_no_byte() {
    assert_eq!(Edit::new(&message()).finish().bytes(), TEXT.as_bytes());
    let same = Edit::new(&message()).remove_all("x-none").remove_first("x-none").finish();
    assert_eq!(same.bytes(), TEXT.as_bytes());
}

#[test]
fn a_proxy_hop_touches_only_its_lines() {
    let m = check(
        Edit::new(&message())
            .prepend(HeaderName::VIA, "SIP/2.0/TCP proxy;branch=z9hG4bK2")
            .remove_first(HeaderName::ROUTE)
            .replace_first(HeaderName::MAX_FORWARDS, "69")
            .prepend(HeaderName::RECORD_ROUTE, "<sip:proxy;lr>")
            .replace_request_uri("sip:bob@192.0.2.4")
            .finish(),
    );
    let want = TEXT
        .replace("sip:bob@biloxi.com SIP", "sip:bob@192.0.2.4 SIP")
        .replace("v: SIP", "Via: SIP/2.0/TCP proxy;branch=z9hG4bK2\r\nv: SIP")
        .replace("Route: <sip:p1;lr>,<sip:p2", "Record-Route: <sip:proxy;lr>\r\nRoute: <sip:p2")
        .replace("Forwards: 70", "Forwards: 69");
    assert_eq!(text(&m), want);
}

#[test]
fn first_values_leave_lists_one_by_one() {
    let m = check(Edit::new(&message()).remove_first(HeaderName::VIA).finish());
    assert_eq!(m.top_via().unwrap().host(), "two");
    let mut edit = Edit::new(&m);
    for left in [2, 1, 0] {
        edit = edit.remove_first(HeaderName::ROUTE);
        assert_eq!(edit.clone().finish().routes().count(), left);
    }
    let m = message();
    let replaced = check(Edit::new(&m).replace_first(HeaderName::VIA, "SIP/2.0/UDP new").finish());
    let hosts: Vec<_> = replaced.vias().map(|v| v.unwrap().host().to_owned()).collect();
    assert_eq!(hosts, ["new", "two"]);
}

#[test]
fn a_new_body_brings_its_length() {
    let m = message();
    let bodied = check(Edit::new(&m).replace_body("application/sdp", "v=0\r\n").finish());
    assert_eq!(bodied.body(), b"v=0\r\n");
    assert_eq!(bodied.headers(HeaderName::CONTENT_LENGTH).collect::<Vec<_>>(), [b"5"]);
    let bare = check(Edit::new(&bodied).replace_body("", "").finish());
    assert_eq!((bare.body(), bare.content_type()), (b"".as_slice(), None));
}

#[test]
fn commas_of_headers_that_are_no_lists_stay() {
    let m = Edit::new(&message()).append(HeaderName::DATE, "Fri, 01 Jan 2010").finish();
    let m = check(Edit::new(&m).replace_first(HeaderName::DATE, "Sat, 02 Jan 2010").finish());
    assert_eq!(m.header(HeaderName::DATE), Some(b"Sat, 02 Jan 2010".as_slice()));
}

#[test]
fn a_missing_content_length_can_be_added() {
    let lacking = TEXT.replace("l: 4\r\n", "");
    let m = Message::parse(lacking.into()).unwrap();
    let fixed = check(Edit::new(&m).ensure_content_length().finish());
    assert_eq!(fixed.header(HeaderName::CONTENT_LENGTH), Some(b"4".as_slice()));
    assert_eq!(Edit::new(&fixed).ensure_content_length().finish(), fixed);
}
