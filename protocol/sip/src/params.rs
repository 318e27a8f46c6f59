//! `;name=value` parameters of header values (RFC 3261 §25.1 `generic-param`).

use memchr::{memchr2, memchr3};

use crate::error::ParseError;
use crate::text::{is_token, quoted_len, strip_quotes, trim};

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
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| strip_quotes(value.unwrap_or_default()))
    }

    /// Each parameter with its value as on the wire.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        Split { rest: self.0 }
    }

    /// Refuses empty parameters, names that are no tokens and quotes that never end.
    pub(crate) fn check(self, rfc: &'static str) -> Result<(), ParseError> {
        for (name, value) in self.iter() {
            let at = crate::text::offset_in(self.0, name);
            if !is_token(name) {
                return Err(ParseError::syntax(at, "a parameter name", rfc));
            }
            match value {
                None => {}
                Some([]) => return Err(ParseError::syntax(at, "a parameter value", rfc)),
                Some(text @ [b'"', ..]) if quoted_len(text) != Some(text.len()) => {
                    return Err(ParseError::syntax(at, "a closing quote", rfc));
                }
                Some(text) if text[0] != b'"' && memchr2(b'"', b' ', text).is_some() => {
                    return Err(ParseError::syntax(at, "a token, host or quoted string", rfc));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let [b';', body @ ..] = self.rest else { return None };
        let mut at = 0;
        let mut equals = None;
        let end = loop {
            let Some(found) = memchr3(b';', b'"', b'=', &body[at..]) else { break body.len() };
            at += found;
            match body[at] {
                b';' => break at,
                b'=' => {
                    equals = equals.or(Some(at));
                    at += 1;
                }
                _ => match quoted_len(&body[at..]) {
                    Some(len) => at += len,
                    None => break body.len(),
                },
            }
        };
        self.rest = &body[end..];
        let one = &body[..end];
        Some(match equals {
            Some(eq) => (trim(&one[..eq]), Some(trim(&one[eq + 1..]))),
            None => (trim(one), None),
        })
    }
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
