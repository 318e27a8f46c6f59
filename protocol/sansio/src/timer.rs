//! Timers of one machine, in order of their deadlines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// A queue of deadlines, one per key. Setting a key again moves its deadline; stale entries are
/// dropped when they surface, and the heap is rebuilt when they outnumber the live ones.
#[derive(Debug)]
pub struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Instant, u64, K)>>,
    live: HashMap<K, (Instant, u64)>,
    next: u64,
}

impl<K: Copy + Eq + Hash + Ord> Default for TimerQueue<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), live: HashMap::new(), next: 0 }
    }
}

impl<K: Copy + Eq + Hash + Ord> TimerQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Arms `key` for `at`, replacing its former deadline.
    pub fn set(&mut self, key: K, at: Instant) {
        self.next += 1;
        self.live.insert(key, (at, self.next));
        self.heap.push(Reverse((at, self.next, key)));
        if self.heap.len() > 64 && self.heap.len() > 4 * self.live.len() {
            self.rebuild();
        }
    }

    /// Disarms `key`. True if it was armed.
    pub fn clear(&mut self, key: &K) -> bool {
        self.live.remove(key).is_some()
    }

    /// The deadline `key` is armed for.
    pub fn deadline(&self, key: &K) -> Option<Instant> {
        self.live.get(key).map(|(at, _)| *at)
    }

    /// The earliest deadline, for `poll_timeout`.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.drop_stale();
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes one key whose deadline is not after `now`, earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.drop_stale();
        let Reverse((at, _, key)) = self.heap.peek().copied()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        self.live.remove(&key);
        Some(key)
    }

    /// How many keys are armed.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no key is armed.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn drop_stale(&mut self) {
        while let Some(Reverse((_, seq, key))) = self.heap.peek() {
            if self.live.get(key).is_some_and(|(_, live)| live == seq) {
                return;
            }
            self.heap.pop();
        }
    }

    fn rebuild(&mut self) {
        let live = &self.live;
        self.heap.retain(|Reverse((_, seq, key))| live.get(key).is_some_and(|(_, s)| s == seq));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_come_due_in_order_and_resetting_moves_them() {
        let t0 = crate::testing::epoch();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut q = TimerQueue::new();
        q.set('a', at(30));
        q.set('b', at(10));
        q.set('a', at(5));
        q.set('c', at(20));
        assert!(q.clear(&'c'));
        assert_eq!(q.next_deadline(), Some(at(5)));
        assert_eq!(q.pop_due(at(4)), None);
        assert_eq!(q.pop_due(at(40)), Some('a'));
        assert_eq!(q.pop_due(at(40)), Some('b'));
        assert_eq!(q.pop_due(at(40)), None);
        assert!(q.is_empty());
    }

    #[test]
    fn a_key_set_a_million_times_does_not_grow_the_heap() {
        let t0 = crate::testing::epoch();
        let mut q = TimerQueue::new();
        for i in 0..1_000_000_u64 {
            q.set(i % 3, t0 + Duration::from_micros(i));
        }
        assert!(q.heap.len() <= 65, "{}", q.heap.len());
        assert_eq!(q.len(), 3);
    }
}
