//! What every message must hold before anybody acts on it (RFC 3261 §8.1.1, §16.3).

use super::typed::missing;
use super::{CSeq, Message};
use crate::error::{ParseError, ParseErrorKind};
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

/// Headers every message must have, with their bits in [`Seen`].
const MANDATORY: [(u8, &str); 5] =
    [(VIA, "Via"), (FROM, "From"), (TO, "To"), (CALL_ID, "Call-ID"), (CSEQ, "CSeq")];

/// Which headers have come by.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    /// Notes one more; false when it was there before.
    fn first(&mut self, id: u8) -> bool {
        let bit = match id {
            VIA => 1,
            FROM => 2,
            TO => 4,
            CALL_ID => 8,
            CSEQ => 16,
            MAX_FORWARDS => 32,
            CONTACT => 64,
            _ => 128,
        };
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }
}

/// Refuses a message that lacks, repeats or garbles what transactions and routing rest on.
pub(super) fn check(message: &Message) -> Result<(), ParseError> {
    check_request_uri(message)?;
    let mut seen = Seen::default();
    for slot in message.slots() {
        if !is_checked(slot.id) {
            continue;
        }
        let value = message.value_of(&slot);
        let at = message.offset_of(value);
        let new = seen.first(slot.id);
        if !new && !matches!(slot.id, VIA | CONTACT) {
            let kind = ParseErrorKind::Repeated;
            return Err(ParseError::new(kind, at, "this header once", "RFC 3261 §7.3.1"));
        }
        check_value(message, slot.id, value).map_err(|e| e.shifted(at))?;
    }
    match MANDATORY.iter().find(|(id, _)| seen.first(*id)) {
        Some((_, name)) => Err(missing(name)),
        None => Ok(()),
    }
}

fn is_checked(id: u8) -> bool {
    matches!(id, VIA | FROM | TO | CALL_ID | CSEQ | CONTACT | MAX_FORWARDS | CONTENT_TYPE)
}

fn check_value(message: &Message, id: u8, value: &[u8]) -> Result<(), ParseError> {
    match id {
        VIA => check_list(value, |item| Via::parse(item).map(|_| ())),
        FROM | TO => NameAddr::parse(value).map(|_| ()),
        CONTACT if value == b"*" => Ok(()),
        CONTACT => check_list(value, |item| NameAddr::parse(item).map(|_| ())),
        CSEQ => check_cseq(message, value),
        CALL_ID if value.is_empty() || value.iter().any(|b| b.is_ascii_whitespace()) => {
            Err(ParseError::syntax(0, "a word", "RFC 3261 §20.8"))
        }
        MAX_FORWARDS if number(value).is_none_or(|n| n > 255) => {
            Err(ParseError::new(ParseErrorKind::Range, 0, "a number up to 255", "RFC 3261 §20.22"))
        }
        _ => Ok(()),
    }
}

fn check_list(
    value: &[u8],
    check: impl Fn(&[u8]) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    if value.is_empty() {
        return Err(ParseError::syntax(0, "a value", "RFC 3261 §7.3.1"));
    }
    split_list(value)
        .try_for_each(|item| check(item).map_err(|e| e.shifted(offset_in(value, item))))
}

fn check_cseq(message: &Message, value: &[u8]) -> Result<(), ParseError> {
    let cseq = CSeq::parse(value)?;
    match message.method() {
        Some(method) if method != cseq.method => Err(ParseError::new(
            ParseErrorKind::Mismatch,
            0,
            "the method of the request line",
            "RFC 3261 §8.1.1.5",
        )),
        _ => Ok(()),
    }
}

/// RFC 3261 §19.1.1, table 1: a Request-URI has no headers.
fn check_request_uri(message: &Message) -> Result<(), ParseError> {
    if !message.is_request() {
        return Ok(());
    }
    let raw = message.request_uri();
    let at = message.offset_of(raw);
    match Uri::parse(raw).map_err(|e| e.shifted(at))? {
        Uri::Sip(uri) if !uri.headers().is_empty() => {
            Err(ParseError::syntax(at, "a Request-URI without headers", "RFC 3261 §19.1.1"))
        }
        _ => Ok(()),
    }
}
