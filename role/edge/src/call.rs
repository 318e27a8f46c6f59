//! A call that passes through the edge: its dialogs, and that it ends exactly once.

use crate::asks::Pending;
use crate::core::{EdgeCore, Present};
use crate::dialog_track::{DialogPhase, DialogTrack, Side};
use crate::ports::{EdgeEvent, EndCause, Question, RelayAsk, RelayDescription};
use bytes::Bytes;
use sip::body::Description;
use sip::transaction::ServerKey;
use sip::{Message, ViaBuilder};
use std::time::Instant;

/// Dialogs one INVITE may make. A device that answers with ever new tags makes no more.
pub(crate) const DIALOGS_MAX: usize = 64;

/// One call.
#[derive(Debug)]
pub struct Call {
    /// The INVITE that began it, while that is being answered.
    pub(crate) invite: Option<ServerKey>,
    /// The relay session; 0 when no media passes through us.
    pub(crate) relay_session: u64,
    /// RFC 7989: the caller's half of the Session-ID.
    pub(crate) session_id: String,
    /// Its dialogs: one per answered or ringing branch.
    pub(crate) dialogs: Vec<DialogTrack>,
    /// Whether somebody answered.
    pub(crate) answered: bool,
    /// Whether its end was told.
    pub(crate) ended: bool,
    /// Requests in its dialogs that wait for a final response.
    pub(crate) under_way: u32,
    /// When its first session ends unless refreshed, as noted in the core's deadlines.
    pub(crate) session_due: Option<Instant>,
    /// What was heard of why it ends.
    pub(crate) heard: Option<crate::end_reason::Heard>,
    /// What is logged of it belongs here.
    pub(crate) span: tracing::Span,
}

impl Call {
    pub(crate) fn dialog(&mut self, callee_tag: &[u8]) -> Option<&mut DialogTrack> {
        self.dialogs.iter_mut().find(|d| d.callee.tag.as_bytes() == callee_tag)
    }
}

