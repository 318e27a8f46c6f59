//! R1.1: RFC 5118, IPv6 in every place it can stand: its messages one by one, by name.

use sip::{Edit, HeaderName, Message, ParseError, SipUri, StreamFramer};

use super::vector;

/// Every name of the RFC's section 4, so that none is forgotten.
const NAMES: [(&str, &str); 11] = [
    ("4.1", "ipv6-good"),
    ("4.2", "ipv6-bad"),
    ("4.3", "port-ambiguous"),
    ("4.4", "port-unambiguous"),
    ("4.5", "via-received-param-with-delim"),
    ("4.5", "via-received-param-no-delim"),
    ("4.6", "ipv6-in-sdp"),
    ("4.7", "mult-ip-in-header"),
    ("4.8", "mult-ip-in-sdp"),
    ("4.9", "ipv4-mapped-ipv6"),
    ("4.10", "ipv6-bug-abnf-3-colons"),
];

fn parse(name: &str) -> Result<Message, ParseError> {
    assert!(NAMES.iter().any(|(_, known)| *known == name), "{name}");
    Message::parse(vector(&format!("rfc5118/{name}")).into())
}

/// A valid message also passes byte-exact, and comes out of a stream as the same message.
fn valid(name: &str) -> Message {
    let message = parse(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let pushed = Edit::new(&message).prepend(HeaderName::VIA, "SIP/2.0/UDP [::1]").finish();
    assert_eq!(Edit::new(&pushed).remove_first(HeaderName::VIA).finish(), message);
    let mut framer = StreamFramer::default();
    framer.push(&vector(&format!("rfc5118/{name}")));
    if let Ok(Some(sip::Frame::Message(frame))) = framer.next_frame() {
        assert_eq!(Message::parse(frame).as_ref(), Ok(&message));
    }
    message
}

fn host_port(name: &str) -> (String, Option<u16>) {
    let message = valid(name);
    let (host, port) = SipUri::parse(message.request_uri()).unwrap().host_port();
    (host.to_owned(), port)
}

/// Lines of the body that carry an address.
fn addresses(message: &Message) -> Vec<&str> {
    let body = std::str::from_utf8(message.body()).unwrap();
    body.lines().filter(|line| line.starts_with("c=")).collect()
}

#[test]
fn r1_1_4_1_ipv6_good_is_valid() {
    assert_eq!(host_port("ipv6-good"), ("[2001:db8::10]".into(), None));
    let message = valid("ipv6-good");
    assert_eq!(message.top_via().unwrap().host(), "[2001:db8::9:1]");
}

/// A reference needs its brackets.
#[test]
fn r1_1_4_2_ipv6_bad_is_400() {
    assert_eq!(parse("ipv6-bad").unwrap_err().status(), 400);
    assert!(Message::parse_lenient(vector("rfc5118/ipv6-bad").into()).is_some());
}

/// What stands inside the brackets is address, whatever was meant.
#[test]
fn r1_1_4_3_port_ambiguous_is_all_address() {
    assert_eq!(host_port("port-ambiguous"), ("[2001:db8::10:5070]".into(), None));
}

#[test]
fn r1_1_4_4_port_unambiguous_has_port_5070() {
    assert_eq!(host_port("port-unambiguous"), ("[2001:db8::10]".into(), Some(5070)));
}

#[test]
fn r1_1_4_5_via_received_param_with_delim_is_read() {
    let message = valid("via-received-param-with-delim");
    assert_eq!(message.top_via().unwrap().received(), "2001:db8::9:255".parse().ok());
}

#[test]
fn r1_1_4_5_via_received_param_no_delim_is_read() {
    let message = valid("via-received-param-no-delim");
    assert_eq!(message.top_via().unwrap().received(), "2001:db8::9:255".parse().ok());
}

#[test]
fn r1_1_4_6_ipv6_in_sdp_keeps_its_body() {
    let message = valid("ipv6-in-sdp");
    assert!(message.has_content_type("application/sdp"));
    assert_eq!(addresses(&message), ["c=IN IP6 2001:db8::20"]);
}

#[test]
fn r1_1_4_7_mult_ip_in_header_mixes_both_families() {
    let message = valid("mult-ip-in-header");
    let hosts: Vec<_> = message.vias().map(|v| v.unwrap().host().to_owned()).collect();
    assert_eq!(hosts, ["[2001:db8::9:1]", "192.0.2.1", "[2001:db8::9:1]"]);
}

#[test]
fn r1_1_4_8_mult_ip_in_sdp_keeps_both_families() {
    let message = valid("mult-ip-in-sdp");
    assert_eq!(message.contacts().count(), 1);
    assert_eq!(addresses(&message), ["c=IN IP4 192.0.2.1", "c=IN IP6 2001:db8::1"]);
}

#[test]
fn r1_1_4_9_ipv4_mapped_ipv6_is_an_address() {
    let message = valid("ipv4-mapped-ipv6");
    let via = message.top_via().unwrap();
    assert_eq!((via.host(), via.port()), ("[::ffff:192.0.2.10]", Some(19823)));
    assert_eq!(via.response_address(), "[::ffff:192.0.2.10]:19823".parse().ok());
}

/// The ABNF of RFC 3261 lets three colons through; be liberal.
#[test]
fn r1_1_4_10_ipv6_bug_abnf_3_colons_is_forgiven() {
    assert_eq!(host_port("ipv6-bug-abnf-3-colons").0, "[2001:db8:::192.0.2.1]");
}
