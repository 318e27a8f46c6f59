//! Recording, as the running relay offers it.

use std::io;

use sansio::Entropy;

use super::{RecordingError, RecordingOrder, RecordingSetup, Recordings};
use crate::Relay;
use crate::api::SessionId;

impl Relay {
    /// Makes recordings possible. Once; a second time changes nothing.
    ///
    /// # Errors
    /// When the folder or the thread cannot be made.
    pub fn enable_recording(&self, setup: RecordingSetup) -> io::Result<()> {
        if self.inner.recordings.get().is_none() {
            // Two at once would make two threads, of which one ends again.
            let _ = self.inner.recordings.set(Recordings::start(setup)?);
        }
        Ok(())
    }

    /// Records a session from now on, until it ends or [`Relay::stop_recording`]. Repeatable.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn start_recording(&self, order: &RecordingOrder) -> Result<(), RecordingError> {
        let recordings = self.inner.recordings.get().ok_or(RecordingError::Off)?;
        let missing = || RecordingError::NoSession;
        self.control().bridge(order.session).ok_or_else(missing)?;
        if self.control().recording(order.session).is_some() {
            return Ok(());
        }
        let mut prefix = [0; 7];
        net::OsEntropy.fill(&mut prefix);
        // The disk is not waited for under control's lock.
        let (number, tap) = recordings.open(order, prefix)?;
        let attached = self.control().attach_recording(order.session, number, tap);
        attached.then_some(()).ok_or_else(missing)
    }

    /// Leaves out what is said from now on, or records it again. False when nothing is recorded.
    pub fn pause_recording(&self, session: SessionId, paused: bool) -> bool {
        let (recordings, number) = (self.inner.recordings.get(), self.control().recording(session));
        let found = recordings.zip(number);
        found.inspect(|(recordings, number)| recordings.set_paused(*number, paused)).is_some()
    }

    /// Ends a session's recording. False when there is none.
    pub fn stop_recording(&self, session: SessionId) -> bool {
        self.control().detach_recording(session)
    }
}
