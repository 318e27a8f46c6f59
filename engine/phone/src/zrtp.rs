//! Keys of the two ends alone (RFC 6189): what the application is told and may say of them.

use crate::call::State;
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::phone::Phone;
use rtp::zrtp::{Failure, Retained, Secured, Zid};
use std::time::Instant;

impl Phone {
    /// What both ends of a call agreed on by ZRTP, once they have.
    pub fn secured(&self, call: CallHandle) -> Option<&Secured> {
        self.calls.get(&call)?.media.as_ref()?.secured()
    }

    /// Our user compared the short string with the other side's: alike, or not. Alike is remembered:
    /// later calls with the same other side are known to be with it.
    ///
    /// # Errors
    /// [`PhoneError::NoSuchCall`], or [`PhoneError::WrongState`] where there is no string.
    pub fn set_verified(
        &mut self,
        now: Instant,
        call: CallHandle,
        verified: bool,
    ) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        let media = entry.media.as_mut().filter(|media| media.secured().is_some());
        let media = media.ok_or(PhoneError::WrongState("without keys of its two ends"))?;
        media.set_verified(verified);
        let secured = media.secured().copied();
        self.drain_media(now, call);
        if let Some(secured) = secured {
            self.tell(PhoneEvent::Secured { call, secured });
        }
        Ok(())
    }

    /// For the next calls, and for the application to keep.
    pub(crate) fn retain(&mut self, zid: Zid, retained: Retained) {
        if let Some(identity) = &mut self.config.zrtp {
            identity.cache.retain(zid, retained.clone());
        }
        self.tell(PhoneEvent::Retained { zid, retained });
    }

    /// No keys: told; and the end of a call that nothing may be said in without.
    pub(crate) fn not_secured(&mut self, now: Instant, call: CallHandle, why: Option<Failure>) {
        let Some(entry) = self.calls.get(&call) else { return };
        let insists = entry.media.as_ref().is_some_and(media::Session::insists_on_keys);
        let active = entry.state == State::Active;
        let reason = match why {
            Some(failure) => failure.to_string(),
            None => "the other side does not speak ZRTP".to_string(),
        };
        self.tell(PhoneEvent::NotSecured { call, reason: reason.clone() });
        if insists && active {
            self.send_bye(now, call);
            self.end(now, call, Cause::NotSecured, None, &reason);
            self.drain_layer(now);
        }
    }
}
