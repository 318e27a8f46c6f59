//! Digits in a stream that passes as it came: from the first one on, its packets are renumbered so
//! that more of them fit in.

use std::time::Instant;

use media::transcode::{DigitForm, EventsOut, Input, Meaning, Plan, SoundOut};

use super::player::playable;
use super::{Bridge, Leg, LegId, PayloadType};

const PTIME_MS: u32 = 20;

impl Bridge {
    /// Has the other side hear a key as if it was pressed at `from`: as a telephone event where it
    /// knows them, else as a tone. False when neither can be, or `from` talks with nobody.
    ///
    /// # Errors
    /// When a codec library cannot start.
    pub fn inject_digit(
        &mut self,
        now: Instant,
        from: LegId,
        (digit, duration_ms): (char, u32),
        ssrc: u32,
    ) -> Result<bool, audio::Error> {
        let Some(toward) = self.target_id(from) else { return Ok(false) };
        if !self.processes(from) {
            let Some(plan) = self.plan_of_injection(from, toward) else { return Ok(false) };
            self.open_way(now, (from, toward), plan, ssrc)?;
        }
        Ok(self.send_digit(now, toward, digit, duration_ms))
    }

    /// What lets packets pass and digits in.
    pub(super) fn plan_of_injection(&self, from: LegId, toward: LegId) -> Option<Plan> {
        let (from, toward) = (self.leg(from)?, self.leg(toward)?);
        let sound = toward.payloads().iter().find_map(|p| playable(p).map(|kind| (kind, p)));
        let clock = first_audio(toward).map(|p| p.clock_rate);
        let events = toward.payloads().iter().filter(|p| p.is_events());
        let events = events.min_by_key(|p| Some(p.clock_rate) != clock);
        let opens = events.is_none();
        // Without events a tone has to be put into the sound.
        let (codec, out) = sound.filter(|_| opens).unzip();
        if opens && codec.is_none() {
            return None;
        }
        let form = if opens { DigitForm::Inband } else { DigitForm::Events };
        let input = |p: &PayloadType| Input {
            payload_type: p.number,
            clock_rate: p.clock_rate,
            meaning: match playable(p) {
                _ if p.is_events() => Meaning::Events,
                _ if p.is_noise() => Meaning::ComfortNoise,
                Some(kind) if opens => Meaning::Sound(kind),
                _ => Meaning::Pass { payload_type: p.number },
            },
        };
        Some(Plan {
            inputs: from.payloads().iter().map(input).collect(),
            sound: codec.zip(out).map(|(codec, p)| SoundOut {
                codec,
                payload_type: p.number,
                ptime_ms: PTIME_MS,
                ptime_ms_max: PTIME_MS,
            }),
            events: events.map(|p| EventsOut { payload_type: p.number, clock_rate: p.clock_rate }),
            comfort_noise: toward.payloads().iter().find(|p| p.is_noise()).map(|p| p.number),
            digits_in: form,
            digits_out: form,
        })
    }
}

fn first_audio(leg: &Leg) -> Option<&PayloadType> {
    leg.payloads().iter().find(|p| !p.is_events() && !p.is_noise())
}
