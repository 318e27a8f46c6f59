//! What happens to a request on its way through a proxy (RFC 3261 §16.3, §16.4, §16.6), and to a
//! response on its way back.
//!
//! ```text
//!   request in ─► received_from ─► preprocess_route ─► is_loop, Outgoing::prepare ─► request out
//!                 Via: received,    Route: ours off,    Max-Forwards - 1, Max-Breadth,
//!                 rport             strict router       Record-Route, Via with our branch
//!   response in ─► strip_via ─► response out
//! ```
//!
//! Everything is a splice: what a function does not touch stays byte-exact.

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;

use foldhash::quality::FixedState;
use sansio::push_hex;

use crate::reply::Stamp;
use crate::writer::Decimal;
use crate::{Edit, HeaderName, Message, NameAddr, SipUri, Via};

/// Max-Forwards given to a request that has none (RFC 3261 §16.6 step 3).
const MAX_FORWARDS: u32 = 70;

/// Max-Breadth of a request that has none (RFC 5393 §5.3.3.1).
const MAX_BREADTH: u32 = 60;

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Max-Forwards has run out (RFC 3261 §16.3 step 3).
    #[error("too many hops")]
    TooManyHops,
    /// The request was here before and would take the same way again (RFC 5393 §4).
    #[error("loop detected")]
    Loop,
    /// More branches than Max-Breadth allows (RFC 5393 §5.3.3).
    #[error("max-breadth exceeded")]
    BreadthExceeded,
}

impl Refusal {
    /// What to answer.
    pub fn status(self) -> u16 {
        match self {
            Self::TooManyHops => 483,
            Self::Loop => 482,
            Self::BreadthExceeded => 440,
        }
    }
}

/// The changes a proxy makes to a request for one branch.
#[derive(Debug, Clone, Default)]
pub struct Outgoing<'a> {
    /// The new Request-URI, when it changes.
    pub request_uri: Option<&'a [u8]>,
    /// Our Via value, made with [`ViaBuilder`](crate::ViaBuilder).
    pub via: &'a str,
    /// Our Record-Route values, the one nearest to the target last: it ends up on top.
    pub record_routes: &'a [&'a str],
    /// The branch's share of Max-Breadth, from [`split_breadth`].
    pub max_breadth: Option<u32>,
}

impl Outgoing<'_> {
    /// Applies the changes, Max-Forwards among them, and leaves the edit open for more (body, path).
    pub fn prepare<'m>(&self, request: &'m Message) -> Result<Edit<'m>, Refusal> {
        let left = max_forwards(request)?;
        let mut edit =
            Edit::new(request).replace_first(HeaderName::MAX_FORWARDS, Decimal::new(left.into()));
        if let Some(uri) = self.request_uri {
            edit = edit.replace_request_uri(uri);
        }
        for route in self.record_routes {
            edit = edit.prepend(HeaderName::RECORD_ROUTE, *route);
        }
        if let Some(share) = self.max_breadth {
            edit = edit.replace_first(HeaderName::MAX_BREADTH, Decimal::new(share.into()));
        }
        Ok(edit.prepend(HeaderName::VIA, self.via))
    }
}

/// The Max-Forwards of the request as it leaves, or 483 (RFC 3261 §16.3 step 3).
pub fn max_forwards(request: &Message) -> Result<u32, Refusal> {
    match request.max_forwards() {
        Some(0) => Err(Refusal::TooManyHops),
        Some(hops) => Ok(u32::from(hops) - 1),
        None => Ok(MAX_FORWARDS),
    }
}

/// A hash over everything in the request that decides where it goes, for the branch of our Via (RFC
/// 5393 §4.2): the same request with the same token has looped, with another one it spirals.
/// `salt` is the same for all proxies that share a name. Via and Max-Forwards stay out of it.
pub fn loop_token(salt: u64, request: &Message) -> String {
    let mut hasher = FixedState::with_seed(salt).build_hasher();
    let mut add = |part: &[u8]| {
        hasher.write_usize(part.len());
        hasher.write(part);
    };
    add(request.request_uri());
    add(request.call_id().unwrap_or_default());
    add(request.to_tag().unwrap_or_default());
    add(request.from_tag().unwrap_or_default());
    add(&request.cseq().map(|c| c.number).unwrap_or_default().to_be_bytes());
    // Credentials decide whether it goes on, never where: with them in, a request that comes back
    // without the ones taken off here would not be known again.
    let routing = [HeaderName::ROUTE, HeaderName::PROXY_REQUIRE];
    for name in routing {
        request.headers(name).for_each(&mut add);
    }
    let mut token = String::with_capacity(16);
    push_hex(&mut token, hasher.finish(), 16);
    token
}

/// Our branch: `prefix` (with the magic cookie), what makes it unique, and the loop token.
pub fn branch(prefix: &str, unique: &str, loop_token: &str) -> String {
    let mut branch = String::with_capacity(prefix.len() + unique.len() + 1 + loop_token.len());
    for part in [prefix, unique, ".", loop_token] {
        branch.push_str(part);
    }
    branch
}

