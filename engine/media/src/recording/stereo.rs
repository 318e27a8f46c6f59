//! Two streams of packets as one stereo recording: the caller left, the callee right.

use std::time::{Duration, Instant};

use audio::{CodecKind, Error, OggOpus, PLAYOUT_FRAME, PLAYOUT_RATE, Playout, Resampler, wav};
use rtp::RtpPacket;

/// Rate of WAV recordings: wide-band speech.
const WAV_RATE: u32 = 16_000;
const FRAME: Duration = Duration::from_millis(20);
/// A recorder that was not asked for longer than this skips what is more.
const BEHIND_MAX: u32 = 250;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecordingFormat {
    /// 16-bit PCM at 16 kHz, 64 kB a second.
    Wav,
    /// Ogg Opus (RFC 7845) at 48 kbit/s, 6 kB a second.
    #[default]
    Opus,
}

/// Whose packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedSide {
    /// The left channel.
    Caller,
    /// The right channel.
    Callee,
}

/// Makes a recording. Time is that of the packets' arrival.
#[derive(Debug)]
pub struct StereoRecorder {
    sides: [Side; 2],
    next: Instant,
    writer: Writer,
    paused: bool,
    frames: u64,
}

#[derive(Debug, Default)]
struct Side {
    playout: Option<Playout>,
    ssrc: u32,
}

#[derive(Debug)]
enum Writer {
    Wav([Resampler; 2]),
    Opus(Box<OggOpus>),
}

impl StereoRecorder {
    /// A recording that begins at `now`; appends what its file begins with. `serial` names the
    /// stream inside an Ogg file.
    ///
    /// # Errors
    /// When a codec library cannot start.
    pub fn new(
        now: Instant,
        format: RecordingFormat,
        serial: u32,
        out: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let writer = match format {
            RecordingFormat::Wav => {
                // The length is known at the end only; readers take the most for `until the end`.
                out.extend_from_slice(&wav::header(WAV_RATE, 2, u32::MAX));
                let resampler = Resampler::new(PLAYOUT_RATE, WAV_RATE)?;
                Writer::Wav([resampler.clone(), resampler])
            }
            RecordingFormat::Opus => Writer::Opus(Box::new(OggOpus::stereo(serial, out)?)),
        };
        let sides = [Side::default(), Side::default()];
        Ok(Self { sides, next: now + FRAME, writer, paused: false, frames: 0 })
    }

    /// Takes a packet of sound, in clear.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        side: RecordedSide,
        kind: CodecKind,
        packet: &RtpPacket<'_>,
    ) {
        let side = &mut self.sides[side as usize];
        if side.playout.as_ref().is_none_or(|p| p.kind() != kind) {
            side.playout = Playout::new(kind).ok();
        }
        let Some(playout) = &mut side.playout else { return };
        if side.ssrc != packet.ssrc() {
            side.ssrc = packet.ssrc();
            playout.reset();
        }
        playout.push(now, packet.sequence(), packet.timestamp(), packet.payload());
    }

    /// From now on nothing is written; the recording's clock stands still.
    pub fn pause(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.advance(now, out);
        self.paused = true;
    }

    /// Goes on.
    pub fn resume(&mut self, now: Instant) {
        if std::mem::take(&mut self.paused) {
            self.next = now + FRAME;
        }
    }

    /// Appends what was heard up to `now`.
    pub fn advance(&mut self, now: Instant, out: &mut Vec<u8>) {
        for _ in 0..BEHIND_MAX {
            if self.next > now {
                return;
            }
            let mut frames = [[0; PLAYOUT_FRAME]; 2];
            for (side, frame) in self.sides.iter_mut().zip(&mut frames) {
                if let Some(playout) = &mut side.playout {
                    playout.pull(self.next, frame);
                }
            }
            self.next += FRAME;
            // What is said in a pause is heard by nobody, and not played afterwards.
            if !self.paused {
                self.write(&frames, out);
            }
        }
        self.next = now + FRAME;
    }

    /// Appends the end.
    pub fn finish(mut self, now: Instant, out: &mut Vec<u8>) {
        self.advance(now, out);
        if let Writer::Opus(ogg) = self.writer {
            ogg.finish(out);
        }
    }

    /// Length so far, without pauses.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(20 * self.frames)
    }

    fn write(&mut self, frames: &[[i16; PLAYOUT_FRAME]; 2], out: &mut Vec<u8>) {
        self.frames += 1;
        match &mut self.writer {
            Writer::Wav(resamplers) => {
                let mut narrow = [Vec::with_capacity(320), Vec::with_capacity(320)];
                for n in 0..2 {
                    resamplers[n].process(&frames[n], &mut narrow[n]);
                }
                let pairs = narrow[0].iter().zip(&narrow[1]);
                out.extend(pairs.flat_map(|(l, r)| [l.to_le_bytes(), r.to_le_bytes()]).flatten());
            }
            Writer::Opus(ogg) => {
                let pairs = frames[0].iter().zip(&frames[1]);
                let samples: Vec<i16> = pairs.flat_map(|(l, r)| [*l, *r]).collect();
                // 20 ms at 48 kHz: no length that libopus refuses.
                let _ = ogg.push(&samples, out);
            }
        }
    }
}
