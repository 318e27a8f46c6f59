//! Requests inside a dialog: carried by the token in their Route, whatever is remembered here.

use crate::asks::Pending;
use crate::call::described;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::DialogPhase;
use crate::hygiene::{bare, hides_description};
use crate::identity::Spoof;
use crate::onward::Onward;
use crate::ports::{EndCause, Refusal};
use crate::zones::Zone;
use bytes::Bytes;
use sip::body::replace_description;
use sip::transaction::{Arrival, ClientKey, ServerKey};
use sip::{CSeq, Edit, HeaderName, Message, Method};
use std::time::Instant;

/// A request of a dialog on its way to the other side.
#[derive(Debug)]
pub(crate) struct Passing {
    /// The transaction to answer.
    pub(crate) server: ServerKey,
    pub(crate) route: Onward,
    pub(crate) had_offer: bool,
    pub(crate) request: Message,
    /// Timer C of a re-INVITE: how long it may stay without a final.
    pub(crate) timer_c: Option<Instant>,
}

/// A request whose description is at the relay.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) key: Option<ServerKey>,
    pub(crate) route: Onward,
    pub(crate) request: Message,
    /// The description answers an offer that came in a response.
    pub(crate) is_answer: bool,
}

impl Passing {
    pub(crate) fn call(&self) -> Option<u64> {
        self.route.call
    }

    pub(crate) fn server(&self) -> ServerKey {
        self.server
    }
}

impl EdgeCore {
    /// A request with a To tag.
    pub(crate) fn pass_request(
        &mut self,
        at: Present,
        key: ServerKey,
        arrival: &Arrival,
        request: Message,
    ) {
        if self.refuses_unfit(at, key, &request) {
            return;
        }
        let Some((route, request)) = self.onward(at, arrival, request.clone()) else {
            self.reply(at, key, &request, (481, "Call/Transaction Does Not Exist"), &[]);
            return;
        };
        let _entered = self.call_span(route.call).entered();
        if !self.passes_under_its_name(&route, arrival, &request) {
            self.reply(at, key, &request, (403, "Not Your From"), &[]);
            return;
        }
        if route.hides && request.method() == Some(Method::REFER) && self.refers_inside(&request) {
            self.reply(at, key, &request, (403, "Refer-To Names An Address"), &[]);
            return;
        }
        let request = self.without_clear_keys(arrival.transport, request);
        let request = Self::without_forbidden_keys(route.encryption[0], request);
        let is_answer = request.method() == Some(Method::PRACK) && self.answer_due(&route);
        if !is_answer
            && let Some(sdp) = negotiable(&request)
            && let Err(refusal) = self.check_offer(sdp, arrival.transport, route.encryption[0])
        {
            let (status, reason) = (refusal.status, refusal.reason.as_str());
            self.reply(at, key, &request, (status, reason), &refusal.headers);
            return;
        }
        self.hold_or_send(at, Held { key: Some(key), route, request, is_answer });
    }

    /// Whether a request of a dialog is sent under the name its side has in it.
    fn passes_under_its_name(&mut self, way: &Onward, arrival: &Arrival, it: &Message) -> bool {
        let side = way.from;
        let Some(name) = self.dialog(way).map(|d| d.party(side).name.clone()) else { return true };
        if self.zone_of(arrival) != Zone::Phone || self.keeps_its_name(it, &name) {
            return true;
        }
        let claimed = it.header(HeaderName::FROM).unwrap_or_default().to_vec();
        let spoof = Spoof { header: "From", claimed, unreadable: false };
        self.tell_spoof(arrival, it, &name, &spoof);
        false
    }

    /// An ACK for a 2xx: it has no transaction, and no answer if it cannot be delivered. What it
    /// describes is always an answer (RFC 3261 §13.2.1).
    pub(crate) fn pass_ack(&mut self, at: Present, arrival: &Arrival, request: &Message) {
        if request.max_forwards() == Some(0) {
            return;
        }
        let Some((route, request)) = self.onward(at, arrival, request.clone()) else { return };
        let _entered = self.call_span(route.call).entered();
        let request = crate::sanitize::cleaned(&request).unwrap_or(request);
        let request = if hides_description(&request) { bare(&request) } else { request };
        self.hold_or_send(at, Held { key: None, route, request, is_answer: true });
    }

    fn hold_or_send(&mut self, at: Present, held: Held) {
        let (from, is_offer) = (held.route.from, !held.is_answer);
        if let Some(dialog) = self.dialog(&held.route).filter(|d| d.relay_session != 0)
            && let Some(sdp) = negotiable(&held.request)
        {
            let sdp = Bytes::copy_from_slice(sdp);
            let question = Self::relay_question(dialog, from, sdp, is_offer);
            if let Some(key) = held.key {
                self.held.insert(key, false);
            }
            self.ask(at, question, Pending::PassRequest(Box::new(held)));
            return;
        }
        let held = self.ask_trickle(at, held);
        if let Some(held) = held.and_then(|held| self.ask_digit(at, held)) {
            self.send_onward(at, held);
        }
    }

