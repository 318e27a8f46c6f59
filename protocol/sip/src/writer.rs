//! Writes a message and its index in one go, so that what we build is never parsed again.

use bytes::Bytes;

use crate::message::{Index, Marks, Message, Slot, StartLine, assemble};
use crate::name::HeaderName;

/// Bytes and index of a message under construction: start line, then header lines, then body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    index: Index,
    any_fold: bool,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Writes a request line. White space and control characters are dropped from the URI.
    pub(crate) fn request_line(&mut self, method: &str, uri: &[u8]) -> StartLine {
        self.out.extend_from_slice(method.as_bytes());
        self.out.push(b' ');
        let unfit = |b: &u8| *b <= b' ' || *b == 0x7f;
        match uri.iter().any(unfit) {
            true => self.out.extend(uri.iter().filter(|b| !unfit(b))),
            false => self.out.extend_from_slice(uri),
        }
        let uri_end = self.out.len() as u32;
        self.out.extend_from_slice(b" SIP/2.0\r\n");
        // No method is longer: see `Method::new`.
        StartLine::Request { method_len: method.len() as u16, uri_end }
    }

    /// Writes a status line; a status outside 100 to 699 becomes 500.
    pub(crate) fn status_line(&mut self, status: u16, reason: &str) -> StartLine {
        debug_assert!((100..700).contains(&status), "no SIP status: {status}");
        let status = if (100..700).contains(&status) { status } else { 500 };
        self.out.extend_from_slice(b"SIP/2.0 ");
        self.out.extend_from_slice(Decimal::new(status.into()).as_ref());
        self.out.push(b' ');
        push_clean(&mut self.out, reason.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        StartLine::Response { status }
    }

    /// Copies the start line of another message.
    pub(crate) fn copy_start(&mut self, message: &Message) -> StartLine {
        self.out.extend_from_slice(&message.bytes[..message.start_len()]);
        message.start
    }

    /// Writes one header line. Line breaks in the value become spaces: no value can end its line.
    pub(crate) fn header(&mut self, name: HeaderName<'_>, value: &[u8]) {
        self.header_of(name, &[value]);
    }

    /// Writes one header line whose value comes in parts.
    pub(crate) fn header_of(&mut self, name: HeaderName<'_>, parts: &[&[u8]]) {
        self.index.push(self.out.len(), name.id());
        push_line(&mut self.out, name, parts);
    }

    /// Copies one line of another message, byte-exact.
    pub(crate) fn copy_line(&mut self, message: &Message, slot: Slot) {
        self.index.push(self.out.len(), slot.id);
        self.any_fold |= message.is_folded(slot);
        self.out.extend_from_slice(&message.bytes[slot.start..slot.end]);
    }

    /// Copies lines that are whole already, and notes each by its length and number.
    pub(crate) fn lines(&mut self, bytes: &[u8], lines: impl Iterator<Item = (usize, u8)>) {
        let mut at = self.out.len();
        for (len, id) in lines {
            self.index.push(at, id);
            at += len;
        }
        self.out.extend_from_slice(bytes);
        debug_assert_eq!(at, self.out.len(), "lines and their lengths");
    }

    /// Notes what is known of the tags and the branch in the lines copied.
    pub(crate) fn mark(&mut self, marks: Marks) {
        self.index.mark(marks);
    }

    /// Notes that one of the lines is folded.
    pub(crate) fn folded(&mut self) {
        self.any_fold = true;
    }

    /// Appends the lines of another writer that has no start line.
    pub(crate) fn append(&mut self, other: &Self) {
        self.any_fold |= other.any_fold;
        let lines = other.index.iter(other.out.len());
        self.lines(&other.out, lines.map(|slot| (slot.end - slot.start, slot.id)));
    }

    /// Ends the headers and adds the body.
    pub(crate) fn finish(mut self, start: StartLine, body: &[u8]) -> Message {
        self.out.extend_from_slice(b"\r\n");
        let body_at = self.out.len();
        self.out.extend_from_slice(body);
        assemble(Bytes::from(self.out), start, body_at, self.index, self.any_fold)
    }
}

/// A number in decimal, without allocating.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal {
    digits: [u8; 20],
    from: u8,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, from: from as u8 };
            }
        }
    }
}

impl AsRef<[u8]> for Decimal {
    fn as_ref(&self) -> &[u8] {
        &self.digits[usize::from(self.from)..]
    }
}

/// Writes `Name: value` and CRLF, the value in parts and trimmed.
pub(crate) fn push_line(out: &mut Vec<u8>, name: HeaderName<'_>, parts: &[&[u8]]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    let value_at = out.len();
    for part in parts {
        let part = if out.len() == value_at { crate::text::trim_start(part) } else { part };
        push_clean(out, part);
    }
    while out.len() > value_at && out.last().is_some_and(|b| crate::text::is_lws(*b)) {
        out.pop();
    }
    out.extend_from_slice(b"\r\n");
}

fn push_clean(out: &mut Vec<u8>, value: &[u8]) {
    let at = out.len();
    out.extend_from_slice(value);
    let mut rest = &mut out[at..];
    while let Some(found) = memchr::memchr2(b'\r', b'\n', rest) {
        rest[found] = b' ';
        rest = &mut rest[found + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        for number in [0, 9, 10, 70, 1234, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Decimal::new(number).as_ref(), number.to_string().as_bytes());
        }
    }
}
