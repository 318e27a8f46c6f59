//! Counters of a shard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A shard's counters at one moment. All but `connections` and `udp_flows` only grow.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct ShardStats { $($(#[$doc])* pub $name: u64,)* }

        impl ShardStats {
            /// Name and value of each counter, for metrics.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        impl std::ops::AddAssign for ShardStats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        /// The live counters, shared between the shard and whoever reads them.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter,)* }

        impl Counters {
            pub(crate) fn snapshot(&self) -> ShardStats {
                ShardStats { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// SIP messages received, all transports.
    received,
    /// SIP messages handed to the kernel or to a connection's queue.
    sent,
    /// Received messages passed to the shard that owns their transaction.
    rerouted,
    /// Datagrams that held no SIP message: keep-alives, STUN, noise.
    ignored,
    /// STUN requests with diagnostic attributes that got, or will get, an answer.
    diagnosed,
    /// Messages dropped because the flow was gone.
    dropped_no_flow,
    /// Messages and notes dropped because a shard's mailbox was full.
    dropped_mailbox,
    /// Datagrams the kernel would not take.
    dropped_udp,
    /// Connections refused by a limit.
    refused,
    /// Messages and connections dropped because their source is banned.
    shed_banned,
    /// Messages and connections dropped because their source sends too many.
    shed_source,
    /// Messages dropped because their network sends too many.
    shed_prefix,
    /// Messages dropped because they name a scanner as their sender.
    shed_scanner,
    /// Requests answered 503 because the shard cannot keep up.
    shed_refused,
    /// Requests dropped because the shard cannot even refuse them all.
    shed_discarded,
    /// Connections accepted or adopted.
    accepted,
    /// Connections to next hops begun.
    dialled,
    /// Of these, those that failed.
    dials_failed,
    /// TLS handshakes that failed.
    handshakes_failed,
    /// Connections closed for breaking framing or a limit.
    expelled,
    /// Connections open now.
    connections,
    /// UDP flows remembered now.
    udp_flows,
}

/// One relaxed counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }
}
