//! What a side's description says of each of its streams.

use rtp::zrtp::HelloHash;
use sdp::{Crypto, Fingerprint, Session, Setup};

use crate::RelayError;
use crate::api::Protocol;
use crate::bridge::{Carries, LegSetup, PayloadType};

/// Payload types beyond this many are not remembered.
const PAYLOADS_MAX: usize = 64;

/// A stream of a description that is not rejected and that we can relay.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// What its packets are.
    pub carries: Carries,
    /// Its kind, as statistics name it.
    pub media: &'static str,
    /// How it is carried.
    pub protocol: Protocol,
    /// The transport as written.
    pub proto: String,
    pub setup: LegSetup,
    /// In its order of preference.
    pub payloads: Vec<PayloadType>,
    pub cryptos: Vec<Crypto>,
    pub fingerprint: Option<Fingerprint>,
    /// The Hello of ZRTP that it announces beside RTP in clear (RFC 6189 §8).
    pub zrtp: Option<Box<HelloHash>>,
    pub dtls_setup: Option<Setup>,
    pub ice: Option<(String, String)>,
    pub mid: Option<String>,
    pub bundled: bool,
    pub has_candidates: bool,
    /// RTP and RTCP on one port are offered or accepted (RFC 5761).
    pub mux_offered: bool,
}

/// The streams of a description by their m-lines; `None` for one that is rejected, or will be.
pub(super) struct Streams {
    /// The one that the description stands and falls with: the first with sound, else the first.
    pub main: usize,
    pub facts: Vec<Option<Facts>>,
}

impl Streams {
    /// Reads the streams of the first `max` m-lines. One beside the main stream that cannot be
    /// spoken with counts as rejected.
    pub(super) fn read(session: &Session, max: usize) -> Result<Self, RelayError> {
        let lines = &session.media()[..session.media().len().min(max)];
        let carried: Vec<Option<Carries>> = lines.iter().map(carried).collect();
        let sound = carried.iter().position(|c| *c == Some(Carries::Sound));
        let main = sound.or_else(|| carried.iter().position(Option::is_some));
        let main = main.ok_or(RelayError::NoStream)?;
        let facts = carried.iter().enumerate().map(|(index, carries)| {
            let Some(carries) = *carries else { return Ok(None) };
            match Facts::read(session, index, carries) {
                Err(error) if index == main => Err(error),
                facts => Ok(facts.ok()),
            }
        });
        let mut streams = Self { main, facts: facts.collect::<Result<_, _>>()? };
        streams.reject_sharers();
        Ok(streams)
    }

    /// Rejects streams whose only transport is that of a bundle (docs/design/0086): a browser that
    /// insists on one bundle has no candidates for its other members, and takes no answer that takes
    /// it apart.
    fn reject_sharers(&mut self) {
        let mut ufrags: Vec<String> = Vec::new();
        for index in self.order() {
            let facts = self.facts[index].as_ref().filter(|facts| facts.bundled);
            let Some((ufrag, _)) = facts.and_then(|facts| facts.ice.as_ref()) else { continue };
            let has_way = facts.is_some_and(|facts| facts.has_candidates);
            match ufrags.contains(ufrag) {
                true if !has_way => self.facts[index] = None,
                _ => ufrags.push(ufrag.clone()),
            }
        }
    }

    /// The main stream's.
    pub(super) fn of_main(&self) -> Option<&Facts> {
        self.facts.get(self.main)?.as_ref()
    }

    /// The m-lines with streams, the main one's first.
    pub(super) fn order(&self) -> Vec<usize> {
        let others = (0..self.facts.len()).filter(|index| *index != self.main);
        let order = std::iter::once(self.main).chain(others);
        order.filter(|index| self.facts[*index].is_some()).collect()
    }
}

impl Facts {
    fn read(session: &Session, index: usize, carries: Carries) -> Result<Self, RelayError> {
        let media = &session.media()[index];
        let cryptos: Vec<Crypto> = media.cryptos().collect();
        let fingerprint = strongest(session.fingerprints_of(index));
        let mut announced = media.attributes("zrtp-hash").filter_map(|value| value.parse().ok());
        let zrtp = announced.next().map(Box::new);
        let mid = media.mid().map(str::to_owned);
        // Two lite agents would wait for each other's checks: the addresses they name are where
        // packets go (RFC 8445 §6.1.1), as without ICE.
        let speaks = !session.ice_lite() && !mismatches(session, index);
        let ice = session.ice_credentials_of(index).filter(|_| speaks);
        let is_dtls = media.proto().to_ascii_uppercase().contains("TLS");
        // RFC 8643: keys beside RTP/AVP are an offer to encrypt if one can.
        let protocol = match (is_dtls, cryptos.is_empty()) {
            (true, _) => Protocol::WebRtc,
            (false, false) if carries != Carries::Datagrams => Protocol::Srtp,
            (false, true) if media.proto().to_ascii_uppercase().contains("SAVP") => {
                return Err(media::keying::KeyingError::NoCommonSuite.into());
            }
            (false, _) => Protocol::Rtp,
        };
        check_path(session, index, protocol, ice.is_some())?;
        let bundled = session.groups().any(|(kind, _)| kind == "BUNDLE");
        Ok(Self {
            carries,
            media: kind_of(media),
            protocol,
            proto: media.proto().to_owned(),
            setup: path(session, index, protocol),
            payloads: payloads(media),
            fingerprint,
            zrtp: zrtp.filter(|_| protocol == Protocol::Rtp),
            dtls_setup: session.setup_of(index),
            ice: ice.map(|(u, p)| (u.to_owned(), p.to_owned())),
            mid,
            bundled,
            has_candidates: media.candidates().next().is_some(),
            mux_offered: media.rtcp_mux(),
            cryptos,
        })
    }
}

