//! The sound card, when built with the feature `audio-device`; otherwise there is none.

#[cfg(feature = "audio-device")]
pub use with_device::{Microphone, Speaker, microphone, speaker};
#[cfg(not(feature = "audio-device"))]
pub use without::{Microphone, Speaker, microphone, speaker};

#[cfg(feature = "audio-device")]
mod with_device;

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
