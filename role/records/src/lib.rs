//! Call records: what the spine tells about calls, folded into the store; and the calls in
//! progress, as seen from memory.
//!
//! ```text
//!   Spine ──Consumer──► Fold (sans-IO) ──┬─► RecordOps ──► store::Records::apply   (one transaction
//!                  ▲                     │    now and then    with the position)
//!                  │ whoever asks        └─► OpenCalls ◄── `calls list`, console
//!                  └──────────────────────────────┘
//! ```
//!
//! Contract
//! - A record opens when its CallStarted is folded and closes exactly once, by the first of
//!   CallEnded and restart. Replays after a crash change nothing: the store keeps the position in
//!   the transaction of the effects.
//! - At start, [`RecordKeeper::open`] first folds everything left in the log, then closes what is
//!   still open of earlier runs with cause [`SERVER_RESTART`]. Calls of this run are never touched.
//! - A store that fails for a while (locked, full disk) delays records; the spine keeps the events.
//!
//! ```
//! # let dir = std::env::temp_dir().join(format!("records-doc-{}", std::process::id()));
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use std::sync::Arc;
//! let now = sansio::WallTime::from_secs(1);
//! let spine = cluster::Spine::open(&dir, cluster::SpineConfig::default(), now).unwrap();
//! let store = Arc::new(store::MemoryStore::new());
//! let keeper = records::RecordKeeper::open(&spine, store, now).await.unwrap();
//! let calls = keeper.open_calls();
//! let running = tokio::spawn(keeper.run());
//! assert!(calls.list().is_empty());
//! spine.stop();
//! running.await.unwrap();
//! # });
//! # std::fs::remove_dir_all(&dir).ok();
//! ```
//!
//! What this crate does not do: it hears no SIP and decides nothing about calls; no billing.
//!
//! Start reading at [`Fold`], then [`RecordKeeper`].

mod fold;
mod open_calls;
mod shell;

pub use fold::{Fold, SERVER_RESTART};
pub use open_calls::{CallState, OpenCall, OpenCalls};
pub use shell::{CONSUMER, RecordKeeper, RecordsError};
