//! Requests inside a call: BYE, re-INVITE and UPDATE both ways, INFO, OPTIONS.

use crate::call::{Call, State, T1, T2, sdp_of};
use crate::event::{CallHandle, Cause, PhoneEvent};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::messages::INFO_PACKAGES;
use crate::phone::{Phone, Timer};
use crate::requests::Purpose;
use sansio::Entropy;
use sip::dialog::{Answer, Carrier, DialogId, Meaning, OfferError, retry_after_491};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, response_to};
use std::time::Instant;

impl Phone {
    /// A request with a To tag.
    pub(crate) fn handle_in_dialog(&mut self, now: Instant, key: ServerKey, request: &Message) {
        let Some((call, id)) = self.find(request) else {
            let is_notify = request.method() == Some(Method::NOTIFY);
            if is_notify && self.handle_notify(now, key, request) {
                return;
            }
            let gone = response_to(request, 481, "Call/Transaction Does Not Exist").build();
            self.respond(now, &key, gone);
            return;
        };
        let checked = self
            .calls
            .get_mut(&call)
            .and_then(|c| c.dialog_mut(&id))
            .map(|dialog| dialog.handle_request(request));
        if let Some(Err(error)) = checked {
            let status = error.status();
            let refused = response_to(request, status, sip::reason_phrase(status)).build();
            self.respond(now, &key, refused);
            return;
        }
        let method = request.method().unwrap_or(Method::OPTIONS);
        let is_early = self.calls.get(&call).is_some_and(|c| c.dialog.is_none());
        match method {
            // One of several phones that ring gave up: the others ring on.
            Method::BYE if is_early => self.respond_ok(now, &key, request),
            Method::BYE => {
                self.respond_ok(now, &key, request);
                self.refuse(now, call, 487);
                self.end(now, call, Cause::PeerHungUp, None, &reason_of(request));
            }
            Method::INVITE if !is_early => self.handle_offer(now, (call, id), key, request),
            Method::UPDATE => self.handle_offer(now, (call, id), key, request),
            Method::PRACK => self.handle_prack(now, call, key, request),
            Method::REFER => self.handle_refer(now, call, key, request),
            Method::NOTIFY => self.handle_call_notify(now, call, key, request),
            Method::INFO => self.handle_info(now, call, key, request),
            _ => self.respond_ok(now, &key, request),
        }
    }

    fn respond_ok(&mut self, now: Instant, key: &ServerKey, request: &Message) {
        let ok = response_to(request, 200, "OK").header(HeaderName::ALLOW, ALLOW).build();
        self.respond(now, key, ok);
    }

    /// A re-INVITE of theirs, or an UPDATE before or after the answer.
    fn handle_offer(
        &mut self,
        now: Instant,
        (call, id): (CallHandle, DialogId),
        key: ServerKey,
        request: &Message,
    ) {
        let is_invite = request.method() == Some(Method::INVITE);
        let carrier = if is_invite { Carrier::Invite } else { Carrier::Update };
        let Some(entry) = self.calls.get(&call) else { return };
        let policy = entry.clock.policy;
        if self.refuse_interval(now, &key, policy, request) {
            return;
        }
        let Some(entry) = self.calls.get_mut(&call) else { return };
        // An offer of ours that waits for its 491 to pass is not open, a re-INVITE on its way is.
        let allowed = match is_invite && entry.state != State::Active {
            true => Err(OfferError::Unanswered),
            false => entry.offers_mut(&id).receive(carrier, sdp_of(request).is_some()),
        };
        if let Err(error) = allowed {
            return self.make_wait(now, &key, request, error);
        }
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.peer.learn(request);
        let described = entry.describe(now, &id, is_invite, request, &mut *self.entropy);
        let Ok(sdp) = described else {
            entry.offers_mut(&id).roll_back(carrier);
            let refused = response_to(request, 488, "Not Acceptable Here").build();
            return self.respond(now, &key, refused);
        };
        let held = entry.media.as_ref().is_some_and(media::Session::is_held_by_remote);
        let changed = sdp.is_some();
        self.agree_to(now, (call, id), key, request, sdp);
        if changed {
            self.note_peer_hold(call, held);
        }
    }

