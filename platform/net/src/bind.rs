//! Opening sockets, all or none, several on one port.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetError;

/// Length of the queue of connections not yet accepted, per shard.
const BACKLOG: i32 = 1024;

/// `count` UDP sockets on one address, among which the kernel spreads the peers: one peer always
/// to one socket. They do not block.
///
/// # Errors
/// The port is in use or forbidden, or the address not ours.
pub fn udp(
    addr: SocketAddr,
    count: u16,
    receive_buffer: usize,
    tos: u8,
) -> Result<Vec<UdpSocket>, NetError> {
    many(addr, count, "udp", |addr, share| {
        let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
        crate::tos::mark(&socket, addr.is_ipv6(), tos);
        socket.set_reuse_port(share)?;
        // The kernel caps it at net.core.rmem_max; a smaller buffer still works.
        let _ = socket.set_recv_buffer_size(receive_buffer);
        socket.bind(&addr.into())?;
        Ok(UdpSocket::from(socket))
    })
}

/// `count` listening sockets on one address.
pub(crate) fn tcp(
    addr: SocketAddr,
    count: u16,
    what: &'static str,
    tos: u8,
) -> Result<Vec<TcpListener>, NetError> {
    many(addr, count, what, |addr, share| {
        let socket = open(addr, Type::STREAM, Protocol::TCP)?;
        crate::tos::mark(&socket, addr.is_ipv6(), tos);
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(share)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    })
}

/// The first socket is tried without SO_REUSEPORT: with it, a second server of the same user would
/// silently share the port instead of being told that it is taken.
fn many<S: LocalAddr>(
    addr: SocketAddr,
    count: u16,
    what: &'static str,
    open: impl Fn(SocketAddr, bool) -> io::Result<S>,
) -> Result<Vec<S>, NetError> {
    let error = |source| NetError::listen(what, addr, source);
    let probe = open(addr, false).map_err(error)?;
    let addr = probe.local_addr().map_err(error)?;
    drop(probe);
    (0..count.max(1)).map(|_| open(addr, true).map_err(error)).collect()
}

fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

trait LocalAddr {
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl LocalAddr for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl LocalAddr for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_sockets_share_a_port_that_no_second_server_gets() {
        let ours = udp("127.0.0.1:0".parse().unwrap(), 4, 1 << 20, 0).unwrap();
        let addr = ours[3].local_addr().unwrap();
        let error = udp(addr, 4, 1 << 20, 0).unwrap_err().to_string();
        let port = addr.port();
        assert_eq!(
            error,
            format!(
                "port {port}/udp on 127.0.0.1 is in use: stop the other server, or change [ports], --listen-ip or [[interface]]"
            )
        );
        let ours = tcp("127.0.0.1:0".parse().unwrap(), 2, "tls", 0).unwrap();
        let error = tcp(ours[0].local_addr().unwrap(), 2, "tls", 0).unwrap_err();
        assert!(matches!(error, NetError::PortInUse { what: "tls", .. }), "{error}");
    }

    #[test]
    fn an_address_that_is_not_ours_is_named() {
        let error = tcp("192.0.2.77:5060".parse().unwrap(), 1, "tcp", 0).unwrap_err().to_string();
        assert!(error.contains("192.0.2.77") && error.contains("--listen-ip"), "{error}");
    }
}
