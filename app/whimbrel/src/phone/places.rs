//! The sockets of calls' media, and the streams to TURN servers beside them.
//!
//! ```text
//!   socket ──pump──┐                                    call ──► socket (by its address)
//!                  ├──► Arrival{local, what} ──► driver ──► engine
//!   stream ──task──┘                            (one socket more: prepared for the next call)
//! ```

use super::ice::Ice;
use super::nat64::Nat64;
use ::phone::{CallHandle, WayOutput};
use anyhow::Result;
use bytes::Bytes;
use media::traversal::StreamEvent;
use net::MediaSockets;
use net::client::{ByteStream, Endpoint};
use rtp::rtcp::Marks;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Media packets that may wait for the engine.
const MEDIA_QUEUE: usize = 256;
/// Packets that may wait for a stream: a second of sound. What is later is of no use.
const STREAM_QUEUE: usize = 50;

/// All of them.
pub struct Places {
    sockets: BTreeMap<SocketAddr, Sockets>,
    of_call: BTreeMap<CallHandle, SocketAddr>,
    streams: BTreeMap<(SocketAddr, u8), mpsc::Sender<Bytes>>,
    arrivals: (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>),
}

/// Something came to the media socket at `local`, or by a stream of its.
pub struct Arrival {
    pub local: SocketAddr,
    pub what: What,
}

pub enum What {
    /// A datagram.
    Packet { from: SocketAddr, bytes: Bytes },
    /// By the stream to this TURN server.
    Stream { server: u8, event: StreamEvent },
}

struct Sockets {
    pair: Arc<MediaSockets>,
    task: JoinHandle<()>,
}

impl Places {
    pub fn new() -> Self {
        Self {
            sockets: BTreeMap::new(),
            of_call: BTreeMap::new(),
            streams: BTreeMap::new(),
            arrivals: mpsc::channel(MEDIA_QUEUE),
        }
    }

    /// What comes next. Safe to cancel.
    pub async fn next(&mut self) -> Arrival {
        match self.arrivals.1.recv().await {
            Some(arrival) => arrival,
            // We hold a sender.
            None => std::future::pending().await,
        }
    }

    /// A socket on this address, listened to.
    ///
    /// # Errors
    /// No free ports, or an address that is not ours.
    pub fn bind(&mut self, ip: IpAddr) -> Result<SocketAddr> {
        let pair = Arc::new(MediaSockets::bind(ip)?);
        let local = pair.local_addr();
        let task = tokio::spawn(pump(Arc::clone(&pair), local, self.arrivals.0.clone()));
        self.sockets.insert(local, Sockets { pair, task });
        Ok(local)
    }

    /// The socket at `local` is this call's.
    pub fn adopt(&mut self, call: CallHandle, local: SocketAddr) {
        self.of_call.insert(call, local);
    }

    /// A call's socket.
    pub fn of(&self, call: CallHandle) -> Option<SocketAddr> {
        self.of_call.get(&call).copied()
    }

    /// How packets of the socket at `local` are marked.
    pub fn marks(&self, local: SocketAddr) -> Marks {
        let marks = |s: &Sockets| Marks::of_octets(s.pair.sent_tos(), s.pair.received_tos());
        self.sockets.get(&local).map(marks).unwrap_or_default()
    }

    /// The call that has this socket.
    pub fn call_at(&self, local: SocketAddr) -> Option<CallHandle> {
        self.of_call.iter().find(|(_, at)| **at == local).map(|(call, _)| *call)
    }

    /// Whether there is a call.
    pub fn has_calls(&self) -> bool {
        !self.of_call.is_empty()
    }

    /// The call is over.
    pub fn release(&mut self, call: CallHandle) {
        self.of_call.remove(&call);
    }

    /// Closes sockets that are neither a call's nor the `prepared` one.
    pub fn tidy(&mut self, prepared: Option<SocketAddr>) {
        let of_call = &self.of_call;
        let needed =
            |local: &SocketAddr| prepared == Some(*local) || of_call.values().any(|at| at == local);
        self.sockets.retain(|local, _| needed(local));
        self.streams.retain(|(local, _), _| needed(local));
    }

    /// Sends a packet of a call's.
    pub fn send(&self, local: SocketAddr, to: SocketAddr, bytes: &[u8], rtcp: bool) {
        if let Some(sockets) = self.sockets.get(&local) {
            // One packet more or less: the far end conceals it.
            sockets.pair.try_send(to, bytes, rtcp);
        }
    }

    /// Does what the ways of the socket at `local` want.
    pub fn follow(
        &mut self,
        local: SocketAddr,
        output: WayOutput,
        (ice, nat64): (&Ice, Option<Nat64>),
    ) {
        let translated = |at: SocketAddr| nat64.map_or(at, |nat| nat.toward(at));
        match output {
            WayOutput::Send { to, bytes } => self.send(local, translated(to), &bytes, false),
            WayOutput::OpenStream { server, at, transport } => {
                let Some(endpoint) = ice.endpoint(at, transport) else { return };
                let endpoint = Endpoint { addr: translated(at), ..endpoint };
                let (send, queue) = mpsc::channel(STREAM_QUEUE);
                self.streams.insert((local, server), send);
                tokio::spawn(stream(endpoint, queue, (local, server), self.arrivals.0.clone()));
            }
            WayOutput::Stream { server, bytes } => {
                if let Some(stream) = self.streams.get(&(local, server)) {
                    // A stream that is slower than sound loses some of it, as a datagram would.
                    let _ = stream.try_send(bytes);
                }
            }
            // Its task sends what is queued, and closes it.
            WayOutput::CloseStream { server } => drop(self.streams.remove(&(local, server))),
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(sockets: Arc<MediaSockets>, local: SocketAddr, to: mpsc::Sender<Arrival>) {
    loop {
        let (bytes, from) = sockets.recv().await;
        if to.send(Arrival { local, what: What::Packet { from, bytes } }).await.is_err() {
            return;
        }
    }
}

/// One connection to a TURN server, to its end.
async fn stream(
    endpoint: Endpoint,
    mut queue: mpsc::Receiver<Bytes>,
    (local, server): (SocketAddr, u8),
    tell: mpsc::Sender<Arrival>,
) {
    let told = |event| Arrival { local, what: What::Stream { server, event } };
    let mut connection = match ByteStream::connect(endpoint).await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::info!(%error, "no connection to the TURN server");
            // The phone may have ended.
            let _ = tell.send(told(StreamEvent::Down)).await;
            return;
        }
    };
    if tell.send(told(StreamEvent::Up)).await.is_err() {
        return;
    }
    loop {
        let failed = tokio::select! {
            received = connection.recv() => match received {
                Ok(bytes) => tell.send(told(StreamEvent::Bytes(bytes))).await.is_err(),
                Err(error) => {
                    tracing::info!(%error, "the TURN server");
                    let _ = tell.send(told(StreamEvent::Down)).await;
                    true
                }
            },
            bytes = queue.recv() => match bytes {
                Some(bytes) => connection.send(&bytes).await.is_err(),
                None => return connection.close().await,
            },
        };
        if failed {
            return;
        }
    }
}
