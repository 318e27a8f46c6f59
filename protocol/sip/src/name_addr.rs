//! `name-addr` and `addr-spec` with their header parameters: From, To, Contact, Route … (RFC 3261 §20).

use std::borrow::Cow;

use memchr::{memchr, memchr3};

use crate::error::ParseError;
use crate::params::Params;
use crate::text::{
    is_lws, is_token_byte, number, number32, offset_in, quoted_len, trim, trim_end, trim_start,
    unquote,
};
use crate::uri::{SipUri, check_uri};

const RFC: &str = "RFC 3261 §25.1 name-addr";

/// One address of a From, To, Contact, Route or similar header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    raw: &'a [u8],
    display: &'a [u8],
    uri: &'a [u8],
    params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one address (not a list: see [`split_list`](crate::split_list)).
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_as(value, false)
    }

    /// As [`NameAddr::parse`], of a value whose URI and parameters were `checked` before.
    #[inline]
    pub(crate) fn parse_as(value: &'a [u8], checked: bool) -> Result<Self, ParseError> {
        let raw = trim(value);
        Self::parse_trimmed(raw, checked).map_err(|e| e.shifted(offset_in(value, raw)))
    }

    #[inline]
    fn parse_trimmed(raw: &'a [u8], checked: bool) -> Result<Self, ParseError> {
        let (display, rest) = match raw {
            [b'<', ..] => (b"".as_slice(), raw),
            [b'"', ..] => split_quoted_display(raw)?,
            _ => match memchr3(b'<', b'"', b'\\', raw) {
                Some(at) if raw[at] == b'<' => (trim_end(&raw[..at]), &raw[at..]),
                Some(at) if memchr(b'<', &raw[at..]).is_some() => {
                    return Err(ParseError::syntax(at, "a token or '<'", RFC));
                }
                _ => return Self::parse_bare(raw, checked),
            },
        };
        if !display.starts_with(b"\"") && !is_token_list(display) {
            return Err(ParseError::syntax(0, "a display name of tokens or in quotes", RFC));
        }
        let at = offset_in(raw, rest);
        let close = memchr(b'>', rest).ok_or_else(|| ParseError::syntax(at, "'>'", RFC))?;
        let uri = &rest[1..close];
        let tail = trim_start(&rest[close + 1..]);
        if !matches!(tail, [] | [b';', ..]) {
            return Err(ParseError::syntax(at + close + 1, "';' or the end", RFC));
        }
        let params = Params::new(tail);
        if !checked {
            check_uri(uri).map_err(|e| e.shifted(at + 1))?;
            params.check(RFC).map_err(|e| e.shifted(offset_in(raw, tail)))?;
        }
        Ok(Self { raw, display, uri, params })
    }

    /// `addr-spec` without brackets: what follows the first semicolon belongs to the header, and
    /// the URI may hold neither comma nor question mark (RFC 3261 §20).
    fn parse_bare(raw: &'a [u8], checked: bool) -> Result<Self, ParseError> {
        let end = memchr(b';', raw).unwrap_or(raw.len());
        let uri = trim(&raw[..end]);
        let params = Params::new(&raw[end..]);
        if !checked {
            check_uri(uri)?;
            if let Some(at) = memchr::memchr2(b'?', b',', uri) {
                return Err(ParseError::syntax(at, "'<' around a URI with '?' or ','", RFC));
            }
            params.check(RFC).map_err(|e| e.shifted(end))?;
        }
        Ok(Self { raw, display: b"", uri, params })
    }

    /// The whole value as on the wire.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The display name without quotes and escapes; `None` when there is none.
    pub fn display_name(&self) -> Option<Cow<'a, [u8]>> {
        (!self.display.is_empty()).then(|| unquote(self.display))
    }

    /// The URI as on the wire, without brackets.
    pub fn uri(&self) -> &'a [u8] {
        self.uri
    }

    /// The URI, when it is `sip:` or `sips:`.
    pub fn sip_uri(&self) -> Result<SipUri<'a>, ParseError> {
        SipUri::parse(self.uri)
    }

    /// The header parameters.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// A header parameter; see [`Params::value`].
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params.value(name)
    }

    /// The `tag` of a From or To (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param("tag").filter(|t| !t.is_empty())
    }

    /// The `expires` of a Contact, seconds. A value that is no 32-bit number reads as 3600 or as
    /// the largest one (RFC 3261 §10.2.1.1, §20.10).
    pub fn expires(&self) -> Option<u32> {
        self.param("expires").map(lenient_seconds)
    }

    /// The `q` of a Contact in thousandths, 0 to 1000 (RFC 3261 §20.10); `None` when absent or bad.
    pub fn q(&self) -> Option<u16> {
        self.param("q").and_then(thousandths)
    }

    /// The `+sip.instance` of a Contact, without quotes, brackets kept (RFC 5626 §4.1).
    pub fn instance(&self) -> Option<&'a [u8]> {
        self.param("+sip.instance").filter(|i| !i.is_empty())
    }

    /// The `reg-id` of a Contact (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.param("reg-id").and_then(number32).filter(|id| *id != 0)
    }
}

