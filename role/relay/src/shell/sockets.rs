//! Ports with sockets behind them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};

use super::hub::{Route, Steered};
use super::worker::Worker;
use crate::Config;
use crate::api::SessionId;
use crate::bridge::{Component, Home, LegId, Port, SharedBridge};
use crate::ports::{OpenError, Opened, PairRange, PortOwner, Ports, Probe};

/// The sockets of one session.
pub(super) struct SessionIo {
    pub session: SessionId,
    pub bridge: SharedBridge,
    sockets: RwLock<Vec<(Port, Arc<UdpSocket>)>>,
}

impl SessionIo {
    /// The socket of a port.
    pub(super) fn socket(&self, port: Port) -> Option<Arc<UdpSocket>> {
        let sockets = self.sockets.read().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().find(|(p, _)| *p == port).map(|(_, socket)| Arc::clone(socket))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(Port, Arc<UdpSocket>)>)) {
        change(&mut self.sockets.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Binds pairs and hands them to the packet threads.
pub(super) struct SocketPorts {
    ranges: Vec<PairRange>,
    workers: Vec<Arc<Worker>>,
    /// For each interface, what leads its ports to its threads' sockets.
    steered: Vec<Option<Steered>>,
    next_worker: usize,
    sessions: HashMap<SessionId, Placed>,
    open: HashMap<(usize, u16), Held>,
}

/// A session's thread, and its sockets once it has any.
struct Placed {
    worker: usize,
    io: Option<Arc<SessionIo>>,
}

/// A pair that is open.
struct Held {
    session: SessionId,
    leg: LegId,
    /// The tokens under which its sockets are watched; none where packets come by a hub.
    tokens: Vec<u64>,
}

impl SocketPorts {
    pub(super) fn new(
        config: &Config,
        workers: Vec<Arc<Worker>>,
        steered: Vec<Option<Steered>>,
    ) -> Self {
        let range = || PairRange::new(config.port_min, config.port_max);
        Self {
            ranges: config.interfaces.iter().map(|_| range()).collect(),
            workers,
            steered,
            next_worker: 0,
            sessions: HashMap::new(),
            open: HashMap::new(),
        }
    }

    /// Pairs in use.
    pub(super) fn in_use(&self) -> usize {
        self.ranges.iter().map(PairRange::in_use).sum()
    }

    /// Whether all interfaces' ports are led to the threads' sockets.
    pub(super) fn is_steered(&self) -> bool {
        self.steered.iter().all(Option::is_some)
    }

    fn place(&mut self, session: SessionId) -> &mut Placed {
        let (next, count) = (&mut self.next_worker, self.workers.len());
        self.sessions.entry(session).or_insert_with(|| {
            *next = (*next + 1) % count;
            Placed { worker: *next, io: None }
        })
    }

    /// The session's sockets and the number of its thread.
    fn io(&mut self, owner: &PortOwner) -> (Arc<SessionIo>, usize) {
        let placed = self.place(owner.session);
        let (worker, known) = (placed.worker, placed.io.clone());
        let io = known.unwrap_or_else(|| {
            let io = Arc::new(SessionIo {
                session: owner.session,
                bridge: owner.bridge.clone(),
                sockets: RwLock::new(Vec::new()),
            });
            self.place(owner.session).io = Some(Arc::clone(&io));
            self.workers[worker].add_session(Arc::clone(&io));
            io
        });
        (io, worker)
    }

    /// Leads a pair's packets to its thread: by the thread's hub, or socket by socket.
    fn watch(
        &self,
        (interface, rtp_port): (usize, u16),
        (io, worker): (&Arc<SessionIo>, usize),
        pair: [(Port, Arc<UdpSocket>); 2],
    ) -> Option<Vec<u64>> {
        let Some(steered) = &self.steered[interface] else {
            let watch = |(port, socket)| self.workers[worker].watch(port, socket, Arc::clone(io));
            let tokens: Vec<u64> = pair.into_iter().filter_map(watch).collect();
            return (tokens.len() == 2).then_some(tokens);
        };
        for (number, (port, _)) in (rtp_port..).zip(pair) {
            let route = Route { bridge: io.bridge.place(), port, io: Arc::clone(io) };
            steered.hubs[worker].routes().open(number, route);
            steered.steer.open(number, worker);
        }
        self.workers[worker].wake();
        Some(Vec::new())
    }

    fn unwatch(&self, (interface, rtp_port): (usize, u16), worker: usize, tokens: Vec<u64>) {
        tokens.into_iter().for_each(|token| self.workers[worker].unwatch(token));
        let Some(steered) = &self.steered[interface] else { return };
        for number in [rtp_port, rtp_port + 1] {
            steered.steer.close(number);
            // Bound to a name: the lock must be released before the route is dropped.
            let route = steered.hubs[worker].routes().close(number);
            drop(route);
        }
    }
}

impl Ports for SocketPorts {
    fn home(&mut self, session: SessionId) -> Arc<Home> {
        let worker = self.place(session).worker;
        Arc::clone(&self.workers[worker].home)
    }

    fn leave(&mut self, session: SessionId) {
        if let Some(placed) = self.sessions.remove(&session) {
            self.workers[placed.worker].remove_session(session);
        }
    }

    fn open(&mut self, interface: usize, owner: &PortOwner) -> Result<Opened, OpenError> {
        let mut bound = None;
        let range = self.ranges.get_mut(interface).ok_or(OpenError::Exhausted)?;
        let port = range.take(|port| match bind_pair((owner.bind, owner.tos), port) {
            Ok(pair) => {
                bound = Some(pair);
                Probe::Opened
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => Probe::Taken,
            Err(e) => Probe::GiveUp(e.kind()),
        })?;
        let (rtp, rtcp, tos) = bound.ok_or(OpenError::Exhausted)?;
        let (io, worker) = self.io(owner);
        // A hub's ports are bound too: nobody else may take them, and what leaves by an interface
        // that refuses raw packets leaves by them.
        let pair = [(Component::Rtp, rtp), (Component::Rtcp, rtcp)]
            .map(|(component, socket)| (Port { leg: owner.leg, component }, Arc::new(socket)));
        io.change(|sockets| sockets.extend(pair.iter().cloned()));
        let tokens = self.watch((interface, port), (&io, worker), pair);
        let watched = tokens.is_some();
        let (session, leg) = (owner.session, owner.leg);
        let held = Held { session, leg, tokens: tokens.unwrap_or_default() };
        self.open.insert((interface, port), held);
        if !watched {
            // /proc/sys/fs/epoll/max_user_watches is reached.
            self.close(interface, port);
            return Err(OpenError::System(io::ErrorKind::OutOfMemory));
        }
        // Who listens on all addresses answers from the one that is talked to, once it is.
        let known = self.steered[interface].is_some() && !owner.bind.is_unspecified();
        let source = known.then(|| SocketAddr::new(owner.bind, port));
        // A raw packet has the mark written into it: nobody is asked.
        let tos = if source.is_some() { owner.tos } else { tos };
        Ok(Opened { port, source, tos })
    }

    fn close(&mut self, interface: usize, rtp_port: u16) {
        let Some(held) = self.open.remove(&(interface, rtp_port)) else { return };
        if let Some(Placed { worker, io: Some(io) }) = self.sessions.get(&held.session) {
            io.change(|sockets| sockets.retain(|(p, _)| p.leg != held.leg));
            self.unwatch((interface, rtp_port), *worker, held.tokens);
        }
        self.ranges[interface].give_back(rtp_port);
    }
}

/// Two sockets, and the mark that the system lets them send with.
fn bind_pair((ip, tos): (IpAddr, u8), port: u16) -> io::Result<(UdpSocket, UdpSocket, u8)> {
    let bind = |port| {
        let socket = UdpSocket::bind((ip, port))?;
        let is_marked = net::tos::mark(&socket, ip.is_ipv6(), tos);
        // Where the system does not tell, nothing is known of what arrives.
        let _ = net::tos::watch(&socket);
        socket.set_nonblocking(true)?;
        io::Result::Ok((socket, is_marked))
    };
    let ((rtp, is_marked), (rtcp, _)) = (bind(port)?, bind(port + 1)?);
    Ok((rtp, rtcp, if is_marked { tos } else { 0 }))
}
