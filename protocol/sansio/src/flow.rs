//! Which socket or connection a message came by, and goes by.

use std::fmt;

/// A server node of a cluster; a single server is node 0.
pub type NodeId = u16;

/// A signalling shard of one node: one thread, its own sockets and tables.
pub type ShardId = u16;

/// A transport flow (RFC 5626 §2): a connection, or for UDP a pair of addresses. It names the
/// shard that owns the socket, so that any shard of any node can send through it by mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    /// The node whose socket it is.
    pub node: NodeId,
    /// The shard of that node.
    pub shard: ShardId,
    /// The flow within the shard. Never reused while the process lives.
    pub id: u64,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.node, self.shard, self.id)
    }
}

/// A SIP transport (RFC 3261 §18, RFC 7118).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams: the only unreliable one.
    Udp,
    /// A byte stream.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket over clear HTTP.
    Ws,
    /// WebSocket over HTTPS.
    Wss,
}

impl Transport {
    /// Whether the transport itself retransmits (RFC 3261 §17: no Timers A, E, G).
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// Whether bytes on the wire are encrypted.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The token of the Via header (`UDP`, `TLS`, `WSS` …).
    pub fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The value of the `transport` URI parameter. WSS is written `ws` (RFC 7118 §5.3).
    pub fn uri_token(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws | Self::Wss => "ws",
        }
    }

    /// Reads a Via or URI token, without regard to case.
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss]
            .into_iter()
            .find(|t| t.via_token().as_bytes().eq_ignore_ascii_case(token))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.via_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        for t in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            assert_eq!(Transport::from_token(t.via_token().as_bytes()), Some(t));
        }
        assert_eq!(Transport::from_token(b"tls"), Some(Transport::Tls));
        assert_eq!(Transport::from_token(b"sctp"), None);
    }

    #[test]
    fn only_udp_is_unreliable() {
        assert!(!Transport::Udp.is_reliable());
        assert!(Transport::Wss.is_reliable() && Transport::Wss.is_secure());
    }
}
