//! Shortening and stretching voice by one pitch period, without a change of pitch.

use crate::level;
use crate::resample::round;

/// Periods looked for, in milliseconds times ten.
const LAG_MIN_MS10: usize = 25;
const LAG_MAX_MS10: usize = 125;
/// Below this level the seam is not heard, wherever it is.
const QUIET_DBOV: f32 = -55.0;
/// How alike two periods must be (normalised correlation).
const ALIKE: f32 = 0.85;
/// How alike when time presses.
const ALIKE_IN_HASTE: f32 = 0.4;
/// The search runs at this rate.
const SEARCH_RATE: usize = 8000;

/// Removes one period from the start of `signal`. Gives the samples removed: 0 when the signal is
/// shorter than 20 ms or has no period that may go. `haste` accepts a worse seam.
pub(crate) fn shrink(signal: &mut Vec<i16>, rate: usize, haste: bool) -> usize {
    let Some(lag) = find_lag(signal, rate, if haste { ALIKE_IN_HASTE } else { ALIKE }) else {
        return 0;
    };
    for i in 0..lag {
        signal[i] = blend(signal[i], signal[lag + i], i, lag);
    }
    signal.drain(lag..2 * lag);
    lag
}

/// Repeats one period at the start of `signal`. Gives the samples added.
pub(crate) fn stretch(signal: &mut Vec<i16>, rate: usize) -> usize {
    let Some(lag) = find_lag(signal, rate, ALIKE_IN_HASTE) else { return 0 };
    let seam: Vec<i16> = (0..lag).map(|i| blend(signal[lag + i], signal[i], i, lag)).collect();
    signal.splice(lag..lag, seam);
    lag
}

fn blend(from: i16, to: i16, i: usize, len: usize) -> i16 {
    let weight = (i as f32 + 0.5) / len as f32;
    round(f32::from(from) * (1.0 - weight) + f32::from(to) * weight)
}

fn find_lag(signal: &[i16], rate: usize, alike: f32) -> Option<usize> {
    let span = &signal[..signal.len().min(2 * LAG_MAX_MS10 * rate / 10_000)];
    if span.len() < rate / 50 {
        return None;
    }
    let longest = span.len() / 2;
    if level::dbov(span) < QUIET_DBOV {
        return Some(longest);
    }
    let factor = (rate / SEARCH_RATE).max(1);
    let coarse: Vec<f32> = span
        .chunks_exact(factor)
        .map(|c| c.iter().map(|s| f32::from(*s)).sum::<f32>() / factor as f32)
        .collect();
    let lags = LAG_MIN_MS10 * SEARCH_RATE / 10_000..=coarse.len() / 2;
    let best = |lags: &mut dyn Iterator<Item = usize>, x: &[f32]| {
        lags.map(|lag| (lag, likeness(x, lag))).max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let (lag, likeness) = best(&mut lags.into_iter(), &coarse)?;
    if likeness < alike {
        return None;
    }
    if factor == 1 {
        return Some(lag);
    }
    let fine: Vec<f32> = span.iter().map(|s| f32::from(*s)).collect();
    let around = (lag - 1) * factor..=((lag + 1) * factor).min(longest);
    best(&mut around.into_iter(), &fine).map(|(lag, _)| lag)
}

/// Normalised correlation of the first `lag` samples with the next.
fn likeness(x: &[f32], lag: usize) -> f32 {
    let pairs = x[..lag].iter().zip(&x[lag..2 * lag]);
    let (cross, a, b) =
        pairs.fold((0.0, 1.0, 1.0), |(c, a, b), (x, y)| (c + x * y, a + x * x, b + y * y));
    cross / f32::sqrt(a * b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tone;

    fn roughness(signal: &[i16]) -> i32 {
        signal.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn a_tone_is_shortened_and_stretched_without_a_click() {
        for rate in [8000, 48_000] {
            let tone: Vec<i16> = Tone::new(210.0, rate as u32, 8000.0).take(rate / 20).collect();
            let mut short = tone.clone();
            let removed = shrink(&mut short, rate, false);
            assert!(removed > 0);
            assert_eq!(short.len(), tone.len() - removed);
            let mut long = tone.clone();
            let added = stretch(&mut long, rate);
            assert_eq!(long.len(), tone.len() + added);
            for signal in [&short, &long] {
                assert!(roughness(signal) < roughness(&tone) * 3 / 2, "{rate}");
                assert_eq!(signal[..2].len(), 2);
            }
        }
    }

    #[test]
    fn noise_is_left_alone_and_silence_gives_way() {
        let mut seed = 1_u32;
        let mut noise: Vec<i16> = (0..400)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 17) as i32 - 16_384) as i16
            })
            .collect();
        assert_eq!(shrink(&mut noise, 8000, false), 0);
        assert_eq!(shrink(&mut vec![0; 400], 8000, false), 100);
        assert_eq!(shrink(&mut vec![0; 100], 8000, false), 0);
    }
}
