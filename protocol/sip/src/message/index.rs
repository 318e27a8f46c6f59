//! Where each header line lies: three bytes a line, so that a message is two cache lines in all and
//! a normal one needs no memory beside its bytes.
//!
//! Lines follow each other without a gap, so a start and a number are enough: a line ends where
//! the next begins, and its value is found again behind the colon.

use std::sync::Arc;

use bytes::Bytes;

use crate::name::HeaderName;

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
    /// How many lines, and [`CHECKED`].
    used: u8,
    pub(crate) marks: Marks,
}

/// The bit of [`Slots::used`] that says the values everything rests on were checked at the parse.
const CHECKED: u8 = 0x80;

/// Where the parameters that everybody asks for stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) from_tag: Mark,
    pub(crate) to_tag: Mark,
    /// Of the topmost Via.
    pub(crate) branch: Mark,
}

/// Where a parameter's value begins, in bytes behind the start of its line: so it holds wherever the
/// line is copied to. Zero when that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark(u8);

/// What a [`Mark`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    Unknown,
    Absent,
    At(usize),
}

impl Marks {
    /// A line with this number was changed.
    #[inline]
    pub(crate) fn forget(&mut self, id: u8) {
        const FROM: u8 = HeaderName::FROM.id();
        const TO: u8 = HeaderName::TO.id();
        const VIA: u8 = HeaderName::VIA.id();
        match id {
            FROM => self.from_tag = Mark::UNKNOWN,
            TO => self.to_tag = Mark::UNKNOWN,
            VIA => self.branch = Mark::UNKNOWN,
            _ => {}
        }
    }
}

impl Mark {
    pub(crate) const UNKNOWN: Self = Self(0);
    const ABSENT: Self = Self(u8::MAX);

    /// Marks `value`, a part of `line`. Only a plain token can be found again by where it begins.
    #[inline]
    pub(crate) fn of(line: &[u8], value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::ABSENT };
        let at = crate::text::offset_in(line, value);
        let ends = line.get(at + value.len());
        match u8::try_from(at) {
            Ok(short @ 1..=254)
                if crate::text::is_token(value) && matches!(ends, Some(b';' | b'\r' | b',')) =>
            {
                Self(short)
            }
            _ => Self::UNKNOWN,
        }
    }

    #[inline]
    pub(crate) fn read(self) -> Marked {
        match self {
            Self::UNKNOWN => Marked::Unknown,
            Self::ABSENT => Marked::Absent,
            Self(at) => Marked::At(at.into()),
        }
    }
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
    pub(crate) fn checked(mut self, marks: Marks) -> Self {
        self.slots.used |= CHECKED;
        self.slots.marks = marks;
        self
    }

    /// Notes what is known of parameters in lines that were copied.
    pub(crate) fn mark(&mut self, marks: Marks) {
        self.slots.marks = marks;
    }

    #[inline]
    pub(crate) fn push(&mut self, start: usize, id: u8) {
        let used = self.slots.len();
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
        self.slots.len() + self.more.len()
    }

    pub(crate) fn last_id(&self) -> Option<u8> {
        let last = self.slots.len().checked_sub(1).map(|at| self.slots.ids[at]);
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
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.used & !CHECKED)
    }

    #[inline]
    pub(crate) fn checked(&self) -> bool {
        self.used & CHECKED != 0
    }

    /// The same lines when line `changed` has become longer or shorter: those behind it begin `by`
    /// bytes later. `None` when a start does not fit any more.
    pub(crate) fn moved(&self, changed: usize, by: isize) -> Option<Self> {
        let mut moved = self.clone();
        for start in moved.starts[..self.len()].iter_mut().skip(changed + 1) {
            *start =
                u16::try_from(isize::from_ne_bytes(usize::from(*start).to_ne_bytes()) + by).ok()?;
        }
        Some(moved)
    }

    /// The lines of a message whose last line ends at `end`.
    pub(crate) fn iter<'a>(&'a self, extra: Option<&'a Extra>, end: usize) -> SlotIter<'a> {
        SlotIter { slots: self, more: extra.map_or(&[], |e| &e.more), at: 0, end }
    }

    /// The first line of a registered name.
    #[inline]
    pub(crate) fn find(&self, id: u8, extra: Option<&Extra>, end: usize) -> Option<Slot> {
        if let Some(at) = self.first(id) {
            return SlotIter { at, ..self.iter(extra, end) }.next();
        }
        extra.filter(|e| !e.more.is_empty())?;
        self.iter(extra, end).find(|slot| slot.id == id)
    }

    /// Number of the first inline line of a registered name. Eight names are compared at once.
    #[inline]
    pub(crate) fn first(&self, id: u8) -> Option<usize> {
        for (group, eight) in self.ids.as_chunks::<8>().0.iter().enumerate() {
            let found = crate::text::equal(u64::from_le_bytes(*eight), id);
            if found != 0 {
                return Some(group * 8 + (found.trailing_zeros() / 8) as usize);
            }
        }
        None
    }

    /// Every line with this number, which is that of a registered name or zero for all others.
    #[inline]
    pub(crate) fn named<'a>(
        &'a self,
        id: u8,
        extra: Option<&'a Extra>,
        end: usize,
    ) -> impl Iterator<Item = Slot> + use<'a> {
        let inline = self.len();
        let mut lines = self.iter(extra, end);
        lines.at = match id {
            0 => 0,
            id => self.first(id).unwrap_or(inline),
        };
        std::iter::from_fn(move || {
            loop {
                while lines.at < inline && self.ids[lines.at] != id {
                    lines.at += 1;
                }
                let slot = lines.next()?;
                if slot.id == id {
                    return Some(slot);
                }
            }
        })
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
    #[inline]
    fn start(&self, at: usize) -> Option<usize> {
        let used = self.slots.len();
        if at < used {
            return self.slots.starts.get(at).map(|start| usize::from(*start));
        }
        self.more.get(at - used).map(|wide| wide.start as usize)
    }
}

impl Iterator for SlotIter<'_> {
    type Item = Slot;

    #[inline]
    fn next(&mut self) -> Option<Slot> {
        let start = self.start(self.at)?;
        let used = self.slots.len();
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
