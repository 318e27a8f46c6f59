//! Where an edit notes what it will write: a list of lines, and the text of the new ones.

use std::cell::Cell;
use std::mem;

use crate::message::Slot;
use crate::name::HeaderName;
use crate::writer::push_line;

/// Memory kept for the next edit, at most; an edit that needed more gives its memory back.
const SPARE_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// What the last edit of this thread used. It carries no meaning, only capacity.
    static SPARE: Cell<Option<(Vec<Line>, Vec<u8>)>> = const { Cell::new(None) };
}

/// Lines in order, and the text that is not in the message.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) lines: Vec<Line>,
    /// New lines as they will stand on the wire, the new URI, the new body.
    pub(super) text: Vec<u8>,
    pub(super) uri: Option<Span>,
    pub(super) body: Option<Span>,
}

/// A part of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// One line of the message as it was, or of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    start: u32,
    end: u32,
    /// Length of the name of a new line.
    name_len: u16,
    id: u8,
    new: bool,
}

impl Scratch {
    /// Empty, with the memory of an edit before, when there was one.
    pub(super) fn take() -> Self {
        // A thread that is ending has no spare memory any more.
        let (lines, text) = SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default();
        Self { lines, text, uri: None, body: None }
    }

    /// Copies bytes into the text.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        Span { start, end: self.text.len() as u32 }
    }

    pub(super) fn kept(&self, span: Span) -> &[u8] {
        &self.text[span.start as usize..span.end as usize]
    }

    /// Writes a new line into the text.
    pub(super) fn new_line(&mut self, name: HeaderName<'_>, parts: &[&[u8]]) -> Line {
        let start = self.text.len() as u32;
        push_line(&mut self.text, name, parts);
        let name_len = u16::try_from(name.as_str().len()).unwrap_or(u16::MAX);
        Line { start, end: self.text.len() as u32, name_len, id: name.id(), new: true }
    }

    /// Whether a new line has that name, when neither is registered.
    pub(super) fn name_is(&self, line: &Line, name: HeaderName<'_>) -> bool {
        let start = line.start as usize;
        let own = &self.text[start..start + usize::from(line.name_len)];
        own.eq_ignore_ascii_case(name.as_str().as_bytes())
    }

    /// The value of a new line.
    pub(super) fn value(&self, line: &Line) -> &[u8] {
        let start = line.start as usize + usize::from(line.name_len) + ": ".len();
        &self.text[start..line.end as usize - "\r\n".len()]
    }
}

impl Clone for Scratch {
    fn clone(&self) -> Self {
        let mut copy = Self::take();
        copy.lines.extend_from_slice(&self.lines);
        copy.text.extend_from_slice(&self.text);
        (copy.uri, copy.body) = (self.uri, self.body);
        copy
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (mut lines, mut text) = (mem::take(&mut self.lines), mem::take(&mut self.text));
        if text.capacity() > SPARE_BYTES_MAX || lines.capacity() > SPARE_BYTES_MAX / 16 {
            return;
        }
        lines.clear();
        text.clear();
        // In a thread that is ending the memory is simply freed.
        let _ = SPARE.try_with(|spare| spare.set(Some((lines, text))));
    }
}

impl Line {
    pub(super) fn kept(slot: Slot) -> Self {
        let (start, end) = (slot.start as u32, slot.end as u32);
        Self { start, end, name_len: 0, id: slot.id, new: false }
    }

    /// The slot of a line that is the message's own.
    pub(super) fn slot(&self) -> Slot {
        Slot { start: self.start(), end: self.end(), id: self.id }
    }

    pub(super) fn start(&self) -> usize {
        self.start as usize
    }

    pub(super) fn end(&self) -> usize {
        self.end as usize
    }

    pub(super) fn len(&self) -> usize {
        self.end() - self.start()
    }

    pub(super) fn id(&self) -> u8 {
        self.id
    }

    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    /// Whether the other line begins where this one ends.
    pub(super) fn is_followed_by(&self, next: &Self) -> bool {
        self.new == next.new && self.end == next.start
    }
}
