//! URIs: SIP and SIPS taken apart, every other scheme byte-exact (RFC 3261 §19.1).

mod aor;
mod compare;

use std::net::{IpAddr, Ipv6Addr};

use memchr::memchr;

use crate::error::ParseError;
use crate::text::{number, offset_in, split_once, trim};

pub use aor::Aor;

const RFC: &str = "RFC 3261 §19.1.1";

/// A `sip:` or `sips:` URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SipUri<'a> {
    raw: &'a [u8],
    secure: bool,
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    host: &'a str,
    port: Option<u16>,
    params: &'a [u8],
    headers: &'a [u8],
}

impl<'a> SipUri<'a> {
    /// Parses a whole URI.
    pub fn parse(raw: &'a [u8]) -> Result<Self, ParseError> {
        let error = |part: &[u8], what| ParseError::syntax(offset_in(raw, part), what, RFC);
        let (scheme, rest) = split_once(raw, b':').ok_or(error(raw, "sip: or sips:"))?;
        let secure = scheme.eq_ignore_ascii_case(b"sips");
        if !secure && !scheme.eq_ignore_ascii_case(b"sip") {
            return Err(error(raw, "sip: or sips:"));
        }
        let (userinfo, rest) = match split_once(rest, b'@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo {
            Some(info) if matches!(info, [] | [b':', ..]) || !is_escaped_text(info) => {
                return Err(error(info, "a user part"));
            }
            Some(info) => match split_once(info, b':') {
                Some((user, password)) => (Some(user), Some(password)),
                None => (Some(info), None),
            },
            None => (None, None),
        };
        let (rest, headers) = split_once(rest, b'?').unwrap_or((rest, b""));
        let (host_port, params) = match memchr(b';', rest) {
            Some(at) => rest.split_at(at),
            None => (rest, b"".as_slice()),
        };
        if host_port.iter().any(|b| crate::text::is_lws(*b)) {
            return Err(error(host_port, "a host without white space"));
        }
        let (host, port) = split_host_port(host_port).ok_or(error(host_port, "host[:port]"))?;
        for part in [params, headers] {
            if !is_escaped_text(part) || memchr(b'@', part).is_some() {
                return Err(error(part, "URI parameters or headers"));
            }
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
        self.host
    }

    /// The port, when it is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as written.
    pub fn host_port(&self) -> (&'a str, Option<u16>) {
        (self.host, self.port)
    }

    /// The host as an address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        crate::via::parse_ip(self.host.as_bytes())
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
        if is_sip_scheme(raw) {
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
pub(crate) fn check_uri(raw: &[u8]) -> Result<(), ParseError> {
    Uri::parse(raw).map(|_| ())
}

/// `host[:port]`, white space allowed around the colon; the host keeps IPv6 brackets.
pub(crate) fn split_host_port(text: &[u8]) -> Option<(&str, Option<u16>)> {
    let host_end = match text {
        [b'[', ..] => memchr(b']', text)? + 1,
        _ => memchr(b':', text).unwrap_or(text.len()),
    };
    let host = trim(&text[..host_end]);
    let port = match trim(&text[host_end..]) {
        [] => None,
        [b':', digits @ ..] => Some(u16::try_from(number(trim(digits))?).ok()?),
        _ => return None,
    };
    let host = std::str::from_utf8(host).ok()?;
    is_host(host).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        // RFC 5118 §4.10: the ABNF of RFC 3261 lets a third colon through; be liberal.
        Some(six) => {
            six.parse::<Ipv6Addr>().is_ok()
                || (six.contains(":::") && six.replacen(":::", "::", 1).parse::<Ipv6Addr>().is_ok())
        }
        // The underscore is no part of a host name, but of many names in use.
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    }
}

fn is_sip_scheme(raw: &[u8]) -> bool {
    let starts = |scheme: &[u8]| {
        raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    starts(b"sip:") || starts(b"sips:")
}

/// `scheme ":" anything` without white space, quotes or angle brackets (RFC 3986 §3).
fn check_opaque(raw: &[u8]) -> Result<(), ParseError> {
    const EXPECTED: &str = "a URI";
    let (scheme, rest) = split_once(raw, b':').ok_or(ParseError::syntax(0, EXPECTED, RFC))?;
    let scheme_ok = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !scheme_ok || rest.is_empty() || !rest.iter().all(|b| is_uri_byte(*b)) {
        return Err(ParseError::syntax(0, EXPECTED, RFC));
    }
    Ok(())
}

/// Bytes that may stand in a URI. Wider than the grammar (`#` in dialled codes, UTF-8), narrow
/// enough that no header can be broken by it.
fn is_uri_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [true; 256];
        let mut byte = 0;
        while byte <= b' ' {
            table[byte as usize] = false;
            byte += 1;
        }
        table[0x7f] = false;
        table[b'<' as usize] = false;
        table[b'>' as usize] = false;
        table[b'"' as usize] = false;
        table
    };
    TABLE[usize::from(byte)]
}

fn is_escaped_text(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => {
            let digits = text.get(at + 1..at + 3).unwrap_or_default();
            digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
        }
        other => is_uri_byte(*other),
    })
}

#[cfg(test)]
mod tests;