    /// Our 2xx to a re-INVITE or UPDATE.
    fn agree_to(
        &mut self,
        now: Instant,
        (call, id): (CallHandle, DialogId),
        key: ServerKey,
        request: &Message,
        sdp: Option<Vec<u8>>,
    ) {
        let contact = self.contact();
        let is_invite = request.method() == Some(Method::INVITE);
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let carrier = if is_invite { Carrier::Success } else { Carrier::UpdateOk };
        // What it answers or offers was made for this very state.
        let _ = entry.offers_mut(&id).send(carrier, sdp.is_some());
        let mut ok = response_to(request, 200, "OK")
            .record_route()
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::RECV_INFO, INFO_PACKAGES);
        if entry.state == State::Active {
            ok = entry.clock.dress_response(now, request, ok);
        }
        if let Some(sdp) = sdp {
            ok = ok.body("application/sdp", sdp);
        }
        let ok = ok.build();
        if is_invite {
            let number = request.cseq().map_or(0, |c| c.number);
            entry.answer = Some(Answer::new(now, ok.bytes().clone(), number, T1, T2));
        }
        self.respond(now, &key, ok);
    }

    /// An offer that meets another (RFC 3261 §14.2, RFC 3311 §5.2).
    fn make_wait(&mut self, now: Instant, key: &ServerKey, request: &Message, error: OfferError) {
        let refused = response_to(request, error.status(), "");
        let refused = match error {
            OfferError::Unanswered => {
                let seconds = (self.entropy.next_u64() % 11).to_string();
                refused.header(HeaderName::RETRY_AFTER, seconds)
            }
            _ => refused,
        };
        self.respond(now, key, refused.build());
    }

    /// Sends an offer of ours inside the call: what the application wants of holding.
    pub(crate) fn send_offer(&mut self, now: Instant, call: CallHandle) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(id) = entry.current() else { return };
        let free = entry.offering.is_none() && entry.offers_mut(&id).may_offer();
        if !free || entry.answer.is_some() {
            self.timers.set(Timer::Glare(call), now + T1);
            return;
        }
        let by_update = entry.state != State::Active || self.config.reoffer_by_update;
        if by_update && entry.takes_update(&id) {
            return self.send_update(now, call, true);
        }
        let (Some(dialog), Some(media)) = (entry.dialog.as_mut(), entry.media.as_mut()) else {
            return;
        };
        let wanted = entry.hold.wanted;
        media.set_hold(wanted);
        let offer = media.create_offer(now);
        let invite = dialog
            .request(Method::INVITE)
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::RECV_INFO, INFO_PACKAGES)
            .header(HeaderName::SESSION_ID, &entry.session_id);
        let invite = entry.clock.dress_request(invite).body("application/sdp", offer).build();
        // It is free: that was asked above.
        let _ = entry.offers.send(Carrier::Invite, true);
        entry.offering = Some(wanted);
        entry.restarts = false;
        if self.send(now, &invite, Purpose::Reinvite(call)).is_err() {
            self.offer_failed(call, Carrier::Invite);
        }
    }

    /// The 491's waiting time is over.
    pub(crate) fn retry_offer(&mut self, now: Instant, call: CallHandle) {
        let entry = self.calls.get_mut(&call);
        // Somebody may have made what we want true meanwhile.
        if entry.is_some_and(|c| c.can_change() && (c.restarts || c.hold.wanted != c.hold.held)) {
            self.send_offer(now, call);
        }
    }

    /// A response to our re-INVITE.
    pub(crate) fn reinvite_answered(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) {
        let status = response.status().unwrap_or_default();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog.as_mut() else { return };
        if status < 200 {
            return;
        }
        if status < 300 {
            return self.reinvite_taken(now, call, request, response);
        }
        let role = dialog.role();
        dialog.handle_response(response);
        match status {
            _ if entry.state != State::Active => {}
            491 => {
                entry.take_back_offer(Carrier::Invite);
                let wait = retry_after_491(role, &mut *self.entropy);
                self.timers.set(Timer::Glare(call), now + wait);
            }
            408 | 481 => self.end(now, call, Cause::Network, Some(status), "The call is gone"),
            _ => self.offer_failed(call, Carrier::Invite),
        }
    }

    /// A 2xx to our re-INVITE, the first or again.
    fn reinvite_taken(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) {
        let number = request.cseq().map_or(0, |c| c.number);
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog.as_mut() else { return };
        if let Some(ack) = entry.acks.find(dialog.id(), number) {
            return self.send_again(ack);
        }
        dialog.handle_response(response);
        entry.peer.learn(response);
        entry.clock.accepted(now, response);
        let ack = dialog.ack(number).build();
        let offered = entry.offering.take();
        let sdp = sdp_of(response);
        let meaning = entry.offers.receive(Carrier::Success, sdp.is_some());
        if meaning.is_err() {
            entry.offers.roll_back(Carrier::Invite);
        }
        if let (Ok(Meaning::Answer), Some(media), Some(sdp)) = (meaning, entry.media.as_mut(), sdp)
        {
            // The old session goes on when the answer makes no sense.
            let _ = media.handle_answer(now, sdp);
        }
        let held_by_peer = entry.media.as_ref().map(media::Session::is_held_by_remote);
        self.send_ack(call, &ack, request);
        if let Some(held) = offered {
            self.now_held(now, call, held);
        }
        if let Some(held) = held_by_peer {
            self.note_peer_hold(call, held);
        }
    }

    pub(crate) fn now_held(&mut self, now: Instant, call: CallHandle, held: bool) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let wanted = entry.hold.wanted;
        if std::mem::replace(&mut entry.hold.held, held) != held {
            self.tell(PhoneEvent::Held { call, held });
        }
        if wanted != held {
            self.send_offer(now, call);
        }
    }

    /// Our offer was refused: everything stays as it was.
    pub(crate) fn offer_failed(&mut self, call: CallHandle, carrier: Carrier) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.take_back_offer(carrier);
        let held = entry.hold.held;
        let asked = std::mem::replace(&mut entry.hold.wanted, held) != held;
        if asked {
            self.tell(PhoneEvent::Held { call, held });
        }
    }

    pub(crate) fn note_peer_hold(&mut self, call: CallHandle, held: bool) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if std::mem::replace(&mut entry.hold.by_peer, held) != held {
            self.tell(PhoneEvent::HeldByPeer { call, held });
        }
    }

    /// The live call a request belongs to, and which of its dialogs.
    fn find(&mut self, request: &Message) -> Option<(CallHandle, DialogId)> {
        let id = DialogId::of_request(request).ok()?;
        let handle = self.calls.iter_mut().find_map(|(handle, call)| {
            let fits = call.state != State::Ended && call.dialog_mut(&id).is_some();
            fits.then_some(*handle)
        });
        Some((handle?, id))
    }
}

