//! Making the connections that [`super::dialled`] wants, and serving them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;
use sansio::{FlowId, Transport};
use sip::locate::NextHop;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::engine::{Engine, Origin};
use super::{stream, websocket};
use crate::config::Limits;
use crate::connecting::{self, ConnectError};
use crate::core::{CloseReason, ShardCore};

/// What connecting needs besides the hop.
#[derive(Debug, Clone)]
pub(crate) struct Dialling {
    /// For TLS and WSS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The addresses we connect from; wildcards are none.
    pub(crate) from: Vec<IpAddr>,
    /// The octet of what our connections send.
    pub(crate) tos: u8,
}

/// Connects whatever is wanted, for ever.
pub(crate) async fn dial_loop<C: ShardCore + 'static>(engine: Rc<Engine<C>>, dialling: Dialling) {
    let bell = Rc::clone(&engine.dialled.borrow().bell);
    loop {
        let wanted = engine.dialled.borrow_mut().next_wanted();
        match wanted {
            Some((flow, hop)) => {
                spawn_local(dial(Rc::clone(&engine), dialling.clone(), flow, hop));
            }
            None => bell.notified().await,
        }
    }
}

async fn dial<C: ShardCore>(engine: Rc<Engine<C>>, dialling: Dialling, flow: FlowId, hop: NextHop) {
    // Forgotten by the core meanwhile: whatever waited was given up with it.
    let Some(outbox) = engine.outbox(flow) else {
        return engine.stream_ended(flow, CloseReason::NoSuchFlow);
    };
    engine.counters.dialled.add(1);
    let work = connect(&hop, &dialling, &engine.limits);
    let connected = match tokio::time::timeout(engine.limits.connect, work).await {
        Ok(connected) => connected,
        Err(_) => Err(ConnectError::Io(io::ErrorKind::TimedOut.into())),
    };
    let (connection, local, peer) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            engine.counters.dials_failed.add(1);
            tracing::info!(%hop, %error, "no connection to the next hop");
            return engine.stream_ended(flow, reason(&error));
        }
    };
    engine.dialled.borrow_mut().connected(flow.id);
    if hop.transport.is_secure() {
        let name = hop.server_name.to_ascii_lowercase();
        engine.proof.flows.insert(flow, [name].into());
    }
    tracing::debug!(%hop, %flow, %peer, "connected to the next hop");
    let origin = Origin { transport: hop.transport, local, peer };
    match connection {
        Connection::Stream(io) => stream::serve_dialled(engine, io, origin, flow, outbox).await,
        Connection::WebSocket(socket) => {
            websocket::serve_dialled(engine, *socket, origin, flow, outbox).await;
        }
    }
}

enum Connection {
    Stream(Box<dyn connecting::Io>),
    WebSocket(Box<connecting::ClientWebSocket>),
}

async fn connect(
    hop: &NextHop,
    dialling: &Dialling,
    limits: &Limits,
) -> Result<(Connection, SocketAddr, SocketAddr), ConnectError> {
    let tcp = connecting::race(&hop.addrs, &dialling.from).await?;
    super::run::prepare(&tcp);
    crate::tos::mark(&tcp, tcp.local_addr()?.is_ipv6(), dialling.tos);
    let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
    let io = secure(hop, dialling, tcp).await?;
    let connection = match hop.transport {
        Transport::Ws | Transport::Wss => {
            let place = (hop.transport, hop.server_name.as_str(), peer.port(), "/sip");
            let socket = connecting::websocket(io, place, limits.max_message).await?;
            Connection::WebSocket(Box::new(socket))
        }
        _ => Connection::Stream(io),
    };
    Ok((connection, local, peer))
}

async fn secure(
    hop: &NextHop,
    dialling: &Dialling,
    tcp: TcpStream,
) -> Result<Box<dyn connecting::Io>, ConnectError> {
    if !hop.transport.is_secure() {
        return Ok(Box::new(tcp));
    }
    let config = dialling.tls.clone().ok_or(io::Error::other("no TLS for clients"))?;
    connecting::tls(tcp, config, (hop.transport, &hop.server_name)).await.map(|(io, _)| io)
}

fn reason(error: &ConnectError) -> CloseReason {
    match error {
        ConnectError::Untrusted(_) | ConnectError::Wildcard => CloseReason::Untrusted,
        ConnectError::Io(error) if error.kind() == io::ErrorKind::TimedOut => CloseReason::TimedOut,
        _ => CloseReason::Unreachable,
    }
}
