//! A shard's UDP sockets: batched both ways.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sansio::Transport;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::engine::{Engine, Origin};
use crate::batch::{BATCH_MAX, RecvBatch, cannot_join, queued_bytes, send_batch, send_joined};
use crate::core::{Datagram, ShardCore, begins_message};
use crate::stats::Counters;

/// Datagrams that may wait for the kernel to take them.
const QUEUE_MAX: usize = 4096;

/// What the kernel counts for one waiting SIP datagram, its bookkeeping included.
const QUEUED_DATAGRAM_BYTES: usize = 1_280;

/// The rest when there is no descriptor left to wait for room with.
const ROOM_PAUSE: Duration = Duration::from_millis(5);

/// One UDP socket with its unsent datagrams.
///
/// It is watched for what arrives alone: the kernel tells that there is room (`EPOLLOUT`) after
/// each datagram that has left, and a shard would look twice for each batch.
#[derive(Debug)]
pub(crate) struct UdpPort {
    socket: AsyncFd<UdpSocket>,
    queue: RefCell<VecDeque<(SocketAddr, Bytes)>>,
    blocked: Notify,
    /// Whether the kernel and the interfaces let datagrams leave joined.
    joins: Cell<bool>,
}

impl UdpPort {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let socket = watched(socket, Interest::READABLE)?;
        let (blocked, joins) = (Notify::new(), Cell::new(true));
        Ok(Self { socket, queue: RefCell::default(), blocked, joins })
    }

    /// Waits until something arrives.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Receives with `receive`, which reports `WouldBlock` when it has taken everything.
    pub(crate) fn try_receive<R>(
        &self,
        receive: impl FnOnce(&UdpSocket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.socket.try_io(Interest::READABLE, receive)
    }

    /// How many datagrams wait in the kernel, about.
    pub(crate) fn waiting(&self) -> usize {
        queued_bytes(self.socket.get_ref()) / QUEUED_DATAGRAM_BYTES
    }

    pub(crate) fn push(&self, to: SocketAddr, datagram: Bytes, counters: &Counters) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() >= QUEUE_MAX {
            counters.dropped_udp.add(1);
            return;
        }
        queue.push_back((to, datagram));
    }

    /// Sends what is queued. If the kernel's buffer is full the rest waits for [`UdpPort::unblock`].
    pub(crate) fn flush(&self, counters: &Counters) {
        let mut queue = self.queue.borrow_mut();
        while !queue.is_empty() {
            match self.send_front(&queue) {
                Ok(n) => {
                    counters.sent.add(n as u64);
                    queue.drain(..n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.notify_one();
                    return;
                }
                Err(error) => {
                    counters.dropped_udp.add(1);
                    if let Some((to, datagram)) = queue.pop_front() {
                        tracing::debug!(%to, bytes = datagram.len(), %error, "datagram not sent");
                    }
                }
            }
        }
    }

    fn send_front(&self, queue: &VecDeque<(SocketAddr, Bytes)>) -> io::Result<usize> {
        let mut packets = [(None, &[][..]); BATCH_MAX];
        let mut count = 0;
        for (packet, (to, datagram)) in packets.iter_mut().zip(queue) {
            *packet = (Some(*to), &datagram[..]);
            count += 1;
        }
        let packets = &packets[..count];
        if count > 1 && self.joins.get() {
            match send_joined(self.socket.get_ref(), packets) {
                Err(error) if cannot_join(&error) => {
                    let sent = send_batch(self.socket.get_ref(), packets);
                    // What cannot leave alone either has an address nobody can send to.
                    if sent.is_ok() {
                        tracing::debug!(%error, "datagrams leave one by one from now on");
                        self.joins.set(false);
                    }
                    return sent;
                }
                sent => return sent,
            }
        }
        send_batch(self.socket.get_ref(), packets)
    }

    /// Sends on whenever the kernel has room again. Never ends.
    pub(crate) async fn unblock(&self, counters: &Counters) {
        loop {
            self.blocked.notified().await;
            if self.room().await.is_err() {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            self.flush(counters);
        }
    }

    /// Waits until the kernel has room for more, with a descriptor of its own.
    async fn room(&self) -> io::Result<()> {
        let copy = self.socket.get_ref().try_clone()?;
        watched(copy, Interest::WRITABLE)?.writable().await.map(drop)
    }
}

fn watched(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: a socket of the standard library keeps its one descriptor open as long as it lives, and
    // only shared references to it are given out.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    watched.map_err(|refused| refused.into_parts().1)
}

/// Receives on one listener for as long as the shard lives.
pub(crate) async fn receive_loop<C: ShardCore>(
    engine: Rc<Engine<C>>,
    (listener, local): (usize, SocketAddr),
    batch: Rc<RefCell<RecvBatch>>,
) {
    let Some(Some(port)) = engine.ports.get(listener) else { return };
    loop {
        if let Err(error) = port.readable().await {
            tracing::error!(%local, %error, "UDP listener ended");
            return;
        }
        let more = receive_batch(&engine, port, (listener, local), &mut batch.borrow_mut());
        engine.flush();
        if more {
            // Streams and timers get their turn between batches.
            tokio::task::yield_now().await;
        }
    }
}

/// Takes in what is waiting; whether more may wait.
fn receive_batch<C: ShardCore>(
    engine: &Engine<C>,
    port: &UdpPort,
    (listener, local): (usize, SocketAddr),
    batch: &mut RecvBatch,
) -> bool {
    let mut count = 0;
    let read = port.try_receive(|socket| {
        count = batch.recv(socket)?;
        // A batch that is not full has emptied the socket. Telling the runtime so saves asking the
        // kernel again; what arrives from here on makes the socket readable anew.
        if batch.is_full() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    });
    if count > 0 {
        engine.doorkeeper.note(count);
        let mut datagrams = batch.iter();
        engine.receive_all(|| {
            datagrams.by_ref().find_map(|(peer, datagram)| {
                let origin = Origin { transport: Transport::Udp, local, peer };
                message_in(engine, listener, origin, datagram)
            })
        });
    }
    match read {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => false,
        // Reports of earlier sends (port unreachable) surface here; they concern no datagram.
        Err(error) => {
            tracing::debug!(%local, %error, "UDP receive");
            true
        }
    }
}

/// Sorts keep-alives and noise from messages by the first byte (RFC 3261 §7.5, RFC 7983).
pub(crate) fn message_in<'d, C: ShardCore>(
    engine: &Engine<C>,
    listener: usize,
    origin: Origin,
    datagram: &'d [u8],
) -> Option<Datagram<'d>> {
    let peer = origin.peer;
    let start = datagram.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(datagram.len());
    let message = &datagram[start..];
    if begins_message(message) {
        if !engine.admits(listener, peer, message) {
            return None;
        }
        let flow = engine.udp.borrow_mut().touch(listener, peer);
        return Some(Datagram { flow, local: origin.local, peer, message });
    }
    engine.counters.ignored.add(1);
    engine.handle_stun(listener, peer, None, datagram);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request from port 0 cannot be answered, and must not cost the others anything.
    #[tokio::test]
    async fn an_address_nobody_can_send_to_does_not_end_joining() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (port, counters) = (UdpPort::new(socket).unwrap(), Counters::default());
        for _ in 0..2 {
            port.push("127.0.0.1:0".parse().unwrap(), vec![1; 20].into(), &counters);
        }
        port.flush(&counters);
        assert!(port.queue.borrow().is_empty() && port.joins.get());
    }

    /// The kernel was full, so the rest of the queue waits; there is room, and it goes.
    #[tokio::test]
    async fn what_is_left_goes_when_there_is_room() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (port, counters) = (UdpPort::new(socket).unwrap(), Counters::default());
        for n in 0..100_u8 {
            port.push(peer.local_addr().unwrap(), vec![n].into(), &counters);
        }
        port.blocked.notify_one();
        let mut buffer = [0; 10];
        for n in 0..100 {
            tokio::select! {
                () = port.unblock(&counters) => unreachable!("it never ends"),
                len = peer.recv(&mut buffer) => assert_eq!(buffer[..len.unwrap()], [n]),
            }
        }
    }
}
