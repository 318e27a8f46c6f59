//! The ACKs of 2xx responses, kept for when a 2xx comes again (RFC 3261 §13.2.2.4).

use bytes::Bytes;
use sip::dialog::DialogId;
use std::collections::VecDeque;

/// Kept at most; the oldest goes. A fork may bring up to 64 answers.
const KEPT_MAX: usize = 64;

/// One ACK per dialog and INVITE.
#[derive(Debug, Default)]
pub(crate) struct Acks(VecDeque<(DialogId, u32, Bytes)>);

impl Acks {
    pub(crate) fn keep(&mut self, id: DialogId, invite_seq: u32, ack: Bytes) {
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, invite_seq, ack));
    }

    /// The ACK sent for this dialog's 2xx.
    pub(crate) fn find(&self, id: &DialogId, invite_seq: u32) -> Option<Bytes> {
        let found = self.0.iter().find(|(known, seq, _)| known == id && *seq == invite_seq);
        found.map(|(.., ack)| ack.clone())
    }
}
