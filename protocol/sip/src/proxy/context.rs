//! The response context (RFC 3261 §16.7).

use std::collections::VecDeque;
use std::time::Instant;

use super::{Action, Config, Refusal, best};
use crate::{Message, Method};

/// Reason given to the phones that did not answer first (RFC 3326 §2).
const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// Branches of one request, and what has gone upstream. See the [module](super).
#[derive(Debug)]
pub struct ResponseContext<Id> {
    config: Config,
    request: Message,
    is_invite: bool,
    branches: Vec<Branch<Id>>,
    actions: VecDeque<Action<Id>>,
    phase: Phase,
    winner: Option<Id>,
    cancelled: bool,
    waiting_told: bool,
    done_told: bool,
}

/// How far the request is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Branches may be added; no final yet.
    Open,
    /// Cancelled upstream, or a 6xx came: no new branches; the final waits for the old ones.
    Closing,
    /// A final went upstream.
    Answered,
}

#[derive(Debug)]
struct Branch<Id> {
    id: Id,
    state: BranchState,
}

#[derive(Debug)]
enum BranchState {
    /// May still come; given up at the deadline.
    Promised { deadline: Instant },
    /// Sent. Timer C runs for an INVITE until it is cancelled.
    Active { timer_c: Option<Instant>, cancelled: bool },
    /// Its final came, or stands for one that never will.
    Final(Box<Message>),
    /// Promised and given up.
    Abandoned,
}

impl<Id: Clone + PartialEq> ResponseContext<Id> {
    /// A context for `request` as it came from upstream, with received and rport filled in: its own
    /// responses are made from it.
    pub fn new(config: Config, request: Message) -> Self {
        let is_invite = request.method() == Some(Method::INVITE);
        Self {
            config,
            request,
            is_invite,
            branches: Vec::new(),
            actions: VecDeque::new(),
            phase: Phase::Open,
            winner: None,
            cancelled: false,
            waiting_told: false,
            done_told: false,
        }
    }

    /// A branch was sent. Allowed until the request is decided.
    pub fn add_branch(&mut self, now: Instant, id: Id) -> Result<(), Refusal> {
        let timer_c = self.is_invite.then(|| now + self.config.timer_c);
        self.add(id, BranchState::Active { timer_c, cancelled: false })
    }

    /// A branch may come until `deadline` and delays the final until then.
    pub fn add_promised(&mut self, id: Id, deadline: Instant) -> Result<(), Refusal> {
        self.add(id, BranchState::Promised { deadline })
    }

    /// The promised branch was sent. On [`Refusal::Decided`] it must not be sent.
    pub fn fulfil(&mut self, now: Instant, id: &Id) -> Result<(), Refusal> {
        if self.phase != Phase::Open {
            return Err(Refusal::Decided);
        }
        let timer_c = self.is_invite.then(|| now + self.config.timer_c);
        match self.find(id) {
            Some(Branch { state: state @ BranchState::Promised { .. }, .. }) => {
                *state = BranchState::Active { timer_c, cancelled: false };
                self.waiting_told = false;
                Ok(())
            }
            Some(Branch { state: BranchState::Active { .. }, .. }) => Err(Refusal::Duplicate),
            _ => Err(Refusal::Decided),
        }
    }

    /// The promise will not be kept.
    pub fn abandon(&mut self, id: &Id) {
        if let Some(Branch { state: state @ BranchState::Promised { .. }, .. }) = self.find(id) {
            *state = BranchState::Abandoned;
        }
        self.settle();
    }

    /// A response came by a branch. It is as it goes upstream, our own Via off already
    /// ([`strip_via`](super::forward::strip_via)).
    pub fn handle_response(&mut self, now: Instant, id: &Id, response: Message) {
        let Some(code) = response.status() else { return };
        match code {
            0..=100 => {}
            101..=199 => self.handle_provisional(now, id, response),
            200..=299 => self.handle_success(id, response),
            _ => self.handle_failure(id, response),
        }
    }

    /// The branch's transaction timed out: counts as 408, or as 487 once the caller has cancelled.
    pub fn handle_timed_out(&mut self, id: &Id) {
        let code = if self.cancelled { 487 } else { 408 };
        self.handle_failure(id, best::local(&self.request, code));
    }

