//! One branch of a forked request: its offer, its request, its responses.
//!
//! ```text
//!  promise_branch ─► offer_branch ─(relay writes its offer)─► branch_offer_ready ─► sent
//!  branch_response ─(relay writes the answer)─► branch_answer_ready ─► response context ─► caller
//! ```
//!
//! A branch is *promised* to the response context from the moment it is planned, so that a slow
//! relay delays the final response and a CANCEL in between costs nothing.

use crate::call::sdp_of;
use crate::config::MediaEncryption;
use crate::core::{EdgeCore, Failure, Pending, Present};
use crate::forward::{Branch, Forward};
use crate::ports::{
    EdgeEvent, EndCause, MediaProfile, Question, Refusal, RelayAsk, RelayDescription, Target,
};
use crate::token::{DialogToken, FlowHint};
use bytes::Bytes;
use sansio::Transport;
use sip::proxy::Action;
use sip::transaction::ServerKey;
use sip::{Edit, HeaderName, Message, Method, ViaBuilder};
use std::collections::VecDeque;
use std::time::Duration;

/// How long the relay may take to write an offer.
const OFFER_PATIENCE: Duration = Duration::from_secs(5);

/// A branch of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchId(pub u32);

impl EdgeCore {
    /// Takes a target into the context. `None` when the request is decided already.
    pub(crate) fn promise_branch(
        &mut self,
        at: Present,
        key: ServerKey,
        target: Target,
    ) -> Option<BranchId> {
        let forward = self.forwards.get_mut(&key)?;
        let id = BranchId(forward.branches.len() as u32 + 1);
        forward.context.add_promised(id, at.now + OFFER_PATIENCE).ok()?;
        let branch = Branch {
            media: target.media,
            target,
            client: None,
            waiting: VecDeque::new(),
            at_relay: None,
            retried: false,
        };
        forward.branches.insert(id, branch);
        self.schedule_context(key);
        Some(id)
    }

    /// Asks the relay for the branch's offer, or sends at once when there is none to write.
    pub(crate) fn offer_branch(&mut self, at: Present, key: ServerKey, id: BranchId) {
        let Some(forward) = self.forwards.get(&key) else { return };
        let Some(branch) = forward.branches.get(&id) else { return };
        let session = self.relay_session(forward);
        match sdp_of(&forward.request).filter(|_| session != 0) {
            Some(sdp) => {
                let description = RelayDescription {
                    session,
                    branch: id.0,
                    from_caller: true,
                    sdp,
                    from: forward.caller_media,
                    toward: branch.media,
                    source: forward.caller_reach.peer.ip(),
                };
                let question = Question::Relay(RelayAsk::Offer(description));
                self.ask(question, Pending::BranchOffer(key, id));
            }
            None => self.send_branch(at, key, id, None),
        }
    }

    /// The relay wrote the offer, or could not.
    pub(crate) fn branch_offer_ready(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        result: Result<Bytes, Refusal>,
    ) {
        match result {
            Ok(sdp) => self.send_branch(at, key, id, Some(sdp)),
            Err(refusal) => {
                tracing::warn!(status = refusal.status, reason = %refusal.reason, "offer refused");
                self.fail_unsent(at, key, id, &refusal);
            }
        }
    }

    fn send_branch(&mut self, at: Present, key: ServerKey, id: BranchId, sdp: Option<Bytes>) {
        let Some(forward) = self.forwards.get(&key) else { return };
        let Some(branch) = forward.branches.get(&id) else { return };
        let reach = branch.target.reach;
        let Some(flow) = self.flow_of(&reach) else {
            let gone =
                Refusal { status: 480, reason: "Device Not Connected".into(), headers: Vec::new() };
            self.fail_unsent(at, key, id, &gone);
            return;
        };
        let Some(request) = self.branch_request(key, id, sdp) else { return };
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if forward.context.fulfil(at.now, &id).is_err() {
            self.run_context(at, key);
            return;
        }
        let via = crate::forward::send_via(flow, reach.transport);
        match self.layer.send_request(at.now, via, request) {
            Ok(client) => {
                self.branches.insert(client, (key, id));
                if let Some(branch) =
                    self.forwards.get_mut(&key).and_then(|f| f.branches.get_mut(&id))
                {
                    branch.client = Some(client);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "branch not sent");
                self.branch_failed(at, key, id, Failure::FlowFailed);
            }
        }
        self.schedule_context(key);
    }

