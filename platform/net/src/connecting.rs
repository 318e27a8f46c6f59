//! The steps of a connection that is made by us: TCP to the fastest of several addresses
//! (RFC 8305), TLS with a name that is proved (RFC 5922), WebSocket (RFC 7118).

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use sansio::Transport;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, handshake::client::Request};

use crate::proof::names_exactly;
use crate::ws;

/// How long an address has before the next one is tried beside it (RFC 8305 §5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A byte stream of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Io for T {}

/// A WebSocket opened by us.
pub(crate) type ClientWebSocket = WebSocketStream<Box<dyn Io>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its certificate is not trusted: {0}")]
    Untrusted(rustls::Error),
    #[error("its certificate proves the name by a wildcard only (RFC 5922 §7.2)")]
    Wildcard,
    #[error("the WebSocket was refused: {0}")]
    WebSocket(String),
}

/// Connects to the first address that answers, each a little after the one before.
pub(crate) async fn race(addrs: &[SocketAddr], from: &[IpAddr]) -> io::Result<TcpStream> {
    first_of(addrs.iter().map(|addr| tcp(*addr, from)).collect(), ATTEMPT_DELAY).await
}

/// The first success. The next attempt starts when its turn comes, or when all before it failed.
async fn first_of<T>(
    attempts: Vec<impl Future<Output = io::Result<T>>>,
    delay: Duration,
) -> io::Result<T> {
    let mut waiting = attempts.into_iter();
    let mut running = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if running.is_empty() {
            match waiting.next() {
                Some(attempt) => running.push(attempt),
                None => return Err(last),
            }
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(ended) = running.next() => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    last = error;
                    running.extend(waiting.next());
                }
            },
            () = tokio::time::sleep(delay), if more => running.extend(waiting.next()),
        }
    }
}

async fn tcp(addr: SocketAddr, from: &[IpAddr]) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = crate::route::own_address(from, addr.ip()) {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(addr).await
}

/// TLS with a server that proves `name`: a domain, or an address. Where SIP is spoken on it without
/// HTTP in between, a wildcard proves nothing (RFC 5922 §7.2): who holds it may be any host.
/// Also whether a session was resumed.
pub(crate) async fn tls<S: Io + 'static>(
    tcp: S,
    config: Arc<ClientConfig>,
    (transport, name): (Transport, &str),
) -> Result<(Box<dyn Io>, bool), ConnectError> {
    let bare = name.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(bare).map_err(io::Error::other)?;
    match TlsConnector::from(config).connect(name.clone(), tcp).await {
        Ok(tls) => {
            let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
            if transport == Transport::Tls && !shown.is_some_and(|cert| names_exactly(cert, &name))
            {
                return Err(ConnectError::Wildcard);
            }
            let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            Ok((Box::new(tls), resumed))
        }
        Err(error) => Err(match error.get_ref().and_then(|e| e.downcast_ref()) {
            Some(source @ rustls::Error::InvalidCertificate(_)) => {
                ConnectError::Untrusted(source.clone())
            }
            _ => ConnectError::Io(error),
        }),
    }
}

/// The WebSocket handshake on a stream; transport, name, port and path make the URI.
pub(crate) async fn websocket(
    io: Box<dyn Io>,
    place: (Transport, &str, u16, &str),
    max_message: usize,
) -> Result<ClientWebSocket, ConnectError> {
    let refused = |reason: String| ConnectError::WebSocket(reason);
    let request = request(place).map_err(|e| refused(e.to_string()))?;
    let config = Some(ws::config(max_message));
    match tokio_tungstenite::client_async_with_config(request, io, config).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(refused(response.status().to_string())),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn request((transport, name, port, path): (Transport, &str, u16, &str)) -> Result<Request, Error> {
    let scheme = if transport.is_secure() { "wss" } else { "ws" };
    let host = match name.parse::<Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => name.to_owned(),
    };
    let mut request = format!("{scheme}://{host}:{port}{path}").into_client_request()?;
    // tungstenite refuses an answer that does not pick the subprotocol.
    let protocol = HeaderValue::from_static(ws::SUBPROTOCOL);
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NEVER: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(1);

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    #[tokio::test]
    async fn r1_4_a_silent_address_does_not_hold_up_the_next() {
        let attempt = |n: u32| async move { if n == 0 { pending().await } else { Ok(n) } };
        let attempts = (0..3).map(attempt).collect();
        assert!(first_of(attempts, SOON).await.unwrap() > 0);
    }

    #[tokio::test]
    async fn r1_4_an_address_that_answers_in_time_is_the_only_one_tried() {
        static TRIED: AtomicUsize = AtomicUsize::new(0);
        let attempt = |n: u32| async move {
            TRIED.fetch_add(1, Ordering::Relaxed);
            Ok(n)
        };
        assert_eq!(first_of((0..3).map(attempt).collect(), NEVER).await.unwrap(), 0);
        assert_eq!(TRIED.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_refusal_hands_on_at_once_and_the_last_one_is_told() {
        let attempt = |n: u32| async move { if n < 2 { Err(refused()) } else { Ok(n) } };
        assert_eq!(first_of((0..3).map(attempt).collect(), NEVER).await.unwrap(), 2);
        let error = first_of((0..2).map(attempt).collect(), NEVER).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
