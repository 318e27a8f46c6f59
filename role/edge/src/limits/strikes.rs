//! Growing delay: how long one must wait for the next guess, after so many wrong ones.
//!
//! ```text
//!   strikes   0 1 2 | 3  4  5  6 ...  burst        with 20 an hour: 3 free, then 1, 2, 4 ... 64 s,
//!   wait      none  | 1  2  4  8 ...  3600/refill  and 360 s from the tenth on
//! ```
//!
//! Strikes fade at `refill` an hour and may not pass `burst`; the two add up to the limit, so no
//! hour, wherever it begins, holds more guesses than the limit.

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;
/// A strike, in the fixed point of [`Strikes`].
const ONE: u64 = 256;
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// The highest limit that fits.
pub(crate) const PER_HOUR_MAX: u32 = 8_000;

/// So many guesses an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    burst: u64,
    refill: u64,
    free: u64,
}

/// Strikes and the time of the last one, as a cell of a table: milliseconds above, count in 1/256
/// below. 0 is a clean sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Strikes(pub(crate) u64);

impl Rule {
    /// At most `limit` in any hour (2 to [`PER_HOUR_MAX`]).
    pub(crate) fn per_hour(limit: u32) -> Self {
        let limit = u64::from(limit.clamp(2, PER_HOUR_MAX));
        let burst = limit / 2;
        Self { burst, refill: limit - burst, free: (burst / 4).clamp(1, 1000).max(3.min(burst)) }
    }

    /// Milliseconds until the next guess may be looked at; 0 for now.
    pub(crate) fn wait(self, strikes: Strikes, now_ms: u64) -> u64 {
        let count = self.faded(strikes, now_ms);
        // A clock that was set back delays nobody for longer than the delay.
        let struck_at = strikes.at_ms().min(now_ms);
        let spaced = (struck_at + self.delay_ms(count)).saturating_sub(now_ms);
        let over = (count + ONE).saturating_sub(self.burst * ONE);
        // Nothing struck, nothing to wait for, whatever the clock did.
        if count == 0 { 0 } else { spaced.max((over * HOUR_MS).div_ceil(self.refill * ONE)) }
    }

    /// One strike more; `None` while it has to wait.
    pub(crate) fn strike(self, strikes: Strikes, now_ms: u64) -> Option<Strikes> {
        (self.wait(strikes, now_ms) == 0).then(|| {
            let count = (self.faded(strikes, now_ms) + ONE).min(COUNT_MASK);
            Strikes(now_ms << COUNT_BITS | count)
        })
    }

    /// What is left of the strikes now.
    fn faded(self, strikes: Strikes, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(strikes.at_ms());
        let faded = (u128::from(passed) * u128::from(self.refill * ONE)) / u128::from(HOUR_MS);
        strikes.count().saturating_sub(u64::try_from(faded).unwrap_or(u64::MAX))
    }

    fn delay_ms(self, count: u64) -> u64 {
        let whole = (count + ONE / 2) / ONE;
        let Some(doublings) = whole.checked_sub(self.free) else { return 0 };
        let most = HOUR_MS / self.refill;
        1000_u64.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX)).map_or(most, |ms| {
            // Past the 54th doubling the bits run out.
            if doublings > 40 { most } else { ms.min(most) }
        })
    }
}

impl Strikes {
    fn at_ms(self) -> u64 {
        self.0 >> COUNT_BITS
    }

    fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// How much there is to lose if this is forgotten: strikes first, then freshness; nothing after
    /// two hours.
    pub(crate) fn worth(self, now_ms: u64) -> u64 {
        let age = now_ms.saturating_sub(self.at_ms());
        match age > 2 * HOUR_MS {
            true => 0,
            false => self.count() << 24 | (2 * HOUR_MS - age),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_800_000_000_000;

    /// How long a guesser that always comes as early as allowed waits before each guess.
    fn waits(rule: Rule, guesses: usize) -> Vec<u64> {
        let (mut strikes, mut now) = (Strikes::default(), T0);
        let each = |_| {
            let wait = rule.wait(strikes, now);
            now += wait;
            strikes = rule.strike(strikes, now).expect("it has waited");
            wait / 1000
        };
        (0..guesses).map(each).collect()
    }

    #[test]
    fn r2_8_the_delay_grows_from_nothing_to_minutes() {
        let waits = waits(Rule::per_hour(20), 14);
        assert_eq!(waits[..9], [0, 0, 0, 1, 2, 4, 8, 16, 32]);
        assert!(waits[9] >= 64, "{waits:?}");
        let even = waits[11..].iter().all(|wait| (330..=360).contains(wait));
        assert!(even, "one each six minutes from then on: {waits:?}");
    }

    #[test]
    fn r2_8_no_hour_holds_more_guesses_than_the_limit() {
        for limit in [2, 5, 20, 60, 240, 3_600] {
            let rule = Rule::per_hour(limit);
            let (mut strikes, mut now, mut at) = (Strikes::default(), T0, Vec::new());
            while now < T0 + 5 * HOUR_MS {
                now += rule.wait(strikes, now);
                strikes = rule.strike(strikes, now).unwrap();
                at.push(now);
            }
            let limit = limit as usize;
            let worst = at.windows(limit + 1).map(|w| w[limit] - w[0]).min().unwrap();
            assert!(worst >= HOUR_MS, "{limit}: {} guesses in {worst} ms", limit + 1);
            assert!(at.len() >= 4 * limit / 2, "{limit}: and it is not closed: {}", at.len());
        }
    }

    #[test]
    fn what_comes_too_early_is_refused_and_counts_nothing() {
        let rule = Rule::per_hour(20);
        let mut strikes = Strikes::default();
        for _ in 0..4 {
            strikes = rule.strike(strikes, T0 + rule.wait(strikes, T0)).unwrap();
        }
        assert_eq!(rule.strike(strikes, T0 + 1500), None);
        assert!(rule.strike(strikes, T0 + 4000).is_some());
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_longer_than_the_delay() {
        let rule = Rule::per_hour(20);
        assert_eq!(rule.wait(Strikes(T0 << COUNT_BITS), T0 - 1_000_000), 0);
        let struck = rule.strike(Strikes::default(), T0).unwrap();
        assert_eq!(rule.wait(struck, T0 - 5_000_000), 0);
        let four = (0..4).fold(Strikes::default(), |s, n| rule.strike(s, T0 + n * 9_000).unwrap());
        assert_eq!(rule.wait(four, T0 - 5_000_000), 2_000);
    }
}
