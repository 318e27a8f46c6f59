//! Keys as tones in the sound: ITU-T Q.23, and how to recognise them, ITU-T Q.24.

mod detector;
mod generator;
#[cfg(test)]
mod tests;

pub use detector::{DETECTOR_RATE, ToneDetector, ToneEvent};
pub use generator::ToneGenerator;

/// Frequencies of the rows, in Hz.
pub(crate) const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// Frequencies of the columns, in Hz.
pub(crate) const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// The keys, row by row.
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// The two frequencies of a key `0-9*#A-D`, in Hz (Q.23).
pub fn frequencies(digit: char) -> Option<(f64, f64)> {
    let digit = digit.to_ascii_uppercase();
    let at = |row: &[char; 4]| row.iter().position(|key| *key == digit);
    KEYS.iter().zip(LOW).find_map(|(row, low)| at(row).map(|column| (low, HIGH[column])))
}
