//! Being called (RFC 3261 §13.3).

use crate::call::{Call, State, T1, T2, codec_name, sdp_of};
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::messages::INFO_PACKAGES;
use crate::phone::{Phone, Timer};
use crate::progress::{requires_reliable, wants_reliable};
use crate::replaces::Takeover;
use crate::ways::Pending;
use sip::dialog::{Answer, Carrier, Dialog, Meaning, OfferError, ReliableSender};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, response_to};
use std::net::SocketAddr;
use std::time::Instant;

/// Why a phone that insists on ZRTP refuses keys in SDP.
const ZRTP_WANTED: &str = "399 whimbrel \"media keys by ZRTP wanted (a=zrtp-hash)\"";

impl Phone {
    /// A new INVITE.
    pub(crate) fn handle_invite(&mut self, now: Instant, key: ServerKey, request: Message) {
        let takeover = match self.takeover(&request) {
            Ok(takeover) => takeover,
            Err(status) => return self.reply(now, &key, response_to(&request, status, "")),
        };
        if self.live_calls() >= self.config.calls_max && takeover == Takeover::None {
            self.reply(now, &key, response_to(&request, 486, "Busy Here"));
            return;
        }
        if sdp_of(&request).is_some_and(|offer| !self.security().can_answer(offer)) {
            // Before it rings, so that who answers is not hung up on, and a proxy that knows other
            // words (RTP/SAVP instead of DTLS-SRTP) tries those.
            let refused = response_to(&request, 488, "");
            let refused = refused.header(HeaderName::ACCEPT, "application/sdp");
            let refused = match self.security() {
                // A server that can sit between has to know what would do (RFC 3261 §20.43).
                media::Security::Zrtp => refused.header(HeaderName::from("Warning"), ZRTP_WANTED),
                _ => refused,
            };
            return self.reply(now, &key, refused);
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
        let insists = requires_reliable(&request);
        let reliable = insists || (self.config.reliable_ringing && wants_reliable(&request));
        let mut call = Call::new(State::Ringing, session_id, clock);
        call.peer.learn(&request);
        call.peer_uri.clone_from(&from);
        call.takeover = takeover;
        call.dialog = Some(dialog);
        // Nothing is open in a dialog that begins.
        let _ = call.offers.receive(Carrier::Invite, sdp_of(&request).is_some());
        call.server = Some((key, request));
        self.calls.insert(handle, call);
        self.invites.insert(key, handle);
        self.send_provisional(now, handle, 180, None, reliable);
        self.timers.set(Timer::Ring(handle), now + self.config.ring_timeout);
        let (replaces, joins) = match takeover {
            Takeover::None => (None, None),
            Takeover::Replaces(old) => (Some(old), None),
            Takeover::Joins(old) => (None, Some(old)),
        };
        let call = handle;
        self.tell(PhoneEvent::Incoming { call, from, target, display_name, replaces, joins });
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
        let entry = self.call_mut(call)?;
        if entry.state != State::Ringing || entry.pending.is_some() {
            return Err(PhoneError::WrongState("not ringing here"));
        }
        if self.call_mut(call)?.server.is_none() {
            return Err(PhoneError::NoSuchCall);
        }
        self.timers.clear(&Timer::Ring(call));
        // Media before the answer goes on; what it said already is not negotiated again.
        if self.call_mut(call)?.media.is_some() {
            return self.accept_unless_held_back(now, call);
        }
        let peer_uri = self.call_mut(call)?.peer_uri.clone();
        let media = self.new_media(now, local, &peer_uri);
        let entry = self.call_mut(call)?;
        let offer = entry.server.as_ref().and_then(|(_, request)| sdp_of(request));
        let may =
            media.may_trickle() && offer.is_some_and(media::traversal::RemoteIce::trickles_in);
        let gathered = media.is_gathered() || may;
        let entry = self.call_mut(call)?;
        entry.media = Some(media);
        if gathered {
            return self.describe_answer(now, call);
        }
        entry.pending = Some(Pending::Answer);
        self.drain(now);
        Ok(())
    }

    /// Writes what the 200 says of media that has its candidates.
    pub(crate) fn describe_answer(
        &mut self,
        now: Instant,
        call: CallHandle,
    ) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        let Some((_, request)) = entry.server.clone() else { return Err(PhoneError::NoSuchCall) };
        let Some(media) = entry.media.as_mut() else { return Err(PhoneError::NoSuchCall) };
        let described = match sdp_of(&request) {
            Some(offer) => media.handle_offer(now, offer),
            None => Ok(media.create_offer(now)),
        };
        match described {
            Ok(sdp) => entry.answer_sdp = Some(sdp),
            Err(error) => {
                self.refuse(now, call, 488);
                let reason = error.to_string();
                self.end(now, call, Cause::NoCommonMedia, Some(488), &reason);
                self.drain(now);
                return Err(PhoneError::Media(reason));
            }
        }
        self.accept_unless_held_back(now, call)
    }

