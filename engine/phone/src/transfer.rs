//! Transferring a call (RFC 3515, 5589): the REFER of ours, and what its NOTIFYs say.
//!
//! ```text
//!   transfer ─REFER─► 202 ─► NOTIFY 100, 180 .. : TransferProgress
//!                      │     NOTIFY 2xx: TransferEnded, BYE    NOTIFY 3xx-6xx: TransferEnded
//!                      └ Refer-Sub: false: TransferEnded, BYE at once (RFC 4488)
//! ```

use crate::call::State;
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::phone::Phone;
use crate::requests::Purpose;
use sip::dialog::{
    DialogId, DialogRef, ReferTo, Subscriber, SubscriberDue, SubscriptionState, Substate,
    granted_no_subscription, sipfrag_status,
};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, NameAddr, response_to};
use std::time::Instant;

/// A transfer of ours under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    subscriber: Subscriber,
}

impl Transfer {
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.subscriber.poll_timeout()
    }
}

impl Phone {
    /// Sends the other side of a call to `target`: a blind transfer. Our part of the call ends when
    /// the other side says that it got through, and goes on when not.
    ///
    /// # Errors
    /// No such call, one that is not active or is being transferred already, a target that is no
    /// address, or no link.
    pub fn transfer(
        &mut self,
        now: Instant,
        call: CallHandle,
        target: &str,
    ) -> Result<(), PhoneError> {
        let uri = self.target_uri(target)?;
        self.refer(now, call, &ReferTo { uri, replaces: None, join: None })
    }

    /// Sends the other side of a call to the other side of another one, in our place: an attended
    /// transfer. Both calls end when it got through.
    ///
    /// # Errors
    /// As [`Phone::transfer`]; both calls must be active.
    pub fn transfer_to(
        &mut self,
        now: Instant,
        call: CallHandle,
        other: CallHandle,
    ) -> Result<(), PhoneError> {
        let (uri, named) = self.named_for_others(call, other)?;
        self.refer(now, call, &ReferTo { uri, replaces: Some(named), join: None })
    }

    /// Brings the other side of a call into another one of ours (RFC 3911, RFC 4579 §5.6): whom we
    /// talk to there lays the voices over each other, and three hear each other. `call` ends when
    /// it got through; `other` goes on.
    ///
    /// # Errors
    /// As [`Phone::transfer`]; both calls must be active.
    pub fn join_to(
        &mut self,
        now: Instant,
        call: CallHandle,
        other: CallHandle,
    ) -> Result<(), PhoneError> {
        let (uri, named) = self.named_for_others(call, other)?;
        self.refer(now, call, &ReferTo { uri, replaces: None, join: Some(named) })
    }

    /// The other side of `other`, and what that call is called there.
    fn named_for_others(
        &mut self,
        call: CallHandle,
        other: CallHandle,
    ) -> Result<(String, String), PhoneError> {
        let entry = self.call_mut(other)?;
        let dialog = entry.dialog.as_ref().filter(|_| entry.state == State::Active);
        let Some(dialog) = dialog.filter(|_| other != call) else {
            return Err(PhoneError::WrongState(entry.state.name()));
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let id = dialog.id();
        // As its recipient, the other side of `other`, sees that dialog.
        let named = DialogRef {
            call_id: text(&id.call_id),
            to_tag: text(&id.remote_tag),
            from_tag: text(&id.local_tag),
            early_only: false,
        };
        let Ok(address) = NameAddr::parse(dialog.remote()) else {
            return Err(PhoneError::BadTarget(text(dialog.remote())));
        };
        Ok((text(address.uri()), named.to_string()))
    }

    fn refer(&mut self, now: Instant, call: CallHandle, to: &ReferTo) -> Result<(), PhoneError> {
        let (contact, by) = (self.contact(), format!("<{}>", self.account.aor()));
        let entry = self.call_mut(call)?;
        if entry.state != State::Active || entry.transfer.is_some() {
            let why =
                if entry.transfer.is_some() { "being transferred" } else { entry.state.name() };
            return Err(PhoneError::WrongState(why));
        }
        let Some(dialog) = entry.dialog.as_mut() else { return Err(PhoneError::NoSuchCall) };
        let refer = dialog
            .request(Method::REFER)
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::REFER_TO, to.to_string())
            .header(HeaderName::REFERRED_BY, by)
            .header(HeaderName::SUPPORTED, "norefersub, replaces, join")
            .header(HeaderName::SESSION_ID, &entry.session_id)
            .build();
        entry.transfer = Some(Transfer { subscriber: Subscriber::implicit(now) });
        let sent = self.send(now, &refer, Purpose::Refer(call));
        if sent.is_err()
            && let Some(entry) = self.calls.get_mut(&call)
        {
            entry.transfer = None;
        }
        self.drain(now);
        sent.map(|_| ())
    }

