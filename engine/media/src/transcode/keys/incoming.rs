//! Events that come: told as digits, or sounded as tones.

use std::time::Instant;

use audio::dtmf::ToneGenerator;
use rtp::dtmf::{DtmfEvent, EventPayload, Receiver};

use super::{Digit, EVENT_SILENCE, TONE_MS_MIN};

/// How a tone made of an event falls silent when the end came late.
const FALL_MS: u32 = 2;
/// Silence made after it: the sender may send nothing before its next packet of sound.
const PAUSE_MS: u32 = 40;

/// The events of one stream.
#[derive(Debug, Default)]
pub struct Incoming {
    receiver: Receiver,
    tone: Option<Tone>,
    heard_at: Option<Instant>,
    clock_rate: u32,
    /// The event that was passed last.
    passed: Option<(u32, u32)>,
}

#[derive(Debug)]
struct Tone {
    generator: ToneGenerator,
    samples: u32,
}

/// What an event packet asks of the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sounding {
    /// Nothing new.
    Nothing,
    /// A tone begins at the packet's timestamp.
    Begins,
    /// A tone that is sounding goes on or ends.
    Goes,
}

impl Incoming {
    /// Whether an event is down: sound beside it is not wanted.
    pub fn is_down(&self) -> bool {
        self.heard_at.is_some()
    }

    /// When an event whose end was lost is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.heard_at.map(|at| at + EVENT_SILENCE)
    }

    /// Takes a packet for whoever is told digits in whole.
    pub fn receive(
        &mut self,
        now: Instant,
        timestamp: u32,
        clock_rate: u32,
        payload: &[u8],
        mut tell: impl FnMut(Digit),
    ) -> Sounding {
        self.clock_rate = clock_rate.max(1000);
        let mut sounding = Sounding::Nothing;
        for event in self.receiver.handle_payload(timestamp, payload).into_iter().flatten() {
            match event {
                DtmfEvent::Started(_) => {
                    self.heard_at = Some(now);
                    sounding = Sounding::Begins;
                }
                DtmfEvent::Ended { digit, duration } => {
                    // The end of an earlier event comes before the start of this one.
                    if sounding == Sounding::Begins {
                        self.heard_at = None;
                    } else if self.heard_at.take().is_some() {
                        sounding = Sounding::Goes;
                    }
                    tell(self.digit(digit, duration));
                }
            }
        }
        if let Some(at) = &mut self.heard_at {
            *at = now;
            if sounding == Sounding::Nothing {
                sounding = Sounding::Goes;
            }
        }
        sounding
    }

    /// Ends an event of which nothing was heard for long.
    pub fn finish_silent(&mut self, now: Instant) -> Option<Digit> {
        if now < self.deadline()? {
            return None;
        }
        self.heard_at = None;
        self.tone = None;
        match self.receiver.finish()? {
            DtmfEvent::Ended { digit, duration } => Some(self.digit(digit, duration)),
            DtmfEvent::Started(_) => None,
        }
    }

    /// Appends the tone of an event as far as its packet says. Gives the samples appended.
    pub fn sound(&mut self, begins: bool, payload: &[u8], rate: u32, out: &mut Vec<i16>) -> usize {
        let Ok(event) = EventPayload::parse(payload) else { return 0 };
        let start = out.len();
        if begins {
            let digit = rtp::dtmf::digit(event.event);
            let generator = digit.and_then(|digit| ToneGenerator::new(digit, rate));
            self.tone = generator.map(|generator| Tone { generator, samples: 0 });
        }
        let Some(tone) = &mut self.tone else { return 0 };
        let total = u64::from(event.duration) * u64::from(rate) / u64::from(self.clock_rate);
        let mut total = total as u32;
        if event.end {
            total = total.max(rate / 1000 * TONE_MS_MIN);
        }
        let mut due = total.saturating_sub(tone.samples);
        if event.end {
            due = due.max(rate / 1000 * FALL_MS);
            tone.generator.end_after(due);
        }
        out.extend(tone.generator.by_ref().take(due as usize));
        tone.samples += due;
        if event.end {
            self.tone = None;
            out.resize(out.len() + (rate / 1000 * PAUSE_MS) as usize, 0);
        }
        out.len() - start
    }

    /// Translates an event's packet for a receiver with another clock: its timestamp's distance
    /// from the start, the payload, whether it is the first of its event; and before it, when the
    /// event grew into another segment, the last packet of the one before (RFC 4733 §2.5.1.3).
    pub fn pass(
        &mut self,
        timestamp: u32,
        clock_in: u32,
        clock_out: u32,
        payload: &[u8],
    ) -> Option<Passed> {
        const SEGMENT: u32 = 0xf000;
        let mut event = EventPayload::parse(payload).ok()?;
        let ticks = u64::from(event.duration) * u64::from(clock_out) / u64::from(clock_in.max(1));
        let ticks = ticks as u32;
        let base =
            if clock_in == clock_out { 0 } else { ticks.saturating_sub(1) / SEGMENT * SEGMENT };
        let known = self.passed.filter(|(start, _)| *start == timestamp);
        let grown = known.is_some_and(|(_, before)| base > before);
        self.passed = Some((timestamp, base.max(known.map_or(0, |(_, before)| before))));
        let completed = grown.then(|| {
            let full = EventPayload { end: false, duration: SEGMENT as u16, ..event };
            (base - SEGMENT, full.to_bytes())
        });
        event.duration = (ticks - base) as u16;
        Some(Passed { completed, offset: base, payload: event.to_bytes(), first: known.is_none() })
    }

    fn digit(&self, digit: char, duration: u32) -> Digit {
        let ms = u64::from(duration) * 1000 / u64::from(self.clock_rate);
        Digit { digit, duration_ms: ms as u32 }
    }
}

/// See [`Incoming::pass`].
#[derive(Debug)]
pub struct Passed {
    pub completed: Option<(u32, [u8; 4])>,
    pub offset: u32,
    pub payload: [u8; 4],
    pub first: bool,
}
