//! Ports with sockets behind them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock};

use super::worker::{Worker, WorkerSession};
use crate::Config;
use crate::api::SessionId;
use crate::bridge::{Component, Port};
use crate::ports::{OpenError, PairRange, PortOwner, Ports, Probe, SharedBridge};

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
    next_worker: usize,
    sessions: HashMap<SessionId, Placed>,
    open: HashMap<(usize, u16), Opened>,
}

impl SocketPorts {
    pub(super) fn new(config: &Config, workers: Vec<Arc<Worker>>) -> Self {
        let range = || PairRange::new(config.port_min, config.port_max);
        Self {
            ranges: config.interfaces.iter().map(|_| range()).collect(),
            workers,
            next_worker: 0,
            sessions: HashMap::new(),
            open: HashMap::new(),
        }
    }

    /// Pairs in use.
    pub(super) fn in_use(&self) -> usize {
        self.ranges.iter().map(PairRange::in_use).sum()
    }

    /// The session's sockets and thread, chosen with its first leg.
    fn place(&mut self, owner: &PortOwner) -> (Arc<SessionIo>, Arc<Worker>) {
        let placed = self.sessions.entry(owner.session).or_insert_with(|| {
            self.next_worker = (self.next_worker + 1) % self.workers.len();
            let io = Arc::new(SessionIo {
                session: owner.session,
                bridge: Arc::clone(&owner.bridge),
                sockets: RwLock::new(Vec::new()),
            });
            self.workers[self.next_worker].add_session(WorkerSession { io: Arc::clone(&io) });
            Placed { io, worker: self.next_worker, pairs: 0 }
        });
        placed.pairs += 1;
        (Arc::clone(&placed.io), Arc::clone(&self.workers[placed.worker]))
    }

    fn unplace(&mut self, session: SessionId) {
        let Some(placed) = self.sessions.get_mut(&session) else { return };
        placed.pairs -= 1;
        if placed.pairs == 0 {
            self.workers[placed.worker].remove_session(session);
            self.sessions.remove(&session);
        }
    }
}

impl Ports for SocketPorts {
    fn open(&mut self, interface: usize, owner: &PortOwner) -> Result<u16, OpenError> {
        let mut bound = None;
        let range = self.ranges.get_mut(interface).ok_or(OpenError::Exhausted)?;
        let port = range.take(|port| match bind_pair(owner.bind, port) {
            Ok(pair) => {
                bound = Some(pair);
                Probe::Opened
            }
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => Probe::Taken,
            Err(e) => Probe::GiveUp(e.kind()),
        })?;
        let (rtp, rtcp) = bound.ok_or(OpenError::Exhausted)?;
        let (io, worker) = self.place(owner);
        let mut tokens = Vec::with_capacity(2);
        for (component, socket) in [(Component::Rtp, rtp), (Component::Rtcp, rtcp)] {
            let (port, socket) = (Port { leg: owner.leg, component }, Arc::new(socket));
            io.change(|sockets| sockets.push((port, Arc::clone(&socket))));
            tokens.extend(worker.watch(port, socket, Arc::clone(&io)));
        }
        let watched = tokens.len() == 2;
        self.open.insert((interface, port), Opened { owner: owner.clone(), tokens });
        if !watched {
            // /proc/sys/fs/epoll/max_user_watches is reached.
            self.close(interface, port);
            return Err(OpenError::System(io::ErrorKind::OutOfMemory));
        }
        Ok(port)
    }

    fn close(&mut self, interface: usize, rtp_port: u16) {
        let Some(Opened { owner, tokens }) = self.open.remove(&(interface, rtp_port)) else {
            return;
        };
        if let Some(placed) = self.sessions.get(&owner.session) {
            placed.io.change(|sockets| sockets.retain(|(p, _)| p.leg != owner.leg));
            tokens.into_iter().for_each(|token| self.workers[placed.worker].unwatch(token));
        }
        self.unplace(owner.session);
        self.ranges[interface].give_back(rtp_port);
    }
}

struct Placed {
    io: Arc<SessionIo>,
    worker: usize,
    pairs: usize,
}

struct Opened {
    owner: PortOwner,
    tokens: Vec<u64>,
}

fn bind_pair(ip: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let bind = |port| {
        let socket = UdpSocket::bind((ip, port))?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(socket)
    };
    Ok((bind(port)?, bind(port + 1)?))
}
