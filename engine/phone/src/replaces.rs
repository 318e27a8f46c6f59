//! An INVITE that takes a call of ours over (Replaces, RFC 3891) or joins it (Join, RFC 3911).

use crate::call::State;
use crate::event::{CallHandle, Cause};
use crate::phone::Phone;
use sip::dialog::DialogRef;
use sip::{HeaderName, Message};
use std::time::Instant;

/// What an INVITE wants of a call there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Nothing: it is a new call.
    None,
    /// To take the place of this one.
    Replaces(CallHandle),
    /// To be heard in this one too.
    Joins(CallHandle),
}

impl Phone {
    /// Finds the call an INVITE names. On an error answer this status.
    pub(crate) fn takeover(&self, request: &Message) -> Result<Takeover, u16> {
        let mut replaces = request.headers(HeaderName::REPLACES);
        let mut joins = request.headers(HeaderName::JOIN);
        let (value, is_join) = match (replaces.next(), joins.next()) {
            (None, None) => return Ok(Takeover::None),
            (Some(value), None) => (value, false),
            (None, Some(value)) => (value, true),
            (Some(_), Some(_)) => return Err(400),
        };
        if replaces.next().is_some() || joins.next().is_some() {
            return Err(400);
        }
        let named = DialogRef::parse(value).ok_or(400_u16)?;
        let call = self.call_named(&named).ok_or(481_u16)?;
        let state = self.calls.get(&call).map(|c| c.state);
        match state {
            // RFC 3891 §3: it is answered already.
            Some(State::Active) if named.early_only => Err(486),
            Some(State::Active) if is_join => Ok(Takeover::Joins(call)),
            // A call of ours that rings over there may be picked up, not one that rings here.
            Some(State::Active | State::Early) if !is_join => Ok(Takeover::Replaces(call)),
            Some(State::Ended) => Err(603),
            _ => Err(481),
        }
    }

    /// The new call is answered: the one it replaces ends.
    pub(crate) fn replace(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Takeover::Replaces(old) = std::mem::replace(&mut entry.takeover, Takeover::None) else {
            return;
        };
        match self.calls.get(&old).map(|c| c.state) {
            Some(State::Active) => {
                self.send_bye(now, old);
                self.end(now, old, Cause::Replaced, None, "");
            }
            Some(State::Calling | State::Early) => self.cancel(now, old),
            _ => {}
        }
    }
}
