//! Candidates that signalling carries beside descriptions (RFC 8840).

use std::time::Instant;

use sdp::Fragment;

use super::Session;
use crate::traversal::{Traversal, TrickleError};

impl Session {
    /// Whether the far end's description says that it takes candidates one after the other.
    pub fn remote_trickles(&self) -> Option<bool> {
        let remote = self.remote_ice.as_ref();
        self.negotiated.as_ref().map(|_| remote.is_some_and(|r| r.takes_trickled()))
    }

    /// Whether ours may come one after the other.
    pub fn may_trickle(&self) -> bool {
        self.traversal.as_ref().is_some_and(Traversal::may_trickle)
    }

    /// The body of a `trickle-ice` INFO: what the far end does not know of our candidates, with all
    /// it does. It counts as told.
    pub fn trickle(&mut self) -> Option<Vec<u8>> {
        let fragment = self.traversal.as_mut()?.trickle()?;
        self.drain_traversal();
        Some(fragment.to_bytes())
    }

    /// What was told last did not arrive: [`Session::trickle`] says it again.
    pub fn forget_trickled(&mut self) {
        self.traversal.iter_mut().for_each(Traversal::forget_trickled);
    }

    /// The body of a `trickle-ice` INFO of the far end's. One that comes before its description is
    /// kept for it.
    ///
    /// # Errors
    /// It cannot be read, or is of another stream or generation.
    pub fn handle_trickle(&mut self, now: Instant, body: &[u8]) -> Result<(), TrickleError> {
        let fragment = Fragment::parse(body)?;
        let Some(traversal) = &mut self.traversal else { return Err(TrickleError::NoIce) };
        if self.negotiated.is_none() {
            // The last one says all that the others did.
            self.early_trickle = Some(fragment);
            return Ok(());
        }
        let taken = traversal.handle_trickled(now, &fragment, self.mid.as_deref());
        self.drain_traversal();
        taken
    }

    /// What came before the description.
    pub(super) fn take_early_trickle(&mut self, now: Instant) {
        if let (Some(fragment), Some(traversal)) = (self.early_trickle.take(), &mut self.traversal)
        {
            // Of another phone of a fork, perhaps.
            let _ = traversal.handle_trickled(now, &fragment, self.mid.as_deref());
        }
    }
}
