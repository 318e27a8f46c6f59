//! What a wire or a radio does to packets.

use std::time::Duration;

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
    /// Losses that come together, beside those of `loss`.
    pub burst: Option<Burst>,
    /// How much fits through.
    pub rate: Option<Rate>,
    /// The longest packet, in bytes from its IP header on. Longer ones vanish, as where a firewall
    /// keeps back the ICMP that would say so. A stream's pieces are cut to fit.
    pub mtu: Option<usize>,
}

/// Losses in bursts, after Gilbert and Elliott: a link is good or bad, and changes with each packet
/// at random.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// That a good link turns bad.
    pub begins: f64,
    /// That a bad link turns good: a burst lasts `1 / ends` packets on average.
    pub ends: f64,
    /// Packets that vanish while it is bad.
    pub loss: f64,
}

impl Burst {
    /// The share of packets that vanishes in the long run.
    pub fn share(&self) -> f64 {
        match self.begins + self.ends {
            changes if changes > 0.0 => self.loss * self.begins / changes,
            _ => 0.0,
        }
    }
}

/// A bottleneck with a queue that drops at its tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits that pass in a second, IP headers included.
    pub bits_per_s: u64,
    /// How long a packet may wait for those before it. A stream's pieces wait as long as it takes.
    pub queue: Duration,
}

impl Link {
    /// A wire of half a millisecond that does nothing else.
    pub fn lan() -> Self {
        let delay = Duration::from_micros(500);
        let (jitter, burst) = (Duration::ZERO, None);
        let (loss, duplicate, reorder) = (0.0, 0.0, 0.0);
        Self { delay, jitter, loss, duplicate, reorder, burst, rate: None, mtu: None }
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
