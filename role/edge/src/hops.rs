//! Targets that are no device on a flow: where they are (RFC 3263), one next hop after the other.
//!
//! ```text
//!  locate_branch ─► hops_found ─► first hop that can be opened ─► offer_branch ─► send_branch
//!        too large for a datagram? ─► the same hop by TCP, UDP kept as the next one
//!        no connection, 503, or silence ─► try_next_hop: a second branch with the hops left
//! ```
//!
//! A hop that is merely silent keeps its branch: if it answers after all, it is one more fork.

use crate::asks::Pending;
use crate::branch::BranchId;
use crate::core::{EdgeCore, Present};
use crate::forward::{Branch, Forward, Outcome};
use crate::ports::{Dialler, EdgeEvent, Question, Reach, Refusal};
use sansio::Transport;
use sip::locate::{DATAGRAM_REQUEST_MAX, NextHop};
use sip::transaction::ServerKey;
use sip::{HeaderName, Message, Method};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a hop may say nothing at all before the next one is tried beside it. An INVITE is
/// answered with 100 at once by whoever lives (RFC 3261 §8.2.6.1); by then UDP has sent it twice.
const HOP_PATIENCE: Duration = Duration::from_secs(1);

/// Hops of a located target.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    /// The one in use; `None` for a device on a flow, and before the target is located.
    pub current: Option<NextHop>,
    left: VecDeque<Candidate>,
    /// The request goes as a datagram, however large: TCP was tried (RFC 3261 §18.1.1).
    datagram: bool,
    heard: bool,
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Candidate {
    hop: NextHop,
    datagram: bool,
}

/// Without a way to open flows there are only bound ones.
pub(crate) struct NoDialler;

impl Dialler for NoDialler {
    fn open(&self, _: &NextHop) -> Option<Reach> {
        None
    }
}

impl Branch {
    /// Whether its target is to be located first.
    pub(crate) fn wants_hops(&self) -> bool {
        self.target.locate.is_some() && self.hops.current.is_none()
    }
}

impl EdgeCore {
    /// Finds out where a branch goes; an address literal needs nobody's help.
    pub(crate) fn locate_branch(&mut self, at: Present, key: ServerKey, id: BranchId) {
        let Some(branch) = self.branch_mut(key, id) else { return };
        let Some(ask) = branch.target.locate.clone() else { return };
        match ask.literal() {
            Some(hop) => self.hops_found(at, key, id, Ok(vec![hop])),
            None => self.ask(at, Question::Locate(ask), Pending::BranchHops(key, id)),
        }
    }

    /// The hops of a branch are known, or that there are none.
    pub(crate) fn hops_found(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        result: Result<Vec<NextHop>, Refusal>,
    ) {
        let Some(branch) = self.branch_mut(key, id) else { return };
        let hops = match result {
            Ok(hops) => hops,
            Err(refusal) => return self.fail_unsent(at, key, id, &refusal),
        };
        let candidate = |hop| Candidate { hop, datagram: false };
        branch.hops.left = hops.into_iter().map(candidate).collect();
        self.go_by_next_hop(at, key, id);
    }

    /// Takes the first hop that can be opened, and goes on to the offer.
    fn go_by_next_hop(&mut self, at: Present, key: ServerKey, id: BranchId) {
        let forward = self.forwards.get_mut(&key);
        let Some(branch) = forward.and_then(|f| f.branches.get_mut(id)) else { return };
        while let Some(Candidate { hop, datagram }) = branch.hops.left.pop_front() {
            if let Some(reach) = self.dialler.open(&hop) {
                branch.target.reach = reach;
                branch.hops.datagram = datagram;
                branch.hops.current = Some(hop);
                return self.offer_branch(at, key, id);
            }
            tracing::debug!(%hop, "nothing of ours reaches this hop");
        }
        // RFC 3261 §16.9: no next hop left is a 503 received, which goes back as 500.
        self.fail_unsent(at, key, id, &Refusal::new(500, "No Next Hop Can Be Reached"));
    }

