//! Requests of ours: dressed with Via and credentials, sent, and what their responses mean.

use crate::account::Link;
use crate::auth::Tries;
use crate::call::State;
use crate::event::{CallHandle, Cause, MessageHandle, PhoneError, SubscriptionHandle};
use crate::phone::Phone;
use sip::dialog::{Carrier, DialogId};
use sip::transaction::{ClientKey, SendVia};
use sip::{Edit, HeaderName, Message, Method, ViaBuilder};
use std::time::Instant;

/// A request of ours that waits for its final response.
#[derive(Debug)]
pub(crate) struct Sent {
    pub purpose: Purpose,
    pub request: Message,
    /// The challenges this request was sent again for.
    tries: Tries,
}

/// Why we sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Register,
    Invite(CallHandle),
    Reinvite(CallHandle),
    Update(CallHandle),
    Prack(CallHandle),
    Refer(CallHandle),
    Notify(CallHandle),
    Info(CallHandle),
    /// Candidates of ours.
    Trickle(CallHandle),
    Message(MessageHandle),
    Subscribe(SubscriptionHandle),
    Bye(CallHandle),
    /// Hangs up a second phone that answered; the call goes on without it.
    StrayBye,
}

impl Purpose {
    /// The call whose session interval the request negotiates.
    fn session_of(self) -> Option<CallHandle> {
        match self {
            Self::Invite(call) | Self::Reinvite(call) | Self::Update(call) => Some(call),
            _ => None,
        }
    }
}

