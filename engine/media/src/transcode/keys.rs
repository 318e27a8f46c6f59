//! Digits on their way through: events, INFO and tones, each into each (R5.7).

mod heard;
mod incoming;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use audio::dtmf::ToneGenerator;
use rtp::dtmf::Sender;

use super::output::Output;
use super::plan::{DigitForm, EventsOut, Plan};
use heard::Heard;
pub(super) use incoming::{Incoming, Sounding};

/// Digits that may wait to be sent or told.
pub const DIGITS_MAX: usize = 64;
/// An event whose end was lost is over after this long without a packet of it.
pub(super) const EVENT_SILENCE: Duration = Duration::from_millis(120);
/// Silence after a tone, so that the next is told apart (Q.24).
const PAUSE_MS: u32 = 60;
/// Tones shorter than this are not recognised everywhere (Q.24).
pub(super) const TONE_MS_MIN: u32 = 40;

/// A key pressed, in whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// `0-9*#A-D`.
    pub digit: char,
    /// How long it was down.
    pub duration_ms: u32,
}

/// What becomes of a frame of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    Drop,
}

/// The digits of one direction.
#[derive(Debug)]
pub(super) struct Keys {
    form_out: DigitForm,
    /// Events that come.
    pub incoming: Incoming,
    /// Tones that come.
    heard: Option<Box<Heard>>,
    /// Events that leave because a command said so.
    sender: Option<Sender>,
    tones: VecDeque<Digit>,
    tone: Option<ToneGenerator>,
    /// Samples of silence still due after a tone.
    pause: usize,
    rate: u32,
    told: VecDeque<Digit>,
}

impl Keys {
    pub(super) fn new(plan: &Plan, rate: u32, ptime_ms: u32) -> Result<Self, audio::Error> {
        let listens = plan.digits_in == DigitForm::Inband && plan.digits_out != DigitForm::Inband;
        let heard = listens.then(|| Heard::new(rate, plan.events)).transpose()?;
        let sender = plan.events.map(|events| Sender::new(events.clock_rate, ptime_ms));
        Ok(Self {
            form_out: plan.digits_out,
            incoming: Incoming::default(),
            heard: heard.map(Box::new),
            sender: sender.filter(|_| plan.digits_out == DigitForm::Events),
            tones: VecDeque::new(),
            tone: None,
            pause: 0,
            rate,
            told: VecDeque::new(),
        })
    }

    /// Packets are of another length from now on. Only where no digit is under way.
    pub(super) fn set_ptime(&mut self, events: Option<EventsOut>, ptime_ms: u32) {
        if let (Some(sender), Some(events)) = (&mut self.sender, events) {
            *sender = Sender::new(events.clock_rate, ptime_ms);
        }
    }

    /// A digit to send in the receiver's form; false when too many wait or the receiver has none.
    pub(super) fn send(&mut self, digit: Digit) -> bool {
        match self.form_out {
            DigitForm::Events => {
                let sender = self.sender.as_mut();
                sender.is_some_and(|s| s.push(digit.digit, digit.duration_ms).is_ok())
            }
            DigitForm::Info => self.tell(digit),
            DigitForm::Inband if self.tones.len() < DIGITS_MAX => {
                self.tones.push_back(digit);
                audio::dtmf::frequencies(digit.digit).is_some()
            }
            DigitForm::Inband => false,
        }
    }

    pub(super) fn tell(&mut self, digit: Digit) -> bool {
        let room = self.told.len() < DIGITS_MAX;
        if room {
            self.told.push_back(digit);
        }
        room
    }

    pub(super) fn poll_digit(&mut self) -> Option<Digit> {
        self.told.pop_front()
    }

    /// Whether frames are needed, though nothing comes.
    pub(super) fn has_to_send(&self) -> bool {
        let events = self.sender.as_ref().is_some_and(Sender::is_active);
        let repeats = self.heard.as_ref().is_some_and(|heard| heard.is_busy());
        events || repeats || self.tone.is_some() || !self.tones.is_empty() || self.pause > 0
    }

    /// The event packet that takes the place of sound at `timestamp`, if one does.
    pub(super) fn event_due(&mut self, timestamp: u32, out: &mut Output) -> bool {
        let Some(sender) = self.sender.as_mut().filter(|sender| sender.is_active()) else {
            return false;
        };
        let packet = sender.poll(timestamp);
        if let Some(packet) = packet {
            out.send_event(packet.timestamp, packet.marker, packet.payload.to_bytes());
        }
        packet.is_some()
    }

    /// Looks at the frame that is due, changes it, sends events in its place.
    pub(super) fn frame(&mut self, out: &mut Output) -> Verdict {
        if let Some(heard) = &mut self.heard {
            let told = &mut self.told;
            let verdict = heard.frame(out, |digit| {
                if told.len() < DIGITS_MAX {
                    told.push_back(digit);
                }
            });
            if verdict == Verdict::Drop {
                return verdict;
            }
        }
        if self.event_due(out.timestamp(), out) {
            return Verdict::Drop;
        }
        self.sound_tones(out.next_frame());
        Verdict::Send
    }

    /// The sound stops, or jumps to another time.
    pub(super) fn pause(&mut self) {
        if let Some(heard) = &mut self.heard {
            let told = &mut self.told;
            heard.pause(|digit| {
                if told.len() < DIGITS_MAX {
                    told.push_back(digit);
                }
            });
        }
    }

    /// Tells an event whose end did not come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(digit) = self.incoming.finish_silent(now)
            && self.form_out == DigitForm::Info
        {
            self.tell(digit);
        }
    }

    fn sound_tones(&mut self, frame: &mut [i16]) {
        if self.tone.is_none() && self.tones.is_empty() && self.pause == 0 {
            return;
        }
        for sample in frame {
            if self.pause > 0 {
                self.pause -= 1;
                *sample = 0;
                continue;
            }
            if self.tone.is_none() {
                let Some(next) = self.tones.pop_front() else { return };
                self.tone = ToneGenerator::new(next.digit, self.rate);
                let ms = next.duration_ms.clamp(TONE_MS_MIN, 10_000);
                let samples = self.rate / 1000 * ms;
                self.tone.iter_mut().for_each(|tone| tone.end_after(samples));
            }
            let Some(tone) = &mut self.tone else { continue };
            *sample = tone.next().unwrap_or(0);
            if tone.is_over() {
                self.tone = None;
                self.pause = (self.rate / 1000 * PAUSE_MS) as usize;
            }
        }
    }
}