    /// A response to our REFER.
    pub(crate) fn refer_answered(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) {
        let status = response.status().unwrap_or_default();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if status < 200 {
            return;
        }
        if let Some(dialog) = entry.dialog.as_mut() {
            dialog.handle_response(response);
        }
        match status {
            200..300 if granted_no_subscription(request, response) => {
                self.transfer_ended(now, call, 200);
            }
            200..300 => {}
            408 | 481 => {
                self.transfer_ended(now, call, status);
                self.end(now, call, Cause::Network, Some(status), "The call is gone");
            }
            _ => self.transfer_ended(now, call, status),
        }
    }

    /// A NOTIFY in a call: of our REFER, or of nothing we know.
    pub(crate) fn handle_call_notify(
        &mut self,
        now: Instant,
        call: CallHandle,
        key: ServerKey,
        request: &Message,
    ) {
        let of_refer = request.header_str(HeaderName::EVENT).is_some_and(is_refer);
        let entry = self.calls.get_mut(&call);
        let transfer = entry.and_then(|c| c.transfer.as_mut()).filter(|_| of_refer);
        let Some(transfer) = transfer else {
            let status = if of_refer { 481 } else { 489 };
            return self.respond(now, &key, response_to(request, status, "").build());
        };
        let said = SubscriptionState::of(request);
        transfer.subscriber.handle_notify(now, &said);
        let over = said.state == Substate::Terminated;
        self.respond(now, &key, response_to(request, 200, "OK").build());
        match sipfrag_status(request.body()) {
            Some(status) if status >= 200 => self.transfer_ended(now, call, status),
            // It ended without a word of how: it did not come about.
            _ if over => self.transfer_ended(now, call, 408),
            Some(status) => self.tell(PhoneEvent::TransferProgress { call, status }),
            None => {}
        }
    }

    /// No NOTIFY came any more.
    pub(crate) fn transfer_timeout(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(transfer) = entry.transfer.as_mut() else { return };
        if transfer.subscriber.handle_timeout(now) == Some(SubscriberDue::GaveUp) {
            self.transfer_ended(now, call, 408);
        }
    }

    /// How a transfer came out. After a good one our part of the call is over (RFC 5589 §6.1).
    pub(crate) fn transfer_ended(&mut self, now: Instant, call: CallHandle, status: u16) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if entry.transfer.take().is_none() {
            return;
        }
        let is_active = entry.state == State::Active;
        self.tell(PhoneEvent::TransferEnded { call, status });
        if status < 300 && is_active {
            self.send_bye(now, call);
            self.end(now, call, Cause::Transferred, Some(status), "");
        }
    }

    /// The live call whose dialog somebody names from outside it.
    pub(crate) fn call_named(&self, named: &DialogRef) -> Option<CallHandle> {
        let id = DialogId {
            call_id: named.call_id.as_bytes().into(),
            local_tag: named.to_tag.as_bytes().into(),
            remote_tag: named.from_tag.as_bytes().into(),
        };
        let is_it = |c: &crate::call::Call| {
            let confirmed = c.dialog.as_ref().is_some_and(|d| *d.id() == id);
            confirmed || c.set.as_ref().is_some_and(|set| set.dialogs().any(|d| *d.id() == id))
        };
        self.calls.iter().find(|(_, call)| is_it(call)).map(|(handle, _)| *handle)
    }
}

fn is_refer(event: &str) -> bool {
    event.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("refer")
}