impl Call {
    /// An offer of ours was refused, for now or for good: what was agreed before holds, also in what
    /// we answer meanwhile.
    pub(crate) fn take_back_offer(&mut self, carrier: Carrier) {
        self.offering = None;
        if let Some(id) = self.current() {
            self.offers_mut(&id).roll_back(carrier);
        }
        if let Some(media) = self.media.as_mut() {
            media.set_hold(self.hold.held);
        }
    }

    /// What we say of media to a re-INVITE or UPDATE: our answer, our offer where a re-INVITE has
    /// none, or nothing.
    fn describe(
        &mut self,
        now: Instant,
        id: &DialogId,
        is_invite: bool,
        request: &Message,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Vec<u8>>, media::MediaError> {
        let sdp = sdp_of(request);
        if self.dialog.is_none() && sdp.is_some() {
            self.early.select(now, id, &mut self.media, entropy);
        }
        let Some(media) = self.media.as_mut() else { return Ok(None) };
        match sdp {
            Some(offer) => media.handle_offer(now, offer).map(Some),
            None if is_invite => Ok(Some(media.create_offer(now))),
            None => Ok(None),
        }
    }
}

/// The text of a Reason header (RFC 3326), if there is one.
fn reason_of(request: &Message) -> String {
    let reason = request.header_str(HeaderName::REASON).unwrap_or_default();
    let text = reason.split(';').find_map(|p| p.trim().strip_prefix("text="));
    text.map(|t| t.trim_matches('"').to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_from_bye() {
        let bye = b"BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
            From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 2 BYE\r\n\
            Reason: SIP;cause=200;text=\"media-silence\"\r\nContent-Length: 0\r\n\r\n";
        let bye = Message::parse(bye.as_slice().into()).unwrap();
        assert_eq!(reason_of(&bye), "media-silence");
    }
}
