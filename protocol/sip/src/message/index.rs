//! Where each header line lies: three bytes a line, so that a message is two cache lines in all and
//! a normal one needs no memory beside its bytes.
//!
//! Lines follow each other without a gap, so a start and a number are enough: a line ends where
//! the next begins, and its value is found again behind the colon.

use std::sync::Arc;

use bytes::Bytes;

/// Header lines held without allocating.
pub(crate) const INLINE: usize = 24;

/// Number of what is no header line, in a message of `parse_lenient`.
pub(crate) const GAP: u8 = u8::MAX;

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) start: usize,
    /// Behind the CRLF of its last line.
    pub(crate) end: usize,
    /// Number of the header name; zero for one that is not registered.
    pub(crate) id: u8,
}

/// The first lines of one message, as many as fit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots {
    starts: [u16; INLINE],
    ids: [u8; INLINE],
    used: u8,
    /// Whether the values everything rests on were checked when they were parsed.
    pub(crate) checked: bool,
}

/// What few messages need, shared by their clones.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// The bytes with the line breaks of folds blanked, so that every offset holds in both.
    pub(crate) unfolded: Option<Bytes>,
    /// Lines beyond [`INLINE`] or 64 kB.
    more: Vec<Wide>,
}

#[derive(Debug, Clone, Copy)]
struct Wide {
    start: u32,
    id: u8,
}

/// An index under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    slots: Slots,
    more: Vec<Wide>,
}

impl Index {
    /// Notes that every value which [`super::validate`] looks at was let through.
    pub(crate) fn checked(mut self) -> Self {
        self.slots.checked = true;
        self
    }

    #[inline]
    pub(crate) fn push(&mut self, start: usize, id: u8) {
        let used = usize::from(self.slots.used);
        match u16::try_from(start) {
            Ok(short) if used < INLINE && self.more.is_empty() => {
                self.slots.starts[used] = short;
                self.slots.ids[used] = id;
                self.slots.used += 1;
            }
            // Offsets are checked against `u32::MAX` before anything is indexed.
            _ => self.more.push(Wide { start: start as u32, id }),
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.slots.used) + self.more.len()
    }

    pub(crate) fn last_id(&self) -> Option<u8> {
        let last = usize::from(self.slots.used).checked_sub(1).map(|at| self.slots.ids[at]);
        self.more.last().map(|wide| wide.id).or(last)
    }

    /// The lines so far, when the last one ends at `end`.
    pub(crate) fn iter(&self, end: usize) -> impl Iterator<Item = Slot> {
        SlotIter { slots: &self.slots, more: &self.more, at: 0, end }
    }

    pub(crate) fn finish(self, unfolded: Option<Bytes>) -> (Slots, Option<Arc<Extra>>) {
        let needed = unfolded.is_some() || !self.more.is_empty();
        let extra = needed.then(|| Arc::new(Extra { unfolded, more: self.more }));
        (self.slots, extra)
    }
}

impl Slots {
    /// The lines of a message whose last line ends at `end`.
    pub(crate) fn iter<'a>(&'a self, extra: Option<&'a Extra>, end: usize) -> SlotIter<'a> {
        SlotIter { slots: self, more: extra.map_or(&[], |e| &e.more), at: 0, end }
    }

    /// The first line of a registered name. Eight names are compared at once.
    #[inline]
    pub(crate) fn find(&self, id: u8, extra: Option<&Extra>, end: usize) -> Option<Slot> {
        for (group, eight) in self.ids.as_chunks::<8>().0.iter().enumerate() {
            let found = crate::text::equal(u64::from_le_bytes(*eight), id);
            if found != 0 {
                let at = group * 8 + (found.trailing_zeros() / 8) as usize;
                return SlotIter { at, ..self.iter(extra, end) }.next();
            }
        }
        extra.filter(|e| !e.more.is_empty())?;
        self.iter(extra, end).find(|slot| slot.id == id)
    }
}

/// Gives each line once, gaps included.
#[derive(Debug, Clone)]
pub(crate) struct SlotIter<'a> {
    slots: &'a Slots,
    more: &'a [Wide],
    at: usize,
    end: usize,
}

impl SlotIter<'_> {
    fn start(&self, at: usize) -> Option<usize> {
        let used = usize::from(self.slots.used);
        if at < used {
            return self.slots.starts.get(at).map(|start| usize::from(*start));
        }
        self.more.get(at - used).map(|wide| wide.start as usize)
    }
}

impl Iterator for SlotIter<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let start = self.start(self.at)?;
        let used = usize::from(self.slots.used);
        let id = match self.slots.ids.get(self.at) {
            Some(id) if self.at < used => *id,
            _ => self.more.get(self.at - used)?.id,
        };
        self.at += 1;
        let end = self.start(self.at).unwrap_or(self.end);
        Some(Slot { start, end: end.max(start), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(lines: usize, step: usize) -> Index {
        let mut index = Index::default();
        (0..lines).for_each(|i| index.push(i * step, (i % 100) as u8 + 1));
        index
    }

    #[test]
    fn lines_come_back_in_order_inline_and_beyond() {
        for (lines, step) in [(0, 10), (1, 10), (24, 10), (25, 10), (200, 10), (40, 5000)] {
            let end = lines * step;
            let (slots, extra) = index(lines, step).finish(None);
            let extra = extra.as_deref();
            assert_eq!(extra.is_some(), lines > INLINE || end > 65_536, "{lines}");
            let all: Vec<_> = slots.iter(extra, end).collect();
            assert_eq!(all.len(), lines);
            for (i, slot) in all.iter().enumerate() {
                assert_eq!((slot.start, slot.end), (i * step, (i + 1) * step));
                let first = all.iter().find(|s| s.id == slot.id);
                assert_eq!(slots.find(slot.id, extra, end).as_ref(), first);
            }
            assert_eq!(slots.find(222, extra, end), None);
        }
    }
}
