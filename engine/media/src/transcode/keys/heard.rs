//! Tones that are heard, and leave as events or INFO. The tone itself stays here.

use audio::dtmf::{DETECTOR_RATE, ToneDetector, ToneEvent};
use audio::{Error, Resampler};
use rtp::dtmf::{EventPayload, event_code};

use super::{Digit, Verdict};
use crate::transcode::output::Output;
use crate::transcode::plan::EventsOut;

/// The final packet is sent this often (RFC 4733 §2.5.1.4).
const END_PACKETS: u8 = 3;
/// -10 dBm0.
const VOLUME: u8 = 10;
/// A segment of an event that is longer than its duration field (RFC 4733 §2.5.1.3).
const SEGMENT: u32 = 0xf000;

/// Listens to frames.
#[derive(Debug)]
pub(super) struct Heard {
    detector: ToneDetector,
    resampler: Option<Resampler>,
    scratch: Vec<i16>,
    events: Option<EventsOut>,
    /// The receiver's time at a position of the detector's; unknown after a pause.
    origin: Option<(u32, u64)>,
    sending: Option<Sending>,
}

/// An event on its way out.
#[derive(Debug, Clone, Copy)]
struct Sending {
    digit: char,
    timestamp: u32,
    marked: bool,
    ended: Option<u32>,
    repeats: u8,
}

impl Heard {
    pub(super) fn new(rate: u32, events: Option<EventsOut>) -> Result<Self, Error> {
        let resampler = match rate {
            DETECTOR_RATE => None,
            _ => Some(Resampler::new(rate, DETECTOR_RATE)?),
        };
        Ok(Self {
            detector: ToneDetector::new(),
            resampler,
            scratch: Vec::with_capacity(960),
            events,
            origin: None,
            sending: None,
        })
    }

    /// Whether frames are needed to say the end.
    pub(super) fn is_busy(&self) -> bool {
        self.sending.is_some_and(|sending| sending.ended.is_some())
    }

    pub(super) fn frame(&mut self, out: &mut Output, mut tell: impl FnMut(Digit)) -> Verdict {
        let timestamp = out.timestamp();
        let origin = *self.origin.get_or_insert((timestamp, self.detector.position()));
        let clock = self.events.map_or(DETECTOR_RATE, |events| events.clock_rate);
        let ticks = |samples: u64| (samples * u64::from(clock) / u64::from(DETECTOR_RATE)) as u32;
        let sending = &mut self.sending;
        let on_event = |event| match event {
            ToneEvent::Started { digit, at } => {
                // A tone may have begun before the pause that the origin stands for.
                let timestamp = origin.0.wrapping_add(ticks(at.saturating_sub(origin.1)));
                *sending = Some(Sending {
                    digit,
                    timestamp,
                    marked: false,
                    ended: None,
                    repeats: END_PACKETS,
                });
            }
            ToneEvent::Ended { digit, samples, .. } => {
                tell_if(self.events.is_none(), digit, samples, &mut tell);
                sending.iter_mut().for_each(|sending| sending.ended = Some(ticks(samples)));
            }
        };
        match &mut self.resampler {
            None => self.detector.process(out.next_frame(), on_event),
            Some(resampler) => {
                self.scratch.clear();
                resampler.process(out.next_frame(), &mut self.scratch);
                self.detector.process(&self.scratch, on_event);
            }
        }
        if self.events.is_none() {
            self.sending = None;
        } else if self.send(out, self.detector.pressed_samples().map(ticks)) {
            return Verdict::Drop;
        }
        if self.detector.is_suspected() {
            out.next_frame().fill(0);
        }
        Verdict::Send
    }

    /// The sound stops: so does a tone.
    pub(super) fn pause(&mut self, mut tell: impl FnMut(Digit)) {
        let info = self.events.is_none();
        let clock = self.events.map_or(DETECTOR_RATE, |events| events.clock_rate);
        let sending = &mut self.sending;
        self.detector.finish(|event| {
            if let ToneEvent::Ended { digit, samples, .. } = event {
                tell_if(info, digit, samples, &mut tell);
                let ticks = (samples * u64::from(clock) / u64::from(DETECTOR_RATE)) as u32;
                sending.iter_mut().for_each(|sending| sending.ended = Some(ticks));
            }
        });
        self.origin = None;
    }

    /// Sends where the event stands; whether there was one.
    fn send(&mut self, out: &mut Output, so_far: Option<u32>) -> bool {
        let Some(sending) = &mut self.sending else { return false };
        let Some(event) = event_code(sending.digit) else { return false };
        let duration = sending.ended.or(so_far).unwrap_or(1);
        let end = sending.ended.is_some();
        let base = duration.saturating_sub(1) / SEGMENT * SEGMENT;
        let payload =
            EventPayload { event, end, volume: VOLUME, duration: (duration - base) as u16 };
        let timestamp = sending.timestamp.wrapping_add(base);
        let marker = !std::mem::replace(&mut sending.marked, true);
        out.send_event(timestamp, marker, payload.to_bytes());
        if end {
            sending.repeats -= 1;
            if sending.repeats == 0 {
                self.sending = None;
            }
        }
        true
    }
}

fn tell_if(info: bool, digit: char, samples: u64, tell: &mut impl FnMut(Digit)) {
    if info {
        tell(Digit { digit, duration_ms: (samples * 1000 / u64::from(DETECTOR_RATE)) as u32 });
    }
}
