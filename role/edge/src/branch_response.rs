//! The responses of a branch on their way to the response context, by way of the relay.

use crate::asks::Pending;
use crate::branch::{BranchId, local_failure};
use crate::call::{has_sdp, sdp_of};
use crate::core::{EdgeCore, Failure, Present};
use crate::dialog_track::DialogPhase;
use crate::forward::{Branch, Outcome, Repeat};
use crate::hygiene::{bare, hides_description};
use crate::ports::{MediaProfile, Question, Refusal, RelayAsk, RelayDescription};
use crate::reap::is_invite_success;
use bytes::Bytes;
use sip::body::replace_description;
use sip::transaction::ServerKey;
use sip::{Edit, HeaderName, Message};
use std::hash::BuildHasher;

/// Responses of one branch that wait while an earlier one is at the relay; more are dropped, and
/// come again if they matter.
const WAITING_MAX: usize = 16;

/// Different 2xx of one branch whose outcome is remembered.
const FINALS_MAX: usize = 8;

impl EdgeCore {
    /// A response came by a branch. Descriptions in it cross the relay first, in order.
    pub(crate) fn branch_response(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: Message,
    ) {
        // With our Via alone the way back is lost; it was not we who asked.
        let response = crate::sanitize::cleaned(&response).unwrap_or(response);
        let branch = self.branch_mut(key, id);
        let (hidden, of_peer) =
            branch.map_or((false, false), |b| (b.words.hidden, b.peering.peer.is_some()));
        if !has_vias(&response, if hidden { 1 } else { 2 }) {
            tracing::debug!("a response without the caller's Via");
            return;
        }
        if of_peer {
            self.note_wish(at, key, id, &response);
        }
        let Some(branch) = self.branch_mut(key, id) else {
            // The caller's transaction is over: nobody takes this answer.
            return self.reap_unclaimed(at, &response);
        };
        if branch.at_relay.is_some() {
            if branch.waiting.len() < WAITING_MAX {
                branch.waiting.push_back(response);
            }
            return;
        }
        if branch.hops.current.is_some() {
            self.hop_answered(at, key, id, &response);
        }
        let span = self.call_span(self.forwards.get(&key).and_then(|f| f.call));
        let _entered = span.entered();
        if is_invite_success(&response) && self.repeat_final(at, key, id, &response) {
            return;
        }
        if self.retry_profile(at, key, id, &response) || self.peer_goes_on(at, key, id, &response) {
            return;
        }
        if self.lost_its_phone(at, key, id, &response) {
            return;
        }
        let response = self.as_peer_may(key, id, response);
        if is_invite_success(&response) && self.is_too_late(key) {
            self.reap_branch(at, key, id, &response);
            return;
        }
        if hides_description(&response) && response.status().is_some_and(|s| s < 300) {
            let refusal = Refusal::new(488, "Not Acceptable Here");
            self.answer_unusable(at, key, id, &response, &refusal);
            return;
        }
        self.relay_response(at, key, id, response);
    }

