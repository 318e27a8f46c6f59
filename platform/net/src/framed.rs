//! Streams of messages that say how long they are, over TCP and TLS, for a user that works in
//! threads of its own: TURN.
//!
//! ```text
//!   accept ─► (TLS) ─► read ─► FrameSink::frame_len ─► FrameSink::received
//!                      write ◄─ Outlet::try_send (bounded; what does not fit is lost, as a datagram)
//! ```
//!
//! A connection that has nothing to show for itself ([`Outlet::keep`]) is closed after half a
//! minute; each source has a limited number of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::bind;
use crate::error::NetError;

/// How long a connection may be of no use: a handshake, or no message that made it [kept].
///
/// [kept]: Outlet::keep
const IDLE: Duration = Duration::from_secs(30);
/// Messages that wait to be written to one connection.
const QUEUE: usize = 256;
/// The longest message.
const FRAME_MAX: usize = 8 * 1024;
/// The rest after the system refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a user of streams does with them. Called from the thread of the streams: be quick.
pub trait FrameSink: Send + Sync + 'static {
    /// How long the message is that `bytes` begin with; `None` if that is not to be seen yet.
    ///
    /// # Errors
    /// The stream makes no sense any more and is closed.
    fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, NotAFrame>;
    /// A connection is there.
    fn opened(&self, connection: u64, peer: SocketAddr, outlet: Outlet);
    /// A message came by it.
    fn received(&self, connection: u64, frame: &[u8]);
    /// It is gone.
    fn closed(&self, connection: u64);
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAFrame;

/// The way to a connection. Dropping it closes the connection.
#[derive(Debug, Clone)]
pub struct Outlet {
    queue: mpsc::Sender<Bytes>,
    kept: Arc<AtomicBool>,
}

impl Outlet {
    /// Queues a message; false if it is lost, because the connection is slow or gone.
    pub fn try_send(&self, message: Bytes) -> bool {
        self.queue.try_send(message).is_ok()
    }

    /// Whether the connection may stay open though nothing comes by it.
    pub fn keep(&self, kept: bool) {
        self.kept.store(kept, Ordering::Relaxed);
    }
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramedLimits {
    /// Of all sources.
    pub connections: usize,
    /// Of one address.
    pub per_source: usize,
}

/// Bound listeners, not yet serving.
#[derive(Debug)]
pub struct FramedListeners {
    listeners: Vec<(TcpListener, Option<Arc<rustls::ServerConfig>>)>,
    limits: FramedLimits,
}

impl FramedListeners {
    /// None yet.
    pub fn new(limits: FramedLimits) -> Self {
        Self { listeners: Vec::new(), limits }
    }

    /// Binds one more, with TLS or without; its address with the true port.
    ///
    /// # Errors
    /// The port is in use or forbidden, or the address not ours.
    pub fn bind(
        &mut self,
        addr: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<SocketAddr, NetError> {
        let what = if tls.is_some() { "turns" } else { "turn" };
        let error = |source| NetError::listen(what, addr, source);
        let listener = bind::tcp(addr, 1, what, 0)?.pop();
        let listener = listener.ok_or_else(|| error(io::ErrorKind::Other.into()))?;
        let addr = listener.local_addr().map_err(error)?;
        self.listeners.push((listener, tls));
        Ok(addr)
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    /// The system gave no thread or runtime.
    pub fn spawn(self, sink: Arc<dyn FrameSink>) -> Result<FramedThread, NetError> {
        let failed = |source| NetError::Thread { what: "the streams", source };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let stop = watch::Sender::new(false);
        let mut stopped = stop.subscribe();
        let shared = Arc::new(Streams {
            sink,
            limits: self.limits,
            next: AtomicU64::new(0),
            sources: Mutex::default(),
        });
        let body = move || {
            runtime.block_on(async move {
                for (listener, tls) in self.listeners {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), shared));
                }
                // An error means that the handle is gone: stop as well.
                let _ = stopped.wait_for(|stop| *stop).await;
            });
        };
        let thread = std::thread::Builder::new().name("streams".to_owned()).spawn(body);
        Ok(FramedThread { stop, thread: Some(thread.map_err(failed)?) })
    }
}

