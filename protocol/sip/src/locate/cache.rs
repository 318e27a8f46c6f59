//! Answers remembered by their TTL, negative ones too (RFC 2308), and expired ones for the time
//! when the name servers are down (RFC 8767).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Policy;
use super::records::{Query, Records};

/// How long a failure of the name servers is believed: long enough to answer everyone who waits.
const FAILED_TTL: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Entry {
    records: Records,
    received: Instant,
    fresh_until: Instant,
    /// When a refresh of it last failed.
    refresh_failed: Option<Instant>,
}

/// What is known of a question.
#[derive(Debug)]
pub(crate) enum Known<'a> {
    Fresh(&'a Records),
    /// Expired, to be used when nothing better comes in time.
    Stale(&'a Records),
    Nothing,
}

/// The answers remembered.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Query, Entry>,
}

impl Cache {
    /// What is known at `now` for someone who asked at `asked`: an answer that came since is good,
    /// even if its TTL is 0.
    pub(crate) fn look(&self, query: &Query, now: Instant, asked: Instant) -> Known<'_> {
        match self.entries.get(query) {
            None => Known::Nothing,
            Some(e) if e.fresh_until > now || e.received >= asked => Known::Fresh(&e.records),
            Some(e) if e.records == Records::Failed => Known::Nothing,
            // We just heard that nothing better is to be had.
            Some(e) if e.refresh_failed.is_some_and(|at| at >= asked) => Known::Fresh(&e.records),
            Some(e) => Known::Stale(&e.records),
        }
    }

    /// An answer came.
    pub(crate) fn put(
        &mut self,
        now: Instant,
        query: Query,
        (records, ttl): (Records, Duration),
        policy: &Policy,
    ) {
        let kept = self.entries.get_mut(&query).filter(|e| e.records != Records::Failed);
        if records == Records::Failed
            && let Some(entry) = kept
            && now < entry.fresh_until + policy.stale_max
        {
            entry.refresh_failed = Some(now);
            return;
        }
        let ttl = if records == Records::Failed { FAILED_TTL } else { ttl.min(policy.ttl_max) };
        if self.entries.len() >= policy.cache_max && !self.entries.contains_key(&query) {
            self.make_room(now, policy);
        }
        let entry = Entry { records, received: now, fresh_until: now + ttl, refresh_failed: None };
        self.entries.insert(query, entry);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets expired answers, or half of all when there are none.
    fn make_room(&mut self, now: Instant, policy: &Policy) {
        self.entries.retain(|_, e| e.fresh_until > now);
        let mut odd = false;
        if self.entries.len() >= policy.cache_max {
            self.entries.retain(|_, _| {
                odd = !odd;
                odd
            });
        }
    }
}
