//! Shards: N threads, each with its own runtime, sockets and core.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sansio::{FlowId, NodeId, ShardId};

mod udp_table;

use crate::config::Listener;
use crate::stats::{Counters, ShardStats};
use udp_table::UdpTable;

/// What a core is born with, on its shard's thread.
#[derive(Debug)]
pub struct ShardContext<N> {
    /// This node.
    pub node: NodeId,
    /// This shard.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: ShardId,
    /// The listeners, with their true ports.
    pub listeners: Arc<[Listener]>,
    /// Names UDP flows beforehand.
    pub udp: UdpFlows,
    /// The way for completions to reach this core from any thread.
    pub handle: ShardHandle<N>,
}

/// Gives a core the [`FlowId`] of a UDP peer before anything was exchanged with it.
#[derive(Debug, Clone)]
pub struct UdpFlows {
    table: Rc<RefCell<UdpTable>>,
}

impl UdpFlows {
    /// This shard's flow from `local` (as in [`crate::Received::local`]; if no listener has it, the
    /// first UDP listener of the family) to `peer`. `None` without such a listener.
    pub fn flow(&self, local: SocketAddr, peer: SocketAddr) -> Option<FlowId> {
        self.table.borrow_mut().open(local, peer)
    }
}

/// Reaches one shard's core from any thread.
#[derive(Debug)]
pub struct ShardHandle<N> {
    shard: ShardId,
    notes: tokio::sync::mpsc::Sender<N>,
    counters: Arc<Counters>,
}

impl<N> Clone for ShardHandle<N> {
    fn clone(&self) -> Self {
        Self {
            shard: self.shard,
            notes: self.notes.clone(),
            counters: Arc::clone(&self.counters),
        }
    }
}

impl<N> ShardHandle<N> {
    /// Which shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Leaves a note for the core. Refused, and counted, when the mailbox is full or closed.
    pub fn notify(&self, note: N) -> Result<(), NoteRefused> {
        self.notes.try_send(note).map_err(|_| {
            self.counters.dropped_mailbox.add(1);
            NoteRefused
        })
    }

    /// The shard's counters now.
    pub fn stats(&self) -> ShardStats {
        self.counters.snapshot()
    }
}

/// A note was not delivered: the shard's mailbox is full, or the shard has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard's mailbox is full or closed")]
pub struct NoteRefused;
