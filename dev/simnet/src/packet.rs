//! What travels.

use std::net::SocketAddr;

use bytes::Bytes;

/// What translators and trace tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Udp,
    Stream,
}

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Datagram,
    /// A packet of a transport of somebody else's, with its own retransmissions.
    Segment,
    /// A stream's first packet, and its answer.
    Open,
    Opened,
    /// The piece of a stream that comes after `seq` others.
    Piece {
        seq: u64,
    },
    /// The end of a stream after `seq` pieces.
    End {
        seq: u64,
    },
    /// No such stream here, or no longer.
    Reset,
}

/// One packet under way. Translators rewrite `from` and `to`; the origin stays as it was.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Bytes,
    /// For the ladder: what the packet completes.
    pub(crate) label: Option<String>,
    pub(crate) origin: Origin,
}

/// Where a packet began, in its sender's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) host: usize,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Packet {
    pub(crate) fn new(
        host: usize,
        kind: Kind,
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    ) -> Self {
        let label = sip_label(&bytes);
        let origin = Origin { host, local: from, peer: to };
        Self { kind, from, to, bytes, label, origin }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        if self.kind == Kind::Datagram { Protocol::Udp } else { Protocol::Stream }
    }

    /// Whether it is lost where a link loses it, and nobody is told.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.kind, Kind::Datagram | Kind::Segment)
    }

    /// Its length on a wire: with the headers of IPv4 and, of a datagram, UDP.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len() + if self.kind == Kind::Datagram { 28 } else { 20 }
    }
}

/// `INVITE (1)` or `180 Ringing (1 INVITE)`, if the bytes are a SIP message. Media is not.
pub(crate) fn sip_label(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(4096)];
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next()?;
    let cseq = lines
        .filter_map(|l| l.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("cseq"))
        .map_or("", |(_, value)| value.trim());
    if let Some(status) = first.strip_prefix("SIP/2.0 ") {
        return Some(format!("{status} ({cseq})"));
    }
    let (method, _) = first.strip_suffix(" SIP/2.0")?.split_once(' ')?;
    let number = cseq.split(' ').next().unwrap_or_default();
    Some(format!("{method} ({number})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_messages_have_labels_and_media_has_none() {
        let label = |text: &str| sip_label(text.as_bytes());
        let invite = "INVITE sip:b@x SIP/2.0\r\nVia: v\r\nCSeq: 7 INVITE\r\n\r\n";
        assert_eq!(label(invite).as_deref(), Some("INVITE (7)"));
        let ringing = "SIP/2.0 180 Ringing\r\ncseq:7 INVITE\r\n\r\n";
        assert_eq!(label(ringing).as_deref(), Some("180 Ringing (7 INVITE)"));
        assert_eq!(sip_label(&[0x80, 0, 1, 2]), None);
        assert_eq!(label(""), None);
    }
}
