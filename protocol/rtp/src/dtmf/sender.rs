//! Sending digits (RFC 4733 §2.5.1).

use std::collections::VecDeque;

use super::{EventPayload, event_code};
use crate::Error;

/// Digits that may wait.
const MAX_QUEUE: usize = 64;
/// Silence between two digits, so that the far side can tell them apart (ITU-T Q.24: 40 ms).
const GAP_MS: u32 = 60;
/// The final packet is sent this often (RFC 4733 §2.5.1.4).
const END_PACKETS: u8 = 3;
/// -10 dBm0, what phones send.
const VOLUME: u8 = 10;

/// Turns digits into packets, one per packet interval.
#[derive(Debug, Clone)]
pub struct Sender {
    per_packet: u32,
    units_per_ms: u32,
    queue: VecDeque<(u8, u32)>,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Idle,
    Playing { event: u8, total: u32, so_far: u32, timestamp: u32, base: u32, first: bool },
    Ending { event: u8, duration: u16, timestamp: u32, left: u8 },
    Gap { packets: u32 },
}

impl Sender {
    /// A sender for a clock of `clock_rate` Hz that is polled every `ptime_ms`.
    pub fn new(clock_rate: u32, ptime_ms: u32) -> Self {
        let units_per_ms = (clock_rate / 1000).max(1);
        Self {
            per_packet: (units_per_ms * ptime_ms).max(1),
            units_per_ms,
            queue: VecDeque::new(),
            state: State::Idle,
        }
    }

    /// Queues a digit of `ms` milliseconds (40 at least, 10 s at most).
    ///
    /// # Errors
    /// [`Error::BadEvent`] when it is not a digit or 64 are waiting.
    pub fn push(&mut self, digit: char, ms: u32) -> Result<(), Error> {
        let event = event_code(digit).ok_or(Error::BadEvent)?;
        if self.queue.len() >= MAX_QUEUE {
            return Err(Error::BadEvent);
        }
        self.queue.push_back((event, ms.clamp(40, 10_000) * self.units_per_ms));
        Ok(())
    }

    /// Whether a digit is being sent or waits: audio is replaced meanwhile.
    pub fn is_active(&self) -> bool {
        !self.queue.is_empty() || !matches!(self.state, State::Idle)
    }

    /// The packet for this interval, if any; `timestamp` is the stream's at its beginning.
    pub fn poll(&mut self, timestamp: u32) -> Option<DtmfPacket> {
        match self.state {
            State::Gap { packets } if packets > 1 => {
                self.state = State::Gap { packets: packets - 1 };
                return None;
            }
            State::Idle | State::Gap { .. } => {
                self.state = State::Idle;
                let (event, total) = self.queue.pop_front()?;
                self.state =
                    State::Playing { event, total, so_far: 0, timestamp, base: 0, first: true };
            }
            State::Playing { .. } | State::Ending { .. } => {}
        }
        self.next_packet()
    }

    fn next_packet(&mut self) -> Option<DtmfPacket> {
        match &mut self.state {
            State::Playing { event, total, so_far, timestamp, base, first } => {
                *so_far = (*so_far + self.per_packet).min(*total);
                if *so_far - *base > u32::from(u16::MAX) {
                    // RFC 4733 §2.5.1.3: a long event goes on as a new segment.
                    let done = *so_far - self.per_packet - *base;
                    *base += done;
                    *timestamp = timestamp.wrapping_add(done);
                }
                let duration = (*so_far - *base) as u16;
                let (event, timestamp, marker) = (*event, *timestamp, std::mem::take(first));
                let end = so_far == total;
                if end {
                    self.state =
                        State::Ending { event, duration, timestamp, left: END_PACKETS - 1 };
                }
                Some(packet(event, end, duration, timestamp, marker))
            }
            State::Ending { event, duration, timestamp, left } => {
                let packet = packet(*event, true, *duration, *timestamp, false);
                *left -= 1;
                if *left == 0 {
                    let gap = (GAP_MS * self.units_per_ms).div_ceil(self.per_packet);
                    self.state = State::Gap { packets: gap.max(1) };
                }
                Some(packet)
            }
            State::Idle | State::Gap { .. } => None,
        }
    }
}

/// A packet to send: its header's timestamp and marker, and its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfPacket {
    /// The time the event (or this segment) began, the same for all its packets.
    pub timestamp: u32,
    /// Set on an event's first packet.
    pub marker: bool,
    /// What it says.
    pub payload: EventPayload,
}

fn packet(event: u8, end: bool, duration: u16, timestamp: u32, marker: bool) -> DtmfPacket {
    let payload = EventPayload { event, end, volume: VOLUME, duration };
    DtmfPacket { timestamp, marker, payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_marked_grows_and_ends_three_times() {
        let mut sender = Sender::new(8000, 20);
        sender.push('5', 60).unwrap();
        let packets: Vec<_> = (0..10).filter_map(|i| sender.poll(1000 + i * 160)).collect();
        let durations: Vec<_> = packets.iter().map(|p| p.payload.duration).collect();
        assert_eq!(durations, [160, 320, 480, 480, 480]);
        assert!(packets[0].marker && packets[1..].iter().all(|p| !p.marker));
        assert!(packets.iter().all(|p| p.timestamp == 1000));
        assert_eq!(packets.iter().filter(|p| p.payload.end).count(), 3);
        assert!(!sender.is_active());
    }

    #[test]
    fn a_long_event_becomes_segments() {
        let mut sender = Sender::new(48_000, 20);
        sender.push('1', 2000).unwrap();
        let packets: Vec<_> = (0..200).filter_map(|i| sender.poll(i * 960)).collect();
        let last = packets.last().unwrap();
        let end = last.timestamp + u32::from(last.payload.duration);
        assert_eq!(end, 96_000);
        assert!(last.timestamp > 0);
    }

    #[test]
    fn what_is_no_digit_and_what_is_too_much_are_refused() {
        let mut sender = Sender::new(8000, 20);
        assert_eq!(sender.push('x', 100), Err(Error::BadEvent));
        for _ in 0..MAX_QUEUE {
            sender.push('1', 100).unwrap();
        }
        assert_eq!(sender.push('1', 100), Err(Error::BadEvent));
    }
}
