//! The peer's ICE generation, and what it trickles of it (RFC 8838).

use super::super::facts::Facts;
use super::Side;

impl Side {
    /// The name of its stream.
    pub(in super::super) fn mid(&self) -> Option<&str> {
        self.mid.as_deref()
    }

    /// Whether we said that candidates are taken one after the other.
    pub(in super::super) fn takes_trickled(&self) -> bool {
        self.speaks_ice && self.dialect.trickle
    }

    /// Whether candidates of this generation are the peer's: of what was agreed on, of an offer of its
    /// that is open, or of an answer that they overtook.
    pub(in super::super) fn is_of_generation(&self, ufrag: Option<&str>) -> bool {
        let open = self.pending.as_ref().and_then(|pending| pending.facts.ice.as_ref());
        let known = self.remote_ufrag.as_deref();
        known.is_none() || ufrag == known || open.is_some_and(|(open, _)| ufrag == Some(open))
    }

    /// Remembers the peer's ufrag; true when it is another than before: an ICE restart.
    pub(super) fn note_ufrag(&mut self, facts: &Facts) -> bool {
        let new = facts.ice.as_ref().map(|(ufrag, _)| ufrag.clone());
        let restarted = self.remote_ufrag.is_some() && new.is_some() && self.remote_ufrag != new;
        self.remote_ufrag = new.or(self.remote_ufrag.take());
        restarted
    }
}
