//! Candidates that signalling carries beside descriptions (RFC 8838, RFC 8840).
//!
//! Our end is ICE-lite: it checks no candidates (RFC 8445 §2.5), and learns where a peer is by the
//! peer's checks. What can be said of a fragment is whether it is of this leg: of one of its streams,
//! and of the generation that was agreed on.

use sdp::Fragment;

use super::Control;
use super::party::Slot;
use super::side::Side;
use crate::RelayError;
use crate::api::SessionId;
use crate::ports::Ports;

impl<P: Ports> Control<P> {
    /// Takes a fragment of the branch `from`, or of the caller. False where we speak no ICE with that
    /// side: it is for the other one, if for anybody.
    ///
    /// # Errors
    /// A fragment that cannot be read, or of a stream or a generation that is not this leg's.
    pub fn trickle(
        &self,
        id: SessionId,
        from: Option<u32>,
        fragment: &[u8],
    ) -> Result<bool, RelayError> {
        let party = self
            .sessions
            .get(&id)
            .and_then(|session| session.party(from.map_or(Slot::Caller, Slot::Branch)));
        let Some(party) = party.filter(|party| party.sides().any(Side::takes_trickled)) else {
            return Ok(false);
        };
        let fragment = Fragment::parse(fragment)?;
        for stream in &fragment.streams {
            let named = |side: &&Side| match (stream.mid.as_deref(), side.mid()) {
                (Some(mid), Some(ours)) => mid == ours,
                _ => fragment.streams.len() == 1,
            };
            let side = party.sides().find(named).ok_or(RelayError::UnknownStream)?;
            let ufrag = fragment.ufrag_of(stream);
            if side.takes_trickled() && !side.is_of_generation(ufrag.as_deref()) {
                return Err(RelayError::UnknownGeneration);
            }
        }
        Ok(true)
    }
}
