//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Limits;
use crate::gate::prefix_of;

/// Counts connections of all shards; touched only when one opens or closes.
#[derive(Debug)]
pub(crate) struct Admission {
    total_max: usize,
    per_source_max: usize,
    per_prefix_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
    by_prefix: HashMap<u64, usize>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            total_max: limits.max_connections,
            per_source_max: limits.max_connections_per_source,
            per_prefix_max: limits.max_connections_per_prefix,
            counts: Mutex::default(),
        }
    }

    /// A place for a connection from `source`, given back when the permit is dropped.
    pub(crate) fn admit(self: &Arc<Self>, source: IpAddr) -> Option<Permit> {
        let source = source.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.total_max {
            return None;
        }
        let counted = !source.is_loopback();
        if counted {
            let prefix = prefix_of(source);
            let here = counts.by_source.get(&source).copied().unwrap_or(0);
            let around = counts.by_prefix.get(&prefix).copied().unwrap_or(0);
            if here >= self.per_source_max || around >= self.per_prefix_max {
                return None;
            }
            counts.by_source.insert(source, here + 1);
            counts.by_prefix.insert(prefix, around + 1);
        }
        counts.total += 1;
        Some(Permit { admission: Arc::clone(self), source: counted.then_some(source) })
    }
}

/// One connection's place.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    source: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        let Some(source) = self.source else { return };
        one_less(&mut counts.by_source, source);
        one_less(&mut counts.by_prefix, prefix_of(source));
    }
}

fn one_less<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(here) = counts.get_mut(&key) {
        *here -= 1;
        if *here == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_limited_loopback_is_not_and_places_come_back() {
        let limits =
            Limits { max_connections: 4, max_connections_per_source: 2, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits));
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let a = admission.admit(far).unwrap();
        let _b = admission.admit(mapped).unwrap();
        assert!(admission.admit(far).is_none());
        let near: Vec<_> = (0..3).map_while(|_| admission.admit(near)).collect();
        assert_eq!(near.len(), 2, "the total limit holds for loopback too");
        drop(a);
        let limits = Limits { max_connections_per_prefix: 2, ..Limits::default() };
        let narrow = Arc::new(Admission::new(&limits));
        let beside = |n| narrow.admit(IpAddr::from([192, 0, 2, n]));
        let two = (beside(1).unwrap(), beside(2).unwrap());
        assert!(beside(3).is_none(), "the third of one /24");
        assert!(narrow.admit(IpAddr::from([192, 0, 3, 1])).is_some());
        drop(two);
        assert!(beside(3).is_some());
        drop(near);
        assert!(admission.admit(far).is_some());
    }
}
