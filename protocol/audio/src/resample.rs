//! Sample-rate conversion: a polyphase windowed-sinc filter that streams.
//!
//! With `up/down` in lowest terms, the input is thought of as stuffed with zeros to `up` times its
//! rate, low-passed, and decimated by `down`. Only the products that are kept are computed. The
//! filter is a Kaiser-windowed sinc with 80 dB stop-band, flat to about 0.44 of the lower rate.

use std::sync::Arc;

use crate::Error;

/// Taps per phase when the lower rate is the input's; more when it is the output's.
const TAPS: usize = 64;
/// Kaiser window shape for about 80 dB.
const BETA: f64 = 7.857;
/// Centre of the transition band, as a part of the lower rate.
const CUTOFF: f64 = 0.4775;
/// Rates whose ratio needs more phases than this are refused.
const PHASES_MAX: u32 = 1024;

/// A streaming converter of one mono signal.
#[derive(Debug, Clone)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// `phases[p * taps + k]`: the filter split by phase, newest sample last.
    phases: Arc<[f32]>,
    taps: usize,
    /// The last `taps - 1` input samples, then what is being converted.
    window: Vec<f32>,
    /// Position of the next output, in up-sampled steps after the window's start.
    position: usize,
}

impl Resampler {
    /// A converter between two rates in Hz. Equal rates pass samples unchanged.
    ///
    /// # Errors
    /// [`Error::Rate`] when a rate is 0, above 384 kHz, or the ratio has more than 1024 phases.
    pub fn new(rate_in: u32, rate_out: u32) -> Result<Self, Error> {
        for rate in [rate_in, rate_out] {
            if !(1..=384_000).contains(&rate) {
                return Err(Error::Rate { rate });
            }
        }
        let divisor = gcd(rate_in, rate_out);
        let (up, down) = (rate_out / divisor, rate_in / divisor);
        if up > PHASES_MAX || down > 8 * PHASES_MAX {
            return Err(Error::Rate { rate: rate_out });
        }
        let (up, down) = (up as usize, down as usize);
        let taps = if up == down { 1 } else { TAPS * down.div_ceil(up).max(1) };
        let phases = design(up, down, taps).into();
        Ok(Self { up, down, phases, taps, window: vec![0.0; taps - 1], position: 0 })
    }

    /// Converts `input` and appends the result to `out`. The number of samples out is exactly
    /// `input.len() * up / down` over time; with 20 ms frames of the voice rates, each time.
    pub fn process(&mut self, input: &[i16], out: &mut Vec<i16>) {
        if self.up == self.down {
            out.extend_from_slice(input);
            return;
        }
        self.window.extend(input.iter().map(|s| f32::from(*s)));
        let available = self.window.len() + 1 - self.taps;
        while self.position / self.up < available {
            let (start, phase) = (self.position / self.up, self.position % self.up);
            let samples = &self.window[start..start + self.taps];
            let filter = &self.phases[phase * self.taps..(phase + 1) * self.taps];
            out.push(round(dot(samples, filter)));
            self.position += self.down;
        }
        self.position -= available * self.up;
        self.window.drain(..available);
    }

    /// Delay of the filter in input samples.
    pub fn delay_samples(&self) -> usize {
        self.taps / 2
    }

