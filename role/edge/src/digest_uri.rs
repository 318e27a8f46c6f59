//! Whether credentials were made for the request that shows them (RFC 7616 §3.4.6).
//!
//! The `uri` of a digest and the Request-URI are compared by meaning, not by byte: phones write
//! port and parameters freely, IPv6 addresses have many spellings, and some write them without the
//! brackets (SIPp: `sip:::1:5060`).

use crate::core::EdgeCore;
use sip::{Aor, Message, Method, SipUri};
use std::net::Ipv6Addr;

impl EdgeCore {
    /// Whether a digest's `uri` names what the request is for. Some name the server alone (SIPp);
    /// any other user or domain is refused, or a captured INVITE could be sent elsewhere. A
    /// REGISTER has no target but its user.
    pub(crate) fn is_for(&self, request: &Message, uri: &[u8]) -> bool {
        let target = request.request_uri();
        if request.method() == Some(Method::REGISTER) || target == uri {
            return true;
        }
        let Some(named) = named(uri) else { return false };
        let realm = |host: &str| self.directory.realm(host).unwrap_or_else(|| host.into());
        match SipUri::parse(target).map(|uri| canonical(&Aor::from_uri(&uri))) {
            Ok(target) => {
                let same_user = named.user().is_empty() || named.user() == target.user();
                same_user && realm(named.host()) == realm(target.host())
            }
            // A `tel:` number, sent to us.
            Err(_) => named.user().is_empty() && self.directory.is_local(named.host()),
        }
    }
}

/// Whom a digest's `uri` names.
fn named(uri: &[u8]) -> Option<Aor> {
    if let Ok(uri) = SipUri::parse(uri) {
        return Some(canonical(&Aor::from_uri(&uri)));
    }
    let bracketed = with_brackets(std::str::from_utf8(uri).ok()?)?;
    SipUri::parse(bracketed.as_bytes()).ok().map(|uri| canonical(&Aor::from_uri(&uri)))
}

/// `sip:user@::1:5060` with its address in brackets, taken to end in a port where it can.
fn with_brackets(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let (user, host) = rest.rsplit_once('@').map_or(("", rest), |(user, host)| (user, host));
    let at = if user.is_empty() { "" } else { "@" };
    let host = host.split(';').next().unwrap_or_default();
    let address = match host.rsplit_once(':') {
        Some((address, port)) if port.parse::<u16>().is_ok() => address.parse::<Ipv6Addr>().ok(),
        _ => None,
    };
    let address = address.or_else(|| host.parse().ok())?;
    Some(format!("{scheme}:{user}{at}[{address}]"))
}

/// The same with one spelling for an IPv6 address.
fn canonical(aor: &Aor) -> Aor {
    let inner = aor.host().strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner.and_then(|host| host.parse::<Ipv6Addr>().ok()) {
        Some(address) => aor.at_host(&format!("[{address}]")),
        None => aor.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_read_in_every_spelling() {
        for uri in [
            "sip:[2001:db8::1]",
            "sip:[2001:DB8:0:0::1]:5060",
            "sip:2001:db8::1:5060",
            "sip:2001:db8::1:5060;transport=tcp",
        ] {
            let named = named(uri.as_bytes()).unwrap_or_else(|| panic!("{uri}"));
            assert_eq!((named.user(), named.host()), ("", "[2001:db8::1]"), "{uri}");
        }
        let bob = named(b"sip:bob@::1:5060").unwrap();
        assert_eq!((bob.user(), bob.host()), ("bob", "[::1]"));
        for wrong in ["sip:", "::1", "sip:nonsense:5060:x", "sip:bob@"] {
            assert!(named(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
