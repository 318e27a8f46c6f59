//! A first `now` for tests.
//!
//! [`Instant`] has no constant, and `protocol/` and `engine/` may not read the clock. A test takes
//! [`epoch`] once and adds durations to it; nothing it does depends on the value. `cargo xtask
//! tidy` refuses this module outside of test code.

use std::sync::OnceLock;
use std::time::Instant;

/// The same instant for the whole process: the zero of a test's time line.
///
/// ```
/// use std::time::Duration;
/// let t0 = sansio::testing::epoch();
/// let later = t0 + Duration::from_millis(500);
/// assert_eq!(later - sansio::testing::epoch(), Duration::from_millis(500));
/// ```
#[expect(clippy::disallowed_methods, reason = "the one place where tests get their zero")]
pub fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
