//! What the phone understands beyond RFC 3261, and what it learned of its peers.

use sip::{HeaderName, Message, Method, split_list};

/// The methods we take: for OPTIONS, INVITE and their answers.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, \
     NOTIFY, MESSAGE";

/// The bodies we read.
pub(crate) const ACCEPT: &str = "application/sdp, multipart/mixed";

/// The extensions we say we support in INVITE and its answers.
pub(crate) const SUPPORTED: &str = "outbound, timer, 100rel, replaces, join, norefersub, nosub, \
     trickle-ice";

/// Extensions a request may require of us.
const UNDERSTOOD: &[&str] =
    &["timer", "100rel", "replaces", "join", "norefersub", "nosub", "trickle-ice"];

/// What a call's peer said it can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// It takes UPDATE (RFC 3311 §4).
    pub update: bool,
}

impl Peer {
    /// Learns from a message of the peer's; one that says nothing changes nothing.
    pub(crate) fn learn(&mut self, message: &Message) {
        if message.header(HeaderName::ALLOW).is_some() {
            self.update = message.lists(HeaderName::ALLOW, "UPDATE");
        }
    }
}

/// What a request requires that we do not understand: the Unsupported of a 420.
pub(crate) fn not_understood(request: &Message) -> Option<String> {
    let required = request.headers(HeaderName::REQUIRE).flat_map(split_list);
    let known = |tag: &[u8]| UNDERSTOOD.iter().any(|u| tag.eq_ignore_ascii_case(u.as_bytes()));
    let unknown: Vec<_> = required.filter(|tag| !known(tag)).map(String::from_utf8_lossy).collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

/// Whether a request's body is refused with 415: its sender insists on a part we do not know, or it
/// hides a description (RFC 5621 §3.1). Other bodies that are no descriptions are passed over.
pub(crate) fn cannot_read(request: &Message) -> bool {
    const KNOWN: [&str; 2] = ["application/sdp", "message/sipfrag"];
    let negotiates =
        matches!(request.method(), Some(Method::INVITE | Method::UPDATE | Method::PRACK));
    negotiates
        && (sip::body::description(request) == sip::body::Description::Hidden
            || sip::body::requires_other_than(request, &KNOWN))
}
