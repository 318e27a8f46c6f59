//! What a stateful proxy adds to the transaction layer (RFC 3261 §16): the response context, which
//! turns the responses of many branches into one stream of responses upstream, and the edits a
//! request needs on its way.
//!
//! ```text
//!                              ┌─ branch 1 (ClientInvite) ──► 180, 486 ┐
//!   INVITE ─► ServerInvite ─►  ├─ branch 2 (ClientInvite) ──► 180, 200 ├─► ResponseContext ─┐
//!        ▲                     └─ promised: a phone being woken ·······┘                    │
//!        └── Forward: each 101-199, every 2xx, else the best final ◄─────────────────────────┤
//!                                      Cancel(branch), Abandoned(promise), Waiting, Done ◄───┘
//! ```
//!
//! # Contract
//! Feed [`ResponseContext`] with what the layer reports for each branch (`Response`, `TimedOut`,
//! `FlowFailed`) and with the upstream CANCEL; drain [`ResponseContext::poll_action`] after each
//! call; call [`ResponseContext::handle_timeout`] at [`ResponseContext::poll_timeout`]. It is
//! retransmission safe: a final that comes again does nothing, except that every 2xx to INVITE goes
//! upstream (§16.7 step 5). The responses it gets have our Via taken off already, and what
//! it sends up can be given to [`Layer::respond`](crate::transaction::Layer::respond) as it is.
//!
//! A *promised* branch is one that may still come, such as a phone woken by a push. It delays the
//! final response until it is fulfilled, abandoned, or its deadline passes; it never delays a 2xx.
//!
//! ```
//! use sip::{Message, proxy::{Action, Config, ResponseContext}};
//! # let invite = Message::parse(b"INVITE sip:bob@example.com SIP/2.0\r\n\
//! #   Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKup\r\nMax-Forwards: 70\r\n\
//! #   From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\n\
//! #   Call-ID: 1@192.0.2.1\r\nCSeq: 1 INVITE\r\n\r\n".as_slice().into())?;
//! let now = sansio::testing::epoch();
//! let mut context = ResponseContext::new(Config::default(), invite);
//! context.add_branch(now, "desk").unwrap();
//! context.add_branch(now, "mobile").unwrap();
//! context.handle_timed_out(&"desk");
//! assert!(context.poll_action().is_none());          // mobile may still answer
//! context.handle_flow_failed(&"mobile");
//! let Some(Action::Forward { message, .. }) = context.poll_action() else { panic!() };
//! assert_eq!(message.status(), Some(408));           // 4xx before the 500 that 503 becomes
//! # Ok::<(), sip::ParseError>(())
//! ```
//!
//! What it does not do: it chooses no targets, follows no redirects, and sends nothing itself; that
//! policy is the edge's.
//!
//! Start reading at [`ResponseContext`], then [`forward`].

mod best;
mod context;
pub mod forward;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::context::ResponseContext;
use crate::Message;

/// Limits of a [`ResponseContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Timer C: how long an INVITE branch may stay without a final after its last 101-199. RFC 3261
    /// §16.6 step 11 wants more than 3 minutes, the default is 181 s.
    pub timer_c: Duration,
    /// Branches and promises together. Default 64.
    pub branches_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { timer_c: Duration::from_secs(181), branches_max: 64 }
    }
}

/// What a [`ResponseContext`] wants done.
#[derive(Debug, Clone)]
pub enum Action<Id> {
    /// Send this response upstream.
    Forward {
        /// The branch it came by; `None` for one the context made itself.
        branch: Option<Id>,
        /// The response, our Via already taken off.
        message: Message,
    },
    /// Cancel this branch, with this Reason value (RFC 3326).
    Cancel {
        /// The branch.
        branch: Id,
        /// For [`Layer::cancel`](crate::transaction::Layer::cancel).
        reason: Option<String>,
    },
    /// This promise is no longer waited for: its phone need not ring.
    Abandoned {
        /// The promise.
        branch: Id,
    },
    /// Every branch has ended without success and only promises hold the final back: the moment to
    /// try the next group of targets.
    Waiting,
    /// A final went upstream and every branch has its own: the context can be dropped (a later 2xx
    /// comes as a stray response and is forwarded by the TU).
    Done,
}

/// Why a branch was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// [`Config::branches_max`].
    #[error("too many branches")]
    TooManyBranches,
    /// The caller has cancelled, a branch has answered, or a 6xx forbids further branches.
    #[error("the request is already decided")]
    Decided,
    /// There is a branch with this id.
    #[error("the branch exists")]
    Duplicate,
}
