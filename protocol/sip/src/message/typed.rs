//! Headers decoded on demand.

use super::Message;
use crate::error::{ParseError, ParseErrorKind};
use crate::method::Method;
use crate::name::HeaderName;
use crate::name_addr::{NameAddr, lenient_seconds};
use crate::text::{is_lws, number32, split_list, trim};
use crate::uri::SipUri;
use crate::via::Via;

/// CSeq (RFC 3261 §20.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Parses a CSeq value.
    ///
    /// # Errors
    /// A number that is none or above 32 bits, a method that is no token.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        const RFC: &str = "RFC 3261 §20.16";
        let value = trim(value);
        let space = value.iter().position(|b| is_lws(*b)).unwrap_or(value.len());
        let (number, method) = (&value[..space], trim(&value[space..]));
        let Some(number) = number32(number) else {
            let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
            return Err(match digits {
                true => ParseError::new(ParseErrorKind::Range, 0, "a number below 2^32", RFC),
                false => ParseError::syntax(0, "a sequence number", RFC),
            });
        };
        let method = Method::new(method);
        let method = method.ok_or_else(|| ParseError::syntax(space, "a method", RFC))?;
        Ok(Self { number, method })
    }
}

impl Message {
    /// The topmost Via.
    ///
    /// # Errors
    /// None there, or malformed.
    pub fn top_via(&self) -> Result<Via<'_>, ParseError> {
        // Where values were checked, none is empty.
        if self.slots.checked()
            && let Some(first) = self.header(HeaderName::VIA).and_then(|v| split_list(v).next())
        {
            return Via::parse_as(first, true);
        }
        self.vias().next().unwrap_or_else(|| Err(missing("Via")))
    }

    /// All Via values, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, ParseError>> {
        let checked = self.slots.checked();
        self.values(HeaderName::VIA).map(move |value| Via::parse_as(value, checked))
    }

    /// From.
    ///
    /// # Errors
    /// None there, or malformed.
    pub fn from_(&self) -> Result<NameAddr<'_>, ParseError> {
        self.address(HeaderName::FROM, "From")
    }

    /// To.
    ///
    /// # Errors
    /// None there, or malformed.
    pub fn to(&self) -> Result<NameAddr<'_>, ParseError> {
        self.address(HeaderName::TO, "To")
    }

    fn address(
        &self,
        name: HeaderName<'_>,
        text: &'static str,
    ) -> Result<NameAddr<'_>, ParseError> {
        let value = self.header(name).ok_or_else(|| missing(text))?;
        NameAddr::parse_as(value, self.slots.checked())
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.marked(HeaderName::FROM, self.slots.marks.from_tag, |m| m.from_().ok()?.tag())
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.marked(HeaderName::TO, self.slots.marks.to_tag, |m| m.to().ok()?.tag())
    }

    /// The branch of the topmost Via; `None` when that has none, or cannot be read.
    pub fn top_branch(&self) -> Option<&[u8]> {
        self.marked(HeaderName::VIA, self.slots.marks.branch, |m| m.top_via().ok()?.branch())
    }

    /// Call-ID; absent only from a message of [`Message::parse_lenient`].
    pub fn call_id(&self) -> Option<&[u8]> {
        self.header(HeaderName::CALL_ID)
    }

    /// CSeq.
    ///
    /// # Errors
    /// None there, or malformed.
    pub fn cseq(&self) -> Result<CSeq<'_>, ParseError> {
        self.header(HeaderName::CSEQ).ok_or_else(|| missing("CSeq")).and_then(CSeq::parse)
    }

    /// Each Contact. A `*` gives none: see [`Message::is_contact_star`].
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> {
        self.values(HeaderName::CONTACT).filter(|v| *v != b"*").map(self.reader())
    }

    /// Reads the values of a header that is checked when a message is parsed.
    fn reader<'a>(&self) -> impl Fn(&'a [u8]) -> Result<NameAddr<'a>, ParseError> + use<'a> {
        let checked = self.slots.checked();
        move |value| NameAddr::parse_as(value, checked)
    }

    /// Whether Contact is `*`: every binding is meant (RFC 3261 §10.2.2).
    pub fn is_contact_star(&self) -> bool {
        self.header(HeaderName::CONTACT) == Some(b"*")
    }

    /// Max-Forwards; `None` when it is absent or no number up to 255.
    pub fn max_forwards(&self) -> Option<u8> {
        self.header(HeaderName::MAX_FORWARDS).and_then(number32).and_then(|n| u8::try_from(n).ok())
    }

    /// Expires in seconds. A value that is no number reads as 3600, one too large as the largest.
    pub fn expires(&self) -> Option<u32> {
        self.header(HeaderName::EXPIRES).map(lenient_seconds)
    }

    /// Each Route value, topmost first.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> {
        self.values(HeaderName::ROUTE).map(NameAddr::parse)
    }

    /// The URI of the topmost Route, when that is a SIP URI. The header parameters behind it are not
    /// looked at.
    pub fn top_route(&self) -> Option<SipUri<'_>> {
        let top = self.values(HeaderName::ROUTE).next()?;
        NameAddr::parse_as(top, true).ok()?.sip_uri().ok()
    }

    /// Each Record-Route value, topmost first.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> {
        self.values(HeaderName::RECORD_ROUTE).map(NameAddr::parse)
    }

    /// Content-Type with its parameters.
    pub fn content_type(&self) -> Option<&[u8]> {
        self.header(HeaderName::CONTENT_TYPE)
    }

    /// Whether the body is of the media type given, parameters and case aside.
    pub fn has_content_type(&self, media_type: &str) -> bool {
        self.content_type().is_some_and(|value| {
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            trim(&value[..end]).eq_ignore_ascii_case(media_type.as_bytes())
        })
    }

    /// Whether a list of tokens (Supported, Require, Allow …) holds `token`, case aside.
    pub fn lists(&self, name: HeaderName<'_>, token: &str) -> bool {
        self.named(name).any(|slot| {
            crate::text::split_list(self.value_of(&slot))
                .any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
        })
    }
}

pub(super) fn missing(name: &'static str) -> ParseError {
    ParseError::new(ParseErrorKind::Missing, 0, name, "RFC 3261 §8.1.1")
}
