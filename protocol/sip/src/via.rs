//! Via: where a request came by and a response goes back (RFC 3261 §20.42, RFC 3581).

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use sansio::Transport;

use crate::error::ParseError;
use crate::params::Params;
use crate::text::{TOKEN, find_byte, is_lws, number, offset_in, span, trim, trim_start};
use crate::uri::split_host_port;

const RFC: &str = "RFC 3261 §20.42";

/// One Via value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    raw: &'a [u8],
    transport: &'a [u8],
    sent_by: &'a [u8],
    params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one Via value (not a list).
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_as(value, false)
    }

    /// As [`Via::parse`], of a value whose parameters were `checked` before.
    #[inline]
    pub(crate) fn parse_as(value: &'a [u8], checked: bool) -> Result<Self, ParseError> {
        let raw = trim(value);
        let error = |part: &[u8], what| ParseError::syntax(offset_in(value, part), what, RFC);
        let rest = match raw {
            [b'S', b'I', b'P', b'/', b'2', b'.', b'0', b'/', rest @ ..] => rest,
            _ => protocol_with_space(raw).ok_or_else(|| error(raw, "SIP/2.0/transport"))?,
        };
        let rest = trim_start(rest);
        let (transport, rest) = rest.split_at(span(rest, TOKEN));
        if transport.is_empty() || !rest.first().is_some_and(|b| is_lws(*b)) {
            return Err(error(rest, "a transport"));
        }
        let (sent_by, params) = match find_byte(rest, b';') {
            Some(semicolon) => rest.split_at(semicolon),
            None => (rest, b"".as_slice()),
        };
        let sent_by = trim(sent_by);
        let params = Params::new(params);
        if !checked {
            split_host_port(sent_by).ok_or_else(|| error(sent_by, "host[:port]"))?;
            params.check(RFC).map_err(|e| e.shifted(offset_in(value, params.raw())))?;
        }
        Ok(Self { raw, transport, sent_by, params })
    }

    /// The whole value as on the wire.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The transport token as on the wire (`UDP`, `TLS-SCTP` …).
    pub fn transport_token(&self) -> &'a [u8] {
        self.transport
    }

    /// The transport, when it is one of ours.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport)
    }

    /// The sent-by as on the wire: `host` or `host:port`.
    pub fn sent_by(&self) -> &'a [u8] {
        self.sent_by
    }

    /// The host of the sent-by; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &'a str {
        // A host that was let through is ASCII.
        std::str::from_utf8(self.host_port().0).unwrap_or_default()
    }

    /// The port of the sent-by, when it is written.
    pub fn port(&self) -> Option<u16> {
        self.host_port().1
    }

    /// The sent-by taken apart. It was let through, so it is good.
    fn host_port(&self) -> (&'a [u8], Option<u16>) {
        split_host_port(self.sent_by).unwrap_or_default()
    }

    /// The port of the sent-by, or the transport's default (RFC 3261 §18.2.2).
    pub fn port_or_default(&self) -> u16 {
        let tls = self.transport().is_some_and(|t| t == Transport::Tls);
        self.port().unwrap_or(if tls { 5061 } else { 5060 })
    }

    /// The parameters.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// A parameter; see [`Params::value`].
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params.value(name)
    }

    /// The `branch`, magic cookie included.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.param("branch").filter(|b| !b.is_empty())
    }

    /// `received`, with or without brackets around an IPv6 address (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        self.param("received").and_then(parse_ip)
    }

    /// `rport`: absent, asked for (`Some(None)`), or filled in (RFC 3581 §3).
    pub fn rport(&self) -> Option<Option<u16>> {
        self.param("rport").map(|v| number(v).and_then(|n| u16::try_from(n).ok()))
    }

    /// `maddr` as on the wire.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.param("maddr")
    }

    /// Where a response goes over an unreliable transport when this Via is on top, by RFC 3261
    /// §18.2.2 and RFC 3581 §4; `None` when the host is a name that must be looked up.
    pub fn response_address(&self) -> Option<SocketAddr> {
        let written = || parse_ip(self.host_port().0);
        let ip = self.maddr().map_or_else(|| self.received().or_else(written), parse_ip)?;
        let port = self.rport().flatten().filter(|_| self.received().is_some());
        Some(SocketAddr::new(ip, port.unwrap_or_else(|| self.port_or_default())))
    }
}

