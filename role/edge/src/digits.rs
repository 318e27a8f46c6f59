//! Digits by INFO, where the other side of a call wants them as events or tones (R5.7): the relay
//! says whether it turns them into sound or packets; if not, the INFO goes on as any other.

use crate::asks::Pending;
use crate::call::session_id_value;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogPhase, DialogTrack, Side};
use crate::in_dialog::Held;
use crate::ports::{Pressed, Question, RelayAsk, RelayDigit};
use sip::transaction::SendVia;
use sip::{HeaderName, Message, Method, RequestBuilder};

/// What phones press that say nothing of it.
const DURATION_MS: u32 = 160;
/// Longer keys are held, not dialled.
const DURATION_MS_MAX: u32 = 10_000;

impl EdgeCore {
    /// Asks the relay about a digit in an INFO. Gives the request back when it is none.
    pub(crate) fn ask_digit(&mut self, at: Present, held: Held) -> Option<Held> {
        let Some(key) = held.key else { return Some(held) };
        let from = held.route.from;
        let Some((digit, duration_ms)) = pressed(&held.request) else { return Some(held) };
        let Some(dialog) = self.dialog(&held.route).filter(|d| d.relay_session != 0) else {
            return Some(held);
        };
        let toward = (from == Side::Caller).then_some(dialog.branch);
        let session = dialog.relay_session;
        let ask = RelayAsk::Digit(RelayDigit { session, toward, digit, duration_ms });
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
        let Some((via, info)) = self.own_info(at, &dialog, side, number, key) else { return };
        // A phone that does not take it has said in its offer that it would.
        let sent = self.layer.send_request(at.now, via, info);
        tracing::debug!(?sent, "digit by INFO");
    }

    fn own_info(
        &mut self,
        at: Present,
        dialog: &DialogTrack,
        side: Side,
        number: u32,
        key: Pressed,
    ) -> Option<(SendVia, Message)> {
        let (to, from) = (dialog.party(side), dialog.party(side.other()));
        let words = dialog.words_for(side);
        let reach = self.best_reach(at, to.binding, to.reach);
        let flow = self.flow_of(&reach)?;
        let via = self.own_via(reach.transport, reach.local);
        let mut builder = RequestBuilder::new(Method::INFO, &to.target)
            .header(HeaderName::VIA, via)
            .header(HeaderName::MAX_FORWARDS, "70");
        for route in &to.routes {
            builder = builder.header(HeaderName::ROUTE, route);
        }
        let id = self.calls.get(&dialog.call).map(|c| c.session_id.as_str()).unwrap_or_default();
        let body = format!("Signal={}\r\nDuration={}\r\n", key.digit, key.duration_ms);
        let info = builder
            .header(HeaderName::FROM, format!("{};tag={}", words.0, from.tag))
            .header(HeaderName::TO, format!("{};tag={}", words.1, to.tag))
            .header(HeaderName::CALL_ID, words.2)
            .header(HeaderName::CSEQ, format!("{number} INFO"))
            .header(HeaderName::SESSION_ID, session_id_value(id))
            .body("application/dtmf-relay", &body)
            .build();
        Some((SendVia { flow, transport: reach.transport }, crate::strict::in_routers_words(info)))
    }
}

/// The key and its duration in an INFO with `application/dtmf-relay` (`Signal=5`, `Duration=160`) or
/// `application/dtmf` (`5`).
fn pressed(request: &Message) -> Option<(char, u32)> {
    if request.method() != Some(Method::INFO) {
        return None;
    }
    let body = std::str::from_utf8(request.body()).ok()?;
    let field = |wanted: &str| {
        body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let (key, duration) = if request.has_content_type("application/dtmf-relay") {
        (field("Signal")?, field("Duration").and_then(|ms| ms.parse().ok()))
    } else if request.has_content_type("application/dtmf") {
        (body.trim(), None)
    } else {
        return None;
    };
    // Some number the star and the hash as RFC 4733 does.
    let key = match key {
        "10" => "*",
        "11" => "#",
        key => key,
    };
    let mut chars = key.chars();
    let digit = chars.next().filter(|_| chars.next().is_none())?.to_ascii_uppercase();
    let duration = duration.unwrap_or(DURATION_MS).clamp(1, DURATION_MS_MAX);
    "0123456789*#ABCD".contains(digit).then_some((digit, duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(content_type: &str, body: &str) -> Message {
        RequestBuilder::new(Method::INFO, "sip:a@b")
            .header(HeaderName::VIA, "SIP/2.0/UDP h;branch=z9hG4bK1")
            .header(HeaderName::FROM, "<sip:a@b>;tag=1")
            .header(HeaderName::TO, "<sip:c@d>;tag=2")
            .header(HeaderName::CALL_ID, "x")
            .header(HeaderName::CSEQ, "1 INFO")
            .body(content_type, body)
            .build()
    }

    #[test]
    fn r5_7_keys_in_info_are_read_with_their_duration() {
        for (content_type, body, wanted) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=250\r\n", Some(('5', 250))),
            ("application/dtmf-relay", "signal = *\nduration = 99999", Some(('*', 10_000))),
            ("application/dtmf-relay", "Signal=11\r\n", Some(('#', 160))),
            ("application/dtmf", "d", Some(('D', 160))),
            ("application/dtmf-relay", "Duration=160\r\n", None),
            ("application/dtmf-relay", "Signal=55\r\n", None),
            ("application/media_control+xml", "5", None),
        ] {
            assert_eq!(pressed(&info(content_type, body)), wanted, "{body}");
        }
    }
}
