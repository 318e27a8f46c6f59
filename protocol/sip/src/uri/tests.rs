//! Examples of RFC 3261 §19.1.3, RFC 4475 and RFC 5118.

use super::*;

fn sip(text: &str) -> SipUri<'_> {
    SipUri::parse(text.as_bytes()).unwrap()
}

#[test]
fn every_part_is_found() {
    let u = sip("sips:alice:secret@gateway.com:5062;transport=tcp;lr?subject=x&to=y");
    assert!(u.is_sips());
    assert_eq!(u.user(), Some(b"alice".as_slice()));
    assert_eq!(u.password(), Some(b"secret".as_slice()));
    assert_eq!(u.host_port(), ("gateway.com", Some(5062)));
    assert_eq!(u.param("TRANSPORT"), Some(b"tcp".as_slice()));
    assert!(u.has_param("lr") && !u.has_param("ob"));
    assert_eq!(u.headers(), b"subject=x&to=y");
}

#[test]
fn odd_user_parts_are_valid() {
    let u = sip("sip:user;par=u%40example.net@example.com");
    assert_eq!(u.user(), Some(b"user;par=u%40example.net".as_slice()));
    let weird = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com";
    assert_eq!(sip(weird).host(), "example.com");
    assert_eq!(sip("sip:*43#@example.com").user(), Some(b"*43#".as_slice()));
    assert_eq!(sip("SIP:atlanta.com").user(), None);
}

#[test]
fn ipv6_hosts_keep_their_brackets() {
    assert_eq!(sip("sip:[2001:db8::10:5070]").host_port(), ("[2001:db8::10:5070]", None));
    assert_eq!(sip("sip:a@[2001:db8::10]:5070").host_port(), ("[2001:db8::10]", Some(5070)));
    assert_eq!(sip("sip:[2001:db8::10]").ip(), "2001:db8::10".parse().ok());
    assert_eq!(sip("sip:u@[2001:db8:::192.0.2.1]").host(), "[2001:db8:::192.0.2.1]");
    assert!(SipUri::parse(b"sip:2001:db8::10").is_err());
}

#[test]
fn malformed_sip_uris_are_refused() {
    for bad in [
        "sip:",
        "sip:@b",
        "sip::pw@b",
        "sip:a b@c",
        "sip:a@b c",
        "sip:a@b:port",
        "sip:a@b:70000",
        "sip:a%4@b",
        "sip:a@b;x=\"y\"",
        "sip:a@b@c",
        "sip:a@[::1",
        "http:b",
    ] {
        assert!(SipUri::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn other_schemes_pass_byte_exact() {
    for raw in ["tel:+1-201-555-0123;phone-context=x", "soap.beep://192.0.2.103:3002", "x:opaque"] {
        assert_eq!(Uri::parse(raw.as_bytes()), Ok(Uri::Other(raw.as_bytes())));
    }
    assert_eq!(Uri::parse(b"tel:1").unwrap().scheme(), b"tel");
    for bad in ["nocolon", "1x:y", "x:", "x:a b", ":x", "x:<y>"] {
        assert!(Uri::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}
