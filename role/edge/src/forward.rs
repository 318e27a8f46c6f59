//! An initial request on its way to its targets: the request, its response context, its branches.

use crate::core::{EdgeCore, Inbound, Present};
use crate::dialog_track::DialogPhase;
use crate::hiding::Words;
use crate::hops::Hops;
use crate::identity::Claims;
use crate::peering::Peering;
use crate::ports::{EdgeEvent, EndCause, MediaProfile, Reach, Refusal, Target};
use bytes::Bytes;
use sansio::{FlowId, SeededEntropy, Transport};
use sip::Message;
use sip::proxy::ResponseContext;
use sip::transaction::{Arrival, ClientKey, Layer, SendVia, ServerKey};
use std::collections::VecDeque;
use std::time::Instant;

use crate::branch::BranchId;
use crate::branches::Branches;

/// One initial request being forwarded.
#[derive(Debug)]
pub(crate) struct Forward {
    /// The request as admitted: our Routes are off, its top Via is stamped.
    pub request: Message,
    /// How it came.
    pub arrival: Arrival,
    /// Who sent it, proven: `sip:user@domain`.
    pub caller: String,
    /// What else the caller truly says of itself.
    pub claims: Claims,
    /// The way back to the caller.
    pub caller_reach: Reach,
    /// The caller's binding; 0 when it called without being registered.
    pub caller_binding: u64,
    /// The peer it came from.
    pub caller_peer: Option<u16>,
    /// Whom it calls, `sip:user@domain`, while there are rules for encryption.
    pub called: Option<Box<str>>,
    /// Peers that get it should the first one fail.
    pub spare: Vec<Target>,
    /// Which responses go back, and when (RFC 3261 §16.7).
    pub context: ResponseContext<BranchId>,
    /// Where it went.
    pub branches: Branches,
    /// The call, if it is an INVITE.
    pub call: Option<u64>,
    /// The caller's media profile, from its offer or its transport.
    pub caller_media: MediaProfile,
    /// The Session-ID to send on, when the caller sent none (RFC 7989).
    pub added_session_id: Option<String>,
    /// Whether ringing was told.
    pub rung: bool,
    /// The caller gave up.
    pub cancelled: bool,
    /// What final response has gone back.
    pub outcome: Outcome,
    /// The branch whose answer the relay holds selected, and what the caller got for it.
    pub selected: Option<(BranchId, Bytes)>,
    /// Targets of the plan that wait for the call's record to be open.
    pub planned: Vec<Target>,
    /// When the response context wants its time-out, as noted in the core's deadlines.
    pub scheduled: Option<Instant>,
}

/// What final response has gone back to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// None yet.
    Open,
    /// A 2xx. More may follow.
    Accepted,
    /// 300-699.
    Refused,
}

/// One branch.
#[derive(Debug)]
pub(crate) struct Branch {
    pub target: Target,
    pub media: MediaProfile,
    /// What it needs as a branch to a peer.
    pub peering: Peering,
    /// The request is in other words than the caller's: what must be translated back.
    pub words: Words,
    pub client: Option<ClientKey>,
    /// Responses that wait while the description of an earlier one is at the relay.
    pub waiting: VecDeque<Message>,
    /// The response whose description is at the relay.
    pub at_relay: Option<Message>,
    /// RTP in clear was tried after RTP/SAVP was refused.
    pub retried: bool,
    /// Why it could not even be sent.
    pub unsent: Option<Refusal>,
    /// The callee's last answer.
    pub answer: Option<Bytes>,
    /// For a located target: the hop in use and those left.
    pub hops: Hops,
    /// Every 2xx that was dealt with, by a hash of its bytes, and how: a retransmitted one is not
    /// worked out again. Who makes two with one hash has made a retransmission.
    pub finals: Vec<(u64, Repeat)>,
}

/// What to do with a 2xx that comes again.
#[derive(Debug, Clone)]
pub(crate) enum Repeat {
    /// Send this upstream again.
    Upstream(Box<Message>),
    /// Acknowledge it again: its dialog was ended by us.
    Reaped,
}

