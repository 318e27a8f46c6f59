//! The values a plain request is made of, each in its most usual form.

use crate::name_addr::lenient_seconds;
use crate::text::{HOST, TOKEN, find_byte, number, number32, span, value_span};
use crate::uri::SipUri;

/// The one Via: `SIP/2.0/UDP host[:port];…;rport;…`, without the `rport`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent<'a> {
    pub(super) before: &'a str,
    pub(super) behind: &'a str,
    pub(super) branch: &'a str,
}

/// From or To: `sip:user@host` in angle brackets, and perhaps a tag.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Address<'a> {
    pub(super) value: &'a str,
    pub(super) uri: &'a str,
    pub(super) user: &'a str,
    pub(super) host: &'a str,
    pub(super) tag: &'a str,
}

/// The Contact of a plain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainContact<'a> {
    /// The URI: a SIP URI, byte-exact.
    pub uri: &'a str,
    /// Seconds asked for here.
    pub expires: Option<u32>,
    /// `+sip.instance`, brackets kept; never empty.
    pub instance: Option<&'a str>,
    /// `reg-id`; 0 for none.
    pub reg_id: u32,
}

/// Lower case, digits, dots and hyphens: the one spelling of a host.
pub(super) fn is_host(text: &str) -> bool {
    let fits = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
    !text.is_empty() && text.as_bytes().iter().all(fits)
}

/// What an address of record keeps as it is written.
fn is_user(text: &str) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(b);
    !text.is_empty() && text.as_bytes().iter().all(fits)
}

impl<'a> Sent<'a> {
    pub(super) fn read(value: &'a str) -> Option<Self> {
        let rest = value.strip_prefix("SIP/2.0/UDP ")?;
        let bytes = value.as_bytes();
        let mut at = value.len() - rest.len();
        let host = span(&bytes[at..], HOST);
        at += host;
        if bytes.get(at) == Some(&b':') {
            let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            number(&bytes[at + 1..at + 1 + digits]).filter(|port| *port <= 65_535)?;
            at += 1 + digits;
        }
        if host == 0 || find_byte(bytes, b',').is_some() {
            return None;
        }
        let (mut branch, mut rport) = (None, None);
        while at < bytes.len() {
            let (name, given, end) = param(value, at)?;
            match (name, given) {
                ("branch", Some(text)) if branch.is_none() => branch = Some(text),
                ("rport", None) if rport.is_none() => rport = Some((at, end)),
                _ if is_stamped(name) => return None,
                _ => {}
            }
            at = end;
        }
        let (start, end) = rport?;
        let (before, behind) = (value.get(..start)?, value.get(end..)?);
        Some(Self { before, behind, branch: branch.unwrap_or_default() })
    }
}

/// What is written or read elsewhere: twice the same name, `received`, overload control (RFC 7339).
fn is_stamped(name: &str) -> bool {
    ["branch", "rport", "received"].iter().any(|known| name.eq_ignore_ascii_case(known))
        || name.starts_with("oc")
}

/// The parameter whose semicolon stands at `at`: its name, its value without quotes, where it ends.
fn param(text: &str, at: usize) -> Option<(&str, Option<&str>, usize)> {
    let bytes = text.as_bytes();
    if bytes[at] != b';' {
        return None;
    }
    let name_at = at + 1;
    let name_end = name_at + span(&bytes[name_at..], TOKEN);
    let name = text.get(name_at..name_end).filter(|name| !name.is_empty())?;
    if bytes.get(name_end) != Some(&b'=') {
        return Some((name, None, name_end));
    }
    let value_at = name_end + 1;
    if bytes.get(value_at) == Some(&b'"') {
        let len = find_byte(&bytes[value_at + 1..], b'"')?;
        let inner = text.get(value_at + 1..value_at + 1 + len)?;
        let plain = find_byte(inner.as_bytes(), b'\\').is_none();
        return plain.then_some((name, Some(inner), value_at + len + 2));
    }
    let len = value_span(&bytes[value_at..]);
    let value = text.get(value_at..value_at + len).filter(|value| !value.is_empty())?;
    Some((name, Some(value), value_at + len))
}

impl<'a> Address<'a> {
    pub(super) fn read(value: &'a str) -> Option<Self> {
        let (uri, tail) = in_brackets(value)?;
        let rest = uri.strip_prefix("sip:")?;
        let (user, host) = match find_byte(rest.as_bytes(), b'@') {
            Some(at) => (rest.get(..at).filter(|user| is_user(user))?, rest.get(at + 1..)?),
            None => ("", rest),
        };
        let tag = match tail {
            "" => "",
            _ => tail.strip_prefix(";tag=").filter(|tag| !tag.is_empty())?,
        };
        let fits = is_host(host) && span(tag.as_bytes(), TOKEN) == tag.len();
        fits.then_some(Self { value, uri, user, host, tag })
    }
}

impl<'a> PlainContact<'a> {
    pub(super) fn read(value: &'a str) -> Option<Self> {
        // A comma may begin another contact; where it does not, quotes and brackets have to be
        // weighed as lists are read.
        if find_byte(value.as_bytes(), b',').is_some() {
            return None;
        }
        let (uri, tail) = in_brackets(value)?;
        SipUri::parse(uri.as_bytes()).ok()?;
        if tail.is_empty() {
            return Some(Self { uri, expires: None, instance: None, reg_id: 0 });
        }
        let (mut expires, mut instance, mut reg_id) = (None, None, None);
        let mut at = 0;
        while at < tail.len() {
            let (name, given, end) = param(tail, at)?;
            let given = given.unwrap_or_default();
            // Only the first of its name counts.
            if name.eq_ignore_ascii_case("expires") {
                expires.get_or_insert(lenient_seconds(given.as_bytes()));
            } else if name.eq_ignore_ascii_case("+sip.instance") {
                instance.get_or_insert(given);
            } else if name.eq_ignore_ascii_case("reg-id") {
                reg_id.get_or_insert(number32(given.as_bytes()).unwrap_or(0));
            } else if name.eq_ignore_ascii_case("q") {
                return None;
            }
            at = end;
        }
        let instance = instance.filter(|instance| !instance.is_empty());
        // A reg-id without instance says nothing (RFC 5626 §6).
        let reg_id = instance.and(reg_id).unwrap_or(0);
        Some(Self { uri, expires, instance, reg_id })
    }
}

/// What stands in angle brackets and what follows them; before them only a display name.
fn in_brackets(value: &str) -> Option<(&str, &str)> {
    let open = display_len(value.as_bytes())?;
    let close = open + find_byte(&value.as_bytes()[open..], b'>')?;
    Some((value.get(open + 1..close)?, value.get(close + 1..)?))
}

/// Length of a display name of tokens, or in quotes without escapes; `None` unless `<` follows.
fn display_len(value: &[u8]) -> Option<usize> {
    let end = match value {
        [b'<', ..] => return Some(0),
        [b'"', rest @ ..] => {
            let len = find_byte(rest, b'"')?;
            if find_byte(&rest[..len], b'\\').is_some() {
                return None;
            }
            len + 2
        }
        _ => span(value, TOKEN),
    };
    let mut at = end;
    while let Some(b' ') = value.get(at) {
        at += 1;
        // Several tokens in a row.
        if !value.starts_with(b"\"") {
            at += span(&value[at..], TOKEN);
        }
    }
    (value.get(at) == Some(&b'<')).then_some(at)
}
