//! How loud a signal is.

/// What silence measures: the floor of RFC 6464.
pub const FLOOR_DBOV: f32 = -127.0;

/// The RMS level in dB relative to overload: a full-scale square wave is 0, a sine -3.01, digital
/// silence [`FLOOR_DBOV`].
pub fn dbov(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return FLOOR_DBOV;
    }
    from_mean_square(energy(samples) / samples.len() as f64)
}

/// Sum of the squares.
pub(crate) fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|s| f64::from(*s) * f64::from(*s)).sum()
}

fn from_mean_square(mean: f64) -> f32 {
    if mean <= 0.0 {
        return FLOOR_DBOV;
    }
    ((10.0 * (mean / (32_768.0 * 32_768.0)).log10()) as f32).max(FLOOR_DBOV)
}

/// A meter that rises at once and falls over about 300 ms, for people to look at.
#[derive(Debug, Clone)]
pub struct LevelMeter {
    mean: f64,
}

impl Default for LevelMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl LevelMeter {
    /// A meter at the floor.
    pub fn new() -> Self {
        Self { mean: 0.0 }
    }

    /// Takes one frame of about 20 ms in.
    pub fn update(&mut self, frame: &[i16]) {
        let mean = energy(frame) / frame.len().max(1) as f64;
        self.mean = mean.max(self.mean * 0.8);
    }

    /// The level now, in dBov.
    pub fn dbov(&self) -> f32 {
        from_mean_square(self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_their_reference_points() {
        assert_eq!(dbov(&[]), FLOOR_DBOV);
        assert_eq!(dbov(&[0; 100]), FLOOR_DBOV);
        assert!(dbov(&[-32_768; 100]).abs() < 0.001);
        let mut meter = LevelMeter::new();
        meter.update(&[16_384; 960]);
        assert!((meter.dbov() + 6.02).abs() < 0.01);
        (0..50).for_each(|_| meter.update(&[0; 960]));
        assert!(meter.dbov() < -50.0);
    }
}
