//! What was wrong with a message, where, and by which rule.

/// Why bytes are not a SIP message, or a header value is not what its RFC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}: expected {expected} ({rfc})")]
pub struct ParseError {
    /// Offset in the message, or in the value when a single value was parsed.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
    /// The rule, as `RFC 3261 §x`.
    pub rfc: &'static str,
    /// The kind of fault, which decides [`ParseError::status`].
    pub kind: ParseErrorKind,
}

impl ParseError {
    /// The status with which a server answers a request that has this fault.
    pub fn status(&self) -> u16 {
        match self.kind {
            ParseErrorKind::Version => 505,
            ParseErrorKind::UnknownMethod => 501,
            ParseErrorKind::TooLarge | ParseErrorKind::TooManyHeaders => 513,
            _ => 400,
        }
    }

    pub(crate) const fn new(
        kind: ParseErrorKind,
        at: usize,
        expected: &'static str,
        rfc: &'static str,
    ) -> Self {
        Self { at, expected, rfc, kind }
    }

    pub(crate) const fn syntax(at: usize, expected: &'static str, rfc: &'static str) -> Self {
        Self::new(ParseErrorKind::Syntax, at, expected, rfc)
    }

    /// The same fault, when the value parsed starts at `base` of the message.
    pub(crate) const fn shifted(mut self, base: usize) -> Self {
        self.at += base;
        self
    }
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The bytes do not follow the grammar.
    #[error("bad syntax")]
    Syntax,
    /// The message ends before its headers or its body do.
    #[error("message cut short")]
    Incomplete,
    /// A header that must be there is not (RFC 3261 §8.1.1).
    #[error("missing header")]
    Missing,
    /// A header that may stand once stands again with another value.
    #[error("repeated header")]
    Repeated,
    /// Two parts of the message contradict each other.
    #[error("contradiction")]
    Mismatch,
    /// As [`ParseErrorKind::Mismatch`] of the methods in request line and CSeq, the first of which
    /// nobody knows. RFC 4475 §3.1.2.18 would rather have it answered as unknown than as malformed.
    #[error("unknown method, and another in CSeq")]
    UnknownMethod,
    /// A number is outside its range.
    #[error("number out of range")]
    Range,
    /// Not SIP/2.0.
    #[error("unsupported version")]
    Version,
    /// Larger than [`Limits::message_bytes_max`](crate::Limits::message_bytes_max).
    #[error("message too large")]
    TooLarge,
    /// More lines than [`Limits::headers_max`](crate::Limits::headers_max).
    #[error("too many headers")]
    TooManyHeaders,
}
