//! Candidates by INFO (RFC 8840): where the relay ends the ICE of the side they come from, they are for
//! it; everywhere else the INFO goes on as any other.

use crate::asks::Pending;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::Side;
use crate::in_dialog::Held;
use crate::ports::{Question, Refusal, RelayAsk, RelayTrickle};
use bytes::Bytes;
use sip::{HeaderName, Message, Method};

/// The media type of a fragment (RFC 8840 §9).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// The relay's answer when candidates are not for it.
const NOT_OURS: u16 = 501;

impl EdgeCore {
    /// Asks the relay about candidates in an INFO. Gives the request back when there are none, or
    /// when the media of the call does not come to us.
    pub(crate) fn ask_trickle(&mut self, at: Present, held: Held) -> Option<Held> {
        let Some(key) = held.key.filter(|_| is_trickle(&held.request)) else { return Some(held) };
        let from = held.route.from;
        let Some(dialog) = self.dialog(&held.route).filter(|d| d.relay_session != 0) else {
            return Some(held);
        };
        let ask = RelayTrickle {
            session: dialog.relay_session,
            from: (from == Side::Callee).then_some(dialog.branch),
            fragment: Bytes::copy_from_slice(held.request.body()),
        };
        self.held.insert(key, false);
        let question = Question::Relay(RelayAsk::Trickle(ask));
        self.ask(at, question, Pending::PassTrickle(Box::new(held)));
        None
    }

    /// The relay took the candidates, or has no use for them.
    pub(crate) fn trickle_answered(
        &mut self,
        at: Present,
        held: Held,
        result: Result<Bytes, Refusal>,
    ) {
        let _entered = self.call_span(held.route.call).entered();
        let cancelled = held.key.and_then(|key| self.held.remove(&key)) == Some(true);
        match (held.key, result) {
            (Some(key), _) if cancelled => self.reply_status(at, key, &held.request, 487),
            (Some(key), Ok(_)) => self.reply_status(at, key, &held.request, 200),
            (Some(key), Err(refusal)) if refusal.status != NOT_OURS => {
                let (status, reason) = (refusal.status, refusal.reason.as_str());
                self.reply(at, key, &held.request, (status, reason), &refusal.headers);
            }
            _ => self.send_onward(at, held),
        }
    }
}

fn is_trickle(request: &Message) -> bool {
    let package = request.header_str(HeaderName::INFO_PACKAGE).unwrap_or_default();
    let package = package.split(';').next().unwrap_or_default().trim();
    request.method() == Some(Method::INFO)
        && package.eq_ignore_ascii_case("trickle-ice")
        && request.has_content_type(FRAGMENT)
}
