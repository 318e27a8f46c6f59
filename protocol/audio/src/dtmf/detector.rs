//! Recognising keys in sound at 8 kHz.
//!
//! ```text
//!   every 5 ms, the last 20 ms under a Hann window:
//!     eight Goertzel sums ─► strongest row and column ─► their true frequency, from how far the
//!     phase went since the last window ─► level, twist, share of all power ─► hit or miss
//!
//!   hits:   Idle ──5 of one key──► Pressed ──7 misses──► Idle      events: Started … Ended
//! ```
//!
//! A window is hit when the two tones have nearly all of its power, so it need not be full: a tone
//! is hit for 7.6 ms less than it lasts. Five hits are 27 ms at least: tones of 23 ms are refused,
//! those of 40 ms recognised, whatever their place between the windows. Speech has more than two
//! partials, and no steady ones: that is what keeps it from being digits (talk-off).

use super::{HIGH, KEYS, LOW};

/// The rate of the samples that a detector takes, in Hz.
pub const DETECTOR_RATE: u32 = 8000;
const HOP: usize = 40;
const WINDOW: usize = 4 * HOP;
/// Hits until a key is believed.
const HITS: u32 = 5;
/// Misses until it is let go: a drop-out of 20 ms, one lost packet, is ridden out.
const MISSES: u32 = 7;
/// What a tone lasts longer than from the start of its first hit's hop to the start of its last's.
const BEYOND_HITS: u64 = 81;
/// How far after the start of the first hit's window a tone began.
const ONSET: u64 = 40;
/// Q.24 wants 1.5 % accepted and 3.5 % refused.
const OFF_FREQUENCY_MAX: f64 = 0.024;
/// Rows may be this much louder than columns: 8 dB, and a little for the measurement.
const TWIST_MAX: f64 = 7.4;
/// Columns may be this much louder than rows: 4 dB, and a little.
const REVERSE_TWIST_MAX: f64 = 2.95;
/// Power of the two tones in all power.
const SHARE_MIN: f64 = 0.8;
/// Mean square of a tone of -33 dBm0, the weakest that counts.
const POWER_MIN: f64 = 129_000.0;

/// Takes sound, tells keys.
#[derive(Debug, Clone)]
pub struct ToneDetector {
    tables: Tables,
    /// The last window's samples, oldest first, and what of the next hop is here.
    window: [f32; WINDOW],
    filled: usize,
    /// Complete hops so far.
    hops: u64,
    /// The last window's sums: phases are measured against it.
    before: [[f64; 2]; 8],
    candidate: Option<Candidate>,
    pressed: Option<Candidate>,
    /// The last window was hit.
    suspected: bool,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    digit: char,
    first: u64,
    last: u64,
    hits: u32,
}

/// What a detector heard. Positions and durations are in samples at 8 kHz since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToneEvent {
    /// A key went down.
    Started {
        /// Which.
        digit: char,
        /// Where its tone began.
        at: u64,
    },
    /// The key went up.
    Ended {
        /// Which.
        digit: char,
        /// Where its tone began.
        at: u64,
        /// How long it was, to about 3 ms.
        samples: u64,
    },
}

impl Default for ToneDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl ToneDetector {
    /// A detector that has heard silence.
    pub fn new() -> Self {
        Self {
            tables: Tables::new(),
            window: [0.0; WINDOW],
            filled: 0,
            hops: 0,
            before: [[0.0; 2]; 8],
            candidate: None,
            pressed: None,
            suspected: false,
        }
    }

    /// Takes samples, and tells each event to `on_event`.
    pub fn process(&mut self, samples: &[i16], mut on_event: impl FnMut(ToneEvent)) {
        for sample in samples {
            self.window[WINDOW - HOP + self.filled] = f32::from(*sample);
            self.filled += 1;
            if self.filled == HOP {
                let heard = self.look();
                self.judge(heard, &mut on_event);
                self.window.copy_within(HOP.., 0);
                self.filled = 0;
                self.hops += 1;
            }
        }
    }

    /// The sound stops or jumps: a pressed key ends here.
    pub fn finish(&mut self, mut on_event: impl FnMut(ToneEvent)) {
        self.let_go(&mut on_event);
        self.candidate = None;
        self.suspected = false;
        self.window = [0.0; WINDOW];
    }

    /// Samples taken so far: where the next one stands.
    pub fn position(&self) -> u64 {
        self.hops * HOP as u64 + self.filled as u64
    }

    /// The key that is down.
    pub fn pressed(&self) -> Option<char> {
        self.pressed.map(|pressed| pressed.digit)
    }

    /// How long the key that is down was heard so far, in samples; when it ends, that is how long
    /// it was.
    pub fn pressed_samples(&self) -> Option<u64> {
        self.pressed.map(|pressed| pressed.samples())
    }

    /// Whether what was heard last is a key, or may become one: who sends the key another way
    /// leaves this sound out.
    pub fn is_suspected(&self) -> bool {
        self.suspected || self.pressed.is_some()
    }

