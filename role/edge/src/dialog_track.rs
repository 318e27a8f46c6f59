//! What the edge remembers of a dialog that passes through it (design decision 4).
//!
//! Soft state: requests are carried by the token in their Route whether or not a track exists. The
//! track is what lets the edge *originate* in the dialog (a forced hang-up, a vanished peer) and
//! keep both CSeq spaces right afterwards.

use crate::ports::{MediaProfile, Reach};
use bytes::Bytes;
use std::time::Instant;

/// One dialog, seen from between its two parties.
#[derive(Debug, Clone)]
pub struct DialogTrack {
    /// The call's key.
    pub call: u64,
    /// Its Call-ID.
    pub call_id: String,
    /// The branch that made the dialog.
    pub branch: u32,
    /// The relay session; 0 when media does not pass through us.
    pub relay_session: u64,
    /// What the callee's side reads instead of Call-ID, From and To, where that differs.
    pub seen: Option<Box<Seen>>,
    /// Who sent the INVITE.
    pub caller: Party,
    /// Who answered it.
    pub callee: Party,
    /// How far it is.
    pub phase: DialogPhase,
    /// Who owes an SDP answer, when an offer came in a response (delayed offer).
    pub answer_due_from: Option<Side>,
    /// The callee's answer, when another branch's media was selected already: for the relay, should
    /// that one end first.
    pub unselected: Option<Bytes>,
    /// When the session ends unless it is refreshed (RFC 4028); `None` without a session timer.
    pub session_until: Option<Instant>,
}

/// The words of a dialog on its callee's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The Call-ID.
    pub call_id: String,
    /// The caller, without tag.
    pub caller: String,
    /// The callee, without tag.
    pub callee: String,
}

/// How far a dialog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialogPhase {
    /// Made by a 101-199; its INVITE has no final yet.
    Early,
    /// Confirmed by a 2xx.
    Confirmed,
    /// A BYE passed.
    Over,
}

/// One of the two parties.
#[derive(Debug, Clone)]
pub struct Party {
    /// Its tag.
    pub tag: String,
    /// Its From or To value without the tag, as the other side sees it.
    pub name: String,
    /// Its remote target: the URI of its Contact.
    pub target: String,
    /// Proxies between it and us, nearest to us first.
    pub routes: Vec<String>,
    /// How it was last reached.
    pub reach: Reach,
    /// Its binding; 0 when it has none.
    pub binding: u64,
    /// The `[[peer]]` it is, by its id; 0 when it is none.
    pub peer: u64,
    /// The media profile of its leg.
    pub media: MediaProfile,
    /// CSeq of requests this party sends.
    pub cseq: CSeqSpace,
}

/// The two sides of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who sent the INVITE.
    Caller,
    /// Who answered it.
    Callee,
}

/// Maps one party's CSeq numbers to those the other party sees, once we have sent requests of our
/// own in its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CSeqSpace {
    highest_sent: u32,
    offset: u32,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

impl DialogTrack {
    /// The party on `side`.
    pub fn party(&self, side: Side) -> &Party {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    /// The party on `side`, to change.
    pub fn party_mut(&mut self, side: Side) -> &mut Party {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }

    /// From and To without tags, and Call-ID, of a request to the party on `side`.
    pub(crate) fn words_for(&self, side: Side) -> (&str, &str, &str) {
        match (side, &self.seen) {
            (Side::Callee, Some(seen)) => (&seen.caller, &seen.callee, &seen.call_id),
            _ => (&self.party(side.other()).name, &self.party(side).name, &self.call_id),
        }
    }

    /// Which side sent a request whose From tag is `from_tag`.
    pub fn side_of(&self, from_tag: &[u8]) -> Option<Side> {
        if self.caller.tag.as_bytes() == from_tag {
            Some(Side::Caller)
        } else if self.callee.tag.as_bytes() == from_tag {
            Some(Side::Callee)
        } else {
            None
        }
    }

    /// The number to forward for a request of `side` numbered `number`.
    pub fn forward_cseq(&mut self, side: Side, number: u32) -> u32 {
        self.party_mut(side).cseq.forward(number)
    }

    /// The number `side` used for a request we forwarded as `number`.
    pub fn restore_cseq(&self, side: Side, number: u32) -> u32 {
        self.party(side).cseq.restore(number)
    }

    /// A fresh number for a request of our own that the other side will take as from `side`.
    pub fn own_cseq(&mut self, side: Side) -> u32 {
        self.party_mut(side).cseq.own()
    }
}

impl CSeqSpace {
    /// The space of a party whose first request was numbered `number`.
    pub fn starting(number: u32) -> Self {
        Self { highest_sent: number, offset: 0 }
    }

    /// The same when the other side was sent `more` numbers above those of the party itself.
    pub(crate) fn ahead(self, more: u32) -> Self {
        let highest_sent = self.highest_sent.saturating_add(more);
        Self { highest_sent, offset: self.offset.saturating_add(more) }
    }

    /// The highest number the other side has seen.
    pub fn highest(&self) -> u32 {
        self.highest_sent
    }

    fn forward(&mut self, number: u32) -> u32 {
        let sent = number.saturating_add(self.offset);
        self.highest_sent = self.highest_sent.max(sent);
        sent
    }

    fn restore(&self, number: u32) -> u32 {
        number.saturating_sub(self.offset)
    }

    fn own(&mut self) -> u32 {
        self.highest_sent = self.highest_sent.saturating_add(1);
        self.offset = self.offset.saturating_add(1);
        self.highest_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_unchanged_until_we_speak_in_a_partys_name() {
        let mut space = CSeqSpace::starting(10);
        assert_eq!(space.forward(11), 11);
        assert_eq!(space.own(), 12);
        assert_eq!(space.forward(12), 13, "its own 12 must not repeat ours");
        assert_eq!(space.restore(13), 12);
        assert_eq!(space.forward(12), 13, "an ACK repeats the number of its INVITE");
    }
}
