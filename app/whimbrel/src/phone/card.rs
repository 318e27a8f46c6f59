//! The sound card, when built with the feature `audio-device`; otherwise there is none.

#[cfg(feature = "audio-device")]
pub use with_device::{Microphone, Speaker, microphone, speaker};
#[cfg(not(feature = "audio-device"))]
pub use without::{Microphone, Speaker, microphone, speaker};

#[cfg(not(feature = "audio-device"))]
mod without {
    use crate::phone::sound::FRAME;

    /// Never made without a sound card.
    pub enum Microphone {}
    /// Never made without a sound card.
    pub enum Speaker {}

    impl Microphone {
        pub fn read(&mut self, _: &mut [i16; FRAME]) {
            match *self {}
        }
    }

    impl Speaker {
        pub fn write(&mut self, _: &[i16; FRAME]) {
            match *self {}
        }
    }

    pub fn microphone() -> Option<Microphone> {
        None
    }

    pub fn speaker() -> Option<Speaker> {
        None
    }
}

#[cfg(feature = "audio-device")]
mod with_device {
    use crate::phone::sound::FRAME;
    use audio::Resampler;
    use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex, PoisonError};

    /// A fifth of a second may wait between the card and us; older sound is dropped.
    const WAITING_MAX: usize = 10 * FRAME;
    const RATE: u32 = 48_000;

    type Queue = Arc<Mutex<VecDeque<i16>>>;

    /// The default input device.
    pub struct Microphone {
        queue: Queue,
        resampler: Resampler,
        ready: Vec<i16>,
        _stream: cpal::Stream,
    }

    /// The default output device.
    pub struct Speaker {
        queue: Queue,
        resampler: Resampler,
        channels: usize,
        _stream: cpal::Stream,
    }

    impl Microphone {
        pub fn read(&mut self, frame: &mut [i16; FRAME]) {
            let fresh: Vec<i16> = lock(&self.queue).drain(..).collect();
            self.resampler.process(&fresh, &mut self.ready);
            let excess = self.ready.len().saturating_sub(WAITING_MAX);
            self.ready.drain(..excess);
            let n = self.ready.len().min(FRAME);
            frame[..n].copy_from_slice(&self.ready[..n]);
            self.ready.drain(..n);
        }
    }

    impl Speaker {
        pub fn write(&mut self, frame: &[i16; FRAME]) {
            let mut out = Vec::with_capacity(FRAME);
            self.resampler.process(frame, &mut out);
            let mut queue = lock(&self.queue);
            for sample in out {
                for _ in 0..self.channels {
                    queue.push_back(sample);
                }
            }
            let excess = queue.len().saturating_sub(WAITING_MAX * self.channels);
            queue.drain(..excess);
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

    fn open_microphone() -> anyhow::Result<Microphone> {
        let device = cpal::default_host()
            .default_input_device()
            .ok_or_else(|| anyhow::anyhow!("no input device"))?;
        let config = device.default_input_config()?;
        let (rate, channels) = (config.sample_rate(), usize::from(config.channels()));
        let queue = Queue::default();
        let shared = Arc::clone(&queue);
        let stream = device.build_input_stream(
            config.config(),
            move |data: &[i16], _: &cpal::InputCallbackInfo| {
                let mut queue = lock(&shared);
                queue.extend(data.chunks(channels).map(|c| c[0]));
                let excess = queue.len().saturating_sub(WAITING_MAX);
                queue.drain(..excess);
            },
            |error| tracing::warn!(%error, "microphone"),
            None,
        )?;
        stream.play()?;
        let resampler = Resampler::new(rate, RATE)?;
        Ok(Microphone { queue, resampler, ready: Vec::new(), _stream: stream })
    }

    fn open_speaker() -> anyhow::Result<Speaker> {
        let device = cpal::default_host()
            .default_output_device()
            .ok_or_else(|| anyhow::anyhow!("no output device"))?;
        let config = device.default_output_config()?;
        let (rate, channels) = (config.sample_rate(), usize::from(config.channels()));
        let queue = Queue::default();
        let shared = Arc::clone(&queue);
        let stream = device.build_output_stream(
            config.config(),
            move |data: &mut [i16], _: &cpal::OutputCallbackInfo| {
                let mut queue = lock(&shared);
                data.fill_with(|| queue.pop_front().unwrap_or(0));
            },
            |error| tracing::warn!(%error, "loudspeaker"),
            None,
        )?;
        stream.play()?;
        let resampler = Resampler::new(RATE, rate)?;
        Ok(Speaker { queue, resampler, channels, _stream: stream })
    }

    fn lock(queue: &Queue) -> std::sync::MutexGuard<'_, VecDeque<i16>> {
        queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
