//! Sine tones.

/// An endless sine, sample by sample.
#[derive(Debug, Clone)]
pub struct Tone {
    phase: f64,
    step: f64,
    amplitude: f64,
}

impl Tone {
    /// `hz` at `sample_rate`, with a peak of `amplitude` (full scale is 32,767).
    pub fn new(hz: f64, sample_rate: u32, amplitude: f64) -> Self {
        let step = hz / f64::from(sample_rate.max(1));
        Self { phase: 0.0, step, amplitude: amplitude.clamp(0.0, 32_767.0) }
    }

    /// The tone people test with: 1 kHz at -10 dBm0, that is -13.2 dBov.
    pub fn test(sample_rate: u32) -> Self {
        Self::new(1000.0, sample_rate, 10_160.0)
    }

    /// Fills a frame.
    pub fn fill(&mut self, out: &mut [i16]) {
        out.iter_mut().zip(self).for_each(|(slot, sample)| *slot = sample);
    }
}

impl Iterator for Tone {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        let sample = (self.phase * std::f64::consts::TAU).sin() * self.amplitude;
        self.phase = (self.phase + self.step).fract();
        Some(sample.round() as i16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level;

    #[test]
    fn a_tone_has_its_frequency_and_level() {
        let samples: Vec<i16> = Tone::test(48_000).take(48_000).collect();
        let crossings = samples.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        assert!((999..=1001).contains(&crossings), "{crossings}");
        assert!((level::dbov(&samples) + 13.2).abs() < 0.1);
    }
}
