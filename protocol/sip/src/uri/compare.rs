//! When two URIs are the same (RFC 3261 §19.1.4).

use std::borrow::Cow;

use super::aor::normal;
use super::{SipUri, Uri};
use crate::text::split_once;

/// Parameters that must be in both or in neither.
const ALWAYS_COMPARED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl SipUri<'_> {
    /// Whether both name the same resource by RFC 3261 §19.1.4: the user compares with regard to
    /// case, the rest without; an absent port is not the default port; parameters only one of them
    /// has are ignored, except `user`, `ttl`, `method`, `maddr` and `transport`.
    pub fn matches(&self, other: &SipUri<'_>) -> bool {
        self.is_sips() == other.is_sips()
            && self.port() == other.port()
            && self.host().eq_ignore_ascii_case(other.host())
            && same_text(self.user(), other.user())
            && same_text(self.password(), other.password())
            && same_params(self, other)
            && same_headers(self.headers(), other.headers())
    }
}

impl Uri<'_> {
    /// As [`SipUri::matches`]; URIs of other schemes are the same when their bytes are, the scheme
    /// aside.
    pub fn matches(&self, other: &Uri<'_>) -> bool {
        match (self, other) {
            (Uri::Sip(a), Uri::Sip(b)) => a.matches(b),
            (Uri::Other(a), Uri::Other(b)) => {
                let (one, two) = (self.scheme(), other.scheme());
                one.eq_ignore_ascii_case(two) && a[one.len()..] == b[two.len()..]
            }
            _ => false,
        }
    }
}

fn same_text(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || unescaped(a) == unescaped(b),
        (None, None) => true,
        _ => false,
    }
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    match text.contains(&b'%') {
        true => Cow::Owned(normal(text).into_bytes()),
        false => Cow::Borrowed(text),
    }
}

fn same_value(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b) || unescaped(a).eq_ignore_ascii_case(&unescaped(b))
}

fn same_params(a: &SipUri<'_>, b: &SipUri<'_>) -> bool {
    let required = |name: &str| a.has_param(name) == b.has_param(name);
    let agrees = |(name, value): (&[u8], Option<&[u8]>)| {
        let twin = b.params().find(|(n, _)| n.eq_ignore_ascii_case(name));
        twin.is_none_or(|(_, other)| {
            same_value(value.unwrap_or_default(), other.unwrap_or_default())
        })
    };
    ALWAYS_COMPARED.iter().all(|name| required(name)) && a.params().all(agrees)
}

/// Headers are never ignored, but their order is.
fn same_headers(a: &[u8], b: &[u8]) -> bool {
    a == b || (holds_all(a, b) && holds_all(b, a))
}

fn holds_all(a: &[u8], b: &[u8]) -> bool {
    let headers = |all| <[u8]>::split(all, |byte| *byte == b'&').filter(|h| !h.is_empty());
    headers(a).all(|header| {
        let (name, value) = split_once(header, b'=').unwrap_or((header, b""));
        headers(b).any(|other| {
            let (n, v) = split_once(other, b'=').unwrap_or((other, b""));
            n.eq_ignore_ascii_case(name) && same_text(Some(v), Some(value))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let (a, b) = (Uri::parse(a.as_bytes()).unwrap(), Uri::parse(b.as_bytes()).unwrap());
        assert_eq!(a.matches(&b), b.matches(&a));
        a.matches(&b)
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("TEL:+1555", "tel:+1555"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@b", "sips:a@b"),
            ("sip:a%3bb@c", "sip:a;b@c"),
            ("tel:1", "sip:1@a"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