    /// The relay wrote the description of a held request, or could not.
    pub(crate) fn pass_request_ready(
        &mut self,
        at: Present,
        mut held: Held,
        result: Result<Bytes, Refusal>,
    ) {
        let _entered = self.call_span(held.route.call).entered();
        if let Some(key) = held.key
            && self.held.remove(&key) == Some(true)
        {
            self.reply_status(at, key, &held.request, 487);
            return;
        }
        let was_due = held.is_answer && self.answer_due(&held.route);
        if was_due && let Some(dialog) = self.dialog(&held.route) {
            dialog.answer_due_from = None;
        }
        match (result, held.key) {
            (Ok(sdp), _) => {
                let edit = replace_description(Edit::new(&held.request), &held.request, &sdp);
                held.request = edit.finish();
                self.send_onward(at, held);
            }
            (Err(refusal), Some(key)) => {
                let (status, reason) = (refusal.status, refusal.reason.as_str());
                self.reply(at, key, &held.request, (status, reason), &refusal.headers);
            }
            (Err(refusal), None) => {
                // The 2xx must be acknowledged, but there is no media to go with it.
                tracing::warn!(reason = %refusal.reason, "answer in ACK refused");
                held.request = bare(&held.request);
                let call = held.route.call;
                self.send_onward(at, held);
                if let (true, Some(call)) = (was_due, call) {
                    self.hang_up(at, call, EndCause::Failed);
                }
            }
        }
    }

    /// A CANCEL for a re-INVITE.
    pub(crate) fn cancel_passing(&mut self, at: Present, key: ServerKey) {
        if let Some(client) = self.passing_of.get(&key) {
            self.layer.cancel(at.now, client, None);
        } else if let Some(cancelled) = self.held.get_mut(&key) {
            *cancelled = true;
        }
    }

    pub(crate) fn send_onward(&mut self, at: Present, held: Held) {
        let Held { key, route, request, is_answer } = held;
        let is_bye = request.method() == Some(Method::BYE);
        if is_bye {
            self.note_end(route.call, route.from.into(), &request);
        }
        let flow = self.flow_of(&route.reach);
        if let Some(flow) = flow {
            let onward = self.onward_request(&route, &request);
            match key {
                None => self.transmit(flow, onward.bytes().clone()),
                Some(key) => {
                    let via = crate::forward::send_via(flow, route.reach.transport);
                    match self.layer.send_request(at.now, via, onward) {
                        Ok(client) => {
                            let had_offer = negotiable(&request).is_some() && !is_answer;
                            let route = route.clone();
                            let timer_c = None;
                            let passing =
                                Passing { server: key, route, had_offer, request, timer_c };
                            self.keep_passing(at, client, passing);
                        }
                        Err(error) => {
                            tracing::warn!(%error, "in-dialog request not sent");
                            self.reply_status(at, key, &request, 503);
                        }
                    }
                }
            }
        } else if let Some(key) = key {
            // For whoever hangs up, a peer that is gone is success.
            let answer = if is_bye { (200, "OK") } else { (480, "Device Not Connected") };
            self.reply(at, key, &request, answer, &[]);
        }
        if is_bye && let Some(call) = route.call {
            self.end_dialog(at, call, route.callee_tag.as_bytes());
        }
    }

    fn keep_passing(&mut self, at: Present, client: ClientKey, passing: Passing) {
        if let Some(call) = passing.call().and_then(|c| self.calls.get_mut(&c)) {
            call.under_way += 1;
        }
        let is_invite = passing.request.method() == Some(Method::INVITE);
        self.passing_of.insert(passing.server, client);
        self.passing.insert(client, Box::new(passing));
        if is_invite {
            self.restart_timer_c(client, Some(at.now + self.config.ring_timeout()));
        }
    }

    /// Sets Timer C of a re-INVITE, or stops it.
    pub(crate) fn restart_timer_c(&mut self, client: ClientKey, due: Option<Instant>) {
        let Some(passing) = self.passing.get_mut(&client) else { return };
        if let Some(was) = std::mem::replace(&mut passing.timer_c, due) {
            self.passing_deadlines.remove(&(was, client));
        }
        if let Some(due) = due {
            self.passing_deadlines.insert((due, client));
        }
    }

    /// Re-INVITEs that ring for ever are cancelled (RFC 3261 §16.8).
    pub(crate) fn passing_timeout(&mut self, at: Present) {
        while let Some((due, client)) = self.passing_deadlines.first().copied() {
            if due > at.now {
                return;
            }
            self.passing_deadlines.pop_first();
            self.restart_timer_c(client, None);
            self.layer.cancel(at.now, &client, None);
        }
    }

    /// The request as the other side gets it: our Via on top, one hop less, CSeq in its own space.
    fn onward_request(&mut self, route: &Onward, request: &Message) -> Message {
        let via = self.own_via(route.reach.transport, route.reach.local);
        let hops = request.max_forwards().unwrap_or(70).saturating_sub(1);
        let mut edit = Edit::new(request);
        for _ in 0..route.routes {
            edit = edit.remove_first(HeaderName::ROUTE);
        }
        let edit = self.without_secrets(edit, request);
        let mut edit = self
            .in_other_words(edit, request, route)
            .remove_all(HeaderName::MAX_FORWARDS)
            .prepend(HeaderName::MAX_FORWARDS, hops.to_string())
            .prepend(HeaderName::VIA, via);
        // An UPDATE before the answer does not begin a session timer (RFC 4028 §7.4).
        if self.dialog(route).is_some_and(|d| d.phase == DialogPhase::Confirmed) {
            edit = self.sessions.ask(edit, request);
        }
        if let Ok(CSeq { number, method }) = request.cseq()
            && let Some(dialog) = self.dialog(route)
        {
            let sent = dialog.forward_cseq(route.from, number);
            if sent != number {
                edit = edit.replace_first(HeaderName::CSEQ, format!("{sent} {}", method.as_str()));
            }
        }
        crate::strict::in_routers_words(crate::hiding::finished(edit, route.hides))
    }
}

/// The description of a request that takes part in offer and answer. OPTIONS may carry one that
/// only tells capabilities.
fn negotiable(request: &Message) -> Option<&[u8]> {
    let takes_part =
        matches!(request.method().map(|m| m.as_str()), Some("INVITE" | "ACK" | "PRACK" | "UPDATE"));
    if takes_part { described(request) } else { None }
}
