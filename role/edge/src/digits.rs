//! Digits by INFO, where the other side of a call wants them as events or tones (R5.7): the relay
//! says whether it turns them into sound or packets; if not, the INFO goes on as any other.
//!
//! By INFO too, desk phones with a recording key ask to have their call recorded or not
//! (`Record: on`, `Record: off`): no RFC has it, snom and others send it.

use crate::asks::Pending;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogPhase, DialogTrack, Side};
use crate::in_dialog::Held;
use crate::ports::{Pressed, Question, RecordWish, RelayAsk, RelayDigit};
use sip::{Message, Method, PressedKey};

impl EdgeCore {
    /// Asks the relay about a digit in an INFO. Gives the request back when it is none.
    pub(crate) fn ask_digit(&mut self, at: Present, held: Held) -> Option<Held> {
        let Some(key) = held.key else { return Some(held) };
        let from = held.route.from;
        let pressed = PressedKey::of(&held.request);
        let wish = record_wish(&held.request);
        if pressed.is_none() && wish.is_none() {
            return Some(held);
        }
        let Some(dialog) = self.dialog(&held.route).filter(|d| d.relay_session != 0) else {
            return Some(held);
        };
        let toward = (from == Side::Caller).then_some(dialog.branch);
        let session = dialog.relay_session;
        let of_ours = dialog.party(from).peer == 0;
        let by_caller = from == Side::Caller;
        let ask = match (pressed, wish) {
            (Some(PressedKey { digit, duration_ms }), _) => {
                RelayAsk::Digit(RelayDigit { session, toward, digit, duration_ms })
            }
            (None, Some(on)) => RelayAsk::Record(RecordWish { session, by_caller, of_ours, on }),
            (None, None) => return Some(held),
        };
        self.held.insert(key, false);
        self.ask(at, Question::Relay(ask), Pending::PassDigit(Box::new(held)));
        None
    }

    /// The relay has turned the digit into something else, or has not.
    pub(crate) fn digit_answered(&mut self, at: Present, held: Held, done: bool) {
        let _entered = self.call_span(held.route.call).entered();
        let cancelled = held.key.and_then(|key| self.held.remove(&key)) == Some(true);
        match held.key {
            Some(key) if cancelled => self.reply_status(at, key, &held.request, 487),
            Some(key) if done => self.reply_status(at, key, &held.request, 200),
            _ => self.send_onward(at, held),
        }
    }

    /// A key was pressed on one side, and the other wants INFO.
    pub(crate) fn tell_digit(&mut self, at: Present, key: Pressed) {
        let entry = self.calls.get_mut(&key.session).filter(|entry| !entry.ended);
        let Some(entry) = entry else { return };
        let side = if key.by_caller { Side::Callee } else { Side::Caller };
        // The one that has the media.
        let is_it =
            |d: &&mut DialogTrack| d.phase == DialogPhase::Confirmed && d.unselected.is_none();
        let Some(dialog) = entry.dialogs.iter_mut().find(is_it) else { return };
        let number = dialog.own_cseq(side.other());
        let dialog = dialog.clone();
        let body = format!("Signal={}\r\nDuration={}\r\n", key.digit, key.duration_ms);
        let written = self.own_request(at, &dialog, (side, number), Method::INFO, |info| {
            info.body("application/dtmf-relay", &body)
        });
        let Some((via, info)) = written else { return };
        // A phone that does not take it has said in its offer that it would.
        let sent = self.layer.send_request(at.now, via, info);
        tracing::debug!(?sent, "digit by INFO");
    }
}

/// What a recording key asks for.
fn record_wish(request: &Message) -> Option<bool> {
    if request.method() != Some(Method::INFO) {
        return None;
    }
    let value = request.header_str("Record")?;
    match value.trim() {
        on if on.eq_ignore_ascii_case("on") => Some(true),
        off if off.eq_ignore_ascii_case("off") => Some(false),
        _ => None,
    }
}
