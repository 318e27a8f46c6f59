//! The two sockets of one call's media: an even port for RTP and the next for RTCP (RFC 3550 §11).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::error::NetError;
use crate::tos;

/// Attempts to find an even port whose neighbour is free too.
const ATTEMPTS_MAX: usize = 64;

/// Longer datagrams are dropped, as no RTP of ours is longer than a path's packet.
const DATAGRAM_MAX: usize = 2048;

/// RTP and RTCP of one call.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let sockets = net::MediaSockets::bind("127.0.0.1".parse()?)?;
/// let (bytes, from) = sockets.recv().await;
/// sockets.try_send(from, &bytes, false);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MediaSockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    local: SocketAddr,
    /// The octet of the last datagram to the RTP port; [`UNTOLD`] before.
    tos: AtomicU16,
    is_marked: bool,
}

/// No datagram has come, or the system does not tell.
const UNTOLD: u16 = u16::MAX;

impl MediaSockets {
    /// Binds a pair on `ip`, ports of the system's choice. What they send is marked as sound that
    /// must not wait (EF, RFC 4594 §4.1). Needs a tokio runtime around it.
    ///
    /// # Errors
    /// No pair of ports is free, or the address is not ours.
    pub fn bind(ip: IpAddr) -> Result<Self, NetError> {
        let addr = SocketAddr::new(ip, 0);
        let refused = |source| NetError::Listen { what: "media", addr, source };
        for _ in 0..ATTEMPTS_MAX {
            let (rtp, is_marked) = bound(ip, 0).map_err(refused)?;
            let local = rtp.local_addr().map_err(refused)?;
            // The system gives odd ports and even ports alike: the odd one is let go.
            if local.port() % 2 == 1 {
                continue;
            }
            if let Ok((rtcp, _)) = bound(ip, local.port() + 1) {
                return Ok(Self { rtp, rtcp, local, tos: AtomicU16::new(UNTOLD), is_marked });
            }
        }
        Err(refused(io::ErrorKind::AddrInUse.into()))
    }

    /// The RTP address; RTCP is one port up.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The type of service octet that what is sent has; `None` where the system refused it.
    pub fn sent_tos(&self) -> Option<u8> {
        self.is_marked.then_some(tos::EF)
    }

    /// The type of service octet the last datagram to the RTP port came with: another than its sender's mark tells of
    /// a network on the way that changes marks.
    pub fn received_tos(&self) -> Option<u8> {
        u8::try_from(self.tos.load(Ordering::Relaxed)).ok()
    }

    /// The next datagram of either socket, and where it came from. Safe to cancel, as a branch of
    /// `select!`. What ICMP reports of earlier sends is passed over.
    pub async fn recv(&self) -> (Bytes, SocketAddr) {
        loop {
            if let Some(received) = self.try_recv() {
                return received;
            }
            // Readiness that came to nothing, or an error, is tried again.
            let _ = tokio::select! {
                ready = self.rtp.readable() => ready,
                ready = self.rtcp.readable() => ready,
            };
        }
    }

    /// The next datagram the runtime knows of already; `None` when there is none.
    pub fn try_recv(&self) -> Option<(Bytes, SocketAddr)> {
        let mut buffer = [0; DATAGRAM_MAX];
        let received = match try_receive(&self.rtp, &mut buffer) {
            Some(received) => {
                self.tos.store(received.tos.map_or(UNTOLD, u16::from), Ordering::Relaxed);
                received
            }
            None => try_receive(&self.rtcp, &mut buffer)?,
        };
        Some((Bytes::copy_from_slice(&buffer[..received.len]), received.from))
    }

    /// Sends at once or not at all: a full socket buffer loses a packet, as the network would.
    /// True when the system took it.
    pub fn try_send(&self, to: SocketAddr, bytes: &[u8], rtcp: bool) -> bool {
        let socket = SockRef::from(if rtcp { &self.rtcp } else { &self.rtp });
        // Straight to the system: tokio's own `try_send_to` refuses until its loop has turned once.
        let send = || socket.send_to(bytes, &to.into());
        let mut sent = send();
        // The first try may report what became of an earlier packet; the second one sends.
        if sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            sent = send();
        }
        sent.is_ok()
    }
}

fn bound(ip: IpAddr, port: u16) -> io::Result<(UdpSocket, bool)> {
    let socket = std::net::UdpSocket::bind((ip, port))?;
    socket.set_nonblocking(true)?;
    let is_marked = tos::mark(&socket, ip.is_ipv6(), tos::EF);
    // Where the system does not tell, nothing is known of it.
    let _ = tos::watch(&socket);
    Ok((UdpSocket::from_std(socket)?, is_marked))
}

fn try_receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<tos::Marked> {
    loop {
        match socket.try_io(Interest::READABLE, || tos::recv(socket, buffer)) {
            Ok(Some(received)) => return Some(received),
            // Longer than any packet of ours.
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_runtime<T>(story: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story)
    }

    #[test]
    fn a_pair_is_even_and_its_neighbour_and_both_are_heard() {
        on_a_runtime(async {
            let ip = "127.0.0.1".parse().unwrap();
            let (a, b) = (MediaSockets::bind(ip).unwrap(), MediaSockets::bind(ip).unwrap());
            assert_eq!(a.local_addr().port() % 2, 0);
            assert_eq!(b.received_tos(), None);
            let rtcp_of = |addr: SocketAddr| SocketAddr::new(ip, addr.port() + 1);

            assert!(b.try_send(a.local_addr(), b"rtp", false));
            let (bytes, from) = a.recv().await;
            assert_eq!((&bytes[..], from), (&b"rtp"[..], b.local_addr()));
            assert_eq!(a.received_tos(), Some(tos::EF), "R5.8: marked, and told");

            assert!(b.try_send(rtcp_of(a.local_addr()), b"rtcp", true));
            let (bytes, from) = a.recv().await;
            assert_eq!((&bytes[..], from), (&b"rtcp"[..], rtcp_of(b.local_addr())));
            assert!(a.try_recv().is_none());
        });
    }

    #[test]
    fn a_closed_peer_does_not_stop_a_pair() {
        on_a_runtime(async {
            let ip = "127.0.0.1".parse().unwrap();
            let (a, b) = (MediaSockets::bind(ip).unwrap(), MediaSockets::bind(ip).unwrap());
            let gone = MediaSockets::bind(ip).unwrap().local_addr();
            assert!(a.try_send(gone, b"nobody", false));
            assert!(b.try_send(a.local_addr(), b"still here", false));
            assert_eq!(&a.recv().await.0[..], b"still here");
            assert!(a.try_send(gone, b"nobody", false));
            assert!(a.try_send(b.local_addr(), b"and sending", false));
        });
    }
}
