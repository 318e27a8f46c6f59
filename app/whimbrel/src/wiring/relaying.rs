//! The edge's relay port on the relay role.

use edge::{MediaProfile, Refusal, RelayAsk, RelayDescription};
use relay::{Description, Direction, LegProfile, Protocol, Relay, SessionId};

/// The relay interface that only this machine reaches.
pub const INTERNAL: &str = "internal";

/// Has the relay write a description.
pub fn answer(relay: &Relay, ask: RelayAsk) -> Result<bytes::Bytes, Refusal> {
    let (description, is_offer) = match ask {
        RelayAsk::Offer(description) => (description, true),
        RelayAsk::Answer(description) => (description, false),
    };
    let description = translate(description);
    let written = match is_offer {
        true => relay.offer(&description),
        false => relay.answer(&description),
    };
    written.map_err(|error| {
        tracing::warn!(%error, "relay");
        let status = error.status();
        Refusal { status, reason: phrase(&error).into(), headers: Vec::new() }
    })
}

fn translate(d: RelayDescription) -> Description {
    Description {
        session: SessionId(d.session),
        branch: d.branch,
        direction: match d.from_caller {
            true => Direction::FromCaller,
            false => Direction::FromCallee,
        },
        sdp: d.sdp,
        from: leg(d.from),
        toward: leg(d.toward),
        signalled_from: Some(d.source),
        tag: String::new(),
    }
}

fn leg(profile: MediaProfile) -> LegProfile {
    match profile {
        MediaProfile::Plain => LegProfile::new(Protocol::Rtp),
        MediaProfile::Sdes => LegProfile::new(Protocol::Srtp),
        MediaProfile::WebRtc => LegProfile::new(Protocol::WebRtc),
        MediaProfile::Internal => {
            LegProfile { protocol: Protocol::Rtp, interface: Some(INTERNAL.into()) }
        }
    }
}

/// A reason phrase for the wire: no addresses, no internals.
fn phrase(error: &relay::RelayError) -> &'static str {
    match error.status() {
        400 => "Bad Session Description",
        481 => "No Offer Is Open",
        488 => "Not Acceptable Here",
        503 => "No Media Ports Left",
        _ => "Media Relay Failed",
    }
}