/// Seconds as a number; digits beyond 32 bits mean "for ever", anything else the default of an hour.
pub(crate) fn lenient_seconds(text: &[u8]) -> u32 {
    match number(text) {
        Some(n) => u32::try_from(n).unwrap_or(u32::MAX),
        None if !text.is_empty() && text.iter().all(u8::is_ascii_digit) => u32::MAX,
        None => 3600,
    }
}

fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = crate::text::split_once(text, b'.').unwrap_or((text, b""));
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let whole = match whole {
        b"0" => 0,
        b"1" => 1000,
        b"" if !fraction.is_empty() => 0,
        _ => return None,
    };
    let places = [100, 10, 1];
    let part: u16 = fraction.iter().zip(places).map(|(d, place)| u16::from(d - b'0') * place).sum();
    Some(whole + part).filter(|q| *q <= 1000)
}

fn split_quoted_display(raw: &[u8]) -> Result<(&[u8], &[u8]), ParseError> {
    let Some(len) = quoted_len(raw) else {
        return Err(ParseError::syntax(0, "a closing quote", RFC));
    };
    let rest = trim_start(&raw[len..]);
    match rest {
        [b'<', ..] => Ok((&raw[..len], rest)),
        _ => Err(ParseError::syntax(len, "'<' after the display name", RFC)),
    }
}

/// `*(token LWS)`; bytes above ASCII pass, for phones that forget the quotes around UTF-8.
fn is_token_list(display: &[u8]) -> bool {
    display.iter().all(|b| is_token_byte(*b) || is_lws(*b) || *b >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn all_three_forms_are_read() {
        let a = parse("\"J \\\"R\\\" <x>\" <sip:a@b;lr?h=1>;tag=1;x");
        assert_eq!(a.display_name().unwrap().as_ref(), b"J \"R\" <x>");
        assert_eq!((a.uri(), a.tag()), (b"sip:a@b;lr?h=1".as_slice(), Some(b"1".as_slice())));
        let b = parse("Alice B <sips:a@b>");
        assert_eq!(b.display_name().unwrap().as_ref(), b"Alice B");
        let c = parse("sip:a@b;tag=9");
        assert_eq!((c.uri(), c.tag()), (b"sip:a@b".as_slice(), Some(b"9".as_slice())));
        assert_eq!(parse("<tel:+15551234>").uri(), b"tel:+15551234");
        assert!(parse("<tel:1>").sip_uri().is_err());
    }

    #[test]
    fn contact_parameters_are_typed() {
        let c = parse(
            "<sip:a@b>;expires=60;q=0.75;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\";reg-id=2",
        );
        assert_eq!((c.expires(), c.q(), c.reg_id()), (Some(60), Some(750), Some(2)));
        assert!(c.instance().unwrap().starts_with(b"<urn:uuid:"));
        assert_eq!(parse("<sip:a@b>;expires=99999999999").expires(), Some(u32::MAX));
        assert_eq!(parse("<sip:a@b>;expires=soon").expires(), Some(3600));
        assert_eq!(parse("<sip:a@b>;q=1.5").q(), None);
        assert_eq!(parse("<sip:a@b>;q=1.0").q(), Some(1000));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for bad in [
            "",
            "\"open <sip:a@b>",
            "Bell, A <sip:a@b>",
            "<sip:a@b",
            "<sip:a@b> x",
            "<sip:a@b>;;",
            "< sip:a@b>",
            "sip:a@b?x=y",
            "\"a\" sip:a@b",
            "a\"b\" <sip:a@b>",
            "no-uri-here",
        ] {
            assert!(NameAddr::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
