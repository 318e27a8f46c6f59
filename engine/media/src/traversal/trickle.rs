//! Candidates one after the other (RFC 8838), in fragments that signalling carries (RFC 8840).
//!
//! Each fragment says all there is of a generation, so that none is missed where one is lost or
//! overtaken (RFC 8840 §4.4).

use std::time::Instant;

use ice::agent::Credentials;
use sdp::{Candidate, Fragment, FragmentStream};

use super::{RemoteIce, Traversal, TraversalEvent, TraversalOutput};

/// The name of our stream where we offer.
pub(crate) const MID: &str = "0";

#[derive(Debug, Default)]
pub(super) struct Trickling {
    /// Something new may be there to tell.
    pub changed: bool,
    /// It was told that all is said.
    ended: bool,
    /// The far end takes fragments.
    taken: bool,
    /// The name of the stream.
    mid: Option<String>,
}

impl Trickling {
    /// Our description went out.
    pub fn described(&mut self, all: bool) {
        (self.changed, self.ended) = (false, all);
    }

    /// Both are described.
    pub fn agreed(&mut self, remote: &RemoteIce) {
        self.taken = remote.takes_trickled;
        self.mid.clone_from(&remote.mid);
        self.changed = true;
    }
}

/// Why a fragment is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrickleError {
    /// It cannot be read: 400.
    #[error(transparent)]
    Sdp(#[from] sdp::ParseError),
    /// No ICE is spoken in the call.
    #[error("no ICE is spoken in this call")]
    NoIce,
    /// It is of no stream of the call's.
    #[error("a=mid names no stream of this call")]
    UnknownStream,
    /// Its credentials are not those of the call: it is of another generation.
    #[error("a=ice-ufrag is not the one of this call")]
    UnknownGeneration,
}

impl Traversal {
    pub(super) fn options(&self) -> &'static str {
        if self.config.trickle { "ice2 trickle" } else { "ice2" }
    }

    /// Whether our description may say that no more candidates will come.
    pub(super) fn says_all(&self) -> bool {
        !self.config.trickle || self.has_all()
    }

    /// Whether candidates may be told one after the other, as far as we are concerned.
    pub fn may_trickle(&self) -> bool {
        self.config.trickle
    }

    /// Whether they may here: both ends know how.
    pub fn trickles(&self) -> bool {
        self.speaks && self.config.trickle && self.trickling.taken
    }

    /// Says once that there is something to tell.
    pub(super) fn tell_untold(&mut self) {
        if !self.trickling.changed || !self.trickles() {
            return;
        }
        self.trickling.changed = false;
        if self.has_untold() || (!self.trickling.ended && self.says_all()) {
            self.out.push_back(TraversalOutput::Event(TraversalEvent::Untold));
        }
    }

    /// All candidates there are, for the far end; it counts as told. `None` where there is nothing
    /// that it does not know.
    pub fn trickle(&mut self) -> Option<Fragment> {
        let all = self.says_all();
        let news = self.has_untold() || (all && !self.trickling.ended);
        if !news || !self.trickles() {
            return None;
        }
        let Credentials { ufrag, pwd } = self.agent.credentials().clone();
        let stream = FragmentStream {
            kind: "audio".to_owned(),
            mid: Some(self.trickling.mid.clone().unwrap_or_else(|| MID.to_owned())),
            candidates: self.candidates(),
            ended: all,
            ..FragmentStream::default()
        };
        self.note_described();
        let (ufrag, pwd) = (Some(ufrag), Some(pwd));
        Some(Fragment { ufrag, pwd, ended: false, streams: vec![stream] })
    }

    /// What was told last did not arrive.
    pub fn forget_trickled(&mut self) {
        self.known.told.clear();
        self.trickling.ended = false;
    }

    /// What the far end trickled, of the stream named `mid`.
    ///
    /// # Errors
    /// See [`TrickleError`].
    pub fn handle_trickled(
        &mut self,
        now: Instant,
        fragment: &Fragment,
        mid: Option<&str>,
    ) -> Result<(), TrickleError> {
        self.now = now;
        let Some(known) = self.agent.remote().filter(|_| self.speaks).cloned() else {
            return Err(TrickleError::NoIce);
        };
        let is_ours = |s: &&FragmentStream| match (&s.mid, mid) {
            (Some(named), Some(mid)) => named == mid,
            _ => fragment.streams.len() == 1,
        };
        let stream = fragment.streams.iter().find(is_ours);
        let ufrag = match stream {
            Some(stream) => fragment.ufrag_of(stream),
            // The end of all needs no stream.
            None if fragment.ended && fragment.streams.is_empty() => fragment.ufrag.clone(),
            None => return Err(TrickleError::UnknownStream),
        };
        if ufrag.as_ref() != Some(&known.ufrag) {
            return Err(TrickleError::UnknownGeneration);
        }
        let candidates = stream.map(|s| s.candidates.as_slice()).unwrap_or_default();
        for (addr, priority) in candidates.iter().filter_map(usable) {
            self.agent.add_remote(now, addr, priority);
        }
        if fragment.ended || stream.is_some_and(|s| s.ended) {
            self.agent.end_remotes();
        }
        self.agent.handle_timeout(now);
        self.work(now);
        Ok(())
    }
}

/// Address and priority of a candidate that we can check.
pub(super) fn usable(candidate: &Candidate) -> Option<(std::net::SocketAddr, u32)> {
    let fits = candidate.component == 1 && candidate.is_udp();
    candidate.socket_addr().filter(|_| fits).map(|addr| (addr, candidate.priority))
}
