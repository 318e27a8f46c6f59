//! URIs: SIP and SIPS taken apart, every other scheme byte-exact (RFC 3261 §19.1).

mod aor;
mod compare;

use std::net::{IpAddr, Ipv6Addr};

use crate::error::ParseError;
use crate::text::{
    HOST, PARAM, PLAIN, URI, escaped_span, find_byte, number, offset_in, span, split_once,
};

pub use aor::Aor;

const RFC: &str = "RFC 3261 §19.1.1";

/// A `sip:` or `sips:` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    raw: &'a [u8],
    secure: bool,
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    host: &'a [u8],
    port: Option<u16>,
    params: &'a [u8],
    headers: &'a [u8],
}

impl<'a> SipUri<'a> {
    /// Parses a whole URI.
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        let error = |part: &[u8], what| ParseError::syntax(offset_in(raw, part), what, RFC);
        let scheme = scheme_len(raw);
        let (secure, all) = match scheme {
            0 => return Err(error(raw, "sip: or sips:")),
            len => (len == 5, &raw[len..]),
        };
        // One pass finds the '@' and anything that may not stand in a URI at all.
        let first = escaped_span(all, PLAIN);
        let (userinfo, rest) = match &all[first..] {
            [] => (None, all),
            [b'@', rest @ ..] => (Some(&all[..first]), rest),
            bad => return Err(error(bad, "a URI without white space, quotes or bad escapes")),
        };
        let (user, password) = match userinfo {
            Some([] | [b':', ..]) => return Err(error(all, "a user part")),
            Some(info) => match split_once(info, b':') {
                Some((user, password)) => (Some(user), Some(password)),
                None => (Some(info), None),
            },
            None => (None, None),
        };
        let (host, port, tail) =
            host_port_prefix(rest).ok_or_else(|| error(rest, "host[:port]"))?;
        let params_len = escaped_span(tail, PARAM);
        let (params, headers) = match tail.split_at(params_len) {
            (params, []) => (params, b"".as_slice()),
            (params, [b'?', headers @ ..]) if escaped_span(headers, PLAIN) == headers.len() => {
                (params, headers)
            }
            (_, bad) => return Err(error(bad, "URI parameters or headers")),
        };
        if !matches!(params, [] | [b';', ..]) {
            return Err(error(params, "host[:port]"));
        }
        Ok(Self { raw, secure, user, password, host, port, params, headers })
    }

    /// As on the wire.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// `sip` or `sips`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "sips" } else { "sip" }
    }

    /// Whether the scheme is `sips`.
    pub fn is_sips(&self) -> bool {
        self.secure
    }

    /// The user as on the wire, escapes kept, without password.
    pub fn user(&self) -> Option<&'a [u8]> {
        self.user
    }

    /// The password, which nobody should use (RFC 3261 §19.1.1).
    pub fn password(&self) -> Option<&'a [u8]> {
        self.password
    }

    /// The host; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &'a str {
        // A host that was let through is ASCII.
        std::str::from_utf8(self.host).unwrap_or_default()
    }

    /// The port, when it is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as written.
    pub fn host_port(&self) -> (&'a str, Option<u16>) {
        (self.host(), self.port)
    }

    /// The host as an address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        crate::via::parse_ip(self.host)
    }

    /// Everything between host and `?`, leading semicolon included.
    pub fn raw_params(&self) -> &'a [u8] {
        self.params
    }

    /// Each parameter with its value, escapes kept.
    pub fn params(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.params.split(|b| *b == b';').skip(1).filter(|p| !p.is_empty()).map(
            |p| match split_once(p, b'=') {
                Some((name, value)) => (name, Some(value)),
                None => (p, None),
            },
        )
    }

    /// A parameter's value, its name compared without regard to case; a parameter without value
    /// gives an empty slice.
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// Whether the parameter stands there, with or without value (`lr`, `ob` …).
    pub fn has_param(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    /// Everything behind `?`.
    pub fn headers(&self) -> &'a [u8] {
        self.headers
    }
}

