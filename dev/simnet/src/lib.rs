//! A network, a clock and hosts in one process, under a seed.
//!
//! ```text
//!      alice ──link──┐                             ┌──link── bob
//!                    NAT ──link──  the internet  ──┤
//!      carol ──link──┘   (realm 0, virtual time)   └──link── server
//! ```
//!
//! [`Net`] holds hosts, each with one [`Node`] (a sans-IO machine and whatever it needs around it),
//! joined by [`Link`]s that delay, lose, reorder and duplicate, and by [`NatConfig`]s that translate
//! and filter as RFC 4787 describes. Time is virtual: a minute of call takes milliseconds. Everything
//! that happens follows from the seed; the same seed gives the same trace, byte for byte.
//!
//! A test is a [`story`]: it runs under several seeds, and when it fails it prints the SIP ladder of
//! the failing run and one line that replays it.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use sansio::WallTime;
//! use simnet::{Datagrams, Link, Net};
//!
//! let mut net = Net::new(7);
//! let alice = net.add_host("alice", "10.0.0.1", Link::lan(), Datagrams::silent());
//! let bob = net.add_host("bob", "10.0.0.2", Link::lan(), Datagrams::echoing());
//! net.with(alice, |node, _now, _wall| {
//!     node.send("10.0.0.1:5060".parse().unwrap(), "10.0.0.2:5060".parse().unwrap(), b"hello");
//! });
//! net.run_for(Duration::from_secs(1));
//! assert_eq!(net.node(alice).received[0].bytes, b"hello"[..]);
//! # let _ = bob;
//! ```
//!
//! [`house()`] is a server of the real role cores, [`PhoneNode`] a phone engine with a person: two of
//! these and one of those make a call. [`Cable`] is the end of a real network: with [`Net::run_to`]
//! the same links and translators serve real time (`tests/src/lab.rs`).
//!
//! What it deliberately does not do: congestion, TCP's own packets (a stream is bytes in order, late
//! where a link loses), fragmentation, or real sockets; those are for `tests/`.
//!
//! Start reading at [`Net`], then [`Node`].

mod cable;
mod clock;
mod datagrams;
mod dice;
mod event;
mod house;
mod ladder;
mod link;
mod nat;
mod net;
mod node;
mod packet;
mod phone;
mod server;
mod story;
mod streams;
mod trace;
mod wire;

pub use cable::{Arrival, Cable};
pub use datagrams::{Datagrams, Heard};
pub use house::{EdgeShard, House, HouseSetup, RelayPlane, house};
pub use ladder::ladder;
pub use link::{Burst, Link, Rate};
pub use nat::{Filtering, Mapping, NatConfig};
pub use net::{HostId, NatId, Net};
pub use node::{CloseReason, Node, StreamEvent, Transmit};
pub use phone::{Ear, Habit, PhoneNode, PhoneSetup};
pub use server::{Listening, MediaPlane, NoMedia, Server, USUAL_PORTS};
pub use story::{Replay, story};
pub use trace::{Fate, Trace, TraceEntry};
