//! What ended legs were like, counted by interface and by how they carried media: for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::api::{LegStats, Protocol, SessionStats};

/// Legs of one interface and one kind that have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LegTotals {
    /// Legs by the mark (DSCP) that their peers' packets came with in the end: EF, none (CS0),
    /// another, or not known.
    pub marked: [u64; 4],
    /// Legs whose peers' marks are changed on the way to us.
    pub bleached_from: u64,
    /// Legs whose peers get ours changed.
    pub bleached_toward: u64,
    /// Legs whose peers sent reports of reception.
    pub reported: u64,
    /// Packets that they told lost.
    pub told_lost: u64,
    /// Their last round trips added up, in seconds.
    pub rtt_s: f64,
}

impl LegTotals {
    /// The words for what [`LegTotals::marked`] counts.
    pub const MARKS: [&str; 4] = ["ef", "cs0", "other", "unknown"];

    fn add(&mut self, leg: &LegStats) {
        let at = match leg.tos.map(|tos| tos >> 2) {
            Some(46) => 0,
            Some(0) => 1,
            Some(_) => 2,
            None => 3,
        };
        self.marked[at] += 1;
        let Some(told) = &leg.told else { return };
        self.bleached_from += u64::from(told.bleached_from);
        self.bleached_toward += u64::from(told.bleached_toward);
        self.reported += u64::from(told.reports > 0);
        self.told_lost += u64::try_from(told.lost).unwrap_or(0);
        self.rtt_s += told.rtt_ms.unwrap_or(0.0) / 1e3;
    }
}

/// By interface and kind. Both come from the configuration and from [`Protocol`]: few.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<BTreeMap<(String, &'static str), LegTotals>>);

impl Ended {
    pub(super) fn add(&self, stats: &SessionStats) {
        let heard = stats.legs.iter().filter(|leg| leg.packets_received > 0);
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for leg in heard {
            totals.entry((leg.interface.clone(), kind(leg.protocol))).or_default().add(leg);
        }
    }

    pub(super) fn totals(&self) -> Vec<(String, &'static str, LegTotals)> {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.iter().map(|((name, kind), totals)| (name.clone(), *kind, *totals)).collect()
    }
}

fn kind(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rtp => "rtp",
        Protocol::Srtp => "srtp",
        Protocol::WebRtc => "webrtc",
        Protocol::Zrtp => "zrtp",
    }
}
