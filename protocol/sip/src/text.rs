//! Bytes of header values: tokens, white space, quotes, lists, numbers (RFC 3261 §25.1).

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let marks = b"-.!%*_+`'~";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    let mut c = 0;
    while c < 128 {
        if (c as u8).is_ascii_alphanumeric() {
            table[c] = true;
        }
        c += 1;
    }
    table
};

/// The comma-separated items of one header value; see [`split_list`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: Option<&'a [u8]>,
}

/// Splits a header value at its commas, but not inside quotes or angle brackets, and trims each
/// item. An empty value has no items; an empty item between two commas is yielded empty, so that
/// whoever parses it can refuse it. Not for `WWW-Authenticate` and its kin, whose commas separate
/// parameters ([`crate::digest`]).
pub fn split_list(value: &[u8]) -> Items<'_> {
    let value = trim(value);
    Items { rest: (!value.is_empty()).then_some(value) }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = list_item_end(rest);
        self.rest = rest.get(end + 1..);
        Some(trim(&rest[..end]))
    }
}

/// Where the first item of `list` ends: at a comma outside quotes and angle brackets, or at the end.
fn list_item_end(list: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr3(b',', b'"', b'<', &list[at..]) {
        at += found;
        match list[at] {
            b',' => return at,
            b'"' => match quoted_len(&list[at..]) {
                Some(len) => at += len,
                None => return list.len(),
            },
            _ => match memchr(b'>', &list[at..]) {
                Some(len) => at += len + 1,
                None => return list.len(),
            },
        }
    }
    list.len()
}

/// Length of the quoted string at the start of `text`, quotes included; `None` if it never ends.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The text of a quoted string without quotes and escapes (RFC 3261 §25.1 `quoted-string`);
/// anything else as it is.
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let inner = strip_quotes(text);
    if inner.len() == text.len() || memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The inside of a quoted string, escapes left alone; anything else as it is.
pub(crate) fn strip_quotes(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => text,
    }
}

/// Whether `text` is a non-empty `token`.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| TOKEN[usize::from(*b)])
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Linear white space, folds included.
pub(crate) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    text
}

pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// `text` split at the first `byte`; the second part does not hold it.
pub(crate) fn split_once(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    // What is split here is short: a plain loop is faster than calling memchr.
    let at = text.iter().position(|b| *b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// A number of decimal digits only; `None` when it is something else or above `u64`.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// As [`number`], for 32 bits.
pub(crate) fn number32(text: &[u8]) -> Option<u32> {
    number(text).and_then(|n| u32::try_from(n).ok())
}

/// How far `part` starts into `whole`, when it is a slice of it; zero otherwise.
pub(crate) fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    let (start, at) = (whole.as_ptr() as usize, part.as_ptr() as usize);
    match at.checked_sub(start) {
        Some(offset) if offset <= whole.len() => offset,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(value: &str) -> Vec<&str> {
        split_list(value.as_bytes()).map(|i| std::str::from_utf8(i).unwrap()).collect()
    }

    #[test]
    fn lists_split_at_commas_outside_quotes_and_brackets() {
        assert_eq!(items("a , b"), ["a", "b"]);
        assert_eq!(
            items("\"x, \\\" y\" <sip:a,b@c>;q=1, <sip:d>"),
            ["\"x, \\\" y\" <sip:a,b@c>;q=1", "<sip:d>"]
        );
        assert_eq!(items("a,,b,"), ["a", "", "b", ""]);
        assert_eq!(items("  "), [""; 0]);
        assert_eq!(items("\"open, quote"), ["\"open, quote"]);
    }

    #[test]
    fn quoted_strings_lose_quotes_and_escapes() {
        assert_eq!(unquote(b"\"a\\\"b\\\\\"").as_ref(), b"a\"b\\");
        assert_eq!(unquote(b"token").as_ref(), b"token");
        assert_eq!(unquote(b"\"\"").as_ref(), b"");
        assert_eq!(unquote(b"\"").as_ref(), b"\"");
    }

    #[test]
    fn numbers_have_no_sign_and_no_overflow() {
        assert_eq!(number32(b"4294967295"), Some(u32::MAX));
        assert_eq!(number32(b"4294967296"), None);
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!((number(b"-1"), number(b""), number(b"1 ")), (None, None, None));
    }
}
