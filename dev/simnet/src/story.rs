//! Running a test under seeds, and telling what happened when it fails.

use std::ops::RangeInclusive;

use crate::ladder::ladder;
use crate::net::Net;

/// Seeds per story when nobody asks for more.
const SEEDS: u64 = 3;

/// Which seeds to run: from `WHIMBREL_SEED` (one), or `WHIMBREL_SEEDS` (how many) and
/// `WHIMBREL_FIRST_SEED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    seeds: RangeInclusive<u64>,
}

impl Replay {
    /// Reads the environment.
    pub fn from_env() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        Self::from_numbers(
            number("WHIMBREL_SEED"),
            number("WHIMBREL_SEEDS"),
            number("WHIMBREL_FIRST_SEED"),
        )
    }

    fn from_numbers(one: Option<u64>, count: Option<u64>, first: Option<u64>) -> Self {
        let first = one.or(first).unwrap_or(1);
        let count = if one.is_some() { 1 } else { count.unwrap_or(SEEDS).max(1) };
        Self { seeds: first..=first.saturating_add(count - 1) }
    }
}

/// Runs `tell` once per seed, each time in a new network. If it panics, the SIP ladder of that run
/// and the line that replays it are printed first.
pub fn story(tell: impl Fn(&mut Net)) {
    for seed in Replay::from_env().seeds {
        let mut guard = Guard { net: Net::new(seed) };
        tell(&mut guard.net);
    }
}

/// Prints on its way out of a panic.
struct Guard {
    net: Net,
}

impl Drop for Guard {
    #[expect(clippy::print_stderr, reason = "the test harness captures it and shows it on failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", report(&self.net));
        }
    }
}

/// What a failing run has to say.
pub(crate) fn report(net: &Net) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("");
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_else(|_| "simnet".to_owned());
    format!(
        "\n{}\nfailed with seed {}; replay with:\n    WHIMBREL_SEED={} cargo test -p {package} {test}\n",
        ladder(net.trace()),
        net.seed(),
        net.seed(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_replays_one_run_and_nothing_else() {
        assert_eq!(Replay::from_numbers(Some(42), Some(9), None).seeds, 42..=42);
        assert_eq!(Replay::from_numbers(None, Some(9), Some(100)).seeds, 100..=108);
        assert_eq!(Replay::from_numbers(None, None, None).seeds, 1..=SEEDS);
    }

    #[test]
    fn a_report_carries_the_line_that_replays_it() {
        let report = report(&Net::new(42));
        assert!(
            report.contains("WHIMBREL_SEED=42 cargo test -p simnet story::tests::"),
            "{report}"
        );
    }
}
