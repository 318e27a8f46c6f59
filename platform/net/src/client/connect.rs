//! Making the connection: socket, TLS, WebSocket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use sansio::Transport;
use sip::StreamFramer;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, handshake::client::Request};

use super::{DATAGRAM_MAX, Endpoint, Inner, Stream};
use crate::error::NetError;
use crate::ws;

/// The connection and our address on it.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<(Inner, SocketAddr), NetError> {
    match tokio::time::timeout(endpoint.timeout, try_connect(endpoint)).await {
        Ok(result) => result,
        Err(_) => Err(unreachable(endpoint, io::ErrorKind::TimedOut.into())),
    }
}

async fn try_connect(endpoint: &Endpoint) -> Result<(Inner, SocketAddr), NetError> {
    let failed = |source| unreachable(endpoint, source);
    if endpoint.transport == Transport::Udp {
        let socket = udp(endpoint).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let buffer = vec![0; DATAGRAM_MAX].into_boxed_slice();
        return Ok((Inner::Udp { socket, buffer }, local));
    }
    let tcp = tcp(endpoint).await.map_err(failed)?;
    let local = tcp.local_addr().map_err(failed)?;
    let io: Box<dyn Stream> =
        if endpoint.transport.is_secure() { tls(endpoint, tcp).await? } else { Box::new(tcp) };
    let inner = match endpoint.transport {
        Transport::Ws | Transport::Wss => websocket(endpoint, io).await?,
        _ => Inner::Stream { io, framer: StreamFramer::default(), buffer: BytesMut::new() },
    };
    Ok((inner, local))
}

async fn udp(endpoint: &Endpoint) -> io::Result<UdpSocket> {
    let any: SocketAddr = match endpoint.addr {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(endpoint.local.unwrap_or(any)).await?;
    socket.connect(endpoint.addr).await?;
    Ok(socket)
}

async fn tcp(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let socket = match endpoint.addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(local) = endpoint.local {
        socket.bind(local)?;
    }
    let tcp = socket.connect(endpoint.addr).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn tls(endpoint: &Endpoint, tcp: TcpStream) -> Result<Box<dyn Stream>, NetError> {
    let failed = |source| unreachable(endpoint, source);
    let config = match &endpoint.tls {
        Some(config) => config.clone(),
        None => crate::tls::client_config(&[], true)?,
    };
    let bare = endpoint.name.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(bare).map_err(|e| failed(io::Error::other(e)))?;
    match TlsConnector::from(config).connect(name, tcp).await {
        Ok(tls) => Ok(Box::new(tls)),
        Err(error) => Err(match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(source @ rustls::Error::InvalidCertificate(_)) => NetError::Untrusted {
                addr: endpoint.addr,
                name: endpoint.name.clone(),
                source: source.clone(),
            },
            _ => failed(error),
        }),
    }
}

async fn websocket(endpoint: &Endpoint, io: Box<dyn Stream>) -> Result<Inner, NetError> {
    let refused = |reason: String| NetError::WebSocketRefused {
        addr: endpoint.addr,
        path: endpoint.path.clone(),
        reason,
    };
    let request = request(endpoint).map_err(|e| refused(e.to_string()))?;
    let config = Some(ws::config(65_536));
    let connected = tokio_tungstenite::client_async_with_config(request, io, config).await;
    match connected {
        Ok((socket, _)) => Ok(Inner::WebSocket(Box::new(socket))),
        Err(Error::Http(response)) => Err(refused(response.status().to_string())),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn request(endpoint: &Endpoint) -> Result<Request, Error> {
    let scheme = if endpoint.transport.is_secure() { "wss" } else { "ws" };
    let host = match endpoint.name.parse::<Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => endpoint.name.clone(),
    };
    let port = endpoint.addr.port();
    let uri = format!("{scheme}://{host}:{port}{}", endpoint.path);
    let mut request = uri.into_client_request()?;
    // tungstenite refuses an answer that does not pick the subprotocol.
    let protocol = HeaderValue::from_static(ws::SUBPROTOCOL);
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    Ok(request)
}

fn unreachable(endpoint: &Endpoint, source: io::Error) -> NetError {
    NetError::Connect { transport: endpoint.transport, addr: endpoint.addr, source }
}
