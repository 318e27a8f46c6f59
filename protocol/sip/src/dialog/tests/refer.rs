//! REFER, Replaces, Join and what NOTIFY says of them.

use super::invite;
use crate::dialog::{
    DialogRef, ReferError, ReferTo, granted_no_subscription, rename_calls, sipfrag, sipfrag_status,
    wants_no_subscription,
};
use crate::{Edit, HeaderName};

fn parse(value: &str) -> Result<ReferTo, ReferError> {
    ReferTo::parse(value.as_bytes())
}

#[test]
fn r1_7_a_refer_to_names_whom_to_call_and_which_call_to_take_over() {
    // RFC 5589 §7.1 in its shape.
    let value = "<sip:carol@example.com;method=INVITE;transport=tcp?Replaces=a84b4c76e66710\
                 %40host%3Bto-tag%3D31431%3Bfrom-tag%3D3i2q&Require=replaces>";
    let refer = parse(value).unwrap();
    assert_eq!(refer.uri, "sip:carol@example.com;transport=tcp");
    let replaces = DialogRef::parse(refer.replaces.as_deref().unwrap().as_bytes()).unwrap();
    assert_eq!(replaces.call_id, "a84b4c76e66710@host");
    assert_eq!((replaces.to_tag.as_str(), replaces.from_tag.as_str()), ("31431", "3i2q"));
    assert_eq!(refer.join, None);
    let again = parse(&refer.to_string()).unwrap();
    assert_eq!(again, refer, "written and read it is the same");
}

#[test]
fn r1_7_what_cannot_be_called_is_refused_by_name() {
    for (value, error) in [
        ("<tel:+491234>", ReferError::BadTarget),
        ("<sip:example.com>", ReferError::BadTarget),
        ("<https://example.com/>", ReferError::BadTarget),
        ("<sip:a@b;method=SUBSCRIBE>", ReferError::BadMethod),
    ] {
        assert_eq!(parse(value), Err(error), "{value}");
    }
    let none = ReferTo::of(&invite()).unwrap_err();
    assert_eq!((none, none.status()), (ReferError::NotOne, 400));
    let two = Edit::new(&invite())
        .append(HeaderName::REFER_TO, "<sip:a@b>")
        .append(HeaderName::REFER_TO, "<sip:c@d>")
        .finish();
    assert_eq!(ReferTo::of(&two), Err(ReferError::NotOne));
}

#[test]
fn r1_7_escapes_cannot_break_out_of_a_header() {
    for broken in
        ["<sip:a@b?Replaces=x%0D%0AEvil:1>", "<sip:a@b?Replaces=x%zz>", "<sip:a@b?Replaces=%2>"]
    {
        assert!(parse(broken).map_or(true, |refer| refer.replaces.is_none()), "{broken}");
    }
}

#[test]
fn r2_2_calls_in_a_refer_to_get_other_names_and_all_else_stays() {
    let renamed = |value: &str| {
        let rename = |id: &str| id.strip_suffix("@inner").map(|id| format!("{id};veil"));
        rename_calls(value.as_bytes(), rename).map(|made| String::from_utf8(made).unwrap())
    };
    for (value, made) in [
        (
            "\"C\" <sip:c@d;x=1?Subject=a&replaces=7%40inner%3Bto-tag%3D1%3Bfrom-tag%3D2>;y",
            Some("\"C\" <sip:c@d;x=1?Subject=a&replaces=7%3Bveil%3Bto-tag%3D1%3Bfrom-tag%3D2>;y"),
        ),
        ("<sip:c@d?Join=8%40inner>", Some("<sip:c@d?Join=8%3Bveil>")),
        ("<sip:c@d?Replaces=9%40other%3Bto-tag%3D1>", None),
        ("<sip:c@d?Subject=7%40inner>", None),
        ("<sip:c@d>", None),
        ("<sip:c@d?Replaces=%0D%0A7%40inner>", None),
        ("not an address <", None),
    ] {
        assert_eq!(renamed(value).as_deref(), made, "{value}");
    }
}

#[test]
fn r1_7_dialogs_are_named_with_both_tags() {
    let text = "425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only";
    let named = DialogRef::parse(text.as_bytes()).unwrap();
    assert!(named.early_only);
    assert_eq!(named.to_string(), text);
    for broken in
        ["x", "x;to-tag=1", "x;from-tag=1", ";to-tag=1;from-tag=2", "x;to-tag=;from-tag=2"]
    {
        assert_eq!(DialogRef::parse(broken.as_bytes()), None, "{broken}");
    }
}

#[test]
fn r1_7_progress_is_one_status_line() {
    assert_eq!(sipfrag(180, ""), "SIP/2.0 180 Ringing\r\n");
    assert_eq!(sipfrag(503, "No\r\nWay"), "SIP/2.0 503 NoWay\r\n");
    assert_eq!(sipfrag_status(b"SIP/2.0 200 OK\r\nContact: <sip:x@y>\r\n"), Some(200));
    for broken in ["", "SIP/2.0", "SIP/2.0 20", "SIP/2.0 2000 OK", "SIP/2.0 999 X", "BYE sip:a"] {
        assert_eq!(sipfrag_status(broken.as_bytes()), None, "{broken}");
    }
}

#[test]
fn r1_7_both_ways_to_want_no_notify_are_known() {
    let with = |name, value: &str| Edit::new(&invite()).append(name, value).finish();
    assert!(wants_no_subscription(&with(HeaderName::REFER_SUB, "false")));
    assert!(wants_no_subscription(&with(HeaderName::REQUIRE, "nosub")));
    assert!(wants_no_subscription(&with(HeaderName::REFER_SUB, " FALSE;why=not")));
    for other in ["true", "falsetto", ""] {
        assert!(!wants_no_subscription(&with(HeaderName::REFER_SUB, other)), "{other}");
    }
    assert!(!wants_no_subscription(&with(HeaderName::REQUIRE, "explicitsub")));
    let refused = with(HeaderName::SUPPORTED, "norefersub");
    assert!(!granted_no_subscription(&refused, &crate::response_to(&refused, 202, "").build()));
    let said = crate::response_to(&refused, 200, "").header(HeaderName::REFER_SUB, "false").build();
    assert!(granted_no_subscription(&refused, &said));
}