    /// RFC 3261 §18.1.1: a request near the MTU goes by TCP, and by UDP after all if there is no
    /// TCP. True if the branch changed and is to be written anew.
    pub(crate) fn grow_out_of_datagram(
        &mut self,
        key: ServerKey,
        id: BranchId,
        request: &Message,
    ) -> bool {
        if request.bytes().len() <= DATAGRAM_REQUEST_MAX {
            return false;
        }
        let forward = self.forwards.get_mut(&key);
        let Some(branch) = forward.and_then(|f| f.branches.get_mut(id)) else { return false };
        let Some(hop) = branch.hops.current.clone() else { return false };
        if hop.transport != Transport::Udp || branch.hops.datagram {
            return false;
        }
        let tcp = hop.by_tcp();
        let Some(reach) = self.dialler.open(&tcp) else { return false };
        branch.target.reach = reach;
        branch.hops.current = Some(tcp);
        branch.hops.left.push_front(Candidate { hop, datagram: true });
        true
    }

    /// The request left: from now on the hop is expected to say something.
    pub(crate) fn watch_hop(&mut self, at: Present, key: ServerKey, id: BranchId) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let repeats = may_be_sent_twice(&forward.request);
        let Some(branch) = forward.branches.get_mut(id) else { return };
        if branch.hops.left.is_empty() || !repeats {
            return;
        }
        let due = at.now + HOP_PATIENCE;
        branch.hops.deadline = Some(due);
        self.hop_deadlines.insert((due, key, id));
    }

    /// A response came by a hop. A 503 sends the request on to the next (RFC 3263 §4.3).
    pub(crate) fn hop_answered(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) {
        self.stop_watching(key, id);
        let Some(branch) = self.branch_mut(key, id) else { return };
        let first = !std::mem::replace(&mut branch.hops.heard, true);
        let Some(hop) = branch.hops.current.clone() else { return };
        if response.status() == Some(503) {
            let text = response.header_str(HeaderName::RETRY_AFTER).unwrap_or_default();
            let digits = text.trim_start().split(|c: char| !c.is_ascii_digit()).next();
            let retry_after = digits.and_then(|d| d.parse().ok()).map(Duration::from_secs);
            if retry_after.is_some() {
                self.emit(EdgeEvent::HopFailed { hop, retry_after });
            }
            self.send_to_hops_left(at, key, id);
        } else if first {
            self.emit(EdgeEvent::HopWorked { hop });
        }
    }

    /// A branch ended without a final response. If its hop never said a word, the next is tried.
    pub(crate) fn try_next_hop(&mut self, at: Present, key: ServerKey, id: BranchId) {
        self.stop_watching(key, id);
        let Some(branch) = self.branch_mut(key, id) else { return };
        let Some(hop) = branch.hops.current.clone().filter(|_| !branch.hops.heard) else { return };
        self.emit(EdgeEvent::HopFailed { hop, retry_after: None });
        self.send_to_hops_left(at, key, id);
    }

    /// Hops that were silent for too long.
    pub(crate) fn hops_timeout(&mut self, at: Present) {
        while let Some((due, key, id)) = self.hop_deadlines.first().copied() {
            if due > at.now {
                return;
            }
            self.hop_deadlines.pop_first();
            self.try_next_hop(at, key, id);
        }
    }

    /// A forward is gone: nobody waits for its hops.
    pub(crate) fn forget_hops(&mut self, key: ServerKey, forward: &Forward) {
        for (id, branch) in forward.branches.iter() {
            if let Some(due) = branch.hops.deadline {
                self.hop_deadlines.remove(&(due, key, id));
            }
        }
    }

    /// The same target once more, by the hops a branch has left.
    fn send_to_hops_left(&mut self, at: Present, key: ServerKey, id: BranchId) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if forward.cancelled || forward.outcome != Outcome::Open {
            return;
        }
        let Some(branch) = forward.branches.get_mut(id) else { return };
        let left = std::mem::take(&mut branch.hops.left);
        if left.is_empty() {
            return;
        }
        let mut target = branch.target.clone();
        target.media = branch.media;
        let Some(second) = self.promise_branch(at, key, target) else { return };
        if let Some(branch) = self.branch_mut(key, second) {
            branch.hops.left = left;
        }
        self.go_by_next_hop(at, key, second);
    }

    fn stop_watching(&mut self, key: ServerKey, id: BranchId) {
        let due = self.branch_mut(key, id).and_then(|b| b.hops.deadline.take());
        if let Some(due) = due {
            self.hop_deadlines.remove(&(due, key, id));
        }
    }
}

/// Requests that do no harm when two servers of one domain get them: an INVITE is then one more
/// fork, the others say the same thing twice. A MESSAGE would be read twice.
fn may_be_sent_twice(request: &Message) -> bool {
    matches!(request.method(), Some(Method::INVITE | Method::OPTIONS | Method::REGISTER))
}
