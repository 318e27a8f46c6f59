//! Pseudo flows: pairs of addresses that stand for UDP contacts whose flow is not known (after a
//! restart). Two generations bound the memory: what was not used for a whole generation is gone.

use foldhash::HashMap;
use sansio::{FlowId, NodeId, ShardId};
use std::net::SocketAddr;

/// Pseudo flows have this bit.
const DIALLED: u64 = 1 << 63;

/// Pairs a generation holds. Twice as many are remembered at most.
const GENERATION_MAX: usize = 32_768;

/// Our address and the peer's.
type Pair = (SocketAddr, SocketAddr);

/// Pairs of addresses by pseudo flow, and back.
#[derive(Debug)]
pub(crate) struct Dialled {
    node: NodeId,
    shard: ShardId,
    made: u64,
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    by_pair: HashMap<Pair, FlowId>,
    by_flow: HashMap<FlowId, Pair>,
}

impl Dialled {
    pub(crate) fn new(node: NodeId, shard: ShardId) -> Self {
        let (young, old) = (Generation::default(), Generation::default());
        Self { node, shard, made: 0, young, old }
    }

    /// Whether `flow` is a pseudo flow, which means nothing to another shard or run.
    pub(crate) fn is_pseudo(flow: FlowId) -> bool {
        flow.id & DIALLED != 0
    }

    /// The flow that stands for a pair.
    pub(crate) fn flow(&mut self, pair: Pair) -> FlowId {
        if let Some(flow) = self.young.by_pair.get(&pair) {
            return *flow;
        }
        let flow = self.old.by_pair.get(&pair).copied().unwrap_or_else(|| {
            self.made += 1;
            FlowId { node: self.node, shard: self.shard, id: DIALLED | self.made }
        });
        self.keep(flow, pair);
        flow
    }

    /// The pair a flow stands for; `None` for a real flow, or one long unused.
    pub(crate) fn pair(&mut self, flow: FlowId) -> Option<Pair> {
        if !Self::is_pseudo(flow) {
            return None;
        }
        if let Some(pair) = self.young.by_flow.get(&flow) {
            return Some(*pair);
        }
        let pair = *self.old.by_flow.get(&flow)?;
        self.keep(flow, pair);
        Some(pair)
    }

    fn keep(&mut self, flow: FlowId, pair: Pair) {
        if self.young.by_pair.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.by_pair.insert(pair, flow);
        self.young.by_flow.insert(flow, pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(n: u32) -> Pair {
        let peer = SocketAddr::from((n.to_be_bytes(), 5060));
        (SocketAddr::from(([192, 0, 2, 1], 5060)), peer)
    }

    #[test]
    fn a_pair_keeps_its_flow_while_it_is_used_and_memory_is_bounded() {
        let mut dialled = Dialled::new(0, 0);
        let busy = dialled.flow(pair(0));
        let idle = dialled.flow(pair(1));
        for n in 2..200_000 {
            dialled.flow(pair(n));
            assert_eq!(dialled.pair(busy), Some(pair(0)));
        }
        assert_eq!(dialled.flow(pair(0)), busy);
        assert_eq!(dialled.pair(idle), None);
        assert_ne!(dialled.flow(pair(1)), idle, "a number is never used again");
        let held = dialled.young.by_flow.len() + dialled.old.by_flow.len();
        assert!(held <= 2 * GENERATION_MAX + 1);
    }
}
