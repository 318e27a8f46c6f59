//! Candidates one after the other (RFC 8838) in INFO (RFC 8840).
//!
//! ```text
//!   offer:   to whom is known to take them at once, with what there is (full trickle); to others when
//!            all is gathered (half trickle): both say `a=ice-options:trickle`
//!   answer:  at once where the offer says so
//!   Untold ──► INFO with all there are ──2xx──► again, if there are more
//! ```

use crate::call::State;
use crate::event::CallHandle;
use crate::phone::Phone;
use crate::requests::Purpose;
use media::traversal::TrickleError;
use sdp::TRICKLE_TYPE;
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method, response_to};
use std::collections::VecDeque;
use std::time::Instant;

/// Far ends that are remembered to take candidates one after the other.
const PEERS_MAX: usize = 64;

/// An INFO of ours with candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Trickling {
    #[default]
    Idle,
    /// Out. RFC 6086 §4.2: one at a time, or they overtake each other.
    UnderWay,
    /// The far end says that it takes them, and does not.
    Refused,
}

/// Who takes candidates one after the other, latest first: its description said so.
#[derive(Debug, Default)]
pub(crate) struct Tricklers {
    peers: VecDeque<String>,
}

impl Tricklers {
    pub fn knows(&self, peer: &str) -> bool {
        self.peers.iter().any(|known| known == peer)
    }

    pub fn note(&mut self, peer: &str, takes: bool) {
        self.peers.retain(|known| known != peer);
        if takes && !peer.is_empty() && peer.len() <= 256 {
            self.peers.push_front(peer.to_owned());
            self.peers.truncate(PEERS_MAX);
        }
    }
}

impl Phone {
    /// Tells the far end of candidates that it does not know, where it takes them so.
    pub(crate) fn trickle(&mut self, now: Instant, call: CallHandle) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        // Before our 2xx the far end may not know the dialog yet.
        let known = matches!(entry.state, State::Active | State::Early);
        let id = entry.current().filter(|_| known);
        if entry.trickling != Trickling::Idle {
            return;
        }
        let body = id.as_ref().and_then(|_| entry.media.as_mut()?.trickle());
        let (Some(id), Some(body)) = (id, body) else { return };
        let session_id = entry.session_id.clone();
        let Some(dialog) = entry.dialog_mut(&id) else { return };
        let info = dialog
            .request(Method::INFO)
            .header(HeaderName::INFO_PACKAGE, "trickle-ice")
            .header(HeaderName::CONTENT_DISPOSITION, "Info-Package")
            .header(HeaderName::SESSION_ID, &session_id)
            .body(TRICKLE_TYPE, &body)
            .build();
        let sent = self.send(now, &info, Purpose::Trickle(call)).is_ok();
        if let Some(entry) = self.calls.get_mut(&call).filter(|_| sent) {
            entry.trickling = Trickling::UnderWay;
        }
    }

    /// Remembers whether the far end of a call takes candidates one after the other.
    pub(crate) fn note_trickler(&mut self, call: CallHandle) {
        let Some(entry) = self.calls.get(&call) else { return };
        if let Some(takes) = entry.media.as_ref().and_then(media::Session::remote_trickles) {
            self.tricklers.note(&entry.peer_uri, takes);
        }
    }

    /// The final response to it.
    pub(crate) fn trickle_answered(&mut self, now: Instant, call: CallHandle, status: u16) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        match status {
            ..300 => {
                entry.trickling = Trickling::Idle;
                self.trickle(now, call);
            }
            // It overtook our 2xx: again when that is acknowledged.
            481 if entry.answer.is_some() => {
                entry.trickling = Trickling::Idle;
                entry.media.iter_mut().for_each(media::Session::forget_trickled);
            }
            _ => {
                entry.trickling = Trickling::Refused;
                // A restart tells them, if it comes to that.
                let peer = entry.peer_uri.clone();
                self.tricklers.note(&peer, false);
            }
        }
    }

    /// Candidates of theirs.
    pub(crate) fn handle_trickle(
        &mut self,
        now: Instant,
        call: CallHandle,
        key: ServerKey,
        request: &Message,
    ) {
        let media = self.calls.get_mut(&call).and_then(|c| c.media.as_mut());
        let taken = match media {
            _ if !request.has_content_type(TRICKLE_TYPE) => {
                let refused =
                    response_to(request, 415, "").header(HeaderName::ACCEPT, TRICKLE_TYPE);
                return self.respond(now, &key, refused.build());
            }
            Some(media) => media.handle_trickle(now, request.body()),
            None => Err(TrickleError::NoIce),
        };
        let answer = match taken {
            Ok(()) => response_to(request, 200, "OK"),
            Err(error) => {
                let status = if matches!(error, TrickleError::Sdp(_)) { 400 } else { 488 };
                let warning = format!("399 phone \"{error}\"");
                response_to(request, status, "").header(HeaderName::WARNING, warning)
            }
        };
        self.respond(now, &key, answer.build());
        self.drain_media(now, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8838_who_took_candidates_so_is_remembered_within_a_bound() {
        let mut known = Tricklers::default();
        for n in 0..PEERS_MAX + 1 {
            known.note(&format!("sip:{n}@a"), true);
        }
        assert!(known.knows("sip:64@a") && known.knows("sip:1@a") && !known.knows("sip:0@a"));
        known.note("sip:64@a", false);
        assert!(!known.knows("sip:64@a"));
        assert_eq!(known.peers.len(), PEERS_MAX - 1);
    }
}
