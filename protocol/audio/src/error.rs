//! Why audio cannot be coded or read.

/// What can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The codec library refused a frame or a packet.
    #[error("codec {codec}: {reason}")]
    Codec {
        /// Name of the codec.
        codec: &'static str,
        /// What the library says.
        reason: &'static str,
    },
    /// A frame of a length the codec cannot code.
    #[error("codec {codec} cannot code a frame of {samples} samples")]
    FrameLength {
        /// Name of the codec.
        codec: &'static str,
        /// Samples given.
        samples: usize,
    },
    /// Not a WAV file this crate reads.
    #[error("WAV byte {at}: expected {expected}")]
    Wav {
        /// Offset in the file.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// A sample rate outside 1 to 384,000 Hz.
    #[error("sample rate {rate} Hz is not supported")]
    Rate {
        /// The rate in Hz.
        rate: u32,
    },
}
