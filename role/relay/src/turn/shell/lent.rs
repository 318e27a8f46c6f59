//! The relayed ports of one thread: led to one socket of it by the kernel, or each with a socket.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use net::batch::{set_receive_buffer, tell_destinations};
use net::poll::Poller;
use net::raw::{RawPacket, RawUdp};
use net::steer::PortSteer;

use super::RECEIVE_BUFFER;
use crate::turn::config::RelayAddress;
use crate::turn::server::{RelayPorts, Shared};

/// Tokens of the poller: relay addresses count from here, and a port's own socket has its relay
/// address and port below a bit of their own.
pub(super) const STEERED_TOKEN: u64 = 1 << 32;
pub(super) const PORT_TOKEN: u64 = 1 << 33;

/// Room for packets that wait for the interface.
const SEND_BUFFER: usize = 4 << 20;

pub(super) struct Lent {
    addresses: Vec<LentAddress>,
    poller: Option<Arc<Poller>>,
}

struct LentAddress {
    bind: IpAddr,
    how: How,
}

enum How {
    Steered { steer: Arc<PortSteer>, number: usize, socket: UdpSocket, raw: RawUdp },
    Sockets(HashMap<u16, UdpSocket>),
}

impl Lent {
    /// One for each thread.
    pub(super) fn for_threads(shared: &Shared, count: usize) -> io::Result<Vec<Self>> {
        let mut all: Vec<Self> =
            (0..count).map(|_| Self { addresses: Vec::new(), poller: None }).collect();
        for relay in &shared.config.relays {
            let may = shared.config.steer;
            let led =
                if may { steered(relay, count) } else { Err(io::ErrorKind::Unsupported.into()) };
            let ways = match led {
                Ok(ways) => ways,
                Err(error) => {
                    tracing::info!(%error, "relayed ports have a socket each: the kernel does not lead them to one");
                    (0..count).map(|_| How::Sockets(HashMap::new())).collect()
                }
            };
            // Whether the address is ours is to be known now and not at the first allocation.
            UdpSocket::bind((relay.bind, 0))?;
            for (lent, how) in all.iter_mut().zip(ways) {
                lent.addresses.push(LentAddress { bind: relay.bind, how });
            }
        }
        Ok(all)
    }

    pub(super) fn is_steered(&self) -> bool {
        self.addresses.iter().all(|address| matches!(address.how, How::Steered { .. }))
    }

    /// Has the thread's poller tell when peers sent something.
    pub(super) fn watch(&mut self, poller: &Arc<Poller>) -> io::Result<()> {
        for (token, address) in (STEERED_TOKEN..).zip(&self.addresses) {
            if let How::Steered { socket, .. } = &address.how {
                poller.add(socket, token)?;
            }
        }
        self.poller = Some(Arc::clone(poller));
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// The socket that all ports of a relay address lead to.
    pub(super) fn steered_socket(&self, relay: u8) -> Option<&UdpSocket> {
        match &self.addresses.get(usize::from(relay))?.how {
            How::Steered { socket, .. } => Some(socket),
            How::Sockets(_) => None,
        }
    }

    /// The socket of one port.
    pub(super) fn port_socket(&self, relay: u8, port: u16) -> Option<&UdpSocket> {
        match &self.addresses.get(usize::from(relay))?.how {
            How::Steered { .. } => None,
            How::Sockets(sockets) => sockets.get(&port),
        }
    }

    pub(super) fn bind_of(&self, relay: u8) -> Option<IpAddr> {
        self.addresses.get(usize::from(relay)).map(|address| address.bind)
    }

    /// Sends packets from ports of one relay address; how many were lost.
    pub(super) fn send(&mut self, relay: usize, mut packets: &[RawPacket<'_>]) -> usize {
        let Some(address) = self.addresses.get_mut(relay) else { return packets.len() };
        let mut lost = 0;
        while let Some(first) = packets.first() {
            let sent = match &mut address.how {
                How::Steered { raw, .. } => raw.send(packets),
                How::Sockets(sockets) => match sockets.get(&first.from.port()) {
                    Some(socket) => socket.send_to(first.payload, first.to).map(|_| 1),
                    None => Err(io::ErrorKind::NotFound.into()),
                },
            };
            let done = match sent {
                Ok(sent) => sent.max(1),
                Err(error) => {
                    let too_long = error.raw_os_error() == Some(libc::EMSGSIZE);
                    let fragments = too_long && !first.dont_fragment;
                    lost += usize::from(!(fragments && send_in_fragments(first).is_ok()));
                    1
                }
            };
            packets = &packets[done.min(packets.len())..];
        }
        lost
    }
}

impl RelayPorts for Lent {
    fn open(&mut self, relay: u8, port: u16) -> bool {
        let Some(address) = self.addresses.get_mut(usize::from(relay)) else { return false };
        match &mut address.how {
            How::Steered { steer, number, .. } => steer.open(port, *number),
            How::Sockets(sockets) => {
                let Ok(socket) = UdpSocket::bind((address.bind, port)) else { return false };
                let token = PORT_TOKEN | u64::from(relay) << 16 | u64::from(port);
                let watched = self.poller.as_ref().is_some_and(|p| p.add(&socket, token).is_ok());
                if !watched || socket.set_nonblocking(true).is_err() {
                    return false;
                }
                sockets.insert(port, socket);
                true
            }
        }
    }

    fn close(&mut self, relay: u8, port: u16) {
        let Some(address) = self.addresses.get_mut(usize::from(relay)) else { return };
        match &mut address.how {
            How::Steered { steer, .. } => steer.close(port),
            How::Sockets(sockets) => drop(sockets.remove(&port)),
        }
    }

    fn can_forbid_fragments(&self) -> bool {
        self.is_steered()
    }
}

/// One socket for each thread, and the program that leads ports to them.
fn steered(relay: &RelayAddress, count: usize) -> io::Result<Vec<How>> {
    let bound = |_| {
        let socket = UdpSocket::bind((relay.bind, 0))?;
        socket.set_nonblocking(true)?;
        tell_destinations(&socket)?;
        set_receive_buffer(&socket, RECEIVE_BUFFER);
        Ok(socket)
    };
    let sockets = (0..count).map(bound).collect::<io::Result<Vec<UdpSocket>>>()?;
    let steer = Arc::new(PortSteer::attach(relay.bind, &sockets)?);
    let ways = sockets.into_iter().enumerate().map(|(number, socket)| {
        let raw = RawUdp::new(relay.bind.is_ipv6())?;
        raw.set_send_buffer(SEND_BUFFER);
        Ok(How::Steered { steer: Arc::clone(&steer), number, socket, raw })
    });
    ways.collect()
}

/// What is longer than the path, by a socket that lets the kernel fragment. Rare, so it may cost.
fn send_in_fragments(packet: &RawPacket<'_>) -> io::Result<usize> {
    let from = SocketAddr::new(packet.from.ip(), packet.from.port());
    UdpSocket::bind(from)?.send_to(packet.payload, packet.to)
}
