//! Where a call goes, and why.
//!
//! ```text
//!   PolicySnapshot ┐
//!   Locations ─────┼─► decide ─► Plan { outcome, steps: the reason of each turn }
//!   CallFacts ─────┘                │
//!                                   ├─► the edge acts on it
//!                                   └─► `whimbrel route explain`, console: the same steps
//! ```
//!
//! Contract: [`decide`] is pure. The same policy, locations and facts give the same plan; it does
//! no I/O, reads no clock, and what it shows in [`Step`]s is what it acted on.
//!
//! ```
//! use router::{CallFacts, Locations, Outcome, Place, PolicySnapshot, decide};
//! use sansio::WallTime;
//!
//! struct Nowhere;
//! impl Locations for Nowhere {
//!     fn places(&self, _aor: &str, _wall: WallTime) -> Vec<Place> { Vec::new() }
//! }
//! struct OnlyBob;
//! impl router::Directory for OnlyBob {
//!     fn has_user(&self, _domain: &str, user: &str) -> bool { user == "bob" }
//! }
//! let policy = PolicySnapshot::new(["example.com"], OnlyBob);
//! let facts = CallFacts {
//!     caller: "sip:alice@example.com", user: "bob", domain: "example.com", method: "INVITE",
//!     from_peer: None,
//! };
//! let plan = decide(&policy, &Nowhere, &facts, WallTime::from_secs(1));
//! assert!(matches!(plan.outcome, Outcome::Refuse { status: 480, .. }));
//! assert_eq!(plan.steps[0].to_string(), "example.com is served here");
//! ```
//!
//! What this crate does not do: no SIP, no registrations of its own, no media, no
//! transit from one peer to another.
//!
//! Start reading at [`decide`].

mod decide;
mod peer;
mod plan;
mod policy;
mod step;

pub use decide::{CallFacts, Locations, Place, TARGETS_MAX, decide};
pub use peer::{PeerRoute, PrefixRoute};
pub use plan::{MediaProfile, Outcome, PeerTarget, Plan, Service, Target};
pub use policy::{Directory, PolicySnapshot};
pub use step::Step;
