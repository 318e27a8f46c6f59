//! Being transferred (RFC 3515 §2.4): the REFER of theirs, the call it leads to, and the NOTIFYs
//! that tell how that goes.

use crate::call::State;
use crate::event::{CallHandle, PhoneError, PhoneEvent};
use crate::outgoing::Invitation;
use crate::phone::Phone;
use crate::requests::Purpose;
use sip::dialog::{Notifier, ReferTo, sipfrag, wants_no_subscription};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, response_to};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a transfer may take, ringing included.
const PATIENCE: Duration = Duration::from_secs(300);

/// A REFER of theirs that is not done.
#[derive(Debug)]
pub(crate) struct Referral {
    to: ReferTo,
    by: Option<String>,
    notifier: Notifier,
    /// It wants no NOTIFYs (RFC 4488).
    silent: bool,
    followed: bool,
}

impl Referral {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.notifier.poll_timeout()
    }
}

impl Phone {
    /// Calls where a transfer wants us, with media on the socket the driver bound at `local`. The
    /// other side hears how it goes, and hangs up when it got through.
    ///
    /// # Errors
    /// No such call, no transfer wanted in it, no link, or too many calls; what cannot be called is
    /// told to the other side.
    pub fn follow_transfer(
        &mut self,
        now: Instant,
        call: CallHandle,
        local: SocketAddr,
    ) -> Result<CallHandle, PhoneError> {
        let entry = self.call_mut(call)?;
        let referral = entry.referral.as_mut().filter(|r| !r.followed);
        let Some(referral) = referral else {
            return Err(PhoneError::WrongState("not being transferred"));
        };
        referral.followed = true;
        let invitation = Invitation {
            target: referral.to.uri.clone(),
            replaces: referral.to.replaces.clone(),
            join: referral.to.join.clone(),
            referred_by: referral.by.clone(),
            referrer: Some(call),
        };
        let placed = self.invite_to(now, &invitation, local);
        if placed.is_err() {
            self.tell_referrer(now, call, 503);
            self.drain(now);
        }
        placed
    }

    /// Declines a transfer: the call goes on as it is.
    ///
    /// # Errors
    /// No such call, or no transfer wanted in it.
    pub fn refuse_transfer(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        if entry.referral.as_ref().is_none_or(|r| r.followed) {
            return Err(PhoneError::WrongState("not being transferred"));
        }
        self.tell_referrer(now, call, 603);
        self.drain(now);
        Ok(())
    }

    /// A REFER in a call.
    pub(crate) fn handle_refer(
        &mut self,
        now: Instant,
        call: CallHandle,
        key: ServerKey,
        request: &Message,
    ) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let to = match ReferTo::of(request) {
            Ok(to) if entry.state == State::Active && entry.referral.is_none() => to,
            Ok(_) => return self.respond(now, &key, response_to(request, 491, "").build()),
            Err(error) => {
                let refused = response_to(request, error.status(), "");
                return self.respond(now, &key, refused.build());
            }
        };
        let silent = wants_no_subscription(request);
        let by = request.header_str(HeaderName::REFERRED_BY).map(str::to_owned);
        let (attended, joins) = (to.replaces.is_some(), to.join.is_some());
        let (target, told_by) = (to.uri.clone(), by.clone().unwrap_or_default());
        let notifier = Notifier::new(now, PATIENCE);
        entry.referral = Some(Referral { to, by, notifier, silent, followed: false });
        let accepted = match silent {
            true => response_to(request, 200, "OK").header(HeaderName::REFER_SUB, "false"),
            false => response_to(request, 202, ""),
        };
        let accepted = accepted.record_route().header(HeaderName::CONTACT, contact).build();
        self.respond(now, &key, accepted);
        // RFC 3515 §2.4.4: one NOTIFY comes at once.
        self.tell_referrer(now, call, 100);
        self.tell(PhoneEvent::TransferRequested { call, target, by: told_by, attended, joins });
    }

    /// Tells the side that transferred us how it goes. A final status is the last word.
    pub(crate) fn tell_referrer(&mut self, now: Instant, call: CallHandle, status: u16) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(referral) = entry.referral.as_mut() else { return };
        if status >= 200 {
            referral.notifier.terminate();
        }
        let said = referral.notifier.said(now, "noresource").to_string();
        let silent = referral.silent;
        if status >= 200 {
            entry.referral = None;
        }
        let Some(dialog) = entry.dialog.as_mut().filter(|_| entry.state == State::Active) else {
            return;
        };
        if silent {
            return;
        }
        let notify = dialog
            .request(Method::NOTIFY)
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::EVENT, "refer")
            .header(HeaderName::SUBSCRIPTION_STATE, said)
            .header(HeaderName::SESSION_ID, &entry.session_id)
            .body("message/sipfrag;version=2.0", sipfrag(status, ""))
            .build();
        // Who transferred us gives up waiting by itself.
        let _ = self.send(now, &notify, Purpose::Notify(call));
    }

    /// A call we place for a transfer got somewhere.
    pub(crate) fn note_referred(&mut self, now: Instant, call: CallHandle, status: u16) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let referrer = match status {
            ..200 => entry.referrer,
            _ => entry.referrer.take(),
        };
        if let Some(referrer) = referrer {
            self.tell_referrer(now, referrer, status);
        }
    }

    /// Nobody followed a transfer in time.
    pub(crate) fn referral_timeout(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let expired = entry.referral.as_mut().is_some_and(|r| r.notifier.handle_timeout(now));
        if expired {
            self.tell_referrer(now, call, 408);
        }
    }
}
