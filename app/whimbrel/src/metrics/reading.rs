//! Everything that is measured, read at one moment.

use crate::serve::Shared;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One reading of the server and of its process.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) calls: u64,
    pub(super) sip_requests: u64,
    pub(super) sip_malformed: u64,
    pub(super) auth_failures: u64,
    pub(super) guesses_refused: u64,
    pub(super) accounts_held: usize,
    pub(super) calls_held: u64,
    pub(super) identities_refused: u64,
    pub(super) route_tokens_refused: u64,
    pub(super) shard_handoffs: u64,
    pub(super) registrations: usize,
    pub(super) relay_sessions: usize,
    pub(super) relay_ports_in_use: usize,
    /// Streams the kernel forwards by itself, and the packets it did.
    pub(super) relay_kernel: (usize, u64),
    /// Legs that ended, by interface and kind.
    pub(super) legs: Vec<(String, &'static str, relay::LegTotals)>,
    /// Sockets the system did not let us mark.
    pub(super) marks_refused: u64,
    /// Zeros where there is no TURN server.
    pub(super) turn: relay::turn::TurnStats,
    /// Zeros where there is no recording server.
    pub(super) srs: Srs,
    pub(super) spine_events_dropped: u64,
    pub(super) spine_last_seq: u64,
    pub(super) net: net::ShardStats,
    pub(super) certificate_expiry_s: u64,
    pub(super) process: Process,
}

/// What is known of the recording server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Srs {
    pub(super) recording: u64,
    pub(super) started: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) calls_refused: u64,
}

impl Srs {
    fn of(shared: &Shared) -> Self {
        let recorded = shared.recorded.as_ref();
        let Some((figures, calls_refused)) = recorded.and_then(|r| r.figures()) else {
            return Self::default();
        };
        Self {
            recording: value(&figures.recording),
            started: value(&figures.started),
            failed: value(&figures.failed),
            lost: value(&figures.lost),
            calls_refused,
        }
    }
}

/// What the kernel says of the process; parts it does not say are absent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    pub(super) uptime_s: f64,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
}

impl Reading {
    /// Of a server that runs since `started`.
    pub(super) fn of(shared: &Shared, started: Instant) -> Self {
        let gauges = &shared.gauges;
        let mut net = net::ShardStats::default();
        for shard in shared.shards.iter() {
            net += shard.stats();
        }
        Self {
            calls: value(&gauges.calls),
            sip_requests: value(&gauges.requests),
            sip_malformed: value(&gauges.malformed),
            auth_failures: value(&gauges.auth_failures),
            guesses_refused: value(&gauges.guesses_refused),
            accounts_held: shared.conduct.held(),
            calls_held: value(&gauges.calls_held),
            identities_refused: value(&gauges.identities_refused),
            route_tokens_refused: value(&gauges.forged_tokens),
            shard_handoffs: value(&gauges.handed_off),
            registrations: shared.location.len(),
            relay_sessions: shared.relay.sessions(),
            relay_ports_in_use: shared.relay.ports_in_use(),
            relay_kernel: shared.relay.kernel_streams(),
            legs: shared.relay.ended_legs(),
            marks_refused: net::tos::refused(),
            turn: shared.turn.as_ref().map(|turn| turn.stats()).unwrap_or_default(),
            srs: Srs::of(shared),
            spine_events_dropped: shared.spine.dropped(),
            spine_last_seq: shared.spine.last_seq(),
            net,
            certificate_expiry_s: shared.tls.not_after().as_secs(),
            process: Process::now(started),
        }
    }
}

impl Process {
    /// This process, now.
    pub(super) fn now(started: Instant) -> Self {
        Self {
            uptime_s: started.elapsed().as_secs_f64(),
            resident_bytes: resident_bytes(),
            open_fds: open_fds(),
        }
    }
}

/// From the second field of `/proc/self/statm`, in pages.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf takes a plain number and touches no memory of ours.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    Some(pages * page)
}

fn open_fds() -> Option<u64> {
    let listed = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // The listing itself holds one.
    u64::try_from(listed).ok().map(|n| n.saturating_sub(1))
}

fn value(gauge: &AtomicU64) -> u64 {
    gauge.load(Ordering::Relaxed)
}
