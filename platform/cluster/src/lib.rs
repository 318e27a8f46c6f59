//! The spine of events: what happened, told once, to everyone who needs it.
//!
//! ```text
//!   shards, roles ──emit──────────┐                    ┌─► Subscription (bounded, lag counted): console
//!                 ──emit_durable──┤► one write per ────┤
//!        on_written(Ok) ◄─────────┘  group, on the     └─► DATA/spine/SEQ.log ─► Consumer (resumes after
//!                                    thread that emits                           a crash): records
//! ```
//!
//! Contract
//! - Events of a durable kind get a sequence number and are in the log before `on_written` hears
//!   `Ok`: they survive `kill -9`. A power cut costs at most what the [`FsyncPolicy`] leaves open.
//! - A [`Consumer`] sees every durable event, in order, at least once; with the sequence number
//!   stored beside its effect it makes that exactly once. [`Spine::epoch`] tells whose numbers
//!   they are, should someone delete the folder.
//! - Segments are deleted when every durable consumer has passed them.
//! - Nobody waits for a slow subscriber: it loses the oldest events and is told how many.
//!
//! ```
//! use cluster::{Event, Spine, SpineConfig};
//! use sansio::WallTime;
//! # let dir = std::env::temp_dir().join(format!("spine-doc-{}", std::process::id()));
//! let spine = Spine::open(&dir, SpineConfig::default(), WallTime::from_secs(1))?;
//! let mut records = spine.consumer("records", 0)?;
//! let (done, wait) = std::sync::mpsc::sync_channel(1);
//! spine.emit_durable(WallTime::from_secs(2), Event::CallRinging { call: 7 }, move |written| {
//!     let _ = done.send(written);
//! });
//! let seq = wait.recv().expect("the writer answers")?;
//! let events = records.read_ready(100)?;
//! assert_eq!(events.last().map(|e| e.seq), Some(seq));
//! # spine.stop(); std::fs::remove_dir_all(&dir).ok();
//! # Ok::<(), cluster::LogError>(())
//! ```
//!
//! The framed log file underneath, [`LogFile`], also carries the registrar's journal.
//!
//! What this crate does not do: no policy, no SQL, no network yet (a clustered spine will speak to
//! a message broker behind the same types), no clock: the time of an event comes with it.
//!
//! Start reading at [`Spine`] and [`Event`].

mod crc;
mod error;
mod event;
mod frame;
mod logfile;
mod spine;
mod sync;

pub use error::LogError;
pub use event::{EndedBy, Envelope, Event, MediaSummary, MediaWay, UnregisterReason};
pub use frame::{FRAME_OVERHEAD, Frames, MAX_PAYLOAD, push_frame};
pub use logfile::{DirLock, HEADER_LEN, LogFile, Recovered, replace_file};
pub use spine::{
    Consumer, Emission, Follower, OnWritten, Spine, SpineConfig, Subscription, Waiter,
};
pub use sync::{FsyncPolicy, SyncClock};
