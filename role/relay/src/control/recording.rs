//! Which sessions are recorded.

use std::num::NonZeroU64;

use super::Control;
use crate::api::SessionId;
use crate::bridge::PacketTap;

impl<P> Control<P> {
    /// The number of a session's recording.
    pub(crate) fn recording(&self, id: SessionId) -> Option<u64> {
        self.sessions.get(&id)?.recording.map(NonZeroU64::get)
    }

    /// Has the session's packets tapped for a recording. False without such a session.
    pub(crate) fn attach_recording(
        &mut self,
        id: SessionId,
        number: u64,
        tap: Box<dyn PacketTap>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        // Numbers begin at 1.
        session.recording = NonZeroU64::new(number);
        session.bridge.lock().set_tap(Some(tap));
        true
    }

    /// Ends the session's recording. False when there was none.
    pub(crate) fn detach_recording(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        session.bridge.lock().set_tap(None);
        session.recording.take().is_some()
    }
}