impl EdgeCore {
    /// Ends every branch of a forward and answers `status`.
    pub(crate) fn abort_forward(&mut self, at: Present, key: ServerKey, status: u16) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        if forward.outcome != Outcome::Open {
            return;
        }
        forward.outcome = Outcome::Refused;
        forward.planned.clear();
        let request = forward.request.clone();
        self.reply_status(at, key, &request, status);
        if let Some(forward) = self.forwards.get_mut(&key) {
            forward.context.handle_cancel(Some("SIP;cause=480;text=\"hung up\""));
        }
        self.run_context(at, key);
    }

    /// A server transaction is gone: so is what was kept for it.
    pub(crate) fn server_gone(&mut self, at: Present, key: ServerKey) {
        self.passing_of.remove(&key);
        let Some(forward) = self.forwards.remove(&key) else { return };
        self.forget_hops(key, &forward);
        if let Some(due) = forward.scheduled {
            self.context_deadlines.remove(&(due, key));
        }
        let Some(call) = forward.call else { return };
        if !self.is_answered(call) {
            // Told already, unless the transaction was given up without a final of ours.
            self.end_call(at, call, EndCause::Failed, None);
        }
        let Some(entry) = self.calls.get(&call) else { return };
        let relay_session = entry.relay_session;
        if !entry.ended {
            for branch in self.losing_branches(call, &forward) {
                self.emit(EdgeEvent::BranchEnded { relay_session, branch: branch.0 });
            }
        }
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.dialogs.retain(|d| d.phase != DialogPhase::Early);
        }
        self.forget_call(call);
    }

    /// A client transaction is gone.
    pub(crate) fn client_gone(&mut self, key: ClientKey) {
        self.branches.remove(&key);
        self.own_byes.remove(&key);
        self.restart_timer_c(key, None);
        let Some(passing) = self.passing.remove(&key) else { return };
        self.passing_of.remove(&passing.server());
        let Some(call) = passing.call() else { return };
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.under_way = entry.under_way.saturating_sub(1);
        }
        self.forget_call(call);
    }

    /// Branches nobody answered on.
    fn losing_branches(&self, call: u64, forward: &Forward) -> Vec<BranchId> {
        let won = |id: &BranchId| {
            let mine = |d: &&crate::DialogTrack| d.branch == id.0 && d.phase != DialogPhase::Early;
            self.calls.get(&call).is_some_and(|c| c.dialogs.iter().find(mine).is_some())
        };
        forward.branches.iter().map(|(id, _)| id).filter(|id| !won(id)).collect()
    }

    /// How response contexts are bounded.
    pub(crate) fn context_config(&self) -> sip::proxy::Config {
        sip::proxy::Config {
            timer_c: self.config.ring_timeout(),
            // Each branch may be tried once more in clear.
            branches_max: self.config.branches_max * 2,
        }
    }

    /// Whether a request came here before, unchanged (RFC 5393 §4.2).
    pub(crate) fn is_loop(&self, request: &Message) -> bool {
        sip::proxy::forward::is_loop(self.loop_salt, request, |via| {
            via.branch().and_then(net::branch_owner).is_some()
        })
    }

    /// When the next response context has something to time out.
    pub(crate) fn next_context_timeout(&self) -> Option<Instant> {
        self.context_deadlines.first().map(|(at, _)| *at)
    }

    /// Gives every due response context its time-out.
    pub(crate) fn contexts_timeout(&mut self, at: Present) {
        while let Some((due, key)) = self.context_deadlines.first().copied() {
            if due > at.now {
                return;
            }
            self.context_deadlines.pop_first();
            if let Some(forward) = self.forwards.get_mut(&key) {
                forward.scheduled = None;
                forward.context.handle_timeout(at.now);
                self.run_context(at, key);
            }
        }
    }

    /// Notes when a context wants its time-out: one entry for each.
    pub(crate) fn schedule_context(&mut self, key: ServerKey) {
        let Some(forward) = self.forwards.get_mut(&key) else { return };
        let due = forward.context.poll_timeout();
        let was = std::mem::replace(&mut forward.scheduled, due);
        if was == due {
            return;
        }
        if let Some(was) = was {
            self.context_deadlines.remove(&(was, key));
        }
        if let Some(due) = due {
            self.context_deadlines.insert((due, key));
        }
    }
}

/// The layer of one shard.
pub(crate) fn new_layer(seed: u64) -> Layer {
    Layer::new(sip::transaction::Config::default(), &mut SeededEntropy::new(seed))
}

pub(crate) fn arrival(inbound: &Inbound) -> Arrival {
    Arrival { flow: inbound.flow, transport: inbound.transport, peer: inbound.peer }
}

pub(crate) fn send_via(flow: FlowId, transport: Transport) -> SendVia {
    SendVia { flow, transport }
}
