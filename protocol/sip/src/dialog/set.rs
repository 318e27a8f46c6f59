//! [`DialogSet`].

use super::{Dialog, DialogError, DialogId, Phase};
use crate::Message;

/// Early dialogs one INVITE may create.
const DIALOGS_MAX: usize = 32;

/// Answers one INVITE may get. Each must be acknowledged, so there may be more than early dialogs.
const ANSWERS_MAX: usize = 64;

/// The dialogs that responses to one INVITE of ours created (RFC 3261 §13.2.2): a proxy that forks
/// makes one for each phone that rings, and more than one may answer.
#[derive(Debug)]
pub struct DialogSet {
    request: Message,
    dialogs: Vec<Dialog>,
    /// Those that were confirmed, also when they have been taken out since.
    answered: Vec<DialogId>,
}

/// What a response did to a [`DialogSet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new early dialog.
    Early(DialogId),
    /// A dialog was confirmed: send its ACK. When it is not the first, hang it up afterwards.
    Confirmed {
        /// The dialog.
        id: DialogId,
        /// It is the first that answered.
        first: bool,
    },
    /// A 2xx came again: send its ACK again.
    AckAgain(DialogId),
    /// A further provisional of an early dialog.
    Progress(DialogId),
    /// The INVITE failed: every early dialog is over.
    Failed,
}

impl DialogSet {
    /// For an INVITE as it was sent.
    pub fn new(request: Message) -> Self {
        Self { request, dialogs: Vec::new(), answered: Vec::new() }
    }

    /// A response to the INVITE. `None` when it says nothing about dialogs (100).
    pub fn handle_response(&mut self, response: &Message) -> Result<Option<Change>, DialogError> {
        let status = response.status().unwrap_or_default();
        if status >= 300 {
            self.dialogs.retain(|d| d.phase() == Phase::Confirmed);
            return Ok(Some(Change::Failed));
        }
        let id = DialogId::of_response(response)?;
        if status <= 100 || (status < 200 && id.remote_tag.is_empty()) {
            return Ok(None);
        }
        if self.answered.contains(&id) {
            let again = if status >= 200 { Change::AckAgain(id) } else { Change::Progress(id) };
            return Ok(Some(again));
        }
        if status >= 200 && self.answered.len() >= ANSWERS_MAX {
            return Err(DialogError::TooMany);
        }
        let first = self.answered.is_empty();
        let full = self.dialogs.len() >= DIALOGS_MAX;
        match self.dialogs.iter_mut().find(|d| *d.id() == id) {
            Some(known) => known.handle_response(response),
            None if full && status < 200 => return Err(DialogError::TooMany),
            None => {
                self.dialogs.push(Dialog::from_response(&self.request, response)?);
                if status < 200 {
                    return Ok(Some(Change::Early(id)));
                }
            }
        }
        if status < 200 {
            return Ok(Some(Change::Progress(id)));
        }
        self.answered.push(id.clone());
        Ok(Some(Change::Confirmed { id, first }))
    }

    /// A dialog of the set.
    pub fn dialog(&mut self, id: &DialogId) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|d| d.id() == id)
    }

    /// Takes a dialog out of the set, to keep it for the call.
    pub fn take(&mut self, id: &DialogId) -> Option<Dialog> {
        let at = self.dialogs.iter().position(|d| d.id() == id)?;
        Some(self.dialogs.remove(at))
    }

    /// The dialogs, in the order they were made.
    pub fn dialogs(&self) -> impl ExactSizeIterator<Item = &Dialog> {
        self.dialogs.iter()
    }
}
