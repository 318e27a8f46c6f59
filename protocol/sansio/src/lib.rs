//! Time, randomness, flows and timers as values: the contract every sans-IO machine shares.
//!
//! ```text
//!         handle_*(now, ..)            ┐
//!         handle_timeout(now)          ├──►  machine  ──►  poll_*() → Transmit | Event | Ask …
//!         command(now, ..)             ┘                   poll_timeout() → Option<Instant>
//!
//!         Rule: after any call on the left, drain every `poll_*` on the right before the next call.
//! ```
//!
//! A machine never reads a clock, opens a socket, or draws from a global generator. The driver
//! passes `now` ([`std::time::Instant`] for intervals, [`WallTime`] for what people and stores see)
//! and an [`Entropy`]. One driver in `net` runs machines on tokio; `simnet` runs the same machines
//! in virtual time. Questions a machine cannot answer itself leave as an `Ask` carrying an id and
//! come back later as `handle_answer(now, id, ..)`.
//!
//! Illegal *input* is data from a stranger: an event or a typed error, never a panic. Illegal
//! *calls* are our own bug: `debug_assert!` with a sentence.
//!
//! What this crate does not do: it holds no protocol, parses nothing, and knows no runtime.
//!
//! [`Table`] is the exception to "no sharing": what all shards must know of strangers, in cells that
//! bear a race, under keys nobody outside can choose.
//!
//! Start reading at [`FlowId`] and [`TimerQueue`].

mod entropy;
mod flow;
mod hex;
mod redact;
mod table;
pub mod testing;
mod time;
mod timer;

pub use entropy::{Entropy, SeededEntropy};
pub use flow::{FlowId, NodeId, ShardId, Transport};
pub use hex::push_hex;
pub use redact::Redacted;
pub use table::{KeyedHasher, Table};
pub use time::WallTime;
pub use timer::TimerQueue;
