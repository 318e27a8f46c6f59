//! Where in a body the session description is: alone, or a part among others (RFC 2046 §5.1, RFC
//! 5621).
//!
//! A multipart body is read strictly. Two readers that see different parts in one body would let a
//! description pass that one of them never saw; what is not clean counts as [`Description::Hidden`].

use std::ops::Range;

use crate::edit::Edit;
use crate::message::Message;
use crate::name::HeaderName;
use crate::params::Params;
use crate::text::{strip_quotes, trim};

const SDP: &[u8] = b"application/sdp";

/// Parts of one body looked at; a body of more is refused.
const PARTS_MAX: usize = 16;

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;

/// What a body says of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Description<'a> {
    /// Nothing: there is no body, or it is of another kind.
    Absent,
    /// This: the whole body, or its one part that is a description.
    Sdp(&'a [u8]),
    /// There may be one that we cannot tell for sure: parts within parts, several descriptions, an
    /// encoded one, or a body that is no clean multipart.
    Hidden,
}

/// One part of a multipart body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPart<'a> {
    head: &'a [u8],
    content: &'a [u8],
}

impl<'a> BodyPart<'a> {
    /// A header of the part, folding aside; names compare without regard to case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.split(|b| *b == b'\n').find_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            trim(&line[..colon])
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| trim(&line[colon + 1..]))
        })
    }

    /// Its bytes.
    pub fn content(&self) -> &'a [u8] {
        self.content
    }

    fn is(&self, media_type: &[u8]) -> bool {
        // Without a Content-Type it is plain text (RFC 2046 §5.1).
        self.header("Content-Type").is_some_and(|value| is_type(value, media_type))
    }

    fn is_encoded(&self) -> bool {
        let plain = |value: &[u8]| {
            [b"7bit".as_slice(), b"8bit", b"binary", b"identity"]
                .iter()
                .any(|known| value.eq_ignore_ascii_case(known))
        };
        let transfer = self.header("Content-Transfer-Encoding");
        let content = self.header("Content-Encoding");
        !transfer.is_none_or(plain) || !content.is_none_or(plain)
    }
}

/// The session description of a message.
pub fn description(message: &Message) -> Description<'_> {
    if message.body().is_empty() {
        return Description::Absent;
    }
    let Some(value) = message.header(HeaderName::CONTENT_TYPE) else { return Description::Absent };
    if is_type(value, SDP) {
        return Description::Sdp(message.body());
    }
    if !is_multipart(value) {
        return Description::Absent;
    }
    let Some(parts) = parts(message) else { return Description::Hidden };
    let nested = |part: &&BodyPart<'_>| part.header("Content-Type").is_some_and(is_multipart);
    let mut described = parts.iter().filter(|part| part.is(SDP));
    match (described.next(), described.next(), parts.iter().any(|part| nested(&part))) {
        (None, _, false) => Description::Absent,
        (Some(part), None, false) if !part.is_encoded() => Description::Sdp(part.content),
        _ => Description::Hidden,
    }
}

/// Puts another description where the message's own is; every other byte of its body stays.
pub fn replace_description<'m>(edit: Edit<'m>, message: &Message, sdp: &[u8]) -> Edit<'m> {
    let own = match description(message) {
        Description::Sdp(own) if own.len() != message.body().len() => own,
        _ => return edit.replace_body("application/sdp", sdp),
    };
    let Range { start, end } = range_in(message.body(), own);
    let body = [&message.body()[..start], sdp, &message.body()[end..]].concat();
    let kind = message.header_str(HeaderName::CONTENT_TYPE).unwrap_or_default();
    edit.replace_body(kind, body)
}

