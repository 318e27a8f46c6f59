//! What a server counts. Each thread writes its own; whoever asks adds them up.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was refused or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Wrong user, password or time (401).
    Credentials,
    /// The nonce was old (438): the client tries again.
    StaleNonce,
    /// A peer that nobody may reach (403).
    Peer,
    /// The user has as many allocations as one may have (486).
    UserQuota,
    /// The tenant has (486).
    TenantQuota,
    /// The server has (508 or 300).
    Full,
    /// No port is free (508).
    Ports,
    /// A request that cannot be met or makes no sense (400, 420, 437, 440-443, 508).
    Request,
    /// A source that proved nothing asked too often; it got no answer.
    Rate,
    /// A packet without allocation, permission or channel.
    Unpermitted,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Credentials,
        Self::StaleNonce,
        Self::Peer,
        Self::UserQuota,
        Self::TenantQuota,
        Self::Full,
        Self::Ports,
        Self::Request,
        Self::Rate,
        Self::Unpermitted,
    ];

    /// Its name in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::StaleNonce => "stale_nonce",
            Self::Peer => "peer",
            Self::UserQuota => "user_quota",
            Self::TenantQuota => "tenant_quota",
            Self::Full => "full",
            Self::Ports => "ports",
            Self::Request => "request",
            Self::Rate => "rate",
            Self::Unpermitted => "unpermitted",
        }
    }
}

/// Sums over all threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TurnStats {
    /// Allocations now.
    pub allocations: u64,
    /// Allocations made.
    pub allocated: u64,
    /// Packets of clients that went to peers.
    pub to_peers: u64,
    /// .. and their bytes.
    pub bytes_to_peers: u64,
    /// Packets of peers that went to clients.
    pub to_clients: u64,
    /// .. and their bytes.
    pub bytes_to_clients: u64,
    /// Packets that the system did not take.
    pub unsent: u64,
    /// By [`Refused`], in the order of [`Refused::ALL`].
    pub refused: [u64; 10],
}

/// The counters of one thread. It alone writes: a load and a store, no locked addition.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) allocated: Count,
    pub(super) to_peers: Count,
    pub(super) bytes_to_peers: Count,
    pub(super) to_clients: Count,
    pub(super) bytes_to_clients: Count,
    pub(super) unsent: Count,
    refused: [Count; 10],
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.get() + n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn refuse(&self, why: Refused) {
        self.refused[why as usize].add(1);
    }

    pub(super) fn add_to(&self, sums: &mut TurnStats) {
        sums.allocated += self.allocated.get();
        sums.to_peers += self.to_peers.get();
        sums.bytes_to_peers += self.bytes_to_peers.get();
        sums.to_clients += self.to_clients.get();
        sums.bytes_to_clients += self.bytes_to_clients.get();
        sums.unsent += self.unsent.get();
        for (sum, count) in sums.refused.iter_mut().zip(&self.refused) {
            *sum += count.get();
        }
    }
}
