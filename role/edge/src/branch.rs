//! One branch of a forked request: its offer, its request, its responses.
//!
//! ```text
//!  promise_branch ─► offer_branch ─(relay writes its offer)─► branch_offer_ready ─► sent
//!  branch_response ─(relay writes the answer)─► branch_answer_ready ─► response context ─► caller
//! ```
//!
//! A branch is *promised* to the response context from the moment it is planned, so that a slow
//! relay delays the final response and a CANCEL in between costs nothing.

use crate::asks::{LOCATE_PATIENCE, Pending, RELAY_PATIENCE};
use crate::call::sdp_of;
use crate::call::session_id_value;
use crate::core::{EdgeCore, Failure, Present};
use crate::forward::{Branch, Forward};
use crate::hiding::Words;
use crate::hops::Hops;
use crate::peering::Peering;
use crate::ports::{Question, Refusal, RelayAsk, RelayDescription, Target};
use crate::token::{DialogToken, FlowHint};
use bytes::Bytes;
use sansio::Transport;
use sip::body::replace_description;
use sip::transaction::ServerKey;
use sip::{Edit, HeaderName, Message, Method, ViaBuilder, response_to};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a branch is waited for that is not sent: longer than its question to the relay.
const OFFER_PATIENCE: Duration = RELAY_PATIENCE.saturating_add(Duration::from_secs(1));

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
        let media = self.first_media(self.forwards.get(&key)?, &target);
        let forward = self.forwards.get_mut(&key)?;
        let id = forward.branches.next_id();
        let located = target.locate.as_ref().map_or(Duration::ZERO, |_| LOCATE_PATIENCE);
        forward.context.add_promised(id, at.now + OFFER_PATIENCE + located).ok()?;
        let branch = Branch {
            media,
            peering: Peering { peer: target.peer, ..Peering::default() },
            words: Words::default(),
            target,
            client: None,
            waiting: VecDeque::new(),
            at_relay: None,
            retried: false,
            unsent: None,
            answer: None,
            hops: Hops::default(),
            finals: Vec::new(),
        };
        forward.branches.push(branch);
        self.schedule_context(key);
        Some(id)
    }

    /// Asks the relay for the branch's offer, or sends at once when there is none to write.
    pub(crate) fn offer_branch(&mut self, at: Present, key: ServerKey, id: BranchId) {
        let Some(forward) = self.forwards.get(&key) else { return };
        let Some(branch) = forward.branches.get(id) else { return };
        if branch.wants_hops() {
            return self.locate_branch(at, key, id);
        }
        let session = self.relay_session(forward);
        match (session != 0).then(|| sdp_of(&forward.request)).flatten() {
            Some(sdp) => {
                let description = RelayDescription {
                    session,
                    branch: id.0,
                    from_caller: true,
                    sdp,
                    from: forward.caller_media,
                    toward: branch.media,
                    source: forward.caller_reach.peer.ip(),
                    from_local: forward.caller_reach.local.ip(),
                    toward_local: branch.target.reach.local.ip(),
                    toward_source: branch.target.reach.peer.ip(),
                    from_peer: self.token_peer(forward.caller_peer, 0),
                    toward_peer: self.token_peer(branch.peering.peer, 0),
                };
                let question = Question::Relay(RelayAsk::Offer(description));
                self.ask(at, question, Pending::BranchOffer(key, id));
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
        let Some(branch) = forward.branches.get(id) else { return };
        let reach = branch.target.reach;
        let is_refer = forward.request.method() == Some(Method::REFER);
        if is_refer && self.hides_caller(forward, branch) && self.refers_inside(&forward.request) {
            let headers = Vec::new();
            let refusal =
                Refusal { status: 403, reason: "Refer-To Names An Address".into(), headers };
            return self.refuse_forward(at, key, &refusal);
        }
        let Some(flow) = self.flow_of(&reach) else {
            let gone =
                Refusal { status: 480, reason: "Device Not Connected".into(), headers: Vec::new() };
            self.fail_unsent(at, key, id, &gone);
            return;
        };
        let Some((request, words)) = self.branch_request(key, id, sdp.clone()) else { return };
        if self.grow_out_of_datagram(key, id, &request) {
            return self.send_branch(at, key, id, sdp);
        }
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
                    self.forwards.get_mut(&key).and_then(|f| f.branches.get_mut(id))
                {
                    branch.client = Some(client);
                    branch.words = words;
                }
                self.watch_hop(at, key, id);
            }
            Err(error) => {
                tracing::warn!(%error, "branch not sent");
                self.branch_failed(at, key, id, Failure::FlowFailed);
            }
        }
        self.schedule_context(key);
    }

    /// A branch that could not even be sent. When none could, the caller is told why.
    pub(crate) fn fail_unsent(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        refusal: &Refusal,
    ) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if let Some(branch) = forward.branches.get_mut(id) {
            branch.unsent = Some(refusal.clone());
        }
        if self.peer_is_silent(at, key, id, Failure::FlowFailed) {
            return;
        }
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if forward.branches.iter().all(|(_, b)| b.unsent.is_some()) {
            self.refuse_forward(at, key, refusal);
            return;
        }
        let failure = local_failure(&forward.request, refusal.status);
        forward.context.handle_response(at.now, &id, failure);
        self.run_context(at, key);
    }

    /// The request as this branch gets it (RFC 3261 §16.6).
    fn branch_request(
        &mut self,
        key: ServerKey,
        id: BranchId,
        sdp: Option<Bytes>,
    ) -> Option<(Message, Words)> {
        let unique = self.entropy.token(16);
        let prefix = net::branch_prefix(self.place.node, self.place.shard);
        let forward = self.forwards.get(&key)?;
        let looped = sip::proxy::forward::loop_token(self.loop_salt, &forward.request);
        let via_branch = sip::proxy::forward::branch(&prefix, &unique, &looped);
        let branch = forward.branches.get(id)?;
        let target = &branch.target;
        let transport = target.reach.transport;
        let own = self.place.advertise(transport, Some(target.reach.local)).to_string();
        let via = self.via_for(branch, &own, &via_branch);
        let hops = forward.request.max_forwards().unwrap_or(70).saturating_sub(1);
        let request = forward.request.clone();
        let hides = self.hides_caller(forward, branch);
        let (uri, path) = (self.branch_uri(forward, branch, &own), target.path.clone());
        let token = self.callee_token(forward, branch, hides);
        let session_id = forward.added_session_id.as_deref().map(session_id_value);
        let to_core = branch.peering.peer.is_some() && branch.peering.peer == self.peers.core();
        let mut edit = Edit::new(&request).replace_request_uri(&uri);
        if !to_core {
            edit = self.without_secrets(edit, &request);
        }
        edit = edit
            .remove_all(HeaderName::MAX_FORWARDS)
            .prepend(HeaderName::MAX_FORWARDS, hops.to_string());
        edit = self.sessions.ask(edit, &request);
        if !to_core {
            edit = self.speak(edit, &request, (forward, &branch.peering), &own);
        }
        edit = self.dialogs_across(edit, &request, hides);
        if hides {
            edit = self.hide_sender(edit, &request, (&own, transport));
        }
        if let Some(share) = breadth(&request, forward, (id, branch.peering.peer.is_some())) {
            edit = edit.set(HeaderName::MAX_BREADTH, share.to_string());
        }
        let sdp = sdp.map(|sdp| self.described_for(branch, hides, sdp));
        let peer = branch.peering.peer.is_some();
        if to_core {
            let back = forward.caller_reach;
            edit = self.for_core(edit, &request, (transport, back), &own);
        }
        if let Some(id) = session_id {
            edit = edit.set(HeaderName::SESSION_ID, id);
        }
        if request.method().is_some_and(Method::is_dialog_forming) {
            let route = self.route_uri(token, &request, transport, &own);
            edit = edit.prepend(HeaderName::RECORD_ROUTE, route);
        }
        for hop in path.iter().rev() {
            edit = edit.prepend(HeaderName::ROUTE, hop);
        }
        edit = edit.prepend(HeaderName::VIA, via);
        if let Some(sdp) = sdp {
            edit = replace_description(edit, &request, &sdp);
        }
        let sent = edit.ensure_content_length().finish();
        let words =
            if hides || peer { Words::of(&request, &sent, hides, uri) } else { Words::default() };
        Some((sent, words))
    }

    /// Our Via on a branch, with what a peer is offered in it.
    fn via_for(&self, branch: &Branch, own: &str, via_branch: &str) -> String {
        let via = ViaBuilder::new(branch.target.reach.transport, own).branch(via_branch).rport();
        let peer = branch.peering.peer.and_then(|number| self.peers.get(number));
        // Whom we know by its certificate may use our connection, and we its (RFC 5923).
        let via = match peer.is_some_and(|peer| peer.by_certificate) {
            true => via.flag("alias"),
            false => via,
        };
        match peer.is_some_and(|peer| peer.overload_control) {
            true => via.flag("oc").param("oc-algo", "\"loss\"").build(),
            false => via.build(),
        }
    }

    /// What the callee's Route will say: how to find the caller.
    fn callee_token(&self, forward: &Forward, branch: &Branch, hides: bool) -> DialogToken {
        let target = &branch.target;
        let back = self.hides(branch.end(), forward.caller_end());
        let mut veils = DialogToken::veils(back, hides);
        if forward.caller_peer.is_some() {
            veils |= DialogToken::PEER_IS_SERVER;
        }
        let [callers, own] = self.legs(forward, target);
        veils |= DialogToken::encryption_bits(own, callers);
        DialogToken {
            call: forward.call.unwrap_or(0),
            relay_session: self.relay_session(forward),
            peer: self.token_peer(forward.caller_peer, forward.caller_binding),
            own: target.binding,
            shard: u8::try_from(self.place.shard).unwrap_or(0),
            policy: DialogToken::media_policy(self.relay_session(forward)) | veils,
            flow_hint: FlowHint::to(forward.caller_reach.flow),
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
        let call_id = self.real_call_id(request);
        let tag = request.from_tag().unwrap_or_default();
        let sealed = self.tokens.seal(token, &call_id, tag, &mut *self.entropy);
        let parts = ["<sip:", &sealed, "@", own, ";transport=", transport.uri_token(), ";lr>"];
        parts.concat()
    }

    pub(crate) fn relay_session(&self, forward: &Forward) -> u64 {
        forward.call.and_then(|c| self.calls.get(&c)).map_or(0, |c| c.relay_session)
    }
}

/// A branch's share of Max-Breadth (RFC 5393 §5.3.3); `None` where it stays as it came.
fn breadth(request: &Message, forward: &Forward, (id, alone): (BranchId, bool)) -> Option<u32> {
    let parallel = if alone { 1 } else { forward.branches.len().max(1) };
    if parallel == 1 && request.header(HeaderName::MAX_BREADTH).is_none() {
        return None;
    }
    let shares = sip::proxy::forward::split_breadth(request, parallel as u32).ok()?;
    shares.get(if alone { 0 } else { id.0 as usize - 1 }).copied()
}

/// A final of our own in the name of a branch.
pub(crate) fn local_failure(request: &Message, status: u16) -> Message {
    response_to(request, status, sip::reason_phrase(status)).to_tag("edge").build()
}
