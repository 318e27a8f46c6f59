//! ITU-T G.722 at 64 kbit/s: 16 kHz sound in two sub-bands, each coded by adaptive differences.
//!
//! ```text
//!   2 samples ─► split ─► low  ─► 6 bits ┐            ┌─► low  predictor ─► join ─► 2 samples
//!   (16 kHz)     filter └► high ─► 2 bits ┴─► a byte ──┴─► high predictor ┘  filter
//! ```
//!
//! Both ends run the same predictors on the same codes, so their state stays equal. The arithmetic
//! is the recommendation's: 16-bit saturation and shifts where it has them. Block names are those
//! of its figures.

/// Coefficients of the 24-tap quadrature mirror filter; the other half mirrors them (table 11).
const MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the low band's 6-bit quantizer (table 14).
const LEVELS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940,
    1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Output values of the low band's 6-bit inverse quantizer.
const LOW_6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// Output values of the 4-bit inverse quantizer the low predictor runs on.
const LOW_4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];

/// Output values of the high band's 2-bit inverse quantizer.
const HIGH_2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How a low code moves its scale factor: by magnitude.
const LOW_SCALE: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const LOW_MAGNITUDE: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
/// How a high code moves its scale factor.
const HIGH_SCALE: [i32; 4] = [798, -214, 798, -214];

/// Powers of two in 32 steps to the octave.
const EXP: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The decision level of the high band's quantizer.
const HIGH_LEVEL: i32 = 564;

/// Codes one stream.
#[derive(Debug, Clone)]
pub struct Encoder {
    low: Band,
    high: Band,
    past: [i32; 24],
}

/// Decodes one stream.
#[derive(Debug, Clone)]
pub struct Decoder {
    low: Band,
    high: Band,
    past: [i32; 24],
}

/// The adaptive predictor and quantizer scale of one band (blocks 3 and 4).
#[derive(Debug, Clone)]
struct Band {
    /// Predicted signal, and the part of it that the zeros give.
    predicted: i32,
    zeros: i32,
    /// The last two reconstructed samples, partial sums, and pole coefficients.
    reconstructed: [i32; 3],
    partial: [i32; 3],
    poles: [i32; 3],
    /// Differences and zero coefficients.
    differences: [i32; 7],
    zero_weights: [i32; 7],
    /// Logarithmic and linear scale factor.
    log_scale: i32,
    scale: i32,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { low: Band::new(32), high: Band::new(8), past: [0; 24] }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { low: Band::new(32), high: Band::new(8), past: [0; 24] }
    }
}

impl Encoder {
    /// Codes 16 kHz samples, two to a byte; an odd last one is left out.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        out.extend(samples.chunks_exact(2).map(|pair| self.code(pair[0], pair[1])));
    }

    fn code(&mut self, first: i16, second: i16) -> u8 {
        self.past.copy_within(2.., 0);
        self.past[22] = i32::from(first);
        self.past[23] = i32::from(second);
        let (even, odd) = mirror(&self.past);
        let low = self.code_low((odd + even) >> 14);
        let high = self.code_high((even - odd) >> 14);
        (high << 6 | low) as u8
    }

    fn code_low(&mut self, sample: i32) -> usize {
        let error = saturate(sample - self.low.predicted);
        let magnitude = if error >= 0 { error } else { -(error + 1) };
        let above = |level: &&i32| magnitude >= (**level * self.low.scale) >> 12;
        // 1 to 30: how many decision levels the difference has passed.
        let step = 1 + LEVELS[1..].iter().take_while(above).count();
        let code = match (error < 0, step) {
            (true, 1) => 63,
            (true, 2) => 62,
            (true, step) => 34 - step,
            (false, step) => 62 - step,
        };
        self.low.advance_low(code >> 2);
        code
    }

    fn code_high(&mut self, sample: i32) -> usize {
        let error = saturate(sample - self.high.predicted);
        let magnitude = if error >= 0 { error } else { -(error + 1) };
        let outer = magnitude >= (HIGH_LEVEL * self.high.scale) >> 12;
        let code = match (error < 0, outer) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        self.high.advance_high(code);
        code
    }
}

