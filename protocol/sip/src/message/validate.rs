//! What every message must hold before anybody acts on it (RFC 3261 §8.1.1, §16.3).

use super::index::{Mark, Marks};
use super::typed::missing;
use super::{CSeq, StartLine};
use crate::error::{ParseError, ParseErrorKind};
use crate::method::Method;
use crate::name::HeaderName as H;
use crate::name_addr::NameAddr;
use crate::text::{number, offset_in, split_list};
use crate::uri::Uri;
use crate::via::Via;

const VIA: u8 = H::VIA.id();
const FROM: u8 = H::FROM.id();
const TO: u8 = H::TO.id();
const CALL_ID: u8 = H::CALL_ID.id();
const CSEQ: u8 = H::CSEQ.id();
const CONTACT: u8 = H::CONTACT.id();
const MAX_FORWARDS: u8 = H::MAX_FORWARDS.id();
const CONTENT_TYPE: u8 = H::CONTENT_TYPE.id();

/// The headers that are looked at, each with its bit; those before [`OPTIONAL`] must be there.
const CHECKED: [(u8, &str); 9] = [
    (VIA, "Via"),
    (FROM, "From"),
    (TO, "To"),
    (CALL_ID, "Call-ID"),
    (CSEQ, "CSeq"),
    (MAX_FORWARDS, "Max-Forwards"),
    (CONTACT, "Contact"),
    (CONTENT_TYPE, "Content-Type"),
    (H::CONTENT_LENGTH.id(), "Content-Length"),
];
const OPTIONAL: usize = 5;

/// The bit of each header that is looked at; zero for all others.
static BITS: [u16; 256] = {
    let mut bits = [0; 256];
    let mut i = 0;
    while i < CHECKED.len() {
        bits[CHECKED[i].0 as usize] = 1 << i;
        i += 1;
    }
    bits
};

/// Whether the value of this header is looked at.
#[inline]
pub(super) fn is_checked(id: u8) -> bool {
    BITS[usize::from(id)] != 0
}

/// What has been seen of a message: refuses one that lacks, repeats or garbles what transactions
/// and routing rest on.
pub(super) struct Checks<'a> {
    /// Of a request.
    method: Option<&'a [u8]>,
    seen: u16,
    marks: Marks,
}

impl<'a> Checks<'a> {
    /// Checks the start line.
    pub(super) fn new(bytes: &'a [u8], start: StartLine) -> Result<Self, ParseError> {
        let StartLine::Request { method_len, uri_end } = start else {
            return Ok(Self { method: None, seen: 0, marks: Marks::default() });
        };
        let (method_len, uri_end) = (usize::from(method_len), uri_end as usize);
        let at = method_len + 1;
        check_request_uri(&bytes[at..uri_end]).map_err(|e| e.shifted(at))?;
        Ok(Self { method: Some(&bytes[..method_len]), seen: 0, marks: Marks::default() })
    }

    /// Checks one header whose name [`is_checked`], with the `value` of its `line`. A fold in it is
    /// white space like any other.
    #[inline]
    pub(super) fn line(&mut self, id: u8, value: &[u8], line: &[u8]) -> Result<(), ParseError> {
        let bit = BITS[usize::from(id)];
        let is_first = self.seen & bit == 0;
        if !is_first && !matches!(id, VIA | CONTACT) {
            let kind = ParseErrorKind::Repeated;
            return Err(ParseError::new(kind, 0, "this header once", "RFC 3261 §7.3.1"));
        }
        self.seen |= bit;
        match id {
            VIA => {
                let mut top = None;
                check_list(value, |item| {
                    let via = Via::parse(item)?;
                    top.get_or_insert(via);
                    Ok(())
                })?;
                if let Some(via) = top.filter(|_| is_first) {
                    let first = first_param(via.params().raw(), b";branch=");
                    self.marks.branch = marked(line, first, || via.branch());
                }
                Ok(())
            }
            FROM => {
                self.marks.from_tag = tag_mark(line, NameAddr::parse(value)?);
                Ok(())
            }
            TO => {
                self.marks.to_tag = tag_mark(line, NameAddr::parse(value)?);
                Ok(())
            }
            CONTACT if value == b"*" => Ok(()),
            CONTACT => check_list(value, |item| NameAddr::parse(item).map(|_| ())),
            CSEQ => self.check_cseq(value),
            CALL_ID if value.is_empty() || value.iter().any(|b| b.is_ascii_whitespace()) => {
                Err(ParseError::syntax(0, "a word", "RFC 3261 §20.8"))
            }
            MAX_FORWARDS if number(value).is_none_or(|n| n > 255) => {
                let range = ParseErrorKind::Range;
                Err(ParseError::new(range, 0, "a number up to 255", "RFC 3261 §20.22"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that nothing is missing, and tells what was found on the way.
    pub(super) fn finish(&self) -> Result<Marks, ParseError> {
        let absent =
            CHECKED[..OPTIONAL].iter().find(|(id, _)| self.seen & BITS[usize::from(*id)] == 0);
        absent.map_or(Ok(self.marks), |(_, name)| Err(missing(name)))
    }

    fn check_cseq(&self, value: &[u8]) -> Result<(), ParseError> {
        let cseq = CSeq::parse(value)?;
        match self.method {
            Some(method) if method != cseq.method.as_bytes() => Err(ParseError::new(
                match Method::KNOWN.iter().any(|known| known.as_bytes() == method) {
                    true => ParseErrorKind::Mismatch,
                    false => ParseErrorKind::UnknownMethod,
                },
                0,
                "the method of the request line",
                "RFC 3261 §8.1.1.5",
            )),
            _ => Ok(()),
        }
    }
}

fn tag_mark(line: &[u8], address: NameAddr<'_>) -> Mark {
    let first = first_param(address.params().raw(), b";tag=");
    marked(line, first, || address.tag())
}

/// The mark of a parameter that nearly always is the `first`; `slow` looks among all.
#[inline]
fn marked<'a>(line: &[u8], first: Option<&[u8]>, slow: impl FnOnce() -> Option<&'a [u8]>) -> Mark {
    let mark = first.map_or(Mark::UNKNOWN, |value| Mark::of(line, Some(value)));
    if mark == Mark::UNKNOWN { Mark::of(line, slow()) } else { mark }
}

/// The value of the first parameter, when `start` is how that is written.
#[inline]
fn first_param<'a>(params: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let value = params.strip_prefix(start)?;
    Some(&value[..crate::text::find_byte(value, b';').unwrap_or(value.len())])
}

#[inline]
fn check_list<'v>(
    value: &'v [u8],
    mut check: impl FnMut(&'v [u8]) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    if value.is_empty() {
        return Err(ParseError::syntax(0, "a value", "RFC 3261 §7.3.1"));
    }
    split_list(value)
        .try_for_each(|item| check(item).map_err(|e| e.shifted(offset_in(value, item))))
}

/// RFC 3261 §19.1.1, table 1: a Request-URI has no headers.
fn check_request_uri(raw: &[u8]) -> Result<(), ParseError> {
    match Uri::parse(raw)? {
        Uri::Sip(uri) if !uri.headers().is_empty() => {
            Err(ParseError::syntax(0, "a Request-URI without headers", "RFC 3261 §19.1.1"))
        }
        _ => Ok(()),
    }
}
