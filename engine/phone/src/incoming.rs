//! Being called (RFC 3261 §13.3).

use crate::call::{Call, State, sdp_of};
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::phone::{ALLOW, Phone, Timer};
use sip::dialog::{Answer, Dialog};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, response_to};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// RFC 3261 Table 4, for the 2xx we repeat ourselves.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

impl Phone {
    /// A new INVITE.
    pub(crate) fn handle_invite(&mut self, now: Instant, key: ServerKey, request: Message) {
        if self.calls.len() >= self.config.calls_max {
            self.reply(now, &key, response_to(&request, 486, "Busy Here"));
            return;
        }
        let tag = self.entropy.token(10);
        let Ok(dialog) = Dialog::from_request(&request, &tag) else {
            self.reply(now, &key, response_to(&request, 400, "Bad Request"));
            return;
        };
        let handle = self.next_handle();
        let session_id = request
            .header_str(HeaderName::SESSION_ID)
            .and_then(|v| v.split(';').next())
            .unwrap_or_default()
            .to_string();
        let (from, display_name) = caller(&request);
        let ringing = response_to(&request, 180, "Ringing")
            .to_tag(&tag)
            .record_route()
            .header(HeaderName::CONTACT, self.contact())
            .build();
        let mut call = Call::new(State::Ringing, session_id);
        call.dialog = Some(dialog);
        call.server = Some((key, request));
        self.calls.insert(handle, call);
        self.invites.insert(key, handle);
        self.respond(now, &key, ringing);
        self.timers.set(Timer::Ring(handle), now + self.config.ring_timeout);
        self.tell(PhoneEvent::Incoming { call: handle, from, display_name });
    }

    /// Answers a ringing call with media on the socket the driver bound at `local`.
    ///
    /// # Errors
    /// No such call, a call that does not ring, or an offer we share nothing with (the caller then
    /// hears 488 and the call is over).
    pub fn answer(
        &mut self,
        now: Instant,
        call: CallHandle,
        local: SocketAddr,
    ) -> Result<(), PhoneError> {
        if self.call_mut(call)?.state != State::Ringing {
            return Err(PhoneError::WrongState("not ringing here"));
        }
        let mut media = self.new_media(local);
        let Some((key, request)) = self.call_mut(call)?.server.take() else {
            return Err(PhoneError::NoSuchCall);
        };
        self.timers.clear(&Timer::Ring(call));
        let described = match sdp_of(&request) {
            Some(offer) => media.handle_offer(now, offer),
            None => media.create_offer(now),
        };
        let sdp = match described {
            Ok(sdp) => sdp,
            Err(error) => {
                self.reply(now, &key, response_to(&request, 488, "Not Acceptable Here"));
                let reason = error.to_string();
                self.end(now, call, Cause::NoCommonMedia, Some(488), &reason);
                self.drain(now);
                return Err(PhoneError::Media(reason));
            }
        };
        self.accept(now, call, (key, request), media, &sdp);
        self.drain(now);
        Ok(())
    }

    fn accept(
        &mut self,
        now: Instant,
        handle: CallHandle,
        (key, request): (ServerKey, Message),
        media: media::Session,
        sdp: &[u8],
    ) {
        let contact = self.contact();
        let agent = self.config.user_agent.clone();
        let Some(call) = self.calls.get_mut(&handle) else { return };
        let Some(dialog) = call.dialog.as_mut() else { return };
        dialog.confirm();
        let tag = String::from_utf8_lossy(&dialog.id().local_tag).into_owned();
        let response = response_to(&request, 200, "OK")
            .to_tag(&tag)
            .record_route()
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::USER_AGENT, agent)
            .body("application/sdp", sdp)
            .build();
        let number = request.cseq().map_or(0, |c| c.number);
        call.answer = Some(Answer::new(now, response.bytes().clone(), number, T1, T2));
        call.awaits_answer_in_ack = sdp_of(&request).is_none();
        call.state = State::Active;
        let codec = media.stats().codec.to_string();
        let encrypted = media.is_encrypted();
        call.media = Some(media);
        self.respond(now, &key, response);
        self.tell(PhoneEvent::Answered { call: handle, codec, encrypted });
    }

    /// Declines a ringing call (603).
    ///
    /// # Errors
    /// No such call, or a call that does not ring.
    pub fn reject(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        let Some((key, request)) = entry.server.take() else {
            return Err(PhoneError::WrongState("not ringing here"));
        };
        self.reply(now, &key, response_to(&request, 603, "Decline"));
        self.end(now, call, Cause::Rejected, Some(603), "Decline");
        self.drain(now);
        Ok(())
    }

    /// The caller gave up.
    pub(crate) fn handle_cancel(&mut self, now: Instant, key: ServerKey) {
        let Some(call) = self.invites.get(&key).copied() else { return };
        let Some((key, request)) = self.calls.get_mut(&call).and_then(|c| c.server.take()) else {
            return;
        };
        self.reply(now, &key, response_to(&request, 487, "Request Terminated"));
        self.end(now, call, Cause::Missed, Some(487), "Request Terminated");
    }

    pub(crate) fn rang_out(&mut self, now: Instant, call: CallHandle) {
        let Some((key, request)) = self.calls.get_mut(&call).and_then(|c| c.server.take()) else {
            return;
        };
        self.reply(now, &key, response_to(&request, 480, "Temporarily Unavailable"));
        self.end(now, call, Cause::Missed, Some(480), "Nobody answered");
    }

    /// An ACK: of our 2xx, maybe with the answer to the offer in it.
    pub(crate) fn handle_ack(&mut self, now: Instant, request: &Message) {
        let Ok(id) = sip::dialog::DialogId::of_request(request) else { return };
        let number = request.cseq().map_or(0, |c| c.number);
        let found =
            self.calls.iter_mut().find(|(_, c)| c.dialog.as_ref().is_some_and(|d| *d.id() == id));
        let Some((handle, call)) = found else { return };
        let handle = *handle;
        if let Some(answer) = call.answer.as_mut() {
            answer.handle_ack(number);
            call.answer = None;
        }
        if !std::mem::replace(&mut call.awaits_answer_in_ack, false) {
            return;
        }
        let taken = match (call.media.as_mut(), sdp_of(request)) {
            (Some(media), Some(sdp)) => media.handle_answer(now, sdp).is_ok(),
            _ => false,
        };
        if !taken {
            self.send_bye(now, handle);
            self.end(now, handle, Cause::NoCommonMedia, Some(488), "No usable answer in the ACK");
        }
    }
}

/// Who calls: URI and display name.
fn caller(request: &Message) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match request.from_() {
        Ok(from) => {
            let name = from.display_name().map(|n| text(&n)).unwrap_or_default();
            (text(from.uri()), name)
        }
        Err(_) => (String::new(), String::new()),
    }
}
