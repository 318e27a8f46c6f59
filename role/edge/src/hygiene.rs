//! What may not cross the edge: credentials meant for us, identities nobody proved, headers that
//! cannot be read.

use crate::core::EdgeCore;
use sip::body::Description;
use sip::digest::Credentials;
use sip::{Edit, HeaderName, Message, Method};

/// What only a trusted neighbour may say, and what is said to us alone (RFC 3325 §5, RFC 5502 §6,
/// RFC 7315 §6): our users' phones neither send it on nor hear it.
pub(crate) const AMONG_TRUSTED: [HeaderName<'static>; 8] = [
    HeaderName::P_ASSERTED_IDENTITY,
    HeaderName::P_PREFERRED_IDENTITY,
    HeaderName::REMOTE_PARTY_ID,
    HeaderName::P_SERVED_USER,
    HeaderName::P_ASSERTED_SERVICE,
    HeaderName::P_CHARGING_VECTOR,
    HeaderName::P_CHARGING_FUNCTION_ADDRESSES,
    HeaderName::P_PROFILE_KEY,
];

impl EdgeCore {
    /// Takes off what was meant for us or is not the sender's to say. Credentials for a realm of
    /// the far end's own pass: they answer its challenge (RFC 3261 §22.3).
    pub(crate) fn without_secrets<'m>(&self, mut edit: Edit<'m>, message: &'m Message) -> Edit<'m> {
        for name in [HeaderName::AUTHORIZATION, HeaderName::PROXY_AUTHORIZATION] {
            if message.header(name).is_none() {
                continue;
            }
            let all = message.headers(name).count();
            let kept: Vec<&[u8]> = message.headers(name).filter(|v| !self.is_secret(v)).collect();
            if kept.len() == all {
                continue;
            }
            edit = edit.remove_all(name);
            for value in kept {
                edit = edit.append(name, value);
            }
        }
        if message.has_any(&AMONG_TRUSTED) {
            for name in AMONG_TRUSTED {
                edit = edit.remove_all(name);
            }
        }
        edit
    }

    /// Whether these credentials are for us: a bearer token, or a digest of a realm served here.
    fn is_secret(&self, value: &[u8]) -> bool {
        let Some(credentials) = Credentials::parse(value) else { return true };
        if !credentials.is_digest() {
            return true;
        }
        let realm = credentials.realm();
        std::str::from_utf8(&realm).is_ok_and(|realm| self.directory.realm(realm).is_some())
    }
}

/// Why a request's routing headers make it unusable, as a reason phrase for a 400.
pub(crate) fn unreadable(request: &Message) -> Option<&'static str> {
    if request.routes().any(|route| route.is_err()) {
        return Some("Bad Route");
    }
    if request.record_routes().any(|route| route.is_err()) {
        return Some("Bad Record-Route");
    }
    // Two readers of it must not see two different bodies.
    if request.headers(HeaderName::CONTENT_TYPE).count() > 1 {
        return Some("Bad Content-Type");
    }
    // RFC 3261 §8.1.1.8: an INVITE has exactly one Contact, and only a SIP URI can be called back.
    let begins = request.method() == Some(Method::INVITE) && request.to_tag().is_none();
    let callable = || match request.contacts().next() {
        Some(contact) => contact.is_ok_and(|c| c.sip_uri().is_ok()),
        None => is_of_rfc_2543(request),
    };
    (begins && !callable()).then_some("Bad Contact")
}

/// Whether a request is of the time when neither branch nor Contact was mandatory.
fn is_of_rfc_2543(request: &Message) -> bool {
    request.top_via().is_ok_and(|via| via.branch().is_none_or(|b| !b.starts_with(b"z9hG4bK")))
}

/// An old INVITE without Contact is called back where its From says (RFC 2543 §6.13): today's
/// phones need to be told in a Contact.
pub(crate) fn with_contact(request: Message) -> Message {
    if request.method() != Some(Method::INVITE) || request.contacts().next().is_some() {
        return request;
    }
    let Some(uri) = request.from_().ok().map(|from| from.uri().to_vec()) else {
        return request;
    };
    let value = [b"<".as_slice(), &uri, b">"].concat();
    Edit::new(&request).append(HeaderName::CONTACT, value).finish()
}

/// Whether a message of offer and answer may hide a description where the relay would not see it: in
/// a body two readers could take apart differently (RFC 5621). It is refused with 415, or goes on without its body.
pub(crate) fn hides_description(message: &Message) -> bool {
    let method = match message.is_request() {
        true => message.method(),
        false => message.cseq().ok().map(|c| c.method),
    };
    let negotiates =
        matches!(method.map(|m| m.as_str()), Some("INVITE" | "ACK" | "PRACK" | "UPDATE"));
    negotiates && sip::body::description(message) == Description::Hidden
}

/// The message without its body.
pub(crate) fn bare(message: &Message) -> Message {
    Edit::new(message).replace_body("", b"").finish()
}
