//! [`DialogSet`].

use super::{Dialog, DialogError, DialogId, Phase};
use crate::Message;

/// Dialogs one INVITE may create.
const DIALOGS_MAX: usize = 32;

/// The dialogs that responses to one INVITE of ours created (RFC 3261 §13.2.2): a proxy that forks
/// makes one for each phone that rings, and more than one may answer.
#[derive(Debug)]
pub struct DialogSet {
    request: Message,
    dialogs: Vec<Dialog>,
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
        Self { request, dialogs: Vec::new() }
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
        let first = !self.dialogs.iter().any(|d| d.phase() != Phase::Early);
        if let Some(known) = self.dialogs.iter_mut().find(|d| *d.id() == id) {
            let was = known.phase();
            known.handle_response(response);
            return Ok(Some(match (was, status) {
                (Phase::Early, 200..) => Change::Confirmed { id, first },
                (_, 200..) => Change::AckAgain(id),
                _ => Change::Progress(id),
            }));
        }
        // A 2xx is never turned away: its phone rings off only when it is acknowledged.
        if self.dialogs.len() >= DIALOGS_MAX && status < 200 {
            return Err(DialogError::TooMany);
        }
        self.dialogs.push(Dialog::from_response(&self.request, response)?);
        let early = status < 200;
        Ok(Some(if early { Change::Early(id) } else { Change::Confirmed { id, first } }))
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
