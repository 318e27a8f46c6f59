//! How a message finds its transaction (RFC 3261 §17.1.3, §17.2.3).

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use crate::{Message, Method, Via};

/// The cookie that makes a branch globally unique (§8.1.1.7).
const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// Which table a wire key belongs to: both sides of a request may live in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client = b'c' as isize,
    Server = b's' as isize,
}

/// Writes the wire key of `message`, taken as one of method `method`, into `out`. `None` when the
/// message lacks what a key needs.
///
/// ```text
/// side | method | 0 | branch | 0 | sent-by in lower case         RFC 3261
/// side | method | 0 | 0 | URI 0 From-tag 0 Call-ID 0 CSeq 0 Via   RFC 2543, no cookie in the branch
/// ```
/// The RFC 2543 key leaves the To tag out, so that the ACK finds the INVITE it acknowledges.
pub(super) fn write(
    out: &mut Vec<u8>,
    side: Side,
    message: &Message,
    method: Method<'_>,
) -> Option<()> {
    let via = message.top_via().ok()?;
    out.clear();
    out.push(side as u8);
    out.extend_from_slice(method.as_bytes());
    out.push(0);
    match message.top_branch().filter(|b| b.starts_with(MAGIC_COOKIE)) {
        Some(branch) => {
            out.extend_from_slice(branch);
            out.push(0);
            let at = out.len();
            out.extend_from_slice(via.sent_by());
            out[at..].make_ascii_lowercase();
        }
        None => write_rfc2543(out, message, &via)?,
    }
    Some(())
}

fn write_rfc2543(out: &mut Vec<u8>, message: &Message, via: &Via<'_>) -> Option<()> {
    let from = message.from_().ok()?;
    let cseq = message.cseq().ok()?.number.to_string();
    let uri = if message.is_request() { message.request_uri() } else { b"" };
    let parts =
        [uri, from.tag().unwrap_or_default(), message.call_id()?, cseq.as_bytes(), via.raw()];
    for part in parts {
        out.push(0);
        out.extend_from_slice(part);
    }
    Some(())
}

/// The method under which a request is filed: ACK and CANCEL look for their INVITE (§17.2.3).
pub(super) fn filed_under(method: Method<'_>) -> Method<'_> {
    if method == Method::ACK || method == Method::CANCEL { Method::INVITE } else { method }
}

/// What requests that reached us by two paths have in common (§8.2.2.2): From tag, Call-ID, CSeq.
/// `None` inside a dialog, where requests do not merge. Salted, so that nobody can aim at
/// collisions.
pub(super) fn merge_hash(salt: u64, message: &Message) -> Option<u64> {
    if message.to_tag().is_some() {
        return None;
    }
    let cseq = message.cseq().ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(salt);
    hasher.write_u32(cseq.number);
    for part in [cseq.method.as_bytes(), message.from_tag().unwrap_or_default(), message.call_id()?]
    {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    Some(hasher.finish())
}

/// The To tag the layer gives to responses of its own: the same for the same request, so that a
/// retransmission is answered alike even when no transaction was kept.
pub(super) fn own_tag(salt: u64, message: &Message) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(salt.rotate_left(32));
    hasher.write(message.call_id().unwrap_or_default());
    if let Ok(from) = message.from_() {
        hasher.write(from.tag().unwrap_or_default());
    }
    format!("{:016x}", hasher.finish())
}
