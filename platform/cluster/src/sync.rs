//! When written bytes are forced to the disk.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How much a power cut may cost. None of it matters for `kill -9`: what was written is then kept
/// by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Before anything is acknowledged: nothing is lost, every group waits for the disk.
    Always,
    /// At most this long after a write.
    Interval(Duration),
    /// When the kernel sees fit (within half a minute on Linux).
    Never,
}

impl Default for FsyncPolicy {
    fn default() -> Self {
        Self::Interval(Duration::from_millis(1000))
    }
}

impl FromStr for FsyncPolicy {
    type Err = String;

    /// `always`, `never`, or an interval in milliseconds: `500` or `500ms`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => return Ok(Self::Always),
            "never" => return Ok(Self::Never),
            _ => {}
        }
        match text.strip_suffix("ms").unwrap_or(text).parse::<u64>() {
            Ok(ms) if ms > 0 => Ok(Self::Interval(Duration::from_millis(ms))),
            _ => Err(format!("`{text}`: write always, never, or milliseconds such as 500ms")),
        }
    }
}

impl fmt::Display for FsyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(every) => write!(f, "{}ms", every.as_millis()),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Remembers when the next forced write is due.
#[derive(Debug)]
pub struct SyncClock {
    policy: FsyncPolicy,
    due: Option<Instant>,
}

impl SyncClock {
    /// Nothing written yet.
    pub fn new(policy: FsyncPolicy) -> Self {
        Self { policy, due: None }
    }

    /// Something was written. True if it must be forced to disk before it is acknowledged.
    pub fn wrote(&mut self, now: Instant) -> bool {
        if let FsyncPolicy::Interval(every) = self.policy {
            self.due.get_or_insert(now + every);
        }
        self.policy == FsyncPolicy::Always
    }

    /// Whether something waits to be forced to disk.
    pub fn is_running(&self) -> bool {
        self.due.is_some()
    }

    /// How long until a forced write is due; none if nothing waits for one.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }

    /// True once when a forced write is due.
    pub fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        for text in ["always", "never", "250ms"] {
            assert_eq!(text.parse::<FsyncPolicy>().map(|p| p.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("70".parse(), Ok(FsyncPolicy::Interval(Duration::from_millis(70))));
        assert!("sometimes".parse::<FsyncPolicy>().is_err());
        assert!("0".parse::<FsyncPolicy>().is_err());
    }

    #[test]
    fn an_interval_is_due_once_after_the_first_write() {
        let t0 = Instant::now();
        let mut clock = SyncClock::new(FsyncPolicy::Interval(Duration::from_millis(100)));
        assert!(!clock.wrote(t0));
        assert!(!clock.wrote(t0 + Duration::from_millis(60)));
        assert_eq!(clock.wait(t0 + Duration::from_millis(60)), Some(Duration::from_millis(40)));
        assert!(!clock.take_due(t0 + Duration::from_millis(99)));
        assert!(clock.take_due(t0 + Duration::from_millis(100)));
        assert!(!clock.take_due(t0 + Duration::from_millis(200)));
        assert!(SyncClock::new(FsyncPolicy::Always).wrote(t0));
    }
}
