//! Responses inside a dialog, and requests that got none.

use crate::asks::Pending;
use crate::branch_response::has_vias;
use crate::call::sdp_of;
use crate::core::{EdgeCore, Failure, Present};
use crate::hygiene::{bare, hides_description};
use crate::in_dialog::{Held, Passing};
use crate::onward::Onward;
use crate::ports::{EndCause, Refusal};
use crate::reap::is_invite_success;
use bytes::Bytes;
use sip::body::replace_description;
use sip::transaction::ClientKey;
use sip::{CSeq, Edit, HeaderName, Message, Method};

impl EdgeCore {
    /// A response to a request in a dialog.
    pub(crate) fn pass_response(&mut self, at: Present, key: &ClientKey, response: Message) {
        let response = crate::sanitize::cleaned(&response).unwrap_or(response);
        let Some(passing) = self.passing.get(key) else { return };
        let least = if passing.route.hides { 1 } else { 2 };
        if response.status() == Some(100) || !has_vias(&response, least) {
            return;
        }
        let (route, had_offer) = (passing.route.clone(), passing.had_offer);
        if passing.timer_c.is_some() && response.status().is_some_and(|s| s < 200) {
            self.restart_timer_c(*key, Some(at.now + self.config.ring_timeout()));
        } else {
            self.restart_timer_c(*key, None);
        }
        let Some(passing) = self.passing.get(key) else { return };
        let is_invite = passing.request.method() == Some(Method::INVITE);
        let _entered = self.call_span(route.call).entered();
        let described = response.status().is_some_and(|s| (101..300).contains(&s));
        let takes_part = had_offer || is_invite;
        if described && hides_description(&response) {
            let refusal = Refusal::new(488, "Not Acceptable Here");
            return self.response_unusable(at, key, &response, &refusal);
        }
        let anchored = self.dialog(&route).is_some_and(|d| d.relay_session != 0);
        let sdp = if described && takes_part && anchored { sdp_of(&response) } else { None };
        let Some(sdp) = sdp else { return self.send_back(at, key, &response) };
        if !had_offer {
            if let Err(refusal) = self.check_offer(&sdp, route.reach.transport, route.encryption[1])
            {
                return self.response_unusable(at, key, &response, &refusal);
            }
            if let Some(dialog) = self.dialog(&route) {
                dialog.answer_due_from = Some(route.from);
            }
        }
        let Some(dialog) = self.dialog(&route) else { return };
        let question = Self::relay_question(dialog, route.from.other(), sdp, !had_offer);
        self.ask(at, question, Pending::PassResponse(*key, Box::new(response)));
    }

    /// The relay wrote the description of a response, or could not.
    pub(crate) fn pass_response_ready(
        &mut self,
        at: Present,
        key: &ClientKey,
        response: &Message,
        result: Result<Bytes, Refusal>,
    ) {
        match result {
            Ok(sdp) => {
                let edit = replace_description(Edit::new(response), response, &sdp);
                let edited = edit.finish();
                self.send_back(at, key, &edited);
            }
            Err(refusal) => self.response_unusable(at, key, response, &refusal),
        }
    }

    /// A description nobody can use, in a response: a provisional goes on without it. After a final
    /// the two sides disagree about the session, so the call is ended.
    fn response_unusable(
        &mut self,
        at: Present,
        key: &ClientKey,
        response: &Message,
        refusal: &Refusal,
    ) {
        let Some(passing) = self.passing.get(key) else { return };
        let (route, server) = (passing.route.clone(), passing.server);
        let request = passing.request.clone();
        let over = route.call.and_then(|c| self.calls.get(&c)).is_none_or(|c| c.ended);
        if over || response.status().is_some_and(|s| s < 200) {
            return self.send_back(at, key, &bare(response));
        }
        tracing::warn!(reason = %refusal.reason, "answer in dialog refused");
        if is_invite_success(response) {
            self.reap(at, route.reach, response, false);
        }
        self.reply(at, server, &request, (refusal.status, &refusal.reason), &refusal.headers);
        if let Some(call) = route.call {
            self.hang_up(at, call, EndCause::Failed);
        }
    }

