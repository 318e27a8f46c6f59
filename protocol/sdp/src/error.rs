//! Why a description cannot be read.

/// A description that cannot be read: where, what was expected, and which rule says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SDP line {line} (byte {at}): expected {expected} ({rfc})")]
#[non_exhaustive]
pub struct ParseError {
    /// Byte offset of the offending line.
    pub at: usize,
    /// Its number, from 1.
    pub line: usize,
    /// What should have been there.
    pub expected: &'static str,
    /// The rule, such as `RFC 8866 §5`.
    pub rfc: &'static str,
}
