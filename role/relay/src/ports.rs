//! Where a leg's ports come from.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::api::SessionId;
pub use crate::bridge::SharedBridge;
use crate::bridge::{Home, LegId};

/// Opens and closes ports for legs. The shell opens sockets; a simulation hands out numbers.
pub trait Ports {
    /// Where a new session's bridge shall live.
    fn home(&mut self, session: SessionId) -> Arc<Home>;

    /// A session is gone; its ports were closed.
    fn leave(&mut self, session: SessionId);

    /// Opens an even port for RTP and the odd one above it for RTCP.
    ///
    /// # Errors
    /// When all are taken, or the system refuses to give any.
    fn open(&mut self, interface: usize, owner: &PortOwner) -> Result<Opened, OpenError>;

    /// Closes a pair.
    fn close(&mut self, interface: usize, rtp_port: u16);
}

/// A pair of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The even one.
    pub port: u16,
    /// Its local address, where packets leave by it without a socket.
    pub source: Option<SocketAddr>,
    /// The type of service octet of what leaves by it.
    pub tos: u8,
}

/// Why no pair could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// Every pair of the range is in use, by us or by others.
    Exhausted,
    /// The system refused for another reason: descriptors, memory, an address that is not here.
    System(std::io::ErrorKind),
}

/// What a try to open a pair gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// It is open.
    Opened,
    /// Someone else has it: try the next.
    Taken,
    /// Trying others is of no use.
    GiveUp(std::io::ErrorKind),
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
    /// The type of service octet of what leaves by them.
    pub tos: u8,
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

    /// The next free pair that `probe` opens; those that others hold go to the end of the line.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn take(&mut self, mut probe: impl FnMut(u16) -> Probe) -> Result<u16, OpenError> {
        for _ in 0..self.free.len() {
            let Some(port) = self.free.pop_front() else { break };
            match probe(port) {
                Probe::Opened => {
                    self.taken.insert(port);
                    return Ok(port);
                }
                Probe::Taken => self.free.push_back(port),
                Probe::GiveUp(why) => {
                    self.free.push_front(port);
                    return Err(OpenError::System(why));
                }
            }
        }
        Err(OpenError::Exhausted)
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
pub struct NumberedPorts {
    home: Arc<Home>,
    ranges: Vec<PairRange>,
    owners: Vec<(usize, u16, PortOwner)>,
}

impl NumberedPorts {
    /// The same range on each of `interfaces` interfaces.
    pub fn new(interfaces: usize, min: u16, max: u16) -> Self {
        let ranges = (0..interfaces).map(|_| PairRange::new(min, max)).collect();
        Self { home: Home::new(), ranges, owners: Vec::new() }
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

impl std::fmt::Debug for NumberedPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NumberedPorts").field("in_use", &self.in_use()).finish_non_exhaustive()
    }
}

impl Ports for NumberedPorts {
    fn home(&mut self, _: SessionId) -> Arc<Home> {
        Arc::clone(&self.home)
    }

    fn leave(&mut self, _: SessionId) {}

    fn open(&mut self, interface: usize, owner: &PortOwner) -> Result<Opened, OpenError> {
        let range = self.ranges.get_mut(interface).ok_or(OpenError::Exhausted)?;
        let port = range.take(|_| Probe::Opened)?;
        self.owners.push((interface, port, owner.clone()));
        Ok(Opened { port, source: None, tos: owner.tos })
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
        let (opened, taken) = (|_| Probe::Opened, Err(OpenError::Exhausted));
        let mut range = PairRange::new(10_001, 10_007);
        assert_eq!(range.take(opened), Ok(10_002));
        range.give_back(10_002);
        let refuse_one = |p| if p == 10_004 { Probe::Taken } else { Probe::Opened };
        assert_eq!(range.take(refuse_one), Ok(10_006));
        let give_up = |_| Probe::GiveUp(std::io::ErrorKind::OutOfMemory);
        let why = OpenError::System(std::io::ErrorKind::OutOfMemory);
        assert_eq!(range.take(give_up), Err(why));
        assert_eq!(range.take(opened), Ok(10_002));
        assert_eq!(range.take(opened), Ok(10_004));
        assert_eq!(range.take(opened), taken);
        assert_eq!(range.in_use(), 3);
        assert_eq!(PairRange::new(65_534, 65_535).take(opened), Ok(65_534));
        assert_eq!(PairRange::new(7, 7).take(opened), taken);
    }
}
