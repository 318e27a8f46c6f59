//! Through cpal, in whatever sample format, rate and channel count the card has by default.

use crate::phone::sound::FRAME;
use anyhow::{Result, anyhow, bail};
use audio::Resampler;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{Device, FromSample, Sample, SampleFormat, SizedSample, StreamConfig};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const RATE: u32 = 48_000;
/// A fifth of a second may wait between the card and us; older sound is dropped.
const WAITING_MS: usize = 200;

type Queue = Arc<Mutex<VecDeque<i16>>>;

/// The default input device, mixed to one channel.
pub struct Microphone {
    queue: Queue,
    resampler: Resampler,
    ready: Vec<i16>,
    _stream: cpal::Stream,
}

/// The default output device; every channel plays the same.
pub struct Speaker {
    queue: Queue,
    resampler: Resampler,
    waiting_max: usize,
    _stream: cpal::Stream,
}

impl Microphone {
    /// The next 20 ms; silence for what is not there yet.
    pub fn read(&mut self, frame: &mut [i16; FRAME]) {
        let fresh: Vec<i16> = lock(&self.queue).drain(..).collect();
        self.resampler.process(&fresh, &mut self.ready);
        let excess = self.ready.len().saturating_sub(waiting_max(RATE));
        self.ready.drain(..excess);
        let n = self.ready.len().min(FRAME);
        frame[..n].copy_from_slice(&self.ready[..n]);
        self.ready.drain(..n);
    }
}

impl Speaker {
    /// The next 20 ms.
    pub fn write(&mut self, frame: &[i16; FRAME]) {
        let mut out = Vec::with_capacity(FRAME);
        self.resampler.process(frame, &mut out);
        push(&mut lock(&self.queue), out.into_iter(), self.waiting_max);
    }
}

/// Opens the default microphone; `None`, with the reason logged, where there is none.
pub fn microphone() -> Option<Microphone> {
    open_microphone().map_err(|e| tracing::warn!("no microphone: {e:#}")).ok()
}

/// Opens the default loudspeaker; `None`, with the reason logged, where there is none.
pub fn speaker() -> Option<Speaker> {
    open_speaker().map_err(|e| tracing::warn!("no loudspeaker: {e:#}")).ok()
}

fn open_microphone() -> Result<Microphone> {
    let device = cpal::default_host().default_input_device();
    let device = device.ok_or_else(|| anyhow!("no input device"))?;
    let default = device.default_input_config()?;
    let (config, queue) = (default.config(), Queue::default());
    let shared = Arc::clone(&queue);
    let stream = match default.sample_format() {
        SampleFormat::I8 => capture::<i8>(&device, config, shared),
        SampleFormat::I16 => capture::<i16>(&device, config, shared),
        SampleFormat::I24 => capture::<cpal::I24>(&device, config, shared),
        SampleFormat::I32 => capture::<i32>(&device, config, shared),
        SampleFormat::U8 => capture::<u8>(&device, config, shared),
        SampleFormat::U16 => capture::<u16>(&device, config, shared),
        SampleFormat::U32 => capture::<u32>(&device, config, shared),
        SampleFormat::F32 => capture::<f32>(&device, config, shared),
        SampleFormat::F64 => capture::<f64>(&device, config, shared),
        other => bail!("samples of format {other} are not understood"),
    }?;
    stream.play()?;
    let resampler = Resampler::new(config.sample_rate, RATE)?;
    Ok(Microphone { queue, resampler, ready: Vec::new(), _stream: stream })
}