impl EdgeCore {
    /// Tells the end of a call, once, and forgets it when nothing is under way any more.
    pub(crate) fn end_call(
        &mut self,
        at: Present,
        call: u64,
        cause: EndCause,
        status: Option<u16>,
    ) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if !std::mem::replace(&mut entry.ended, true) {
            let relay_session = entry.relay_session;
            entry.span.in_scope(|| tracing::debug!(cause = cause.as_str(), ?status, "ended"));
            let (by, q850) = crate::end_reason::reason_of(cause, status, entry.heard);
            self.calls_live -= 1;
            let at = at.wall;
            self.emit(EdgeEvent::CallEnded { call, relay_session, cause, status, by, q850, at });
            self.forget_session(call);
        }
        self.forget_call(call);
    }

    /// Drops an ended call whose INVITE and in-dialog requests are all done.
    pub(crate) fn forget_call(&mut self, call: u64) {
        let Some(entry) = self.calls.get(&call) else { return };
        let busy =
            entry.under_way > 0 || entry.invite.is_some_and(|key| self.forwards.contains_key(&key));
        if entry.ended && !busy {
            self.calls.remove(&call);
        }
    }

    /// A dialog of a call ended by BYE. The call ends with its last dialog; until then a caller
    /// that was answered twice keeps the other (RFC 3261 §13.2.2.4).
    pub(crate) fn end_dialog(&mut self, at: Present, call: u64, callee_tag: &[u8]) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(dialog) = entry.dialog(callee_tag) else { return };
        let was = std::mem::replace(&mut dialog.phase, DialogPhase::Over);
        let branch = dialog.branch;
        if was != DialogPhase::Confirmed {
            return;
        }
        let (relay_session, answered) = (entry.relay_session, entry.answered);
        let left = || entry.dialogs.iter().filter(|d| d.phase == DialogPhase::Confirmed);
        if left().next().is_none() {
            if answered {
                self.end_call(at, call, EndCause::Bye, Some(200));
            }
            return;
        }
        let branch_left = left().any(|d| d.branch == branch);
        let question = Self::reselection(&mut entry.dialogs);
        // A device whose proxy forked may have answered twice by one branch.
        if !branch_left {
            self.emit(EdgeEvent::BranchEnded { relay_session, branch });
        }
        if let Some(question) = question {
            self.ask(at, question, Pending::Reselect);
        }
    }

    /// The media for the oldest dialog that is left, where the one that had it is over.
    fn reselection(dialogs: &mut [DialogTrack]) -> Option<Question> {
        let mut left = dialogs.iter_mut().filter(|d| d.phase == DialogPhase::Confirmed);
        let survivor = left.next()?;
        if survivor.unselected.is_none() || left.any(|d| d.unselected.is_none()) {
            return None;
        }
        let answer = survivor.unselected.take()?;
        Some(Self::relay_question(survivor, Side::Callee, answer, false))
    }

    /// Ends a call from the middle: CANCEL while it rings, BYE both ways once it is answered.
    pub(crate) fn hang_up(&mut self, at: Present, call: u64, cause: EndCause) {
        let Some(entry) = self.calls.get(&call) else { return };
        if !entry.answered {
            if let Some(invite) = entry.invite {
                self.abort_forward(at, invite, 480);
            }
        } else if !entry.ended {
            let confirmed = |d: &&DialogTrack| d.phase == DialogPhase::Confirmed;
            let dialogs: Vec<_> = entry.dialogs.iter().filter(confirmed).cloned().collect();
            for mut dialog in dialogs {
                self.send_bye(at, &mut dialog, Side::Caller, cause);
                self.send_bye(at, &mut dialog, Side::Callee, cause);
            }
        }
        self.end_call(at, call, cause, None);
    }

    pub(crate) fn is_answered(&self, call: u64) -> bool {
        self.calls.get(&call).is_some_and(|c| c.answered)
    }

    /// The span what is logged of a call belongs to.
    pub(crate) fn call_span(&self, call: Option<u64>) -> tracing::Span {
        let call = call.and_then(|call| self.calls.get(&call));
        call.map_or_else(tracing::Span::none, |call| call.span.clone())
    }

    /// A Via of ours with a branch of its own.
    pub(crate) fn own_via(
        &mut self,
        transport: sansio::Transport,
        local: std::net::SocketAddr,
    ) -> String {
        let branch = self.new_branch();
        let own = self.place.advertise(transport, Some(local));
        ViaBuilder::new(transport, own).branch(&branch).rport().build()
    }

    /// Asks the relay to carry a description across.
    pub(crate) fn relay_question(
        dialog: &DialogTrack,
        from: Side,
        sdp: Bytes,
        is_offer: bool,
    ) -> Question {
        let description = RelayDescription {
            session: dialog.relay_session,
            branch: dialog.branch,
            from_caller: from == Side::Caller,
            sdp,
            from: dialog.party(from).media,
            toward: dialog.party(from.other()).media,
            source: dialog.party(from).reach.peer.ip(),
            from_local: dialog.party(from).reach.local.ip(),
            toward_local: dialog.party(from.other()).reach.local.ip(),
            toward_source: dialog.party(from.other()).reach.peer.ip(),
            // `ask` finds them.
            from_peer: 0,
            toward_peer: 0,
        };
        Question::Relay(if is_offer {
            RelayAsk::Offer(description)
        } else {
            RelayAsk::Answer(description)
        })
    }
}

/// A Session-ID whose other half is not known (RFC 7989 §5).
pub(crate) fn session_id_value(id: &str) -> String {
    format!("{id};remote=00000000000000000000000000000000")
}

/// The session description of a message: its body, or the one part of it that is one.
pub(crate) fn described(message: &Message) -> Option<&[u8]> {
    match sip::body::description(message) {
        Description::Sdp(sdp) => Some(sdp),
        Description::Absent | Description::Hidden => None,
    }
}

/// Whether it has one.
pub(crate) fn has_sdp(message: &Message) -> bool {
    described(message).is_some()
}

/// The same, to keep: it does not hold on to the message's memory.
pub(crate) fn sdp_of(message: &Message) -> Option<Bytes> {
    described(message).map(Bytes::copy_from_slice)
}
