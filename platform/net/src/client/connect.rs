//! Making the connection: socket, TLS, WebSocket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use sansio::Transport;
use sip::StreamFramer;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::cost::{HandshakeCost, Meter, Metered, Timed};
use super::keep_alive::UdpKeepAlive;
use super::{DATAGRAM_MAX, Endpoint, Inner};
use crate::connecting::{self, ConnectError, Io};
use crate::error::NetError;

/// A connection that was made.
pub(super) struct Made {
    pub(super) inner: Inner,
    /// Our address on it.
    pub(super) local: SocketAddr,
    pub(super) meter: Meter,
    pub(super) handshake: Option<HandshakeCost>,
}

/// Makes the connection within the endpoint's patience.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<Made, NetError> {
    match tokio::time::timeout(endpoint.timeout, try_connect(endpoint)).await {
        Ok(result) => result,
        Err(_) => Err(unreachable(endpoint, io::ErrorKind::TimedOut.into())),
    }
}

async fn try_connect(endpoint: &Endpoint) -> Result<Made, NetError> {
    let failed = |source| unreachable(endpoint, source);
    let meter = Meter::default();
    if endpoint.transport == Transport::Udp {
        let socket = udp(endpoint).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let buffer = vec![0; DATAGRAM_MAX].into_boxed_slice();
        let inner = Inner::Udp { socket, buffer, keep_alive: UdpKeepAlive::default() };
        return Ok(Made { inner, local, meter, handshake: None });
    }
    let tcp = tcp(endpoint).await.map_err(failed)?;
    let local = tcp.local_addr().map_err(failed)?;
    let tcp = Metered::new(tcp, meter.clone());
    let (made, cpu) = Timed::new(shake_hands(endpoint, tcp)).await;
    let (inner, resumed) = made?;
    let handshake = resumed.map(|resumed| {
        let (sent, received) = (meter.sent(), meter.received());
        HandshakeCost { cpu, sent, received, resumed }
    });
    Ok(Made { inner, local, meter, handshake })
}

/// TLS and WebSocket, as the transport wants; with TLS whether a session was resumed.
async fn shake_hands(
    endpoint: &Endpoint,
    tcp: Metered<TcpStream>,
) -> Result<(Inner, Option<bool>), NetError> {
    let (io, resumed): (Box<dyn Io>, _) = match endpoint.transport.is_secure() {
        true => tls(endpoint, tcp).await.map(|(io, resumed)| (io, Some(resumed)))?,
        false => (Box::new(tcp), None),
    };
    let inner = match endpoint.transport {
        Transport::Ws | Transport::Wss => websocket(endpoint, io).await?,
        _ => {
            let (framer, buffer) = (StreamFramer::default(), BytesMut::new());
            Inner::Stream { io, framer, buffer, asked: false }
        }
    };
    Ok((inner, resumed))
}

async fn udp(endpoint: &Endpoint) -> io::Result<UdpSocket> {
    let any: SocketAddr = match endpoint.addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(endpoint.local.unwrap_or(any)).await?;
    crate::tos::mark(&socket, endpoint.addr.is_ipv6(), crate::tos::CS5);
    socket.connect(endpoint.addr).await?;
    Ok(socket)
}

pub(super) async fn tcp(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let socket = match endpoint.addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    crate::tos::mark(&socket, endpoint.addr.is_ipv6(), crate::tos::CS5);
    if let Some(local) = endpoint.local {
        socket.bind(local)?;
    }
    let tcp = socket.connect(endpoint.addr).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

pub(super) async fn tls(
    endpoint: &Endpoint,
    tcp: Metered<TcpStream>,
) -> Result<(Box<dyn Io>, bool), NetError> {
    let config = match &endpoint.tls {
        Some(config) => config.clone(),
        None => crate::tls::client_config(&[], true)?,
    };
    let proves = (endpoint.transport, endpoint.name.as_str());
    connecting::tls(tcp, config, proves).await.map_err(|e| refused(endpoint, e))
}

async fn websocket(endpoint: &Endpoint, io: Box<dyn Io>) -> Result<Inner, NetError> {
    let (transport, port) = (endpoint.transport, endpoint.addr.port());
    let place = (transport, endpoint.name.as_str(), port, endpoint.path.as_str());
    let socket = connecting::websocket(io, place, 65_536).await;
    Ok(Inner::WebSocket(Box::new(socket.map_err(|e| refused(endpoint, e))?)))
}

fn refused(endpoint: &Endpoint, error: ConnectError) -> NetError {
    let (addr, name) = (endpoint.addr, endpoint.name.clone());
    match error {
        ConnectError::Io(source) => unreachable(endpoint, source),
        ConnectError::Untrusted(source) => NetError::Untrusted { addr, name, source },
        ConnectError::Wildcard => NetError::Wildcard { addr, name },
        ConnectError::WebSocket(reason) => {
            NetError::WebSocketRefused { addr, path: endpoint.path.clone(), reason }
        }
    }
}

pub(super) fn unreachable(endpoint: &Endpoint, source: io::Error) -> NetError {
    NetError::Connect { transport: endpoint.transport, addr: endpoint.addr, source }
}