/// Any URI: SIP ones typed, others kept as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Uri<'a> {
    /// `sip:` or `sips:`.
    Sip(SipUri<'a>),
    /// Any other scheme (`tel:`, `urn:`, one nobody knows), whole and byte-exact.
    Other(&'a [u8]),
}

impl<'a> Uri<'a> {
    /// Parses a URI of any scheme; only SIP ones are looked into.
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        if scheme_len(raw) > 0 {
            return SipUri::parse(raw).map(Self::Sip);
        }
        check_opaque(raw).map(|()| Self::Other(raw))
    }

    /// The scheme as on the wire.
    pub fn scheme(&self) -> &'a [u8] {
        let raw = self.raw();
        split_once(raw, b':').map_or(raw, |(scheme, _)| scheme)
    }

    /// As on the wire.
    pub fn raw(&self) -> &'a [u8] {
        match self {
            Self::Sip(uri) => uri.raw,
            Self::Other(raw) => raw,
        }
    }
}

/// Refuses what is no URI, and a SIP URI that is malformed.
#[inline]
pub(crate) fn check_uri(raw: &[u8]) -> Result<(), ParseError> {
    if is_plain(raw) {
        return Ok(());
    }
    Uri::parse(raw).map(|_| ())
}

/// Whether it is `sip:user@host` or `sip:user@host:port` and nothing needs a closer look.
#[inline]
fn is_plain(raw: &[u8]) -> bool {
    let Some(rest) = raw.strip_prefix(b"sip:") else { return false };
    let user = span(rest, HOST);
    let Some([b'@', rest @ ..]) = rest.get(user..).filter(|_| user > 0) else { return false };
    let host = span(rest, HOST);
    match &rest[host..] {
        [] => host > 0,
        // Four digits are always a port.
        [b':', port @ ..] => {
            host > 0 && (1..5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// Host, port and what follows them; the host keeps IPv6 brackets.
#[inline]
fn host_port_prefix(text: &[u8]) -> Option<(&[u8], Option<u16>, &[u8])> {
    let (host, rest) = text.split_at(host_len(text)?);
    match rest {
        [b':', rest @ ..] => {
            let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
            let (port, rest) = rest.split_at(digits);
            Some((host, Some(u16::try_from(number(port)?).ok()?), rest))
        }
        _ => Some((host, None, rest)),
    }
}

/// `host[:port]`, white space allowed around the colon; the host keeps IPv6 brackets.
#[inline]
pub(crate) fn split_host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    use crate::text::trim;
    let (host, rest) = text.split_at(host_len(text)?);
    match trim(rest) {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(u16::try_from(number(trim(port))?).ok()?))),
        _ => None,
    }
}

/// Length of the host at the start of `text`.
#[inline]
fn host_len(text: &[u8]) -> Option<usize> {
    if let [b'[', ..] = text {
        let end = find_byte(text, b']')?;
        return is_ipv6(&text[1..end]).then_some(end + 1);
    }
    Some(span(text, HOST)).filter(|len| *len > 0)
}

fn is_ipv6(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    // RFC 5118 §4.10: the ABNF of RFC 3261 lets a third colon through; be liberal.
    text.parse::<Ipv6Addr>().is_ok()
        || (text.contains(":::") && text.replacen(":::", "::", 1).parse::<Ipv6Addr>().is_ok())
}

/// Length of `sip:` or `sips:`; zero for another scheme.
#[inline]
fn scheme_len(raw: &[u8]) -> usize {
    match raw {
        [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', ..] => 4,
        [b's' | b'S', b'i' | b'I', b'p' | b'P', b's' | b'S', b':', ..] => 5,
        _ => 0,
    }
}

/// `scheme ":" anything` without white space, quotes or angle brackets (RFC 3986 §3).
fn check_opaque(raw: &[u8]) -> Result<(), ParseError> {
    const EXPECTED: &str = "a URI";
    let bad = || ParseError::syntax(0, EXPECTED, RFC);
    let (scheme, rest) = split_once(raw, b':').ok_or_else(bad)?;
    let scheme_ok = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !scheme_ok || rest.is_empty() || span(rest, URI) < rest.len() {
        return Err(bad());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
