//! What a phone refuses before it looks for a dialog: what cannot be read, is not meant for a phone,
//! or asks for what we cannot give (RFC 3261 §8.2).

use crate::extensions::ALLOW;
use crate::phone::Phone;
use bytes::Bytes;
use sip::{HeaderName, Message, Method, ResponseBuilder, Uri, response_to};

const SDP: &str = "application/sdp";

impl Phone {
    /// Answers a request that cannot be read, if it says whom to answer.
    pub(crate) fn refuse_malformed(&mut self, bytes: Bytes, status: u16) {
        let Some(request) = Message::parse_lenient(bytes) else { return };
        if !request.is_request() || request.method() == Some(Method::ACK) {
            return;
        }
        let tag = self.entropy.token(10);
        let refused = response_to(&request, status, "").to_tag(&tag).build();
        self.send_again(refused.bytes().clone());
    }
}

/// The refusal of a request by its method and headers alone.
pub(crate) fn refusal(request: &Message) -> Option<ResponseBuilder> {
    // RFC 3261 §8.2.2.1.
    let known = matches!(Uri::parse(request.request_uri()), Ok(Uri::Sip(_)))
        || request.request_uri().get(..4).is_some_and(|s| s.eq_ignore_ascii_case(b"tel:"));
    if !known {
        return Some(response_to(request, 416, ""));
    }
    if request.to_tag().is_none() && request.method() == Some(Method::BYE) {
        return Some(response_to(request, 481, ""));
    }
    if request.method() != Some(Method::INVITE) {
        return None;
    }
    // RFC 3261 §8.2.3: a body we cannot read, unless it may be ignored.
    if !request.body().is_empty() && !is_readable(request) {
        let refused = response_to(request, 415, "").header(HeaderName::ACCEPT, SDP);
        return Some(refused.header(HeaderName::ALLOW, ALLOW));
    }
    // RFC 3261 §20.1: whoever names what it takes, and not this, has no use for our answer.
    let mut accepted = request.values(HeaderName::ACCEPT).peekable();
    let takes = |value: &[u8]| {
        let kind = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let fits = |known: &str| kind.eq_ignore_ascii_case(known.as_bytes());
        fits(SDP) || fits("application/*") || fits("*/*")
    };
    (accepted.peek().is_some() && !accepted.any(takes)).then(|| response_to(request, 406, ""))
}

fn is_readable(request: &Message) -> bool {
    let kind = request.header(HeaderName::CONTENT_TYPE).unwrap_or_default();
    let is_multipart = kind.get(..10).is_some_and(|k| k.eq_ignore_ascii_case(b"multipart/"));
    let disposition = request.header(HeaderName::CONTENT_DISPOSITION).unwrap_or_default();
    let lower = disposition.to_ascii_lowercase();
    // RFC 3261 §20.11.
    let optional = lower.windows(17).any(|w| w == b"handling=optional");
    request.has_content_type(SDP) || is_multipart || optional
}
