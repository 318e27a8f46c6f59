//! The edge's relay port on the relay role.

use crate::config::{Interface, Media};
use crate::recordings::Recorded;
use edge::{MediaProfile, Refusal, RelayAsk, RelayDescription, RelayDigit, RelayTrickle};
use relay::{
    CodecPolicy, Description, Dialect, Direction, IceWish, LegProfile, MuxWish, Protocol, Relay,
    SessionId,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The relay interface that only this machine reaches.
pub const INTERNAL: &str = "internal";

/// The interfaces media can use, and the codecs of each kind of side. A side's media goes by the interface it signals to: an IPv6 phone
/// is offered an IPv6 address, an inner network an inner one.
#[derive(Debug, Clone)]
pub struct MediaSides {
    /// Bound address and name; none where there is no choice.
    sides: Arc<[(IpAddr, String)]>,
    codecs: Arc<Codecs>,
}

impl MediaSides {
    /// Of these interfaces, as the relay knows them too.
    pub fn new(interfaces: &[Interface], media: &Media) -> Self {
        let codecs = Arc::new(Codecs::new(media));
        let side = |i: &Interface| (i.bind, i.name.clone());
        let several = interfaces.len() > 1;
        Self { sides: interfaces.iter().filter(|_| several).map(side).collect(), codecs }
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

/// The codecs of each kind of side: `[media.phones]`, `[media.browsers]`, `[media.peers.NAME]`.
#[derive(Debug, Clone, Default)]
struct Codecs {
    phones: CodecPolicy,
    browsers: CodecPolicy,
    /// By `edge::peer_number`.
    peers: BTreeMap<u64, CodecPolicy>,
}

impl Codecs {
    fn new(media: &Media) -> Self {
        let peer =
            |(name, policy): (&String, &CodecPolicy)| (edge::peer_number(name), policy.clone());
        Self {
            phones: media.phones.clone(),
            browsers: media.browsers.clone(),
            peers: media.peers.iter().map(peer).collect(),
        }
    }

    fn of(&self, profile: MediaProfile, peer: u64) -> CodecPolicy {
        match profile {
            // Our own services speak what they are offered.
            MediaProfile::Internal => CodecPolicy::default(),
            _ if peer != 0 => self.peers.get(&peer).cloned().unwrap_or_default(),
            MediaProfile::WebRtc => self.browsers.clone(),
            MediaProfile::Plain
            | MediaProfile::Sdes
            | MediaProfile::EndToEnd
            | MediaProfile::Mediated => self.phones.clone(),
        }
    }
}

/// As [`answer`], where calls may be recorded: who is recorded is told so in its description, and
/// what is agreed is told to the recorder.
pub fn answer_recorded(
    relay: &Relay,
    sides: &MediaSides,
    ask: RelayAsk,
    recorded: &Recorded,
) -> Result<bytes::Bytes, Refusal> {
    let (call, agreed) = match &ask {
        RelayAsk::Offer(d) => (d.session, None),
        RelayAsk::Answer(d) => (d.session, Some((d.from_caller, d.sdp.clone()))),
        RelayAsk::Digit(_) | RelayAsk::Trickle(_) => return answer(relay, sides, ask),
        RelayAsk::Record(wish) => {
            let done = recorded.wish(*wish).then(bytes::Bytes::new);
            return done.ok_or_else(|| Refusal::new(501, "Not For You To Say"));
        }
    };
    let written = answer(relay, sides, ask)?;
    if let Some((from_caller, sdp)) = agreed {
        recorded.agreed(call, from_caller, &sdp);
    }
    Ok(recorded.mark(call, written))
}

/// Has the relay write a description, or send a digit.
pub fn answer(relay: &Relay, sides: &MediaSides, ask: RelayAsk) -> Result<bytes::Bytes, Refusal> {
    let (description, is_offer) = match ask {
        RelayAsk::Offer(description) => (description, true),
        RelayAsk::Answer(description) => (description, false),
        RelayAsk::Digit(digit) => return send_digit(relay, digit),
        // Nothing is recorded here.
        RelayAsk::Record(_) => return Err(Refusal::new(501, "Not Recorded")),
        RelayAsk::Trickle(trickle) => return take_trickled(relay, &trickle),
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
    let codecs = &sides.codecs;
    let ice = offers_ice(&d.sdp);
    // Servers have addresses of their own; phones may be anywhere.
    let to_phone = ice && d.toward_peer == 0;
    Description {
        session: SessionId(d.session),
        branch: d.branch,
        direction: match d.from_caller {
            true => Direction::FromCaller,
            false => Direction::FromCallee,
        },
        sdp: d.sdp,
        from: leg(d.from, sides.of(d.from_local), codecs.of(d.from, d.from_peer), ice),
        toward: leg(
            d.toward,
            sides.of(d.toward_local),
            codecs.of(d.toward, d.toward_peer),
            to_phone,
        ),
        signalled_from: Some(d.source),
        tag: String::new(),
    }
}

fn take_trickled(relay: &Relay, trickle: &RelayTrickle) -> Result<bytes::Bytes, Refusal> {
    let RelayTrickle { session, from, fragment } = trickle;
    match relay.trickle(SessionId(*session), *from, fragment) {
        Ok(true) => Ok(bytes::Bytes::new()),
        Ok(false) => Err(Refusal::new(501, "Candidates Pass")),
        Err(error) => {
            // RFC 3261 §20.43: what exactly is wrong.
            let warning = format!("399 whimbrel \"{error}\"");
            let headers = vec![("Warning", warning)];
            Err(Refusal { status: error.status(), reason: phrase(&error).into(), headers })
        }
    }
}

fn send_digit(relay: &Relay, digit: RelayDigit) -> Result<bytes::Bytes, Refusal> {
    let RelayDigit { session, toward, digit, duration_ms } = digit;
    match relay.send_digit(SessionId(session), toward, digit, duration_ms) {
        true => Ok(bytes::Bytes::new()),
        false => Err(Refusal::new(501, "Digits Pass")),
    }
}

/// Whether a description speaks ICE for a stream that is not a browser's: browsers are spoken to as
/// they are, whatever else.
fn offers_ice(sdp: &[u8]) -> bool {
    let has = |words: &[u8]| sdp.windows(words.len()).any(|w| w == words);
    has(b"\na=ice-ufrag:") && has(b"\na=rtcp-mux") && !has(b"UDP/TLS/")
}

/// Phones are answered ICE where they offer it, with one port for RTP and RTCP, and offered it where
/// the other side speaks it: who does not know it passes over it.
fn dialect(profile: MediaProfile, ice: bool) -> Dialect {
    match profile {
        MediaProfile::Plain | MediaProfile::Sdes | MediaProfile::EndToEnd if ice => Dialect {
            ice: IceWish::AsOffered,
            mux: MuxWish { as_offered: true, accept: true, ..MuxWish::default() },
            trickle: true,
            ..Dialect::default()
        },
        MediaProfile::WebRtc => Dialect { trickle: true, ..Dialect::default() },
        _ => Dialect::default(),
    }
}

fn leg(profile: MediaProfile, side: Option<String>, codecs: CodecPolicy, ice: bool) -> LegProfile {
    let (protocol, interface) = match profile {
        MediaProfile::Plain | MediaProfile::EndToEnd => (Protocol::Rtp, side),
        MediaProfile::Mediated => (Protocol::Zrtp, side),
        MediaProfile::Sdes => (Protocol::Srtp, side),
        MediaProfile::WebRtc => (Protocol::WebRtc, side),
        MediaProfile::Internal => (Protocol::Rtp, Some(INTERNAL.into())),
    };
    let dialect = dialect(profile, ice);
    LegProfile { interface, codecs, dialect, ..LegProfile::new(protocol) }
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
            dscp_media: crate::config::Dscp::EF,
            dscp_signalling: crate::config::Dscp::CS5,
        }
    }

    #[test]
    fn media_goes_by_the_interface_its_party_signals_to() {
        let sides = MediaSides::new(
            &[
                interface("public", "198.51.100.7"),
                interface("inner", "10.0.0.5"),
                interface("six", "::"),
            ],
            &Media::default(),
        );
        let of = |local: &str| sides.of(local.parse().unwrap());
        assert_eq!(of("10.0.0.5").as_deref(), Some("inner"));
        assert_eq!(of("::ffff:198.51.100.7").as_deref(), Some("public"));
        assert_eq!(of("2001:db8::7").as_deref(), Some("six"), "the wildcard of its family");
        assert_eq!(of("192.0.2.1").as_deref(), Some("public"), "its family at least");
        let alone = MediaSides::new(&[interface("default", "0.0.0.0")], &Media::default());
        assert_eq!(alone.of("10.0.0.5".parse().unwrap()), None, "no choice, no name");
    }

    #[test]
    fn r5_6_each_kind_of_side_has_its_codecs() {
        let only = |name: &str| CodecPolicy { only: vec![name.into()], ..CodecPolicy::default() };
        let media = Media {
            phones: only("PCMA"),
            browsers: only("opus"),
            peers: [("carrier".to_owned(), only("G722"))].into(),
            ..Media::default()
        };
        let codecs = Codecs::new(&media);
        let carrier = edge::peer_number("carrier");
        assert_eq!(codecs.of(MediaProfile::Sdes, 0), only("PCMA"));
        assert_eq!(codecs.of(MediaProfile::WebRtc, 0), only("opus"));
        assert_eq!(codecs.of(MediaProfile::Plain, carrier), only("G722"));
        assert!(codecs.of(MediaProfile::Plain, edge::peer_number("other")).is_default());
        assert!(codecs.of(MediaProfile::Internal, 0).is_default());
    }
}
