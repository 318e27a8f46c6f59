//! The network: hosts, links, translators, and the loop that makes time pass.

mod forward;
mod run;

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use sansio::{TimerQueue, WallTime};

use crate::clock::Clock;
use crate::dice::Dice;
use crate::event::Agenda;
use crate::link::Link;
use crate::nat::{Nat, NatConfig};
use crate::node::{CloseReason, Node};
use crate::streams::Streams;
use crate::trace::{Trace, TraceEntry};
use crate::wire::Wire;

/// A host and the type of node it carries.
#[derive(Debug)]
pub struct HostId<N> {
    index: usize,
    node: PhantomData<fn() -> N>,
}

impl<N> Clone for HostId<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for HostId<N> {}

/// A translator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatId(usize);

/// A simulated network. See the crate's example.
pub struct Net {
    seed: u64,
    clock: Clock,
    dice: Dice,
    agenda: Agenda,
    timers: TimerQueue<usize>,
    hosts: Vec<Host>,
    wires: Vec<Wire>,
    nats: Vec<NatBox>,
    /// Who has an address, in each realm.
    directory: BTreeMap<(usize, IpAddr), Occupant>,
    trace: Trace,
}

struct Host {
    name: String,
    realm: usize,
    address: IpAddr,
    wire: usize,
    streams: Streams,
    node: Box<dyn Node>,
    up: bool,
    /// What its network lets nobody send: to these ports, by datagrams or by streams.
    blocked: Vec<(bool, RangeInclusive<u16>)>,
    /// When its node was last woken, and how often at that instant: a node that never moves its
    /// deadline is a bug, and an endless loop.
    woken: (Option<Instant>, u32),
}

