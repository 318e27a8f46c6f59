//! Concealment of lost G.711 packets, after ITU-T G.711 Appendix I.
//!
//! The last pitch period is repeated, its seam smoothed, and fades out over 60 ms; after the first
//! 10 ms two, then three periods are repeated in turn so that it does not buzz. When packets come
//! again, the repetition is cross-faded into them. Unlike the appendix nothing is delayed by
//! 3.75 ms: the join to the past is left to the signal's own periodicity.

use crate::resample::round;

/// All figures in samples at 8 kHz. Pitch from 66 to 200 Hz, as in the appendix.
const PITCH_MIN: usize = 40;
const PITCH_MAX: usize = 120;
/// What the pitch search compares (20 ms).
const CORRELATION: usize = 160;
/// The past that is kept (48.75 ms in the appendix): three periods, a seam, and the comparison.
const HISTORY: usize = 3 * PITCH_MAX + PITCH_MAX / 4 + 10;
/// 10 ms: attenuation steps and period steps.
const STEP: usize = 80;
/// Silence after this much.
const FADED: usize = 6 * STEP;

/// Remembers the past of a stream at 8 kHz and continues it.
#[derive(Debug, Clone)]
pub(crate) struct Concealer {
    history: Vec<i16>,
    /// The periods being repeated, and where in them we are; empty when nothing is lost.
    cycle: Vec<f32>,
    pitch: usize,
    position: usize,
    concealed: usize,
}

impl Concealer {
    pub(crate) fn new() -> Self {
        Self {
            history: vec![0; HISTORY],
            cycle: Vec::with_capacity(3 * PITCH_MAX),
            pitch: PITCH_MAX,
            position: 0,
            concealed: 0,
        }
    }

    /// Takes in a good frame; its start is cross-faded from the repetition after a loss.
    pub(crate) fn good(&mut self, frame: &mut [i16]) {
        if self.concealed > 0 {
            // 4 ms more for each 10 ms lost, from a quarter period up to 10 ms (App. I, I.2.7).
            let fade = (self.pitch / 4 + 32 * (self.concealed / STEP)).min(STEP).min(frame.len());
            for (i, sample) in frame.iter_mut().take(fade).enumerate() {
                let weight = (i + 1) as f32 / (fade + 1) as f32;
                let old = self.next_sample();
                *sample = round(old * (1.0 - weight) + f32::from(*sample) * weight);
            }
            self.concealed = 0;
            self.cycle.clear();
        }
        self.remember(frame);
    }

    /// Appends `samples` of continuation.
    pub(crate) fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) {
        let start = out.len();
        for _ in 0..samples {
            if self.concealed == 0 {
                self.pitch = self.find_pitch();
                self.position = 0;
                self.build_cycle(1);
            } else if self.concealed == STEP || self.concealed == 2 * STEP {
                self.build_cycle(self.concealed / STEP + 1);
                self.position %= self.pitch;
            }
            let sample = self.next_sample();
            out.push(round(sample));
            self.concealed += 1;
        }
        if self.concealed > FADED {
            self.remember(&out[start..]);
        }
    }

    fn next_sample(&mut self) -> f32 {
        if self.concealed >= FADED || self.cycle.is_empty() {
            return 0.0;
        }
        let sample = self.cycle[self.position];
        self.position = (self.position + 1) % self.cycle.len();
        // Full for 10 ms, then down by a fifth each 10 ms.
        let fade = (self.concealed as f32 - STEP as f32).max(0.0) / (FADED - STEP) as f32;
        sample * (1.0 - fade)
    }

    /// The last `periods` periods, the end of which is blended into what came before their start,
    /// so that repeating them has no seam.
    fn build_cycle(&mut self, periods: usize) {
        let len = self.pitch * periods;
        let start = self.history.len() - len;
        let seam = self.pitch / 4;
        self.cycle.clear();
        self.cycle.extend(self.history[start..].iter().map(|s| f32::from(*s)));
        for i in 0..seam {
            let weight = (i + 1) as f32 / (seam + 1) as f32;
            let before = f32::from(self.history[start - seam + i]);
            let at = len - seam + i;
            self.cycle[at] = self.cycle[at] * (1.0 - weight) + before * weight;
        }
    }

    /// The lag with the best normalised correlation over the last 20 ms.
    fn find_pitch(&self) -> usize {
        let recent = &self.history[HISTORY - CORRELATION..];
        let score = |lag: usize| {
            let past = &self.history[HISTORY - CORRELATION - lag..HISTORY - lag];
            let pairs = recent.iter().zip(past).map(|(a, b)| (f32::from(*a), f32::from(*b)));
            let (cross, energy) = pairs.fold((0.0, 1.0), |(c, e), (a, b)| (c + a * b, e + b * b));
            cross / f32::sqrt(energy)
        };
        let best = (PITCH_MIN..=PITCH_MAX).map(|lag| (lag, score(lag)));
        best.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(PITCH_MAX, |(lag, _)| lag)
    }

    fn remember(&mut self, frame: &[i16]) {
        let keep = &frame[frame.len().saturating_sub(HISTORY)..];
        self.history.drain(..keep.len());
        self.history.extend_from_slice(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tone, level};

    #[test]
    fn a_lost_frame_of_a_steady_tone_is_hardly_noticed() {
        let tone: Vec<i16> = Tone::new(125.0, 8000, 8000.0).take(1600).collect();
        let mut concealer = Concealer::new();
        concealer.good(&mut tone[..800].to_vec());
        let mut out = Vec::new();
        concealer.conceal(80, &mut out);
        let error: Vec<i16> = out.iter().zip(&tone[800..]).map(|(a, b)| a - b).collect();
        assert!(level::dbov(&error) < level::dbov(&tone) - 25.0, "{}", level::dbov(&error));
        let mut next = tone[880..1040].to_vec();
        concealer.good(&mut next);
        let error: Vec<i16> = next.iter().zip(&tone[880..]).map(|(a, b)| a - b).collect();
        assert!(level::dbov(&error) < level::dbov(&tone) - 25.0);
    }

    #[test]
    fn a_long_loss_fades_to_silence_in_60_ms() {
        let mut concealer = Concealer::new();
        concealer.good(&mut Tone::new(200.0, 8000, 8000.0).take(800).collect::<Vec<_>>());
        let mut out = Vec::new();
        (0..5).for_each(|_| concealer.conceal(160, &mut out));
        assert!(level::dbov(&out[..80]) > -18.0);
        assert_eq!(level::dbov(&out[480..]), level::FLOOR_DBOV);
    }
}
