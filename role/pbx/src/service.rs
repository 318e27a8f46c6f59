//! What is played for which call.

use audio::{PLAYOUT_FRAME, PLAYOUT_RATE, Tone};

/// 20 ms at 48 kHz.
pub(crate) type Frame = [i16; PLAYOUT_FRAME];

/// Peak of a sine at -13 dBov.
const TONE_AMPLITUDE: f64 = 10_375.0;
const TONE_HZ: f64 = 1000.0;

/// The greeting: two notes, a fifth apart, each dying away, then a breath.
const NOTES_HZ: [f64; 2] = [659.26, 987.77];
const NOTE_SAMPLES: usize = PLAYOUT_RATE as usize * 45 / 100;
const BREATH_SAMPLES: usize = PLAYOUT_RATE as usize / 10;
const CHIME_AMPLITUDE: f64 = 7000.0;
/// A note is down to a third after this time, in seconds.
const DECAY_S: f64 = 0.16;
/// Notes fade in and out over this many samples, so that they do not click.
const FADE_SAMPLES: usize = PLAYOUT_RATE as usize / 200;

/// A service that can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// A greeting, then what the caller says comes back.
    Echo,
    /// 1 kHz at -13 dBov.
    Tone,
}

impl Service {
    /// The service a Request-URI asks for, by its user part.
    pub fn of_target(uri: &str) -> Option<Self> {
        let uri = sip::SipUri::parse(uri.as_bytes()).ok()?;
        match uri.user()? {
            b"echo" => Some(Self::Echo),
            b"tone" => Some(Self::Tone),
            _ => None,
        }
    }

    /// The name of the service, its user part.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Tone => "tone",
        }
    }
}

/// Makes the sound of one call, frame by frame.
#[derive(Debug)]
pub struct Player(State);

#[derive(Debug)]
enum State {
    Greeting { chime: Vec<i16>, at: usize },
    Echo,
    Tone(Tone),
}

impl Player {
    /// At the start of a call.
    pub fn new(service: Service) -> Self {
        Self(match service {
            Service::Echo => State::Greeting { chime: chime(), at: 0 },
            Service::Tone => State::Tone(Tone::new(TONE_HZ, PLAYOUT_RATE, TONE_AMPLITUDE)),
        })
    }

    /// What is said while `heard` is heard.
    pub fn next(&mut self, heard: &Frame) -> Frame {
        let mut said = [0; PLAYOUT_FRAME];
        match &mut self.0 {
            State::Greeting { chime, at } => {
                let rest = &chime[*at..];
                let n = rest.len().min(PLAYOUT_FRAME);
                said[..n].copy_from_slice(&rest[..n]);
                *at += n;
                if *at == chime.len() {
                    self.0 = State::Echo;
                }
            }
            State::Echo => said = *heard,
            State::Tone(tone) => tone.fill(&mut said),
        }
        said
    }
}

fn chime() -> Vec<i16> {
    let mut out = Vec::with_capacity(NOTES_HZ.len() * NOTE_SAMPLES + BREATH_SAMPLES);
    for hz in NOTES_HZ {
        let note = Tone::new(hz, PLAYOUT_RATE, CHIME_AMPLITUDE).take(NOTE_SAMPLES);
        out.extend(note.enumerate().map(|(n, sample)| {
            let seconds = n as f64 / f64::from(PLAYOUT_RATE);
            let edge = n.min(NOTE_SAMPLES - n).min(FADE_SAMPLES) as f64 / FADE_SAMPLES as f64;
            (f64::from(sample) * (-seconds / DECAY_S).exp() * edge) as i16
        }));
    }
    out.resize(out.len() + BREATH_SAMPLES, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING_FRAMES: usize = 50;

    #[test]
    fn the_user_part_names_the_service() {
        assert_eq!(Service::of_target("sip:echo@192.0.2.1:5070"), Some(Service::Echo));
        assert_eq!(Service::of_target("sip:tone@x;transport=udp"), Some(Service::Tone));
        for other in ["sip:echoes@x", "sip:192.0.2.1", "tel:+1", "", "sip:"] {
            assert_eq!(Service::of_target(other), None, "{other}");
        }
        for service in [Service::Echo, Service::Tone] {
            let target = format!("sip:{}@h", service.as_str());
            assert_eq!(Service::of_target(&target), Some(service));
        }
    }

    #[test]
    fn the_tone_is_one_kilohertz_at_minus_thirteen() {
        let mut player = Player::new(Service::Tone);
        let samples: Vec<i16> = (0..50).flat_map(|_| player.next(&[0; PLAYOUT_FRAME])).collect();
        let crossings = samples.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        assert!((998..=1001).contains(&crossings), "{crossings}");
        assert!((audio::level::dbov(&samples) + 13.0).abs() < 0.1);
    }

    #[test]
    fn the_echo_greets_and_then_says_what_it_hears() {
        let mut player = Player::new(Service::Echo);
        let heard = [77; PLAYOUT_FRAME];
        let greeting: Vec<Frame> = (0..GREETING_FRAMES).map(|_| player.next(&heard)).collect();
        assert!(audio::level::dbov(&greeting.concat()) > -40.0);
        assert!(greeting.iter().all(|f| *f != heard));
        assert_eq!(player.next(&heard), heard);
    }

    #[test]
    fn the_greeting_starts_and_ends_without_a_click() {
        let chime = chime();
        let steps = chime.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs());
        assert!(steps.max().unwrap() < 1200);
        assert_eq!((chime[0], chime.last()), (0, Some(&0)));
    }
}
