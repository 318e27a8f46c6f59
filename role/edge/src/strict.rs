//! Routers of RFC 2543, which put the next hop into the Request-URI and the target behind the
//! Routes, on either side of us (RFC 3261 §16.4, §16.6 step 6).
//!
//! ```text
//!   strict router ─► BYE sip:token@us;lr      becomes   BYE sip:bob@phone
//!                    Route: <sip:bob@phone>             (the token opened as if from a Route)
//!
//!   BYE sip:bob@phone                        becomes   BYE sip:strict.example.net ─► strict router
//!   Route: <sip:strict.example.net>                    Route: <sip:bob@phone>
//! ```
//!
//! Nobody but the sender of such a request pays for it: what comes in is looked at only where its
//! top Route opened no token, what goes out only where Routes are left.

use crate::core::EdgeCore;
use crate::dialog_track::Side;
use crate::token::DialogToken;
use sip::proxy::forward::preprocess_route;
use sip::{Edit, HeaderName, Message, SipUri};

impl EdgeCore {
    /// The token a strict router left in the Request-URI, who sent the request, and the request as
    /// a loose router would have sent it, without our Routes.
    pub(crate) fn strict_token(&self, request: &Message) -> Option<(DialogToken, Side, Message)> {
        request.header(HeaderName::ROUTE)?;
        let uri = SipUri::parse(request.request_uri()).ok()?;
        let (token, side) = self.opened(uri.user()?, request)?;
        let done = preprocess_route(request, |uri| self.is_ours(uri));
        done.strict.then_some((token, side, done.message))
    }
}

/// The request as a strict router wants it, if that is who its first Route names (a URI without
/// `lr`); otherwise the request itself.
pub(crate) fn in_routers_words(request: Message) -> Message {
    let Some(Ok(first)) = request.routes().next() else { return request };
    if first.sip_uri().map_or(true, |uri| uri.has_param("lr")) {
        return request;
    }
    let mut target = b"<".to_vec();
    target.extend_from_slice(request.request_uri());
    target.push(b'>');
    let rest = request.values(HeaderName::ROUTE).skip(1).map(<[u8]>::to_vec);
    let routes: Vec<Vec<u8>> = rest.chain([target]).collect();
    let edit = Edit::new(&request).replace_request_uri(first.uri()).remove_all(HeaderName::ROUTE);
    edit.append(HeaderName::ROUTE, routes.join(b", ".as_slice())).finish()
}
