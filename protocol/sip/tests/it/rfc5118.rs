//! R1.1: RFC 5118, IPv6 in every place it can stand.

use sip::{Message, ParseError, SipUri};

use super::vector;

fn parse(name: &str) -> Result<Message, ParseError> {
    Message::parse(vector(&format!("rfc5118/{name}")).into())
}

fn valid(name: &str) -> Message {
    parse(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn host_port(name: &str) -> (String, Option<u16>) {
    let message = valid(name);
    let (host, port) = SipUri::parse(message.request_uri()).unwrap().host_port();
    (host.to_owned(), port)
}

#[test]
fn r1_1_a_reference_needs_its_brackets() {
    assert_eq!(host_port("ipv6-good"), ("[2001:db8::10]".into(), None));
    assert_eq!(parse("ipv6-bad").unwrap_err().status(), 400);
}

#[test]
fn r1_1_a_port_stands_behind_the_bracket() {
    assert_eq!(host_port("port-ambiguous"), ("[2001:db8::10:5070]".into(), None));
    assert_eq!(host_port("port-unambiguous"), ("[2001:db8::10]".into(), Some(5070)));
}

#[test]
fn r1_1_received_is_read_with_and_without_brackets() {
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let message = valid(name);
        assert_eq!(message.top_via().unwrap().received(), "2001:db8::9:255".parse().ok(), "{name}");
    }
}

#[test]
fn r1_1_both_families_may_meet_in_one_message() {
    let message = valid("mult-ip-in-header");
    let hosts: Vec<_> = message.vias().map(|v| v.unwrap().host().to_owned()).collect();
    assert_eq!(hosts, ["[2001:db8::9:1]", "192.0.2.1", "[2001:db8::9:1]"]);
    assert_eq!(valid("mult-ip-in-sdp").contacts().count(), 1);
    assert!(valid("ipv6-in-sdp").body().starts_with(b"v=0"));
    let mapped = valid("ipv4-mapped-ipv6");
    assert_eq!(mapped.top_via().unwrap().port(), Some(19823));
}

/// §4.10: the ABNF of RFC 3261 lets three colons through; be liberal.
#[test]
fn r1_1_three_colons_are_forgiven() {
    assert_eq!(host_port("ipv6-bug-abnf-3-colons").0, "[2001:db8:::192.0.2.1]");
}