fn open_speaker() -> Result<Speaker> {
    let device = cpal::default_host().default_output_device();
    let device = device.ok_or_else(|| anyhow!("no output device"))?;
    let default = device.default_output_config()?;
    let (config, queue) = (default.config(), Queue::default());
    let shared = Arc::clone(&queue);
    let stream = match default.sample_format() {
        SampleFormat::I8 => playback::<i8>(&device, config, shared),
        SampleFormat::I16 => playback::<i16>(&device, config, shared),
        SampleFormat::I24 => playback::<cpal::I24>(&device, config, shared),
        SampleFormat::I32 => playback::<i32>(&device, config, shared),
        SampleFormat::U8 => playback::<u8>(&device, config, shared),
        SampleFormat::U16 => playback::<u16>(&device, config, shared),
        SampleFormat::U32 => playback::<u32>(&device, config, shared),
        SampleFormat::F32 => playback::<f32>(&device, config, shared),
        SampleFormat::F64 => playback::<f64>(&device, config, shared),
        other => bail!("samples of format {other} are not understood"),
    }?;
    stream.play()?;
    let resampler = Resampler::new(RATE, config.sample_rate)?;
    let waiting_max = waiting_max(config.sample_rate);
    Ok(Speaker { queue, resampler, waiting_max, _stream: stream })
}

fn capture<T>(device: &Device, config: StreamConfig, queue: Queue) -> Result<cpal::Stream>
where
    T: SizedSample,
    i16: FromSample<T>,
{
    let (channels, max) = (usize::from(config.channels), waiting_max(config.sample_rate));
    let heard = move |data: &[T], _: &cpal::InputCallbackInfo| {
        push(&mut lock(&queue), data.chunks(channels).map(mix), max);
    };
    let wrong = |error| tracing::warn!(%error, "microphone");
    Ok(device.build_input_stream(config, heard, wrong, None)?)
}

fn playback<T>(device: &Device, config: StreamConfig, queue: Queue) -> Result<cpal::Stream>
where
    T: SizedSample + FromSample<i16>,
{
    let channels = usize::from(config.channels);
    let wanted = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
        let mut queue = lock(&queue);
        for frame in data.chunks_mut(channels) {
            frame.fill(T::from_sample(queue.pop_front().unwrap_or(0)));
        }
    };
    let wrong = |error| tracing::warn!(%error, "loudspeaker");
    Ok(device.build_output_stream(config, wanted, wrong, None)?)
}

/// The mean of a frame's channels: a microphone may be on either side.
fn mix<T: Sample>(frame: &[T]) -> i16
where
    i16: FromSample<T>,
{
    let sum: i32 = frame.iter().map(|s| i32::from(i16::from_sample(*s))).sum();
    // The mean of 16-bit numbers is one; a frame has a few channels.
    (sum / (frame.len().max(1) as i32)) as i16
}

fn push(queue: &mut VecDeque<i16>, samples: impl Iterator<Item = i16>, max: usize) {
    queue.extend(samples);
    let excess = queue.len().saturating_sub(max);
    queue.drain(..excess);
}

fn waiting_max(rate: u32) -> usize {
    rate as usize * WAITING_MS / 1000
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<i16>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that has ALSA's null device as its sound card.
    const INSIDE: &str = "WHIMBREL_TEST_NULL_CARD";

    #[test]
    fn channels_are_mixed_and_formats_converted() {
        assert_eq!(mix(&[100_i16, 300]), 200);
        assert_eq!(mix(&[0.5_f32, 0.5]), 16_384);
        assert_eq!(mix(&[u8::MAX / 2 + 1]), 0);
        let mut queue = VecDeque::from([1, 2]);
        push(&mut queue, [3, 4].into_iter(), 3);
        assert_eq!(queue, [2, 3, 4]);
    }

    /// Run once more in a process of its own: ALSA reads its configuration once per process.
    #[test]
    fn the_null_card_is_opened_played_to_and_listened_to() {
        if std::env::var_os(INSIDE).is_some() {
            let (mut microphone, mut speaker) =
                (open_microphone().unwrap(), open_speaker().unwrap());
            let mut frame = [5; FRAME];
            speaker.write(&frame);
            microphone.read(&mut frame);
            return;
        }
        let asoundrc = std::env::temp_dir().join(format!("asoundrc-{}", std::process::id()));
        std::fs::write(&asoundrc, "pcm.!default { type null }\nctl.!default { type null }\n")
            .unwrap();
        let name = "the_null_card_is_opened_played_to_and_listened_to";
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([name, "--nocapture"]).env(INSIDE, "1").env("ALSA_CONFIG_PATH", &asoundrc);
        let output = again.output().unwrap();
        std::fs::remove_file(&asoundrc).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}{errors}");
    }
}