    /// The branch's flow broke: counts as 503 (RFC 3261 §16.9).
    pub fn handle_flow_failed(&mut self, id: &Id) {
        self.handle_failure(id, best::local(&self.request, 503));
    }

    /// The caller cancelled (§16.10): every branch is cancelled, every promise given up, and no
    /// branch can be added. `reason` is the Reason of the CANCEL, passed on.
    pub fn handle_cancel(&mut self, reason: Option<&str>) {
        if self.phase == Phase::Answered || self.cancelled {
            return;
        }
        self.cancelled = true;
        self.phase = Phase::Closing;
        self.stop_others(reason);
        self.settle();
    }

    /// Deadlines of promises, and Timer C (§16.8).
    pub fn handle_timeout(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for branch in &mut self.branches {
            match &mut branch.state {
                BranchState::Promised { deadline } if *deadline <= now => {
                    branch.state = BranchState::Abandoned;
                    self.actions.push_back(Action::Abandoned { branch: branch.id.clone() });
                }
                BranchState::Active { timer_c, cancelled } if timer_c.is_some_and(|c| c <= now) => {
                    (*timer_c, *cancelled) = (None, true);
                    silent.push(branch.id.clone());
                }
                _ => {}
            }
        }
        // The layer cancels at once or when a provisional comes, and reports TimedOut if nothing
        // does, which is the 408 of §16.8.
        for branch in silent {
            self.actions.push_back(Action::Cancel { branch, reason: None });
        }
        self.settle();
    }

    /// The next thing to do. Drain it after every other call.
    pub fn poll_action(&mut self) -> Option<Action<Id>> {
        let action = self.actions.pop_front();
        if action.is_none() && self.done_told {
            // What follows, if anything, is a 2xx that comes again.
            self.actions = VecDeque::new();
        }
        action
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = |branch: &Branch<Id>| match branch.state {
            BranchState::Promised { deadline } => Some(deadline),
            BranchState::Active { timer_c, .. } => timer_c,
            _ => None,
        };
        self.branches.iter().filter_map(deadline).min()
    }

    /// The request as it came.
    pub fn request(&self) -> &Message {
        &self.request
    }

    /// The branch whose 2xx went upstream first.
    pub fn winner(&self) -> Option<&Id> {
        self.winner.as_ref()
    }

    /// Whether the caller has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Whether a final went upstream.
    pub fn is_answered(&self) -> bool {
        self.phase == Phase::Answered
    }

    /// Whether a final went upstream and no branch is without one.
    pub fn is_done(&self) -> bool {
        self.is_answered() && !self.branches.iter().any(Branch::is_open)
    }

    fn add(&mut self, id: Id, state: BranchState) -> Result<(), Refusal> {
        if self.phase != Phase::Open {
            return Err(Refusal::Decided);
        }
        if self.branches.len() >= self.config.branches_max {
            return Err(Refusal::TooManyBranches);
        }
        if self.find(&id).is_some() {
            return Err(Refusal::Duplicate);
        }
        self.branches.push(Branch { id, state });
        self.waiting_told = false;
        Ok(())
    }

    fn handle_provisional(&mut self, now: Instant, id: &Id, response: Message) {
        let restarted = now + self.config.timer_c;
        let Some(branch) = self.find(id) else { return };
        let BranchState::Active { timer_c, .. } = &mut branch.state else { return };
        if let Some(at) = timer_c {
            *at = restarted;
        }
        // RFC 4320 §4.1: a non-INVITE has no provisional but 100.
        if self.is_invite && self.phase != Phase::Answered {
            self.forward(Some(id.clone()), response);
        }
    }

    /// Every 2xx to INVITE goes up, first or not, again or not (§16.7 step 5); of a non-INVITE only
    /// the first final.
    fn handle_success(&mut self, id: &Id, response: Message) {
        let is_invite = self.is_invite;
        let Some(branch) = self.find(id) else { return };
        let first_of_branch = branch.is_open();
        if !first_of_branch && !is_invite {
            return;
        }
        branch.state = BranchState::Final(Box::new(response.clone()));
        let was = std::mem::replace(&mut self.phase, Phase::Answered);
        if is_invite || was != Phase::Answered {
            self.forward(Some(id.clone()), response);
            self.winner.get_or_insert_with(|| id.clone());
        }
        self.stop_others(Some(ELSEWHERE));
        self.settle();
    }