impl Decoder {
    /// Decodes bytes to 16 kHz samples, two each.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        for byte in payload {
            out.extend(self.samples(*byte));
        }
    }

    fn samples(&mut self, byte: u8) -> [i16; 2] {
        let (low, high) = (usize::from(byte & 63), usize::from(byte >> 6));
        let low_out = self.low.predicted + ((self.low.scale * LOW_6[low]) >> 15);
        self.low.advance_low(low >> 2);
        let high_out = self.high.predicted + ((self.high.scale * HIGH_2[high]) >> 15);
        self.high.advance_high(high);
        let (low, high) = (low_out.clamp(-16_384, 16_383), high_out.clamp(-16_384, 16_383));
        self.past.copy_within(2.., 0);
        self.past[22] = low + high;
        self.past[23] = low - high;
        let (even, odd) = mirror(&self.past);
        [narrow(even >> 11), narrow(odd >> 11)]
    }
}

impl Band {
    fn new(scale: i32) -> Self {
        Self {
            predicted: 0,
            zeros: 0,
            reconstructed: [0; 3],
            partial: [0; 3],
            poles: [0; 3],
            differences: [0; 7],
            zero_weights: [0; 7],
            log_scale: 0,
            scale,
        }
    }

    /// INVQAL, LOGSCL, SCALEL, then block 4.
    fn advance_low(&mut self, code: usize) {
        let difference = (self.scale * LOW_4[code]) >> 15;
        self.rescale(LOW_SCALE[LOW_MAGNITUDE[code]], 18_432, 8);
        self.predict(difference);
    }

    /// INVQAH, LOGSCH, SCALEH, then block 4.
    fn advance_high(&mut self, code: usize) {
        let difference = (self.scale * HIGH_2[code]) >> 15;
        self.rescale(HIGH_SCALE[code], 22_528, 10);
        self.predict(difference);
    }

