//! DNS questions and answers as far as SIP needs them.

use std::fmt;
use std::net::IpAddr;

use sansio::Transport;

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// RFC 3403.
    Naptr,
    /// RFC 2782.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// A question to DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    /// A whole name, in lower case, without its last dot.
    pub name: String,
    /// What is asked.
    pub kind: Kind,
}

impl Query {
    pub(crate) fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.kind)
    }
}

/// An answer of DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// To [`Kind::Naptr`].
    Naptr(Vec<Naptr>),
    /// To [`Kind::Srv`].
    Srv(Vec<Srv>),
    /// To [`Kind::A`] and [`Kind::Aaaa`].
    Addresses(Vec<IpAddr>),
    /// There is no such name, or no such record under it.
    Nothing,
    /// The servers failed or did not answer: nothing is known.
    Failed,
}

/// One NAPTR record. Those with a regular expression are not for SIP (RFC 3263 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lowest first.
    pub order: u16,
    /// Within one order, lowest first.
    pub preference: u16,
    /// `S`, `A` …
    pub flags: String,
    /// `SIP+D2U` …
    pub service: String,
    /// Where to go on.
    pub replacement: String,
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lowest first.
    pub priority: u16,
    /// Within one priority, the share of the load.
    pub weight: u16,
    /// The server's port.
    pub port: u16,
    /// The server's name; `.` or empty: the service is not offered (RFC 2782).
    pub target: String,
}

/// The transport of a NAPTR service (RFC 3263 §4.1, RFC 7118 §8.2).
pub(crate) fn transport_of_service(service: &str) -> Option<Transport> {
    match service.to_ascii_uppercase().as_str() {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        "SIP+D2W" => Some(Transport::Ws),
        "SIPS+D2W" => Some(Transport::Wss),
        _ => None,
    }
}

/// Where SRV records of a transport are (RFC 3263 §4.2).
pub(crate) fn srv_name(transport: Transport, host: &str) -> String {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        Transport::Ws => "_sip._ws",
        Transport::Wss => "_sips._ws",
    };
    format!("{prefix}.{host}")
}
