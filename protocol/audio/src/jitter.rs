//! The adaptive jitter buffer: packets in as they come, packets out in the order of their time.

mod delay;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use delay::Advice;
use delay::DelayEstimator;

/// How long the first packet of a stream waits at least before it is played.
const START_DELAY: Duration = Duration::from_millis(20);
/// A step of the timestamp larger than this is another stream (10 s).
const RESET_SECS: i64 = 10;
/// Media held at most (3 s); the oldest goes first.
const HELD_SECS: i64 = 3;
/// Packets held at most.
const HELD_MAX: usize = 400;
/// Sequence numbers of other packets remembered.
const OTHER_MAX: usize = 1024;
/// Packets in a row that come too late, with nothing else to play, before the buffer starts anew.
const LATE_RUN: u32 = 3;

/// Orders packets by timestamp and decides, once per frame that is played, what comes next.
///
/// Playing follows the media's own clock: each [`JitterBuffer::pop`] moves the position on by what
/// it returned, so a lost packet costs exactly its own time. The position moves against that clock
/// only on purpose: the decoder shrinks or stretches the signal as [`JitterBuffer::advice`] says,
/// and when everything comes too late concealment stands still until the delay fits again.
#[derive(Debug)]
pub struct JitterBuffer {
    clock_rate: i64,
    held: BTreeMap<i64, Held>,
    /// Highest timestamp and sequence number seen, extended beyond 32 and 16 bits.
    last: Option<(i64, i64)>,
    /// Timestamp to be played next; `None` before the first packet is due.
    next: Option<i64>,
    start_at: Option<Instant>,
    last_played: Option<i64>,
    frame: i64,
    late_run: u32,
    unexplained: i64,
    /// Sequence numbers that carried something else (RFC 4733 events, comfort noise).
    other: VecDeque<i64>,
    delay: DelayEstimator,
    stats: JitterStats,
}

impl JitterBuffer {
    /// A buffer for a payload clock of `clock_rate` Hz.
    pub fn new(clock_rate: u32) -> Self {
        let clock_rate = i64::from(clock_rate.max(1));
        Self {
            clock_rate,
            held: BTreeMap::new(),
            last: None,
            next: None,
            start_at: None,
            last_played: None,
            frame: clock_rate / 50,
            late_run: 0,
            unexplained: 0,
            other: VecDeque::new(),
            delay: DelayEstimator::new(clock_rate),
            stats: JitterStats::default(),
        }
    }

    /// Forgets the stream but not the statistics: another source begins.
    pub fn reset(&mut self) {
        let stats = self.stats;
        *self = Self { stats, ..Self::new(u32::try_from(self.clock_rate).unwrap_or(8000)) };
    }

    /// Takes a packet that arrived at `now`.
    pub fn push(&mut self, now: Instant, packet: &Packet<'_>) -> Pushed {
        let (timestamp, sequence) = self.extend(packet);
        self.delay.note(now, timestamp);
        let end = timestamp + i64::from(packet.duration.max(1));
        if self.next.is_some_and(|next| end <= next) {
            self.late_run += 1;
            if self.late_run < LATE_RUN || !self.held.is_empty() {
                self.stats.late += 1;
                return Pushed::Late;
            }
            self.next = None;
        }
        if self.held.contains_key(&timestamp) {
            self.stats.duplicates += 1;
            return Pushed::Duplicate;
        }
        if self.next.is_none() && self.held.is_empty() {
            self.start_at = Some(now + START_DELAY);
        }
        self.late_run = 0;
        let held = Held { sequence, end, payload: packet.payload.to_vec() };
        self.held.insert(timestamp, held);
        self.last = self.last.map(|(t, s)| (t.max(timestamp), s.max(sequence)));
        self.enforce_limits();
        Pushed::Held
    }

    /// A packet of the same stream with this number carried no audio: its place is no loss.
    pub fn skip(&mut self, sequence: u16) {
        let Some((_, last)) = self.last else { return };
        let step = i64::from(sequence.wrapping_sub(last as u16).cast_signed());
        if self.other.len() == OTHER_MAX {
            self.other.pop_front();
        }
        self.other.push_back(last + step);
    }

    /// Gives what is to be played at `now + ahead`, where `ahead` is the decoded sound that is
    /// still to be played before it.
    pub fn pop(&mut self, now: Instant, ahead: Duration) -> Popped {
        let Some(next) = self.next.or_else(|| self.start(now)) else { return Popped::Waiting };
        self.delay.taken(now, ahead, next);
        while self.held.first_key_value().is_some_and(|(_, held)| held.end <= next) {
            self.held.pop_first();
            self.stats.late += 1;
        }
        match self.held.first_key_value() {
            Some((at, _)) if *at <= next => self.play_first(),
            Some((at, held)) => {
                let gap = (*at - next).min(self.frame);
                let is_next = *at - next <= self.frame;
                let lost_one =
                    self.last_played.is_some_and(|s| self.lost_between(s, held.sequence) > 0);
                let redundancy = (is_next && lost_one).then(|| held.payload.clone());
                self.next = Some(next + gap);
                self.unexplained += gap;
                Popped::Missing { samples: gap as u32, next: redundancy }
            }
            None => {
                // Nothing at all: late, lost or not sent. Standing still makes room for the late.
                if self.delay.is_short_by(self.frame / 2) {
                    self.stats.concealed_samples += self.frame as u64;
                } else {
                    self.next = Some(next + self.frame);
                    self.unexplained += self.frame;
                }
                Popped::Missing { samples: self.frame as u32, next: None }
            }
        }
    }