/// Whether one of our own Vias (`is_ours` looks at it) already carries the loop token this request
/// would get: answer 482.
pub fn is_loop(salt: u64, request: &Message, is_ours: impl Fn(&Via<'_>) -> bool) -> bool {
    // Nearly no request was here before, so the hash is made only for one that was.
    let mut token = None;
    request
        .values(HeaderName::VIA)
        .filter_map(|value| Via::parse(value).ok())
        .filter(|via| is_ours(via))
        .filter_map(|via| via.branch())
        .any(|branch| {
            let token = token.get_or_insert_with(|| loop_token(salt, request));
            branch.rsplit(|b| *b == b'.').next() == Some(token.as_bytes())
        })
}

/// Shares the request's Max-Breadth out among `branches` parallel branches (RFC 5393 §5.3.3): each
/// gets at least one, or 440.
pub fn split_breadth(request: &Message, branches: u32) -> Result<Vec<u32>, Refusal> {
    let text = request.header(HeaderName::MAX_BREADTH);
    let total = text
        .and_then(|t| std::str::from_utf8(t).ok()?.trim().parse().ok())
        .unwrap_or(MAX_BREADTH)
        .min(MAX_BREADTH);
    if branches == 0 {
        return Ok(Vec::new());
    }
    if total < branches {
        return Err(Refusal::BreadthExceeded);
    }
    let extra = total % branches;
    Ok((0..branches).map(|i| total / branches + u32::from(i < extra)).collect())
}

/// Notes in the top Via where the request came from: `received` when the sent-by is not that address,
/// and both parameters when the client asked by `rport` (RFC 3261 §18.2.1, RFC 3581 §4). What the
/// sender wrote into them is thrown away.
pub fn received_from(request: &Message, peer: SocketAddr) -> Message {
    let Ok(via) = request.top_via() else { return request.clone() };
    let Some(stamp) = Stamp::new(via, peer) else { return request.clone() };
    if let Some(stamped) = request.with_top_via(via.raw(), |out| stamp.write(out)) {
        return stamped;
    }
    let mut value = Vec::with_capacity(160);
    stamp.write(&mut value);
    Edit::new(request).replace_first(HeaderName::VIA, value).finish()
}

/// Takes the topmost Via off a response (RFC 3261 §16.7 step 3).
pub fn strip_via(response: &Message) -> Message {
    Edit::new(response).remove_first(HeaderName::VIA).finish()
}

/// What [`preprocess_route`] found.
#[derive(Debug, Clone)]
pub struct Preprocessed {
    /// The request without the Route values that were ours.
    pub message: Message,
    /// Those values' URIs, topmost first: they carry what we recorded.
    pub ours: Vec<Vec<u8>>,
    /// The request came from a strict router, which had put us into the Request-URI.
    pub strict: bool,
}

/// Undoes what a strict router did, then takes our own values off the top of Route (RFC 3261
/// §16.4). `is_ours` says whether a URI names this proxy as it records itself.
pub fn preprocess_route(request: &Message, is_ours: impl Fn(&SipUri<'_>) -> bool) -> Preprocessed {
    let mut ours = Vec::new();
    let (mut message, strict) = match unfold_strict(request, &is_ours) {
        Some((message, recorded)) => {
            ours.push(recorded);
            (message, true)
        }
        None => (request.clone(), false),
    };
    while let Some(uri) =
        top_route(&message).filter(|uri| SipUri::parse(uri).is_ok_and(|uri| is_ours(&uri)))
    {
        ours.push(uri);
        message = Edit::new(&message).remove_first(HeaderName::ROUTE).finish();
    }
    Preprocessed { message, ours, strict }
}

/// A strict router moves the next hop into the Request-URI and the target to the end of Route. Only
/// a URI with `lr` is one we recorded: `REGISTER sip:us` is not.
fn unfold_strict(
    request: &Message,
    is_ours: impl Fn(&SipUri<'_>) -> bool,
) -> Option<(Message, Vec<u8>)> {
    let recorded = SipUri::parse(request.request_uri()).ok()?;
    if !recorded.has_param("lr") || !is_ours(&recorded) {
        return None;
    }
    let routes: Vec<&[u8]> = request.values(HeaderName::ROUTE).collect();
    let (target, rest) = routes.split_last()?;
    let target = NameAddr::parse(target).ok()?.uri();
    let mut edit = Edit::new(request).replace_request_uri(target).remove_all(HeaderName::ROUTE);
    if !rest.is_empty() {
        edit = edit.append(HeaderName::ROUTE, rest.join(b", ".as_slice()));
    }
    Some((edit.finish(), request.request_uri().to_vec()))
}

fn top_route(message: &Message) -> Option<Vec<u8>> {
    let top = message.values(HeaderName::ROUTE).next()?;
    Some(NameAddr::parse(top).ok()?.uri().to_vec())
}
