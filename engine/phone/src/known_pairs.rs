//! Pairs that carried calls, on each network (R6.5): what is tried first in the next one.

use crate::phone::Phone;
use crate::transports::NetworkId;
use media::traversal::{KNOWN_MAX, KnownPair};
use sansio::WallTime;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pairs kept of one network.
pub(crate) const OF_NETWORK_MAX: usize = 4;
/// Pairs kept in all: of sixteen networks.
pub(crate) const PAIRS_MAX: usize = 64;
/// Far ends that one pair led to, latest first.
const PEERS_MAX: usize = 8;
/// An address of somebody's that is longer is not kept.
const PEER_LEN_MAX: usize = 256;
/// A pair that no call used for longer says little of the network.
const LIVES: Duration = Duration::from_secs(24 * 3600);
/// One that is good again is worth keeping again when so much of that is gone.
const KEPT_AGAIN: Duration = Duration::from_secs(3600);

/// A pair that carried a call, for whoever keeps it over the end of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedPair {
    /// Where that was.
    pub network: NetworkId,
    /// The pair.
    pub pair: KnownPair,
    /// How long it is looked at.
    pub until: WallTime,
}

/// What is known, latest first.
#[derive(Debug, Default)]
pub(crate) struct KnownPairs {
    rows: VecDeque<Row>,
}

#[derive(Debug)]
struct Row {
    network: NetworkId,
    pair: KnownPair,
    until: Instant,
    /// Whom it led to, latest first. Never leaves the process.
    peers: VecDeque<String>,
}

impl KnownPairs {
    /// A pair was chosen; whether that is worth keeping.
    pub fn note(&mut self, now: Instant, network: NetworkId, pair: KnownPair, peer: &str) -> bool {
        let is_it = |row: &Row| row.network == network && row.pair == pair;
        let former = self.rows.iter().position(is_it).and_then(|at| self.rows.remove(at));
        let old = former.as_ref().is_none_or(|row| now + LIVES > row.until + KEPT_AGAIN);
        // The far end is reached by this one now.
        self.forget(&network, peer);
        let mut peers = former.map(|row| row.peers).unwrap_or_default();
        if !peer.is_empty() && peer.len() <= PEER_LEN_MAX {
            peers.push_front(peer.to_owned());
            peers.truncate(PEERS_MAX);
        }
        self.rows.push_front(Row { network, pair, until: now + LIVES, peers });
        self.bound(now);
        old
    }

    fn bound(&mut self, now: Instant) {
        let mut seen: Vec<(NetworkId, usize)> = Vec::new();
        self.rows.retain(|row| {
            if now >= row.until {
                return false;
            }
            match seen.iter_mut().find(|(network, _)| *network == row.network) {
                Some((_, count)) => {
                    *count += 1;
                    *count <= OF_NETWORK_MAX
                }
                None => {
                    seen.push((row.network.clone(), 1));
                    true
                }
            }
        });
        self.rows.truncate(PAIRS_MAX);
    }

    /// Those of a network, latest first.
    pub fn on(&self, now: Instant, network: &NetworkId) -> Vec<KnownPair> {
        let here = self.rows.iter().filter(|row| row.network == *network && now < row.until);
        here.map(|row| row.pair).take(KNOWN_MAX).collect()
    }

    /// The one that led to this far end.
    pub fn last_to(&self, now: Instant, network: &NetworkId, peer: &str) -> Option<KnownPair> {
        let mut here = self.rows.iter().filter(|row| row.network == *network && now < row.until);
        here.find(|row| row.peers.iter().any(|known| known == peer)).map(|row| row.pair)
    }

    /// What led to this far end may not any more.
    pub fn forget(&mut self, network: &NetworkId, peer: &str) {
        for row in self.rows.iter_mut().filter(|row| row.network == *network) {
            row.peers.retain(|known| known != peer);
        }
    }
}

impl Phone {
    /// Takes what was kept of an earlier process, as [`Phone::remembered_pairs`] gave it.
    pub fn recall_pairs(&mut self, now: Instant, kept: impl IntoIterator<Item = RememberedPair>) {
        let wall = self.config.wall_at(now);
        let rows = kept.into_iter().filter(|one| one.until > wall).map(|one| Row {
            network: one.network,
            pair: one.pair,
            until: now + one.until.since(wall).min(LIVES),
            peers: VecDeque::new(),
        });
        self.known_pairs.rows.extend(rows.take(PAIRS_MAX));
        self.known_pairs.bound(now);
    }

    /// The pairs that carried calls, latest first; without whom they led to. None where the phone
    /// was not told the time ([`crate::Config::wall`]).
    pub fn remembered_pairs(&self, now: Instant) -> Vec<RememberedPair> {
        if self.config.wall.is_none() {
            return Vec::new();
        }
        let wall = self.config.wall_at(now);
        let row = |row: &Row| RememberedPair {
            network: row.network.clone(),
            pair: row.pair,
            until: wall + row.until.saturating_duration_since(now),
        };
        self.known_pairs.rows.iter().filter(|row| now < row.until).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: u8) -> KnownPair {
        KnownPair { by: None, remote: [198, 51, 100, n].into(), lite: true }
    }

    #[test]
    fn r6_5_pairs_are_kept_for_each_network_within_a_bound_and_for_a_day() {
        let now = sansio::testing::epoch();
        let network = |n: usize| NetworkId(format!("n{n}"));
        let mut known = KnownPairs::default();
        for n in 1..=6 {
            assert!(known.note(now, network(0), pair(n), "sip:bob@a"));
        }
        assert!(!known.note(now, network(0), pair(5), "sip:bob@a"), "it is kept already");
        assert!(known.note(now + KEPT_AGAIN * 2, network(0), pair(5), "sip:bob@a"), "for longer");
        assert_eq!(known.on(now, &network(0)), [5, 6, 4, 3].map(pair));
        assert_eq!(known.last_to(now, &network(0), "sip:bob@a"), Some(pair(5)));
        assert_eq!(known.last_to(now, &network(0), "sip:carol@a"), None);
        assert_eq!(known.last_to(now, &network(1), "sip:bob@a"), None, "that was elsewhere");
        known.forget(&network(0), "sip:bob@a");
        assert_eq!(known.last_to(now, &network(0), "sip:bob@a"), None);
        for n in 0..100 {
            known.note(now, network(n), pair(1), "");
        }
        assert_eq!(known.rows.len(), PAIRS_MAX);
        let later = now + LIVES + KEPT_AGAIN * 2;
        assert!(known.on(later, &network(99)).is_empty());
    }
}