    /// Converts a whole recording, with the filter's delay taken out.
    ///
    /// # Errors
    /// As [`Resampler::new`].
    pub fn convert(input: &[i16], rate_in: u32, rate_out: u32) -> Result<Vec<i16>, Error> {
        let mut this = Self::new(rate_in, rate_out)?;
        if this.up == this.down {
            return Ok(input.to_vec());
        }
        let mut out = Vec::new();
        // Starting this far in takes the delay out to a fraction of a sample.
        this.position = this.delay_samples() * this.up;
        this.process(input, &mut out);
        this.process(&vec![0; this.taps], &mut out);
        out.truncate(input.len() * this.up / this.down);
        Ok(out)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The prototype low-pass, cut into phases with the taps reversed.
fn design(up: usize, down: usize, taps: usize) -> Vec<f32> {
    if up == down {
        return vec![1.0];
    }
    let len = taps * up;
    let cutoff = CUTOFF / up.max(down) as f64;
    // The centre sits at len / 2, so that the delay is taps / 2 input samples exactly.
    let centre = (len / 2) as f64;
    let mut prototype: Vec<f64> = (0..len)
        .map(|n| {
            let t = n as f64 - centre;
            let x = 2.0 * cutoff * t;
            let sinc = if t == 0.0 {
                1.0
            } else {
                (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x)
            };
            let r = t / centre;
            2.0 * cutoff * sinc * bessel_i0(BETA * (1.0 - r * r).max(0.0).sqrt()) / bessel_i0(BETA)
        })
        .collect();
    let sum: f64 = prototype.iter().sum();
    prototype.iter_mut().for_each(|c| *c *= up as f64 / sum);
    let mut phases = vec![0.0; len];
    for phase in 0..up {
        for k in 0..taps {
            phases[phase * taps + taps - 1 - k] = prototype[k * up + phase] as f32;
        }
    }
    phases
}

/// Modified Bessel function of the first kind, order 0, by its series.
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..64 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// Eight running sums, so that the compiler may use vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// To the nearest 16-bit sample, clipped.
pub(crate) fn round(value: f32) -> i16 {
    value.round().clamp(-32_768.0, 32_767.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tone, level};

    fn through(rates: &[u32], input: &[i16]) -> Vec<i16> {
        let mut signal = input.to_vec();
        for pair in rates.windows(2) {
            let mut resampler = Resampler::new(pair[0], pair[1]).expect("good rates");
            let mut out = Vec::new();
            for frame in signal.chunks(pair[0] as usize / 50) {
                resampler.process(frame, &mut out);
            }
            signal = out;
        }
        signal
    }

    #[test]
    fn frames_of_20_ms_keep_their_length() {
        for (from, to) in
            [(48_000, 8000), (8000, 48_000), (48_000, 16_000), (16_000, 48_000), (8000, 16_000)]
        {
            let mut r = Resampler::new(from, to).expect("good rates");
            for _ in 0..10 {
                let mut out = Vec::new();
                r.process(&vec![0; from as usize / 50], &mut out);
                assert_eq!(out.len(), to as usize / 50, "{from} to {to}");
            }
        }
    }

    #[test]
    fn tones_in_the_band_pass_and_others_vanish() {
        for (hz, passes) in [
            (50.0, true),
            (1000.0, true),
            (3400.0, true),
            (4300.0, false),
            (7000.0, false),
            (20_000.0, false),
        ] {
            let tone: Vec<i16> = Tone::new(hz, 48_000, 16_000.0).take(48_000).collect();
            let out = through(&[48_000, 8000, 48_000], &tone);
            let change = level::dbov(&out[9600..]) - level::dbov(&tone);
            if passes {
                assert!(change.abs() < 0.05, "{hz} Hz changed by {change} dB");
            } else {
                assert!(change < -60.0, "{hz} Hz only fell by {change} dB");
            }
        }
    }

    #[test]
    fn whole_recordings_convert_in_place_in_time() {
        let tone: Vec<i16> = Tone::new(997.0, 44_100, 12_000.0).take(44_100).collect();
        let out = Resampler::convert(&tone, 44_100, 48_000).expect("good rates");
        let want: Vec<i16> = Tone::new(997.0, 48_000, 12_000.0).take(48_000).collect();
        assert_eq!(out.len(), want.len());
        let worst = out[2000..46_000]
            .iter()
            .zip(&want[2000..46_000])
            .map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs())
            .max();
        assert!(worst <= Some(8), "{worst:?}");
    }

    #[test]
    fn silly_rates_are_refused() {
        for (from, to) in [(0, 8000), (8000, 0), (400_000, 8000), (8001, 47_999)] {
            assert!(Resampler::new(from, to).is_err(), "{from} to {to}");
        }
    }
}
