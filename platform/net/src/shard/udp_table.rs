//! The UDP flows one shard remembers.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sansio::{FlowId, NodeId, ShardId};

/// Bits of a flow's number that name its place in the table; the others count up.
const PLACE_BITS: u32 = 24;

/// `(listener, peer) <-> FlowId`, forgetting what is long unused and, at its limit, the oldest.
///
/// Nearly every datagram asks this table twice, so the second question is an index, not a search:
/// a flow's number holds its place.
#[derive(Debug)]
pub(crate) struct UdpTable {
    owner: (NodeId, ShardId),
    listeners: Vec<(usize, SocketAddr)>,
    by_peer: HashMap<(usize, SocketAddr), u64, RandomState>,
    places: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Ids in order of their last sweep; each entry is here exactly once.
    order: VecDeque<u64>,
    next: u64,
    now: Instant,
    max: usize,
    idle: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    id: u64,
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
            by_peer: HashMap::default(),
            places: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            next: 0,
            now,
            max: max.clamp(1, 1 << PLACE_BITS),
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
        if let Some(entry) = self.entry_mut(id) {
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
        let now = self.now;
        let entry = self.entry_mut(flow.id)?;
        entry.used = now;
        Some((entry.listener, entry.peer))
    }

    /// Forgets one flow.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some(Entry { listener, peer, .. }) = self.entry_mut(id).copied() {
            self.by_peer.remove(&(listener, peer));
            let place = place_of(id);
            self.places[place] = None;
            self.free.push(place as u32);
        }
    }

    /// Forgets the flows unused for longer than the idle time.
    pub(crate) fn expire(&mut self) {
        for _ in 0..self.order.len() {
            let Some(id) = self.order.pop_front() else { return };
            let Some(entry) = self.entry_mut(id).copied() else { continue };
            if self.now.saturating_duration_since(entry.used) > self.idle {
                self.remove(id);
            } else {
                self.order.push_back(id);
            }
        }
    }

    /// How many flows are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    fn listener_for(&self, local: SocketAddr, peer: SocketAddr) -> Option<usize> {
        let same_family = || self.listeners.iter().find(|(_, a)| a.is_ipv4() == peer.is_ipv4());
        let exact = self.listeners.iter().find(|(_, a)| *a == local);
        exact.filter(|(_, a)| a.is_ipv4() == peer.is_ipv4()).or_else(same_family).map(|(i, _)| *i)
    }

    fn insert(&mut self, listener: usize, peer: SocketAddr) -> u64 {
        while self.by_peer.len() >= self.max {
            self.evict();
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.next += 1;
        // UDP ids are even, connection ids odd: one look tells the table.
        let id = (self.next << PLACE_BITS | u64::from(place)) << 1;
        self.by_peer.insert((listener, peer), id);
        self.places[place as usize] = Some(Entry { id, listener, peer, used: self.now });
        self.order.push_back(id);
        id
    }

    /// Second-chance eviction: looks at eight of the oldest and drops the least recently used.
    fn evict(&mut self) {
        let oldest = self.order.iter().take(8).copied();
        let victim = oldest.min_by_key(|id| self.entry(*id).map(|e| e.used));
        let Some(victim) = victim else { return };
        self.order.retain_first(victim);
        self.remove(victim);
    }

    fn entry(&self, id: u64) -> Option<&Entry> {
        self.places.get(place_of(id))?.as_ref().filter(|entry| entry.id == id)
    }

    fn entry_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.places.get_mut(place_of(id))?.as_mut().filter(|entry| entry.id == id)
    }

    fn flow(&self, id: u64) -> FlowId {
        FlowId { node: self.owner.0, shard: self.owner.1, id }
    }
}

/// The place of an id. That of a connection leads to an entry of another id, or to none.
fn place_of(id: u64) -> usize {
    ((id >> 1) & ((1 << PLACE_BITS) - 1)) as usize
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
        assert_eq!((t.len(), t.order.len(), t.places.len()), (4, 4, 4));
    }
}
