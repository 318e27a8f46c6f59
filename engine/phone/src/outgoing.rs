//! Calling somebody (RFC 3261 §13.2).

use crate::call::{Call, State, codec_name, sdp_of};
use crate::early::EarlyDialogs;
use crate::event::{CallHandle, Cause, PhoneError, PhoneEvent};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::messages::INFO_PACKAGES;
use crate::phone::Phone;
use crate::requests::Purpose;
use crate::session_timer::SessionClock;
use crate::ways::Pending;
use sansio::Entropy;
use sip::dialog::{Carrier, Change, DialogId, DialogSet, Meaning};
use sip::transaction::ClientKey;
use sip::{Edit, HeaderName, Message, Method, RequestBuilder, SipUri};
use std::net::SocketAddr;
use std::time::Instant;

/// Whom to call, and what the INVITE says besides.
#[derive(Debug, Default, Clone)]
pub(crate) struct Invitation {
    pub target: String,
    /// RFC 3891.
    pub replaces: Option<String>,
    /// RFC 3911.
    pub join: Option<String>,
    /// RFC 3892.
    pub referred_by: Option<String>,
    /// The call whose other side wants it.
    pub referrer: Option<CallHandle>,
}

impl Invitation {
    fn dress(&self, invite: &Message) -> Message {
        let headers = [
            (HeaderName::REPLACES, &self.replaces),
            (HeaderName::JOIN, &self.join),
            (HeaderName::REFERRED_BY, &self.referred_by),
        ];
        let mut edit = Edit::new(invite);
        for (name, value) in headers {
            if let Some(value) = value {
                edit = edit.append(name, value);
            }
        }
        edit.finish()
    }
}

impl Phone {
    /// Calls `target` (`user`, `user@domain`, `sip:user@domain`, `tel:`-like digits) with media on
    /// the socket the driver bound at `local`.
    ///
    /// # Errors
    /// A target that is no address, no link, or too many calls.
    pub fn call(
        &mut self,
        now: Instant,
        target: &str,
        local: SocketAddr,
    ) -> Result<CallHandle, PhoneError> {
        let invitation = Invitation { target: target.into(), ..Invitation::default() };
        self.invite_to(now, &invitation, local)
    }

    /// Places a call.
    pub(crate) fn invite_to(
        &mut self,
        now: Instant,
        invitation: &Invitation,
        local: SocketAddr,
    ) -> Result<CallHandle, PhoneError> {
        let uri = self.target_uri(&invitation.target)?;
        if self.link.is_none() {
            return Err(PhoneError::NotConnected);
        }
        if self.live_calls() >= self.config.calls_max {
            return Err(PhoneError::TooManyCalls(self.config.calls_max));
        }
        let handle = self.next_handle();
        let media = self.new_media(now, local, &uri);
        let gathered = media.is_gathered()
            || self.config.delayed_offer
            || (media.may_trickle() && self.tricklers.knows(&uri));
        let session_id = self.new_session_id();
        let clock = self.new_clock();
        let mut call = Call::new(State::Calling, session_id, clock);
        call.media = Some(media);
        call.referrer = invitation.referrer;
        call.peer_uri.clone_from(&uri);
        let invitation = Invitation { target: uri, ..invitation.clone() };
        match gathered {
            true => {
                self.calls.insert(handle, call);
                if let Err(error) = self.place(now, handle, &invitation) {
                    self.calls.remove(&handle);
                    return Err(error);
                }
            }
            false => {
                call.pending = Some(Pending::Invite(invitation));
                self.calls.insert(handle, call);
            }
        }
        self.drain(now);
        Ok(handle)
    }

    /// Sends the INVITE of a call that has its candidates.
    pub(crate) fn place(
        &mut self,
        now: Instant,
        handle: CallHandle,
        invitation: &Invitation,
    ) -> Result<(), PhoneError> {
        let delayed = self.config.delayed_offer;
        let Some(call) = self.calls.get_mut(&handle) else { return Err(PhoneError::NoSuchCall) };
        let offer = call.media.as_mut().filter(|_| !delayed).map(|media| media.create_offer(now));
        // Nothing is open in a call that begins.
        let _ = call.offers.send(Carrier::Invite, offer.is_some());
        let (session_id, clock) = (call.session_id.clone(), call.clock.clone());
        let invite = self.invite(&invitation.target, &session_id, &clock, offer.as_deref());
        let invite = invitation.dress(&invite);
        let key = self.send(now, &invite, Purpose::Invite(handle))?;
        self.invite_resent(handle, key);
        Ok(())
    }

