//! What a wire or a radio does to packets.

use std::time::{Duration, Instant};

use crate::dice::Dice;

/// How long a stream waits before it sends a lost piece again. TCP's own smallest value on Linux.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);

/// One access link, the same in both directions. Probabilities are per packet, from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The shortest way across.
    pub delay: Duration,
    /// Up to this much more, evenly spread. It does not reorder by itself.
    pub jitter: Duration,
    /// Packets that vanish. A stream's pieces come later instead.
    pub loss: f64,
    /// Packets that arrive twice.
    pub duplicate: f64,
    /// Packets that are overtaken: they take twice the delay and jitter more.
    pub reorder: f64,
}

impl Link {
    /// A wire of half a millisecond that does nothing else.
    pub fn lan() -> Self {
        let delay = Duration::from_micros(500);
        Self { delay, jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, reorder: 0.0 }
    }

    /// A home's wireless network and its line: 12 ms, 8 ms of jitter, one packet in 200 lost.
    pub fn wifi() -> Self {
        Self { loss: 0.005, ..Self::lan().delayed(12, 8) }
    }

    /// A mobile network: 35 ms, 25 ms of jitter, one packet in 100 lost.
    pub fn mobile() -> Self {
        Self { loss: 0.01, ..Self::lan().delayed(35, 25) }
    }

    /// The same link with another delay and jitter, in milliseconds.
    pub fn delayed(self, delay_ms: u64, jitter_ms: u64) -> Self {
        let (delay, jitter) = (Duration::from_millis(delay_ms), Duration::from_millis(jitter_ms));
        Self { delay, jitter, ..self }
    }

    /// The same link losing this share of its packets.
    pub fn lossy(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

/// A link in use: its state is what came through last, so that packets keep their order.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: Link,
    pub(crate) up: bool,
    last: [Option<Instant>; 2],
}

/// Which way a packet crosses a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Towards the internet.
    Out,
    /// From the internet.
    In,
}

impl Wire {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, up: true, last: [None; 2] }
    }

    /// When a datagram sent now arrives: never, once, or twice.
    pub(crate) fn cross(&mut self, now: Instant, way: Way, dice: &mut Dice) -> Vec<Instant> {
        if !self.up || dice.chance(self.link.loss) {
            return Vec::new();
        }
        let mut arrivals = vec![self.arrival(now, way, dice)];
        if dice.chance(self.link.duplicate) {
            arrivals.push(self.arrival(now, way, dice));
        }
        arrivals
    }

    /// When a stream's piece arrives: each loss costs a retransmission. None while the link is down.
    pub(crate) fn cross_reliably(
        &mut self,
        now: Instant,
        way: Way,
        dice: &mut Dice,
    ) -> Option<Instant> {
        if !self.up {
            return None;
        }
        let mut at = self.arrival(now, way, dice);
        // A link that loses everything still lets a stream through at last: ten tries, as in TCP.
        for _ in 0..10 {
            if !dice.chance(self.link.loss) {
                break;
            }
            at += RETRANSMIT_AFTER + 2 * self.link.delay;
        }
        Some(at)
    }

    fn arrival(&mut self, now: Instant, way: Way, dice: &mut Dice) -> Instant {
        let at = now + self.link.delay + dice.up_to(self.link.jitter);
        if dice.chance(self.link.reorder) {
            return at + 2 * (self.link.delay + self.link.jitter);
        }
        let last = &mut self.last[way as usize];
        let at = last.map_or(at, |last| last.max(at));
        *last = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(link: Link, packets: u64) -> Vec<Vec<Instant>> {
        let (mut wire, mut dice) = (Wire::new(link), Dice::new(3));
        let t0 = sansio::testing::epoch();
        let at = |i| t0 + Duration::from_millis(i);
        (0..packets).map(|i| wire.cross(at(i), Way::Out, &mut dice)).collect()
    }

    #[test]
    fn loss_and_duplication_happen_as_often_as_asked() {
        let link = Link { loss: 0.2, duplicate: 0.1, ..Link::lan() };
        let arrivals = arrivals(link, 10_000);
        let lost = arrivals.iter().filter(|a| a.is_empty()).count();
        let twice = arrivals.iter().filter(|a| a.len() == 2).count();
        assert!((1900..2100).contains(&lost), "{lost}");
        assert!((700..900).contains(&twice), "{twice}");
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_breaks_it() {
        let in_order = |link: Link| {
            let flat: Vec<_> = arrivals(link, 500).into_iter().flatten().collect();
            flat.is_sorted()
        };
        assert!(in_order(Link::lan().delayed(20, 15)));
        assert!(!in_order(Link { reorder: 0.1, ..Link::lan().delayed(20, 15) }));
    }

    #[test]
    fn a_stream_is_late_where_datagrams_are_lost() {
        let (mut wire, mut dice) = (Wire::new(Link::lan().lossy(1.0)), Dice::new(1));
        let now = sansio::testing::epoch();
        assert!(wire.cross(now, Way::Out, &mut dice).is_empty());
        let late = wire.cross_reliably(now, Way::Out, &mut dice).unwrap();
        assert!(late - now > RETRANSMIT_AFTER);
        wire.up = false;
        assert_eq!(wire.cross_reliably(now, Way::Out, &mut dice), None);
    }
}
