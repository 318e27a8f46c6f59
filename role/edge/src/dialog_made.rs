//! Dialogs a branch's responses make: remembered, and given a Route of ours for each side.

use crate::branch::BranchId;
use crate::call::{DIALOGS_MAX, has_sdp};
use crate::core::EdgeCore;
use crate::dialog_track::{CSeqSpace, DialogPhase, DialogTrack, Party, Side};
use crate::forward::Forward;
use crate::ports::Reach;
use crate::token::{DialogToken, FlowHint};
use sip::transaction::ServerKey;
use sip::{Edit, HeaderName, Message};

impl EdgeCore {
    /// Keeps the dialog a response makes or confirms.
    pub(crate) fn track_dialog(&mut self, key: ServerKey, id: BranchId, response: &Message) {
        let Some(forward) = self.forwards.get(&key) else { return };
        let callee_peer = forward.branches.get(id).and_then(|branch| branch.peering.peer);
        let peers = [forward.caller_peer, callee_peer].map(|peer| self.token_peer(peer, 0));
        let Some(call) = forward.call.and_then(|call| self.calls.get_mut(&call)) else { return };
        let Some(tag) = response.to_tag() else { return };
        let is_final = response.status().is_some_and(|s| s >= 200);
        let offers = !has_sdp(&forward.request) && has_sdp(response);
        if call.dialog(tag).is_none() {
            // Only a final may go beyond the limit: that dialog is real.
            if call.dialogs.len() >= DIALOGS_MAX && !is_final {
                tracing::warn!(limit = DIALOGS_MAX, "a device makes too many early dialogs");
                return;
            }
            let Some(dialog) = new_dialog((forward, id), peers, call.relay_session, response)
            else {
                return;
            };
            call.dialogs.reserve_exact(1);
            call.dialogs.push(dialog);
        }
        let Some(dialog) = call.dialog(tag) else { return };
        if let Some(target) = contact_uri(response) {
            dialog.callee.target = target;
        }
        if is_final && dialog.phase == DialogPhase::Early {
            dialog.phase = DialogPhase::Confirmed;
        }
        if offers {
            dialog.answer_due_from = Some(Side::Caller);
        }
    }

    /// Gives the caller a Route of its own, with its transport and the way to the callee (RFC 3261
    /// §16.7 step 8).
    pub(crate) fn rewrite_record_route<'m>(
        &mut self,
        mut edit: Edit<'m>,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) -> Edit<'m> {
        let Some(forward) = self.forwards.get(&key) else { return edit };
        let Some(branch) = forward.branches.get(id) else { return edit };
        let values: Vec<&[u8]> = response.values(HeaderName::RECORD_ROUTE).collect();
        let below = if branch.words.hidden { 0 } else { branch_route_count(&forward.request) };
        let Some(ours) = values.len().checked_sub(1 + below) else { return edit };
        let reach: Reach = forward.caller_reach;
        let back = self.hides(branch.end(), forward.caller_end());
        let mut policy = DialogToken::veils(branch.words.hidden, back);
        if branch.peering.peer.is_some() {
            policy |= DialogToken::PEER_IS_SERVER;
        }
        let [own, callees] = self.legs(forward, &branch.target);
        policy |= DialogToken::encryption_bits(own, callees);
        let inner: Vec<String> = match branch.words.hidden {
            true => forward.request.values(HeaderName::RECORD_ROUTE).map(text).collect(),
            false => Vec::new(),
        };
        let token = DialogToken {
            call: forward.call.unwrap_or(0),
            relay_session: self.relay_session(forward),
            peer: self.token_peer(branch.peering.peer, branch.target.binding),
            own: forward.caller_binding,
            shard: u8::try_from(self.place.shard).unwrap_or(0),
            policy: DialogToken::media_policy(self.relay_session(forward)) | policy,
            flow_hint: FlowHint::to(branch.target.reach.flow),
        };
        let own = self.place.advertise(reach.transport, Some(reach.local)).to_string();
        let route = self.route_uri(token, response, reach.transport, &own);
        edit = edit.remove_all(HeaderName::RECORD_ROUTE);
        for (at, value) in values.iter().enumerate().skip(if back { ours } else { 0 }) {
            let value = if at == ours { route.as_bytes() } else { *value };
            edit = edit.append(HeaderName::RECORD_ROUTE, value);
        }
        for value in &inner {
            edit = edit.append(HeaderName::RECORD_ROUTE, value);
        }
        edit
    }
}

/// The dialog of a branch's response; `peers` are the ids of caller and callee.
fn new_dialog(
    (forward, id): (&Forward, BranchId),
    peers: [u64; 2],
    relay_session: u64,
    response: &Message,
) -> Option<DialogTrack> {
    let branch = forward.branches.get(id)?;
    Some(DialogTrack {
        call: forward.call?,
        call_id: text(forward.request.call_id().unwrap_or_default()),
        branch: id.0,
        relay_session,
        seen: branch.words.seen.clone(),
        caller: caller_party(forward, peers[0], branch.peering.cseq_ahead),
        callee: Party {
            name: without_tag(&forward.request, HeaderName::TO),
            tag: response.to_tag().map(text)?,
            target: branch.target.uri.clone(),
            routes: foreign_routes(
                response,
                if branch.words.hidden { 0 } else { branch_route_count(&forward.request) },
            ),
            reach: branch.target.reach,
            binding: branch.target.binding,
            peer: peers[1],
            media: branch.media,
            cseq: CSeqSpace::default(),
        },
        phase: DialogPhase::Early,
        answer_due_from: None,
        unselected: None,
        session_until: None,
    })
}

fn caller_party(forward: &Forward, peer: u64, cseq_ahead: u32) -> Party {
    let request = &forward.request;
    Party {
        tag: request.from_tag().map(text).unwrap_or_default(),
        name: without_tag(request, HeaderName::FROM),
        target: contact_uri(request).unwrap_or_default(),
        routes: request.values(HeaderName::RECORD_ROUTE).map(text).collect(),
        reach: forward.caller_reach,
        binding: forward.caller_binding,
        peer,
        media: forward.caller_media,
        cseq: CSeqSpace::starting(request.cseq().map_or(0, |c| c.number)).ahead(cseq_ahead),
    }
}

/// Record-Routes that stood in the request before ours went on top.
fn branch_route_count(request: &Message) -> usize {
    request.values(HeaderName::RECORD_ROUTE).count()
}

/// Record-Routes the callee's side added: those above ours, nearest to us last in the header and
/// first in the route set.
pub(crate) fn foreign_routes(response: &Message, below: usize) -> Vec<String> {
    let values: Vec<String> = response.values(HeaderName::RECORD_ROUTE).map(text).collect();
    let above = values.len().saturating_sub(1 + below);
    values[..above].iter().rev().cloned().collect()
}

fn contact_uri(message: &Message) -> Option<String> {
    message.contacts().next()?.ok().map(|contact| text(contact.uri()))
}

/// A From or To value without its tag parameter.
pub(crate) fn without_tag(message: &Message, name: HeaderName<'_>) -> String {
    let value = message.header(name).unwrap_or_default();
    let tag = if name == HeaderName::TO { message.to_tag() } else { message.from_tag() };
    if let Some(bare) = tag.and_then(|tag| value.strip_suffix(tag)?.strip_suffix(b";tag=")) {
        return text(bare);
    }
    let value = text(value);
    let Some(at) = value.to_ascii_lowercase().rfind(";tag=") else { return value };
    let end = value[at + 1..].find(';').map_or(value.len(), |semi| at + 1 + semi);
    format!("{}{}", &value[..at], &value[end..])
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
