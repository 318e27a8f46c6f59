//! Whether the server answers by another transport, asked beside the link that stands.

use crate::account::{Account, Link};
use bytes::Bytes;
use sansio::Entropy;
use sip::{HeaderName, Method, RequestBuilder, ViaBuilder};

/// An OPTIONS to the account's server (RFC 3261 §11), to be sent once on a link of its own. Any
/// response tells that the transport works, a refusal too.
pub fn probe_request(account: &Account, link: &Link, entropy: &mut dyn Entropy) -> Bytes {
    let branch = format!("z9hG4bK{}", entropy.token(16));
    let via = ViaBuilder::new(link.transport, account.sent_by(link)).branch(&branch).rport();
    let tag = entropy.token(10);
    RequestBuilder::new(Method::OPTIONS, format!("sip:{}", account.domain))
        .header(HeaderName::VIA, via.build())
        .header(HeaderName::MAX_FORWARDS, "70")
        .header(HeaderName::FROM, format!("<{}>;tag={tag}", account.aor()))
        .header(HeaderName::TO, format!("<sip:{}>", account.domain))
        .header(HeaderName::CALL_ID, entropy.token(24))
        .header(HeaderName::CSEQ, "1 OPTIONS")
        .build()
        .bytes()
        .clone()
}
