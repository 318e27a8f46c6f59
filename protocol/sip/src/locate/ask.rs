//! What a URI asks for.

use std::net::{IpAddr, SocketAddr};

use sansio::Transport;

use super::{NextHop, default_port};
use crate::uri::SipUri;

/// Longest DNS name, RFC 1035 §2.3.4.
const NAME_MAX: usize = 253;

/// A target to be found: host, port, transport and security of a SIP URI (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ask {
    /// A name in lower case without its last dot, or an address without brackets.
    pub host: String,
    /// The port named.
    pub port: Option<u16>,
    /// The transport named, or wanted by configuration.
    pub transport: Option<Transport>,
    /// `sips:`, or a peer that must be reached over TLS: nothing in clear will do.
    pub secure: bool,
    /// The name a certificate must prove where it is not the host.
    pub verify: Option<String>,
}

/// Why a URI asks for nothing that can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No `sip:` or `sips:` URI.
    #[error("not a sip: or sips: URI")]
    NotSip,
    /// The host can be no DNS name.
    #[error("the host is no DNS name")]
    BadName,
    /// SCTP and what else may come.
    #[error("the transport is not spoken here")]
    UnknownTransport,
    /// `sips:` with `transport=udp`.
    #[error("a sips: URI cannot be reached in clear")]
    Insecure,
}

impl Ask {
    /// For a host alone, transport and port to be found.
    ///
    /// # Errors
    /// A host that can be no DNS name.
    pub fn host(host: &str) -> Result<Self, AskError> {
        let host = normal(host).ok_or(AskError::BadName)?;
        Ok(Self { host, port: None, transport: None, secure: false, verify: None })
    }

    /// Reads a URI: `maddr` before the host (RFC 3263 §4), `transport`, port, scheme.
    ///
    /// # Errors
    /// What asks for nothing that can be found.
    pub fn of_uri(uri: &[u8]) -> Result<Self, AskError> {
        let uri = SipUri::parse(uri).map_err(|_| AskError::NotSip)?;
        let maddr = uri.param("maddr").and_then(|m| std::str::from_utf8(m).ok());
        let mut ask = Self::host(maddr.unwrap_or(uri.host()))?;
        ask.port = uri.port();
        ask.secure = uri.is_sips();
        ask.transport = match uri.param("transport") {
            Some(token) => Some(transport(token, ask.secure)?),
            None => None,
        };
        // The domain's name is to be proved, not that of a detour.
        ask.verify = maddr.and_then(|_| normal(uri.host()));
        Ok(ask)
    }

    /// The transport where the URI names none: UDP, or TLS for what must be secure (RFC 3263 §4.1).
    pub fn fallback_transport(&self) -> Transport {
        self.transport.unwrap_or(if self.secure { Transport::Tls } else { Transport::Udp })
    }

    /// The hop an address literal means; `None` for a name.
    pub fn literal(&self) -> Option<NextHop> {
        let ip: IpAddr = self.host.parse().ok()?;
        let transport = self.fallback_transport();
        let addr = SocketAddr::new(ip, self.port.unwrap_or(default_port(transport)));
        let server_name = self.server_name().to_owned();
        Some(NextHop { transport, addrs: vec![addr], server_name })
    }

    /// What a certificate must prove.
    pub fn server_name(&self) -> &str {
        self.verify.as_deref().unwrap_or(&self.host)
    }
}

fn transport(token: &[u8], secure: bool) -> Result<Transport, AskError> {
    let named = Transport::from_token(token).ok_or(AskError::UnknownTransport)?;
    match (named, secure) {
        // RFC 3261 §26.2.2: `sips:` with transport=tcp means TLS over TCP.
        (Transport::Tcp | Transport::Tls, true) => Ok(Transport::Tls),
        (Transport::Ws | Transport::Wss, true) => Ok(Transport::Wss),
        (Transport::Udp, true) => Err(AskError::Insecure),
        (named, false) => Ok(named),
    }
}

/// A DNS name in lower case or an address, both bare.
fn normal(host: &str) -> Option<String> {
    let bare = host.trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return Some(bare.to_ascii_lowercase());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    (name.len() <= NAME_MAX && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}
