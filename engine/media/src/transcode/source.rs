//! The stream that comes: order, losses, pauses, and its clock against the receiver's.

use rtp::Header;

/// Further back than this is a new beginning, not a late packet (RFC 3550 A.1).
const MISORDER_MAX: i16 = 100;
/// Further ahead is one too.
const DROPOUT_MAX: i16 = 3000;
/// A pause longer than this is a clock that was set anew.
const PAUSE_MAX_S: u32 = 120;
/// The anchors are moved up before their distance leaves 31 bits.
const ANCHOR_TICKS_MAX: i32 = 1 << 29;

/// What is known of the sender's stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub ssrc: u32,
    sequence: u16,
    clock_in: u32,
    clock_out: u32,
    /// The same moment in both clocks.
    anchor_in: u32,
    anchor_out: u32,
    /// Where the next packet should begin, in the sender's clock.
    pub expected: Option<u32>,
}

/// Where a packet stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// After `lost` packets that did not come.
    Next { lost: u16 },
    /// Its place was passed.
    Late,
    /// The stream begins anew.
    Restart,
}

/// How a packet's time follows what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Continues,
    /// So many ticks of the sender's are missing.
    Gap(u32),
    /// So many ticks of it are there already.
    Overlap(u32),
    /// What was before did not say.
    Unknown,
    /// The clock was set anew.
    Jump,
}

impl Source {
    pub(super) fn new(header: &Header, clock_in: u32, clock_out: u32, position: u32) -> Self {
        Self {
            ssrc: header.ssrc,
            sequence: header.sequence,
            clock_in,
            clock_out,
            anchor_in: header.timestamp,
            anchor_out: position,
            expected: None,
        }
    }

    pub(super) fn place(&mut self, header: &Header) -> Place {
        let step = header.sequence.wrapping_sub(self.sequence).cast_signed();
        if header.ssrc != self.ssrc || step <= -MISORDER_MAX || step > DROPOUT_MAX {
            return Place::Restart;
        }
        if step <= 0 {
            return Place::Late;
        }
        self.sequence = header.sequence;
        Place::Next { lost: (step - 1).unsigned_abs() }
    }

    pub(super) fn step_to(&self, timestamp: u32) -> Step {
        let Some(expected) = self.expected else { return Step::Unknown };
        let ahead = timestamp.wrapping_sub(expected).cast_signed();
        let near = ahead.unsigned_abs() <= self.clock_in.saturating_mul(PAUSE_MAX_S);
        match ahead {
            0 => Step::Continues,
            _ if !near => Step::Jump,
            1.. => Step::Gap(ahead.unsigned_abs()),
            // More than 200 ms back is no overlap: the clock was set.
            _ if ahead.unsigned_abs() > self.clock_in / 5 => Step::Jump,
            _ => Step::Overlap(ahead.unsigned_abs()),
        }
    }

    /// The receiver's time of a sender's.
    pub(super) fn map(&mut self, timestamp: u32) -> u32 {
        let ticks = timestamp.wrapping_sub(self.anchor_in).cast_signed();
        let there = i64::from(ticks) * i64::from(self.clock_out) / i64::from(self.clock_in.max(1));
        let mapped = self.anchor_out.wrapping_add(there as u32);
        if ticks > ANCHOR_TICKS_MAX {
            (self.anchor_in, self.anchor_out) = (timestamp, mapped);
        }
        mapped
    }

    /// From now on `timestamp` is `position`.
    pub(super) fn anchor(&mut self, timestamp: u32, clock_in: u32, position: u32) {
        (self.anchor_in, self.anchor_out, self.clock_in) = (timestamp, position, clock_in);
    }

    pub(super) fn clock_in(&self) -> u32 {
        self.clock_in
    }
}
