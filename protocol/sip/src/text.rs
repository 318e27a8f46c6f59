//! Bytes of header values: tokens, white space, quotes, lists, numbers (RFC 3261 §25.1).

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

/// What a byte may be part of: a set of the constants below, looked up once per byte.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut c = 0;
    while c < 256 {
        let byte = c as u8;
        let mut set = 0;
        if byte.is_ascii_alphanumeric() {
            set |= TOKEN | HOST;
        }
        if matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            set |= TOKEN;
        }
        // The underscore is no part of a host name, but of many names in use.
        if matches!(byte, b'-' | b'.' | b'_') {
            set |= HOST;
        }
        if byte > b' ' && !matches!(byte, 0x7f | b'<' | b'>' | b'"') {
            set |= URI;
            if !matches!(byte, b'%' | b'@') {
                set |= PLAIN;
                if byte != b'?' {
                    set |= PARAM;
                }
            }
        }
        if !is_lws(byte) && !matches!(byte, b';' | b'"') {
            set |= VALUE;
        }
        table[c] = set;
        c += 1;
    }
    table
};

/// `token` (RFC 3261 §25.1).
pub(crate) const TOKEN: u8 = 1;
/// A host name.
pub(crate) const HOST: u8 = 2;
/// A URI. Wider than the grammar (`#` in dialled codes, UTF-8), narrow enough that no header can be
/// broken by it.
pub(crate) const URI: u8 = 4;
/// A URI, escapes and the `@` before the host set aside.
pub(crate) const PLAIN: u8 = 8;
/// Parameters of a URI, escapes set aside.
pub(crate) const PARAM: u8 = 16;
/// The value of a header parameter, when it is not quoted.
pub(crate) const VALUE: u8 = 32;

/// Length of the run of bytes of `class` at the start of `text`; four bytes are tested at once.
#[inline]
pub(crate) fn span(text: &[u8], class: u8) -> usize {
    let set = |byte: &u8| CLASSES[usize::from(*byte)];
    let (fours, _) = text.as_chunks::<4>();
    let whole =
        fours.iter().take_while(|[a, b, c, d]| set(a) & set(b) & set(c) & set(d) & class != 0);
    let at = whole.count() * 4;
    at + text[at..].iter().take_while(|byte| set(byte) & class != 0).count()
}

/// As [`span`], for runs that tend to be long. `suspects` marks the high bit of each byte of eight
/// that may not be of the class; what it does not mark must be.
#[inline]
fn long_span(text: &[u8], class: u8, suspects: impl Fn(u64) -> u64) -> usize {
    let mut at = 0;
    while let Some(eight) = text[at..].first_chunk::<8>() {
        let marked = suspects(u64::from_le_bytes(*eight)) & HIGHS;
        if marked == 0 {
            at += 8;
            continue;
        }
        // Borrows run upwards, so the lowest mark is exact.
        let first = at + (marked.trailing_zeros() / 8) as usize;
        if CLASSES[usize::from(text[first])] & class == 0 {
            return first;
        }
        at = first + 1;
    }
    at + span(&text[at..], class)
}

/// Length of the value of a header parameter that is not quoted.
#[inline]
pub(crate) fn value_span(text: &[u8]) -> usize {
    long_span(text, VALUE, |eight| below(eight, b'"' + 1) | equal(eight, b';'))
}

