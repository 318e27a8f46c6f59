//! HTTP and HTTPS: hyper on TLS, the SIP WebSocket at `/sip` taken out, the rest for a handler.
//!
//! The handler is a hyper [`Service`]; an axum `Router` becomes one by
//! `hyper_util::service::TowerToHyperService`, a closure by [`hyper::service::service_fn`]. Each
//! request carries a [`ClientAddr`] among its extensions.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

mod upgrade;

use crate::bind;
use crate::error::NetError;
use crate::server_stream::{MovableTcp, ServerStream};
use crate::shard::WebSocketDoor;

/// How long answers under way may take after the server was told to stop.
const GRACE: Duration = Duration::from_secs(2);
/// The head of a request, in bytes.
const HEAD_MAX: usize = 64 * 1024;
/// The rest after the system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an HTTP server serves besides its handler.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// With it HTTPS ([`crate::ServerTls::https_config`]), without it plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Where WebSockets at `/sip` go; without it the handler sees those requests, too.
    pub websockets: Option<WebSocketDoor>,
    /// Connections at a time (WebSockets, once handed over, do not count).
    pub max_connections: usize,
    /// How long a client may take for a TLS handshake, and for the head of a request.
    pub head_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tls: None,
            websockets: None,
            max_connections: 4096,
            head_timeout: Duration::from_secs(15),
        }
    }
}

/// Who sent a request; in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddr {
    /// The client.
    pub peer: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// Whether by HTTPS.
    pub secure: bool,
}

/// A bound HTTP listener, not yet serving.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    addr: SocketAddr,
    options: HttpOptions,
}

impl HttpServer {
    /// Binds the address.
    ///
    /// # Errors
    /// The port is in use or forbidden, or the address not ours.
    pub fn bind(addr: SocketAddr, options: HttpOptions) -> Result<Self, NetError> {
        let what = if options.tls.is_some() { "https" } else { "http" };
        let error = |source| NetError::listen(what, addr, source);
        let mut listeners = bind::tcp(addr, 1, what, 0)?;
        let listener = listeners.pop().ok_or_else(|| error(std::io::ErrorKind::Other.into()))?;
        let addr = listener.local_addr().map_err(error)?;
        Ok(Self { listener, addr, options })
    }

    /// The address with its true port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves in the caller's tokio runtime until `stop` is ready; answers under way get two
    /// seconds more.
    ///
    /// # Errors
    /// The runtime refused the listener.
    pub async fn serve<S, B>(
        self,
        service: S,
        stop: impl Future<Output = ()>,
    ) -> Result<(), NetError>
    where
        S: Handler<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let error = |source| NetError::listen("http", self.addr, source);
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(error)?;
        let places = Arc::new(Semaphore::new(self.options.max_connections.max(1)));
        let stopping = watch::Sender::new(false);
        let options = Arc::new(self.options);
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.as_mut() => break,
            };
            match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((tcp, _)), Ok(place)) => {
                    let guard = Guard { _place: place, stopping: stopping.subscribe() };
                    tokio::spawn(connection(tcp, Arc::clone(&options), service.clone(), guard));
                }
                // Full: the connection is dropped at once.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        stopping.send_replace(true);
        let _ = tokio::time::timeout(GRACE, stopping.closed()).await;
        Ok(())
    }

    /// Serves on a thread of its own with a current-thread runtime.
    ///
    /// # Errors
    /// The system gave no thread or runtime.
    pub fn spawn<S, B>(self, service: S) -> Result<HttpThread, NetError>
    where
        S: Handler<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let failed = |source| NetError::Thread { what: "the HTTP server", source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (addr, stop) = (self.addr, watch::Sender::new(false));
        let mut stopped = stop.subscribe();
        let serve = async move {
            // An error means that the handle is gone: stop as well.
            let stopped = async move { drop(stopped.wait_for(|s| *s).await) };
            if let Err(error) = self.serve(service, stopped).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        };
        let body = move || runtime.block_on(serve);
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(body);
        Ok(HttpThread { addr, stop, thread: Some(thread.map_err(failed)?) })
    }
}

/// A handler of requests: a cloneable hyper service. Implemented by all of them.
pub trait Handler<B>:
    Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<B, S> Handler<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// An HTTP server on its own thread; dropping it stops it.
#[derive(Debug)]
pub struct HttpThread {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpThread {
    /// The address with its true port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, gives answers under way two seconds, waits for the thread. Blocks.
    pub fn shutdown(self) {}
}

impl Drop for HttpThread {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the HTTP server's thread panicked");
        }
    }
}

type Plain = Response<Full<Bytes>>;

/// What a connection holds until it ends or becomes a WebSocket.
struct Guard {
    _place: OwnedSemaphorePermit,
    stopping: watch::Receiver<bool>,
}

async fn connection<S, B>(tcp: TcpStream, options: Arc<HttpOptions>, service: S, mut guard: Guard)
where
    S: Handler<B>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let _ = tcp.set_nodelay(true);
    let tcp = MovableTcp::new(tcp);
    // Without an address the client is already gone.
    let Ok((local, peer)) = tcp.addrs() else { return };
    let stream = match options.tls.clone().map(TlsAcceptor::from) {
        None => ServerStream::Plain(tcp),
        Some(acceptor) => {
            match tokio::time::timeout(options.head_timeout, acceptor.accept(tcp)).await {
                Ok(Ok(tls)) => ServerStream::Tls(Box::new(tls)),
                Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
                Err(_) => return,
            }
        }
    };
    let client = ClientAddr { peer, local, secure: stream.is_secure() };
    let door = options.websockets.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        let upgrade = door.as_ref().filter(|_| upgrade::is_sip(&request)).cloned();
        let service = service.clone();
        async move {
            match upgrade {
                Some(door) => Ok(upgrade::answer(request, door, client).map(Either::Right)),
                None => service.call(request).await.map(|r| r.map(Either::Left)),
            }
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(HEAD_MAX);
    let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut served = std::pin::pin!(served);
    // An error means that the server is gone, which is as good a reason to stop.
    let stopping = async { drop(guard.stopping.wait_for(|s| *s).await) };
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stopping => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "HTTP connection ended");
    }
}
