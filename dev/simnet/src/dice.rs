//! Chance, from the simulation's seed.

use std::time::Duration;

use sansio::{Entropy, SeededEntropy};

/// A seeded generator with the few questions a network asks.
#[derive(Debug)]
pub(crate) struct Dice(SeededEntropy);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        // Impossible and certain things use up no randomness: adding a perfect link changes no story.
        if p <= 0.0 {
            return false;
        }
        p >= 1.0 || self.fraction() < p
    }

    /// Somewhere in `0..=max`.
    pub(crate) fn up_to(&mut self, max: Duration) -> Duration {
        if max.is_zero() { max } else { max.mul_f64(self.fraction()) }
    }

    /// A number in `0..n`; 0 when `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // The bias of the remainder is far below what a simulation can see.
        usize::try_from(self.0.next_u64() % (n.max(1) as u64)).unwrap_or(0)
    }

    fn fraction(&mut self) -> f64 {
        // 53 bits fill a double exactly.
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_true_about_as_often_as_they_should() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.chance(0.1)).count();
        assert!((900..1100).contains(&hits), "{hits}");
        assert!(!dice.chance(0.0) && dice.chance(1.0));
        assert!((0..100).all(|_| dice.below(7) < 7));
        let max = Duration::from_millis(5);
        assert!((0..100).all(|_| dice.up_to(max) <= max));
    }
}
