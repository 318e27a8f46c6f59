//! The UDP flows one shard remembers.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sansio::{FlowId, NodeId, ShardId};

/// `(listener, peer) <-> FlowId`, forgetting what is long unused and, at its limit, the oldest.
#[derive(Debug)]
pub(crate) struct UdpTable {
    owner: (NodeId, ShardId),
    listeners: Vec<(usize, SocketAddr)>,
    by_peer: HashMap<(usize, SocketAddr), u64>,
    by_id: HashMap<u64, Entry>,
    /// Ids in order of their last sweep; each entry is here exactly once.
    order: VecDeque<u64>,
    next: u64,
    now: Instant,
    max: usize,
    idle: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    listener: usize,
    peer: SocketAddr,
    used: Instant,
}

impl UdpTable {
    /// `listeners` are the UDP listeners: index among all listeners, and address.
    pub(crate) fn new(
        owner: (NodeId, ShardId),
        listeners: Vec<(usize, SocketAddr)>,
        (max, idle): (usize, Duration),
        now: Instant,
    ) -> Self {
        Self {
            owner,
            listeners,
            by_peer: HashMap::new(),
            by_id: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
            now,
            max: max.max(1),
            idle,
        }
    }

    /// Moves the table's clock; flows used from here on count as used now.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// The flow of a datagram received on, or to be sent from, a listener.
    pub(crate) fn touch(&mut self, listener: usize, peer: SocketAddr) -> FlowId {
        let now = self.now;
        let id = match self.by_peer.get(&(listener, peer)) {
            Some(id) => *id,
            None => self.insert(listener, peer),
        };
        if let Some(entry) = self.by_id.get_mut(&id) {
            entry.used = now;
        }
        self.flow(id)
    }

    /// Whether a peer has a flow on a listener.
    pub(crate) fn knows(&self, listener: usize, peer: SocketAddr) -> bool {
        self.by_peer.contains_key(&(listener, peer))
    }

    /// The flow from a local address, see [`super::UdpFlows::flow`].
    pub(crate) fn open(&mut self, local: SocketAddr, peer: SocketAddr) -> Option<FlowId> {
        let listener = self.listener_for(local, peer)?;
        Some(self.touch(listener, peer))
    }

    /// Where a flow goes, if it is remembered; counts as use.
    pub(crate) fn target(&mut self, flow: FlowId) -> Option<(usize, SocketAddr)> {
        let entry = self.by_id.get_mut(&flow.id)?;
        entry.used = self.now;
        Some((entry.listener, entry.peer))
    }

    /// Forgets one flow.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_peer.remove(&(entry.listener, entry.peer));
        }
    }

    /// Forgets the flows unused for longer than the idle time.
    pub(crate) fn expire(&mut self) {
        for _ in 0..self.order.len() {
            let Some(id) = self.order.pop_front() else { return };
            let Some(entry) = self.by_id.get(&id) else { continue };
            if self.now.saturating_duration_since(entry.used) > self.idle {
                self.remove(id);
            } else {
                self.order.push_back(id);
            }
        }
    }

    /// How many flows are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    fn listener_for(&self, local: SocketAddr, peer: SocketAddr) -> Option<usize> {
        let same_family = || self.listeners.iter().find(|(_, a)| a.is_ipv4() == peer.is_ipv4());
        let exact = self.listeners.iter().find(|(_, a)| *a == local);
        exact.filter(|(_, a)| a.is_ipv4() == peer.is_ipv4()).or_else(same_family).map(|(i, _)| *i)
    }

    fn insert(&mut self, listener: usize, peer: SocketAddr) -> u64 {
        while self.by_id.len() >= self.max {
            self.evict();
        }
        self.next += 1;
        // UDP ids are even, connection ids odd: one look tells the table.
        let id = self.next * 2;
        self.by_peer.insert((listener, peer), id);
        self.by_id.insert(id, Entry { listener, peer, used: self.now });
        self.order.push_back(id);
        id
    }

    /// Second-chance eviction: looks at eight of the oldest and drops the least recently used.
    fn evict(&mut self) {
        let oldest = self.order.iter().take(8).copied();
        let victim = oldest.min_by_key(|id| self.by_id.get(id).map(|e| e.used));
        let Some(victim) = victim else { return };
        self.order.retain_first(victim);
        self.remove(victim);
    }

    fn flow(&self, id: u64) -> FlowId {
        FlowId { node: self.owner.0, shard: self.owner.1, id }
    }
}

trait RetainFirst {
    fn retain_first(&mut self, id: u64);
}

impl RetainFirst for VecDeque<u64> {
    /// Drops `id` from the first eight places, and turns the queue so that survivors come last.
    fn retain_first(&mut self, id: u64) {
        for _ in 0..8.min(self.len()) {
            match self.pop_front() {
                Some(front) if front != id => self.push_back(front),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(max: usize) -> (UdpTable, Instant) {
        let now = Instant::now();
        let listeners =
            vec![(0, "127.0.0.1:5060".parse().unwrap()), (3, "[::1]:5060".parse().unwrap())];
        (UdpTable::new((1, 2), listeners, (max, Duration::from_secs(10)), now), now)
    }

    fn peer(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    #[test]
    fn one_pair_keeps_one_flow_and_is_found_again() {
        let (mut t, _) = table(10);
        let a = t.touch(0, peer(1));
        assert_eq!((a.node, a.shard, a.id % 2), (1, 2, 0));
        assert_eq!(t.touch(0, peer(1)), a);
        assert_eq!(t.open("127.0.0.1:5060".parse().unwrap(), peer(1)), Some(a));
        assert_eq!(t.open("9.9.9.9:1".parse().unwrap(), peer(1)), Some(a));
        assert_ne!(t.touch(1, peer(1)), a);
        assert_eq!(t.target(a), Some((0, peer(1))));
        let v6 = t.open("127.0.0.1:5060".parse().unwrap(), "[::1]:9".parse().unwrap()).unwrap();
        assert_eq!(t.target(v6).unwrap().0, 3);
    }

    #[test]
    fn unused_flows_are_forgotten_used_ones_stay() {
        let (mut t, now) = table(10);
        let (a, b) = (t.touch(0, peer(1)), t.touch(0, peer(2)));
        t.set_now(now + Duration::from_secs(8));
        t.touch(0, peer(1));
        t.set_now(now + Duration::from_secs(12));
        t.expire();
        assert!(t.target(a).is_some() && t.target(b).is_none());
        assert_ne!(t.touch(0, peer(2)), b, "ids are never reused");
    }

    #[test]
    fn a_full_table_stays_within_its_limit() {
        let (mut t, _) = table(4);
        for n in 1..1000 {
            t.touch(0, peer(n));
        }
        assert_eq!((t.len(), t.by_peer.len(), t.order.len()), (4, 4, 4));
    }
}
