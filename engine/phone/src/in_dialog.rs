//! Requests inside a call: BYE, re-INVITE and UPDATE both ways, INFO, OPTIONS.

use crate::call::{State, sdp_of};
use crate::event::{CallHandle, Cause, PhoneEvent};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::phone::{Phone, Timer};
use crate::requests::Purpose;
use sip::dialog::{Answer, DialogId, Glare, Verdict, retry_after_491};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, response_to};
use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

impl Phone {
    /// A request with a To tag.
    pub(crate) fn handle_in_dialog(&mut self, now: Instant, key: ServerKey, request: &Message) {
        let Some(call) = self.find(request) else {
            let gone = response_to(request, 481, "Call/Transaction Does Not Exist").build();
            self.respond(now, &key, gone);
            return;
        };
        let checked = self
            .calls
            .get_mut(&call)
            .and_then(|c| c.dialog.as_mut())
            .map(|dialog| dialog.handle_request(request));
        if let Some(Err(error)) = checked {
            let status = error.status();
            let refused = response_to(request, status, sip::reason_phrase(status)).build();
            self.respond(now, &key, refused);
            return;
        }
        let method = request.method().unwrap_or(Method::OPTIONS);
        if method == Method::BYE {
            self.respond(now, &key, response_to(request, 200, "OK").build());
            self.refuse(now, call, 487);
            self.end(now, call, Cause::PeerHungUp, None, &reason_of(request));
        } else if method == Method::INVITE || method == Method::UPDATE {
            self.handle_offer(now, call, key, request);
        } else {
            let ok = response_to(request, 200, "OK").header(HeaderName::ALLOW, ALLOW).build();
            self.respond(now, &key, ok);
        }
    }

    /// A re-INVITE or UPDATE of theirs.
    fn handle_offer(&mut self, now: Instant, call: CallHandle, key: ServerKey, request: &Message) {
        let is_invite = request.method() == Some(Method::INVITE);
        if (is_invite || sdp_of(request).is_some()) && self.must_wait(now, call, &key, request) {
            return;
        }
        let policy = self.calls.get(&call).map(|c| c.clock.policy);
        if policy.is_some_and(|policy| self.refuse_interval(now, &key, policy, request)) {
            return;
        }
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.peer.learn(request);
        let Some(media) = entry.media.as_mut() else { return };
        let described = match sdp_of(request) {
            Some(offer) => media.handle_offer(now, offer).map(Some),
            None if is_invite => Ok(Some(media.create_offer(now))),
            None => Ok(None),
        };
        let held = media.is_held_by_remote();
        let Ok(sdp) = described else {
            let refused = response_to(request, 488, "Not Acceptable Here").build();
            self.respond(now, &key, refused);
            return;
        };
        let contact = self.contact();
        let mut ok = response_to(request, 200, "OK")
            .record_route()
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED);
        if let Some(entry) = self.calls.get_mut(&call).filter(|c| c.state == State::Active) {
            ok = entry.clock.dress_response(now, request, ok);
        }
        if let Some(sdp) = sdp {
            ok = ok.body("application/sdp", sdp);
        }
        let ok = ok.build();
        if let (true, Some(entry)) = (is_invite, self.calls.get_mut(&call)) {
            let number = request.cseq().map_or(0, |c| c.number);
            entry.answer = Some(Answer::new(now, ok.bytes().clone(), number, T1, T2));
            entry.awaits_answer_in_ack = sdp_of(request).is_none();
        }
        self.respond(now, &key, ok);
        self.note_peer_hold(call, held);
    }

    /// Whether an offer is under way already; then the request has been answered.
    fn must_wait(
        &mut self,
        now: Instant,
        call: CallHandle,
        key: &ServerKey,
        request: &Message,
    ) -> bool {
        let Some(entry) = self.calls.get(&call) else { return false };
        // A 2xx of ours whose ACK was lost is no hindrance: who asks again has seen it. An offer
        // of ours in it, unanswered, is.
        let theirs = entry.state == State::Ringing || entry.awaits_answer_in_ack;
        let glare = Glare { ours: entry.offering.is_some(), theirs };
        let refused = match glare.judge(&mut *self.entropy) {
            Verdict::Accept => return false,
            Verdict::RequestPending => response_to(request, 491, ""),
            Verdict::RetryAfter { seconds } => {
                response_to(request, 500, "").header(HeaderName::RETRY_AFTER, seconds.to_string())
            }
        };
        self.respond(now, key, refused.build());
        true
    }

    /// Sends an offer of ours inside the call: what the application wants of holding.
    pub(crate) fn send_offer(&mut self, now: Instant, call: CallHandle) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if entry.offering.is_some() || entry.answer.is_some() {
            self.timers.set(Timer::Glare(call), now + T1);
            return;
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
            .header(HeaderName::SESSION_ID, &entry.session_id);
        let invite = entry.clock.dress_request(invite).body("application/sdp", offer).build();
        entry.offering = Some(wanted);
        if self.send(now, &invite, Purpose::Reinvite(call)).is_err() {
            self.offer_failed(call);
        }
    }

    /// The 491's waiting time is over.
    pub(crate) fn retry_offer(&mut self, now: Instant, call: CallHandle) {
        if self.calls.get(&call).is_some_and(|c| c.state == State::Active) {
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
                entry.offering = None;
                let wait = retry_after_491(role, &mut *self.entropy);
                self.timers.set(Timer::Glare(call), now + wait);
            }
            408 | 481 => self.end(now, call, Cause::Network, Some(status), "The call is gone"),
            _ => self.offer_failed(call),
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
        if let (Some(media), Some(sdp)) = (entry.media.as_mut(), sdp_of(response)) {
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

    fn now_held(&mut self, now: Instant, call: CallHandle, held: bool) {
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
    pub(crate) fn offer_failed(&mut self, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.offering = None;
        let held = entry.hold.held;
        let asked = std::mem::replace(&mut entry.hold.wanted, held) != held;
        if let Some(media) = entry.media.as_mut() {
            media.set_hold(held);
        }
        if asked {
            self.tell(PhoneEvent::Held { call, held });
        }
    }

    fn note_peer_hold(&mut self, call: CallHandle, held: bool) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if std::mem::replace(&mut entry.hold.by_peer, held) != held {
            self.tell(PhoneEvent::HeldByPeer { call, held });
        }
    }

    fn find(&self, request: &Message) -> Option<CallHandle> {
        let id = DialogId::of_request(request).ok()?;
        let ours = |c: &crate::call::Call| c.dialog.as_ref().is_some_and(|d| *d.id() == id);
        self.calls
            .iter()
            .find(|(_, call)| call.state != State::Ended && ours(call))
            .map(|(handle, _)| *handle)
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
