//! How much of a stranger's message we are willing to look at.

/// Ceilings of one message. Crossing one is a named [`ParseError`](crate::ParseError) with status
/// 513 (RFC 3261 §21.5.7), never a silent truncation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole message, start line to end of body.
    pub message_bytes_max: usize,
    /// Header field lines.
    pub headers_max: usize,
}

impl Limits {
    /// 65,535 bytes (what a datagram can carry) and 256 header lines.
    pub const DEFAULT: Self = Self { message_bytes_max: 65_535, headers_max: 256 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
