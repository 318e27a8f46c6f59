//! The early dialogs of an outgoing call: each phone that rings has its own offer/answer state, its
//! own reliable provisionals and, once it described itself, its own media (RFC 3261 §13.2.2.1, RFC
//! 3960).
//!
//! One of them is *selected*: its media is the call's. The newest that brings a description is, and
//! in the end the one that answers.

use crate::call::{Call, State, sdp_of};
use crate::event::{CallHandle, PhoneEvent};
use crate::extensions::Peer;
use crate::phone::Phone;
use crate::requests::Purpose;
use sansio::Entropy;
use sip::dialog::{
    Carrier, DialogId, Meaning, OfferAnswer, RAck, Received, ReliableReceiver, rseq_of,
};
use sip::{HeaderName, Message, Method};
use std::net::SocketAddr;
use std::time::Instant;

/// One early dialog of ours.
pub(crate) struct Early {
    pub id: DialogId,
    pub offers: OfferAnswer,
    pub peer: Peer,
    receiver: ReliableReceiver,
    /// Its media while another's is the call's.
    media: Option<media::Session>,
}

/// The early dialogs of one call. At most as many as the dialog set keeps.
#[derive(Default)]
pub(crate) struct EarlyDialogs {
    all: Vec<Early>,
    selected: Option<DialogId>,
    /// The offer, for further phones that answer it.
    unanswered: Option<media::Session>,
}

impl EarlyDialogs {
    /// That of `id`; made when it is new, with the INVITE's offer open in it.
    pub(crate) fn get_or_make(&mut self, id: &DialogId, invite: OfferAnswer) -> &mut Early {
        let at = self.all.iter().position(|e| e.id == *id).unwrap_or_else(|| {
            self.all.push(Early {
                id: id.clone(),
                offers: invite,
                peer: Peer::default(),
                receiver: ReliableReceiver::default(),
                media: None,
            });
            self.all.len() - 1
        });
        &mut self.all[at]
    }

    pub(crate) fn find(&mut self, id: &DialogId) -> Option<&mut Early> {
        self.all.iter_mut().find(|e| e.id == *id)
    }

    /// The dialog whose media is the call's.
    pub(crate) fn selected(&self) -> Option<&DialogId> {
        self.selected.as_ref()
    }

    /// Makes the media of `id` the call's; gives the former back to its dialog.
    pub(crate) fn select(
        &mut self,
        now: Instant,
        id: &DialogId,
        current: &mut Option<media::Session>,
        entropy: &mut dyn Entropy,
    ) {
        if self.selected.as_ref() == Some(id) {
            return;
        }
        let Some(media) = current.take() else { return };
        let former = self.selected.replace(id.clone());
        let Some(former) = former else {
            // The first: the call's media is its own, and a copy waits for the next.
            self.unanswered = Some(media.fork(now, entropy));
            *current = Some(media);
            return;
        };
        let kept = self.find(id).and_then(|early| early.media.take());
        *current = kept.or_else(|| Some(self.unanswered.as_ref()?.fork(now, entropy)));
        let mut media = media;
        if let Some(current) = current {
            // There is one socket: who is listened to has its ways.
            current.adopt_traversal(now, media.take_traversal());
        }
        if let Some(early) = self.find(&former) {
            early.media = Some(media);
        }
    }

    /// The media a packet from `from` is for, when it is not the call's own.
    pub(crate) fn media_from(&mut self, from: SocketAddr) -> Option<&mut media::Session> {
        let mut media = self.all.iter_mut().filter_map(|early| early.media.as_mut());
        media.find(|media| media.remote_rtp() == Some(from))
    }

    /// Figures of every early dialog's media but the selected one's.
    pub(crate) fn stats(&self) -> impl Iterator<Item = (&DialogId, media::MediaStats)> {
        self.all.iter().filter_map(|e| Some((&e.id, e.media.as_ref()?.stats())))
    }
}