/// The thread of the streams; dropping it closes them all.
#[derive(Debug)]
pub struct FramedThread {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for FramedThread {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Streams {
    sink: Arc<dyn FrameSink>,
    limits: FramedLimits,
    next: AtomicU64,
    /// Connections of each source, and of all.
    sources: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// A connection's place among those allowed.
struct Place {
    streams: Arc<Streams>,
    source: IpAddr,
}

impl Place {
    fn take(streams: &Arc<Streams>, source: IpAddr) -> Option<Self> {
        let mut sources = streams.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = sources.1.get(&source).copied().unwrap_or(0);
        if sources.0 >= streams.limits.connections || of_source >= streams.limits.per_source {
            return None;
        }
        sources.0 += 1;
        sources.1.insert(source, of_source + 1);
        Some(Self { streams: Arc::clone(streams), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.streams.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.0 -= 1;
        if let Some(count) = sources.1.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.1.remove(&self.source);
            }
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, streams: Arc<Streams>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "streams are not accepted"),
    };
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                // Full: the connection is dropped at once.
                if let Some(place) = Place::take(&streams, peer.ip().to_canonical()) {
                    tokio::spawn(connection(tcp, peer, tls.clone(), place));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a stream");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, place: Place) {
    // Small messages, each wanted at once.
    let _ = tcp.set_nodelay(true);
    match tls {
        None => serve(tcp, peer, place).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(IDLE, tls.accept(tcp)).await {
                serve(stream, peer, place).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite, peer: SocketAddr, place: Place) {
    let streams = &place.streams;
    let number = streams.next.fetch_add(1, Ordering::Relaxed);
    let (queue, waiting) = mpsc::channel(QUEUE);
    let kept = Arc::<AtomicBool>::default();
    streams.sink.opened(number, peer, Outlet { queue, kept: Arc::clone(&kept) });
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read(reader, streams, number, &kept) => {}
        () = write(writer, waiting) => {}
    }
    streams.sink.closed(number);
}

/// Until the stream ends, makes no sense, or is of no use.
async fn read(reader: impl AsyncRead, streams: &Streams, number: u64, kept: &AtomicBool) {
    let mut reader = std::pin::pin!(reader);
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        match tokio::time::timeout(IDLE, reader.read_buf(&mut buffer)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return,
            Err(_) if kept.load(Ordering::Relaxed) => continue,
            Err(_) => return,
        }
        loop {
            match streams.sink.frame_len(&buffer) {
                Ok(Some(len)) if len <= buffer.len() => {
                    streams.sink.received(number, &buffer[..len]);
                    buffer.advance(len);
                }
                Ok(Some(len)) if len > FRAME_MAX => return,
                Ok(_) => break,
                Err(NotAFrame) => return,
            }
        }
        buffer.reserve(1024);
    }
}

/// Until every outlet is gone or the stream ends. What waits together leaves together.
async fn write(writer: impl AsyncWrite, mut waiting: mpsc::Receiver<Bytes>) {
    let mut writer = std::pin::pin!(writer);
    let mut together = BytesMut::new();
    while let Some(first) = waiting.recv().await {
        together.extend_from_slice(&first);
        while let Ok(next) = waiting.try_recv() {
            together.extend_from_slice(&next);
        }
        if writer.write_all(&together).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        together.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// The first byte of a frame is its length; zero is no frame.
    struct Lengths(SyncSender<(u64, Vec<u8>)>, Mutex<HashMap<u64, Outlet>>);

    impl FrameSink for Lengths {
        fn frame_len(&self, bytes: &[u8]) -> Result<Option<usize>, NotAFrame> {
            match bytes.first() {
                Some(0) => Err(NotAFrame),
                first => Ok(first.map(|len| usize::from(*len))),
            }
        }
        fn opened(&self, connection: u64, _: SocketAddr, outlet: Outlet) {
            self.1.lock().unwrap().insert(connection, outlet);
        }
        fn received(&self, connection: u64, frame: &[u8]) {
            let back = Bytes::copy_from_slice(frame);
            assert!(self.1.lock().unwrap()[&connection].try_send(back));
            self.0.send((connection, frame.to_vec())).unwrap();
        }
        fn closed(&self, connection: u64) {
            self.1.lock().unwrap().remove(&connection);
            let _ = self.0.send((connection, Vec::new()));
        }
    }

    fn start(per_source: usize) -> (FramedThread, SocketAddr, Receiver<(u64, Vec<u8>)>) {
        let mut listeners = FramedListeners::new(FramedLimits { connections: 10, per_source });
        let addr = listeners.bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let (sender, receiver) = sync_channel(100);
        let sink = Arc::new(Lengths(sender, Mutex::default()));
        (listeners.spawn(sink).unwrap(), addr, receiver)
    }

    #[test]
    fn messages_are_cut_out_of_a_stream_and_answered_by_it() {
        let (thread, addr, received) = start(10);
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        client.write_all(&[2, 7, 3, 8]).unwrap();
        assert_eq!(received.recv().unwrap(), (0, vec![2, 7]));
        client.write_all(&[9]).unwrap();
        assert_eq!(received.recv().unwrap(), (0, vec![3, 8, 9]));
        let mut back = [0; 5];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, [2, 7, 3, 8, 9]);
        client.write_all(&[0]).unwrap();
        assert_eq!(received.recv().unwrap(), (0, vec![]), "what makes no sense closes the stream");
        assert_eq!(client.read(&mut back).unwrap(), 0);
        drop(thread);
        assert!(std::net::TcpStream::connect(addr).is_err(), "the listener is gone");
    }

    #[test]
    fn a_source_has_only_so_many_connections_and_gets_places_back() {
        let (_thread, addr, received) = start(1);
        let mut first = std::net::TcpStream::connect(addr).unwrap();
        first.write_all(&[2, 7]).unwrap();
        assert_eq!(received.recv().unwrap(), (0, vec![2, 7]));
        let mut second = std::net::TcpStream::connect(addr).unwrap();
        assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0, "closed at once");
        drop(first);
        assert_eq!(received.recv().unwrap(), (0, vec![]));
        let mut third = std::net::TcpStream::connect(addr).unwrap();
        third.write_all(&[1]).unwrap();
        assert_eq!(received.recv().unwrap(), (1, vec![1]));
    }
}