    pub(crate) fn target_uri(&self, target: &str) -> Result<String, PhoneError> {
        let target = target.trim();
        let uri = match target {
            t if t.starts_with("sip:") || t.starts_with("sips:") => t.to_string(),
            t if t.contains('@') => format!("sip:{t}"),
            t if !t.is_empty() => {
                let user = t.replace('#', "%23");
                format!("sip:{user}@{}", self.account.domain)
            }
            _ => String::new(),
        };
        let valid = SipUri::parse(uri.as_bytes()).is_ok_and(|u| u.user().is_some());
        if valid { Ok(uri) } else { Err(PhoneError::BadTarget(target.into())) }
    }

    fn invite(
        &mut self,
        uri: &str,
        session_id: &str,
        clock: &SessionClock,
        offer: Option<&[u8]>,
    ) -> Message {
        let tag = self.entropy.token(10);
        let call_id = self.entropy.token(24);
        let invite = RequestBuilder::new(Method::INVITE, uri)
            .header(HeaderName::MAX_FORWARDS, "70")
            .header(HeaderName::FROM, format!("{};tag={tag}", self.account.name_addr()))
            .header(HeaderName::TO, format!("<{uri}>"))
            .header(HeaderName::CALL_ID, call_id)
            .header(HeaderName::CSEQ, "1 INVITE")
            .header(HeaderName::CONTACT, self.contact())
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::RECV_INFO, INFO_PACKAGES)
            .header(HeaderName::SESSION_ID, session_id)
            .header(HeaderName::USER_AGENT, &self.config.user_agent);
        let invite = clock.dress_request(invite);
        match offer {
            Some(offer) => invite.body("application/sdp", offer).build(),
            None => invite.build(),
        }
    }

    /// The INVITE went out, for the first time or with credentials.
    pub(crate) fn invite_resent(&mut self, call: CallHandle, key: ClientKey) {
        let request = self.requests.get(&key).map(|s| s.request.clone());
        if let (Some(entry), Some(request)) = (self.calls.get_mut(&call), request) {
            entry.client = Some(key);
            entry.set = Some(DialogSet::new(request));
        }
    }

    /// Gives up before an answer.
    pub(crate) fn cancel(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if entry.pending.is_some() {
            // Nobody has heard of it yet.
            return self.end(now, call, Cause::Cancelled, Some(487), "");
        }
        entry.state = State::Cancelling;
        if let Some(key) = entry.client {
            self.layer.cancel(now, &key, None);
        }
    }

    /// A response to our INVITE.
    pub(crate) fn invite_answered(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(set) = entry.set.as_mut() else { return };
        let status = response.status().unwrap_or_default();
        match set.handle_response(response) {
            Ok(Some(Change::Confirmed { id, first: true })) => {
                self.answered(now, call, &id, request, response);
            }
            Ok(Some(Change::Confirmed { id, first: false })) => {
                self.hang_up_second(now, call, &id, request);
            }
            Ok(Some(Change::AckAgain(id))) => {
                let number = request.cseq().map_or(1, |c| c.number);
                if let Some(ack) = entry.acks.find(&id, number) {
                    self.send_again(ack);
                }
            }
            Ok(Some(Change::Early(id) | Change::Progress(id))) => {
                self.progress(now, call, Some(&id), response);
            }
            Ok(Some(Change::Failed)) => self.refused(now, call, status, response),
            Ok(None) | Err(_) => {
                if (180..200).contains(&status) {
                    self.progress(now, call, None, response);
                }
            }
        }
    }

    /// The first 2xx: ACK, take the answer, talk.
    fn answered(
        &mut self,
        now: Instant,
        call: CallHandle,
        id: &DialogId,
        request: &Message,
        response: &Message,
    ) {
        let number = request.cseq().map_or(1, |c| c.number);
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let cancelling = entry.state == State::Cancelling;
        entry.dialog = entry.set.as_mut().and_then(|set| set.take(id));
        if entry.dialog.is_none() {
            return;
        }
        entry.state = State::Active;
        entry.peer.learn(response);
        entry.clock.accepted(now, response);
        let agreed = entry.agree(now, id, response, &mut *self.entropy);
        let Some(dialog) = entry.dialog.as_ref() else { return };
        let ack = dialog.ack(number).header(HeaderName::SESSION_ID, &entry.session_id);
        let ack = match &agreed {
            Ok(Some(answer)) => ack.body("application/sdp", answer).build(),
            _ => ack.build(),
        };
        let codec = entry.media.as_ref().map(codec_name).unwrap_or_default();
        let encrypted = entry.media.as_ref().is_some_and(media::Session::is_secure);
        self.send_ack(call, &ack, request);
        if cancelling {
            // The answer crossed our CANCEL (RFC 3261 §9.1).
            self.send_bye(now, call);
            self.end(now, call, Cause::Cancelled, Some(487), "");
        } else if let Err(reason) = agreed {
            self.send_bye(now, call);
            self.end(now, call, Cause::NoCommonMedia, Some(488), &reason);
        } else {
            self.tell(PhoneEvent::Answered { call, codec, encrypted });
            self.note_referred(now, call, 200);
        }
    }

    /// A second phone answered too: acknowledged and hung up (RFC 3261 §13.2.2.4).
    fn hang_up_second(&mut self, now: Instant, call: CallHandle, id: &DialogId, request: &Message) {
        let number = request.cseq().map_or(1, |c| c.number);
        let dialog = self.calls.get_mut(&call).and_then(|c| c.set.as_mut()?.take(id));
        let Some(mut dialog) = dialog else { return };
        let ack = dialog.ack(number).build();
        self.send_ack(call, &ack, request);
        let bye = dialog.request(Method::BYE).build();
        // If it cannot be sent, the other phone's own timers end that leg.
        let _ = self.send(now, &bye, Purpose::StrayBye);
    }

    fn refused(&mut self, now: Instant, call: CallHandle, status: u16, response: &Message) {
        let reason = String::from_utf8_lossy(response.reason()).into_owned();
        self.invite_failed(now, call, status, &reason);
    }

    /// Our INVITE came to nothing. Nothing happens to a call that was answered meanwhile.
    pub(crate) fn invite_failed(
        &mut self,
        now: Instant,
        call: CallHandle,
        status: u16,
        reason: &str,
    ) {
        let cause = match self.calls.get(&call).map(|c| c.state) {
            Some(State::Cancelling) => Cause::Cancelled,
            Some(State::Calling | State::Early) => Cause::of_status(status),
            _ => return,
        };
        self.end(now, call, cause, Some(status), reason);
    }

    /// A 2xx that belongs to no transaction any more: its ACK was lost.
    pub(crate) fn handle_stray(&mut self, response: &Message) {
        let Ok(id) = DialogId::of_response(response) else { return };
        let number = response.cseq().map_or(0, |c| c.number);
        let ack = self.calls.values().find_map(|c| c.acks.find(&id, number));
        if let Some(ack) = ack {
            self.send_again(ack);
        }
    }
}

