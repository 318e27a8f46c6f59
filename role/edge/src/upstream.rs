//! What the response context decided, done: responses to the caller, CANCELs to the branches.

use crate::branch::BranchId;
use crate::core::{EdgeCore, Present};
use crate::end_reason::EndedBy;
use crate::forward::Outcome;
use crate::ports::{EdgeEvent, EndCause};
use sip::Message;
use sip::proxy::Action;
use sip::transaction::ServerKey;

impl EdgeCore {
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
                        .and_then(|f| f.branches.get(branch))
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
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let is_success = (200..300).contains(&status);
        // One failure is the end; a 2xx may follow a 2xx (RFC 3261 §16.7 step 5).
        match forward.outcome {
            Outcome::Refused => return,
            Outcome::Accepted if !is_success => return,
            _ => {}
        }
        match status {
            ..200 => {}
            200..300 => forward.outcome = Outcome::Accepted,
            _ => forward.outcome = Outcome::Refused,
        }
        let (call, cancelled) = (forward.call, forward.cancelled);
        if (180..200).contains(&status) {
            self.tell_ringing(at, key);
        }
        // A 487 to who cancelled says nothing that the CANCEL did not.
        if status >= 300 && !(status == 487 && cancelled) {
            let by = if branch.is_some() { EndedBy::Callee } else { EndedBy::Server };
            self.note_end(call, by, &message);
        }
        self.layer.respond(at.now, &key, message);
        let Some(call) = call else { return };
        if is_success {
            self.call_answered(at, call, branch.unwrap_or(BranchId(0)));
        } else if status >= 300 {
            self.end_call(at, call, cause_of(status, cancelled), Some(status));
        }
    }

    /// Tells once that the callee's side rings.
    fn tell_ringing(&mut self, at: Present, key: ServerKey) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if let (Some(call), false) = (forward.call, std::mem::replace(&mut forward.rung, true)) {
            self.emit(EdgeEvent::CallRinging { call, at: at.wall });
        }
    }

    fn call_answered(&mut self, at: Present, call: u64, branch: BranchId) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if !std::mem::replace(&mut entry.answered, true) {
            self.emit(EdgeEvent::CallAnswered { call, branch: branch.0, at: at.wall });
        }
    }
}

/// What a final says of why a call came to nothing.
pub(crate) fn cause_of(status: u16, cancelled: bool) -> EndCause {
    match status {
        487 if cancelled => EndCause::Cancelled,
        408 | 480 => EndCause::NoAnswer,
        _ => EndCause::Failed,
    }
}
