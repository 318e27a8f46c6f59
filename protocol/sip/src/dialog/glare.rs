//! [`Glare`]: two offers at once (RFC 3261 §14, RFC 3311 §5.2).

use std::time::Duration;

use sansio::Entropy;

use super::Role;

/// The INVITEs and UPDATEs with offers under way in one dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Glare {
    /// One of ours waits for its final.
    pub ours: bool,
    /// One of the peer's waits for our final.
    pub theirs: bool,
}

/// What to do with a re-INVITE or UPDATE of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Accept,
    /// Ours is under way: 491 Request Pending.
    RequestPending,
    /// Theirs is under way already: 500 with this Retry-After.
    RetryAfter {
        /// In seconds, 0 to 10 at random (§14.2).
        seconds: u32,
    },
}

impl Glare {
    /// The peer asks. On [`Verdict::Accept`] set [`Glare::theirs`] until it is answered.
    pub fn judge(self, entropy: &mut dyn Entropy) -> Verdict {
        match self {
            Self { theirs: true, .. } => {
                Verdict::RetryAfter { seconds: (entropy.next_u64() % 11) as u32 }
            }
            Self { ours: true, .. } => Verdict::RequestPending,
            _ => Verdict::Accept,
        }
    }

    /// Whether we may send an offer now.
    pub fn may_offer(self) -> bool {
        !self.ours && !self.theirs
    }
}

/// How long to wait after a 491 before asking again (§14.1): 2.1 to 4 s for who owns the Call-ID,
/// 0 to 2 s for the other, in steps of 10 ms, so that the two do not meet again.
pub fn retry_after_491(role: Role, entropy: &mut dyn Entropy) -> Duration {
    let steps = match role {
        Role::Uac => 210 + entropy.next_u64() % 191,
        Role::Uas => entropy.next_u64() % 201,
    };
    Duration::from_millis(10 * steps)
}
