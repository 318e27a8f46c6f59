//! Where the phone's sound comes from and goes to: files, a tone, silence, the sound card.

use crate::cli::PhoneArgs;
use anyhow::{Context, Result, anyhow};
use audio::{Tone, Wav};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Samples in 20 ms at 48 kHz.
pub const FRAME: usize = 960;
const RATE: u32 = 48_000;

/// What is said.
pub enum Source {
    /// Nothing.
    Silence,
    /// A file, once, then silence.
    File { samples: Vec<i16>, at: usize },
    /// A tone.
    Tone(Tone),
    /// The microphone.
    Card(super::card::Microphone),
}

/// What is done with what is heard.
pub enum Sink {
    /// Nothing.
    Nowhere,
    /// Written to a file.
    File(Recorder),
    /// Played.
    Card(super::card::Speaker),
}

/// A WAV file that grows; its header is right after every second and at the end.
pub struct Recorder {
    file: BufWriter<File>,
    path: PathBuf,
    samples: u64,
}

impl Source {
    /// From the command line: `--play`, `--tone`, else the microphone where there is one and the
    /// phone is not headless.
    pub fn from_args(args: &PhoneArgs, headless: bool) -> Result<Self> {
        if let Some(path) = &args.play {
            let bytes = std::fs::read(path)
                .with_context(|| format!("--play {}: the file cannot be read", path.display()))?;
            let wav = Wav::parse(&bytes).map_err(|e| {
                anyhow!("--play {}: {e}; give a 16-bit PCM WAV file", path.display())
            })?;
            let samples =
                wav.to_mono(RATE).map_err(|e| anyhow!("--play {}: {e}", path.display()))?;
            return Ok(Self::File { samples, at: 0 });
        }
        if let Some(hz) = args.tone {
            return Ok(Self::Tone(Tone::new(f64::from(hz), RATE, 8_000.0)));
        }
        if headless {
            return Ok(Self::Silence);
        }
        Ok(super::card::microphone().map_or(Self::Silence, Self::Card))
    }

    /// The next 20 ms.
    pub fn read(&mut self, frame: &mut [i16; FRAME]) {
        frame.fill(0);
        match self {
            Self::Silence => {}
            Self::File { samples, at } => {
                let rest = &samples[(*at).min(samples.len())..];
                let n = rest.len().min(FRAME);
                frame[..n].copy_from_slice(&rest[..n]);
                *at += n;
            }
            Self::Tone(tone) => tone.fill(frame),
            Self::Card(microphone) => microphone.read(frame),
        }
    }
}

impl Sink {
    /// From the command line: `--record`, else the loudspeaker where there is one and the phone is
    /// not headless.
    pub fn from_args(args: &PhoneArgs, headless: bool) -> Result<Self> {
        if let Some(path) = &args.record {
            return Ok(Self::File(Recorder::create(path)?));
        }
        if headless {
            return Ok(Self::Nowhere);
        }
        Ok(super::card::speaker().map_or(Self::Nowhere, Self::Card))
    }

    /// The next 20 ms.
    pub fn write(&mut self, frame: &[i16; FRAME]) -> Result<()> {
        match self {
            Self::Nowhere => Ok(()),
            Self::File(recorder) => recorder.write(frame),
            Self::Card(speaker) => {
                speaker.write(frame);
                Ok(())
            }
        }
    }

    /// Whether somebody listens, before the answer too.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Card(_))
    }

    /// Nothing more will come.
    pub fn finish(&mut self) -> Result<()> {
        match self {
            Self::File(recorder) => recorder.fix_header(),
            Self::Nowhere | Self::Card(_) => Ok(()),
        }
    }
}

impl Recorder {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| {
            format!("--record {}: the recording cannot be made", path.display())
        })?;
        let mut file = BufWriter::new(file);
        file.write_all(&audio::wav::header(RATE, 1, 0))?;
        Ok(Self { file, path: path.into(), samples: 0 })
    }

    fn write(&mut self, frame: &[i16; FRAME]) -> Result<()> {
        let bytes: Vec<u8> = frame.iter().flat_map(|s| s.to_le_bytes()).collect();
        self.file
            .write_all(&bytes)
            .with_context(|| format!("{}: the recording cannot be written", self.path.display()))?;
        self.samples += FRAME as u64;
        if self.samples.is_multiple_of(u64::from(RATE)) {
            self.fix_header()?;
        }
        Ok(())
    }

    fn fix_header(&mut self) -> Result<()> {
        // A format of 32 bits ends at four gigabytes, which is twelve hours.
        let length = u32::try_from(self.samples * 2).unwrap_or(u32::MAX);
        let fixed = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(&audio::wav::header(RATE, 1, length)))
            .and_then(|()| self.file.seek(SeekFrom::End(0)))
            .and_then(|_| self.file.flush());
        fixed.with_context(|| format!("{}: the recording cannot be written", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_a_whole_file_at_every_second_and_at_the_end() {
        let path = std::env::temp_dir().join(format!("whimbrel-rec-{}.wav", std::process::id()));
        let mut recorder = Recorder::create(&path).unwrap();
        for _ in 0..50 {
            recorder.write(&[7; FRAME]).unwrap();
        }
        let wav = Wav::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((wav.rate, wav.samples.len()), (RATE, 48_000));
        recorder.write(&[7; FRAME]).unwrap();
        recorder.fix_header().unwrap();
        let wav = Wav::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(wav.samples.len(), 48_960);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_is_said_once_and_then_there_is_silence() {
        let mut source = Source::File { samples: vec![5; 1000], at: 0 };
        let mut frame = [0; FRAME];
        source.read(&mut frame);
        assert_eq!(frame, [5; FRAME]);
        source.read(&mut frame);
        assert_eq!((frame[39], frame[40]), (5, 0));
    }
}
