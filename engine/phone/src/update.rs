//! UPDATE requests of ours (RFC 3311): session refreshes, and offers before or after the answer.

use crate::call::{State, sdp_of};
use crate::event::{CallHandle, Cause};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::phone::{Phone, Timer};
use crate::requests::Purpose;
use sip::dialog::{Carrier, DialogId, Meaning, retry_after_491};
use sip::{HeaderName, Message, Method};
use std::time::{Duration, Instant};

/// The longest a peer may make us wait with an offer (500 with Retry-After).
const RETRY_MAX: Duration = Duration::from_secs(10);

impl Phone {
    /// An UPDATE: a session refresh, or with an offer what the application wants of holding.
    pub(crate) fn send_update(&mut self, now: Instant, call: CallHandle, offers: bool) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(id) = entry.current() else { return };
        let wanted = entry.hold.wanted;
        let offer = match (offers, entry.media.as_mut()) {
            (true, Some(media)) => {
                media.set_hold(wanted);
                Some(media.create_offer(now))
            }
            _ => None,
        };
        // Whoever wants to offer has asked whether it is free.
        let _ = entry.offers_mut(&id).send(Carrier::Update, offer.is_some());
        let Some(dialog) = entry.dialog_mut(&id) else { return };
        let mut update = dialog
            .request(Method::UPDATE)
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::SESSION_ID, &entry.session_id);
        // Before the answer there is no session to refresh (RFC 4028 §7.4).
        if entry.state == State::Active {
            update = entry.clock.dress_request(update);
        }
        if let Some(offer) = offer {
            update = update.body("application/sdp", offer);
            entry.offering = Some(wanted);
        }
        let sent = self.send(now, &update.build(), Purpose::Update(call));
        // Without a link a refresh is asked for once more by its timer.
        if sent.is_err() && offers {
            self.offer_failed(call, Carrier::Update);
        }
    }

    /// A response to our UPDATE.
    pub(crate) fn update_answered(
        &mut self,
        now: Instant,
        call: CallHandle,
        request: &Message,
        response: &Message,
    ) {
        let status = response.status().unwrap_or_default();
        let Ok(id) = DialogId::of_response(response) else { return };
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if status < 200 {
            return;
        }
        let Some(dialog) = entry.dialog_mut(&id) else { return };
        let role = dialog.role();
        dialog.handle_response(response);
        let offered = sdp_of(request).is_some();
        match status {
            200..300 => self.update_taken(now, call, &id, response),
            // The dialog is gone at the other side (RFC 4028 §10).
            408 | 481 if entry.state == State::Active => {
                self.send_bye(now, call);
                self.end(now, call, Cause::Network, Some(status), "The call is gone");
            }
            491 | 500 if offered && entry.state != State::Ended => {
                entry.take_back_offer(Carrier::Update);
                let after = response.header_str(HeaderName::RETRY_AFTER).and_then(seconds);
                let wait = match after {
                    Some(after) if status == 500 => after.min(RETRY_MAX),
                    _ => retry_after_491(role, &mut *self.entropy),
                };
                self.timers.set(Timer::Glare(call), now + wait);
            }
            _ => {
                // It says it takes none after all: what is left is re-INVITE.
                if matches!(status, 405 | 501) {
                    entry.peer.update = false;
                }
                if offered {
                    self.offer_failed(call, Carrier::Update);
                }
            }
        }
    }

    fn update_taken(&mut self, now: Instant, call: CallHandle, id: &DialogId, response: &Message) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.peer.learn(response);
        if entry.state == State::Active {
            entry.clock.accepted(now, response);
        }
        let sdp = sdp_of(response);
        let meaning = entry.offers_mut(id).receive(Carrier::UpdateOk, sdp.is_some());
        match (meaning, sdp, entry.media.as_mut()) {
            (Ok(Meaning::Answer), Some(sdp), Some(media)) => {
                // The old session goes on when the answer makes no sense.
                let _ = media.handle_answer(now, sdp);
                let held_by_peer = media.is_held_by_remote();
                if let Some(held) = entry.offering.take() {
                    self.now_held(now, call, held);
                }
                self.note_peer_hold(call, held_by_peer);
            }
            (Err(_), ..) => self.offer_failed(call, Carrier::Update),
            _ => {}
        }
    }
}

/// The number at the start of Retry-After.
fn seconds(value: &str) -> Option<Duration> {
    let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<u32>().ok().map(|s| Duration::from_secs(s.into()))
}
