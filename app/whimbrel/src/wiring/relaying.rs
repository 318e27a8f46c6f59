//! The edge's relay port on the relay role.

use crate::config::Interface;
use edge::{MediaProfile, Refusal, RelayAsk, RelayDescription};
use relay::{Description, Direction, LegProfile, Protocol, Relay, SessionId};
use std::net::IpAddr;
use std::sync::Arc;

/// The relay interface that only this machine reaches.
pub const INTERNAL: &str = "internal";

/// The interfaces media can use. A side's media goes by the interface it signals to: an IPv6 phone
/// is offered an IPv6 address, an inner network an inner one.
#[derive(Debug, Clone)]
pub struct MediaSides {
    /// Bound address and name; none where there is no choice.
    sides: Arc<[(IpAddr, String)]>,
}

impl MediaSides {
    /// Of these interfaces, as the relay knows them too.
    pub fn new(interfaces: &[Interface]) -> Self {
        let side = |i: &Interface| (i.bind, i.name.clone());
        let several = interfaces.len() > 1;
        Self { sides: interfaces.iter().filter(|_| several).map(side).collect() }
    }

    /// The interface for a party that signals to `local`; `None` for the relay's first.
    fn of(&self, local: IpAddr) -> Option<String> {
        let local = local.to_canonical();
        let family = |bind: &IpAddr| bind.is_ipv4() == local.is_ipv4();
        let exact = self.sides.iter().find(|(bind, _)| *bind == local);
        let any = || self.sides.iter().find(|(b, _)| b.is_unspecified() && family(b));
        let near = || self.sides.iter().find(|(b, _)| family(b));
        exact.or_else(any).or_else(near).map(|(_, name)| name.clone())
    }
}

/// Has the relay write a description.
pub fn answer(relay: &Relay, sides: &MediaSides, ask: RelayAsk) -> Result<bytes::Bytes, Refusal> {
    let (description, is_offer) = match ask {
        RelayAsk::Offer(description) => (description, true),
        RelayAsk::Answer(description) => (description, false),
    };
    let description = translate(sides, description);
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

fn translate(sides: &MediaSides, d: RelayDescription) -> Description {
    Description {
        session: SessionId(d.session),
        branch: d.branch,
        direction: match d.from_caller {
            true => Direction::FromCaller,
            false => Direction::FromCallee,
        },
        sdp: d.sdp,
        from: leg(d.from, sides.of(d.from_local)),
        toward: leg(d.toward, sides.of(d.toward_local)),
        signalled_from: Some(d.source),
        tag: String::new(),
    }
}

fn leg(profile: MediaProfile, side: Option<String>) -> LegProfile {
    let (protocol, interface) = match profile {
        MediaProfile::Plain => (Protocol::Rtp, side),
        MediaProfile::Sdes => (Protocol::Srtp, side),
        MediaProfile::WebRtc => (Protocol::WebRtc, side),
        MediaProfile::Internal => (Protocol::Rtp, Some(INTERNAL.into())),
    };
    LegProfile { interface, ..LegProfile::new(protocol) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, bind: &str) -> Interface {
        let bind = bind.parse().unwrap();
        Interface {
            name: name.into(),
            bind,
            advertise: None,
            sip_name: None,
            transports: Vec::new(),
        }
    }

    #[test]
    fn media_goes_by_the_interface_its_party_signals_to() {
        let sides = MediaSides::new(&[
            interface("public", "198.51.100.7"),
            interface("inner", "10.0.0.5"),
            interface("six", "::"),
        ]);
        let of = |local: &str| sides.of(local.parse().unwrap());
        assert_eq!(of("10.0.0.5").as_deref(), Some("inner"));
        assert_eq!(of("::ffff:198.51.100.7").as_deref(), Some("public"));
        assert_eq!(of("2001:db8::7").as_deref(), Some("six"), "the wildcard of its family");
        assert_eq!(of("192.0.2.1").as_deref(), Some("public"), "its family at least");
        let alone = MediaSides::new(&[interface("default", "0.0.0.0")]);
        assert_eq!(alone.of("10.0.0.5".parse().unwrap()), None, "no choice, no name");
    }
}
