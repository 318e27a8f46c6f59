//! What the shards listen on, and their limits.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::gate::Gate;
use crate::proof::PeerCertificates;
use sansio::{NodeId, ShardId, Transport};

/// How to start [`crate::Shards`].
#[derive(Debug, Clone)]
pub struct ShardsConfig {
    /// This node's number in the cluster; 0 for a single server.
    pub node: NodeId,
    /// How many shards, each one thread; at least 1.
    pub shards: ShardId,
    /// What to listen on. Port 0 takes a free port, the same on every shard.
    pub listeners: Vec<Listener>,
    /// For the TLS listeners ([`crate::ServerTls::sip_config`]).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// For connections to next hops over TLS ([`crate::client_config`]); without it there are none.
    pub client_tls: Option<Arc<rustls::ClientConfig>>,
    /// What client certificates prove ([`crate::ServerTls::peer_certificates`]).
    pub peer_certificates: Arc<PeerCertificates>,
    /// The limits.
    pub limits: Limits,
    /// Who is listened to; without it, everybody.
    pub gate: Option<Gate>,
    /// How long work may wait before new work is turned away; zero for never.
    pub overload_target: Duration,
}

impl ShardsConfig {
    /// One shard of node 0 with the default limits and no listener yet.
    pub fn new() -> Self {
        Self {
            node: 0,
            shards: 1,
            listeners: Vec::new(),
            tls: None,
            client_tls: None,
            peer_certificates: Arc::default(),
            limits: Limits::default(),
            gate: None,
            overload_target: Duration::ZERO,
        }
    }

    /// Adds a listener.
    pub fn listen(mut self, interface: &str, transport: Transport, bind: SocketAddr) -> Self {
        let (advertise, report_tos, tos) = (None, false, 0);
        let interface = interface.to_owned();
        self.listeners.push(Listener { interface, transport, bind, advertise, report_tos, tos });
        self
    }
}

impl Default for ShardsConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// One address to listen on. WebSockets come by [`crate::http`] instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The `[[interface]]` it belongs to; appears in errors and logs.
    pub interface: String,
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// Where; once started, with its true port.
    pub bind: SocketAddr,
    /// The address others reach it at, to be told over STUN. `None`: that of `bind`.
    pub advertise: Option<IpAddr>,
    /// Whether STUN answers tell the type of service octet of their requests (UDP). Costs a system
    /// call for each datagram.
    pub report_tos: bool,
    /// The type of service octet of what it and its connections send (RFC 2474); 0 for none.
    pub tos: u8,
}

/// Every bound a stranger can run into. Limits by source do not count loopback addresses.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of all shards together.
    pub max_connections: usize,
    /// Connections from one IP address.
    pub max_connections_per_source: usize,
    /// Connections from one network: IPv4 /24, IPv6 /56.
    pub max_connections_per_prefix: usize,
    /// One message on a stream or WebSocket, in bytes.
    pub max_message: usize,
    /// Bytes waiting to be written to one connection before it counts as a slow reader.
    pub write_queue_bytes: usize,
    /// How long a write may make no progress.
    pub write_stall: Duration,
    /// How long a connection may send nothing at all.
    pub idle: Duration,
    /// How long a message may take from its first byte to its last, and a fresh connection until
    /// its first message.
    pub message: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// UDP flows remembered by one shard.
    pub udp_flows: usize,
    /// How long an unused UDP flow is remembered.
    pub udp_idle: Duration,
    /// The kernel's receive buffer asked for each UDP socket, in bytes.
    pub udp_receive_buffer: usize,
    /// How often a silent WebSocket is pinged; it counts as dead after two and a half times that
    /// without any sign of life.
    pub websocket_ping: Duration,
    /// How long connecting to a next hop may take, handshakes included.
    pub connect: Duration,
    /// Flows to next hops remembered by one shard.
    pub dialled: usize,
    /// Of these, to one IP address.
    pub dialled_per_peer: usize,
    /// Connections one shard makes at the same time.
    pub connecting: usize,
    /// How long a connection to a next hop is kept without a message.
    pub dialled_idle: Duration,
    /// How often it is kept alive (RFC 5626 §4.4.1).
    pub dialled_ping: Duration,
    /// How long the answer to that may take, from a peer that has answered before.
    pub pong: Duration,
    /// Letters (notes, cross-shard messages) waiting for one shard.
    pub mailbox: usize,
    /// Delayed answers to STUN waiting in one shard.
    pub diagnostics: ice::behaviour::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_source: 1_000,
            max_connections_per_prefix: 10_000,
            max_message: 65_536,
            write_queue_bytes: 1 << 20,
            write_stall: Duration::from_secs(30),
            idle: Duration::from_secs(2 * 3600),
            message: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            udp_flows: 200_000,
            udp_idle: Duration::from_secs(2 * 3600),
            udp_receive_buffer: 4 << 20,
            websocket_ping: Duration::from_secs(25),
            connect: Duration::from_secs(5),
            dialled: 10_000,
            dialled_per_peer: 16,
            connecting: 64,
            dialled_idle: Duration::from_secs(600),
            dialled_ping: Duration::from_secs(90),
            pong: Duration::from_secs(10),
            mailbox: 16_384,
            diagnostics: ice::behaviour::Limits::default(),
        }
    }
}
