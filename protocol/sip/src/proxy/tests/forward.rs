//! The edits of requests and responses under way.

use super::upstream;
use crate::proxy::forward::{self, Outgoing, Refusal};
use crate::{Edit, HeaderName, Message, Method, SipUri, ViaBuilder, response_to};
use sansio::Transport;

fn with(edit: impl FnOnce(Edit<'_>) -> Edit<'_>) -> Message {
    edit(Edit::new(&upstream(Method::INVITE))).finish()
}

fn vias(message: &Message) -> Vec<String> {
    message.values(HeaderName::VIA).map(|v| String::from_utf8_lossy(v).into_owned()).collect()
}

#[test]
fn max_forwards_counts_down_to_483() {
    for (given, expected) in
        [("70", Ok(69)), ("1", Ok(0)), ("0", Err(Refusal::TooManyHops)), ("255", Ok(254))]
    {
        let message = with(|e| e.replace_first(HeaderName::MAX_FORWARDS, given));
        assert_eq!(forward::max_forwards(&message), expected);
    }
    let none = with(|e| e.remove_all(HeaderName::MAX_FORWARDS));
    assert_eq!(forward::max_forwards(&none), Ok(70));
    assert_eq!(Refusal::TooManyHops.status(), 483);
}

#[test]
fn outgoing_changes_what_it_must_and_nothing_else() {
    let request = with(|e| {
        e.append("X-Unknown", "  kept ,as is").prepend(HeaderName::RECORD_ROUTE, "<sip:p0;lr>")
    });
    let via = ViaBuilder::new(Transport::Tls, "edge.example.com").branch("z9hG4bKx").build();
    let routes = ["<sip:in;lr>", "<sip:out;lr>"];
    let outgoing = Outgoing {
        request_uri: Some(b"sip:bob@192.0.2.7"),
        via: &via,
        record_routes: &routes,
        max_breadth: Some(30),
    };
    let sent = outgoing.prepare(&request).unwrap().finish();
    assert_eq!(sent.request_uri(), b"sip:bob@192.0.2.7");
    assert_eq!(sent.max_forwards(), Some(69));
    assert_eq!(sent.top_via().unwrap().branch(), Some(b"z9hG4bKx".as_slice()));
    let recorded: Vec<&[u8]> = sent.values(HeaderName::RECORD_ROUTE).collect();
    assert_eq!(recorded, [b"<sip:out;lr>".as_slice(), b"<sip:in;lr>", b"<sip:p0;lr>"]);
    assert_eq!(sent.header("X-Unknown"), request.header("X-Unknown"));
    assert_eq!(sent.header("Max-Breadth"), Some(b"30".as_slice()));
}

#[test]
fn r2_3_a_loop_is_told_from_a_spiral() {
    let ours = |via: &crate::Via<'_>| via.host() == "edge.example.com";
    let request = upstream(Method::INVITE);
    let token = forward::loop_token(7, &request);
    let branch = forward::branch("z9hG4bKw00000001", "abc", &token);
    let via = ViaBuilder::new(Transport::Udp, "edge.example.com").branch(&branch).build();
    let forwarded =
        Outgoing { via: &via, ..Outgoing::default() }.prepare(&request).unwrap().finish();
    let other = ViaBuilder::new(Transport::Udp, "elsewhere").branch("z9hG4bKo").build();
    let back =
        Outgoing { via: &other, ..Outgoing::default() }.prepare(&forwarded).unwrap().finish();
    let again = forward::loop_token(7, &back);
    assert_eq!(again, token, "Via and Max-Forwards stay out of the token");
    assert!(forward::is_loop(7, &back, ours));
    assert!(!forward::is_loop(7, &back, |_| false));
    let spiral = Edit::new(&back).replace_request_uri("sip:carol@example.com").finish();
    assert!(!forward::is_loop(7, &spiral, ours));
    assert_ne!(forward::loop_token(8, &request), token);
}

#[test]
fn r2_3_max_breadth_is_shared_out_or_refused() {
    let request = upstream(Method::INVITE);
    assert_eq!(forward::split_breadth(&request, 7).unwrap().iter().sum::<u32>(), 60);
    let narrow = with(|e| e.append(HeaderName::MAX_BREADTH, "3"));
    assert_eq!(forward::split_breadth(&narrow, 2), Ok(vec![2, 1]));
    assert_eq!(forward::split_breadth(&narrow, 4), Err(Refusal::BreadthExceeded));
    assert_eq!(forward::split_breadth(&narrow, 0), Ok(vec![]));
    let wild = with(|e| e.append(HeaderName::MAX_BREADTH, "4000000000"));
    assert_eq!(forward::split_breadth(&wild, 1), Ok(vec![60]));
}

#[test]
fn received_and_rport_tell_where_a_request_came_from() {
    let peer = "198.51.100.9:40404".parse().unwrap();
    for (via, expected) in [
        (
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;received=198.51.100.9",
        ),
        (
            "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK1;x",
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;x;received=198.51.100.9;rport=40404",
        ),
        (
            "SIP/2.0/TCP 198.51.100.9;branch=z9hG4bK1;received=10.0.0.1",
            "SIP/2.0/TCP 198.51.100.9;branch=z9hG4bK1",
        ),
        (
            "SIP/2.0/TCP 198.51.100.9;branch=z9hG4bK1;rport",
            "SIP/2.0/TCP 198.51.100.9;branch=z9hG4bK1;received=198.51.100.9;rport=40404",
        ),
        ("SIP/2.0/TCP 198.51.100.9;branch=z9hG4bK1", "SIP/2.0/TCP 198.51.100.9;branch=z9hG4bK1"),
    ] {
        let lone = with(|e| e.replace_first(HeaderName::VIA, via));
        assert_eq!(vias(&forward::received_from(&lone, peer)), [expected]);
        let listed = format!("{via}, SIP/2.0/UDP first;branch=z9hG4bK0");
        let several = with(|e| e.replace_first(HeaderName::VIA, listed));
        let fixed = forward::received_from(&several, peer);
        assert_eq!(vias(&fixed), [expected, "SIP/2.0/UDP first;branch=z9hG4bK0"]);
    }
    let v6 =
        with(|e| e.replace_first(HeaderName::VIA, "SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1"));
    let same = forward::received_from(&v6, "[2001:db8::1]:5060".parse().unwrap());
    assert_eq!(same.bytes(), v6.bytes());
}

#[test]
fn a_response_loses_exactly_its_top_via() {
    let two = with(|e| e.prepend(HeaderName::VIA, "SIP/2.0/UDP us;branch=z9hG4bK9"));
    let stripped = forward::strip_via(&response_to(&two, 200, "").build());
    assert_eq!(vias(&stripped), ["SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKup"]);
    let line = "SIP/2.0/UDP us;branch=z9hG4bK9, SIP/2.0/UDP a;branch=z9hG4bK8";
    let listed = with(|e| e.replace_first(HeaderName::VIA, line));
    let stripped = forward::strip_via(&response_to(&listed, 200, "").build());
    assert_eq!(vias(&stripped), ["SIP/2.0/UDP a;branch=z9hG4bK8"]);
}

fn is_ours(uri: &SipUri<'_>) -> bool {
    uri.host() == "edge.example.com"
}

fn routes(message: &Message) -> Vec<&[u8]> {
    message.values(HeaderName::ROUTE).collect()
}

#[test]
fn our_own_routes_are_taken_off_the_top() {
    let request = with(|e| {
        e.append(
            HeaderName::ROUTE,
            "<sip:tok1@edge.example.com;lr>, <sip:tok2@edge.example.com;lr>",
        )
        .append(HeaderName::ROUTE, "<sip:far.example.com;lr>, <sip:edge.example.com;lr>")
    });
    let done = forward::preprocess_route(&request, is_ours);
    let ours = [b"sip:tok1@edge.example.com;lr".to_vec(), b"sip:tok2@edge.example.com;lr".to_vec()];
    assert_eq!(done.ours, ours);
    assert!(!done.strict);
    let left = [b"<sip:far.example.com;lr>".as_slice(), b"<sip:edge.example.com;lr>"];
    assert_eq!(routes(&done.message), left);
    assert_eq!(done.message.request_uri(), request.request_uri());
}

#[test]
fn what_a_strict_router_did_is_undone() {
    let request = with(|e| {
        e.replace_request_uri("sip:tok@edge.example.com;lr")
            .append(HeaderName::ROUTE, "<sip:far.example.com;lr>, <sip:bob@192.0.2.9:5070>")
    });
    let done = forward::preprocess_route(&request, is_ours);
    assert!(done.strict);
    assert_eq!(done.message.request_uri(), b"sip:bob@192.0.2.9:5070");
    assert_eq!(routes(&done.message), [b"<sip:far.example.com;lr>".as_slice()]);
    assert_eq!(done.ours, [b"sip:tok@edge.example.com;lr".to_vec()]);
}

#[test]
fn a_request_to_our_own_domain_is_no_strict_route() {
    let request = with(|e| {
        e.replace_request_uri("sip:edge.example.com").append(HeaderName::ROUTE, "<sip:far;lr>")
    });
    let done = forward::preprocess_route(&request, is_ours);
    assert!(!done.strict && done.ours.is_empty());
    assert_eq!(done.message.bytes(), request.bytes());
}

#[test]
fn a_compact_via_is_written_out_when_it_is_stamped() {
    let text =
        b"INFO sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\n\
        To: <sip:e@f>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INFO\r\n\r\n";
    let request = Message::parse(text.as_slice().into()).unwrap();
    let stamped = forward::received_from(&request, "192.0.2.1:5".parse().unwrap());
    let head = String::from_utf8_lossy(stamped.bytes()).into_owned();
    assert!(
        head.contains("\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1;received=192.0.2.1\r\n"),
        "{head}"
    );
}
