//! ICE candidates (RFC 8839 §5.1).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One `a=candidate` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Groups candidates of the same base.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP.
    pub component: u16,
    /// `UDP`, `tcp` … as written.
    pub transport: String,
    /// Higher is preferred.
    pub priority: u32,
    /// An IP address, or a name (mDNS, RFC 8839 §5.1).
    pub address: String,
    /// Port.
    pub port: u16,
    /// `host`, `srflx`, `prflx`, `relay`.
    pub kind: String,
    /// Related address of a reflexive or relayed candidate.
    pub related: Option<(String, u16)>,
    /// Extension words in order (`generation 0 …`), as written.
    pub extensions: Vec<String>,
}

impl Candidate {
    /// A UDP host candidate with the priority of RFC 8445 §5.1.2.1 for one interface.
    pub fn host(foundation: &str, component: u16, addr: SocketAddr) -> Self {
        let priority = (126 << 24) + (65_535 << 8) + (256 - u32::from(component.clamp(1, 256)));
        Self {
            foundation: foundation.to_owned(),
            component,
            transport: "UDP".into(),
            priority,
            address: addr.ip().to_string(),
            port: addr.port(),
            kind: "host".into(),
            related: None,
            extensions: Vec::new(),
        }
    }

    /// Reads the value of an `a=candidate` line.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let foundation = words.next()?.to_owned();
        let component = words.next()?.parse().ok()?;
        let transport = words.next()?.to_owned();
        let priority = words.next()?.parse().ok()?;
        let address = words.next()?.to_owned();
        let port = words.next()?.parse().ok()?;
        words.next().filter(|typ| *typ == "typ")?;
        let kind = words.next()?.to_owned();
        let mut rest: Vec<String> = words.map(str::to_owned).collect();
        let mut related = None;
        if rest.len() >= 4 && rest[0] == "raddr" && rest[2] == "rport" {
            related = Some((rest[1].clone(), rest[3].parse().ok()?));
            rest.drain(..4);
        }
        let extensions = rest;
        Some(Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related,
            extensions,
        })
    }

    /// The address, when it is one and not a name.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address.parse::<IpAddr>().ok()?, self.port))
    }

    /// Whether it is a UDP candidate.
    pub fn is_udp(&self) -> bool {
        self.transport.eq_ignore_ascii_case("udp")
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { foundation, component, transport, priority, address, port, kind, .. } = self;
        write!(f, "{foundation} {component} {transport} {priority} {address} {port} typ {kind}")?;
        if let Some((address, port)) = &self.related {
            write!(f, " raddr {address} rport {port}")?;
        }
        self.extensions.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_rfc_8839_round_trip() {
        for text in [
            "1 1 UDP 2130706431 203.0.113.141 8998 typ host",
            "2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
            "842163049 1 udp 1677729535 a1b2.local 9 typ srflx raddr 0.0.0.0 rport 0 generation 0 ufrag x",
        ] {
            assert_eq!(Candidate::parse(text).map(|c| c.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Candidate::parse("1 1 UDP 1 192.0.2.1 70000 typ host"), None);
    }

    #[test]
    fn a_host_candidate_has_the_priority_of_rfc_8445() {
        let c = Candidate::host("1", 1, "192.0.2.1:4000".parse().expect("an address"));
        assert_eq!(c.priority, 2_130_706_431);
    }
}