impl Phone {
    /// Sends a request in a new client transaction: Via on top, known credentials in.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        request: &Message,
        purpose: Purpose,
    ) -> Result<ClientKey, PhoneError> {
        let link = self.link.ok_or(PhoneError::NotConnected)?;
        let request = self.dress(&link, request);
        let via = SendVia { flow: self.flow, transport: link.transport };
        let sent = self.layer.send_request(now, via, request.clone());
        let key = sent.map_err(|_| PhoneError::NotConnected)?;
        self.requests.insert(key, Sent { purpose, request, tries: Tries::default() });
        Ok(key)
    }

    /// Sends the ACK of a 2xx to `invite`, outside any transaction, with the INVITE's credentials
    /// (RFC 3261 §13.2.2.4), and keeps it for when the 2xx comes again.
    pub(crate) fn send_ack(&mut self, call: CallHandle, ack: &Message, invite: &Message) {
        let Some(link) = self.link else { return };
        let mut edit = Edit::new(ack).prepend(HeaderName::VIA, self.via(&link));
        for name in [HeaderName::AUTHORIZATION, HeaderName::PROXY_AUTHORIZATION] {
            for value in invite.headers(name) {
                edit = edit.append(name, value);
            }
        }
        let ack = edit.finish();
        // The ACK has From and To as our requests have: it names the dialog as a response would.
        if let (Ok(id), Some(entry)) = (DialogId::of_response(&ack), self.calls.get_mut(&call)) {
            let number = ack.cseq().map_or(0, |c| c.number);
            entry.acks.keep(id, number, ack.bytes().clone());
        }
        self.send_again(ack.bytes().clone());
    }

    /// A response to a request of ours.
    pub(crate) fn handle_response(&mut self, now: Instant, key: ClientKey, response: &Message) {
        let Some(sent) = self.requests.get(&key) else { return };
        let (purpose, request, mut tries) = (sent.purpose, sent.request.clone(), sent.tries);
        if purpose == Purpose::Register && !self.registration.is_pending(key) {
            return;
        }
        if self.is_wanted(purpose) && self.auth.learn(response, &mut tries) {
            self.send_once_more(now, purpose, &request, tries);
            return;
        }
        if let Some(call) = purpose.session_of()
            && let Some(again) = self.with_longer_interval(call, &request, response)
        {
            return self.send_once_more(now, purpose, &again, tries);
        }
        if let Purpose::Invite(call) = purpose
            && let Some(again) = self.redirected(call, &request, response)
        {
            return self.send_once_more(now, purpose, &again, Tries::default());
        }
        let status = response.status().unwrap_or_default();
        match purpose {
            Purpose::Register => self.register_answered(now, &request, response),
            Purpose::Invite(call) => self.invite_answered(now, call, &request, response),
            Purpose::Reinvite(call) => self.reinvite_answered(now, call, &request, response),
            Purpose::Update(call) => self.update_answered(now, call, &request, response),
            Purpose::Bye(call) if status >= 200 => self.forget(call),
            Purpose::Refer(call) => self.refer_answered(now, call, &request, response),
            Purpose::Message(message) => {
                let reason = String::from_utf8_lossy(response.reason()).into_owned();
                self.message_answered(message, status, &reason);
            }
            Purpose::Subscribe(handle) => {
                self.subscribe_answered(now, handle, status, Some(response));
            }
            Purpose::Trickle(call) if status >= 200 => self.trickle_answered(now, call, status),
            Purpose::Bye(_)
            | Purpose::StrayBye
            | Purpose::Trickle(_)
            | Purpose::Prack(_)
            | Purpose::Notify(_)
            | Purpose::Info(_) => {}
        }
    }

    /// Whether a request is still worth being sent again with credentials.
    fn is_wanted(&self, purpose: Purpose) -> bool {
        let state = |call| self.calls.get(&call).map(|c| c.state);
        match purpose {
            Purpose::Invite(call) | Purpose::Prack(call) => {
                matches!(state(call), Some(State::Calling | State::Early))
            }
            Purpose::Reinvite(call) => state(call) == Some(State::Active),
            Purpose::Update(call) | Purpose::Trickle(call) => {
                state(call).is_some_and(|s| s != State::Ended)
            }
            Purpose::Refer(call) | Purpose::Notify(call) | Purpose::Info(call) => {
                state(call) == Some(State::Active)
            }
            Purpose::Register
            | Purpose::Bye(_)
            | Purpose::StrayBye
            | Purpose::Message(_)
            | Purpose::Subscribe(_) => true,
        }
    }

    /// The request once more, one CSeq higher, with the credentials we have by now (RFC 3261 §22.2,
    /// RFC 4028 §7.3).
    fn send_once_more(&mut self, now: Instant, purpose: Purpose, request: &Message, tries: Tries) {
        let Ok(cseq) = request.cseq() else { return };
        let number = match purpose {
            Purpose::Register => self.registration.next_cseq(),
            Purpose::Reinvite(call)
            | Purpose::Update(call)
            | Purpose::Prack(call)
            | Purpose::Refer(call)
            | Purpose::Notify(call)
            | Purpose::Info(call)
            | Purpose::Bye(call) => self.dialog_cseq(call, request, cseq.number),
            Purpose::Subscribe(handle) => self.subscribe_cseq(handle, cseq.number),
            _ => cseq.number.saturating_add(1),
        };
        let value = format!("{number} {}", cseq.method);
        let again = Edit::new(request).replace_first(HeaderName::CSEQ, value).finish();
        let Ok(key) = self.send(now, &again, purpose) else {
            return self.request_failed(now, purpose, 503);
        };
        if let Some(sent) = self.requests.get_mut(&key) {
            sent.tries = tries;
        }
        match purpose {
            Purpose::Register => self.registration.resent(key),
            Purpose::Invite(call) => self.invite_resent(call, key),
            Purpose::Subscribe(handle) => self.subscribe_resent(handle, key),
            _ => {}
        }
    }

    /// No final response came: 408 for silence, 503 for a broken link.
    pub(crate) fn handle_silence(&mut self, now: Instant, key: ClientKey, status: u16) {
        let Some(sent) = self.requests.remove(&key) else { return };
        if sent.purpose != Purpose::Register || self.registration.is_pending(key) {
            self.request_failed(now, sent.purpose, status);
        }
    }

    /// A transaction of ours is gone. A call whose INVITE brought nothing usable, such as a 2xx
    /// that makes no dialog, goes with it.
    pub(crate) fn handle_terminated(&mut self, now: Instant, key: ClientKey) {
        let Some(Sent { purpose: Purpose::Invite(call), .. }) = self.requests.remove(&key) else {
            return;
        };
        if self.calls.get(&call).is_some_and(|c| c.client == Some(key)) {
            self.invite_failed(now, call, 502, "The answer could not be used");
        }
    }

    /// What a request without a final response means for what it was for.
    fn request_failed(&mut self, now: Instant, purpose: Purpose, status: u16) {
        let words = sip::reason_phrase(status);
        match purpose {
            Purpose::Register => self.register_failed(now, status, words, None),
            Purpose::Invite(call) => self.invite_failed(now, call, status, words),
            Purpose::Reinvite(call) | Purpose::Update(call) if status == 408 => {
                // Silence inside a dialog is its end (RFC 3261 §12.2.1.2).
                self.send_bye(now, call);
                self.end(now, call, Cause::Network, Some(status), words);
            }
            Purpose::Reinvite(call) => self.offer_failed(call, Carrier::Invite),
            Purpose::Bye(call) => self.forget(call),
            Purpose::Update(call) => self.offer_failed(call, Carrier::Update),
            Purpose::Refer(call) => self.transfer_ended(now, call, status),
            Purpose::Message(message) => self.message_answered(message, status, words),
            Purpose::Subscribe(handle) => self.subscribe_answered(now, handle, status, None),
            Purpose::Trickle(call) => self.trickle_answered(now, call, status),
            Purpose::Prack(_) | Purpose::Notify(_) | Purpose::Info(_) | Purpose::StrayBye => {}
        }
    }

    fn dress(&mut self, link: &Link, request: &Message) -> Message {
        let via = self.via(link);
        let method = request.method().unwrap_or(Method::OPTIONS);
        let uri = request.request_uri();
        let credentials =
            self.auth.credentials(&self.account, method.as_bytes(), uri, &mut *self.entropy);
        let mut edit = Edit::new(request)
            .remove_all(HeaderName::VIA)
            .remove_all(HeaderName::AUTHORIZATION)
            .remove_all(HeaderName::PROXY_AUTHORIZATION)
            .prepend(HeaderName::VIA, via);
        for (name, value) in credentials {
            edit = edit.append(name, value);
        }
        edit.finish()
    }

    fn via(&mut self, link: &Link) -> String {
        let branch = format!("z9hG4bK{}", self.entropy.token(16));
        let sent_by = self.account.sent_by(link);
        ViaBuilder::new(link.transport, sent_by).branch(&branch).rport().build()
    }
}