impl Call {
    /// Takes a description in an early dialog in: its media becomes the call's. Gives our answer
    /// when it was an offer.
    fn describe_early(
        &mut self,
        now: Instant,
        id: &DialogId,
        sdp: &[u8],
        meaning: Meaning,
        entropy: &mut dyn Entropy,
    ) -> Option<Vec<u8>> {
        self.early.select(now, id, &mut self.media, entropy);
        let media = self.media.as_mut()?;
        match meaning {
            Meaning::Offer => media.handle_offer(now, sdp).ok(),
            _ => {
                // One that makes no sense: the 2xx will say it again, until then nothing is heard.
                let _ = media.handle_answer(now, sdp);
                None
            }
        }
    }
}

impl Phone {
    /// A provisional response to our INVITE, in the early dialog `id`.
    pub(crate) fn progress(
        &mut self,
        now: Instant,
        call: CallHandle,
        id: Option<&DialogId>,
        response: &Message,
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let mut described = false;
        if let Some(id) = id {
            let invite = entry.offers;
            let early = entry.early.get_or_make(id, invite);
            early.peer.learn(response);
            let rseq = rseq_of(response);
            if rseq.is_some_and(|rseq| early.receiver.handle(rseq) != Received::InOrder) {
                return;
            }
            let carrier = if rseq.is_some() { Carrier::Reliable } else { Carrier::Provisional };
            let sdp = sdp_of(response);
            let meaning = early.offers.receive(carrier, sdp.is_some()).unwrap_or(Meaning::Ignored);
            let mut answer = None;
            if let (Some(sdp), Meaning::Answer | Meaning::Preview | Meaning::Offer) = (sdp, meaning)
            {
                described = true;
                answer = entry.describe_early(now, id, sdp, meaning, &mut *self.entropy);
            }
            if rseq.is_some() && entry.state != State::Cancelling {
                self.send_prack(now, call, id, response, answer);
            }
        }
        self.tell_progress(call, described, response.status() == Some(180));
        self.note_referred(now, call, response.status().unwrap_or(180));
    }

    /// Acknowledges a reliable provisional, with the answer to the offer in it.
    fn send_prack(
        &mut self,
        now: Instant,
        call: CallHandle,
        id: &DialogId,
        response: &Message,
        answer: Option<Vec<u8>>,
    ) {
        let Some(rack) = RAck::acknowledging(response) else { return };
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog_mut(id) else { return };
        let mut prack = dialog.request(Method::PRACK).header(HeaderName::RACK, rack.to_string());
        if let Some(early) = entry.early.find(id) {
            // An offer we cannot answer leaves the PRACK bare: the callee then ends the call.
            let _ = early.offers.send(Carrier::Prack, answer.is_some());
        }
        if let Some(answer) = answer {
            prack = prack.body("application/sdp", answer);
        }
        let prack = prack.header(HeaderName::SESSION_ID, &entry.session_id).build();
        // Without a link the call fails by itself.
        let _ = self.send(now, &prack, Purpose::Prack(call));
    }

    fn tell_progress(&mut self, call: CallHandle, described: bool, rings: bool) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if !matches!(entry.state, State::Calling | State::Early) {
            return;
        }
        entry.state = State::Early;
        let first_media = described && !std::mem::replace(&mut entry.told.early_media, true);
        let first_ring = rings && !std::mem::replace(&mut entry.told.ringing, true);
        if first_media {
            self.tell(PhoneEvent::EarlyMedia { call });
        }
        if first_ring {
            self.tell(PhoneEvent::Ringing { call });
        }
    }

    /// Figures of the media of a ringing call's other early dialogs: those not listened to.
    pub fn early_stats(&self, call: CallHandle) -> Vec<media::MediaStats> {
        let early = self.calls.get(&call).map(|c| c.early.stats().map(|(_, stats)| stats));
        early.map(Iterator::collect).unwrap_or_default()
    }
}
