//! Answering an offer, and reading the answer to ours.

use super::negotiate::{self, Agreed};
use super::{
    Capabilities, LocalMedia, Negotiated, OfferAnswerError, is_null, media_line, rejected,
};
use crate::{Direction, Session};

/// The first audio m-line that is enabled and whose transport `accepts` takes.
///
/// # Errors
/// [`OfferAnswerError::NoAudio`].
pub fn find_audio(
    offer: &Session,
    accepts: impl Fn(&str) -> bool,
) -> Result<usize, OfferAnswerError> {
    offer
        .media()
        .iter()
        .position(|m| m.kind() == "audio" && !m.is_rejected() && accepts(m.proto()))
        .ok_or(OfferAnswerError::NoAudio)
}

/// Answers `offer` with its m-line `index`; every other m-line is rejected. The answer uses the
/// transport of the offer, its payload types and its order of codecs (RFC 3264 §6.1).
///
/// # Errors
/// [`OfferAnswerError::NoCommonCodec`], `NoAudio`, `NoAddress`.
pub fn answer(
    offer: &Session,
    index: usize,
    local: &LocalMedia,
    caps: &Capabilities,
) -> Result<(Session, Negotiated), OfferAnswerError> {
    let offered = offer.media().get(index).ok_or(OfferAnswerError::NoAudio)?;
    let agreed = negotiate::common(offered, caps).ok_or(OfferAnswerError::NoCommonCodec)?;
    let mux = local.rtcp_mux && offered.rtcp_mux();
    let direction = local.direction.and(remote_direction(offer, index).reversed());
    let ptime_ms = offered.ptime_ms().unwrap_or(caps.ptime_ms);

    let formats: Vec<_> = agreed.formats().collect();
    let proto = offered.proto().to_owned();
    let ours = LocalMedia { direction, proto, ..local.clone() };
    let mut line = media_line(&ours, &formats, ptime_ms, mux);
    if let Some(mid) = offered.mid() {
        line.add_attribute("mid", Some(mid));
    }
    let mut session = Session::new(local.session_id, local.version, local.rtp.ip());
    for (i, media) in offer.media().iter().enumerate() {
        session.push_media(if i == index { line.clone() } else { rejected(media) });
    }
    let negotiated = negotiated(offer, index, agreed, Terms { direction, mux, ptime_ms })?;
    Ok((session, negotiated))
}

/// Reads the answer to `offer`, which this end made with `caps`.
///
/// # Errors
/// Each variant of [`OfferAnswerError`] but `NoAudio`.
pub fn apply_answer(
    offer: &Session,
    answer: &Session,
    caps: &Capabilities,
) -> Result<Negotiated, OfferAnswerError> {
    let (offered, answered) = (offer.media().len(), answer.media().len());
    if offered != answered {
        return Err(OfferAnswerError::MediaCount { offered, answered });
    }
    let index = find_audio(offer, |_| true)?;
    let (ours, theirs) = (&offer.media()[index], &answer.media()[index]);
    if theirs.is_rejected() {
        return Err(OfferAnswerError::Rejected);
    }
    if theirs.kind() != ours.kind() || !theirs.proto().eq_ignore_ascii_case(ours.proto()) {
        return Err(OfferAnswerError::Changed);
    }
    let mut agreed = negotiate::common(theirs, caps).ok_or(OfferAnswerError::NoCommonCodec)?;
    // What we accept has the numbers of our offer, all of them: the far end may change codec.
    agreed.receive.clone_from(&caps.codecs);
    agreed.receive_events.clone_from(&caps.telephone_events);
    let direction = offer.direction_of(index).and(remote_direction(answer, index).reversed());
    let mux = ours.rtcp_mux() && theirs.rtcp_mux();
    let ptime_ms = theirs.ptime_ms().unwrap_or(caps.ptime_ms);
    negotiated(answer, index, agreed, Terms { direction, mux, ptime_ms })
}

/// What the far end says it does, with the hold of RFC 2543 (`c=IN IP4 0.0.0.0`) read as "does not
/// receive".
fn remote_direction(remote: &Session, index: usize) -> Direction {
    let said = remote.direction_of(index);
    let null = remote.connection_of(index).and_then(|c| c.ip()).is_some_and(is_null);
    let ice = remote.ice_credentials_of(index).is_some();
    if null && !ice { said.and(Direction::SendOnly) } else { said }
}

/// What is agreed besides codecs.
struct Terms {
    direction: Direction,
    mux: bool,
    ptime_ms: u32,
}

fn negotiated(
    remote: &Session,
    index: usize,
    agreed: Agreed,
    terms: Terms,
) -> Result<Negotiated, OfferAnswerError> {
    let remote_rtp = remote.rtp_addr_of(index).ok_or(OfferAnswerError::NoAddress)?;
    let separate = remote.rtcp_addr_of(index).unwrap_or(remote_rtp);
    Ok(Negotiated {
        index,
        remote_rtp,
        remote_rtcp: if terms.mux { remote_rtp } else { separate },
        rtcp_mux: terms.mux,
        send: agreed.send,
        receive: agreed.receive,
        send_event: agreed.send_event,
        receive_events: agreed.receive_events,
        direction: terms.direction,
        // Beyond these a frame no longer fits one packet of any codec here.
        ptime_ms: terms.ptime_ms.clamp(10, 60) / 10 * 10,
    })
}
