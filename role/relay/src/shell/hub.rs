//! Ports without a socket each: all of an interface that one packet thread serves are led to one
//! socket of the thread's, and answered from by one raw socket
//! (docs/design/0082-one-socket-for-all-ports.md).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::batch::{set_receive_buffer, tell_destinations};
use net::raw::{RawPacket, RawUdp};
use net::steer::{PortSteer, STEERED_SOCKETS_MAX};

use super::sockets::SessionIo;
use crate::bridge::Port;
use crate::config::Interface;

/// What may wait while a thread rests or is not run: a second of a thousand calls.
const RECEIVE_BYTES: usize = 64 << 20;
const SEND_BYTES: usize = 16 << 20;

/// An interface whose ports are led to its threads' sockets.
pub(super) struct Steered {
    pub steer: PortSteer,
    /// One for each thread.
    pub hubs: Vec<Arc<Hub>>,
}

/// The socket of one thread on one interface.
pub(super) struct Hub {
    pub socket: UdpSocket,
    /// It hears all addresses: a leg answers from the one it is talked to at.
    pub is_any: bool,
    routes: Mutex<Routes>,
}

/// Who a port of the hub belongs to.
pub(super) struct Route {
    /// The place of its bridge in the thread's home.
    pub bridge: u32,
    pub port: Port,
    /// The session's sockets, for what goes by an interface that has one for each port.
    pub io: Arc<SessionIo>,
}

/// Routes by local port.
pub(super) struct Routes {
    /// The place in `list` plus one, 0 for a port that is not open. Pages of it are touched only
    /// where ports are used.
    by_port: Box<[u32]>,
    list: Vec<Option<Route>>,
    free: Vec<u32>,
}

impl Steered {
    /// Leads ports of `interface` to `threads` sockets.
    ///
    /// # Errors
    /// Where the kernel or our rights do not allow it, or the interface is all of IPv6.
    pub(super) fn attach(interface: &Interface, threads: usize) -> io::Result<Self> {
        if interface.bind == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            // Its sockets hear IPv4 too, which is not led with IPv6.
            let why = "it listens on all addresses of IPv6";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let threads = threads.min(STEERED_SOCKETS_MAX);
        let hubs = (0..threads).map(|_| Hub::new(interface.bind).map(Arc::new));
        let hubs: Vec<Arc<Hub>> = hubs.collect::<io::Result<_>>()?;
        let sockets: Vec<&UdpSocket> = hubs.iter().map(|hub| &hub.socket).collect();
        Ok(Self { steer: PortSteer::attach(interface.bind, &sockets)?, hubs })
    }
}

impl Hub {
    fn new(ip: IpAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
        socket.set_nonblocking(true)?;
        tell_destinations(&socket)?;
        net::tos::watch(&socket)?;
        set_receive_buffer(&socket, RECEIVE_BYTES);
        // Without the right to answer from its ports a hub is of no use.
        RawUdp::new(ip.is_ipv6())?;
        Ok(Self { socket, is_any: ip.is_unspecified(), routes: Mutex::new(Routes::new()) })
    }

    /// The routes, for a batch of packets or a command.
    pub(super) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread sends by from ports without sockets: a raw socket for each family.
pub(super) struct RawSockets([Option<RawUdp>; 2]);

impl RawSockets {
    /// Of the families that can be had.
    pub(super) fn new() -> Self {
        let socket = |v6| {
            let raw = RawUdp::new(v6).ok()?;
            raw.set_send_buffer(SEND_BYTES);
            // All that leaves by it is media.
            raw.set_priority(net::tos::EF);
            Some(raw)
        };
        Self([socket(false), socket(true)])
    }

    /// Sends packets of any family, those of one in their order; how many could not go.
    pub(super) fn send(&mut self, packets: &[RawPacket<'_>]) -> u64 {
        let mut lost = 0;
        for run in packets.chunk_by(|a, b| a.from.is_ipv6() == b.from.is_ipv6()) {
            let Some(raw) = &mut self.0[usize::from(run[0].from.is_ipv6())] else {
                lost += run.len() as u64;
                continue;
            };
            let mut rest = run;
            while !rest.is_empty() {
                let sent = raw.send(rest).unwrap_or_else(|_| {
                    // The first cannot go (unreachable, buffer full): it is lost, as on any path.
                    lost += 1;
                    1
                });
                rest = &rest[sent.clamp(1, rest.len())..];
            }
        }
        lost
    }
}

impl Routes {
    fn new() -> Self {
        let by_port = vec![0; 1 << 16].into_boxed_slice();
        Self { by_port, list: Vec::new(), free: Vec::new() }
    }

    /// The route of a local port.
    pub(super) fn find(&self, port: u16) -> Option<&Route> {
        let at = self.by_port[usize::from(port)].checked_sub(1)?;
        self.list[at as usize].as_ref()
    }

    pub(super) fn open(&mut self, port: u16, route: Route) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.list.push(None);
            (self.list.len() - 1) as u32
        });
        self.list[at as usize] = Some(route);
        self.by_port[usize::from(port)] = at + 1;
    }

    /// Takes a route out. Drop it with the lock released: it may be the last to know its session.
    pub(super) fn close(&mut self, port: u16) -> Option<Route> {
        let at = std::mem::take(&mut self.by_port[usize::from(port)]).checked_sub(1)?;
        self.free.push(at);
        self.list[at as usize].take()
    }
}