/// Whether a transport is RTP in one of its dresses.
fn is_rtp(proto: &str) -> bool {
    let proto = proto.to_ascii_uppercase();
    matches!(
        proto.strip_prefix("UDP/TLS/").unwrap_or(&proto),
        "RTP/AVP" | "RTP/AVPF" | "RTP/SAVP" | "RTP/SAVPF"
    )
}

/// What the packets of an m-line are, if it is not rejected and we can relay them.
fn carried(media: &sdp::MediaLine) -> Option<Carries> {
    if media.is_rejected() {
        return None;
    }
    match is_rtp(media.proto()) {
        true if media.kind().eq_ignore_ascii_case("audio") => Some(Carries::Sound),
        true => Some(Carries::Rtp),
        // ITU-T T.38 §D.2.2, RFC 8856 §5.
        false => {
            let proto = media.proto().to_ascii_lowercase();
            matches!(proto.as_str(), "udptl" | "udp/bfcp").then_some(Carries::Datagrams)
        }
    }
}

fn kind_of(media: &sdp::MediaLine) -> &'static str {
    let known = ["audio", "video", "image", "text", "application"];
    let kind = known.into_iter().find(|kind| media.kind().eq_ignore_ascii_case(kind));
    kind.unwrap_or("other")
}

fn path(session: &Session, index: usize, protocol: Protocol) -> LegSetup {
    let media = &session.media()[index];
    let real = |addr: &std::net::SocketAddr| !addr.ip().is_unspecified() && addr.port() != 0;
    let rtp = session.rtp_addr_of(index);
    let on_hold =
        rtp.is_some_and(|addr| addr.ip().is_unspecified()) && protocol != Protocol::WebRtc;
    LegSetup {
        rtp: rtp.filter(real),
        rtcp: session.rtcp_addr_of(index).filter(real),
        signalled_from: None,
        rtcp_mux: protocol == Protocol::WebRtc && media.rtcp_mux(),
        held: on_hold || session.direction_of(index) != sdp::Direction::SendRecv,
    }
}

fn payloads(media: &sdp::MediaLine) -> Vec<PayloadType> {
    let payload = |number: u8| {
        let map = media.rtpmap(number)?;
        Some(PayloadType { number, encoding: map.encoding, clock_rate: map.clock_rate })
    };
    media.payload_types().filter_map(payload).take(PAYLOADS_MAX).collect()
}

/// Refuses what would end in silence.
fn check_path(
    session: &Session,
    index: usize,
    protocol: Protocol,
    speaks_ice: bool,
) -> Result<(), RelayError> {
    let has = |name| session.media()[index].has_attribute(name) || session.has_attribute(name);
    if protocol != Protocol::WebRtc || speaks_ice {
        return Ok(());
    }
    if has("ice-ufrag") != has("ice-pwd") {
        return Err(RelayError::NoPath("a=ice-ufrag and a=ice-pwd go together (RFC 8839 §5.4)"));
    }
    match path(session, index, protocol).rtp {
        Some(_) => Ok(()),
        None => Err(RelayError::NoPath("name an address, or ice-ufrag and ice-pwd")),
    }
}

/// ICE mismatch (RFC 8839 §4.2.5): what the description names as the default destination is none of
/// its candidates. Then something on the way does not know ICE, and checks would never come. A
/// browser names no destination at all.
fn mismatches(session: &Session, index: usize) -> bool {
    let media = &session.media()[index];
    let named = session.rtp_addr_of(index).filter(|a| !a.ip().is_unspecified() && a.port() > 9);
    let trickles = |options: &str| options.split_ascii_whitespace().any(|o| o == "trickle");
    let options = media.attribute("ice-options").or_else(|| session.attribute("ice-options"));
    let is_candidate = |addr| media.candidates().any(|c| c.socket_addr() == Some(addr));
    named.is_some_and(|addr| !is_candidate(addr)) && !options.is_some_and(trickles)
}

/// SHA-256 where there is a choice, else the first that can be checked: MD5 and what we do not know
/// prove nothing (RFC 8122 §5).
fn strongest(mut prints: Vec<Fingerprint>) -> Option<Fingerprint> {
    prints.retain(|p| matches!(p.hash.as_str(), "sha-1" | "sha-256" | "sha-384" | "sha-512"));
    let at = prints.iter().position(|p| p.hash == "sha-256").unwrap_or(0);
    (at < prints.len()).then(|| prints.swap_remove(at))
}
