//! Open questions. Each has a deadline: a relay or journal that never answers refuses by name, so
//! that no request waits for ever.

use crate::branch::BranchId;
use crate::core::{EdgeCore, Present};
use crate::in_dialog::Held;
use crate::ports::{Answer, AskId, Question, Refusal, RelayAsk};
use crate::register::PendingRegister;
use foldhash::HashMap;
use sip::Message;
use sip::transaction::{ClientKey, ServerKey};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the relay may take to write a description.
pub(crate) const RELAY_PATIENCE: Duration = Duration::from_secs(5);

/// How long the journal may take to write a binding or a record down. Below Timer F, so that the
/// client still hears the refusal.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(10);

/// How long finding a next hop may take; the locator itself gives up before.
pub(crate) const LOCATE_PATIENCE: Duration = Duration::from_secs(6);

const PATIENCES: [Duration; 3] = [RELAY_PATIENCE, JOURNAL_PATIENCE, LOCATE_PATIENCE];

/// The open questions of one shard.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    next: u64,
    pending: HashMap<AskId, Pending>,
    /// By patience: each of these is in the order of its deadlines. Most were answered since.
    deadlines: [VecDeque<(Instant, AskId)>; PATIENCES.len()],
    pub(crate) leaving: VecDeque<(AskId, Question)>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Pending {
    /// A REGISTER.
    Register(Box<PendingRegister>),
    /// A call whose record is being opened.
    OpenCall(ServerKey),
    /// A branch whose offer is being written.
    BranchOffer(ServerKey, BranchId),
    /// A branch whose response waits for its description.
    BranchAnswer(ServerKey, BranchId),
    /// A request in a dialog, waiting for its description.
    PassRequest(Box<Held>),
    /// An INFO with a digit that the relay may turn into something else.
    PassDigit(Box<Held>),
    /// An INFO with candidates that may be for the relay.
    PassTrickle(Box<Held>),
    /// A response in a dialog, waiting for its description.
    PassResponse(ClientKey, Box<Message>),
    /// A branch whose target is being located.
    BranchHops(ServerKey, BranchId),
    /// The relay is told which of two answered branches is left; nobody waits.
    Reselect,
}

impl Asks {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// When the first question that is open has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.iter().filter_map(|line| line.front()).map(|(at, _)| *at).min()
    }

    fn add(&mut self, now: Instant, patience: usize, (question, pending): (Question, Pending)) {
        self.next += 1;
        let id = AskId(self.next);
        self.pending.insert(id, pending);
        self.deadlines[patience].push_back((now + PATIENCES[patience], id));
        self.leaving.push_back((id, question));
    }

    fn take(&mut self, id: AskId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        for line in &mut self.deadlines {
            while line.front().is_some_and(|(_, id)| !self.pending.contains_key(id)) {
                line.pop_front();
            }
        }
        Some(pending)
    }

    fn take_due(&mut self, now: Instant) -> Option<Pending> {
        let mut fronts = self.deadlines.iter().filter_map(|line| line.front());
        let (_, id) = *fronts.find(|(deadline, _)| *deadline <= now)?;
        self.take(id)
    }
}

impl EdgeCore {
    /// Asks, and remembers who waits.
    pub(crate) fn ask(&mut self, at: Present, mut question: Question, pending: Pending) {
        if let Question::Relay(RelayAsk::Offer(d) | RelayAsk::Answer(d)) = &mut question {
            // A dialog remembers no peers, and those that certificates prove need no address.
            for (peer, source) in
                [(&mut d.from_peer, d.source), (&mut d.toward_peer, d.toward_source)]
            {
                if *peer == 0 {
                    *peer = self.peers.number_at(source);
                }
            }
        }
        let patience = match question {
            Question::Relay(_) => 0,
            Question::Register(_) | Question::OpenCall(_) => 1,
            Question::Locate(_) => 2,
        };
        self.asks.add(at.now, patience, (question, pending));
    }

    /// The answer to a question came. One that comes too late is dropped.
    pub fn handle_answer(&mut self, at: Present, id: AskId, answer: Answer) {
        if let Some(pending) = self.asks.take(id) {
            self.answered(at, pending, answer);
        }
        self.run_layer(at);
    }

    /// Questions nobody answered in time are refused.
    pub(crate) fn asks_timeout(&mut self, at: Present) {
        while let Some(pending) = self.asks.take_due(at.now) {
            tracing::error!(?pending, "a question was never answered");
            let refuse = |reason: &str| Refusal::new(503, reason);
            let answer = match &pending {
                Pending::Register(_) => {
                    Answer::Registered(Err(refuse("Registrar Does Not Answer")))
                }
                Pending::OpenCall(_) => Answer::Opened(Err(refuse("Call Records Do Not Answer"))),
                Pending::BranchHops(..) => {
                    Answer::Located(Err(refuse("Name Servers Do Not Answer")))
                }
                _ => Answer::Relayed(Err(refuse("Media Relay Does Not Answer"))),
            };
            self.answered(at, pending, answer);
            self.run_layer(at);
        }
    }

    fn answered(&mut self, at: Present, pending: Pending, answer: Answer) {
        match (pending, answer) {
            (Pending::Register(waiting), Answer::Registered(result)) => {
                self.finish_register(at, *waiting, result);
            }
            (Pending::OpenCall(key), Answer::Opened(result)) => {
                self.call_opened(at, key, result);
            }
            (Pending::BranchOffer(key, branch), Answer::Relayed(result)) => {
                self.branch_offer_ready(at, key, branch, result);
            }
            (Pending::BranchAnswer(key, branch), Answer::Relayed(result)) => {
                self.branch_answer_ready(at, key, branch, result);
            }
            (Pending::PassRequest(held), Answer::Relayed(result)) => {
                self.pass_request_ready(at, *held, result);
            }
            (Pending::PassDigit(held), Answer::Relayed(result)) => {
                self.digit_answered(at, *held, result.is_ok());
            }
            (Pending::PassTrickle(held), Answer::Relayed(result)) => {
                self.trickle_answered(at, *held, result);
            }
            (Pending::PassResponse(key, message), Answer::Relayed(result)) => {
                self.pass_response_ready(at, &key, &message, result);
            }
            (Pending::BranchHops(key, branch), Answer::Located(result)) => {
                self.hops_found(at, key, branch, result);
            }
            (Pending::Reselect, Answer::Relayed(result)) => {
                tracing::debug!(ok = result.is_ok(), "media of the branch that is left");
            }
            (pending, answer) => {
                debug_assert!(false, "{pending:?} was answered with {answer:?}");
            }
        }
    }
}
