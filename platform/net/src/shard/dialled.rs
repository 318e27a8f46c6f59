//! The flows this shard opens itself: one to each next hop, named before it is connected.
//!
//! ```text
//!   resting ──first message──► wanted ──► connecting ──► open ──closed, idle──► resting
//!                                             └─ failed: the core is told ─────────┘
//! ```
//!
//! A flow keeps its id over its connections, as a UDP flow does: who remembers it, say a dialog,
//! reaches the same server by it for as long as it is remembered.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use sansio::{FlowId, NodeId, ShardId};
use sip::locate::NextHop;
use tokio::sync::Notify;

use crate::proof::{Aliases, HopKey};

/// Ids of dialled flows have this bit and are odd, as those of all connections.
const DIALLED: u64 = 1 << 62;

/// The dialled flows of one shard, and accepted ones that stand for a hop (RFC 5923).
#[derive(Debug)]
pub(crate) struct DialTable {
    owner: (NodeId, ShardId),
    limits: DialLimits,
    tls: bool,
    by_key: HashMap<HopKey, u64>,
    by_id: HashMap<u64, Dialled>,
    /// Accepted flows of all shards, and the hops that those of this one stand for.
    aliases: Aliases,
    aliased: HashMap<u64, Vec<HopKey>>,
    per_peer: HashMap<IpAddr, usize>,
    wanted: VecDeque<u64>,
    connecting: usize,
    /// In the order of their making, for forgetting.
    order: VecDeque<u64>,
    made: u64,
    /// Rung when something is wanted.
    pub(crate) bell: Rc<Notify>,
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialLimits {
    pub(crate) flows: usize,
    pub(crate) per_peer: usize,
    pub(crate) connecting: usize,
}

#[derive(Debug)]
struct Dialled {
    hop: NextHop,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Resting,
    Wanted,
    Connecting,
    Open,
}

impl DialTable {
    pub(crate) fn new(
        owner: (NodeId, ShardId),
        limits: DialLimits,
        tls: bool,
        aliases: Aliases,
    ) -> Self {
        Self {
            owner,
            limits,
            tls,
            by_key: HashMap::new(),
            by_id: HashMap::new(),
            aliases,
            aliased: HashMap::new(),
            per_peer: HashMap::new(),
            wanted: VecDeque::new(),
            connecting: 0,
            order: VecDeque::new(),
            made: 0,
            bell: Rc::new(Notify::new()),
        }
    }

    /// The flow to a hop: an open one to any of its addresses, one that they opened and that stands
    /// for it, or a new one. `None` for UDP, for TLS without a client configuration, and when a limit
    /// is reached.
    pub(crate) fn open(&mut self, hop: &NextHop) -> Option<FlowId> {
        let secure = hop.transport.is_secure();
        if !hop.transport.is_reliable() || hop.addrs.is_empty() || (secure && !self.tls) {
            return None;
        }
        let known = keys(hop).find_map(|key| self.by_key.get(&key).copied());
        if !known.is_some_and(|id| self.is_up(id))
            && let Some(flow) = keys(hop).find_map(|key| self.aliases.get(&key))
        {
            return Some(flow);
        }
        let id = match known {
            Some(id) => id,
            None => self.make(hop)?,
        };
        Some(self.flow(id))
    }

    /// From now on an accepted flow stands for `hop` on all shards, until it closes (RFC 5923). A
    /// connection of our own that stands keeps its place. True if it was taken.
    pub(crate) fn alias(&mut self, hop: &NextHop, flow: FlowId) -> bool {
        if (flow.node, flow.shard) != self.owner || flow.id & DIALLED != 0 {
            return false;
        }
        let mut any = false;
        for key in keys(hop) {
            let own = self.by_key.get(&key).is_some_and(|id| self.is_up(*id));
            let taken = self.aliased.entry(flow.id).or_default();
            if taken.contains(&key) {
                any = true;
            } else if !own
                && taken.len() < self.limits.per_peer
                && self.aliases.insert(key.clone(), flow)
            {
                taken.push(key);
                any = true;
            }
        }
        any
    }

