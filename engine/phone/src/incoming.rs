//! Being called (RFC 3261 §13.3).

use crate::call::{Call, State, codec_name, sdp_of};
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::phone::{Phone, Timer};
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
        if self.live_calls() >= self.config.calls_max {
            self.reply(now, &key, response_to(&request, 486, "Busy Here"));
            return;
        }
        let clock = self.new_clock();
        if self.refuse_interval(now, &key, clock.policy, &request) {
            return;
        }
        let tag = self.entropy.token(10);
        let Ok(dialog) = Dialog::from_request(&request, &tag) else {
            self.reply(now, &key, response_to(&request, 400, "Bad Request"));
            return;
        };
        let handle = self.next_handle();
        let session_id = self.session_id_of(&request);
        let (from, display_name) = caller(&request);
        let target = String::from_utf8_lossy(request.request_uri()).into_owned();
        let ringing = response_to(&request, 180, "Ringing")
            .to_tag(&tag)
            .record_route()
            .header(HeaderName::CONTACT, self.contact())
            .build();
        let mut call = Call::new(State::Ringing, session_id, clock);
        call.peer.learn(&request);
        call.dialog = Some(dialog);
        call.server = Some((key, request));
        self.calls.insert(handle, call);
        self.invites.insert(key, handle);
        self.respond(now, &key, ringing);
        self.timers.set(Timer::Ring(handle), now + self.config.ring_timeout);
        self.tell(PhoneEvent::Incoming { call: handle, from, target, display_name });
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
        let mut media = self.new_media(now, local);
        let Some((key, request)) = self.call_mut(call)?.server.clone() else {
            return Err(PhoneError::NoSuchCall);
        };
        self.timers.clear(&Timer::Ring(call));
        let described = match sdp_of(&request) {
            Some(offer) => media.handle_offer(now, offer),
            None => Ok(media.create_offer(now)),
        };
        let sdp = match described {
            Ok(sdp) => sdp,
            Err(error) => {
                self.refuse(now, call, 488);
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
        call.server = None;
        dialog.confirm();
        let tag = String::from_utf8_lossy(&dialog.id().local_tag).into_owned();
        let response = response_to(&request, 200, "OK")
            .to_tag(&tag)
            .record_route()
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::USER_AGENT, agent);
        let response = call.clock.dress_response(now, &request, response);
        let response = response.body("application/sdp", sdp).build();
        let number = request.cseq().map_or(0, |c| c.number);
        call.answer = Some(Answer::new(now, response.bytes().clone(), number, T1, T2));
        call.awaits_answer_in_ack = sdp_of(&request).is_none();
        call.state = State::Active;
        let codec = codec_name(&media);
        let encrypted = media.is_secure();
        call.media = Some(media);
        self.respond(now, &key, response);
        self.tell(PhoneEvent::Answered { call: handle, codec, encrypted });
    }

    /// Declines a ringing call (603).
    ///
    /// # Errors
    /// No such call, or a call that does not ring.
    pub fn reject(&mut self, now: Instant, call: CallHandle) -> Result<(), PhoneError> {
        self.reject_with(now, call, 603)
    }

    /// Refuses a ringing call with a status of the application's choice: 300 to 699.
    ///
    /// # Errors
    /// As [`Phone::reject`].
    pub fn reject_with(
        &mut self,
        now: Instant,
        call: CallHandle,
        status: u16,
    ) -> Result<(), PhoneError> {
        debug_assert!((300..700).contains(&status), "a refusal has a final, negative status");
        if self.call_mut(call)?.server.is_none() {
            return Err(PhoneError::WrongState("not ringing here"));
        }
        self.refuse(now, call, status);
        let words = sip::reason_phrase(status);
        self.end(now, call, Cause::Rejected, Some(status), words);
        self.drain(now);
        Ok(())
    }

    /// The caller gave up.
    pub(crate) fn handle_cancel(&mut self, now: Instant, key: ServerKey) {
        let Some(call) = self.invites.get(&key).copied() else { return };
        if self.refuse(now, call, 487) {
            self.end(now, call, Cause::Missed, Some(487), "Request Terminated");
        }
    }

    pub(crate) fn rang_out(&mut self, now: Instant, call: CallHandle) {
        if self.refuse(now, call, 480) {
            self.end(now, call, Cause::Missed, Some(480), "Nobody answered");
        }
    }

    /// Refuses an INVITE that waits for our answer, with the tag it heard in our 180. False when
    /// none waits.
    pub(crate) fn refuse(&mut self, now: Instant, call: CallHandle, status: u16) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let Some((key, request)) = entry.server.take() else { return false };
        let tag = entry.dialog.as_ref().map(|d| d.id().local_tag.clone()).unwrap_or_default();
        let tag = String::from_utf8_lossy(&tag).into_owned();
        self.respond(now, &key, response_to(&request, status, "").to_tag(&tag).build());
        true
    }

    /// The caller's RFC 7989 identifier, or one of ours.
    fn session_id_of(&mut self, request: &Message) -> String {
        let theirs = request.header_str(HeaderName::SESSION_ID);
        let theirs = theirs.and_then(|v| v.split(';').next()).map(str::trim);
        match theirs {
            Some(id) if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) => id.into(),
            _ => self.new_session_id(),
        }
    }

    /// An ACK: of our 2xx, maybe with the answer to the offer in it.
    pub(crate) fn handle_ack(&mut self, now: Instant, request: &Message) {
        let Ok(id) = sip::dialog::DialogId::of_request(request) else { return };
        let number = request.cseq().map_or(0, |c| c.number);
        let found =
            self.calls.iter_mut().find(|(_, c)| c.dialog.as_ref().is_some_and(|d| *d.id() == id));
        let Some((handle, call)) = found else { return };
        let handle = *handle;
        if !call.answer.as_mut().is_some_and(|answer| answer.handle_ack(number)) {
            return;
        }
        call.answer = None;
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
