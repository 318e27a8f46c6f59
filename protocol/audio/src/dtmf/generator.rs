//! Two sines with soft edges.

use super::frequencies;
use crate::Tone;

/// Peak of a tone of -9 dBm0: the lower one. The upper is 2 dB louder, as lines damp it more
/// (ETSI ES 201 235-2 §4.2.4). Full scale is +3.17 dBm0.
const LOW_PEAK: f64 = 8_070.0;
const HIGH_PEAK: f64 = 10_160.0;
/// The edges take this long, so that a key does not click.
const EDGE_MS: u32 = 2;

/// The tone of one key, for as long as it is asked for.
#[derive(Debug, Clone)]
pub struct ToneGenerator {
    low: Tone,
    high: Tone,
    edge: u32,
    done: u32,
    /// Samples until silence, once the end is known.
    left: Option<u32>,
}

impl ToneGenerator {
    /// The tone of a key at `sample_rate`; `None` if it is no key.
    pub fn new(digit: char, sample_rate: u32) -> Option<Self> {
        let (low, high) = frequencies(digit)?;
        Some(Self {
            low: Tone::new(low, sample_rate, LOW_PEAK),
            high: Tone::new(high, sample_rate, HIGH_PEAK),
            edge: (sample_rate * EDGE_MS / 1000).max(1),
            done: 0,
            left: None,
        })
    }

    /// Ends the tone after `samples` more.
    pub fn end_after(&mut self, samples: u32) {
        self.left = Some(samples);
    }

    /// Whether all of it was given.
    pub fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

impl Iterator for ToneGenerator {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        if self.is_over() {
            return None;
        }
        let rise = (self.done + 1).min(self.edge);
        let fall = self.left.unwrap_or(self.edge).min(self.edge);
        let gain = f64::from(rise.min(fall)) / f64::from(self.edge);
        self.done = self.done.saturating_add(1);
        self.left = self.left.map(|left| left - 1);
        let sum = f64::from(self.low.next()?) + f64::from(self.high.next()?);
        Some((sum * gain).round() as i16)
    }
}