impl Call {
    /// What the 2xx in dialog `id` says of media: gives our answer when it was an offer, and why
    /// nothing was agreed otherwise.
    fn agree(
        &mut self,
        now: Instant,
        id: &DialogId,
        response: &Message,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Vec<u8>>, String> {
        let sdp = sdp_of(response);
        let invite = self.offers;
        let early = self.early.get_or_make(id, invite);
        let meaning = early.offers.receive(Carrier::Success, sdp.is_some());
        self.offers = early.offers;
        let heard = self.media.as_ref().is_some_and(|media| media.direction().is_some());
        if meaning.is_ok() || !heard {
            self.early.select(now, id, &mut self.media, entropy);
        }
        self.early = EarlyDialogs::default();
        let media = self.media.as_mut().ok_or("no media")?;
        match (meaning, sdp) {
            (Ok(Meaning::Answer), Some(sdp)) => {
                media.handle_answer(now, sdp).map(|()| None).map_err(|e| e.to_string())
            }
            (Ok(Meaning::Offer), Some(sdp)) => {
                let answer = media.handle_offer(now, sdp).map_err(|e| e.to_string())?;
                // It answers the offer just taken.
                let _ = self.offers.send(Carrier::Ack, true);
                Ok(Some(answer))
            }
            // Some send it in an unreliable 183 only, and some gateways there with another tag.
            (Err(_), _) if heard => {
                self.offers.roll_back(Carrier::Invite);
                Ok(None)
            }
            (Ok(_), _) if media.direction().is_some() => Ok(None),
            _ => Err("the answer has no session description".into()),
        }
    }
}