    fn send_back(&mut self, at: Present, key: &ClientKey, response: &Message) {
        let Some(passing) = self.passing.get(key) else { return };
        let (server, route) = (passing.server, passing.route.clone());
        let refreshed = is_refresh_success(response).then(|| passing.request.clone());
        let mut edit = Edit::new(response).remove_first(HeaderName::VIA).ensure_content_length();
        if let Some((call, request)) = route.call.zip(refreshed) {
            let tag = route.callee_tag.as_bytes();
            edit = self.session_granted(at, (call, tag), &request, (edit, response));
        }
        if let Ok(CSeq { number, method }) = response.cseq()
            && let Some(dialog) = self.dialog(&route)
        {
            let theirs = dialog.restore_cseq(route.from, number);
            if theirs != number {
                edit =
                    edit.replace_first(HeaderName::CSEQ, format!("{theirs} {}", method.as_str()));
            }
            if is_refresh_success(response)
                && let Some(Ok(contact)) = response.contacts().next()
            {
                let target = String::from_utf8_lossy(contact.uri()).into_owned();
                dialog.party_mut(route.from.other()).target = target;
            }
        }
        let message = self.in_requesters_words(key, response, edit);
        self.layer.respond(at.now, &server, message);
        let is_invite = response.cseq().is_ok_and(|c| c.method == Method::INVITE);
        if !is_invite && response.status().is_some_and(|s| s >= 200) {
            // No second final follows; its transaction goes on alone.
            self.client_gone(*key);
        }
    }

    /// A request in a dialog got no final response.
    pub(crate) fn pass_failed(&mut self, at: Present, key: &ClientKey, why: Failure) {
        if why == Failure::FlowFailed && self.pass_by_another_flow(at, key) {
            return;
        }
        let Some(passing) = self.passing.get(key) else { return };
        let (server, request) = (passing.server, passing.request.clone());
        let method = request.method();
        let status = match why {
            // The other side is gone: for whoever hangs up, that is success.
            Failure::FlowFailed if method == Some(Method::BYE) => 200,
            Failure::FlowFailed => 480,
            Failure::TimedOut if method == Some(Method::INVITE) => 408,
            // RFC 4320 §4.2: the sender of any other request has timed out by itself.
            Failure::TimedOut => return,
        };
        self.reply_status(at, server, &request, status);
    }
}

impl EdgeCore {
    /// A peer does not go with its connection, which may have been closed because nobody used it
    /// while the call went on: it is asked once more by another one. True when that was tried.
    fn pass_by_another_flow(&mut self, at: Present, key: &ClientKey) -> bool {
        let Some(passing) = self.passing.get(key) else { return false };
        let way = &passing.route;
        if way.server == 0 {
            return false;
        }
        let Some(reach) = self.reach_of_server(way.server, &passing.request, way.routes) else {
            return false;
        };
        self.restart_timer_c(*key, None);
        let Some(passing) = self.passing.remove(key) else { return false };
        let Passing { server, route, had_offer, request, .. } = *passing;
        self.passing_of.remove(&server);
        let call = route.call;
        let route = Onward { reach, server: 0, ..route };
        let held = Held { key: Some(server), route, request, is_answer: !had_offer };
        self.send_onward(at, held);
        // It counts once; in between its call was not forgotten.
        if let Some(entry) = call.and_then(|call| self.calls.get_mut(&call)) {
            entry.under_way = entry.under_way.saturating_sub(1);
        }
        if let Some(call) = call {
            self.forget_call(call);
        }
        true
    }
}

/// A 2xx to INVITE or UPDATE: it moves the remote target and refreshes the session.
fn is_refresh_success(response: &Message) -> bool {
    let method = response.cseq().map(|c| c.method);
    response.status().is_some_and(|s| (200..300).contains(&s))
        && matches!(method, Ok(Method::INVITE | Method::UPDATE))
}