    /// Has the relay write the response's description, if there is one to write.
    fn relay_response(&mut self, at: Present, key: ServerKey, id: BranchId, response: Message) {
        let Some(forward) = self.forwards.get(&key) else { return };
        let session = self.relay_session(forward);
        let described = response.status().is_some_and(|s| (101..300).contains(&s)) && session != 0;
        let is_final = is_invite_success(&response);
        let delayed = !has_sdp(&forward.request);
        let (selected, winner) = (forward.selected.clone(), forward.outcome == Outcome::Accepted);
        let leg =
            forward.branches.get(id).map(|b| (b.target.reach, self.legs(forward, &b.target)[1]));
        match described.then(|| sdp_of(&response)).flatten() {
            // A second answer: its dialog is the caller's to end. The media stays where it is.
            Some(sdp) if is_final && winner && !delayed && selected.is_some() => {
                let (_, first) = selected.unwrap_or((id, Bytes::new()));
                let edit = replace_description(Edit::new(&response), &response, &first);
                let edited = edit.finish();
                self.feed_final(at, key, id, &response, edited);
                self.keep_unselected(key, &response, sdp);
            }
            Some(sdp) => {
                let branch = forward.branches.get(id).filter(|b| b.media == MediaProfile::EndToEnd);
                let between_ends = branch.filter(|_| !delayed && is_final);
                let refused = leg
                    .filter(|_| delayed)
                    .and_then(|(reach, rule)| self.check_offer(&sdp, reach.transport, rule).err())
                    .or_else(|| {
                        let target = &between_ends?.target;
                        self.check_end_to_end(forward, target, &sdp).err()
                    });
                match refused {
                    Some(refusal) => self.answer_unusable(at, key, id, &response, &refusal),
                    None => self.ask_branch_answer(at, key, id, response, sdp),
                }
            }
            // The answer was in a 1xx; meanwhile another phone's early media may be selected, or that
            // phone has answered.
            None if is_final && selected.is_some_and(|(branch, _)| branch != id) => {
                match self.branch_mut(key, id).and_then(|b| b.answer.clone()) {
                    Some(sdp) if !winner => self.ask_branch_answer(at, key, id, response, sdp),
                    answer => {
                        self.feed_final(at, key, id, &response.clone(), response.clone());
                        if let Some(sdp) = answer {
                            self.keep_unselected(key, &response, sdp);
                        }
                    }
                }
            }
            None => self.feed_final(at, key, id, &response.clone(), response),
        }
    }

