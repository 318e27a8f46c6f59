//! From bytes to an indexed message.

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::index::GAP;
use super::lines::{agree, content_length, line_end, next_line, split_name};
use super::validate::{Checks, is_checked};
use super::{Index, Message, StartLine};
use crate::error::{ParseError, ParseErrorKind};
use crate::limits::Limits;
use crate::name::HeaderName;
use crate::text::{find_byte, is_token, number, trim_end, trim_start};

const RFC_START: &str = "RFC 3261 §7.1";
const RFC_STATUS: &str = "RFC 3261 §7.2";
const RFC_HEADER: &str = "RFC 3261 §7.3.1";

/// Where the reason phrase begins: behind `SIP/2.0 200 `.
pub(super) const REASON_AT: usize = 12;

/// Builds the index and checks, line by line, what every message must hold.
pub(super) fn index(bytes: Bytes, limits: &Limits) -> Result<Message, ParseError> {
    let mut bytes = skip_blank_lines(bytes);
    if bytes.len() > limits.message_bytes_max.min(u32::MAX as usize) {
        let at = limits.message_bytes_max;
        return Err(ParseError::new(ParseErrorKind::TooLarge, at, "a smaller message", "Limits"));
    }
    let start_len = line_end(&bytes, 0)?;
    let start = start_line(&bytes[..start_len - 2])?;
    let mut checks = Checks::new(&bytes, start)?;
    let mut index = Index::default();
    let mut length = None;
    let mut any_fold = false;
    let mut at = start_len;
    while let Some(line) = next_line(&bytes, at)? {
        if index.len() == limits.headers_max {
            let kind = ParseErrorKind::TooManyHeaders;
            return Err(ParseError::new(kind, at, "fewer headers", "Limits"));
        }
        let Some((id, colon)) = split_name(&bytes[line.start..line.end]) else {
            return Err(ParseError::syntax(at, "a header name, ':' and a value", RFC_HEADER));
        };
        if is_checked(id) {
            let value = trim_start(&bytes[at + colon + 1..line.end]);
            let value_at = line.end - value.len();
            match id == HeaderName::CONTENT_LENGTH.id() {
                true => agree(&mut length, content_length(value, value_at)?, value_at)?,
                false => checks
                    .line(id, trim_end(value), &bytes[line.start..line.end])
                    .map_err(|e| e.shifted(value_at))?,
            }
        }
        any_fold |= line.folded;
        index.push(line.start, id);
        at = line.end;
    }
    let marks = checks.finish()?;
    let body_at = at + 2;
    if let Some(length) = length {
        let end = body_at.saturating_add(length as usize);
        if end > bytes.len() {
            let kind = ParseErrorKind::Incomplete;
            let found = bytes.len();
            return Err(ParseError::new(kind, found, "a whole body", "RFC 3261 §18.3"));
        }
        bytes.truncate(end);
    }
    Ok(assemble(bytes, start, body_at, index.checked(marks), any_fold))
}

/// As [`index`], passing over what is wrong.
pub(super) fn index_lenient(bytes: Bytes) -> Option<Message> {
    let mut bytes = skip_blank_lines(bytes);
    bytes.truncate(Limits::DEFAULT.message_bytes_max);
    let start_len = memchr::memmem::find(&bytes, b"\r\n")? + 2;
    let start = lenient_request_line(&bytes[..start_len - 2])?;
    let (index, any_fold, body_at) = index_lines_lenient(&bytes, start_len);
    let message = assemble(bytes, start, body_at, index, any_fold);
    message.header(HeaderName::VIA).is_some().then_some(message)
}

/// The lines behind the start line, what is none of them marked as a gap; whether any is folded;
/// where the body begins.
fn index_lines_lenient(bytes: &[u8], start_len: usize) -> (Index, bool, usize) {
    let mut index = Index::default();
    let mut any_fold = false;
    let mut at = start_len;
    while index.len() < Limits::DEFAULT.headers_max {
        let (id, end) = match next_line(bytes, at) {
            Ok(None) => return (index, any_fold, at + 2),
            Ok(Some(line)) => {
                let id = split_name(&bytes[line.start..line.end]).map_or(GAP, |(id, _)| id);
                any_fold |= line.folded && id != GAP;
                (id, line.end)
            }
            Err(_) => match memchr::memmem::find(&bytes[at..], b"\r\n") {
                Some(found) => (GAP, at + found + 2),
                None => break,
            },
        };
        if id != GAP || index.last_id() != Some(GAP) {
            index.push(at, id);
        }
        at = end;
    }
    // No blank line was seen: the last line ends here, and there is no body.
    index.push(at, GAP);
    (index, any_fold, bytes.len())
}