    fn accept_unless_held_back(
        &mut self,
        now: Instant,
        call: CallHandle,
    ) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        // RFC 3262 §3: no 2xx before a description in a 1xx is acknowledged.
        entry.held_back = entry.reliable.as_ref().is_some_and(ReliableSender::holds_back_2xx);
        if !entry.held_back {
            self.accept(now, call);
        }
        self.drain(now);
        Ok(())
    }

    /// Sends the 2xx of a ringing call that has its media.
    pub(crate) fn accept(&mut self, now: Instant, handle: CallHandle) {
        let contact = self.contact();
        let agent = self.config.user_agent.clone();
        let Some(call) = self.calls.get_mut(&handle) else { return };
        let Some((key, request)) = call.server.take() else { return };
        let tag = call.local_tag();
        if let Some(dialog) = call.dialog.as_mut() {
            dialog.confirm();
        }
        if let Some(sender) = call.reliable.as_mut() {
            sender.stop();
        }
        let response = response_to(&request, 200, "OK")
            .to_tag(&tag)
            .record_route()
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::RECV_INFO, INFO_PACKAGES)
            .header(HeaderName::USER_AGENT, agent);
        let mut response = call.clock.dress_response(now, &request, response);
        // What was agreed in a reliable 1xx is not said again (RFC 6337 §3.1.1).
        let says = matches!(
            call.offers.send(Carrier::Success, true),
            Ok(Meaning::Answer | Meaning::Offer)
        );
        if let Some(sdp) = call.answer_sdp.take().filter(|_| says) {
            response = response.body("application/sdp", sdp);
        }
        let response = response.build();
        let number = request.cseq().map_or(0, |c| c.number);
        call.answer = Some(Answer::new(now, response.bytes().clone(), number, T1, T2));
        call.state = State::Active;
        let codec = call.media.as_ref().map(codec_name).unwrap_or_default();
        let encrypted = call.media.as_ref().is_some_and(media::Session::is_secure);
        self.respond(now, &key, response);
        self.tell(PhoneEvent::Answered { call: handle, codec, encrypted });
        self.replace(now, handle);
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
        if let Some(sender) = entry.reliable.as_mut() {
            sender.stop();
        }
        let tag = entry.local_tag();
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
        let sdp = sdp_of(request);
        let taken = match (call.offers.receive(Carrier::Ack, sdp.is_some()), sdp) {
            (Ok(Meaning::Answer), Some(sdp)) => {
                call.media.as_mut().is_some_and(|media| media.handle_answer(now, sdp).is_ok())
            }
            (Err(OfferError::NoAnswer), _) => false,
            _ => true,
        };
        if !taken {
            self.send_bye(now, handle);
            self.end(now, handle, Cause::NoCommonMedia, Some(488), "No usable answer in the ACK");
        } else {
            self.trickle(now, handle);
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