    /// A message is to go by a flow that has no connection: true if one will be made.
    pub(crate) fn want(&mut self, id: u64) -> bool {
        let Some(dialled) = self.by_id.get_mut(&id) else { return false };
        if dialled.state != State::Resting {
            return false;
        }
        dialled.state = State::Wanted;
        self.wanted.push_back(id);
        self.bell.notify_one();
        true
    }

    /// The next flow to connect now.
    pub(crate) fn next_wanted(&mut self) -> Option<(FlowId, NextHop)> {
        while self.connecting < self.limits.connecting {
            let id = self.wanted.pop_front()?;
            let Some(dialled) = self.by_id.get_mut(&id) else { continue };
            dialled.state = State::Connecting;
            self.connecting += 1;
            let hop = dialled.hop.clone();
            return Some((self.flow(id), hop));
        }
        None
    }

    /// A connection stands.
    pub(crate) fn connected(&mut self, id: u64) {
        self.set(id, State::Open);
    }

    /// A connection is over, or was never made; an accepted one stands for no hop any more.
    pub(crate) fn ended(&mut self, id: u64) {
        if id & DIALLED != 0 {
            self.set(id, State::Resting);
        } else if let Some(keys) = self.aliased.remove(&id) {
            let flow = self.flow(id);
            keys.iter().for_each(|key| self.aliases.remove(key, flow));
        }
    }

    /// Whether a dialled flow is connected, or will be in a moment.
    fn is_up(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|dialled| dialled.state != State::Resting)
    }

    fn set(&mut self, id: u64, state: State) {
        let Some(dialled) = self.by_id.get_mut(&id) else { return };
        if std::mem::replace(&mut dialled.state, state) == State::Connecting {
            self.connecting -= 1;
            self.bell.notify_one();
        }
    }

    fn make(&mut self, hop: &NextHop) -> Option<u64> {
        let peer = hop.addr().ip().to_canonical();
        if self.per_peer.get(&peer).is_some_and(|n| *n >= self.limits.per_peer) {
            self.forget_resting(Some(peer))?;
        }
        if self.by_id.len() >= self.limits.flows {
            self.forget_resting(None)?;
        }
        self.made += 1;
        let id = DIALLED | (self.made * 2 + 1);
        self.by_id.insert(id, Dialled { hop: hop.clone(), state: State::Resting });
        self.order.push_back(id);
        *self.per_peer.entry(peer).or_default() += 1;
        for key in keys(hop) {
            self.by_key.entry(key).or_insert(id);
        }
        Some(id)
    }

    /// Forgets the oldest flow without a connection (to `peer`), or says that there is none.
    fn forget_resting(&mut self, peer: Option<IpAddr>) -> Option<()> {
        let resting = |id: &u64| {
            let found = self.by_id.get(id).filter(|d| d.state == State::Resting);
            found.is_some_and(|d| peer.is_none_or(|p| d.hop.addr().ip().to_canonical() == p))
        };
        let at = self.order.iter().position(resting)?;
        let id = self.order.remove(at)?;
        let hop = self.by_id.remove(&id)?.hop;
        for key in keys(&hop) {
            if self.by_key.get(&key) == Some(&id) {
                self.by_key.remove(&key);
            }
        }
        let peer = hop.addr().ip().to_canonical();
        if let Some(n) = self.per_peer.get_mut(&peer) {
            *n -= 1;
            if *n == 0 {
                self.per_peer.remove(&peer);
            }
        }
        Some(())
    }

    fn flow(&self, id: u64) -> FlowId {
        FlowId { node: self.owner.0, shard: self.owner.1, id }
    }
}

