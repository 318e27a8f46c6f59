//! Receiving digits (RFC 4733 §2.5.2), whatever packets were lost.

use super::{EventPayload, digit};

/// Recognises events by their timestamp: the marker may be missing, the end may be missing, and
/// repeated packets say nothing new.
#[derive(Debug, Clone, Default)]
pub struct Receiver {
    current: Option<Current>,
    /// The last event that ended: late packets of it are ignored.
    last_ended: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    event: u8,
    timestamp: u32,
    /// Duration of segments before this one (RFC 4733 §2.5.1.3).
    before: u32,
    duration: u16,
}

impl Receiver {
    /// A receiver that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one packet. At most an end (of an event whose end was lost), a start, and an end.
    pub fn handle_payload(&mut self, timestamp: u32, payload: &[u8]) -> [Option<DtmfEvent>; 3] {
        let mut events = [None; 3];
        let Ok(payload) = EventPayload::parse(payload) else { return events };
        let Some(digit) = digit(payload.event) else { return events };
        if self.is_past(timestamp) {
            return events;
        }
        match &mut self.current {
            Some(now) if now.timestamp == timestamp => {
                now.duration = now.duration.max(payload.duration);
            }
            Some(now) if now.event == payload.event && now.continues_at(timestamp) => {
                now.before += u32::from(now.duration);
                (now.timestamp, now.duration) = (timestamp, payload.duration);
            }
            _ => {
                events[0] = self.finish();
                events[1] = Some(DtmfEvent::Started(digit));
                self.current = Some(Current {
                    event: payload.event,
                    timestamp,
                    before: 0,
                    duration: payload.duration,
                });
            }
        }
        if payload.end {
            events[2] = self.finish();
        }
        events
    }

    /// Ends an event whose end was lost: call it when audio goes on, or after 120 ms of silence.
    pub fn finish(&mut self) -> Option<DtmfEvent> {
        let now = self.current.take()?;
        self.last_ended = Some(now.timestamp);
        let digit = digit(now.event)?;
        Some(DtmfEvent::Ended { digit, duration: now.before + u32::from(now.duration) })
    }

    /// Whether a packet belongs to an event that is over (repeated or overtaken).
    fn is_past(&self, timestamp: u32) -> bool {
        let not_after = |t: u32| timestamp.wrapping_sub(t).cast_signed() <= 0;
        let overtaken = |c: &Current| timestamp != c.timestamp && not_after(c.timestamp);
        self.last_ended.is_some_and(|t| near(t, timestamp) && not_after(t))
            || self.current.as_ref().is_some_and(|c| near(c.timestamp, timestamp) && overtaken(c))
    }
}

impl Current {
    fn continues_at(&self, timestamp: u32) -> bool {
        let step = timestamp.wrapping_sub(self.timestamp);
        // Only a segment near the longest possible is followed by another of the same event.
        self.duration >= 0xf000 && step <= u32::from(u16::MAX) + 1
    }
}

/// What was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfEvent {
    /// A key went down.
    Started(char),
    /// The key went up again.
    Ended {
        /// Which key.
        digit: char,
        /// How long, in timestamp units.
        duration: u32,
    },
}

/// Within ten seconds at 48 kHz: farther apart, the stream's clock has jumped and order says
/// nothing.
fn near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed().unsigned_abs() < 480_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(event: u8, end: bool, duration: u16) -> [u8; 4] {
        EventPayload { event, end, volume: 10, duration }.to_bytes()
    }

    #[test]
    fn a_lost_end_is_made_up_by_the_next_digit() {
        let mut r = Receiver::new();
        assert_eq!(r.handle_payload(0, &bytes(1, false, 160))[1], Some(DtmfEvent::Started('1')));
        let events = r.handle_payload(1600, &bytes(1, false, 160));
        assert_eq!(events[0], Some(DtmfEvent::Ended { digit: '1', duration: 160 }));
        assert_eq!(events[1], Some(DtmfEvent::Started('1')));
    }

    #[test]
    fn late_and_repeated_packets_say_nothing() {
        let mut r = Receiver::new();
        r.handle_payload(1000, &bytes(4, true, 800));
        assert_eq!(r.handle_payload(1000, &bytes(4, true, 800)), [None; 3]);
        assert_eq!(r.handle_payload(900, &bytes(4, false, 800)), [None; 3]);
        assert_eq!(r.handle_payload(1000, &bytes(99, false, 1)), [None; 3]);
    }

    #[test]
    fn segments_are_one_digit() {
        let mut r = Receiver::new();
        r.handle_payload(0, &bytes(2, false, 0xff00));
        assert_eq!(r.handle_payload(0xff00, &bytes(2, false, 160)), [None; 3]);
        let end = r.handle_payload(0xff00, &bytes(2, true, 320))[2];
        assert_eq!(end, Some(DtmfEvent::Ended { digit: '2', duration: 0xff00 + 320 }));
    }
}
