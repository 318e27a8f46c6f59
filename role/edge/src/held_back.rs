//! What peers ask us to hold back: overload feedback in their responses (RFC 7339).
//!
//! ```text
//!   INVITE  Via: ..;oc;oc-algo="loss"            ─►  peer     we announce that we listen
//!   1xx-6xx Via: ..;oc=20;oc-validity=500;oc-seq=..  ◄─       hold back a fifth, for half a second
//!   next calls: one in five goes to another peer, or is refused with 503 here
//! ```
//!
//! What is in a dialog and what saves lives is never held back (§5.10.1). A peer that is overloaded
//! hears less of us without having to refuse, and the caller hears 503 at once.

use crate::branch::BranchId;
use crate::core::{EdgeCore, Present};
use crate::ports::{Refusal, Target};
use sip::transaction::ServerKey;
use sip::{Glance, Message, Via};
use std::time::{Duration, Instant};

/// How long feedback holds that does not say so (§4.3).
const VALIDITY: Duration = Duration::from_millis(500);
/// The longest it may ask for; it repeats itself with each response.
const VALIDITY_MAX: Duration = Duration::from_secs(60);

/// One peer's wish.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wish {
    /// Of a hundred new requests, so many are held back.
    percent: u8,
    valid: Duration,
    /// Later wishes have higher numbers (`oc-seq`).
    seq: f64,
}

/// A wish, and until when it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldBack {
    wish: Wish,
    until: Instant,
}

impl EdgeCore {
    /// Takes note of what a peer's response says of its load. Other responses cost one look.
    pub(crate) fn note_wish(
        &mut self,
        at: Present,
        key: ServerKey,
        id: BranchId,
        response: &Message,
    ) {
        let branch = self.forwards.get(&key).and_then(|f| f.branches.get(id));
        let Some(number) = branch.and_then(|b| b.peering.peer) else { return };
        if !self.peers.get(number).is_some_and(|peer| peer.overload_control) {
            return;
        }
        let Some(wish) = response.top_via().ok().and_then(|via| wish_of(&via)) else { return };
        let last = self.held_back.get(&number);
        // Responses overtake each other.
        if last.is_some_and(|last| wish.seq < last.wish.seq) {
            return;
        }
        // Kept even when it asks for nothing, for its number.
        self.held_back.insert(number, HeldBack { wish, until: at.now + wish.valid });
    }

    /// The plan without the peers that want to be spared this request.
    pub(crate) fn sparing(
        &mut self,
        at: Present,
        request: &Message,
        plan: Result<Vec<Target>, Refusal>,
    ) -> Result<Vec<Target>, Refusal> {
        if self.held_back.is_empty() || Glance::of(request.bytes()).is_emergency {
            return plan;
        }
        let mut targets = plan?;
        let planned = targets.len();
        targets.retain(|target| {
            let wish = target.peer.and_then(|number| self.held_back.get(&number));
            let percent = wish.filter(|w| w.until > at.now).map_or(0, |w| w.wish.percent);
            percent == 0 || self.entropy.next_u64() % 100 >= u64::from(percent)
        });
        if targets.is_empty() && planned > 0 {
            return Err(Refusal::new(503, "Peer Overloaded"));
        }
        Ok(targets)
    }
}

/// What the Via of a response says; `None` where it says nothing of load.
fn wish_of(via: &Via<'_>) -> Option<Wish> {
    let number = |name| std::str::from_utf8(via.param(name)?).ok()?.trim().parse::<f64>().ok();
    let asked = number("oc").filter(|oc| (0.0..=100.0).contains(oc))?;
    // We announced `loss` alone; a number in another algorithm means something else.
    let algorithm = via.param("oc-algo").unwrap_or(b"\"loss\"");
    let algorithm: Vec<u8> = algorithm.iter().copied().filter(|b| *b != b'"').collect();
    if !algorithm.eq_ignore_ascii_case(b"loss") {
        return None;
    }
    let valid = number("oc-validity").filter(|ms| *ms >= 0.0);
    let valid = valid.map_or(VALIDITY, |ms| Duration::from_millis(ms as u64)).min(VALIDITY_MAX);
    Some(Wish { percent: asked as u8, valid, seq: number("oc-seq").unwrap_or(0.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(params: &str) -> Option<(u8, u64)> {
        let via = format!("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx{params}");
        let wish = wish_of(&Via::parse(via.as_bytes()).unwrap())?;
        Some((wish.percent, wish.valid.as_millis() as u64))
    }

    #[test]
    fn feedback_is_read_as_the_rfc_writes_it_and_nothing_else_is() {
        assert_eq!(wish(";oc=20;oc-algo=\"loss\";oc-validity=1000;oc-seq=1.5"), Some((20, 1000)));
        assert_eq!(wish(";oc=100"), Some((100, 500)));
        assert_eq!(wish(";oc=7;oc-validity=0"), Some((7, 0)));
        assert_eq!(wish(";oc=7;oc-validity=99999999"), Some((7, 60_000)));
        for nothing in ["", ";oc", ";oc=101", ";oc=-1", ";oc=NaN", ";oc=9;oc-algo=\"rate\""] {
            assert_eq!(wish(nothing), None, "{nothing}");
        }
    }
}
