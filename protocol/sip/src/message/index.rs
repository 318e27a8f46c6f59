//! Where each header line lies: an array that needs no memory of its own for a normal message.

/// Header lines held without allocating.
const INLINE: usize = 40;

/// One header line.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    pub(crate) line_start: u32,
    /// Behind the CRLF of its last line.
    pub(crate) line_end: u32,
    /// From the line's start to its value.
    pub(crate) value_delta: u16,
    /// Number of the header name; zero for one that is not registered.
    pub(crate) id: u8,
    pub(crate) folded: bool,
}

impl Slot {
    pub(crate) fn value_start(&self) -> usize {
        self.line_start as usize + usize::from(self.value_delta)
    }

    /// The same line, when it begins at `to`.
    pub(crate) fn moved(mut self, to: u32) -> Self {
        self.line_end = to + (self.line_end - self.line_start);
        self.line_start = to;
        self
    }
}

/// The slots of one message in order.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    inline: [Slot; INLINE],
    used: usize,
    spill: Vec<Slot>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { inline: [Slot::default(); INLINE], used: 0, spill: Vec::new() }
    }
}

impl Slots {
    pub(crate) fn push(&mut self, slot: Slot) {
        match self.inline.get_mut(self.used) {
            Some(free) => {
                *free = slot;
                self.used += 1;
            }
            None => self.spill.push(slot),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.inline[..self.used].iter().chain(&self.spill)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Slot> {
        if at < INLINE { self.inline[..self.used].get(at) } else { self.spill.get(at - INLINE) }
    }

    pub(crate) fn len(&self) -> usize {
        self.used + self.spill.len()
    }
}
