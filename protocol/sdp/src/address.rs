//! `o=`, `c=` and `a=rtcp`: who and where.

use std::fmt;
use std::net::IpAddr;

/// The `o=` line (RFC 8866 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// User name, `-` when none.
    pub username: String,
    /// Session id.
    pub session_id: u64,
    /// Version; grows by one with each changed description (RFC 3264 §8).
    pub version: u64,
    /// The address of the maker, as text (may be a name).
    pub address: String,
    /// Whether `address` is announced as IP6.
    pub ip6: bool,
}

impl Origin {
    /// An origin for a description made here.
    pub fn new(session_id: u64, version: u64, address: IpAddr) -> Self {
        Self {
            username: "-".into(),
            session_id,
            version,
            address: address.to_string(),
            ip6: address.is_ipv6(),
        }
    }

    /// Reads the value of an `o=` line.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let username = words.next()?.to_owned();
        let session_id = words.next()?.parse().ok()?;
        let version = words.next()?.parse().ok()?;
        words.next().filter(|net| net.eq_ignore_ascii_case("IN"))?;
        let ip6 = words.next()?.eq_ignore_ascii_case("IP6");
        Some(Self { username, session_id, version, address: words.next()?.to_owned(), ip6 })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, session_id, version, address, .. } = self;
        let family = if self.ip6 { "IP6" } else { "IP4" };
        write!(f, "{username} {session_id} {version} IN {family} {address}")
    }
}

/// The `c=` line (RFC 8866 §5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The address as text: an IP address (a multicast suffix `/ttl` is kept) or a name.
    pub address: String,
    /// Whether it is announced as IP6.
    pub ip6: bool,
}

impl Connection {
    /// Reads the value of a `c=` line.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        words.next().filter(|net| net.eq_ignore_ascii_case("IN"))?;
        let ip6 = words.next()?.eq_ignore_ascii_case("IP6");
        Some(Self { address: words.next()?.to_owned(), ip6 })
    }

    /// The address, when it is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.split('/').next()?.parse().ok()
    }
}

impl From<IpAddr> for Connection {
    fn from(address: IpAddr) -> Self {
        Self { address: address.to_string(), ip6: address.is_ipv6() }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IN {} {}", if self.ip6 { "IP6" } else { "IP4" }, self.address)
    }
}

/// The `a=rtcp` attribute (RFC 3605).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcpAddress {
    /// The port of RTCP.
    pub port: u16,
    /// Its address, where it is not the one of the media.
    pub connection: Option<Connection>,
}

impl RtcpAddress {
    /// Reads the value of an `a=rtcp` line.
    pub fn parse(value: &str) -> Option<Self> {
        let (port, rest) = value.split_once(' ').unwrap_or((value, ""));
        Some(Self { port: port.trim().parse().ok()?, connection: Connection::parse(rest) })
    }
}

impl fmt::Display for RtcpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)?;
        self.connection.as_ref().map_or(Ok(()), |c| write!(f, " {c}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        let o = "alice 2890844526 2890842807 IN IP4 host.example.com";
        assert_eq!(Origin::parse(o).map(|o| o.to_string()).as_deref(), Some(o));
        let c = Connection::parse("IN IP6 2001:db8::1").expect("a good line");
        assert_eq!(c.ip(), "2001:db8::1".parse().ok());
        assert_eq!(
            Connection::parse("IN IP4 224.2.1.1/127").and_then(|c| c.ip()),
            "224.2.1.1".parse().ok()
        );
        assert_eq!(Connection::parse("ATM NSAP 47"), None);
        for text in ["53020", "53020 IN IP4 126.16.64.4"] {
            assert_eq!(RtcpAddress::parse(text).map(|r| r.to_string()).as_deref(), Some(text));
        }
    }
}