/// As [`span`], `%` with two hexadecimal digits among them; an escape that is none ends the run.
#[inline]
pub(crate) fn escaped_span(text: &[u8], class: u8) -> usize {
    let suspects = |eight| {
        let angle = equal(eight & (0xfd * ONES), b'<');
        below(eight, b'%' + 1)
            | angle
            | equal(eight, b'@')
            | equal(eight, b'?')
            | equal(eight, 0x7f)
    };
    let mut at = 0;
    loop {
        at += long_span(&text[at..], class, suspects);
        match &text[at..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => at += 3,
            _ => return at,
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of eight that are below `limit`, which is at most 128; exact up to the first.
#[inline]
pub(crate) const fn below(eight: u64, limit: u8) -> u64 {
    eight.wrapping_sub(limit as u64 * ONES) & !eight & HIGHS
}

/// Marks the bytes of eight that are `byte`; exact up to the first.
#[inline]
pub(crate) const fn equal(eight: u64, byte: u8) -> u64 {
    below(eight ^ (byte as u64 * ONES), 1)
}

/// Where `byte` stands first. For short texts, where calling memchr costs more than it saves.
#[inline]
pub(crate) fn find_byte(text: &[u8], byte: u8) -> Option<usize> {
    let (eights, rest) = text.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        let found = equal(u64::from_le_bytes(*eight), byte);
        if found != 0 {
            return Some(at * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|b| *b == byte).map(|at| eights.len() * 8 + at)
}

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
#[inline]
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && span(text, TOKEN) == text.len()
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

/// Linear white space, folds included.
#[inline]
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[inline]
pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_lws(*first)
    {
        text = rest;
    }
    text
}

#[inline]
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_lws(*last)
    {
        text = rest;
    }
    text
}

#[inline]
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

/// `text` split at the first `byte`; the second part does not hold it.
pub(crate) fn split_once(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = find_byte(text, byte)?;
    Some((&text[..at], &text[at + 1..]))
}

/// A number of decimal digits only; `None` when it is something else or above `u64`.
#[inline]
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut n = 0_u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits always fit.
        n = match text.len() {
            0..=19 => n * 10 + u64::from(digit),
            _ => n.checked_mul(10)?.checked_add(u64::from(digit))?,
        };
    }
    Some(n)
}

/// As [`number`], for 32 bits.
pub(crate) fn number32(text: &[u8]) -> Option<u32> {
    number(text).and_then(|n| u32::try_from(n).ok())
}

/// How far `part` starts into `whole`, when it is a slice of it; zero otherwise.
#[inline]
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
    fn bytes_are_found_wherever_they_stand() {
        for len in 0..40 {
            let text: Vec<u8> = (0..len).map(|i| 0x80 | i).collect();
            for at in 0..len {
                assert_eq!(find_byte(&text, 0x80 | at), Some(usize::from(at)));
            }
            assert_eq!(find_byte(&text, b'@'), None);
        }
        assert_eq!(find_byte(b"\x81\x80\x80xxxxxxx", 0x80), Some(1));
    }

    /// The spans that look at many bytes at once, against those that look at one.
    #[test]
    fn long_runs_end_where_short_ones_do() {
        let plain = |text: &[u8], class: u8| {
            text.iter().take_while(|b| CLASSES[usize::from(**b)] & class != 0).count()
        };
        for stop in 0..=255_u8 {
            for len in 0..24 {
                let mut text = vec![b'a'; len];
                text.push(stop);
                text.extend(b"!bcdefghijk;<>?@\"\x80");
                for class in [TOKEN, HOST, URI, PLAIN, PARAM, VALUE] {
                    assert_eq!(span(&text, class), plain(&text, class), "{stop} {len} {class}");
                }
                assert_eq!(value_span(&text), plain(&text, VALUE), "{stop} {len}");
                for class in [PLAIN, PARAM] {
                    assert_eq!(escaped_span(&text, class), plain(&text, class), "{stop} {len}");
                }
            }
        }
    }

    #[test]
    fn escapes_are_whole_or_end_the_run() {
        assert_eq!(escaped_span(b"a%4Fb@c", PLAIN), 5);
        assert_eq!(escaped_span(b"a%4", PLAIN), 1);
        assert_eq!(escaped_span(b"%%41", PLAIN), 0);
        assert_eq!(escaped_span(b"%41%42", PLAIN), 6);
    }

    #[test]
    fn numbers_have_no_sign_and_no_overflow() {
        assert_eq!(number32(b"4294967295"), Some(u32::MAX));
        assert_eq!(number32(b"4294967296"), None);
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!((number(b"-1"), number(b""), number(b"1 ")), (None, None, None));
    }
}