fn keys(hop: &NextHop) -> impl Iterator<Item = HopKey> + '_ {
    // In clear nothing is proved: the name makes no difference.
    let name = if hop.transport.is_secure() { hop.server_name.as_str() } else { "" };
    hop.addrs.iter().map(move |addr| (hop.transport, *addr, name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Transport;

    const LIMITS: DialLimits = DialLimits { flows: 4, per_peer: 2, connecting: 1 };

    fn hop(transport: Transport, addrs: &[&str], name: &str) -> NextHop {
        let addrs = addrs.iter().map(|a| a.parse().unwrap()).collect();
        NextHop { transport, addrs, server_name: name.into() }
    }

    fn table() -> DialTable {
        DialTable::new((1, 2), LIMITS, true, Aliases::default())
    }

    #[test]
    fn a_connection_is_used_again_for_the_same_transport_address_and_proved_name() {
        let mut t = table();
        let tls = |addrs: &[&str], name| hop(Transport::Tls, addrs, name);
        let a = t.open(&tls(&["192.0.2.1:5061", "192.0.2.2:5061"], "a.example")).unwrap();
        assert_eq!((a.node, a.shard, a.id % 2), (1, 2, 1));
        assert_eq!(t.open(&tls(&["192.0.2.2:5061"], "a.example")), Some(a));
        assert_ne!(t.open(&tls(&["192.0.2.2:5061"], "b.example")), Some(a), "another name");
        let tcp = |name| hop(Transport::Tcp, &["192.0.2.3:5060"], name);
        assert_eq!(t.open(&tcp("a.example")), t.open(&tcp("b.example")), "nothing is proved");
        assert_eq!(t.open(&hop(Transport::Udp, &["192.0.2.3:5060"], "")), None);
    }

    #[test]
    fn flows_are_bounded_in_all_and_by_peer_and_those_in_use_are_not_forgotten() {
        let mut t = table();
        let tcp = |n: u16| hop(Transport::Tcp, &[&format!("192.0.2.1:{n}")], "");
        let first = t.open(&tcp(1)).unwrap();
        let second = t.open(&tcp(2)).unwrap();
        assert!(t.want(first.id) && !t.want(first.id), "wanted once");
        t.open(&tcp(3)).unwrap();
        assert!(!t.want(second.id), "the oldest resting one made room");
        let third = t.open(&tcp(3)).unwrap();
        t.want(third.id);
        assert_eq!(t.open(&tcp(4)), None, "two to one peer, both in use");
        for n in 2..9 {
            t.open(&hop(Transport::Tcp, &[&format!("192.0.2.{n}:5060")], "")).unwrap();
            assert!(t.by_id.len() <= LIMITS.flows && t.by_key.len() <= LIMITS.flows);
        }
        assert_eq!(t.open(&tcp(1)), Some(first));
    }

    #[test]
    fn connections_are_made_a_few_at_a_time_and_a_flow_outlives_them() {
        let mut t = table();
        let (a, b) =
            (hop(Transport::Tcp, &["192.0.2.1:1"], ""), hop(Transport::Ws, &["[::1]:1"], ""));
        let (fa, fb) = (t.open(&a).unwrap(), t.open(&b).unwrap());
        t.want(fa.id);
        t.want(fb.id);
        assert_eq!(t.next_wanted(), Some((fa, a.clone())));
        assert_eq!(t.next_wanted(), None, "one at a time");
        t.connected(fa.id);
        assert_eq!(t.next_wanted(), Some((fb, b)));
        t.ended(fb.id);
        t.ended(fa.id);
        assert_eq!(t.open(&a), Some(fa));
        assert!(t.want(fa.id), "and is connected anew by the next message");
    }

    #[test]
    fn an_accepted_flow_stands_for_a_hop_until_it_closes() {
        let mut t = table();
        let peer = hop(Transport::Tls, &["192.0.2.1:5061"], "peer.example");
        let accepted = FlowId { node: 1, shard: 2, id: 7 };
        assert!(!t.alias(&peer, FlowId { shard: 0, ..accepted }), "of another shard");
        assert!(t.alias(&peer, accepted));
        assert_eq!(t.open(&peer), Some(accepted));
        let mut other = DialTable::new((1, 3), LIMITS, true, t.aliases.clone());
        assert_eq!(other.open(&peer), Some(accepted), "for every shard");
        t.ended(7);
        let own = t.open(&peer).unwrap();
        assert_ne!(own, accepted);
        assert_ne!(other.open(&peer), Some(accepted));
        assert!(t.alias(&peer, accepted), "ours does not stand yet");
        t.ended(7);
        t.want(own.id);
        assert!(!t.alias(&peer, accepted), "our own connection keeps its place");
        assert_eq!(t.open(&peer), Some(own));
    }
}
