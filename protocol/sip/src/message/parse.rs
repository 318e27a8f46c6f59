//! From bytes to an indexed message.

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::lines::{Line, agree, content_length, line_end, next_line, split_name};
use super::{Message, Slot, Slots, StartLine};
use crate::error::{ParseError, ParseErrorKind};
use crate::limits::Limits;
use crate::name::HeaderName;
use crate::text::{is_token, number};

const RFC_START: &str = "RFC 3261 §7.1";
const RFC_STATUS: &str = "RFC 3261 §7.2";
const RFC_HEADER: &str = "RFC 3261 §7.3.1";

/// Where the reason phrase begins: behind `SIP/2.0 200 `.
pub(super) const REASON_AT: u32 = 12;

/// Builds the index and checks everything the index rests on.
pub(super) fn index(bytes: Bytes, limits: &Limits) -> Result<Message, ParseError> {
    let mut bytes = skip_blank_lines(bytes);
    if bytes.len() > limits.message_bytes_max.min(u32::MAX as usize) {
        let at = limits.message_bytes_max;
        return Err(ParseError::new(ParseErrorKind::TooLarge, at, "a smaller message", "Limits"));
    }
    let start_len = line_end(&bytes, 0)?;
    let start = start_line(&bytes[..start_len - 2])?;
    let mut slots = Slots::default();
    let mut length = None;
    let mut any_fold = false;
    let mut at = start_len;
    while let Some(line) = next_line(&bytes, at)? {
        if slots.len() == limits.headers_max {
            let kind = ParseErrorKind::TooManyHeaders;
            return Err(ParseError::new(kind, at, "fewer headers", "Limits"));
        }
        let slot = slot(&bytes, &line).ok_or(ParseError::syntax(
            at,
            "a header name, ':' and a value",
            RFC_HEADER,
        ))?;
        if slot.id == HeaderName::CONTENT_LENGTH.id() {
            let value_at = slot.value_start();
            agree(&mut length, content_length(&bytes[value_at..line.end], value_at)?, value_at)?;
        }
        any_fold |= slot.folded;
        slots.push(slot);
        at = line.end;
    }
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
    Ok(assemble(bytes, start, (start_len, body_at), slots, any_fold))
}

/// As [`index`], passing over what is wrong.
pub(super) fn index_lenient(bytes: Bytes) -> Option<Message> {
    let mut bytes = skip_blank_lines(bytes);
    bytes.truncate(Limits::DEFAULT.message_bytes_max);
    let start_len = memchr::memmem::find(&bytes, b"\r\n")? + 2;
    let start = lenient_request_line(&bytes[..start_len - 2])?;
    let mut slots = Slots::default();
    let mut any_fold = false;
    let mut at = start_len;
    while slots.len() < Limits::DEFAULT.headers_max {
        match next_line(&bytes, at) {
            Ok(Some(line)) => {
                if let Some(slot) = slot(&bytes, &line) {
                    any_fold |= slot.folded;
                    slots.push(slot);
                }
                at = line.end;
            }
            Ok(None) => break,
            Err(_) => match memchr::memmem::find(&bytes[at..], b"\r\n") {
                Some(found) => at += found + 2,
                None => break,
            },
        }
    }
    let body_at = (at + 2).min(bytes.len());
    let message = assemble(bytes, start, (start_len, body_at), slots, any_fold);
    message.header(HeaderName::VIA).is_some().then_some(message)
}

/// Puts a message together from parts whose offsets are known to fit 32 bits.
pub(crate) fn assemble(
    bytes: Bytes,
    start: StartLine,
    (start_len, body_at): (usize, usize),
    slots: Slots,
    any_fold: bool,
) -> Message {
    let unfolded = any_fold.then(|| unfold(&bytes, &slots));
    let (start_len, body_at) = (start_len as u32, body_at as u32);
    Message { bytes, unfolded, start, start_len, body_at, slots }
}

fn slot(bytes: &[u8], line: &Line) -> Option<Slot> {
    let (id, value) = split_name(&bytes[line.start..line.end])?;
    Some(Slot {
        line_start: line.start as u32,
        line_end: line.end as u32,
        value_delta: u16::try_from(value).ok()?,
        id,
        folded: line.folded,
    })
}

/// Blanks the line breaks inside folded values: RFC 3261 §7.3.1 reads a fold as one space.
fn unfold(bytes: &[u8], slots: &Slots) -> Bytes {
    let mut text = bytes.to_vec();
    for slot in slots.iter().filter(|s| s.folded) {
        // A value that is all folds starts behind its own end; there is nothing to blank then.
        let end = (slot.line_end as usize).saturating_sub(2).max(slot.value_start());
        for byte in &mut text[slot.value_start()..end] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
    text.into()
}

/// RFC 3261 §7.5: line breaks before the start line are ignored.
fn skip_blank_lines(mut bytes: Bytes) -> Bytes {
    let blank = bytes.chunks_exact(2).take_while(|pair| pair == b"\r\n").count() * 2;
    bytes::Buf::advance(&mut bytes, blank);
    bytes
}

fn start_line(line: &[u8]) -> Result<StartLine, ParseError> {
    if line.len() > 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return status_line(line);
    }
    let bad = |at, what| ParseError::syntax(at, what, RFC_START);
    let method_len = memchr(b' ', line).ok_or(bad(line.len(), "method SP Request-URI"))?;
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
    Ok(StartLine::Request { method_len: method_len as u32, uri_end: uri_end as u32 })
}

fn status_line(line: &[u8]) -> Result<StartLine, ParseError> {
    let bad = |at, what| ParseError::syntax(at, what, RFC_STATUS);
    let space = memchr(b' ', line).ok_or(bad(line.len(), "SIP/2.0 SP status SP"))?;
    version(&line[..space], 0)?;
    let code = line.get(space + 1..space + 4).ok_or(bad(space, "three digits"))?;
    let status = number(code).ok_or(bad(space + 1, "three digits"))?;
    if !(100..700).contains(&status) {
        return Err(bad(space + 1, "a status from 100 to 699"));
    }
    if line.get(space + 4) != Some(&b' ') {
        return Err(bad(space + 4, "SP and a reason phrase"));
    }
    Ok(StartLine::Response { status: status as u16 })
}

/// `SIP/2.0` in any case (RFC 3261 §7.1); another well-formed version is a fault of its own.
fn version(text: &[u8], at: usize) -> Result<(), ParseError> {
    if text.eq_ignore_ascii_case(b"SIP/2.0") {
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
    Some(StartLine::Request { method_len: method_len as u32, uri_end: uri_end as u32 })
}
