//! Which of several finals goes upstream (RFC 3261 §16.7 steps 6 and 7).

use crate::{Edit, HeaderName, Message, response_to};

/// Rank of a final: the lowest is the best.
///
/// ```text
/// 6xx                                         a decision for all of the user's phones
/// 487, when the caller has cancelled          what the caller expects
/// 3xx
/// 401 407                                     challenges, aggregated
/// 415 420 421 422 484 488                     the caller can mend the request
/// other 4xx                                   486: a person is busy
/// 404 410 480                                 nobody there
/// 408 430 481 487                             nothing is known
/// 5xx, then 503
/// ```
/// §16.7 step 6 demands the lowest class and prefers what affects resubmission; the order inside
/// 4xx is ours: a phone that is busy tells more than a phone that is switched off.
pub(super) fn rank(code: u16, cancelled: bool) -> u8 {
    match code {
        600..=699 => 0,
        487 if cancelled => 1,
        300..=399 => 2,
        401 | 407 => 3,
        415 | 420 | 421 | 422 | 484 | 488 => 4,
        404 | 410 | 480 => 6,
        408 | 430 | 481 | 487 => 7,
        400..=499 => 5,
        503 => 9,
        _ => 8,
    }
}

/// Adds to `best` (401 or 407) the challenges of the other finals, so that the caller can answer
/// all of them at once (§16.7 step 7).
pub(super) fn aggregate<'a>(best: &Message, others: impl Iterator<Item = &'a Message>) -> Message {
    let names = [HeaderName::WWW_AUTHENTICATE, HeaderName::PROXY_AUTHENTICATE];
    let mut edit = Edit::new(best);
    let mut edited = false;
    for other in others.filter(|m| matches!(m.status(), Some(401 | 407))) {
        for name in names {
            for challenge in other.headers(name) {
                edit = edit.append(name, challenge);
                edited = true;
            }
        }
    }
    if edited { edit.finish() } else { best.clone() }
}

/// 503 means "the server you asked cannot"; upstream we are that server and can, so it becomes 500
/// (§16.7 step 6). The cause it named stays (RFC 3326).
pub(super) fn soften(request: &Message, best: Message) -> Message {
    if best.status() != Some(503) {
        return best;
    }
    let ours = local(request, 500);
    let reasons = best.headers(HeaderName::REASON);
    reasons.fold(Edit::new(&ours), |edit, reason| edit.append(HeaderName::REASON, reason)).finish()
}

/// A final of the proxy's own.
pub(super) fn local(request: &Message, code: u16) -> Message {
    let builder = response_to(request, code, crate::reason_phrase(code));
    if request.to().is_ok_and(|to| to.tag().is_some()) {
        return builder.build();
    }
    builder.to_tag(&local_tag(request)).build()
}

/// A To tag for our own finals: derived, so that the context needs no randomness. Nothing is
/// guarded by it: no dialog comes of a failure.
fn local_tag(request: &Message) -> String {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(request.bytes());
    format!("p{:016x}", hasher.finish())
}
