//! `;name=value` parameters of header values (RFC 3261 §25.1 `generic-param`).

use crate::error::ParseError;
use crate::text::{TOKEN, find_byte, is_lws, quoted_len, span, strip_quotes, trim, value_span};

/// The parameters behind a header value: the bytes from the first semicolon on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    pub(crate) fn new(raw: &'a [u8]) -> Self {
        Self(raw)
    }

    /// As on the wire, leading semicolon included; empty when there are none.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// The value of a parameter, its name compared without regard to case; surrounding quotes are
    /// removed. A parameter without value gives an empty slice.
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(n, _)| n.len() == name.len() && n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| strip_quotes(value.unwrap_or_default()))
    }

    /// Each parameter with its value as on the wire.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        Split { rest: self.0 }
    }

    /// Refuses empty parameters, names that are no tokens and quotes that never end.
    pub(crate) fn check(self, rfc: &'static str) -> Result<(), ParseError> {
        let mut rest = self.0;
        while let [b';', one @ ..] = rest {
            rest = check_one(one).map_err(|(left, expected)| {
                ParseError::syntax(self.0.len() - left.len(), expected, rfc)
            })?;
        }
        Ok(())
    }
}

/// Behind the first parameter of `text`: a semicolon or the end. Otherwise the fault, where it is.
#[inline]
fn check_one(text: &[u8]) -> Result<&[u8], (&[u8], &'static str)> {
    let text = skip_lws(text);
    let name = span(text, TOKEN);
    let rest = skip_lws(&text[name..]);
    if name == 0 {
        return Err((text, "a parameter name"));
    }
    let [b'=', value @ ..] = rest else {
        return at_end(rest).ok_or((rest, "';', '=' or the end"));
    };
    let value = skip_lws(value);
    let len = match value {
        [b'"', ..] => quoted_len(value).ok_or((value, "a closing quote"))?,
        _ => value_span(value),
    };
    if len == 0 {
        return Err((value, "a parameter value"));
    }
    let rest = skip_lws(&value[len..]);
    at_end(rest).ok_or((rest, "a token, host or quoted string"))
}

#[inline]
fn at_end(rest: &[u8]) -> Option<&[u8]> {
    matches!(rest, [] | [b';', ..]).then_some(rest)
}

#[inline]
fn skip_lws(text: &[u8]) -> &[u8] {
    match text {
        [first, ..] if is_lws(*first) => crate::text::trim_start(text),
        _ => text,
    }
}

/// Splits parameters that [`Params::check`] has let through.
struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let [b';', body @ ..] = self.rest else { return None };
        let body = skip_lws(body);
        let name = span(body, TOKEN);
        let rest = skip_lws(&body[name..]);
        let [b'=', value @ ..] = rest else {
            let end = find_byte(rest, b';').unwrap_or(rest.len());
            self.rest = &rest[end..];
            return Some((&body[..name], None));
        };
        let quoted = matches!(skip_lws(value), [b'"', ..]);
        let skip = if quoted { quoted_end(value) } else { 0 };
        let end = skip + find_byte(&value[skip..], b';').unwrap_or(value.len() - skip);
        self.rest = &value[end..];
        Some((&body[..name], Some(trim(&value[..end]))))
    }
}

/// Behind the quoted string that `value` begins with, white space aside.
fn quoted_end(value: &[u8]) -> usize {
    let text = skip_lws(value);
    let len = quoted_len(text).unwrap_or(text.len());
    value.len() - text.len() + len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_name_without_case() {
        let p = Params::new(b";Tag=x ; lr;q = \"a;b\\\"c\"");
        assert_eq!(p.value("tag"), Some(b"x".as_slice()));
        assert_eq!(p.value("LR"), Some(b"".as_slice()));
        assert_eq!(p.value("q"), Some(b"a;b\\\"c".as_slice()));
        assert_eq!(p.value("none"), None);
        assert!(p.check("").is_ok());
    }

    #[test]
    fn empty_and_unbalanced_parameters_are_refused() {
        for bad in [";", ";;a", ";a=", ";a=\"x", ";a b", ";=x", ";a=\"x\"y"] {
            assert!(Params::new(bad.as_bytes()).check("").is_err(), "{bad}");
        }
    }
}
