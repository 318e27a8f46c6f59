//! What became of the recording of a call.

use std::fmt;

/// What happened, for records, metrics and whoever guards calls that must be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The SRS took the call: it is recorded from now on.
    Started {
        /// The call.
        call: u64,
    },
    /// The SRS did not take the call.
    Failed {
        /// The call.
        call: u64,
        /// Why.
        why: Failure,
        /// Whether it will be offered again.
        again: bool,
        /// Whether it is the first since the call was recorded last, or the end of it: an SRS that
        /// is away for an hour fails each call every half minute.
        is_news: bool,
    },
    /// It was recorded, and no longer is, though the call goes on.
    Lost {
        /// The call.
        call: u64,
        /// Why.
        why: Failure,
        /// Whether it will be offered again.
        again: bool,
    },
    /// The recording ended with the call.
    Ended {
        /// The call.
        call: u64,
    },
}

impl Event {
    /// The call.
    pub fn call(&self) -> u64 {
        match self {
            Self::Started { call }
            | Self::Failed { call, .. }
            | Self::Lost { call, .. }
            | Self::Ended { call } => *call,
        }
    }

    /// Whether nothing more will be told of this call.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Started { .. } => false,
            Self::Failed { again, .. } | Self::Lost { again, .. } => !again,
            Self::Ended { .. } => true,
        }
    }
}

/// Why a call is not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No connection to the SRS.
    Unreachable(String),
    /// It did not answer in time.
    NoAnswer,
    /// It answered this.
    Refused(u16),
    /// The call's media does not cross the relay.
    NoMedia,
    /// It took no stream, or its description does not fit.
    Media(String),
    /// It ended the recording session itself.
    EndedByServer,
    /// It does not know the recording session any more.
    Forgotten,
    /// As many calls are recorded as may be.
    TooMany,
}

impl Failure {
    /// Whether the same call would meet the same again: the SRS has decided.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Refused(status) => {
                matches!(status, 400..=407 | 409..=479 | 482..=485 | 487..=499 | 600..)
            }
            Self::EndedByServer | Self::NoMedia => true,
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "the recording server cannot be reached: {why}"),
            Self::NoAnswer => f.write_str("the recording server does not answer"),
            Self::Refused(status) => write!(f, "the recording server answered {status}"),
            Self::NoMedia => f.write_str("its media does not cross the relay"),
            Self::Media(why) => write!(f, "the recording server's description: {why}"),
            Self::EndedByServer => f.write_str("the recording server ended the recording"),
            Self::Forgotten => f.write_str("the recording server knows the recording no more"),
            Self::TooMany => {
                f.write_str("as many calls are recorded as recording.siprec.sessions_max allows")
            }
        }
    }
}
