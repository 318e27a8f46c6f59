//! `play media`, `stop media` and `play DTMF`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use audio::Wav;

use super::calls::Call;
use super::errand::{Performed, Task, Then};
use super::request::Request;
use super::value::Value;
use super::{Controlled, Entries, named};
use crate::api::SessionId;
use crate::bridge::{Rounds, SOUND_MAX, playable};
use crate::control::Control;
use crate::ports::Ports;

/// How long a digit is down unless said otherwise, and at most; as rtpengine.
const DIGIT_MS: u32 = 250;
const DIGIT_MS_MAX: u32 = 5000;

/// Sound for these parties.
#[derive(Debug, Clone)]
pub(super) struct Playing {
    session: SessionId,
    toward: Vec<Option<u32>>,
    rounds: Rounds,
}

impl Playing {
    /// Begins; what the controller is told.
    pub(super) fn begin<P: Ports>(
        &self,
        now: Instant,
        control: &mut Control<P>,
        sound: &Wav,
    ) -> Result<Entries, String> {
        if sound.duration_ms() > SOUND_MAX.as_millis() as u64 {
            let most = SOUND_MAX.as_secs();
            return Err(format!("The sound is longer than {most} s: play it in parts"));
        }
        for party in &self.toward {
            let played = control.play(now, self.session, *party, (sound, self.rounds));
            played.map_err(|why| why.to_string())?;
        }
        Ok(vec![("duration", Value::count(sound.duration_ms()))])
    }
}

/// The parties of a command that must name some.
pub(super) fn participants(call: &Call, request: &Request) -> Result<Vec<Option<u32>>, String> {
    let parties = &request.parties;
    let named = parties.from_tag.is_some() || parties.label.is_some() || parties.all;
    let meant = call.meant(parties);
    match (named, meant.is_empty()) {
        (false, _) => Err("No participant party specified".to_owned()),
        (true, true) if parties.from_tag.is_some() => {
            Err("From-tag given, but no such tag exists".to_owned())
        }
        (true, true) => Err("No such label".to_owned()),
        (true, false) => Ok(meant),
    }
}

impl Controlled {
    pub(super) fn play_media<P: Ports>(
        &mut self,
        now: Instant,
        control: &mut Control<P>,
        (request, message): (&Request, &Value),
    ) -> Result<Performed, String> {
        let call = self.calls.get(named(request)?).ok_or("Unknown call-id")?;
        let toward = participants(call, request)?;
        let number = |key: &str| {
            let n = message.get(key).or_else(|| message.get(&key.replace('-', " ")));
            n.and_then(Value::number).and_then(|n| u32::try_from(n).ok())
        };
        let rounds = Rounds {
            times: number("repeat-times").unwrap_or(1),
            within: number("repeat-duration").map(|ms| Duration::from_millis(u64::from(ms))),
        };
        let playing = Playing { session: call.session, toward, rounds };
        if let Some(path) = message.get("file").and_then(Value::str) {
            let rate = |party: &Option<u32>| {
                let codec = control.sound_codec(playing.session, *party);
                codec.map(|codec| playable(&codec).map_or(8000, |kind| kind.sample_rate()))
            };
            let rates: Result<Vec<u32>, _> = playing.toward.iter().map(rate).collect();
            let rates = rates.map_err(|why| why.to_string())?;
            let rate_max = rates.into_iter().max().unwrap_or(8000);
            let task = Task::Fetch { path: PathBuf::from(path), rate_max };
            return Ok(Performed::Errand(task, Then::Play(playing)));
        }
        let blob = message.get("blob").and_then(Value::bytes);
        let blob = blob.ok_or("No media file specified: give `file` or `blob`")?;
        let sound = Wav::parse(blob);
        let sound =
            sound.map_err(|why| format!("Failed to start media playback from blob ({why})"))?;
        playing.begin(now, control, &sound).map(Performed::Told)
    }

    pub(super) fn stop_media<P: Ports>(
        &mut self,
        control: &mut Control<P>,
        request: &Request,
    ) -> Result<Entries, String> {
        let call = self.calls.get(named(request)?).ok_or("Unknown call-id")?;
        for party in participants(call, request)? {
            control.stop_playing(call.session, party);
        }
        Ok(Vec::new())
    }

    pub(super) fn play_digit<P: Ports>(
        &mut self,
        now: Instant,
        control: &mut Control<P>,
        (request, message): (&Request, &Value),
    ) -> Result<Entries, String> {
        let call = self.calls.get(named(request)?).ok_or("Unknown call-id")?;
        let parties = participants(call, request)?;
        let code = message.get("code").or_else(|| message.get("digit"));
        let digit = code.and_then(digit_of).ok_or("Out of range 'code' specified")?;
        let ms = message.get("duration").and_then(Value::number);
        let ms = ms.and_then(|ms| u32::try_from(ms).ok()).unwrap_or(DIGIT_MS);
        let pressed = (digit, ms.clamp(1, DIGIT_MS_MAX));
        for party in parties {
            if !control.inject_digit(now, call.session, party, pressed) {
                let why = "No way to send a digit: the call is not answered, too many digits wait, \
                           or the other side knows neither telephone-event nor a codec of ours";
                return Err(why.to_owned());
            }
        }
        Ok(Vec::new())
    }
}

/// A digit as a character, or as the number of its event (RFC 4733 §3.2).
fn digit_of(code: &Value) -> Option<char> {
    const EVENTS: &[u8; 16] = b"0123456789*#ABCD";
    let said = match code {
        Value::Integer(n) => return EVENTS.get(usize::try_from(*n).ok()?).map(|c| char::from(*c)),
        code => code.str()?.trim(),
    };
    let mut characters = said.chars().map(|c| c.to_ascii_uppercase());
    let digit = characters.next().filter(|c| EVENTS.iter().any(|e| char::from(*e) == *c))?;
    characters.next().is_none().then_some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_a_character_or_the_number_of_its_event() {
        let of = |code: Value| digit_of(&code);
        assert_eq!((of(Value::text("5")), of(Value::text("d"))), (Some('5'), Some('D')));
        assert_eq!((of(Value::Integer(11)), of(Value::Integer(16))), (Some('#'), None));
        for wrong in ["", "Z", "12", "٣"] {
            assert_eq!(of(Value::text(wrong)), None, "{wrong:?}");
        }
        assert_eq!(of(Value::Integer(-1)), None);
    }
}
