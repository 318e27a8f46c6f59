//! Telephone events: DTMF digits as RTP payload (RFC 4733 §2).

mod receiver;
mod sender;

pub use receiver::{DtmfEvent, Receiver};
pub use sender::{DtmfPacket, Sender};

use crate::Error;

/// The payload of one `telephone-event` packet (RFC 4733 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPayload {
    /// Event code; 0..=15 are DTMF digits.
    pub event: u8,
    /// The event has ended; the duration is final.
    pub end: bool,
    /// Power in -dBm0, 0..=63.
    pub volume: u8,
    /// So far, in timestamp units.
    pub duration: u16,
}

impl EventPayload {
    /// Reads a payload. Longer payloads (several events) give the first.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let &[event, flags, high, low, ..] = payload else {
            return Err(Error::Truncated { needed: 4, actual: payload.len() });
        };
        Ok(Self {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The four bytes of the payload.
    pub fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | (self.volume & 0x3f), high, low]
    }
}

/// The event code of a digit `0-9*#A-D` (RFC 4733 §3.2).
pub fn event_code(digit: char) -> Option<u8> {
    match digit {
        '0'..='9' => Some(digit as u8 - b'0'),
        '*' => Some(10),
        '#' => Some(11),
        'A'..='D' => Some(digit as u8 - b'A' + 12),
        'a'..='d' => Some(digit as u8 - b'a' + 12),
        _ => None,
    }
}

/// The digit of an event code.
pub fn digit(event: u8) -> Option<char> {
    b"0123456789*#ABCD".get(usize::from(event)).copied().map(char::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_and_digits_are_inverse() {
        for d in "0123456789*#ABCD".chars() {
            assert_eq!(event_code(d).and_then(digit), Some(d));
        }
        assert_eq!(event_code('x'), None);
        assert_eq!(digit(16), None);
    }

    #[test]
    fn the_payload_of_rfc_4733_figure_1() {
        let payload = EventPayload { event: 9, end: true, volume: 7, duration: 1600 };
        assert_eq!(payload.to_bytes(), [9, 0x87, 0x06, 0x40]);
        assert_eq!(EventPayload::parse(&payload.to_bytes()), Ok(payload));
        assert!(EventPayload::parse(&[1, 2, 3]).is_err());
    }

    /// R5.7: exact digits, no doubles, at 0, 5 and 30 % loss of packets.
    fn through(loss: impl Fn(usize) -> bool) -> (String, Vec<u32>) {
        let mut sender = Sender::new(8000, 20);
        for d in "159D*#0".chars() {
            sender.push(d, 100).unwrap();
        }
        let mut receiver = Receiver::new();
        let (mut digits, mut durations, mut n) = (String::new(), Vec::new(), 0);
        for tick in 0..200_u32 {
            let Some(packet) = sender.poll(tick * 160) else { continue };
            n += 1;
            if loss(n) {
                continue;
            }
            let events = receiver.handle_payload(packet.timestamp, &packet.payload.to_bytes());
            for event in events.into_iter().flatten() {
                match event {
                    DtmfEvent::Started(d) => digits.push(d),
                    DtmfEvent::Ended { duration, .. } => durations.push(duration),
                }
            }
        }
        (digits, durations)
    }

    #[test]
    fn every_digit_arrives_once_with_its_duration() {
        let (digits, durations) = through(|_| false);
        assert_eq!(digits, "159D*#0");
        assert_eq!(durations, [800; 7]);
    }

    #[test]
    fn lost_packets_neither_lose_nor_double_a_digit() {
        assert_eq!(through(|n| n % 20 == 0).0, "159D*#0");
        assert_eq!(through(|n| n % 3 == 0).0, "159D*#0");
        assert_eq!(through(|n| n % 7 == 1).0, "159D*#0", "the marked first packet is lost");
    }

    proptest! {
        #[test]
        fn any_payload_is_taken_without_panic(
            packets in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..8)), 0..40),
        ) {
            let mut receiver = Receiver::new();
            for (timestamp, payload) in packets {
                let _ = receiver.handle_payload(timestamp, &payload);
            }
        }
    }
}