/// Makes a Via value.
#[derive(Debug, Clone)]
pub struct ViaBuilder {
    value: String,
}

impl ViaBuilder {
    /// `SIP/2.0/transport sent_by`, where `sent_by` is `host` or `host:port`.
    pub fn new(transport: Transport, sent_by: impl AsRef<str>) -> Self {
        let sent_by = sent_by.as_ref();
        let mut value = String::with_capacity(96 + sent_by.len());
        for part in ["SIP/2.0/", transport.via_token(), " ", sent_by] {
            value.push_str(part);
        }
        Self { value }
    }

    /// Adds the branch. It should begin with `z9hG4bK` (RFC 3261 §8.1.1.7).
    #[must_use]
    pub fn branch(mut self, branch: &str) -> Self {
        self.value.push_str(";branch=");
        self.value.push_str(branch);
        self
    }

    /// Asks for symmetric response routing (RFC 3581 §3).
    #[must_use]
    pub fn rport(self) -> Self {
        self.flag("rport")
    }

    /// Adds `;name=value`.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl fmt::Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.value, ";{name}={value}");
        self
    }

    /// Adds `;name`.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.value.push(';');
        self.value.push_str(name);
        self
    }

    /// The value of the header field.
    pub fn build(self) -> String {
        self.value
    }
}

impl fmt::Display for ViaBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

/// Behind `SIP / 2.0 /`.
#[cold]
fn protocol_with_space(raw: &[u8]) -> Option<&[u8]> {
    let (protocol, rest) = slash_part(raw)?;
    let (version, rest) = slash_part(rest)?;
    (protocol.eq_ignore_ascii_case(b"SIP") && version == b"2.0").then_some(rest)
}

fn slash_part(text: &[u8]) -> Option<(&[u8], &[u8])> {
    crate::text::split_once(text, b'/').map(|(part, rest)| (trim(part), rest))
}

pub(crate) fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match bare {
        Some(six) => six.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_around_every_separator() {
        let v = Via::parse(
            b"SIP  / 2.0  / UDP  192.168.255.111 : 5070  ; branch =  z9hG4bK30239;rport",
        )
        .unwrap();
        assert_eq!((v.host(), v.port()), ("192.168.255.111", Some(5070)));
        assert_eq!(v.branch(), Some(b"z9hG4bK30239".as_slice()));
        assert_eq!(v.transport(), Some(Transport::Udp));
        assert_eq!(v.rport(), Some(None));
    }

    #[test]
    fn responses_go_to_received_and_rport() {
        let at = |text: &str| Via::parse(text.as_bytes()).unwrap().response_address();
        let addr = |text: &str| Some(text.parse().unwrap());
        assert_eq!(at("SIP/2.0/UDP 10.0.0.1;rport=9;received=192.0.2.1"), addr("192.0.2.1:9"));
        assert_eq!(at("SIP/2.0/TLS 10.0.0.1"), addr("10.0.0.1:5061"));
        assert_eq!(
            at("SIP/2.0/UDP [2001:db8::1]:7;received=[2001:db8::2]"),
            addr("[2001:db8::2]:7")
        );
        assert_eq!(
            at("SIP/2.0/UDP [2001:db8::1];received=2001:db8::2"),
            addr("[2001:db8::2]:5060")
        );
        assert_eq!(at("SIP/2.0/UDP pc33.example.com"), None);
    }

    #[test]
    fn malformed_vias_are_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 host",
            "SIP/3.0/UDP host",
            "SIP/2.0/UDP host;;",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP host:99999",
            "SIP/2.0/UDP ho st",
            "HTTP/2.0/UDP host",
        ] {
            assert!(Via::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_built_via_parses() {
        let text = ViaBuilder::new(Transport::Tls, "[::1]:5061").branch("z9hG4bKx").rport().build();
        let via = Via::parse(text.as_bytes()).unwrap();
        assert_eq!((via.host(), via.port()), ("[::1]", Some(5061)));
    }
}
