//! What a receiver's reports do to what is coded for it (R5.9).
//!
//! ```text
//!   loss, REMB ─► rung wanted ─► held back ─► bitrate, expected loss, packet time
//!
//!   0 clean      all bits                       20 ms
//!   1 lossy      all bits, repair for 10 %      20 ms   from  2 %, back below  1 %
//!   2 congested  three quarters, for 20 %       40 ms   from 10 %, back below  7 %
//!   3 drowning   half, for 30 %                 60 ms   from 22 %, back below 17 %
//! ```
//!
//! Loss of a radio is answered by repair in the packets (Opus FEC, RFC 6716 §2.1.7); loss as high as on
//! the upper rungs is a queue that is full, answered by sending less: fewer bits, and fewer headers.
//!
//! The contract: at most one change in [`HOLD`]. Worse is followed as soon as that allows, by as many
//! rungs as it takes; better one rung at a time, after twice as long. Loss is that of the last eight
//! seconds or so: one report of a browser's, about fifty packets, says little.

use std::time::{Duration, Instant};

/// Between two changes.
pub const HOLD: Duration = Duration::from_secs(5);
/// How long it must have been better before anything is taken back.
const BETTER_FOR: Duration = Duration::from_secs(10);
/// What is older counts less and less.
const MEMORY: Duration = Duration::from_secs(8);
/// What headers of IPv4, UDP and RTP take of the bits that a receiver says it has, for each packet.
const HEADER_BITS: u64 = 40 * 8;

/// How much is coded, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rung {
    /// Of the codec's usual bits, in quarters.
    pub bitrate_quarters: u32,
    /// The loss that the codec is to be ready for, in percent.
    pub expected_loss: u8,
    /// The least time in a packet.
    pub ptime_ms: u32,
    /// Where loss leads here, in percent.
    from: u8,
    /// Below which it is left for a better one.
    below: u8,
}

const fn rung(quarters: u32, expected_loss: u8, ptime_ms: u32, from: u8, below: u8) -> Rung {
    Rung { bitrate_quarters: quarters, expected_loss, ptime_ms, from, below }
}

const RUNGS: [Rung; 4] =
    [rung(4, 0, 0, 0, 0), rung(4, 10, 0, 2, 1), rung(3, 20, 40, 10, 7), rung(2, 30, 60, 22, 17)];

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Adaptation {
    at: usize,
    /// In percent, the older the less.
    loss: f32,
    heard: Option<Instant>,
    /// Bits per second that the receiver says it can take.
    most: Option<u64>,
    changed: Option<Instant>,
    /// Since when it is better than the rung asks for.
    better_since: Option<Instant>,
    changes: u32,
}

impl Adaptation {
    /// Where it stands.
    pub(super) fn rung(&self) -> &'static Rung {
        &RUNGS[self.at]
    }

    pub(super) fn changes(&self) -> u32 {
        self.changes
    }

    /// The receiver lost so much since its last report, in 1/256.
    pub(super) fn note_loss(&mut self, now: Instant, fraction: u8) {
        let weight = self.heard.map_or(1.0, |at| {
            let passed = now.saturating_duration_since(at).as_secs_f32();
            (passed / MEMORY.as_secs_f32()).min(1.0)
        });
        self.heard = Some(now);
        self.loss += (f32::from(fraction) * 100.0 / 256.0 - self.loss) * weight;
    }

    /// The receiver can take no more than this.
    pub(super) fn note_most(&mut self, bits_per_s: u64) {
        self.most = Some(bits_per_s);
    }

    /// Steps if it is time to; `usual` is what the codec takes when all is well. True when the rung is
    /// another.
    pub(super) fn step(&mut self, now: Instant, usual: u32) -> bool {
        let needed = self.needed(usual);
        if needed >= self.at {
            self.better_since = None;
        }
        let wanted = match needed {
            worse if worse > self.at => worse,
            same if same == self.at => return false,
            _ => {
                let since = *self.better_since.get_or_insert(now);
                if now < since + BETTER_FOR {
                    return false;
                }
                self.at - 1
            }
        };
        if self.changed.is_some_and(|at| now < at + HOLD) {
            return false;
        }
        (self.at, self.changed, self.better_since) = (wanted, Some(now), None);
        self.changes += 1;
        true
    }

    /// The rung that what was heard asks for: entered at one loss, left at a lower one.
    fn needed(&self, usual: u32) -> usize {
        let by_loss = (1..RUNGS.len()).rev().find(|at| {
            let rung = &RUNGS[*at];
            self.loss >= f32::from(if *at <= self.at { rung.below } else { rung.from })
        });
        let fits = |rung: &Rung| {
            let packets = 1000 / u64::from(rung.ptime_ms.max(20));
            let bits = u64::from(usual / 4 * rung.bitrate_quarters) + packets * HEADER_BITS;
            self.most.is_none_or(|most| bits <= most)
        };
        let by_bits = RUNGS.iter().position(fits).unwrap_or(RUNGS.len() - 1);
        by_loss.unwrap_or(0).max(by_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Instant {
        sansio::testing::epoch() + Duration::from_secs(n)
    }

    /// A report of so much loss each second, from one second to another; when it stepped, and to where.
    fn run(a: &mut Adaptation, seconds: std::ops::Range<u64>, loss: u8) -> Vec<(u64, usize)> {
        let mut steps = Vec::new();
        for n in seconds {
            a.note_loss(second(n), (u32::from(loss) * 256 / 100) as u8);
            if a.step(second(n), 24_000) {
                steps.push((n, a.at));
            }
        }
        steps
    }

    #[test]
    fn r5_9_worse_is_followed_at_once_and_better_step_by_step() {
        let mut a = Adaptation::default();
        assert_eq!(run(&mut a, 0..30, 0), []);
        assert_eq!(run(&mut a, 30..40, 5), [(34, 1)]);
        assert_eq!(run(&mut a, 40..60, 30), [(42, 2), (49, 3)]);
        let back = run(&mut a, 60..140, 0);
        assert_eq!(back.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [2, 1, 0]);
        assert!(back.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10), "{back:?}");
        assert_eq!(a.changes(), 6);
        // A first report counts in full, and many rungs are one change.
        assert_eq!(run(&mut Adaptation::default(), 0..4, 30), [(0, 3)]);
    }

    #[test]
    fn r5_9_loss_around_a_threshold_moves_nothing() {
        let mut a = Adaptation::default();
        run(&mut a, 0..10, 12);
        // 10 % leads up, 7 % back: between them it stays, whichever way it goes.
        for n in 10..100 {
            assert_eq!(run(&mut a, n..n + 1, if n % 2 == 0 { 8 } else { 12 }), []);
        }
        // Two changes within five seconds there are none, however wild it is.
        let mut a = Adaptation::default();
        let steps: Vec<_> = (0..200)
            .flat_map(|n| run(&mut a, n..n + 1, if n / 13 % 2 == 0 { 60 } else { 0 }))
            .collect();
        assert!(!steps.is_empty());
        assert!(steps.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5), "{steps:?}");
    }

    #[test]
    fn r5_9_a_receiver_that_names_its_bits_gets_no_more() {
        // 24 kbit/s and 16 of headers do not fit into 30; 18 and 8 do.
        for (most, rung) in [(100_000, 0), (30_000, 2), (18_000, 3), (1000, 3)] {
            let mut a = Adaptation::default();
            a.note_most(most);
            a.step(second(0), 24_000);
            assert_eq!(a.at, rung, "{most}");
        }
    }
}
