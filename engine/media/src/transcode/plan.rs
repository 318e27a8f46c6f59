//! What a direction's packets are, and what becomes of them.

use audio::CodecKind;

/// One direction of a call: from who sends to who is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The sender's payload types. What is not among them is dropped.
    pub inputs: Vec<Input>,
    /// What sound becomes that is not passed.
    pub sound: Option<SoundOut>,
    /// The receiver's telephone events.
    pub events: Option<EventsOut>,
    /// The receiver's payload type for comfort noise (RFC 3389).
    pub comfort_noise: Option<u8>,
    /// How the sender gives digits.
    pub digits_in: DigitForm,
    /// How the receiver wants them.
    pub digits_out: DigitForm,
}

/// One of the sender's payload types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Its number.
    pub payload_type: u8,
    /// Its clock in Hz.
    pub clock_rate: u32,
    /// What it is.
    pub meaning: Meaning,
}

/// What a payload type means for its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The receiver understands it, under this number.
    Pass {
        /// The receiver's number.
        payload_type: u8,
    },
    /// To decode, and to code anew.
    Sound(CodecKind),
    /// Telephone events (RFC 4733).
    Events,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
}

/// How sound leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundOut {
    /// The codec.
    pub codec: CodecKind,
    /// The receiver's number for it.
    pub payload_type: u8,
    /// How much goes into a packet; [`PTIMES_MS`] has what counts, another is 20.
    pub ptime_ms: u32,
    /// The most that may, where the way to the receiver turns bad.
    pub ptime_ms_max: u32,
}

/// Packet times that every codec here can make.
pub const PTIMES_MS: [u32; 5] = [10, 20, 30, 40, 60];

/// How telephone events leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsOut {
    /// The receiver's number.
    pub payload_type: u8,
    /// Their clock in Hz.
    pub clock_rate: u32,
}

/// How digits travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DigitForm {
    /// Telephone events.
    #[default]
    Events,
    /// SIP INFO: they leave by [`super::Transcoder::poll_digit`] and come by
    /// [`super::Transcoder::send_digit`].
    Info,
    /// Tones in the sound.
    Inband,
}

impl Plan {
    /// Whether packets would leave as they came: no transcoder is needed then.
    pub fn is_identity(&self) -> bool {
        let same = |input: &Input| match input.meaning {
            Meaning::Pass { payload_type } => payload_type == input.payload_type,
            Meaning::Sound(_) => false,
            // What the receiver does not know was not agreed either: nobody sends it.
            Meaning::Events => self.events.is_none_or(|events| {
                events.payload_type == input.payload_type && events.clock_rate == input.clock_rate
            }),
            Meaning::ComfortNoise => {
                self.comfort_noise.is_none_or(|number| number == input.payload_type)
            }
        };
        self.digits_in == self.digits_out && self.inputs.iter().all(same)
    }

    pub(super) fn input(&self, payload_type: u8) -> Option<Input> {
        self.inputs.iter().find(|input| input.payload_type == payload_type).copied()
    }

    /// The rate that sound is worked on at: the lowest that loses nothing of what is heard.
    pub(super) fn work_rate(&self) -> u32 {
        let Some(out) = self.sound else { return 8000 };
        if out.codec != CodecKind::Opus {
            return out.codec.sample_rate();
        }
        let rates = self.inputs.iter().filter_map(|input| match input.meaning {
            Meaning::Sound(kind) => Some(kind.sample_rate()),
            _ => None,
        });
        rates.max().unwrap_or(8000)
    }

    /// The receiver's clock: that of its sound, or of what passes.
    pub(super) fn clock_out(&self) -> Option<u32> {
        self.sound.map(|sound| sound.codec.clock_rate())
    }
}
