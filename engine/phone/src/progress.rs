//! Provisional responses of ours (RFC 3261 §13.3.1.1, RFC 3262 §3): reliable ones and their PRACK,
//! and media before the answer.

use crate::call::{State, T1, sdp_of};
use crate::event::{CallHandle, Cause, PhoneError};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::messages::INFO_PACKAGES;
use crate::phone::Phone;
use sip::dialog::{Acknowledged, Carrier, Meaning, RAck, ReliableSender};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, response_to};
use std::net::SocketAddr;
use std::time::Instant;

impl Phone {
    /// Sends media to the caller before answering (183), on the socket the driver bound at `local`.
    /// [`Phone::answer`] goes on with it.
    ///
    /// # Errors
    /// No such call, a call that does not ring here or has early media already, a caller without
    /// offer that takes no reliable responses, or an offer we share nothing with (the call rings on).
    pub fn progress_with_media(
        &mut self,
        now: Instant,
        call: CallHandle,
        local: SocketAddr,
    ) -> Result<(), PhoneError> {
        let entry = self.call_mut(call)?;
        let Some((_, request)) = entry.server.clone().filter(|_| entry.media.is_none()) else {
            return Err(PhoneError::WrongState(entry.state.name()));
        };
        let reliable = wants_reliable(&request);
        let peer_uri = entry.peer_uri.clone();
        let mut media = self.new_media(now, local, &peer_uri);
        let sdp = match sdp_of(&request) {
            Some(offer) => {
                media.handle_offer(now, offer).map_err(|e| PhoneError::Media(e.to_string()))?
            }
            None if reliable => media.create_offer(now),
            None => return Err(PhoneError::WrongState("without an offer and without 100rel")),
        };
        let entry = self.call_mut(call)?;
        entry.media = Some(media);
        entry.answer_sdp = Some(sdp.clone());
        self.send_provisional(now, call, 183, Some(&sdp), reliable);
        self.drain(now);
        Ok(())
    }

    /// Sends a provisional of ours, reliably when asked to.
    pub(crate) fn send_provisional(
        &mut self,
        now: Instant,
        call: CallHandle,
        status: u16,
        sdp: Option<&[u8]>,
        reliable: bool,
    ) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some((key, request)) = entry.server.clone() else { return };
        let tag = entry.local_tag();
        let mut response = response_to(&request, status, "")
            .to_tag(&tag)
            .record_route()
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::RECV_INFO, INFO_PACKAGES);
        let number = request.cseq().map_or(0, |c| c.number);
        if reliable {
            let entropy = &mut *self.entropy;
            let sender =
                entry.reliable.get_or_insert_with(|| ReliableSender::new(now, number, T1, entropy));
            response = response
                .header(HeaderName::REQUIRE, "100rel")
                .header(HeaderName::RSEQ, sender.next_rseq().to_string());
        }
        if let Some(sdp) = sdp {
            response = response.body("application/sdp", sdp);
        }
        let carrier = if reliable { Carrier::Reliable } else { Carrier::Provisional };
        // What may not be said now has been sorted out by whoever made the description.
        let _ = entry.offers.send(carrier, sdp.is_some());
        let response = response.build();
        match entry.reliable.as_mut().filter(|_| reliable) {
            Some(sender) => {
                sender.push(now, response);
                self.send_reliable(now, call);
            }
            None => self.respond(now, &key, response),
        }
    }

    /// Sends what the reliable sender has due.
    fn send_reliable(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(key) = entry.server.as_ref().map(|(key, _)| *key) else { return };
        let due = entry.reliable.as_mut().and_then(ReliableSender::poll_transmit);
        if let Some(response) = due {
            self.respond(now, &key, response);
        }
    }

    /// The timer of a reliable provisional.
    pub(crate) fn reliable_timeout(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let given_up = entry.reliable.as_mut().is_some_and(|sender| sender.handle_timeout(now));
        if given_up {
            // RFC 3262 §3: the INVITE is refused with a 5xx.
            self.refuse(now, call, 504);
            self.end(now, call, Cause::Network, Some(504), "No PRACK");
        } else {
            self.send_reliable(now, call);
        }
    }

    /// A PRACK of theirs.
    pub(crate) fn handle_prack(
        &mut self,
        now: Instant,
        call: CallHandle,
        key: ServerKey,
        request: &Message,
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let rack = RAck::of(request);
        let known = match (rack, entry.reliable.as_mut()) {
            (Some(rack), Some(sender)) => sender.handle_prack(now, rack),
            _ => Acknowledged::Unknown,
        };
        if known == Acknowledged::Unknown {
            let status = if rack.is_some() { 481 } else { 400 };
            return self.respond(now, &key, response_to(request, status, "").build());
        }
        match self.prack_description(now, call, request) {
            Ok(answer) => {
                let mut ok = response_to(request, 200, "OK");
                if let Some(answer) = answer {
                    ok = ok.body("application/sdp", answer);
                }
                self.respond(now, &key, ok.build());
            }
            // The PRACK itself is good; the call has no media to go on with (RFC 3262 §5).
            Err(Unusable::Answer) => {
                self.respond(now, &key, response_to(request, 200, "OK").build());
                self.refuse(now, call, 488);
                return self.end(now, call, Cause::NoCommonMedia, Some(488), "No usable answer");
            }
            Err(Unusable::Offer(status)) => {
                self.respond(now, &key, response_to(request, status, "").build());
            }
        }
        self.send_reliable(now, call);
        self.answer_if_held_back(now, call);
    }

    /// What a PRACK says of media: our answer, when it offered.
    fn prack_description(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
    ) -> Result<Option<Vec<u8>>, Unusable> {
        let Some(entry) = self.calls.get_mut(&call) else { return Ok(None) };
        let sdp = sdp_of(request);
        let meaning = entry.offers.receive(Carrier::Prack, sdp.is_some());
        match (meaning, sdp, entry.media.as_mut()) {
            (Ok(Meaning::Answer), Some(sdp), Some(media)) => {
                media.handle_answer(now, sdp).map(|()| None).map_err(|_| Unusable::Answer)
            }
            (Ok(Meaning::Offer), Some(sdp), Some(media)) => {
                let answer = media.handle_offer(now, sdp);
                match &answer {
                    Ok(_) => drop(entry.offers.send(Carrier::PrackOk, true)),
                    Err(_) => entry.offers.roll_back(Carrier::Prack),
                }
                answer.map(Some).map_err(|_| Unusable::Offer(488))
            }
            (Err(sip::dialog::OfferError::NoAnswer), ..) => Err(Unusable::Answer),
            (Err(error), ..) => Err(Unusable::Offer(error.status())),
            _ => Ok(None),
        }
    }

    /// Sends the 2xx that waited for a PRACK.
    fn answer_if_held_back(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let free = !entry.reliable.as_ref().is_some_and(ReliableSender::holds_back_2xx);
        if entry.state == State::Ringing && free && std::mem::take(&mut entry.held_back) {
            self.accept(now, call);
        }
    }
}

/// Why a description in a PRACK is of no use.
enum Unusable {
    /// The answer that was due.
    Answer,
    /// An offer; with what to answer the PRACK.
    Offer(u16),
}

/// Whether the caller takes (or insists on) reliable provisional responses.
pub(crate) fn wants_reliable(invite: &Message) -> bool {
    requires_reliable(invite) || invite.lists(HeaderName::SUPPORTED, "100rel")
}

/// Whether the caller insists on them.
pub(crate) fn requires_reliable(invite: &Message) -> bool {
    invite.lists(HeaderName::REQUIRE, "100rel")
}
