//! Writes a message and its index in one go, so that what we build is never parsed again.

use bytes::Bytes;

use crate::message::{Message, Slot, Slots, StartLine, assemble};
use crate::name::HeaderName;

/// Bytes and slots of a message under construction: start line, then header lines, then body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    slots: Slots,
    start_len: usize,
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
        self.out.extend(uri.iter().filter(|b| **b > b' ' && **b != 0x7f));
        let uri_end = self.out.len();
        self.out.extend_from_slice(b" SIP/2.0\r\n");
        self.start_len = self.out.len();
        StartLine::Request { method_len: method.len() as u32, uri_end: uri_end as u32 }
    }

    /// Writes a status line; a status outside 100 to 699 becomes 500.
    pub(crate) fn status_line(&mut self, status: u16, reason: &str) -> StartLine {
        debug_assert!((100..700).contains(&status), "no SIP status: {status}");
        let status = if (100..700).contains(&status) { status } else { 500 };
        self.out.extend_from_slice(format!("SIP/2.0 {status} ").as_bytes());
        self.push_value(reason.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.start_len = self.out.len();
        StartLine::Response { status }
    }

    /// Copies the start line of another message.
    pub(crate) fn copy_start(&mut self, message: &Message) -> StartLine {
        self.out.extend_from_slice(&message.bytes[..message.start_len as usize]);
        self.start_len = self.out.len();
        message.start
    }

    /// Writes one header line. Line breaks in the value become spaces: no value can end its line.
    pub(crate) fn header(&mut self, name: HeaderName<'_>, value: &[u8]) {
        let line_start = self.out.len() as u32;
        self.out.extend_from_slice(name.as_str().as_bytes());
        self.out.extend_from_slice(b": ");
        let value_delta = u16::try_from(self.out.len() - line_start as usize).unwrap_or(u16::MAX);
        self.push_value(crate::text::trim(value));
        self.out.extend_from_slice(b"\r\n");
        let line_end = self.out.len() as u32;
        self.slots.push(Slot { line_start, line_end, value_delta, id: name.id(), folded: false });
    }

    /// Copies one line of another message, byte-exact.
    pub(crate) fn copy_line(&mut self, message: &Message, slot: &Slot) {
        let to = self.out.len() as u32;
        let line = slot.line_start as usize..slot.line_end as usize;
        self.out.extend_from_slice(&message.bytes[line]);
        self.any_fold |= slot.folded;
        self.slots.push(slot.moved(to));
    }

    /// Appends the lines of another writer that has no start line.
    pub(crate) fn append(&mut self, other: &Self) {
        let base = self.out.len() as u32;
        self.out.extend_from_slice(&other.out);
        self.any_fold |= other.any_fold;
        for slot in other.slots.iter() {
            self.slots.push(slot.moved(base + slot.line_start));
        }
    }

    /// Ends the headers and adds the body.
    pub(crate) fn finish(mut self, start: StartLine, body: &[u8]) -> Message {
        self.out.extend_from_slice(b"\r\n");
        let body_at = self.out.len();
        self.out.extend_from_slice(body);
        assemble(Bytes::from(self.out), start, (self.start_len, body_at), self.slots, self.any_fold)
    }

    fn push_value(&mut self, value: &[u8]) {
        let clean = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
        self.out.extend(value.iter().map(clean));
    }
}