    fn handle_failure(&mut self, id: &Id, response: Message) {
        let decline = response.status().filter(|code| *code >= 600);
        match self.find(id) {
            Some(branch) if branch.is_open() => {
                branch.state = BranchState::Final(Box::new(response));
            }
            _ => return,
        }
        // A 6xx speaks for the user: ring nowhere else, but wait for the others' finals, among
        // which may be a 2xx (§16.7 step 5).
        if let Some(code) = decline
            && self.phase != Phase::Answered
        {
            self.phase = Phase::Closing;
            self.stop_others(Some(&format!("SIP;cause={code}")));
        }
        self.settle();
    }

    /// Cancels every branch without a final and gives up every promise.
    fn stop_others(&mut self, reason: Option<&str>) {
        for branch in &mut self.branches {
            let id = branch.id.clone();
            match &mut branch.state {
                BranchState::Active { timer_c, cancelled } if self.is_invite && !*cancelled => {
                    (*timer_c, *cancelled) = (None, true);
                    let reason = reason.map(str::to_owned);
                    self.actions.push_back(Action::Cancel { branch: id, reason });
                }
                BranchState::Promised { .. } => {
                    branch.state = BranchState::Abandoned;
                    self.actions.push_back(Action::Abandoned { branch: id });
                }
                _ => {}
            }
        }
    }

    /// Sends the best final once nothing more can come, and tells the TU where things stand.
    fn settle(&mut self) {
        let active = self.branches.iter().any(|b| matches!(b.state, BranchState::Active { .. }));
        let promised =
            self.branches.iter().any(|b| matches!(b.state, BranchState::Promised { .. }));
        if !active && promised && !self.waiting_told {
            self.waiting_told = true;
            self.actions.push_back(Action::Waiting);
        }
        if active || promised {
            return;
        }
        if self.phase != Phase::Answered {
            self.phase = Phase::Answered;
            let (branch, message) = self.best();
            self.forward(branch, message);
        }
        if !self.done_told {
            self.done_told = true;
            self.actions.push_back(Action::Done);
        }
    }

    fn best(&self) -> (Option<Id>, Message) {
        // Of several 503 the one that names its cause: a connection that broke, before the hop was reached
        // in another way, names none.
        let unnamed =
            |m: &Message| m.status() == Some(503) && m.header(crate::HeaderName::REASON).is_none();
        let rank =
            |m: &Message| (best::rank(m.status().unwrap_or(500), self.cancelled), unnamed(m));
        let chosen =
            self.branches.iter().filter_map(Branch::final_response).min_by_key(|(_, m)| rank(m));
        let Some((id, best)) = chosen else {
            // Nothing was ever sent: cancelled while only promised, or nobody woke up.
            let code = if self.cancelled { 487 } else { 480 };
            return (None, best::local(&self.request, code));
        };
        match best.status() {
            Some(401 | 407) => {
                let finals = self.branches.iter().filter_map(Branch::final_response);
                let others = finals.filter(|(other, _)| *other != id).map(|(_, m)| m);
                (Some(id.clone()), best::aggregate(best, others))
            }
            Some(503) => (None, best::soften(&self.request, best.clone())),
            _ => (Some(id.clone()), best.clone()),
        }
    }

    fn forward(&mut self, branch: Option<Id>, message: Message) {
        self.actions.push_back(Action::Forward { branch, message });
    }

    fn find(&mut self, id: &Id) -> Option<&mut Branch<Id>> {
        self.branches.iter_mut().find(|b| b.id == *id)
    }
}

impl<Id> Branch<Id> {
    fn is_open(&self) -> bool {
        matches!(self.state, BranchState::Active { .. } | BranchState::Promised { .. })
    }

    fn final_response(&self) -> Option<(&Id, &Message)> {
        match &self.state {
            BranchState::Final(message) => Some((&self.id, message)),
            _ => None,
        }
    }
}
