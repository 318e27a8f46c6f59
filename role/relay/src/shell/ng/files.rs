//! Files that controllers name: sound to play, calls to record.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use audio::Wav;

use crate::Relay;
use crate::api::SessionId;
use crate::recording::RecordingOrder;

/// The longest file that is read: three minutes of CD sound, half an hour at 8 kHz mono.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Whose recordings those of a relay alone are: the name of their key and folder.
const TENANT: &str = "relay";
/// Rates that every codec here takes.
const RATES: [u32; 3] = [8000, 16_000, 48_000];

/// Begins a recording, or goes on with it after a pause.
pub(super) fn record(
    relay: &Relay,
    session: SessionId,
    name: String,
    wav: bool,
) -> Result<(), String> {
    let order = RecordingOrder { session, tenant: TENANT.to_owned(), name, wav };
    relay.start_recording(&order).map_err(|why| why.to_string())?;
    relay.pause_recording(session, false);
    Ok(())
}

/// Reads a WAV file, as one channel at the lowest rate that loses nothing up to `rate_max`.
pub(super) fn fetch(path: &Path, rate_max: u32) -> Result<Wav, String> {
    let failed = |why: &dyn std::fmt::Display| {
        format!("Failed to start media playback from file {} ({why})", path.display())
    };
    let bytes = read(path).map_err(|why| failed(&why))?;
    let sound = Wav::parse(&bytes).map_err(|why| failed(&why))?;
    let enough = |rate: &u32| *rate >= sound.rate || *rate >= rate_max;
    let rate = RATES.into_iter().find(enough).unwrap_or(48_000);
    let samples = sound.to_mono(rate).map_err(|why| failed(&why))?;
    Ok(Wav::mono(rate, samples))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let wrong = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
    // A pipe without a writer would hold us for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(wrong("no plain file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        ..=FILE_BYTES_MAX => Ok(bytes),
        _ => Err(wrong(format!("longer than {FILE_BYTES_MAX} bytes: play it in parts"))),
    }
}