    fn judge(&mut self, heard: Option<char>, on_event: &mut impl FnMut(ToneEvent)) {
        let hop = self.hops;
        self.suspected = heard.is_some();
        if let (Some(digit), Some(pressed)) = (heard, &mut self.pressed)
            && pressed.digit == digit
        {
            pressed.last = hop;
            self.candidate = None;
            return;
        }
        if let Some(digit) = heard {
            match &mut self.candidate {
                Some(candidate) if candidate.digit == digit => {
                    (candidate.last, candidate.hits) = (hop, candidate.hits + 1);
                }
                other => *other = Some(Candidate { digit, first: hop, last: hop, hits: 1 }),
            }
        }
        let missed = |c: &Candidate| hop - c.last >= u64::from(MISSES);
        if self.pressed.as_ref().is_some_and(missed) {
            self.let_go(on_event);
        }
        if self.candidate.as_ref().is_some_and(missed) {
            self.candidate = None;
        }
        if let Some(candidate) = self.candidate.filter(|c| c.hits >= HITS) {
            // Another key without a pause between them.
            self.let_go(on_event);
            self.candidate = None;
            self.pressed = Some(candidate);
            on_event(ToneEvent::Started { digit: candidate.digit, at: candidate.onset() });
        }
    }

    fn let_go(&mut self, on_event: &mut impl FnMut(ToneEvent)) {
        let Some(gone) = self.pressed.take() else { return };
        let (digit, at, samples) = (gone.digit, gone.onset(), gone.samples());
        on_event(ToneEvent::Ended { digit, at, samples });
    }

    /// The key in the window, if there is one.
    fn look(&mut self) -> Option<char> {
        let sums = self.tables.sums(&self.window);
        let before = std::mem::replace(&mut self.before, sums);
        let total = self.tables.mean_square(&self.window);
        if total < 2.0 * POWER_MIN * SHARE_MIN {
            return None;
        }
        let strongest = |group: std::ops::Range<usize>| {
            group.max_by(|a, b| power(sums[*a]).total_cmp(&power(sums[*b]))).unwrap_or(0)
        };
        let (row, column) = (strongest(0..4), strongest(4..8));
        let low = self.tables.tone_power(row, sums[row], before[row])?;
        let high = self.tables.tone_power(column, sums[column], before[column])?;
        let loud = low.min(high) >= POWER_MIN;
        let twisted = low > high * TWIST_MAX || high > low * REVERSE_TWIST_MAX;
        let alone = low + high >= SHARE_MIN * total;
        (loud && alone && !twisted).then(|| KEYS[row][column - 4])
    }
}

impl Candidate {
    fn samples(&self) -> u64 {
        (self.last - self.first) * HOP as u64 + BEYOND_HITS
    }

    /// Where the tone began: the first hit's window started 120 samples before its hop.
    fn onset(&self) -> u64 {
        (self.first * HOP as u64 + ONSET).saturating_sub((WINDOW - HOP) as u64)
    }
}

fn power(sum: [f64; 2]) -> f64 {
    sum[0] * sum[0] + sum[1] * sum[1]
}

/// Window and oscillators. The phase of every window is measured from its own start.
#[derive(Debug, Clone)]
struct Tables {
    hann: [f32; WINDOW],
    waves: Box<[[[f32; 2]; WINDOW]; 8]>,
    /// Sum of the window.
    area: f64,
    nominal: [f64; 8],
}

impl Tables {
    fn new() -> Self {
        let tau = std::f64::consts::TAU;
        let hann = std::array::from_fn(|n| {
            (0.5 - 0.5 * (tau * (n as f64 + 0.5) / WINDOW as f64).cos()) as f32
        });
        let nominal = std::array::from_fn(|k| if k < 4 { LOW[k] } else { HIGH[k - 4] });
        let wave = |k: usize, n: usize| {
            let phase = tau * nominal[k] * n as f64 / f64::from(DETECTOR_RATE);
            [phase.cos() as f32 * hann[n], -phase.sin() as f32 * hann[n]]
        };
        let waves = Box::new(std::array::from_fn(|k| std::array::from_fn(|n| wave(k, n))));
        let area = hann.iter().map(|w| f64::from(*w)).sum();
        Self { hann, waves, area, nominal }
    }

    fn sums(&self, window: &[f32; WINDOW]) -> [[f64; 2]; 8] {
        std::array::from_fn(|k| {
            let (mut re, mut im) = (0.0_f32, 0.0_f32);
            for (sample, wave) in window.iter().zip(&self.waves[k]) {
                re += sample * wave[0];
                im += sample * wave[1];
            }
            [f64::from(re), f64::from(im)]
        })
    }

    fn mean_square(&self, window: &[f32; WINDOW]) -> f64 {
        let weighted = window.iter().zip(&self.hann).map(|(s, w)| f64::from(s * s * w));
        weighted.sum::<f64>() / self.area
    }

    /// Mean square of the tone near the nominal frequency `k`; `None` when it is too far from it.
    fn tone_power(&self, k: usize, sum: [f64; 2], before: [f64; 2]) -> Option<f64> {
        let tau = std::f64::consts::TAU;
        let hop_s = HOP as f64 / f64::from(DETECTOR_RATE);
        // Each window's phase counts from its own start: a nominal tone advances by this much.
        let due = tau * self.nominal[k] * hop_s;
        let re = sum[0] * before[0] + sum[1] * before[1];
        let im = sum[1] * before[0] - sum[0] * before[1];
        let step = (im.atan2(re) - due).rem_euclid(tau);
        let step = if step > tau / 2.0 { step - tau } else { step };
        let off_hz = step / tau / hop_s;
        if off_hz.abs() > self.nominal[k] * OFF_FREQUENCY_MAX {
            return None;
        }
        // What the Hann window takes from a tone that lies `bins` beside its centre.
        let bins = off_hz * WINDOW as f64 / f64::from(DETECTOR_RATE);
        let x = std::f64::consts::PI * bins;
        let loss = if bins.abs() < 1e-6 { 1.0 } else { x.sin() / x / (1.0 - bins * bins) };
        Some(2.0 * power(sum) / (self.area * self.area) / (loss * loss))
    }
}