/// Whether the sender insists on something in the body that is none of `known` (RFC 5621 §3.1:
/// `handling=required`). Who says nothing does not insist: many a gateway adds what only its like
/// understands.
pub fn requires_other_than(message: &Message, known: &[&str]) -> bool {
    let unknown = |value: Option<&[u8]>| {
        !value.is_some_and(|value| known.iter().any(|k| is_type(value, k.as_bytes())))
    };
    let value = message.header(HeaderName::CONTENT_TYPE);
    if message.body().is_empty() {
        return false;
    }
    match parts(message) {
        Some(parts) => parts.iter().any(|part| {
            is_required(part.header("Content-Disposition")) && unknown(part.header("Content-Type"))
        }),
        None => is_required(message.header(HeaderName::CONTENT_DISPOSITION)) && unknown(value),
    }
}

/// The parts of a multipart body; `None` for any other body, and for one that is not clean.
pub fn parts(message: &Message) -> Option<Vec<BodyPart<'_>>> {
    let value = message.header(HeaderName::CONTENT_TYPE).filter(|v| is_multipart(v))?;
    let semi = value.iter().position(|b| *b == b';')?;
    let boundary = strip_quotes(Params::new(&value[semi..]).value("boundary")?);
    if boundary.is_empty() || boundary.len() > BOUNDARY_MAX {
        return None;
    }
    let delimiter = [b"--", boundary].concat();
    let body = message.body();
    let mut delimiters = delimiter_lines(body, &delimiter)?;
    let mut from = delimiters.next()?;
    let mut found = Vec::new();
    loop {
        if from.closes {
            return Some(found);
        }
        let next = delimiters.next()?;
        if found.len() == PARTS_MAX {
            return None;
        }
        // The line break before a delimiter is the delimiter's.
        let part = body.get(from.end..next.start)?.strip_suffix(b"\r\n".as_slice())?;
        found.push(split_part(part)?);
        from = next;
    }
}

/// One line that is a delimiter.
#[derive(Debug, Clone, Copy)]
struct Delimiter {
    start: usize,
    /// Behind its line break.
    end: usize,
    closes: bool,
}

/// The delimiter lines of a body. `None` when a line looks like one and is none for everybody: a
/// bare line feed around it, or more text behind it.
fn delimiter_lines<'a>(
    body: &'a [u8],
    delimiter: &'a [u8],
) -> Option<impl Iterator<Item = Delimiter> + 'a> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let length = body[at..].iter().position(|b| *b == b'\n').map_or(body.len() - at, |n| n + 1);
        let line = &body[at..at + length];
        if let Some(rest) = line.strip_prefix(delimiter) {
            let closes = rest.starts_with(b"--");
            let rest = rest.strip_prefix(b"--".as_slice()).unwrap_or(rest);
            let ends_well = rest.ends_with(b"\r\n") || (closes && at + length == body.len());
            let clean = rest.iter().all(|b| b" \t\r\n".contains(b)) && ends_well;
            let begins_well = at == 0 || body[..at].ends_with(b"\r\n");
            if !clean || !begins_well {
                return None;
            }
            found.push(Delimiter { start: at, end: at + length, closes });
            if closes {
                break;
            }
        }
        at += length;
    }
    Some(found.into_iter())
}

fn split_part(part: &[u8]) -> Option<BodyPart<'_>> {
    if let Some(content) = part.strip_prefix(b"\r\n".as_slice()) {
        return Some(BodyPart { head: b"", content });
    }
    let at = part.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some(BodyPart { head: &part[..at + 2], content: &part[at + 4..] })
}

fn is_type(value: &[u8], media_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    trim(&value[..end]).eq_ignore_ascii_case(media_type)
}

fn is_multipart(value: &[u8]) -> bool {
    trim(value).get(..10).is_some_and(|t| t.eq_ignore_ascii_case(b"multipart/"))
}

fn is_required(disposition: Option<&[u8]>) -> bool {
    let Some(value) = disposition else { return false };
    let semi = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    let handling = Params::new(&value[semi..]).value("handling");
    handling.is_some_and(|h| h.eq_ignore_ascii_case(b"required"))
}

fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = crate::text::offset_in(whole, part);
    start..start + part.len()
}

#[cfg(test)]
mod tests;
