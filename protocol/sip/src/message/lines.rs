//! Cutting a header section into field lines. Parser and stream framer share this, so that they
//! can never disagree about where a message ends.

use memchr::memchr2;

use crate::error::{ParseError, ParseErrorKind};
use crate::name::{HeaderName, id_of};
use crate::text::{below, find_byte, is_lws, is_token, number, trim, trim_end, trim_start};

const RFC: &str = "RFC 3261 §7.3.1";

/// One field line found.
pub(crate) struct Line {
    pub(crate) start: usize,
    /// Behind its CRLF.
    pub(crate) end: usize,
    pub(crate) folded: bool,
}

/// The field line at `at`, continuation lines included; `None` at the blank line.
///
/// # Errors
/// Bytes that end before a CRLF, and CR or LF that stand alone: a peer that takes those for line
/// ends would see other headers than we do.
#[inline]
pub(crate) fn next_line(bytes: &[u8], at: usize) -> Result<Option<Line>, ParseError> {
    let mut end = line_end(bytes, at)?;
    if end == at + 2 {
        return Ok(None);
    }
    let mut folded = false;
    while matches!(bytes.get(end), Some(b' ' | b'\t')) {
        folded = true;
        end = line_end(bytes, end)?;
    }
    Ok(Some(Line { start: at, end, folded }))
}

/// Behind the CRLF that ends the line at `at`. Lines are short: 32 bytes at once in place are
/// faster than a call of memchr.
#[inline]
pub(crate) fn line_end(bytes: &[u8], at: usize) -> Result<usize, ParseError> {
    let rest = &bytes[at..];
    // CR and LF, and the few other control characters up to CR.
    let limit = b'\r' + 1;
    let (wide, _) = rest.as_chunks::<32>();
    let calm =
        wide.iter().take_while(|part| part.iter().fold(true, |calm, b| calm & (*b >= limit)));
    let mut from = calm.count() * 32;
    while let Some(eight) = rest[from..].first_chunk::<8>() {
        let marked = below(u64::from_le_bytes(*eight), limit);
        if marked != 0 {
            from += (marked.trailing_zeros() / 8) as usize;
            if rest[from..].starts_with(b"\r\n") {
                return Ok(at + from + 2);
            }
            break;
        }
        from += 8;
    }
    odd_line_end(bytes, at + from)
}

/// As [`line_end`], for lines with other control characters, for the last one and for what is wrong.
fn odd_line_end(bytes: &[u8], at: usize) -> Result<usize, ParseError> {
    if let Some(found) = memchr2(b'\r', b'\n', &bytes[at..]) {
        let found = at + found;
        if bytes[found..].starts_with(b"\r\n") {
            return Ok(found + 2);
        }
        if bytes[found] == b'\n' || found + 1 < bytes.len() {
            return Err(ParseError::syntax(found, "CR and LF together", RFC));
        }
    }
    Err(ParseError::new(ParseErrorKind::Incomplete, bytes.len(), "CRLF", RFC))
}

/// Name number and where the colon stands in `line`. `None` when there is no name.
#[inline]
pub(crate) fn split_name(line: &[u8]) -> Option<(u8, usize)> {
    let colon = find_byte(line, b':')?;
    let mut name = &line[..colon];
    if name.last().is_some_and(|b| is_lws(*b)) {
        name = trim_end(name);
    }
    let id = id_of(name);
    (id != 0 || is_token(name)).then_some((id, colon))
}

/// A Content-Length value (RFC 3261 §20.14).
pub(crate) fn content_length(value: &[u8], at: usize) -> Result<u32, ParseError> {
    const RFC: &str = "RFC 3261 §20.14";
    let value = trim(value);
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::syntax(at, "digits", RFC));
    }
    let length = number(value).and_then(|n| u32::try_from(n).ok());
    length.ok_or_else(|| {
        ParseError::new(ParseErrorKind::Range, at, "a Content-Length below 2^32", RFC)
    })
}

/// Notes one more Content-Length; two that differ make the end of the message a matter of opinion.
pub(crate) fn agree(known: &mut Option<u32>, more: u32, at: usize) -> Result<(), ParseError> {
    match known {
        Some(length) if *length != more => Err(ParseError::new(
            ParseErrorKind::Repeated,
            at,
            "one Content-Length",
            "RFC 3261 §20.14",
        )),
        _ => {
            *known = Some(more);
            Ok(())
        }
    }
}

/// Length of the body that follows the header section `head` (start line to blank line). Lines
/// that are no headers are left for the parser to refuse.
pub(crate) fn body_length(head: &[u8]) -> Result<usize, ParseError> {
    let mut length = None;
    let mut has_body = false;
    let mut at = crlf_end(head, 0);
    while at < head.len() && !head[at..].starts_with(b"\r\n") {
        let start = at;
        at = crlf_end(head, at);
        while matches!(head.get(at), Some(b' ' | b'\t')) {
            at = crlf_end(head, at);
        }
        let line = &head[start..at];
        let Some((id, colon)) = split_name(line) else { continue };
        if id == HeaderName::CONTENT_LENGTH.id() {
            let value = trim_start(&line[colon + 1..]);
            let at_value = at - value.len();
            agree(&mut length, content_length(value, at_value)?, at_value)?;
        }
        has_body |= id == HeaderName::CONTENT_TYPE.id();
    }
    match length {
        None if has_body => Err(ParseError::new(
            ParseErrorKind::Missing,
            head.len(),
            "Content-Length on a stream",
            "RFC 3261 §18.3",
        )),
        length => Ok(length.unwrap_or(0) as usize),
    }
}

/// Behind the next CRLF, bare CR and LF passed over.
fn crlf_end(head: &[u8], at: usize) -> usize {
    memchr::memmem::find(&head[at..], b"\r\n").map_or(head.len(), |found| at + found + 2)
}
