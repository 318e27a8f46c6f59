//! The messages the layer writes itself: ACK, CANCEL and its own responses.

use crate::{HeaderName, Message, Method, RequestBuilder, ResponseBuilder, response_to};

/// Max-Forwards of a request that starts here (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: &str = "70";

/// The ACK for a non-2xx final (§17.1.1.3): the INVITE's top Via, Request-URI, From, Call-ID, CSeq
/// number and Route; To from the response.
pub(super) fn ack(invite: &Message, response: &Message) -> Option<Message> {
    let to = response.header(HeaderName::TO)?;
    hop_by_hop(invite, Method::ACK, to).map(RequestBuilder::build)
}

/// The CANCEL of `invite` (§9.1), with a Reason (RFC 3326) when one is given.
pub(super) fn cancel(invite: &Message, reason: Option<&str>) -> Option<Message> {
    let to = invite.header(HeaderName::TO)?;
    let builder = hop_by_hop(invite, Method::CANCEL, to)?;
    Some(match reason {
        Some(reason) => builder.header(HeaderName::REASON, reason).build(),
        None => builder.build(),
    })
}

fn hop_by_hop(invite: &Message, method: Method<'_>, to: &[u8]) -> Option<RequestBuilder> {
    let via = invite.top_via().ok()?;
    let number = invite.cseq().ok()?.number;
    let builder = RequestBuilder::new(method, invite.request_uri())
        .header(HeaderName::VIA, via.raw())
        .header(HeaderName::MAX_FORWARDS, MAX_FORWARDS);
    Some(
        builder
            .copy(invite, HeaderName::ROUTE)
            .header(HeaderName::FROM, invite.header(HeaderName::FROM)?)
            .header(HeaderName::TO, to)
            .header(HeaderName::CALL_ID, invite.call_id()?)
            .header(HeaderName::CSEQ, format!("{number} {method}")),
    )
}

/// The layer's own 100 (§8.2.6.1): no To tag.
pub(super) fn trying(invite: &Message) -> Message {
    response_to(invite, 100, "Trying").build()
}

/// Any other response of the layer's own.
pub(super) fn response(request: &Message, code: u16, reason: &str, tag: &str) -> ResponseBuilder {
    response_to(request, code, reason).to_tag(tag)
}
