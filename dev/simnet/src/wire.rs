//! A link in use.

use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::link::Link;

/// How long a stream waits before it sends a lost piece again. TCP's own smallest value on Linux.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);

/// A link in use. Its state, one for each way: what came through last, so that packets keep their
/// order; whether it is in a burst of losses; and until when those before it take to get through.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: Link,
    pub(crate) up: bool,
    last: [Option<Instant>; 2],
    in_burst: [bool; 2],
    busy_until: [Option<Instant>; 2],
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
        Self { link, up: true, last: [None; 2], in_burst: [false; 2], busy_until: [None; 2] }
    }

    /// When a datagram of `length` bytes sent now arrives: never, once, or twice.
    pub(crate) fn cross(
        &mut self,
        now: Instant,
        (way, length): (Way, usize),
        dice: &mut Dice,
    ) -> Vec<Instant> {
        let fits = self.link.mtu.is_none_or(|mtu| length <= mtu);
        if !self.up || self.loses(way, dice) || !fits {
            return Vec::new();
        }
        let queue = self.link.rate.map_or(Duration::ZERO, |rate| rate.queue);
        let Some(sent) = self.sent(now, (way, length), queue) else { return Vec::new() };
        let mut arrivals = vec![self.arrival(sent, way, dice)];
        if dice.chance(self.link.duplicate) {
            arrivals.push(self.arrival(sent, way, dice));
        }
        arrivals
    }

    /// When a stream's piece arrives: each loss costs a retransmission. None while the link is down.
    pub(crate) fn cross_reliably(
        &mut self,
        now: Instant,
        (way, length): (Way, usize),
        dice: &mut Dice,
    ) -> Option<Instant> {
        if !self.up {
            return None;
        }
        let sent = self.sent(now, (way, length), Duration::MAX)?;
        let mut at = self.arrival(sent, way, dice);
        // A link that loses everything still lets a stream through at last: ten tries, as in TCP.
        for _ in 0..10 {
            if !self.loses(way, dice) {
                break;
            }
            at += RETRANSMIT_AFTER + 2 * self.link.delay;
        }
        Some(at)
    }

    fn loses(&mut self, way: Way, dice: &mut Dice) -> bool {
        if let Some(burst) = self.link.burst {
            let bad = &mut self.in_burst[way as usize];
            *bad = if *bad { !dice.chance(burst.ends) } else { dice.chance(burst.begins) };
            if *bad && dice.chance(burst.loss) {
                return true;
            }
        }
        dice.chance(self.link.loss)
    }

    /// When the last bit of a packet is on its way. None where it would wait longer than `queue`.
    fn sent(
        &mut self,
        now: Instant,
        (way, length): (Way, usize),
        queue: Duration,
    ) -> Option<Instant> {
        let Some(rate) = self.link.rate else { return Some(now) };
        let busy_until = &mut self.busy_until[way as usize];
        let begins = busy_until.map_or(now, |until| until.max(now));
        if begins.saturating_duration_since(now) > queue {
            return None;
        }
        let seconds = length as f64 * 8.0 / rate.bits_per_s.max(1) as f64;
        let sent = begins + Duration::from_secs_f64(seconds);
        *busy_until = Some(sent);
        Some(sent)
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
    use crate::link::{Burst, Rate};

    fn arrivals(link: Link, packets: u64) -> Vec<Vec<Instant>> {
        let (mut wire, mut dice) = (Wire::new(link), Dice::new(3));
        let t0 = sansio::testing::epoch();
        let at = |i| t0 + Duration::from_millis(i);
        (0..packets).map(|i| wire.cross(at(i), (Way::Out, 200), &mut dice)).collect()
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
        assert!(wire.cross(now, (Way::Out, 200), &mut dice).is_empty());
        let late = wire.cross_reliably(now, (Way::Out, 200), &mut dice).unwrap();
        assert!(late - now > RETRANSMIT_AFTER);
        wire.up = false;
        assert_eq!(wire.cross_reliably(now, (Way::Out, 200), &mut dice), None);
    }

    #[test]
    fn bursts_lose_their_share_and_come_together() {
        let burst = Burst { begins: 0.02, ends: 0.25, loss: 0.8 };
        let lost: Vec<bool> = arrivals(Link { burst: Some(burst), ..Link::lan() }, 20_000)
            .iter()
            .map(Vec::is_empty)
            .collect();
        let share = lost.iter().filter(|lost| **lost).count() as f64 / 20_000.0;
        assert!((share - burst.share()).abs() < 0.01, "{share} and not {}", burst.share());
        let after_a_loss = lost.windows(2).filter(|two| two[0] && two[1]).count() as f64;
        let after_a_loss = after_a_loss / (share * 20_000.0);
        // It is still bad in three of four, and then loses four of five.
        assert!((after_a_loss - 0.6).abs() < 0.05, "{after_a_loss}");
    }

    #[test]
    fn a_bottleneck_spreads_packets_and_drops_what_would_wait_too_long() {
        // 200 bytes take 10 ms, and one comes each millisecond.
        let rate = Rate { bits_per_s: 160_000, queue: Duration::from_millis(100) };
        let arrivals = arrivals(Link { rate: Some(rate), ..Link::lan() }, 1_000);
        let through: Vec<Instant> = arrivals.iter().flatten().copied().collect();
        assert!((100..=112).contains(&through.len()), "{}", through.len());
        let apart: Vec<Duration> = through.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(apart.iter().all(|apart| apart.as_millis() == 10), "{apart:?}");
    }

    #[test]
    fn what_is_longer_than_the_mtu_vanishes() {
        let mut wire = Wire::new(Link { mtu: Some(1_400), ..Link::lan() });
        let (mut dice, now) = (Dice::new(1), sansio::testing::epoch());
        assert_eq!(wire.cross(now, (Way::Out, 1_400), &mut dice).len(), 1);
        assert!(wire.cross(now, (Way::Out, 1_401), &mut dice).is_empty());
        assert!(wire.cross_reliably(now, (Way::Out, 9_000), &mut dice).is_some());
    }
}