    /// What the decoder should do to the signal to bring the delay to its target.
    pub fn advice(&self) -> Advice {
        if self.next.is_none() { Advice::Steady } else { self.delay.advice() }
    }

    /// Tells that the decoder removed this many samples.
    pub fn shortened_by(&mut self, samples: u32) {
        self.delay.shortened_by(i64::from(samples));
    }

    /// Keep one packet more, because loss repair needs the one after.
    pub fn set_extra_frame(&mut self, wanted: bool) {
        self.delay.set_extra(if wanted { self.frame } else { 0 });
    }

    /// How long sound waits here now, counted from the fastest recent packet.
    pub fn current_delay(&self) -> Duration {
        self.delay.current()
    }

    /// How long it should wait.
    pub fn target_delay(&self) -> Duration {
        self.delay.target()
    }

    /// Totals so far.
    pub fn stats(&self) -> JitterStats {
        self.stats
    }

    fn start(&mut self, now: Instant) -> Option<i64> {
        if self.start_at.is_none_or(|at| now < at) {
            return None;
        }
        let (first, held) = self.held.first_key_value()?;
        self.last_played = Some(held.sequence - 1);
        self.unexplained = 0;
        self.start_at = None;
        self.next = Some(*first);
        self.next
    }

    fn play_first(&mut self) -> Popped {
        let Some((timestamp, held)) = self.held.pop_first() else { return Popped::Waiting };
        let lost = self.last_played.map_or(0, |last| self.lost_between(last, held.sequence));
        if lost > 0 {
            self.stats.lost += lost as u64;
            self.stats.concealed_samples += self.unexplained as u64;
        }
        self.delay.note_loss(lost > 0);
        // Without a missing sequence number the gap was silence that was not sent.
        self.unexplained = 0;
        self.last_played = Some(held.sequence);
        self.other.retain(|s| *s > held.sequence);
        self.frame = (held.end - timestamp).clamp(1, self.clock_rate / 5);
        self.next = Some(held.end);
        self.stats.played += 1;
        Popped::Payload(held.payload)
    }

    /// Numbers between two played packets that no packet of any kind had.
    fn lost_between(&self, last: i64, this: i64) -> i64 {
        let others = self.other.iter().filter(|s| (last + 1..this).contains(s)).count();
        (this - last - 1 - others as i64).max(0)
    }

    /// Extends timestamp and sequence number; starts anew when they belong to another stream.
    fn extend(&mut self, packet: &Packet<'_>) -> (i64, i64) {
        if let Some((last_ts, last_seq)) = self.last {
            let step = i64::from(packet.timestamp.wrapping_sub(last_ts as u32).cast_signed());
            let seq_step = i64::from(packet.sequence.wrapping_sub(last_seq as u16).cast_signed());
            let limit = RESET_SECS * self.clock_rate;
            let backwards = step < 0 && seq_step > 0;
            if step.abs() <= limit && !(backwards && step < -self.clock_rate) {
                return (last_ts + step, last_seq + seq_step);
            }
            self.reset();
        }
        // High enough that what came before the first packet stays positive.
        let first =
            (i64::from(packet.timestamp) + (1 << 32), i64::from(packet.sequence) + (1 << 16));
        self.last = Some(first);
        first
    }

    fn enforce_limits(&mut self) {
        while let Some((first, last)) = self.held.keys().next().zip(self.held.keys().next_back()) {
            if self.held.len() <= HELD_MAX && last - first <= HELD_SECS * self.clock_rate {
                return;
            }
            self.held.pop_first();
            self.stats.overflowed += 1;
            if let (Some(_), Some(first)) = (self.next, self.held.keys().next()) {
                self.next = Some(*first);
            }
        }
    }
}

/// A packet for [`JitterBuffer::push`].
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Length in timestamp units.
    pub duration: u32,
    /// Payload.
    pub payload: &'a [u8],
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will be played.
    Held,
    /// Its time was over.
    Late,
    /// It was here already.
    Duplicate,
}

/// What is to be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Popped {
    /// This payload.
    Payload(Vec<u8>),
    /// Nothing is there for the next `samples`. `next` is the payload after the gap, when the gap
    /// is loss and that payload may hold redundancy.
    Missing {
        /// Length in timestamp units.
        samples: u32,
        /// The following payload.
        next: Option<Vec<u8>>,
    },
    /// No stream yet: play silence.
    Waiting,
}

/// Counters of a [`JitterBuffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JitterStats {
    /// Packets played.
    pub played: u64,
    /// Packets that were not there in time: lost or late.
    pub lost: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets dropped because too many were held.
    pub overflowed: u64,
    /// Samples that had to be invented, in timestamp units.
    pub concealed_samples: u64,
}

#[derive(Debug)]
struct Held {
    sequence: i64,
    end: i64,
    payload: Vec<u8>,
}

#[cfg(test)]
mod tests;