/// Puts a message together from parts whose offsets are known to fit 32 bits.
pub(crate) fn assemble(
    bytes: Bytes,
    start: StartLine,
    body_at: usize,
    index: Index,
    any_fold: bool,
) -> Message {
    let unfolded = any_fold.then(|| unfold(&bytes, &index, body_at));
    let (slots, extra) = index.finish(unfolded);
    Message { bytes, extra, start, body_at: body_at as u32, slots }
}

/// Blanks the line breaks inside folded lines: RFC 3261 §7.3.1 reads a fold as one space.
fn unfold(bytes: &[u8], index: &Index, body_at: usize) -> Bytes {
    let mut text = bytes.to_vec();
    for slot in index.iter(body_at.saturating_sub(2)) {
        let end = slot.end.saturating_sub(2).max(slot.start);
        for byte in &mut text[slot.start..end] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
    text.into()
}

/// RFC 3261 §7.5: line breaks before the start line are ignored.
fn skip_blank_lines(mut bytes: Bytes) -> Bytes {
    if !bytes.starts_with(b"\r\n") {
        return bytes;
    }
    let blank = bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2;
    bytes::Buf::advance(&mut bytes, blank);
    bytes
}

fn start_line(line: &[u8]) -> Result<StartLine, ParseError> {
    if line.len() > 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(line);
    }
    let bad = |at, what| ParseError::syntax(at, what, RFC_START);
    let method_len = find_byte(line, b' ');
    let method_len = method_len.ok_or_else(|| bad(line.len(), "method SP Request-URI"))?;
    if !is_token(&line[..method_len]) {
        return Err(bad(0, "a method"));
    }
    let uri_end = memrchr(b' ', line).unwrap_or(method_len);
    if uri_end <= method_len + 1 {
        return Err(bad(method_len, "Request-URI SP SIP/2.0"));
    }
    if let Some(space) = memchr(b' ', &line[method_len + 1..uri_end]) {
        return Err(bad(method_len + 1 + space, "no white space in the Request-URI"));
    }
    version(&line[uri_end + 1..], uri_end + 1)?;
    request(method_len, uri_end).ok_or_else(|| bad(0, "a shorter method"))
}

fn status_line(line: &[u8]) -> Result<StartLine, ParseError> {
    let bad = |at, what| ParseError::syntax(at, what, RFC_STATUS);
    let space = find_byte(line, b' ');
    let space = space.ok_or_else(|| bad(line.len(), "SIP/2.0 SP status SP"))?;
    version(&line[..space], 0)?;
    let code = line.get(space + 1..space + 4).ok_or_else(|| bad(space, "three digits"))?;
    let status = number(code).ok_or_else(|| bad(space + 1, "three digits"))?;
    if !(100..700).contains(&status) {
        return Err(bad(space + 1, "a status from 100 to 699"));
    }
    if line.get(space + 4) != Some(&b' ') {
        return Err(bad(space + 4, "SP and a reason phrase"));
    }
    Ok(StartLine::Response { status: status as u16 })
}

/// `SIP/2.0` in any case (RFC 3261 §7.1); another well-formed version is a fault of its own.
#[inline]
fn version(text: &[u8], at: usize) -> Result<(), ParseError> {
    if text == b"SIP/2.0" || text.eq_ignore_ascii_case(b"SIP/2.0") {
        return Ok(());
    }
    let digits = |t: &[u8]| !t.is_empty() && t.iter().all(u8::is_ascii_digit);
    let other = text.len() > 4
        && text[..4].eq_ignore_ascii_case(b"SIP/")
        && crate::text::split_once(&text[4..], b'.').is_some_and(|(a, b)| digits(a) && digits(b));
    let kind = if other { ParseErrorKind::Version } else { ParseErrorKind::Syntax };
    Err(ParseError::new(kind, at, "SIP/2.0", RFC_START))
}

/// A request line taken apart as far as it goes.
fn lenient_request_line(line: &[u8]) -> Option<StartLine> {
    let method_len = memchr(b' ', line)?;
    if !is_token(&line[..method_len]) || line[..method_len].eq_ignore_ascii_case(b"SIP/2.0") {
        return None;
    }
    let uri_end = memrchr(b' ', line).filter(|end| *end > method_len).unwrap_or(line.len());
    request(method_len, uri_end)
}

fn request(method_len: usize, uri_end: usize) -> Option<StartLine> {
    let (method_len, uri_end) = (u16::try_from(method_len).ok()?, u32::try_from(uri_end).ok()?);
    Some(StartLine::Request { method_len, uri_end })
}