    fn ask_branch_answer(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: Message,
        sdp: Bytes,
    ) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let delayed = !has_sdp(&forward.request);
        let Some(branch) = forward.branches.get_mut(id) else { return };
        branch.at_relay = Some(response);
        branch.answer = Some(sdp.clone());
        let (from, toward) = (branch.media, forward.caller_media);
        let (reach, peer) = (branch.target.reach, branch.peering.peer);
        let Some(forward) = self.forwards.get(&key) else { return };
        let description = RelayDescription {
            session: self.relay_session(forward),
            branch: id.0,
            from_caller: false,
            sdp,
            from,
            toward,
            source: reach.peer.ip(),
            from_local: reach.local.ip(),
            toward_local: forward.caller_reach.local.ip(),
            toward_source: forward.caller_reach.peer.ip(),
            from_peer: self.token_peer(peer, 0),
            toward_peer: self.token_peer(forward.caller_peer, 0),
        };
        // An INVITE without an offer gets it in the response (RFC 3261 §13.2.1).
        let ask =
            if delayed { RelayAsk::Offer(description) } else { RelayAsk::Answer(description) };
        self.ask(at, Question::Relay(ask), Pending::BranchAnswer(key, id));
    }

    /// The relay wrote the description the caller gets, or could not.
    pub(crate) fn branch_answer_ready(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        result: Result<Bytes, Refusal>,
    ) {
        let Some(response) = self.branch_mut(key, id).and_then(|b| b.at_relay.take()) else {
            return;
        };
        let span = self.call_span(self.forwards.get(&key).and_then(|f| f.call));
        let _entered = span.entered();
        match result {
            // It was written, but the call ended meanwhile.
            Ok(_) if is_invite_success(&response) && self.is_too_late(key) => {
                self.reap_branch(at, key, id, &response);
            }
            Ok(sdp) => {
                let mut edited = response.clone();
                if has_sdp(&response) {
                    let edit = replace_description(Edit::new(&response), &response, &sdp);
                    edited = edit.finish();
                }
                if let Some(forward) = self.forwards.get_mut(&key) {
                    forward.selected = Some((id, sdp));
                }
                self.feed_final(at, key, id, &response, edited);
            }
            Err(refusal) => self.answer_unusable(at, key, id, &response, &refusal),
        }
        let next = self.branch_mut(key, id).and_then(|b| b.waiting.pop_front());
        if let Some(next) = next {
            self.branch_response(at, key, id, next);
        }
    }

    /// A 2xx whose description nobody can use ends that dialog, and counts as 488; a provisional
    /// goes on without it.
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
            self.feed_context(at, key, id, bare(response));
            return;
        }
        self.reap_branch(at, key, id, response);
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let failure = local_failure(&forward.request, 488);
        forward.context.handle_response(at.now, &id, failure);
        self.run_context(at, key);
    }

    /// The media profile was refused: once more with the next one that policy allows.
    fn retry_profile(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) -> bool {
        let refused = matches!(response.status(), Some(415 | 488));
        // What passes untouched would be the same offer again.
        let anchored = self.forwards.get(&key).is_some_and(|f| self.relay_session(f) != 0);
        let next = self.forwards.get(&key).and_then(|forward| {
            let branch = forward.branches.get(id)?;
            let rule = self.legs(forward, &branch.target)[1];
            // A caller who has ZRTP was refused with that already, and beside one in clear nobody
            // sits between (docs/design/0104-between-two-keys.md).
            let keyed = matches!(forward.caller_media, MediaProfile::Sdes | MediaProfile::WebRtc);
            let mediates = keyed && wants_zrtp(response);
            let next = self.media_after(branch.media, rule, &branch.target);
            next.or_else(|| self.mediated(branch.media, rule, &branch.target).filter(|_| mediates))
        });
        let (Some(next), true) = (next, anchored) else { return false };
        let Some(branch) = self.branch_mut(key, id) else { return false };
        if !refused || std::mem::replace(&mut branch.retried, true) {
            return false;
        }
        let mut target = branch.target.clone();
        target.media = next;
        let Some(second) = self.promise_branch(at, key, target) else { return false };
        if let Some(branch) = self.branch_mut(key, second) {
            branch.media = next;
        }
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
        self.try_next_hop(at, key, id);
        if self.peer_is_silent(at, key, id, why) {
            return;
        }
        let by_path = why == Failure::FlowFailed && self.is_by_path(key, id);
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        match why {
            // The core is to know that it was not the phone that failed (RFC 5626 §5.3.1).
            Failure::FlowFailed if by_path => {
                let failure = local_failure(&forward.request, 430);
                forward.context.handle_response(at.now, &id, failure);
            }
            Failure::TimedOut => forward.context.handle_timed_out(&id),
            Failure::FlowFailed => forward.context.handle_flow_failed(&id),
        }
        self.run_context(at, key);
    }

    /// Gives the context a response that came as `original`.
    fn feed_final(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        original: &Message,
        response: Message,
    ) {
        let edited = self.feed_context(at, key, id, response);
        if is_invite_success(original) {
            self.remember_final(key, id, original, Repeat::Upstream(Box::new(edited)));
        }
    }

    pub(crate) fn feed_context(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: Message,
    ) -> Message {
        let dialog_making = response.status().is_some_and(|s| (101..300).contains(&s));
        let routes = self.routes_behind(key, id, &response);
        let mut edit = Edit::new(&response).remove_first(HeaderName::VIA);
        if dialog_making {
            self.track_dialog(key, id, &response);
            edit = self.note_session(at, key, edit, &response);
            edit = self.rewrite_record_route(edit, key, id, &response);
        }
        let response = self.in_callers_words(edit, (key, id), &response, &routes);
        if let Some(forward) = self.forwards.get_mut(&key) {
            forward.context.handle_response(at.now, &id, response.clone());
        }
        self.run_context(at, key);
        response
    }

    /// The first 2xx starts the session timer.
    fn note_session<'m>(
        &mut self,
        at: Present,
        key: ServerKey,
        edit: Edit<'m>,
        response: &Message,
    ) -> Edit<'m> {
        let Some(forward) = self.forwards.get(&key).filter(|_| is_invite_success(response)) else {
            return edit;
        };
        let (Some(call), Some(tag)) = (forward.call, response.to_tag()) else { return edit };
        let request = forward.request.clone();
        self.session_granted(at, (call, tag), &request, (edit, response))
    }

    /// Whether the caller cannot take an answer any more.
    fn is_too_late(&self, key: ServerKey) -> bool {
        let Some(forward) = self.forwards.get(&key) else { return true };
        let ended = forward.call.and_then(|c| self.calls.get(&c)).is_some_and(|c| c.ended);
        forward.outcome == Outcome::Refused || ended
    }

    fn reap_branch(&mut self, at: Present, key: ServerKey, id: BranchId, response: &Message) {
        let Some(reach) = self.branch_mut(key, id).map(|b| b.target.reach) else { return };
        self.reap(at, reach, response, true);
        self.remember_final(key, id, response, Repeat::Reaped);
        let call = self.forwards.get(&key).and_then(|f| f.call);
        let tag = response.to_tag().unwrap_or_default();
        let dialog = call.and_then(|c| self.calls.get_mut(&c)).and_then(|c| c.dialog(tag));
        if let Some(dialog) = dialog {
            dialog.phase = DialogPhase::Over;
        }
    }

    fn reap_unclaimed(&mut self, at: Present, response: &Message) {
        if let Some(arrival) = self.arrived_by {
            self.handle_stray(at, &arrival, response);
        }
    }

    /// A 2xx that came before is dealt with as before.
    fn repeat_final(&mut self, at: Present, key: ServerKey, id: BranchId, came: &Message) -> bool {
        let Some(branch) = self.branch_mut(key, id) else { return false };
        let reach = branch.target.reach;
        let known = branch.finals.iter().find(|(original, _)| *original == hash_of(came));
        match known.map(|(_, repeat)| repeat.clone()) {
            None => false,
            Some(Repeat::Reaped) => {
                self.reap(at, reach, came, false);
                true
            }
            Some(Repeat::Upstream(message)) => {
                if let Some(forward) = self.forwards.get_mut(&key) {
                    forward.context.handle_response(at.now, &id, *message);
                }
                self.run_context(at, key);
                true
            }
        }
    }

    fn remember_final(&mut self, key: ServerKey, id: BranchId, came: &Message, repeat: Repeat) {
        let Some(branch) = self.branch_mut(key, id) else { return };
        if branch.finals.len() < FINALS_MAX {
            branch.finals.reserve_exact(1);
            branch.finals.push((hash_of(came), repeat));
        }
    }

    fn keep_unselected(&mut self, key: ServerKey, response: &Message, sdp: Bytes) {
        let tag = response.to_tag().unwrap_or_default();
        let call = self.forwards.get(&key).and_then(|f| f.call);
        if let Some(dialog) = call.and_then(|c| self.calls.get_mut(&c)).and_then(|c| c.dialog(tag))
        {
            dialog.unselected = Some(sdp);
        }
    }

    pub(crate) fn branch_mut(&mut self, key: ServerKey, id: BranchId) -> Option<&mut Branch> {
        self.forwards.get_mut(&key)?.branches.get_mut(id)
    }
}

/// Whether a response has at least so many Via values.
pub(crate) fn has_vias(response: &Message, least: usize) -> bool {
    response.values(HeaderName::VIA).take(least).count() == least
}

fn hash_of(message: &Message) -> u64 {
    foldhash::fast::FixedState::default().hash_one(&message.bytes()[..])
}

/// Whether who refused says that keys by ZRTP would do, as our phone does. Others are not asked: one
/// that knows no ZRTP would ring, and be hung up on.
fn wants_zrtp(response: &Message) -> bool {
    let warning = response.header_str(HeaderName::from("Warning"));
    warning.is_some_and(|text| text.starts_with("399 ") && text.contains("a=zrtp-hash"))
}
