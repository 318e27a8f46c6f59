//! Why a REGISTER is refused, and what to answer.

use cluster::LogError;

/// A refused REGISTER.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
}

impl Refusal {
    /// For this reason.
    pub fn new(reason: RefusalReason) -> Self {
        Self { reason }
    }

    /// The SIP status to give.
    pub fn status(&self) -> u16 {
        match &self.reason {
            RefusalReason::Malformed(_)
            | RefusalReason::StarNotAlone
            | RefusalReason::StarNeedsZero => 400,
            RefusalReason::TooManyContacts => 403,
            RefusalReason::IntervalTooBrief { .. } => 423,
            RefusalReason::OutOfOrder => 500,
            RefusalReason::NotWritten(LogError::Busy { .. } | LogError::Closed) => 503,
            RefusalReason::NotWritten(_) => 500,
        }
    }

    /// The reason phrase: short, free of personal data and of file names.
    pub fn phrase(&self) -> String {
        match &self.reason {
            RefusalReason::Malformed(header) => format!("Bad {header}"),
            RefusalReason::StarNotAlone => "Contact * Must Stand Alone".to_owned(),
            RefusalReason::StarNeedsZero => "Contact * Needs Expires 0".to_owned(),
            RefusalReason::TooManyContacts => "Too Many Contacts".to_owned(),
            RefusalReason::IntervalTooBrief { .. } => "Interval Too Brief".to_owned(),
            RefusalReason::OutOfOrder => "CSeq Out Of Order".to_owned(),
            RefusalReason::NotWritten(LogError::DiskFull { .. }) => "Disk Full".to_owned(),
            RefusalReason::NotWritten(LogError::Busy { .. }) => "Journal Overloaded".to_owned(),
            RefusalReason::NotWritten(_) => "Journal Failed".to_owned(),
        }
    }

    /// Headers that belong to the answer.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match &self.reason {
            RefusalReason::IntervalTooBrief { min_expires } => {
                vec![("Min-Expires", min_expires.to_string())]
            }
            RefusalReason::NotWritten(_) => vec![("Retry-After", "10".to_owned())],
            _ => Vec::new(),
        }
    }
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// A header cannot be read or is too long.
    #[error("bad {0}")]
    Malformed(&'static str),
    /// `*` beside other contacts (RFC 3261 §10.3 step 6).
    #[error("Contact * beside others")]
    StarNotAlone,
    /// `*` without `Expires: 0` (RFC 3261 §10.2.2).
    #[error("Contact * without Expires: 0")]
    StarNeedsZero,
    /// More contacts than an address of record may have.
    #[error("too many contacts")]
    TooManyContacts,
    /// Asked for less than we allow (RFC 3261 §10.2.8).
    #[error("interval below {min_expires} s")]
    IntervalTooBrief {
        /// The least we allow, seconds.
        min_expires: u32,
    },
    /// An older request than the one that made the binding (RFC 3261 §10.3 step 7).
    #[error("CSeq out of order")]
    OutOfOrder,
    /// The journal could not take it: nothing was changed.
    #[error("not written: {0}")]
    NotWritten(LogError),
}
