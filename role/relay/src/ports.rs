//! Where a leg's ports come from.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::api::SessionId;
use crate::bridge::{Bridge, LegId};

/// A bridge shared by the control core and the packet threads.
pub type SharedBridge = Arc<Mutex<Bridge>>;

/// Opens and closes ports for legs. The shell opens sockets; a simulation hands out numbers.
pub trait Ports {
    /// Opens an even port for RTP and the odd one above it for RTCP; gives the even one. `None`
    /// when all are taken.
    fn open(&mut self, interface: usize, owner: &PortOwner) -> Option<u16>;

    /// Closes a pair.
    fn close(&mut self, interface: usize, rtp_port: u16);
}

/// Whose ports are opened.
#[derive(Debug, Clone)]
pub struct PortOwner {
    /// The session.
    pub session: SessionId,
    /// The leg.
    pub leg: LegId,
    /// Where its packets are handled.
    pub bridge: SharedBridge,
    /// The address to bind to.
    pub bind: IpAddr,
}

/// Even port numbers of one range, handed out in turn: a freed pair rests as long as possible, so
/// that late packets of an old call do not meet a new one.
#[derive(Debug)]
pub struct PairRange {
    free: VecDeque<u16>,
    taken: HashSet<u16>,
}

impl PairRange {
    /// All pairs that lie in `min..=max`.
    pub fn new(min: u16, max: u16) -> Self {
        let first = u32::from(min.max(2)).next_multiple_of(2);
        let last = u32::from(max).saturating_sub(1);
        let free = (first..=last).step_by(2).filter_map(|p| u16::try_from(p).ok()).collect();
        Self { free, taken: HashSet::new() }
    }

    /// The next free pair that `usable` accepts; those it refuses go to the end of the line.
    pub fn take(&mut self, mut usable: impl FnMut(u16) -> bool) -> Option<u16> {
        for _ in 0..self.free.len() {
            let port = self.free.pop_front()?;
            if usable(port) {
                self.taken.insert(port);
                return Some(port);
            }
            self.free.push_back(port);
        }
        None
    }

    /// Gives a pair back.
    pub fn give_back(&mut self, port: u16) {
        if self.taken.remove(&port) {
            self.free.push_back(port);
        }
    }

    /// Pairs in use.
    pub fn in_use(&self) -> usize {
        self.taken.len()
    }
}

/// Port numbers without sockets, for simulation and tests.
#[derive(Debug)]
pub struct NumberedPorts {
    ranges: Vec<PairRange>,
    owners: Vec<(usize, u16, PortOwner)>,
}

impl NumberedPorts {
    /// The same range on each of `interfaces` interfaces.
    pub fn new(interfaces: usize, min: u16, max: u16) -> Self {
        let ranges = (0..interfaces).map(|_| PairRange::new(min, max)).collect();
        Self { ranges, owners: Vec::new() }
    }

    /// Who owns the pair that `port` (even or odd) belongs to.
    pub fn owner(&self, interface: usize, port: u16) -> Option<&PortOwner> {
        let even = port & !1;
        self.owners.iter().find(|(i, p, _)| (*i, *p) == (interface, even)).map(|(.., o)| o)
    }

    /// Pairs in use.
    pub fn in_use(&self) -> usize {
        self.owners.len()
    }
}

impl Ports for NumberedPorts {
    fn open(&mut self, interface: usize, owner: &PortOwner) -> Option<u16> {
        let port = self.ranges.get_mut(interface)?.take(|_| true)?;
        self.owners.push((interface, port, owner.clone()));
        Some(port)
    }

    fn close(&mut self, interface: usize, rtp_port: u16) {
        self.owners.retain(|(i, p, _)| (*i, *p) != (interface, rtp_port));
        if let Some(range) = self.ranges.get_mut(interface) {
            range.give_back(rtp_port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_within_the_range_and_rest_after_use() {
        let mut range = PairRange::new(10_001, 10_007);
        assert_eq!(range.take(|_| true), Some(10_002));
        range.give_back(10_002);
        assert_eq!(range.take(|p| p != 10_004), Some(10_006), "10004 was refused");
        assert_eq!(range.take(|_| true), Some(10_002));
        assert_eq!(range.take(|_| true), Some(10_004));
        assert_eq!(range.take(|_| true), None);
        assert_eq!(range.in_use(), 3);
        assert_eq!(PairRange::new(65_534, 65_535).take(|_| true), Some(65_534));
        assert_eq!(PairRange::new(7, 7).take(|_| true), None);
    }
}
