//! The machine: asks under way, questions to DNS, answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use sansio::Entropy;

use super::cache::Cache;
use super::memory::FailureMemory;
use super::records::{Query, Records};
use super::walk::Walk;
use super::{Ask, LocateError, NextHop, Policy};

/// Names one lookup under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocateId(pub u64);

/// The result of a lookup: at least one hop, in the order to be tried.
pub type Located = Result<Vec<NextHop>, LocateError>;

/// Finds next hops.
pub struct Locator {
    policy: Policy,
    entropy: Box<dyn Entropy + Send>,
    cache: Cache,
    memory: FailureMemory,
    pending: BTreeMap<LocateId, Pending>,
    /// Questions that DNS has and did not answer yet.
    open: BTreeSet<Query>,
    queries: VecDeque<Query>,
    located: VecDeque<(LocateId, Located)>,
    made: u64,
}

#[derive(Debug)]
struct Pending {
    ask: Ask,
    asked: Instant,
}

impl Locator {
    /// A locator that draws its lots from `entropy`.
    pub fn new(policy: Policy, entropy: Box<dyn Entropy + Send>) -> Self {
        Self {
            policy,
            entropy,
            cache: Cache::default(),
            memory: FailureMemory::default(),
            pending: BTreeMap::new(),
            open: BTreeSet::new(),
            queries: VecDeque::new(),
            located: VecDeque::new(),
            made: 0,
        }
    }

    /// Begins a lookup. Its result comes by [`Self::poll_located`], perhaps at once.
    pub fn ask(&mut self, now: Instant, ask: Ask) -> LocateId {
        self.made += 1;
        let id = LocateId(self.made);
        if let Some(hop) = ask.literal() {
            self.located.push_back((id, Ok(vec![hop])));
        } else if self.pending.len() >= self.policy.pending_max {
            self.located.push_back((id, Err(LocateError::Busy)));
        } else {
            self.pending.insert(id, Pending { ask, asked: now });
            self.walk(now, id);
        }
        id
    }

    /// DNS answered a question, with the least TTL of its records (of the SOA for a negative one).
    pub fn handle_records(&mut self, now: Instant, query: Query, records: Records, ttl: Duration) {
        self.open.remove(&query);
        self.cache.put(now, query, (records, ttl), &self.policy);
        self.walk_all(now);
    }

    /// A hop did not answer. It comes last for [`Policy::avoid`], or as long as it asked for.
    pub fn handle_failed(&mut self, now: Instant, hop: &NextHop, retry_after: Option<Duration>) {
        let avoid = retry_after.unwrap_or(self.policy.avoid).min(self.policy.ttl_max);
        self.memory.note(now, hop, avoid);
    }

    /// A hop answered: it is no longer avoided.
    pub fn handle_worked(&mut self, hop: &NextHop) {
        self.memory.forgive(hop);
    }

    /// Time passed: lookups give up, or take expired answers.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.walk_all(now);
        let late: Vec<LocateId> = self
            .pending
            .iter()
            .filter(|(_, p)| now >= p.asked + self.policy.patience)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(Pending { ask, .. }) = self.pending.remove(&id) {
                self.located.push_back((id, Err(LocateError::Unanswered(ask.host))));
            }
        }
    }

    /// When [`Self::handle_timeout`] is wanted next, after `now`.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let Policy { patience, stale_after, .. } = self.policy;
        let due = self.pending.values().flat_map(|p| [p.asked + stale_after, p.asked + patience]);
        due.filter(|at| *at > now).min()
    }

    /// The next question for DNS. Each must be answered, with [`Records::Failed`] at worst.
    pub fn poll_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }

    /// The next result.
    pub fn poll_located(&mut self) -> Option<(LocateId, Located)> {
        self.located.pop_front()
    }

    /// Answers remembered.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// Lookups under way.
    pub fn under_way(&self) -> usize {
        self.pending.len()
    }

    fn walk_all(&mut self, now: Instant) {
        let ids: Vec<LocateId> = self.pending.keys().copied().collect();
        for id in ids {
            self.walk(now, id);
        }
    }

    fn walk(&mut self, now: Instant, id: LocateId) {
        let Some(Pending { ask, asked }) = self.pending.get(&id) else { return };
        let stale = now >= *asked + self.policy.stale_after;
        let mut walk = Walk::new(&self.cache, &self.policy, (now, *asked), stale);
        let done = walk.run(ask, &mut *self.entropy);
        let missing = walk.missing;
        if let Some(result) = done {
            self.pending.remove(&id);
            let arranged = result.map(|hops| self.memory.arrange(now, hops));
            self.located.push_back((id, arranged));
            return;
        }
        for query in missing {
            if self.open.insert(query.clone()) {
                self.queries.push_back(query);
            }
        }
    }
}