    /// A branch that could not even be sent. The only one decides the answer.
    fn fail_unsent(&mut self, at: Present, key: ServerKey, id: BranchId, refusal: &Refusal) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if forward.branches.len() == 1 {
            self.refuse_forward(at, key, refusal.status, &refusal.reason);
            return;
        }
        forward.context.abandon(&id);
        self.run_context(at, key);
    }

    /// The request as this branch gets it (RFC 3261 §16.6).
    fn branch_request(
        &mut self,
        key: ServerKey,
        id: BranchId,
        sdp: Option<Bytes>,
    ) -> Option<Message> {
        let unique = self.entropy.token(16);
        let prefix = net::branch_prefix(self.place.node, self.place.shard);
        let forward = self.forwards.get(&key)?;
        let looped = sip::proxy::forward::loop_token(self.loop_salt, &forward.request);
        let via_branch = sip::proxy::forward::branch(&prefix, &unique, &looped);
        let target = &forward.branches.get(&id)?.target;
        let transport = target.reach.transport;
        let own = self.place.advertise(transport, Some(target.reach.local)).to_string();
        let via = ViaBuilder::new(transport, &own).branch(&via_branch).rport().build();
        let hops = forward.request.max_forwards().unwrap_or(70).saturating_sub(1);
        let request = forward.request.clone();
        let (uri, path) = (target.uri.clone(), target.path.clone());
        let token = self.callee_token(forward, target);
        let mut edit = Edit::new(&request)
            .replace_request_uri(&uri)
            .remove_all(HeaderName::PROXY_AUTHORIZATION)
            .remove_all(HeaderName::AUTHORIZATION)
            .remove_all(HeaderName::MAX_FORWARDS)
            .prepend(HeaderName::MAX_FORWARDS, hops.to_string());
        if request.method().is_some_and(Method::is_dialog_forming) {
            let route = self.route_uri(token, &request, transport, &own);
            edit = edit.prepend(HeaderName::RECORD_ROUTE, route);
        }
        for hop in path.iter().rev() {
            edit = edit.prepend(HeaderName::ROUTE, hop);
        }
        edit = edit.prepend(HeaderName::VIA, via);
        if let Some(sdp) = sdp {
            edit = edit.replace_body("application/sdp", &sdp);
        }
        Some(edit.finish())
    }

    /// What the callee's Route will say: how to find the caller.
    fn callee_token(&self, forward: &Forward, target: &Target) -> DialogToken {
        DialogToken {
            call: forward.call.unwrap_or(0),
            relay_session: self.relay_session(forward),
            peer: forward.caller_binding,
            own: target.binding,
            shard: u8::try_from(self.place.shard).unwrap_or(0),
            policy: DialogToken::MEDIA_ANCHORED,
            flow_hint: forward.caller_reach.flow.map(FlowHint::from).unwrap_or_default(),
        }
    }

    /// `<sip:TOKEN@us;transport=..;lr>`, sealed for the dialog `request` begins.
    pub(crate) fn route_uri(
        &mut self,
        token: DialogToken,
        request: &Message,
        transport: Transport,
        own: &str,
    ) -> String {
        let call_id = request.call_id().unwrap_or_default();
        let tag = request.from_tag().unwrap_or_default();
        let sealed = self.tokens.seal(token, call_id, tag, &mut *self.entropy);
        format!("<sip:{sealed}@{own};transport={};lr>", transport.uri_token())
    }

    pub(crate) fn relay_session(&self, forward: &Forward) -> u64 {
        forward.call.and_then(|c| self.calls.get(&c)).map_or(0, |c| c.relay_session)
    }

    /// A response came by a branch. Descriptions in it cross the relay first, in order.
    pub(crate) fn branch_response(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: Message,
    ) {
        let Some(branch) = self.forwards.get_mut(&key).and_then(|f| f.branches.get_mut(&id)) else {
            return;
        };
        if branch.at_relay.is_some() {
            branch.waiting.push_back(response);
            return;
        }
        if self.retry_in_clear(at, key, id, &response) {
            return;
        }
        let Some(forward) = self.forwards.get(&key) else { return };
        let session = self.relay_session(forward);
        let is_success = response.status().is_some_and(|s| (101..300).contains(&s));
        match sdp_of(&response).filter(|_| is_success && session != 0) {
            Some(sdp) => self.ask_branch_answer(key, id, response, sdp),
            None => self.feed_context(at, key, id, response),
        }
    }

    fn ask_branch_answer(&mut self, key: ServerKey, id: BranchId, response: Message, sdp: Bytes) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let delayed = sdp_of(&forward.request).is_none();
        let Some(branch) = forward.branches.get_mut(&id) else { return };
        branch.at_relay = Some(response);
        let (from, toward) = (branch.media, forward.caller_media);
        let source = branch.target.reach.peer.ip();
        let Some(forward) = self.forwards.get(&key) else { return };
        let description = RelayDescription {
            session: self.relay_session(forward),
            branch: id.0,
            from_caller: false,
            sdp,
            from,
            toward,
            source,
        };
        // An INVITE without an offer gets it in the response (RFC 3261 §13.2.1).
        let ask =
            if delayed { RelayAsk::Offer(description) } else { RelayAsk::Answer(description) };
        self.ask(Question::Relay(ask), Pending::BranchAnswer(key, id));
    }

    /// The relay wrote the description the caller gets, or could not.
    pub(crate) fn branch_answer_ready(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        result: Result<Bytes, Refusal>,
    ) {
        let Some(branch) = self.forwards.get_mut(&key).and_then(|f| f.branches.get_mut(&id)) else {
            return;
        };
        let Some(response) = branch.at_relay.take() else { return };
        match result {
            Ok(sdp) => {
                let edited = Edit::new(&response).replace_body("application/sdp", &sdp).finish();
                self.feed_context(at, key, id, edited);
            }
            Err(refusal) => self.answer_unusable(at, key, id, &response, &refusal),
        }
        let next = self
            .forwards
            .get_mut(&key)
            .and_then(|f| f.branches.get_mut(&id))
            .and_then(|b| b.waiting.pop_front());
        if let Some(next) = next {
            self.branch_response(at, key, id, next);
        }
    }

    /// A 2xx whose description nobody can use ends that dialog; a provisional goes on without it.
    fn answer_unusable(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
        refusal: &Refusal,
    ) {
        tracing::warn!(status = refusal.status, reason = %refusal.reason, "answer refused");
        if response.status().is_some_and(|s| s < 200) {
            let bare = Edit::new(response).replace_body("", b"").finish();
            self.feed_context(at, key, id, bare);
            return;
        }
        self.track_dialog(key, id, response);
        let call = self.forwards.get(&key).and_then(|f| f.call);
        self.refuse_forward(at, key, 488, "Not Acceptable Here");
        if let Some(call) = call.and_then(|c| self.calls.get(&c)) {
            for mut dialog in call.dialogs.clone() {
                self.send_ack_and_bye(at, &mut dialog);
            }
        }
    }

    /// RTP/SAVP was refused: once more in clear, where policy allows it.
    fn retry_in_clear(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) -> bool {
        let preferred = self.config.media_encryption == MediaEncryption::Preferred;
        let refused = matches!(response.status(), Some(415 | 488 | 606));
        let Some(branch) = self.forwards.get_mut(&key).and_then(|f| f.branches.get_mut(&id)) else {
            return false;
        };
        let sdes = branch.media == MediaProfile::Sdes;
        if !preferred || !refused || !sdes || std::mem::replace(&mut branch.retried, true) {
            return false;
        }
        let mut target = branch.target.clone();
        target.media = MediaProfile::Plain;
        let Some(second) = self.promise_branch(at, key, target) else { return false };
        self.feed_context(at, key, id, response.clone());
        self.offer_branch(at, key, second);
        true
    }

    /// A branch got no final response.
    pub(crate) fn branch_failed(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        why: Failure,
    ) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        match why {
            Failure::TimedOut => forward.context.handle_timed_out(&id),
            Failure::FlowFailed => forward.context.handle_flow_failed(&id),
        }
        self.run_context(at, key);
    }

    fn feed_context(&mut self, at: Present, key: ServerKey, id: BranchId, response: Message) {
        let dialog_making = response.status().is_some_and(|s| (101..300).contains(&s));
        let response = if dialog_making {
            self.track_dialog(key, id, &response);
            self.rewrite_record_route(key, id, response)
        } else {
            response
        };
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        forward.context.handle_response(at.now, &id, response);
        self.run_context(at, key);
    }

    /// Does what the response context decided.
    pub(crate) fn run_context(&mut self, at: Present, key: ServerKey) {
        while let Some(action) = self.forwards.get_mut(&key).and_then(|f| f.context.poll_action()) {
            match action {
                Action::Forward { branch, message } => {
                    self.send_upstream(at, key, branch, message);
                }
                Action::Cancel { branch, reason } => {
                    let client = self
                        .forwards
                        .get(&key)
                        .and_then(|f| f.branches.get(&branch))
                        .and_then(|b| b.client);
                    if let Some(client) = client {
                        self.layer.cancel(at.now, &client, reason.as_deref());
                    }
                }
                Action::Abandoned { .. } | Action::Waiting | Action::Done => {}
            }
        }
        self.schedule_context(key);
    }

    /// A response goes back to the caller.
    fn send_upstream(
        &mut self,
        at: Present,
        key: ServerKey,
        branch: Option<BranchId>,
        message: Message,
    ) {
        let status = message.status().unwrap_or(500);
        if (180..200).contains(&status) {
            self.tell_ringing(at, key);
        }
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let decided = forward.answered && status >= 300;
        if decided {
            return;
        }
        forward.answered |= status >= 200;
        let (call, cancelled) = (forward.call, forward.cancelled);
        self.layer.respond(at.now, &key, message);
        let Some(call) = call else { return };
        if (200..300).contains(&status) {
            self.call_answered(at, call, branch.unwrap_or(BranchId(0)));
        } else if status >= 300 {
            let cause = match status {
                487 if cancelled => EndCause::Cancelled,
                408 | 480 => EndCause::NoAnswer,
                _ => EndCause::Failed,
            };
            self.end_call(at, call, cause, Some(status));
        }
    }

    fn call_answered(&mut self, at: Present, call: u64, branch: BranchId) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if !std::mem::replace(&mut entry.answered, true) {
            self.emit(EdgeEvent::CallAnswered { call, branch: branch.0, at: at.wall });
        }
    }
}
