//! What happened, in order: the material of the ladder, and the proof of determinism.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// How many entries are kept; the oldest go first.
const ENTRIES_MAX: usize = 200_000;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It reached a host.
    Delivered,
    /// A link lost it, or was down.
    LostOnLink,
    /// A translator had no mapping for it, or filtered it.
    StoppedByNat,
    /// The network its sender is on lets nothing of the kind out.
    StoppedByFirewall,
    /// Nobody has that address.
    NoSuchHost,
    /// The sender does not have the address it sent from: it has moved.
    NotItsAddress,
    /// The host is there and its node is not.
    HostDown,
}

/// One line of the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceEntry {
    /// A packet came to its end.
    Packet {
        /// When it was delivered or dropped, since the beginning.
        at: Duration,
        /// The host that sent it.
        sender: String,
        /// The host it reached; none if it was dropped.
        receiver: Option<String>,
        /// The sender's address as the last hop saw it.
        from: SocketAddr,
        /// The destination as the last hop saw it.
        to: SocketAddr,
        /// The SIP message it carries or completes.
        label: Option<String>,
        /// How many bytes.
        length: usize,
        /// What became of it.
        fate: Fate,
    },
    /// Something a story did: moved a phone, stopped a server.
    Note {
        /// When.
        at: Duration,
        /// What.
        text: String,
    },
}

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    entries: VecDeque<TraceEntry>,
    dropped: usize,
}

impl Trace {
    /// Everything kept, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &TraceEntry> {
        self.entries.iter()
    }

    /// How many old entries were let go.
    pub fn forgotten(&self) -> usize {
        self.dropped
    }

    /// One line per entry: equal texts mean equal runs.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{entry:?}");
        }
        text
    }

    pub(crate) fn add(&mut self, entry: TraceEntry) {
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
    }
}
