//! A connection of bytes, for what frames its messages itself: TURN over TCP and TLS.

use bytes::{Bytes, BytesMut};
use sansio::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Endpoint;
use super::connect;
use super::cost::{Meter, Metered};
use crate::connecting::Io;
use crate::error::NetError;

/// Bytes of one read at most.
const READ_MAX: usize = 16 * 1024;

/// A connection over TCP or TLS.
#[derive(Debug)]
pub struct ByteStream {
    endpoint: Endpoint,
    io: Box<dyn Io>,
}

impl ByteStream {
    /// Connects, with the TLS handshake where the transport is TLS.
    ///
    /// # Errors
    /// Unreachable in time, or not trusted.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, NetError> {
        debug_assert!(matches!(endpoint.transport, Transport::Tcp | Transport::Tls));
        let made = async {
            let tcp = connect::tcp(&endpoint).await;
            let tcp = tcp.map_err(|source| connect::unreachable(&endpoint, source))?;
            let tcp = Metered::new(tcp, Meter::default());
            match endpoint.transport.is_secure() {
                true => connect::tls(&endpoint, tcp).await.map(|(io, _)| io),
                false => Ok(Box::new(tcp) as Box<dyn Io>),
            }
        };
        let io = tokio::time::timeout(endpoint.timeout, made).await;
        let late = |_| connect::unreachable(&endpoint, std::io::ErrorKind::TimedOut.into());
        let io = io.map_err(late)??;
        Ok(Self { endpoint, io })
    }

    /// The next bytes. Safe to cancel.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn recv(&mut self) -> Result<Bytes, NetError> {
        let mut buffer = BytesMut::with_capacity(READ_MAX);
        match self.io.read_buf(&mut buffer).await {
            Ok(0) => Err(self.endpoint.broken("closed by the server")),
            Ok(_) => Ok(buffer.freeze()),
            Err(error) => Err(self.endpoint.broken(error)),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        let sent = async {
            self.io.write_all(bytes).await?;
            self.io.flush().await
        };
        sent.await.map_err(|error| self.endpoint.broken(error))
    }

    /// Says that nothing more comes.
    pub async fn close(mut self) {
        // It is gone either way.
        let _ = self.io.shutdown().await;
    }
}