    fn rescale(&mut self, step: i32, max: i32, octaves: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + step).clamp(0, max);
        let fraction = EXP[(self.log_scale >> 6) as usize & 31];
        let shift = octaves - (self.log_scale >> 11);
        let scale = if shift < 0 { fraction << -shift } else { fraction >> shift };
        self.scale = scale << 2;
    }

    /// Block 4: adapts both parts of the predictor to a difference and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        self.differences[0] = difference;
        self.reconstructed[0] = saturate(self.predicted + difference);
        self.partial[0] = saturate(self.zeros + difference);
        let poles = self.adapted_poles();
        self.adapt_zeros(difference);
        self.differences.copy_within(..6, 1);
        self.reconstructed.copy_within(..2, 1);
        self.partial.copy_within(..2, 1);
        self.poles = poles;
        let doubled = |x: i32| saturate(x + x);
        let pole = |i: usize| (self.poles[i] * doubled(self.reconstructed[i])) >> 15;
        let from_poles = saturate(pole(1) + pole(2));
        let zero = |i: usize| (self.zero_weights[i] * doubled(self.differences[i])) >> 15;
        self.zeros = saturate((1..7).map(zero).sum());
        self.predicted = saturate(from_poles + self.zeros);
    }

    /// UPPOL2, UPPOL1.
    fn adapted_poles(&self) -> [i32; 3] {
        let same = |i: usize| (self.partial[0] < 0) == (self.partial[i] < 0);
        let first = saturate(self.poles[1] << 2);
        let first = if same(1) { -first } else { first }.min(32_767);
        let second = (first >> 7) + if same(2) { 128 } else { -128 };
        let second = (second + ((self.poles[2] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let nudge = if same(1) { 192 } else { -192 };
        let limit = saturate(15_360 - second);
        let first = saturate(nudge + ((self.poles[1] * 32_640) >> 15)).clamp(-limit, limit);
        [0, first, second]
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let nudge = if difference == 0 { 0 } else { 128 };
        for i in 1..7 {
            let same = (self.differences[i] < 0) == (difference < 0);
            let step = if same { nudge } else { -nudge };
            self.zero_weights[i] = saturate(step + ((self.zero_weights[i] * 32_640) >> 15));
        }
    }
}

/// The two halves of the mirror filter over 24 samples: sums with the even and the odd taps.
fn mirror(past: &[i32; 24]) -> (i32, i32) {
    let even = (0..12).map(|i| past[2 * i + 1] * MIRROR[11 - i]).sum();
    let odd = (0..12).map(|i| past[2 * i] * MIRROR[i]).sum();
    (even, odd)
}

fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

fn narrow(value: i32) -> i16 {
    saturate(value) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::dbov;
    use crate::tone::Tone;

    fn round_trip(hz: f64) -> Vec<i16> {
        let mut tone = Tone::new(hz, 16_000, 8_000.0);
        let mut sound = vec![0; 16_000];
        tone.fill(&mut sound);
        let (mut coded, mut heard) = (Vec::new(), Vec::new());
        Encoder::default().encode(&sound, &mut coded);
        assert_eq!(coded.len(), 8_000, "64 kbit/s");
        Decoder::default().decode(&coded, &mut heard);
        heard
    }

    /// The share of a tone's energy that lies at its frequency (Goertzel).
    fn purity(heard: &[i16], hz: f64) -> f64 {
        let step = 2.0 * std::f64::consts::PI * hz / 16_000.0;
        let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
        for (i, s) in heard.iter().enumerate() {
            let (s, angle) = (f64::from(*s), step * i as f64);
            re += s * angle.cos();
            im += s * angle.sin();
            all += s * s;
        }
        2.0 * (re * re + im * im) / heard.len() as f64 / all
    }

    #[test]
    fn tones_of_both_bands_come_back_clean_and_as_loud() {
        for hz in [300.0, 1_000.0, 3_000.0, 5_000.0, 6_500.0] {
            let heard = &round_trip(hz)[8_000..];
            let want = 20.0 * (8_000.0_f32 / 32_768.0).log10() - 3.01;
            assert!((dbov(heard) - want).abs() < 1.0, "{hz} Hz: {} dBov", dbov(heard));
            assert!(purity(heard, hz) > 0.97, "{hz} Hz: {}", purity(heard, hz));
        }
    }

    fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
        let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
    }

    /// Ten seconds of noise at six levels. The sums are those of spandsp 0.0.6 (Debian 12) for the
    /// same samples, in both directions.
    #[test]
    fn codes_and_samples_are_spandsps_bit_by_bit() {
        let mut seed = 1_u64;
        let noise = (0..160_000_u32).map(|i| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005);
            seed = seed.wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 48) as i16) >> (1 + (i / 4_000) % 6)
        });
        let (mut coded, mut heard) = (Vec::new(), Vec::new());
        Encoder::default().encode(&noise.collect::<Vec<i16>>(), &mut coded);
        assert_eq!(fnv(coded.iter().copied()), 0xf776_7cc8_6887_5a9f);
        Decoder::default().decode(&coded, &mut heard);
        assert_eq!(fnv(heard.iter().flat_map(|s| s.to_le_bytes())), 0xea35_d1d4_e491_a55f);
    }

    #[test]
    fn silence_stays_silent() {
        let (mut coded, mut heard) = (Vec::new(), Vec::new());
        Encoder::default().encode(&[0; 3_200], &mut coded);
        Decoder::default().decode(&coded, &mut heard);
        assert!(heard.iter().all(|s| s.abs() <= 8), "{:?}", heard.iter().max());
    }

    #[test]
    fn any_bytes_decode_without_panic() {
        let bytes: Vec<u8> =
            (0..40_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut heard = Vec::new();
        Decoder::default().decode(&bytes, &mut heard);
        assert_eq!(heard.len(), 80_000);
    }
}
