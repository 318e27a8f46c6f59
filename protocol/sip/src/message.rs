//! A SIP message: its bytes and an index of where each header lies.

mod index;
mod lines;
mod parse;
mod typed;
mod validate;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::ParseError;
use crate::limits::Limits;
use crate::method::Method;
use crate::name::HeaderName;
use crate::text::{self, Items, split_list};

use index::{Extra, GAP, Mark, Marked, Slots};
pub(crate) use index::{Index, Marks, Slot};
pub(crate) use lines::{body_length, line_end};
pub(crate) use parse::assemble;
pub use typed::CSeq;

/// One request or response: immutable, cheap to clone, nothing decoded until asked.
///
/// Header values are given as they came, except that a folded line (RFC 3261 §7.3.1) shows spaces
/// where its line breaks were. [`Message::bytes`] is always what came over the wire, without blank
/// lines before and bytes after the message.
#[derive(Clone)]
pub struct Message {
    pub(crate) bytes: Bytes,
    /// Folded lines and many of them: rare.
    extra: Option<Arc<Extra>>,
    pub(crate) start: StartLine,
    /// Where the body begins.
    pub(crate) body_at: u32,
    slots: Slots,
}

impl Message {
    /// Parses one complete message by the rules of a datagram (RFC 3261 §18.3): the body is what
    /// Content-Length says, or all the rest; surplus bytes are dropped.
    ///
    /// # Errors
    /// What RFC 3261 calls malformed, with the status to answer. A response that is malformed is
    /// dropped by its receiver.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        Self::parse_with(bytes, &Limits::DEFAULT)
    }

    /// As [`Message::parse`], with limits of one's own.
    ///
    /// # Errors
    /// As [`Message::parse`].
    pub fn parse_with(bytes: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        parse::index(bytes, limits)
    }

    /// What can be read of a request that [`Message::parse`] refuses, so that it can be answered:
    /// header lines that are none are passed over. `None` when it is no request or its topmost Via
    /// cannot be read, for then there is nowhere to answer to. An ACK must not be answered at all.
    pub fn parse_lenient(bytes: Bytes) -> Option<Self> {
        parse::index_lenient(bytes)
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method<'_>> {
        match self.start {
            StartLine::Request { method_len, .. } => Method::new(self.slice(0, method_len.into())),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI as on the wire; empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        match self.start {
            StartLine::Request { method_len, uri_end } => {
                self.slice(usize::from(method_len) + 1, uri_end as usize)
            }
            StartLine::Response { .. } => b"",
        }
    }

    /// The status of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason(&self) -> &[u8] {
        match self.start {
            StartLine::Response { .. } => {
                self.slice(parse::REASON_AT, self.start_len().saturating_sub(2))
            }
            StartLine::Request { .. } => b"",
        }
    }

    /// The value of the first line of that name, trimmed.
    pub fn header<'n>(&self, name: impl Into<HeaderName<'n>>) -> Option<&[u8]> {
        self.find(name.into()).map(|slot| self.value_of(&slot))
    }

    /// As [`Message::header`], when it is UTF-8.
    pub fn header_str<'n>(&self, name: impl Into<HeaderName<'n>>) -> Option<&str> {
        self.header(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// The values of all lines of that name, one item per line.
    pub fn headers<'a>(&'a self, name: HeaderName<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.named(name).map(|slot| self.value_of(&slot))
    }

    /// The comma-separated values of all lines of that name ([`split_list`]).
    pub fn values<'a>(&'a self, name: HeaderName<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.headers(name).flat_map(|line| -> Items<'a> { split_list(line) })
    }

    /// Every header line in order: its name and its value.
    pub fn header_lines(&self) -> impl Iterator<Item = (HeaderName<'_>, &[u8])> {
        self.slots().map(|slot| (self.name_of(&slot), self.value_of(&slot)))
    }

    /// The number of each header line's name in order ([`HeaderName::id`]); zero for one that is not
    /// registered.
    pub fn header_ids(&self) -> impl Iterator<Item = u8> {
        self.slots().map(|slot| slot.id)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body_at as usize..]
    }

    /// The body, sharing the message's memory.
    pub fn body_bytes(&self) -> Bytes {
        self.bytes.slice(self.body_at as usize..)
    }

    /// The whole message as on the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Every header line in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        let all = self.slots.iter(self.extra.as_deref(), self.head_end());
        all.filter(|slot| slot.id != GAP)
    }

    /// Every line of that name.
    pub(crate) fn named<'a>(&'a self, name: HeaderName<'a>) -> impl Iterator<Item = Slot> {
        let alike = self.slots.named(name.id(), self.extra.as_deref(), self.head_end());
        alike.filter(move |slot| slot.id != 0 || self.is_named(slot, name))
    }

    /// Whether a header of one of these names is there.
    pub fn has_any(&self, names: &[HeaderName<'_>]) -> bool {
        names.iter().any(|name| self.find(*name).is_some())
    }

    /// What is known of where tags and branch stand.
    pub(crate) fn marks(&self) -> Marks {
        self.slots.marks
    }

    /// The parameter that stands at `mark` in the first line of that name; `slow` reads it where
    /// that is not known.
    #[inline]
    fn marked<'a>(
        &'a self,
        name: HeaderName<'_>,
        mark: Mark,
        slow: impl FnOnce(&'a Self) -> Option<&'a [u8]>,
    ) -> Option<&'a [u8]> {
        match mark.read() {
            Marked::Absent => None,
            Marked::Unknown => slow(self),
            Marked::At(at) => {
                let slot = self.find(name)?;
                let rest = self.bytes.get(slot.start + at..slot.end)?;
                // Nothing else stands behind what was marked.
                let len = memchr::memchr3(b';', b'\r', b',', rest)?;
                Some(&rest[..len])
            }
        }
    }

    /// The message with another topmost Via value, which `write` appends, telling where in its
    /// output the branch begins. `None` where that is not simple: use an [`Edit`](crate::Edit).
    pub(crate) fn with_top_via(
        &self,
        first: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> Option<usize>,
    ) -> Option<Self> {
        if self.extra.is_some() {
            return None;
        }
        let number = self.slots.first(HeaderName::VIA.id())?;
        let slot = self.find(HeaderName::VIA)?;
        let value_at = text::offset_in(&self.bytes, first);
        // A compact name is written out, as an edit does: there are readers that know no `v`.
        if !self.bytes[slot.start..value_at.max(slot.start)].eq(b"Via: ".as_slice()) {
            return None;
        }
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        out.extend_from_slice(&self.bytes[..value_at]);
        let branch_at = write(&mut out);
        let grown = out.len() - value_at;
        out.extend_from_slice(&self.bytes[value_at + first.len()..]);
        let by = isize::try_from(grown).ok()? - isize::try_from(first.len()).ok()?;
        let mut slots = self.slots.moved(number, by)?;
        let end = slot.end.checked_add_signed(by)?;
        let branch =
            branch_at.and_then(|at| out.get(at..).map(|b| &b[..text::span(b, text::TOKEN)]));
        // A branch that begins with no token character is one all the same: it is looked for.
        slots.marks.branch = Mark::of(&out[slot.start..end], branch);
        let body_at = (self.body_at as usize).checked_add_signed(by)? as u32;
        let start = self.start;
        Some(Self { bytes: out.into(), extra: None, start, body_at, slots })
    }

    fn find(&self, name: HeaderName<'_>) -> Option<Slot> {
        match name.id() {
            0 => self.slots().find(|slot| self.is_named(slot, name)),
            id => self.slots.find(id, self.extra.as_deref(), self.head_end()),
        }
    }

    /// Length of the start line with its CRLF.
    pub(crate) fn start_len(&self) -> usize {
        let first = self.slots.iter(self.extra.as_deref(), self.head_end()).next();
        first.map_or(self.head_end(), |slot| slot.start)
    }

    /// Where the blank line begins.
    fn head_end(&self) -> usize {
        (self.body_at as usize).saturating_sub(2)
    }

    /// Whether a line is continued on the next.
    pub(crate) fn is_folded(&self, slot: Slot) -> bool {
        let folds = self.extra.as_ref().is_some_and(|extra| extra.unfolded.is_some());
        folds && self.text()[slot.start..slot.end] != self.bytes[slot.start..slot.end]
    }

    /// The bytes in which no value holds a line break.
    fn text(&self) -> &Bytes {
        let unfolded = self.extra.as_ref().and_then(|extra| extra.unfolded.as_ref());
        unfolded.unwrap_or(&self.bytes)
    }

    pub(crate) fn value_of(&self, slot: &Slot) -> &[u8] {
        let line = &self.text()[slot.start..slot.end];
        // Nearly all are written `Name: value`.
        let at = crate::name::len_of(slot.id);
        if let Some([b':', b' ', value @ .., b'\r', b'\n']) = line.get(at..)
            && at > 1
            && let [first, .., last] = value
            && !text::is_lws(*first)
            && !text::is_lws(*last)
            && !matches!(line[1], b':' | b' ' | b'\t' | b'\r')
        {
            return value;
        }
        text::trim(line.get(self.colon_in(slot) + 1..).unwrap_or_default())
    }

    pub(crate) fn name_of(&self, slot: &Slot) -> HeaderName<'_> {
        HeaderName::from_id(slot.id).unwrap_or_else(|| {
            let raw = self.raw_name(slot);
            // Indexed names are tokens, so the last resort is never taken.
            HeaderName::new(raw).unwrap_or(HeaderName::from("X-Invalid"))
        })
    }

    pub(crate) fn is_named(&self, slot: &Slot, name: HeaderName<'_>) -> bool {
        slot.id == name.id()
            && (slot.id != 0 || self.raw_name(slot).eq_ignore_ascii_case(name.as_str().as_bytes()))
    }

    /// Where the colon stands in a line: behind the registered spelling, unless the name is compact,
    /// unknown or has white space behind it.
    #[inline]
    fn colon_in(&self, slot: &Slot) -> usize {
        let line = &self.bytes[slot.start..slot.end];
        let usual = crate::name::len_of(slot.id);
        match line.get(usual) {
            Some(b':') if usual > 1 && !matches!(line[1], b':' | b' ' | b'\t' | b'\r') => usual,
            _ => text::find_byte(line, b':').unwrap_or(line.len()),
        }
    }

    fn raw_name(&self, slot: &Slot) -> &[u8] {
        text::trim_end(&self.bytes[slot.start..slot.start + self.colon_in(slot)])
    }

    fn slice(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    /// Method or status and size only: everything else is personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.method(), self.status()) {
            (Some(method), _) => write!(f, "Message({method}, {} bytes)", self.bytes.len()),
            (_, Some(status)) => write!(f, "Message({status}, {} bytes)", self.bytes.len()),
            _ => write!(f, "Message({} bytes)", self.bytes.len()),
        }
    }
}

impl TryFrom<&[u8]> for Message {
    type Error = ParseError;

    fn try_from(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::parse(Bytes::copy_from_slice(bytes))
    }
}

/// The first line, as offsets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StartLine {
    Request { method_len: u16, uri_end: u32 },
    Response { status: u16 },
}

#[cfg(test)]
mod tests;
