//! UPDATE requests of ours (RFC 3311).

use crate::call::State;
use crate::event::{CallHandle, Cause};
use crate::extensions::{ALLOW, SUPPORTED};
use crate::phone::Phone;
use crate::requests::Purpose;
use sip::{HeaderName, Message, Method};
use std::time::Instant;

impl Phone {
    /// An UPDATE without a description: a session refresh.
    pub(crate) fn send_update(&mut self, now: Instant, call: CallHandle) {
        let contact = self.contact();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog.as_mut() else { return };
        let update = dialog
            .request(Method::UPDATE)
            .header(HeaderName::CONTACT, contact)
            .header(HeaderName::ALLOW, ALLOW)
            .header(HeaderName::SUPPORTED, SUPPORTED)
            .header(HeaderName::SESSION_ID, &entry.session_id);
        let update = entry.clock.dress_request(update).build();
        // Without a link the timer asks once more, and then ends the call.
        let _ = self.send(now, &update, Purpose::Update(call));
    }

    /// A response to our UPDATE.
    pub(crate) fn update_answered(&mut self, now: Instant, call: CallHandle, response: &Message) {
        let status = response.status().unwrap_or_default();
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog.as_mut() else { return };
        if status < 200 {
            return;
        }
        dialog.handle_response(response);
        match status {
            200..300 => {
                entry.peer.learn(response);
                entry.clock.accepted(now, response);
            }
            // The dialog is gone at the other side (RFC 4028 §10).
            408 | 481 if entry.state == State::Active => {
                self.send_bye(now, call);
                self.end(now, call, Cause::Network, Some(status), "The call is gone");
            }
            // It says it takes none after all: the next refresh is a re-INVITE.
            405 | 501 => entry.peer.update = false,
            _ => {}
        }
    }
}