/// Realm `n + 1` lies behind translator `n`; realm 0 is the internet.
struct NatBox {
    nat: Nat,
    address: IpAddr,
    outer: usize,
    wire: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupant {
    Host(usize),
    Nat(usize),
}

impl Net {
    /// An empty network. Everything that happens in it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clock: Clock::new(),
            dice: Dice::new(seed),
            agenda: Agenda::default(),
            timers: TimerQueue::new(),
            hosts: Vec::new(),
            wires: Vec::new(),
            nats: Vec::new(),
            directory: BTreeMap::new(),
            trace: Trace::default(),
        }
    }

    /// A host on the internet. `address` is an IP address in text, as tests write it.
    pub fn add_host<N: Node>(
        &mut self,
        name: &str,
        address: &str,
        link: Link,
        node: N,
    ) -> HostId<N> {
        self.host_in(0, name, address, link, node)
    }

    /// A host behind a translator.
    pub fn add_host_behind<N: Node>(
        &mut self,
        nat: NatId,
        name: &str,
        address: &str,
        link: Link,
        node: N,
    ) -> HostId<N> {
        self.host_in(nat.0 + 1, name, address, link, node)
    }

    /// A translator on the internet.
    pub fn add_nat(&mut self, address: &str, link: Link, config: NatConfig) -> NatId {
        self.nat_in(0, address, link, config)
    }

    /// A translator behind another, as carriers have them.
    pub fn add_nat_behind(
        &mut self,
        outer: NatId,
        address: &str,
        link: Link,
        config: NatConfig,
    ) -> NatId {
        self.nat_in(outer.0 + 1, address, link, config)
    }

    /// The node of a host.
    pub fn node<N: Node>(&self, host: HostId<N>) -> &N {
        let node: &dyn Any = self.hosts[host.index].node.as_ref();
        // A HostId<N> is only made for a host that was given an N, and restart keeps the type.
        node.downcast_ref().expect("a host keeps the type of its node")
    }

    /// Calls a node with the time, then sends what it has to send.
    pub fn with<N: Node, R>(
        &mut self,
        host: HostId<N>,
        f: impl FnOnce(&mut N, Instant, WallTime) -> R,
    ) -> R {
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let node: &mut dyn Any = self.hosts[host.index].node.as_mut();
        let result = f(node.downcast_mut().expect("a host keeps the type of its node"), now, wall);
        self.drain(host.index);
        result
    }

    /// Stops a node as `kill -9` does: its streams are reset, its datagrams go nowhere.
    pub fn crash<N: Node>(&mut self, host: HostId<N>) {
        self.note(format!("{} crashes", self.hosts[host.index].name));
        let host = host.index;
        self.hosts[host].up = false;
        self.timers.clear(&host);
        for packet in self.hosts[host].streams.reset_all() {
            self.send_packet(host, packet);
        }
    }

    /// Starts a new node on a host, in place of the old one.
    pub fn restart<N: Node>(&mut self, host: HostId<N>, node: N) {
        self.note(format!("{} starts again", self.hosts[host.index].name));
        let slot = &mut self.hosts[host.index];
        (slot.node, slot.up) = (Box::new(node), true);
        self.drain(host.index);
    }

    /// Takes a host's link down or up. Streams live on for half a minute.
    pub fn set_link_up<N: Node>(&mut self, host: HostId<N>, up: bool) {
        let slot = &self.hosts[host.index];
        self.wires[slot.wire].up = up;
        self.note(format!("{}'s link goes {}", slot.name, if up { "up" } else { "down" }));
    }

    /// Changes what a host's link does, from now on.
    pub fn set_link<N: Node>(&mut self, host: HostId<N>, link: Link) {
        self.wires[self.hosts[host.index].wire].link = link;
    }

    /// Changes what a translator's outer link does, from now on.
    pub fn set_nat_link(&mut self, nat: NatId, link: Link) {
        self.wires[self.nats[nat.0].wire].link = link;
    }

    /// From now on the host's network drops what it sends to these ports, datagrams (true) or
    /// streams, as firewalls of guest networks do. Replaces what was dropped before.
    pub fn block<N: Node>(&mut self, host: HostId<N>, blocked: &[(bool, u16)]) {
        let ranges = blocked.iter().map(|(datagrams, port)| (*datagrams, *port..=*port));
        self.block_ranges(host, ranges.collect());
    }

    /// The same for whole ranges: `(true, 0..=65_535)` lets no datagram out.
    pub fn block_ranges<N: Node>(
        &mut self,
        host: HostId<N>,
        blocked: Vec<(bool, RangeInclusive<u16>)>,
    ) {
        let slot = &mut self.hosts[host.index];
        let text = format!("{}'s network blocks {blocked:?}", slot.name);
        slot.blocked = blocked;
        self.note(text);
    }

    /// Moves a host: another address, behind another translator or none, its streams gone.
    pub fn move_host<N: Node>(&mut self, host: HostId<N>, behind: Option<NatId>, address: &str) {
        let (realm, address) = (behind.map_or(0, |nat| nat.0 + 1), parse(address));
        let index = host.index;
        self.note(format!("{} moves to {address}", self.hosts[index].name));
        let slot = &mut self.hosts[index];
        self.directory.remove(&(slot.realm, slot.address));
        (slot.realm, slot.address) = (realm, address);
        self.occupy(realm, address, Occupant::Host(index));
        let gone = self.hosts[index].streams.drop_all(CloseReason::Moved);
        let (now, wall) = (self.clock.now(), self.clock.wall());
        let node = &mut self.hosts[index].node;
        gone.into_iter().for_each(|event| node.handle_stream(now, wall, event));
        node.handle_address_changed(now, wall, address);
        self.drain(index);
    }

    /// Makes a translator forget all mappings, as when it is switched off and on.
    pub fn reset_nat(&mut self, nat: NatId) {
        self.note(format!("NAT {} forgets its mappings", self.nats[nat.0].address));
        self.nats[nat.0].nat.forget_all();
    }

    /// Writes a line into trace and ladder.
    pub fn note(&mut self, text: impl Into<String>) {
        self.trace.add(TraceEntry::Note { at: self.clock.elapsed(), text: text.into() });
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time for machines.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The time of day.
    pub fn wall(&self) -> WallTime {
        self.clock.wall()
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn host_in<N: Node>(
        &mut self,
        realm: usize,
        name: &str,
        address: &str,
        link: Link,
        node: N,
    ) -> HostId<N> {
        let (index, address) = (self.hosts.len(), parse(address));
        self.occupy(realm, address, Occupant::Host(index));
        let wire = self.add_wire(link);
        let (name, streams) = (name.to_owned(), Streams::new(index));
        let node = Box::new(node);
        self.hosts.push(Host {
            name,
            realm,
            address,
            wire,
            streams,
            node,
            up: true,
            blocked: Vec::new(),
            woken: (None, 0),
        });
        self.drain(index);
        HostId { index, node: PhantomData }
    }

    fn nat_in(&mut self, outer: usize, address: &str, link: Link, config: NatConfig) -> NatId {
        let (index, address) = (self.nats.len(), parse(address));
        self.occupy(outer, address, Occupant::Nat(index));
        let wire = self.add_wire(link);
        self.nats.push(NatBox { nat: Nat::new(address, config), address, outer, wire });
        NatId(index)
    }

    fn add_wire(&mut self, link: Link) -> usize {
        self.wires.push(Wire::new(link));
        self.wires.len() - 1
    }

    fn occupy(&mut self, realm: usize, address: IpAddr, occupant: Occupant) {
        let former = self.directory.insert((realm, address), occupant);
        assert!(former.is_none(), "{address} is taken in that realm");
    }
}

/// A story's own addresses are its author's business.
fn parse(address: &str) -> IpAddr {
    address.parse().unwrap_or_else(|_| panic!("`{address}` is no IP address"))
}
