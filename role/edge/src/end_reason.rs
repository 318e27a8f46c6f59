//! Why a call ended in the words of the telephone network, and whose doing it was.
//!
//! Who ends a call may name a Q.850 cause in a Reason header (RFC 3326), in a BYE, a CANCEL, or a
//! final response (RFC 6432). Where nobody names one, a status stands for one (RFC 3398 §8.2.6.1),
//! and BYE and CANCEL for normal clearing (RFC 3398 §8.2.1, §8.2.3).

use crate::core::EdgeCore;
use crate::dialog_track::Side;
use crate::ports::EndCause;
use sip::Message;
use sip::response_policy::{cause_of, named_cause};

/// Q.850: normal call clearing.
const NORMAL_CLEARING: u8 = 16;

/// Whose doing the end of a call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Who called.
    Caller,
    /// Who was called, or a server on its side.
    Callee,
    /// This server.
    Server,
}

impl From<Side> for EndedBy {
    fn from(side: Side) -> Self {
        match side {
            Side::Caller => Self::Caller,
            Side::Callee => Self::Callee,
        }
    }
}

/// What was heard of why a call ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    by: EndedBy,
    named: Option<u8>,
}

impl EdgeCore {
    /// Notes what `message` says of why its call ends.
    pub(crate) fn note_end(&mut self, call: Option<u64>, by: EndedBy, message: &Message) {
        if let Some(call) = call.and_then(|call| self.calls.get_mut(&call)) {
            call.heard = Some(Heard { by, named: named_cause(message) });
        }
    }
}

/// Whose doing an end was, and its Q.850 cause, if it has one.
pub(crate) fn reason_of(
    cause: EndCause,
    status: Option<u16>,
    heard: Option<Heard>,
) -> (EndedBy, Option<u8>) {
    match cause {
        EndCause::MediaSilence
        | EndCause::HungUp
        | EndCause::SessionExpired
        | EndCause::NotRecorded => (EndedBy::Server, None),
        _ => {
            let Heard { by, named } = heard.unwrap_or(Heard { by: EndedBy::Server, named: None });
            let stands_for = match cause {
                EndCause::Bye | EndCause::Cancelled => Some(NORMAL_CLEARING),
                _ => status.filter(|s| *s >= 300).map(cause_of),
            };
            (by, named.or(stands_for))
        }
    }
}
